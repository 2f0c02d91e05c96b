//! The values of constants: in the file's raw or typed fields, or in another file of its folder.

use std::collections::BTreeSet;

use ndarray::IxDyn;
use nvcim_ir::diag::Diagnostic;
use nvcim_ir::shape::{MAX_ELEMENTS, count_elements};
use tract_onnx::prelude::{Datum, Tensor, tract_ndarray};
use tract_onnx::tract_core::internal::f16;

use crate::data::{Data, Floats};
use crate::decode;
use crate::proto::{EXTERNAL, FLOAT, TensorProto};

/// Bytes of external floats that are in memory beside those that they become.
const BLOCK: usize = 1 << 20;

/// Reads what a model keeps in other files.
///
/// The front end itself opens nothing. It has checked that `location` is a relative path that does not
/// leave the model's folder; whoever implements this must not follow links out of it. Large tensors are read
/// block by block.
pub trait ExternalData {
    /// The length of file `location` in bytes; an error says why it cannot be read.
    fn length(&self, location: &str) -> Result<u64, String>;

    /// Fills `bytes` from file `location`, from its byte `offset` on; an error says why not.
    fn read(&self, location: &str, offset: u64, bytes: &mut [u8]) -> Result<(), String>;
}

/// Refuses every file.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExternalData;

impl ExternalData for NoExternalData {
    fn length(&self, _: &str) -> Result<u64, String> {
        Err("there is no folder to look in".into())
    }

    fn read(&self, location: &str, _: u64, _: &mut [u8]) -> Result<(), String> {
        self.length(location).map(|_| ())
    }
}

/// The files in which a model keeps data besides its own, as paths from its folder, each once.
///
/// # Errors
/// A file that is no ONNX model.
pub fn list_external_files(bytes: &[u8]) -> Result<BTreeSet<String>, Vec<Diagnostic>> {
    let graph = decode::decode_model(bytes)?.graph;
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let tensors = graph.initializer.iter().chain(attributes.filter_map(|it| it.t.as_ref()));
    let outside = tensors.filter(|tensor| tensor.data_location == EXTERNAL);
    let entries = outside.flat_map(|tensor| &tensor.external_data);
    Ok(entries.filter(|entry| entry.key == "location").map(|entry| entry.value.clone()).collect())
}

/// What is wrong with a tensor's data, and what helps.
struct Problem {
    message: String,
    hint: Option<String>,
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self { message, hint: None }
    }
}

impl Problem {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    fn at(self, tensor: &str) -> Diagnostic {
        let problem = Diagnostic::bad_input(format!("tensor `{tensor}`"), self.message);
        problem.hint(self.hint.unwrap_or_else(|| "fetch or export the file again".into()))
    }
}

/// The value of a constant whose raw data, if it has some, is `raw`; sizes are checked before anything is
/// allocated.
pub(crate) fn load_tensor(
    proto: &TensorProto,
    raw: &[u8],
    external: &dyn ExternalData,
) -> Result<Data, Diagnostic> {
    if let (1.., Err(message)) = (proto.data_type, width_of(proto.data_type)) {
        let hint = "export the network in 32-bit floats";
        let at = format!("tensor `{}`", proto.name);
        return Err(Diagnostic::unsupported(at, message).hint(hint));
    }
    load(proto, raw, external).map_err(|problem| problem.at(&proto.name))
}

fn load(proto: &TensorProto, raw: &[u8], external: &dyn ExternalData) -> Result<Data, Problem> {
    let shape = shape_of(proto)?;
    if proto.data_location == EXTERNAL {
        let place = find_external(proto, external)?;
        return match proto.data_type {
            FLOAT => Ok(Data::Floats(share(&shape, place.read_floats()?)?)),
            other => Ok(from_bytes(other, &shape, &place.read()?)?),
        };
    }
    if raw.is_empty() {
        return Ok(from_fields(proto, &shape)?);
    }
    let (have, need) = (raw.len(), size_of(proto)?);
    if have != need {
        let message = format!(
            "has {have} bytes of data, must have {need} for shape {shape:?} of {}",
            type_name(proto.data_type)
        );
        return Err(message.into());
    }
    Ok(from_bytes(proto.data_type, &shape, raw)?)
}

/// The same tensor with its raw data, or the data that lay in another file, inside.
pub(crate) fn inline_tensor(
    proto: &TensorProto,
    raw: &[u8],
    external: &dyn ExternalData,
) -> Result<TensorProto, Diagnostic> {
    let raw_data = if proto.data_location == EXTERNAL {
        let place = find_external(proto, external);
        place.and_then(|place| place.read()).map_err(|problem| problem.at(&proto.name))?
    } else {
        raw.to_vec()
    };
    let external_data = Vec::new();
    Ok(TensorProto { raw_data, external_data, data_location: 0, ..proto.clone() })
}

