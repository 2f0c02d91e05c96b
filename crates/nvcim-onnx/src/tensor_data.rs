//! The values of constants: in the file's raw or typed fields, or in another file of its folder.

use std::sync::Arc;

use nvcim_ir::diag::Diagnostic;
use nvcim_ir::shape::{MAX_ELEMENTS, count_elements};
use tract_onnx::prelude::{Datum, Tensor, tract_ndarray};
use tract_onnx::tract_core::internal::f16;

use crate::proto::{EXTERNAL, TensorProto};

/// Reads what a model keeps in other files.
///
/// The front end itself opens nothing. It has checked that `location` is a relative path that does not
/// leave the model's folder; whoever implements this must not follow links out of it.
pub trait ExternalData {
    /// `length` bytes of file `location` from `offset`, or all that follow; an error says why not.
    fn read(&self, location: &str, offset: u64, length: Option<u64>) -> Result<Vec<u8>, String>;
}

/// Refuses every file.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExternalData;

impl ExternalData for NoExternalData {
    fn read(&self, _: &str, _: u64, _: Option<u64>) -> Result<Vec<u8>, String> {
        Err("external data is not available here".into())
    }
}

/// The value of a constant; sizes are checked before anything is allocated.
pub(crate) fn load_tensor(
    proto: &TensorProto,
    external: &dyn ExternalData,
) -> Result<Arc<Tensor>, Diagnostic> {
    let at = format!("tensor `{}`", proto.name);
    if let (1.., Err(message)) = (proto.data_type, width_of(proto.data_type)) {
        let hint = "export the network in 32-bit floats";
        return Err(Diagnostic::unsupported(at, message).hint(hint));
    }
    load(proto, external).map(Arc::new).map_err(|message| Diagnostic::bad_input(at, message))
}

fn load(proto: &TensorProto, external: &dyn ExternalData) -> Result<Tensor, String> {
    let shape = shape_of(proto)?;
    if proto.data_location == EXTERNAL {
        let bytes = read_external(proto, external)?;
        return from_bytes(proto.data_type, &shape, &bytes);
    }
    if proto.raw_data.is_empty() {
        return from_fields(proto, &shape);
    }
    let (have, need) = (proto.raw_data.len(), size_of(proto)?);
    if have != need {
        return Err(format!("has {have} bytes of data, must have {need} for shape {shape:?}"));
    }
    from_bytes(proto.data_type, &shape, &proto.raw_data)
}

/// The same tensor with the data that lay in another file inside.
pub(crate) fn inline_tensor(
    proto: &TensorProto,
    external: &dyn ExternalData,
) -> Result<TensorProto, Diagnostic> {
    if proto.data_location != EXTERNAL {
        return Ok(proto.clone());
    }
    let raw_data = read_external(proto, external)
        .map_err(|message| Diagnostic::bad_input(format!("tensor `{}`", proto.name), message))?;
    let external_data = Vec::new();
    Ok(TensorProto { raw_data, external_data, data_location: 0, ..proto.clone() })
}

/// The lengths of the axes.
pub(crate) fn shape_of(proto: &TensorProto) -> Result<Vec<usize>, String> {
    let length = |&dim: &i64| usize::try_from(dim).map_err(|_| format!("has an axis of {dim}"));
    proto.dims.iter().map(length).collect()
}

/// Bytes that the elements take in `raw_data`; an error above the limit on a tensor's size.
fn size_of(proto: &TensorProto) -> Result<usize, String> {
    let shape = shape_of(proto)?;
    let count = count_elements(&shape)
        .ok_or_else(|| format!("has shape {shape:?}, must have at most {MAX_ELEMENTS} elements"))?;
    Ok(count * width_of(proto.data_type)?)
}

/// Bytes per element of `raw_data`.
fn width_of(data_type: i32) -> Result<usize, String> {
    match data_type {
        2 | 3 | 9 => Ok(1),
        4 | 5 | 10 => Ok(2),
        1 | 6 | 12 => Ok(4),
        7 | 11 | 13 => Ok(8),
        other => Err(format!("has element type {}, which is not supported", type_name(other))),
    }
}

