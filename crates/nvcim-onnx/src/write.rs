//! Puts trained weights back into an ONNX file.
//!
//! The file's bytes are copied field by field, and only the data of the tensors named is exchanged: what
//! this toolchain does not understand (metadata, documentation, extensions) stays byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::ArrayD;
use nvcim_ir::diag::{Diagnostic, Result};
use prost::Message;

use crate::decode;
use crate::proto::{
    AttributeProto, FLOAT, GRAPH_INITIALIZER, MODEL_GRAPH, NodeProto, TENSOR_RAW_DATA, TensorProto,
};
use crate::tensor_data;
use crate::wire::{self, Field, LENGTH_DELIMITED};

/// `GraphProto.node`.
const GRAPH_NODE: u64 = 1;
/// `NodeProto.attribute`.
const NODE_ATTRIBUTE: u64 = 5;
/// `AttributeProto.t`.
const ATTRIBUTE_TENSOR: u64 = 5;
/// Every field of `TensorProto` that holds data or says where it lies.
const TENSOR_DATA: [u64; 9] = [4, 5, 6, 7, TENSOR_RAW_DATA, 10, 11, 13, 14];

/// A copy of an ONNX file in which the constants named in `values` have new values.
///
/// A name is that of an initialiser or of a `Constant` node's output. A value may have another shape
/// than the file's, with as many elements in the same row-major order; the file's shape stays.
///
/// # Errors
/// [`nvcim_ir::diag::Kind::BadInput`] for a damaged file, a name that the file does not have, a constant
/// that does not hold 32-bit floats, and a value with another number of elements.
pub fn replace_initializers(
    bytes: &[u8],
    values: &BTreeMap<String, ArrayD<f32>>,
) -> Result<Vec<u8>> {
    decode::decode_model(bytes)?;
    let mut writer = Writer { values, replaced: BTreeSet::new(), problems: Vec::new() };
    let written = writer
        .copy(bytes, |writer, field| match field.number {
            MODEL_GRAPH => writer.copy(field.body, Writer::graph_field).map(Some),
            _ => Ok(None),
        })
        .map_err(|message| Diagnostic::bad_input("model", message))?;
    for name in values.keys().filter(|&name| !writer.replaced.contains(name)) {
        writer.problems.push(
            Diagnostic::bad_input(format!("tensor `{name}`"), "is no constant of this file")
                .hint("where it is computed from other constants, export the file with it folded"),
        );
    }
    if writer.problems.is_empty() { Ok(written) } else { Err(writer.problems) }
}

struct Writer<'v> {
    values: &'v BTreeMap<String, ArrayD<f32>>,
    replaced: BTreeSet<String>,
    problems: Vec<Diagnostic>,
}

/// The new body of a field, or `None` to keep the field as it stands.
type Change = std::result::Result<Option<Vec<u8>>, String>;