/// The lengths of the axes.
pub(crate) fn shape_of(proto: &TensorProto) -> Result<Vec<usize>, String> {
    let length = |(axis, &dim): (usize, &i64)| {
        usize::try_from(dim)
            .map_err(|_| format!("has length {dim} on axis {axis}, must be at least 0"))
    };
    proto.dims.iter().enumerate().map(length).collect()
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
        other => Err(refuse_type(other)),
    }
}

/// Why a tensor of another type than those of [`width_of`] cannot be read.
fn refuse_type(data_type: i32) -> String {
    let name = type_name(data_type);
    format!("has type {name}, must be float, double, float16, bool or an integer of 8 to 64 bits")
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
        14 => "complex64",
        15 => "complex128",
        16 => "bfloat16",
        17 => "float8e4m3fn",
        18 => "float8e4m3fnuz",
        19 => "float8e5m2",
        20 => "float8e5m2fnuz",
        21 => "uint4",
        22 => "int4",
        23 => "float4e2m1",
        24 => "float8e8m0",
        25 => "uint2",
        26 => "int2",
        other => return format!("number {other}"),
    };
    name.into()
}

/// Where in which file a tensor's data lies.
struct Place<'a> {
    external: &'a dyn ExternalData,
    location: &'a str,
    offset: u64,
    /// In bytes.
    size: usize,
}

/// Finds the data of a tensor that keeps it in another file, which must hold all of it.
fn find_external<'a>(
    proto: &'a TensorProto,
    external: &'a dyn ExternalData,
) -> Result<Place<'a>, Problem> {
    let size = size_of(proto)?;
    let entry = |key: &str| proto.external_data.iter().find(|entry| entry.key == key);
    let number = |key: &str| match entry(key) {
        Some(entry) => (entry.value.parse::<u64>().map(Some)).map_err(|_| {
            format!("keeps its data at `{key}` `{}`, which is no number of bytes", entry.value)
        }),
        None => Ok(None),
    };
    let location = &entry("location")
        .ok_or("keeps its data in another file, but does not say which".to_owned())?
        .value;
    check_location(location)?;
    if let Some(length) = number("length")?.filter(|&length| length != size as u64) {
        let kind = type_name(proto.data_type);
        let message = format!(
            "takes {length} bytes of `{location}`, must take {size} for shape {:?} of {kind}",
            proto.dims
        );
        return Err(message.into());
    }
    let place = Place { external, location, offset: number("offset")?.unwrap_or(0), size };
    let length = external.length(location).map_err(|why| place.cannot_read(&why))?;
    match place.offset.checked_add(size as u64) {
        Some(end) if end <= length => Ok(place),
        _ => Err(Problem::new(
            format!("{}, which ends after {length} bytes", place.describe()),
            format!("fetch `{location}` again: it is cut short, or belongs to another model"),
        )),
    }
}