/// The name of a `TensorProto.DataType`.
pub(crate) fn type_name(data_type: i32) -> String {
    let name = match data_type {
        0 => "undefined",
        1 => "float",
        2 => "uint8",
        3 => "int8",
        4 => "uint16",
        5 => "int16",
        6 => "int32",
        7 => "int64",
        8 => "string",
        9 => "bool",
        10 => "float16",
        11 => "double",
        12 => "uint32",
        13 => "uint64",
        16 => "bfloat16",
        other => return other.to_string(),
    };
    name.into()
}

fn read_external(proto: &TensorProto, external: &dyn ExternalData) -> Result<Vec<u8>, String> {
    let size = size_of(proto)?;
    let entry = |key: &str| proto.external_data.iter().find(|entry| entry.key == key);
    let number = |key: &str| match entry(key) {
        Some(entry) => (entry.value.parse::<u64>().map(Some))
            .map_err(|_| format!("has external data with {key} `{}`", entry.value)),
        None => Ok(None),
    };
    let location = &entry("location").ok_or("has external data without a location")?.value;
    check_location(location)?;
    let length = number("length")?;
    if length.is_some_and(|length| length != size as u64) {
        return Err(format!("needs {size} bytes, but external data says {}", length.unwrap_or(0)));
    }
    let offset = number("offset")?.unwrap_or(0);
    let bytes = (external.read(location, offset, Some(size as u64)))
        .map_err(|why| format!("cannot read external data `{location}`: {why}"))?;
    if bytes.len() != size {
        let have = bytes.len();
        return Err(format!("needs {size} bytes of external data `{location}`, got {have}"));
    }
    Ok(bytes)
}

/// Refuses a path that could leave the model's folder, on any system.
fn check_location(location: &str) -> Result<(), String> {
    let outside = location.starts_with('/')
        || location.contains(['\\', ':', '\0'])
        || location.split('/').any(|part| part == ".." || part.is_empty());
    if outside {
        Err(format!("has external data at `{location}`, outside the model's folder"))
    } else {
        Ok(())
    }
}

fn from_bytes(data_type: i32, shape: &[usize], bytes: &[u8]) -> Result<Tensor, String> {
    fn typed<T: Datum + Copy, const N: usize>(
        shape: &[usize],
        bytes: &[u8],
        read: fn([u8; N]) -> T,
    ) -> Result<Tensor, String> {
        let (chunks, _) = bytes.as_chunks::<N>();
        build(shape, chunks.iter().map(|&chunk| read(chunk)).collect())
    }
    match data_type {
        1 => typed(shape, bytes, f32::from_le_bytes),
        2 => typed(shape, bytes, u8::from_le_bytes),
        3 => typed(shape, bytes, i8::from_le_bytes),
        4 => typed(shape, bytes, u16::from_le_bytes),
        5 => typed(shape, bytes, i16::from_le_bytes),
        6 => typed(shape, bytes, i32::from_le_bytes),
        7 => typed(shape, bytes, i64::from_le_bytes),
        9 => typed(shape, bytes, |[byte]: [u8; 1]| byte != 0),
        10 => typed(shape, bytes, f16::from_le_bytes),
        11 => typed(shape, bytes, f64::from_le_bytes),
        12 => typed(shape, bytes, u32::from_le_bytes),
        13 => typed(shape, bytes, u64::from_le_bytes),
        other => Err(format!("has element type {}, which is not supported", type_name(other))),
    }
}

