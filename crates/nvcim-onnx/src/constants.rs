//! Constants of every origin: initialisers, `Constant` and `Shape` nodes, and what is folded from them.

use std::collections::BTreeMap;

use nvcim_ir::diag::{Diagnostic, Kind, Result};
use tract_onnx::prelude::{Tensor, tract_ndarray};

use crate::attributes;
use crate::data::Data;
use crate::decode::Model;
use crate::proto::NodeProto;
use crate::refusal::Refusal;
use crate::site::{Constant, Value};
use crate::tensor_data::{self, ExternalData};
use crate::validate::Layout;

/// The initialisers that are read, by name.
pub(crate) fn load_initializers(
    model: &Model<'_>,
    layout: &Layout,
    external: &dyn ExternalData,
) -> Result<BTreeMap<String, Value>> {
    let mut problems = Vec::new();
    let mut constants = BTreeMap::new();
    let initializers = model.graph.initializer.iter().zip(&model.raws);
    for (proto, raw) in initializers.filter(|(it, _)| layout.reads.contains_key(&it.name)) {
        match tensor_data::load_tensor(proto, raw, external) {
            Ok(value) => {
                let constant = Constant { name: proto.name.clone(), value };
                constants.insert(proto.name.clone(), Value::Constant(constant));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !model.graph.sparse_initializer.is_empty() {
        problems.push(
            Diagnostic::unsupported("graph", "has sparse initialisers, must have dense ones")
                .hint("make the weights dense (`weight.to_dense()`) and export the network again"),
        );
    }
    if problems.is_empty() { Ok(constants) } else { Err(problems) }
}

/// The value of a `Constant` node.
pub(crate) fn read_constant(
    node: &NodeProto,
    external: &dyn ExternalData,
) -> std::result::Result<Constant, Refusal> {
    let value: Tensor = if let Some(proto) = attributes::tensor(node, "value")? {
        let value =
            tensor_data::load_tensor(proto, &proto.raw_data, external).map_err(|problem| {
                let Diagnostic { kind, message, hints, .. } = problem;
                match kind {
                    Kind::Unsupported => Refusal::unsupported(message, hints.concat()),
                    _ => Refusal::broken(message),
                }
            })?;
        return Ok(Constant { name: node.output[0].clone(), value });
    } else if attributes::has(node, "value_int") {
        tract_ndarray::arr0(attributes::int(node, "value_int", 0)?).into_dyn().into()
    } else if attributes::has(node, "value_float") {
        tract_ndarray::arr0(attributes::float(node, "value_float", 0.0)?).into_dyn().into()
    } else if let Some(ints) = attributes::ints(node, "value_ints")? {
        tract_ndarray::arr1(ints).into_dyn().into()
    } else if let Some(floats) = attributes::floats(node, "value_floats")? {
        tract_ndarray::arr1(floats).into_dyn().into()
    } else {
        return Err(Refusal::unsupported(
            "has no `value`, `value_int`, `value_ints`, `value_float` or `value_floats`",
            "export the constant as a dense tensor of numbers",
        ));
    };
    Ok(Constant { name: node.output[0].clone(), value: value.into() })
}

/// The value of a `Shape` node over a tensor of the whole `shape`; `start` and `end` cut it.
pub(crate) fn read_shape(
    node: &NodeProto,
    shape: &[usize],
) -> std::result::Result<Constant, Refusal> {
    let rank = shape.len() as i64;
    let place = |name, default| {
        let at = attributes::int(node, name, default)?;
        let from_start = if at < 0 { at.saturating_add(rank) } else { at };
        Ok(from_start.clamp(0, rank) as usize)
    };
    let (start, end) = (place("start", 0)?, place("end", rank)?);
    let lengths: Vec<i64> =
        shape.get(start..end).unwrap_or_default().iter().map(|&len| len as i64).collect();
    let value: Tensor = tract_ndarray::arr1(&lengths).into_dyn().into();
    Ok(Constant { name: node.output[0].clone(), value: value.into() })
}

/// The initialiser's name where a computed constant is nothing but that initialiser under another
/// shape, so that trained weights find their way back into the file; else the tensor's own.
pub(crate) fn name_folded(node: &NodeProto, operands: &[Option<Value>], value: &Data) -> String {
    let reshapes = matches!(
        node.op_type.as_str(),
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Dropout" | "Cast"
    );
    match operands.first() {
        Some(Some(Value::Constant(source)))
            if reshapes && source.value.datum_type() == value.datum_type() =>
        {
            source.name.clone()
        }
        _ => node.output[0].clone(),
    }
}
