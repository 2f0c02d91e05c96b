//! Operators for the float reference that tract has otherwise than the standard, in others that define them:
//! quantisation here, recurrent cells in `recurrent.rs`.
//!
//! tract 0.23 runs networks with integer inputs and outputs to other numbers than the standard (an 8-bit ResNet on
//! CIFAR-10 to chance, where ONNX Runtime and this toolchain agree). So tract gets `Div`, `Round`, `Add` and `Clip`
//! for `QuantizeLinear`, and `Sub` and `Mul` for `DequantizeLinear` of what is computed; weights stay as they are.
//! Sequences that run backwards it reads in the wrong order.

mod recurrent;

use std::collections::{BTreeMap, BTreeSet};

use crate::data::Data;
use crate::proto::{FLOAT, GraphProto, NodeProto, TensorProto};
use crate::tensor_data::{self, NoExternalData};
use crate::walk::Sequence;

/// A graph in other operators.
pub(crate) struct Spelled {
    /// The graph.
    pub(crate) graph: GraphProto,
    /// Whether its input, of integers before, is of floats now.
    pub(crate) in_floats: bool,
}

/// Rewrites the recurrent nodes of a graph, which run over these sequences by the names of their first outputs,
/// and its quantisation where its data lies inside; `None` where there is nothing of either.
pub(crate) fn spell_out(
    graph: &GraphProto,
    sequences: &BTreeMap<String, Sequence>,
    opset: i64,
) -> Option<Spelled> {
    let unrolled = recurrent::spell_out_cells(graph, sequences, opset);
    let quantised = spell_out_quantisation(unrolled.as_ref().unwrap_or(graph));
    let in_floats = quantised.is_some();
    quantised.or(unrolled).map(|graph| Spelled { graph, in_floats })
}

fn spell_out_quantisation(graph: &GraphProto) -> Option<GraphProto> {
    let mut constants: BTreeSet<&str> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut nodes = Vec::new();
    let mut added = Vec::new();
    let mut found = false;
    for node in &graph.node {
        if node.input.iter().all(|name| name.is_empty() || constants.contains(name.as_str())) {
            constants.extend(node.output.iter().map(String::as_str));
            nodes.push(node.clone());
            continue;
        }
        match node.op_type.as_str() {
            "QuantizeLinear" => nodes.extend(quantize(graph, node, &mut added)?),
            "DequantizeLinear" => nodes.extend(dequantize(graph, node, &mut added)?),
            _ => {
                nodes.push(node.clone());
                continue;
            }
        }
        found = true;
    }
    let mut spelled = GraphProto { node: nodes, ..graph.clone() };
    spelled.initializer.extend(added);
    for input in &mut spelled.input {
        if let Some(kind) = input.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut()) {
            kind.elem_type = FLOAT;
        }
    }
    found.then_some(spelled)
}

fn quantize(
    graph: &GraphProto,
    node: &NodeProto,
    added: &mut Vec<TensorProto>,
) -> Option<[NodeProto; 4]> {
    let (zero, lowest) = zero_point(graph, node)?;
    let out = node.output.first()?;
    let [zero, lo, hi] = [("zero", zero), ("lo", lowest), ("hi", lowest + 255.0)]
        .map(|(name, value)| scalar(format!("{out}/{name}"), value, added));
    let [scaled, rounded, shifted] =
        ["scaled", "rounded", "shifted"].map(|name| format!("{out}/{name}"));
    Some([
        make("Div", &[&node.input[0], &node.input[1]], &scaled),
        make("Round", &[&scaled], &rounded),
        make("Add", &[&rounded, &zero], &shifted),
        make("Clip", &[&shifted, &lo, &hi], out),
    ])
}

fn dequantize(
    graph: &GraphProto,
    node: &NodeProto,
    added: &mut Vec<TensorProto>,
) -> Option<[NodeProto; 2]> {
    let (zero, _) = zero_point(graph, node)?;
    let out = node.output.first()?;
    let zero = scalar(format!("{out}/zero"), zero, added);
    let shifted = format!("{out}/shifted");
    Some([
        make("Sub", &[&node.input[0], &zero], &shifted),
        make("Mul", &[&shifted, &node.input[1]], out),
    ])
}

/// The one zero point of a node with one scale, and the lowest integer of its type.
fn zero_point(graph: &GraphProto, node: &NodeProto) -> Option<(f32, f32)> {
    let load = |slot: usize| {
        let name = node.input.get(slot)?;
        let proto = graph.initializer.iter().find(|tensor| tensor.name == *name)?;
        tensor_data::load_tensor(proto, &proto.raw_data, &NoExternalData).ok()
    };
    let one = |value: &Data| -> Option<f32> {
        let values = value.numbers()?;
        if values.len() == 1 { values.first().copied() } else { None }
    };
    one(&load(1)?)?;
    if node.input.get(2).is_none_or(String::is_empty) {
        return Some((0.0, 0.0));
    }
    let zero = load(2)?;
    let lowest = match zero.datum_type() {
        tract_onnx::prelude::DatumType::I8 => -128.0,
        tract_onnx::prelude::DatumType::U8 => 0.0,
        _ => return None,
    };
    Some((one(&zero)?, lowest))
}

/// Adds a number under a name, and answers with the name.
fn scalar(name: String, value: f32, added: &mut Vec<TensorProto>) -> String {
    added.push(TensorProto {
        name: name.clone(),
        data_type: FLOAT,
        float_data: vec![value],
        ..TensorProto::default()
    });
    name
}

fn make(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.into()],
        name: output.into(),
        ..NodeProto::default()
    }
}