fn from_fields(proto: &TensorProto, shape: &[usize]) -> Result<Tensor, String> {
    let narrow = &proto.int32_data;
    match proto.data_type {
        1 => build(shape, proto.float_data.clone()),
        2 => build(shape, narrow.iter().map(|&value| value as u8).collect()),
        3 => build(shape, narrow.iter().map(|&value| value as i8).collect()),
        4 => build(shape, narrow.iter().map(|&value| value as u16).collect()),
        5 => build(shape, narrow.iter().map(|&value| value as i16).collect()),
        6 => build(shape, narrow.clone()),
        7 => build(shape, proto.int64_data.clone()),
        9 => build(shape, narrow.iter().map(|&value| value != 0).collect()),
        10 => build(shape, narrow.iter().map(|&value| f16::from_bits(value as u16)).collect()),
        11 => build(shape, proto.double_data.clone()),
        12 => build(shape, proto.uint64_data.iter().map(|&value| value as u32).collect()),
        13 => build(shape, proto.uint64_data.clone()),
        other => Err(format!("has element type {}, which is not supported", type_name(other))),
    }
}

fn build<T: Datum + Copy>(shape: &[usize], values: Vec<T>) -> Result<Tensor, String> {
    let (have, need) = (values.len(), count_elements(shape));
    if need != Some(have) {
        return Err(format!("has {have} elements of data, which do not make shape {shape:?}"));
    }
    tract_ndarray::ArrayD::from_shape_vec(shape, values)
        .map(Tensor::from)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{ExternalData, load_tensor};
    use crate::proto::{EXTERNAL, StringStringEntryProto, TensorProto};

    /// A folder with one file, `weights.bin`, of eight bytes.
    struct Folder;

    impl ExternalData for Folder {
        fn read(
            &self,
            location: &str,
            offset: u64,
            length: Option<u64>,
        ) -> Result<Vec<u8>, String> {
            assert_eq!(location, "data/weights.bin", "the check must hold anything else back");
            let file = [1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat();
            let end = length.map_or(8, |length| offset + length) as usize;
            file.get(offset as usize..end).map(<[u8]>::to_vec).ok_or("ends early".into())
        }
    }

    fn external(location: &str, offset: &str) -> TensorProto {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        };
        TensorProto {
            dims: vec![1],
            data_type: 1,
            data_location: EXTERNAL,
            external_data: vec![entry("location", location), entry("offset", offset)],
            ..TensorProto::default()
        }
    }

    #[test]
    fn external_data_is_read_at_its_offset() {
        let tensor = load_tensor(&external("data/weights.bin", "4"), &Folder).unwrap();
        assert_eq!(
            *tensor.to_plain_array_view::<f32>().unwrap(),
            ndarray::arr1(&[-2f32]).into_dyn()
        );
        assert!(load_tensor(&external("data/weights.bin", "6"), &Folder).is_err());
        assert!(load_tensor(&external("data/weights.bin", "-1"), &Folder).is_err());
    }

    #[test]
    fn external_data_stays_in_the_folder() {
        for location in
            ["/etc/passwd", "../secret", "data/../../secret", "C:weights", "..\\secret", "", "a//b"]
        {
            let problem = load_tensor(&external(location, "0"), &Folder).unwrap_err();
            assert!(problem.message.contains("outside the model's folder"), "{problem}");
        }
    }

    #[test]
    fn sizes_are_checked_before_memory_is_taken() {
        let tensor = |dims: &[i64], data_type| TensorProto {
            dims: dims.into(),
            data_type,
            raw_data: vec![0; 8],
            ..TensorProto::default()
        };
        assert!(load_tensor(&tensor(&[2], 1), &Folder).is_ok());
        assert!(load_tensor(&tensor(&[], 7), &Folder).is_ok());
        for (dims, data_type) in [
            (&[3i64][..], 1),
            (&[-2], 1),
            (&[i64::MAX, i64::MAX], 1),
            (&[1 << 40], 1),
            (&[2], 7),
            (&[2], 0),
            (&[2], 8),
            (&[2], 99),
        ] {
            assert!(
                load_tensor(&tensor(dims, data_type), &Folder).is_err(),
                "{dims:?} {data_type}"
            );
        }
        let fields = TensorProto { raw_data: Vec::new(), float_data: vec![1.0], ..tensor(&[2], 1) };
        assert!(load_tensor(&fields, &Folder).is_err());
    }
}