impl Writer<'_> {
    /// Copies a message; `change` may give fields of bytes a new body.
    fn copy(
        &mut self,
        message: &[u8],
        change: impl Fn(&mut Self, Field<'_>) -> Change,
    ) -> std::result::Result<Vec<u8>, String> {
        let mut copy = Vec::with_capacity(message.len());
        for field in wire::read_fields(message)? {
            let changed = if field.kind == LENGTH_DELIMITED { change(self, field)? } else { None };
            match changed {
                Some(body) => wire::write_field(&mut copy, field.number, &body),
                None => copy.extend_from_slice(field.whole),
            }
        }
        Ok(copy)
    }

    fn graph_field(&mut self, field: Field<'_>) -> Change {
        match field.number {
            GRAPH_INITIALIZER => {
                let tensor = decode::<TensorProto>(field.body)?;
                self.replace(&tensor.name, &tensor, field.body)
            }
            GRAPH_NODE => {
                let node = decode::<NodeProto>(field.body)?;
                let name = node.output.first().filter(|name| self.values.contains_key(*name));
                match name {
                    Some(name) if node.op_type == "Constant" => self
                        .copy(field.body, |writer, field| writer.node_field(name, field))
                        .map(Some),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// A field of a `Constant` node that makes `name`.
    fn node_field(&mut self, name: &str, field: Field<'_>) -> Change {
        if field.number != NODE_ATTRIBUTE {
            return Ok(None);
        }
        match decode::<AttributeProto>(field.body)? {
            AttributeProto { name: key, t: Some(tensor), .. } if key == "value" => self
                .copy(field.body, |writer, field| match field.number {
                    ATTRIBUTE_TENSOR => writer.replace(name, &tensor, field.body),
                    _ => Ok(None),
                })
                .map(Some),
            _ => Ok(None),
        }
    }

    /// The bytes of constant `name` with its new data, if it has some.
    fn replace(&mut self, name: &str, tensor: &TensorProto, bytes: &[u8]) -> Change {
        let Some(value) = self.values.get(name) else { return Ok(None) };
        self.replaced.insert(name.into());
        if let Err(message) = check_fit(tensor, value) {
            self.problems.push(Diagnostic::bad_input(format!("tensor `{name}`"), message));
            return Ok(None);
        }
        let mut copy = Vec::with_capacity(bytes.len());
        let fields = wire::read_fields(bytes)?;
        for field in fields.iter().filter(|field| !TENSOR_DATA.contains(&field.number)) {
            copy.extend_from_slice(field.whole);
        }
        let raw: Vec<u8> = value.iter().flat_map(|value| value.to_le_bytes()).collect();
        wire::write_field(&mut copy, TENSOR_RAW_DATA, &raw);
        Ok(Some(copy))
    }
}

fn check_fit(tensor: &TensorProto, value: &ArrayD<f32>) -> std::result::Result<(), String> {
    if tensor.data_type != FLOAT {
        let name = tensor_data::type_name(tensor.data_type);
        return Err(format!("holds elements of type {name}, must hold 32-bit floats"));
    }
    let shape = tensor_data::shape_of(tensor)?;
    let count = nvcim_ir::shape::count_elements(&shape);
    if count == Some(value.len()) {
        Ok(())
    } else {
        Err(format!("has shape {shape:?} in the file, but a new value of {:?}", value.shape()))
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> std::result::Result<M, String> {
    M::decode(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{Array1, ArrayD};
    use prost::Message;

    use super::replace_initializers;
    use crate::import::import_model;
    use crate::proto::ModelProto;
    use crate::tensor_data::NoExternalData;
    use crate::testing::{TestModel, tensor, tiny_lenet};
    use crate::wire;

    fn values(name: &str, value: ArrayD<f32>) -> BTreeMap<String, ArrayD<f32>> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    #[test]
    fn only_the_named_values_change() {
        let mut bytes = tiny_lenet().bytes();
        // A field of the future and some metadata, neither of which is decoded here.
        wire::write_field(&mut bytes, 14, b"\n\x03key\x12\x05value");
        wire::write_field(&mut bytes, 999, b"later");
        let new = Array1::linspace(-1.0, 1.0, 6).into_dyn();
        let written = replace_initializers(&bytes, &values("fc1.bias", new.clone())).unwrap();
        assert!(written.ends_with(b"later"));
        let mut want = ModelProto::decode(bytes.as_slice()).unwrap();
        let graph = want.graph.as_mut().unwrap();
        let bias = graph.initializer.iter_mut().find(|tensor| tensor.name == "fc1.bias").unwrap();
        bias.float_data.clear();
        bias.raw_data = new.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(ModelProto::decode(written.as_slice()).unwrap(), want);
        assert_eq!(replace_initializers(&bytes, &BTreeMap::new()).unwrap(), bytes);
    }

    #[test]
    fn names_of_the_graph_are_names_of_the_file_even_behind_a_reshape() {
        let model = TestModel::new(13, &[0, 6])
            .weight("w", &[2, 3, 4])
            .ints("shape", &[6, 4])
            .node("Reshape", "w shape", "matrix", &[])
            .node("MatMul", "x matrix", "y", &[])
            .output("y");
        let graph = model.agree();
        let constant = &graph.consts[nvcim_ir::ids::Id::new(0)];
        assert_eq!((constant.name.as_str(), constant.value.shape()), ("w", &[6, 4][..]));
        let doubled = values("w", constant.value.mapv(|weight| 2.0 * weight));
        let written = replace_initializers(&model.bytes(), &doubled).unwrap();
        let again = import_model(&written, &NoExternalData).unwrap().output;
        assert_eq!(again.consts[nvcim_ir::ids::Id::new(0)].value, doubled["w"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bytes = TestModel::new(13, &[0, 4])
            .weight("w", &[4])
            .node("Constant", "", "c", &[tensor("value", &[1, 2])])
            .node("Mul", "x w", "y", &[])
            .output("y")
            .bytes();
        for (name, count) in [("w", 3), ("c", 2), ("nothing", 1)] {
            let new = values(name, Array1::zeros(count).into_dyn());
            let problems = replace_initializers(&bytes, &new).unwrap_err();
            assert!(problems[0].at.contains(name), "{problems:?}");
        }
        assert!(replace_initializers(&bytes[..bytes.len() - 3], &BTreeMap::new()).is_err());
    }
}
