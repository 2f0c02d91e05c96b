//! The operators that can run: one converter per ONNX operator, one file per family.

mod arithmetic;
mod conv;
mod conv_transpose;
mod dense;
mod elementwise;
mod layout;
mod logic;
mod norm;
mod pad;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod select;
mod slice;
mod softmax;
mod spatial;
pub(crate) mod table;

use nvcim_ir::op::Op;
use table::OPERATORS;

use crate::recurrent::Cell;
use crate::refusal::Refusal;
use crate::site::{Activation, Converted, Site, Value};

/// Converts one node; the site holds what it may ask.
pub(crate) type Converter = fn(Site<'_>) -> Result<Converted, Refusal>;

/// Converts one node, whose operator may want a batch axis that its tensors do not have.
///
/// Where tensors are whole, an axis of 1 in front stands for the batch of an operator that the standard
/// defines with one: it is taken off for the operator and put back.
pub(crate) fn convert(converter: Converter, mut site: Site<'_>) -> Result<Converted, Refusal> {
    if site.lead == 1 || !wants_batch(&site.node.op_type) {
        return converter(site);
    }
    let x = site.activation(0)?;
    let (1, 1) = (x.shape.first().map_or(0, |&len| len), site.output.first().map_or(0, |&len| len))
    else {
        return Err(Refusal::unsupported(
            format!(
                "makes {:?} of {:?}, whose axis 0, its batch, must have length 1 where the network keeps no batch",
                site.output, x.shape
            ),
            "export the network with a batch of 1",
        ));
    };
    let id = site.help(Op::Reshape, &[x.id], &x.shape[1..]);
    let mut operands = site.operands.to_vec();
    let sample = Activation { id, shape: x.shape[1..].to_vec(), ..x };
    operands[0] = Some(Value::Activation(sample));
    let inner = Site {
        operands: &operands,
        lead: 1,
        batch: 1,
        inner: true,
        builder: &mut *site.builder,
        ..site
    };
    let output = site.output.to_vec();
    match converter(inner)? {
        Converted::Kept(made) => Ok(site.keep(Op::Reshape, &[made], &output)),
        other => Ok(other),
    }
}

/// Whether the standard gives the operator's first operand a batch axis.
pub(crate) fn wants_batch(op_type: &str) -> bool {
    matches!(
        op_type,
        "AveragePool"
            | "BatchNormalization"
            | "Conv"
            | "ConvTranspose"
            | "DepthToSpace"
            | "GlobalAveragePool"
            | "GlobalMaxPool"
            | "GroupNormalization"
            | "InstanceNormalization"
            | "MaxPool"
            | "SpaceToDepth"
    )
}

/// The converter of an operator of the standard domain, if it can run.
pub(crate) fn find_converter(op_type: &str) -> Option<Converter> {
    let at = OPERATORS.binary_search_by_key(&op_type, |operator| operator.name).ok()?;
    Some(OPERATORS[at].converter)
}

/// Whether outputs of the operator behind the first can be read.
pub(crate) fn has_several_outputs(op_type: &str) -> bool {
    op_type == "Split" || is_recurrent(op_type)
}

/// What is said of a recurrent node whose time is the axis of the batch.
pub(crate) const BATCH_AS_TIME: &str = "reads axis 0 as time, which is the network's batch";

/// Whether the operator runs over a sequence, and tells its outputs' shapes itself.
pub(crate) fn is_recurrent(op_type: &str) -> bool {
    Cell::of(op_type).is_some()
}

/// Why an operator without a converter is refused, with the remedy that fits it.
pub(crate) fn refuse_operator(op_type: &str) -> Refusal {
    let hint = match op_type {
        "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => {
            "export the quantised network with QuantizeLinear and DequantizeLinear (QDQ), or the float network"
        }
        "Loop" | "If" | "Scan" => {
            "unroll the network, or export its recurrent layers as LSTM, GRU or RNN (see `docs/operators.md`)"
        }
        "NonMaxSuppression" | "TopK" => {
            "cut the network before it and do this step outside (see `docs/operators.md`)"
        }
        _ => {
            "rewrite it with operators that run (see `docs/operators.md`), or cut the network before it"
        }
    };
    Refusal::unsupported(format!("is operator `{op_type}`, which cannot run here"), hint)
}
