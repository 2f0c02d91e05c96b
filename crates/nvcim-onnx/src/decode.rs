//! Bytes to messages: what a file must be before anything inside it is looked at.

use nvcim_ir::diag::{Diagnostic, Result};
use prost::Message;

use crate::foreign::{self, Format};
use crate::proto::{GRAPH_INITIALIZER, GraphProto, MODEL_GRAPH, ModelProto, TENSOR_RAW_DATA};
use crate::wire::{self, LENGTH_DELIMITED};

/// The oldest operator set whose broadcasting follows today's rules.
const OLDEST_OPSET: i64 = 7;

/// A file that decoded, with its default domain's operator set.
#[derive(Debug, Clone)]
pub(crate) struct Model<'b> {
    /// The graph; the raw data of its initialisers stands in `raws`.
    pub(crate) graph: GraphProto,
    /// The raw data of each initialiser, where it lies in the file; empty where it has none.
    pub(crate) raws: Vec<&'b [u8]>,
    /// The version of the default domain's operators.
    pub(crate) opset: i64,
}

/// Reads a file's messages.
///
/// An error for bytes that are no ONNX file or end early, and for a file without a graph or without a
/// version of the standard operators.
pub(crate) fn decode_model(bytes: &[u8]) -> Result<Model<'_>> {
    if bytes.is_empty() {
        return Err(bad("is empty")
            .hint("was a download or an export interrupted? fetch or export the file again")
            .into());
    }
    let damaged = |why: &str| match foreign::recognise_format(bytes) {
        Some(Format { name, remedy }) => {
            bad(format!("is {name}, must be an ONNX file")).hint(remedy)
        }
        None => bad(format!("is no ONNX file, or a damaged or truncated one: {why}"))
            .hint("fetch or export the file again"),
    };
    let (thin, raws) = set_raw_data_apart(bytes).map_err(|why| damaged(&why))?;
    // What prost says names its own types and wire kinds.
    let model = ModelProto::decode(thin.as_slice())
        .map_err(|_| damaged("its fields are not those of the ONNX format"))?;
    let opset = model.opset_import.iter().find(|opset| is_standard(&opset.domain));
    let graph = model.graph.ok_or_else(|| damaged("it holds no graph"))?;
    let Some(opset) = opset.map(|opset| opset.version) else {
        return Err(bad("does not say which version of the standard operators it uses")
            .hint("export it again, with an `opset_import` of the default domain")
            .into());
    };
    if opset < 1 {
        return Err(bad(format!("uses operator set {opset}, must be at least {OLDEST_OPSET}"))
            .hint("fetch or export the file again")
            .into());
    }
    if opset < OLDEST_OPSET {
        return Err(Diagnostic::unsupported(
            "model",
            format!("uses operator set {opset}, must be at least {OLDEST_OPSET}"),
        )
        .hint("convert it with `onnx.version_converter.convert_version(model, 13)`")
        .into());
    }
    Ok(Model { graph, raws, opset })
}

/// A model's bytes without the raw data of its initialisers, and where those lie.
///
/// Weights are almost all of a file, and decoding them would copy them.
fn set_raw_data_apart(bytes: &[u8]) -> std::result::Result<(Vec<u8>, Vec<&[u8]>), String> {
    let mut raws = Vec::new();
    let model = copy_but(bytes, |number, body| match number {
        MODEL_GRAPH => copy_but(body, |number, body| match number {
            GRAPH_INITIALIZER => {
                let mut raw: &[u8] = &[];
                let thin = copy_but(body, |number, body| {
                    let is_raw = number == TENSOR_RAW_DATA;
                    raw = if is_raw { body } else { raw };
                    Ok(if is_raw { Part::Dropped } else { Part::Kept })
                });
                raws.push(raw);
                thin.map(Part::Replaced)
            }
            _ => Ok(Part::Kept),
        })
        .map(Part::Replaced),
        _ => Ok(Part::Kept),
    })?;
    Ok((model, raws))
}

/// What becomes of a field in a copy.
enum Part {
    Kept,
    Dropped,
    /// The field gets this body.
    Replaced(Vec<u8>),
}

/// A copy of a message; `decide` is asked about fields of bytes, by number and body.
fn copy_but<'b>(
    message: &'b [u8],
    mut decide: impl FnMut(u64, &'b [u8]) -> std::result::Result<Part, String>,
) -> std::result::Result<Vec<u8>, String> {
    let mut copy = Vec::new();
    for field in wire::read_fields(message)? {
        let part = match field.kind {
            LENGTH_DELIMITED => decide(field.number, field.body)?,
            _ => Part::Kept,
        };
        match part {
            Part::Kept => copy.extend_from_slice(field.whole),
            Part::Dropped => {}
            Part::Replaced(body) => wire::write_field(&mut copy, field.number, &body),
        }
    }
    Ok(copy)
}

/// Whether a domain is that of the standard operators.
pub(crate) fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn bad(message: impl Into<String>) -> Diagnostic {
    Diagnostic::bad_input("model", message)
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;
    use prost::Message;

    use super::decode_model;
    use crate::proto::{ModelProto, OperatorSetIdProto};
    use crate::testing::{TestModel, tiny_lenet};

    #[test]
    fn what_is_no_model_says_so() {
        let opset = OperatorSetIdProto { domain: "com.example".into(), version: 1 };
        let foreign = ModelProto {
            graph: Some(tiny_lenet().graph),
            opset_import: vec![opset],
            ..ModelProto::default()
        };
        for (bytes, text) in [
            (Vec::new(), "is empty"),
            (b"PK\x03\x04 not a model".to_vec(), "is a ZIP archive"),
            (vec![0x08, 0x08], "holds no graph"),
            (foreign.encode_to_vec(), "does not say which version"),
        ] {
            let problems = decode_model(&bytes).unwrap_err();
            assert_eq!(problems[0].kind, Kind::BadInput);
            assert!(problems[0].message.contains(text), "{problems:?}");
        }
    }

    #[test]
    fn old_operator_sets_are_refused() {
        let model = TestModel::new(6, &[0, 4]).node("Relu", "x", "y", &[]).output("y");
        model.refuse(Kind::Unsupported, "at least 7");
        let model = TestModel::new(-3, &[0, 4]).node("Relu", "x", "y", &[]).output("y");
        model.refuse(Kind::BadInput, "uses operator set -3");
    }
}