impl Place<'_> {
    fn describe(&self) -> String {
        let (first, location) = (self.offset, self.location);
        let end = first.saturating_add(self.size as u64);
        format!("has its data in bytes {first}..{end} of `{location}`")
    }

    fn cannot_read(&self, why: &str) -> Problem {
        let message = format!("{}, which cannot be read: {why}", self.describe());
        let hint = format!(
            "put `{}` where the model says, seen from the model's folder, or save the model with its \
             weights inside",
            self.location
        );
        Problem::new(message, hint)
    }

    fn fill(&self, first: usize, bytes: &mut [u8]) -> Result<(), Problem> {
        let offset = self.offset + first as u64;
        self.external.read(self.location, offset, bytes).map_err(|why| self.cannot_read(&why))
    }

    fn read(&self) -> Result<Vec<u8>, Problem> {
        let mut bytes = vec![0; self.size];
        self.fill(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The floats, read in blocks, so that they are not in memory twice.
    fn read_floats(&self) -> Result<Vec<f32>, Problem> {
        let mut floats = Vec::with_capacity(self.size / 4);
        let mut block = vec![0; BLOCK.min(self.size)];
        for first in (0..self.size).step_by(BLOCK) {
            let bytes = &mut block[..BLOCK.min(self.size - first)];
            self.fill(first, bytes)?;
            let (words, _) = bytes.as_chunks();
            floats.extend(words.iter().map(|&word| f32::from_le_bytes(word)));
        }
        Ok(floats)
    }
}

/// Refuses a path that could leave the model's folder, on any system.
fn check_location(location: &str) -> Result<(), Problem> {
    let outside = location.starts_with('/')
        || location.contains(['\\', ':', '\0'])
        || location.split('/').any(|part| part == ".." || part.is_empty());
    if outside {
        return Err(Problem::new(
            format!("keeps its data in `{location}`, which is no path inside the model's folder"),
            "move that file beside the model, and save the model with its new place or with its \
             weights inside",
        ));
    }
    Ok(())
}

fn from_bytes(data_type: i32, shape: &[usize], bytes: &[u8]) -> Result<Data, String> {
    fn typed<T: Datum + Copy, const N: usize>(
        shape: &[usize],
        bytes: &[u8],
        read: fn([u8; N]) -> T,
    ) -> Result<Data, String> {
        let (chunks, _) = bytes.as_chunks::<N>();
        build(shape, chunks.iter().map(|&chunk| read(chunk)).collect())
    }
    match data_type {
        1 => {
            let (words, _) = bytes.as_chunks();
            let floats = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
            share(shape, floats).map(Data::Floats)
        }
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
        other => Err(refuse_type(other)),
    }
}

fn from_fields(proto: &TensorProto, shape: &[usize]) -> Result<Data, String> {
    let narrow = &proto.int32_data;
    match proto.data_type {
        1 => share(shape, proto.float_data.clone()).map(Data::Floats),
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
        other => Err(refuse_type(other)),
    }
}

fn share(shape: &[usize], values: Vec<f32>) -> Result<Floats, String> {
    check_count(shape, values.len())?;
    Floats::from_shape_vec(IxDyn(shape), values).map_err(|error| error.to_string())
}

fn build<T: Datum + Copy>(shape: &[usize], values: Vec<T>) -> Result<Data, String> {
    check_count(shape, values.len())?;
    tract_ndarray::ArrayD::from_shape_vec(shape, values)
        .map(|values| Tensor::from(values).into())
        .map_err(|error| error.to_string())
}

fn check_count(shape: &[usize], have: usize) -> Result<(), String> {
    match count_elements(shape) {
        Some(need) if need == have => Ok(()),
        Some(need) => Err(format!("has {have} elements, must have {need} for shape {shape:?}")),
        None => Err(format!("has shape {shape:?}, must have at most {MAX_ELEMENTS} elements")),
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Diagnostic;

    use super::{BLOCK, ExternalData, load_tensor};
    use crate::data::Data;
    use crate::proto::{EXTERNAL, StringStringEntryProto, TensorProto};

    /// A folder with one file, `weights.bin`, of eight bytes.
    struct Folder;

    impl ExternalData for Folder {
        fn length(&self, location: &str) -> Result<u64, String> {
            assert_eq!(location, "data/weights.bin", "the check must hold anything else back");
            Ok(8)
        }

        fn read(&self, _: &str, offset: u64, bytes: &mut [u8]) -> Result<(), String> {
            let file = [1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat();
            let end = offset as usize + bytes.len();
            bytes.copy_from_slice(file.get(offset as usize..end).ok_or("ends early")?);
            Ok(())
        }
    }

    fn load(proto: &TensorProto) -> Result<Data, Diagnostic> {
        load_tensor(proto, &proto.raw_data, &Folder)
    }

    /// As many floats as blocks do not divide, each its own number.
    struct Large;

    impl ExternalData for Large {
        fn length(&self, _: &str) -> Result<u64, String> {
            Ok(u64::MAX)
        }

        fn read(&self, _: &str, offset: u64, bytes: &mut [u8]) -> Result<(), String> {
            let first = (offset - (1 << 40)) / 4;
            for (at, word) in (first..).zip(bytes.as_chunks_mut().0) {
                *word = (at as f32).to_le_bytes();
            }
            Ok(())
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
        let tensor = load(&external("data/weights.bin", "4")).unwrap();
        assert_eq!(tensor.numbers().unwrap(), ndarray::arr1(&[-2f32]).into_dyn());
        assert!(load(&external("data/weights.bin", "6")).is_err());
        assert!(load(&external("data/weights.bin", "-1")).is_err());
        assert!(load(&external("data/weights.bin", "18446744073709551615")).is_err());
    }

    #[test]
    fn blocks_join_without_a_seam() {
        let count = 2 * BLOCK / 4 + 3;
        let mut proto = external("weights", &(1u64 << 40).to_string());
        proto.dims = vec![count as i64];
        let tensor = load_tensor(&proto, &[], &Large).unwrap().numbers().unwrap();
        assert!(tensor.iter().enumerate().all(|(at, &value)| value == at as f32));
        assert_eq!(tensor.len(), count);
    }

    #[test]
    fn external_data_stays_in_the_folder() {
        for location in
            ["/etc/passwd", "../secret", "data/../../secret", "C:weights", "..\\secret", "", "a//b"]
        {
            let problem = load(&external(location, "0")).unwrap_err();
            assert!(problem.message.contains("no path inside"), "{problem}");
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
        assert!(load(&tensor(&[2], 1)).is_ok());
        assert!(load(&tensor(&[], 7)).is_ok());
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
            assert!(load(&tensor(dims, data_type)).is_err(), "{dims:?} {data_type}");
        }
        let fields = TensorProto { raw_data: Vec::new(), float_data: vec![1.0], ..tensor(&[2], 1) };
        assert!(load(&fields).is_err());
    }
}
