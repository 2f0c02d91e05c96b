//! Shape, type and constant value of what one node makes, found by tract.
//!
//! Each node is handed to tract alone, its operands as facts: a failure names its node, weights are
//! shared and never copied, and nothing is computed before the size of the result is known.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use nvcim_ir::shape::{MAX_ELEMENTS, count_elements};
use prost::Message;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::{DimLike, TDim};
use tract_onnx::{Onnx, pb};

use crate::data::Data;
use crate::misfit;
use crate::proto::NodeProto;
use crate::refusal::Refusal;

/// The most elements that a tensor computed from constants may have.
const MAX_FOLDED: usize = 1 << 24;
/// The most multiplications spent on one product of constants.
const MAX_WORK: usize = 1 << 32;

/// The most floats that a setting can have of which a shape depends, such as the scales of a `Resize`.
const MAX_SETTINGS: usize = 64;

/// What is known of a tensor.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// The value, the same for every input.
    Constant(Data),
    /// A tensor that depends on the network's input.
    Varying {
        /// The whole shape, batch axis included.
        shape: Vec<usize>,
        /// The type of its elements.
        datum: DatumType,
    },
}

/// tract's operators for one version of the standard operator set.
pub(crate) struct Analyser {
    onnx: Onnx,
    opset: i64,
    /// Whether axis 0 of tensors that vary is a batch of any length.
    open_batch: bool,
}

/// Operators that may be folded, or whose output shape is known, though they do not run here.
const KNOWN: &[&str] = &["ConstantOfShape", "Mod", "Range"];

/// Whether tract may be asked about an operator that cannot run here.
pub(crate) fn is_known(op_type: &str) -> bool {
    KNOWN.binary_search(&op_type).is_ok()
}

impl Analyser {
    /// The operators of version `opset`; with an open batch, axis 0 of tensors that vary may have any length.
    pub(crate) fn new(opset: i64, open_batch: bool) -> Self {
        Self { onnx: tract_onnx::onnx(), opset, open_batch }
    }

    /// What the output in `slot` of `node` is; `operands` in slot order, `None` where one is left out.
    ///
    /// An error where tract finds that shapes or types do not fit, or cannot tell the shape. `judge` may know why,
    /// in better words than that the node cannot take its operands.
    pub(crate) fn infer(
        &self,
        node: &NodeProto,
        operands: &[Option<Fact>],
        slot: usize,
        judge: impl FnOnce() -> Option<Refusal>,
    ) -> Result<Fact, Refusal> {
        check_generator(node, operands)?;
        let reason = || misfit::find_reason(node, operands, self.open_batch);
        let explain = |why| misfit::explain(node, operands, self.open_batch, why);
        if node.op_type == "MatMul"
            && let Some(why) = reason()
        {
            // tract says nothing of factors that do not fit before it computes.
            return Err(Refusal::broken(explain(Some(why))));
        }
        // tract panics on some contradictions that no check of ours foresees.
        let inferred = catch_unwind(AssertUnwindSafe(|| self.infer_guarded(node, operands, slot)));
        match inferred {
            Ok(Ok(fact)) => Ok(fact),
            Ok(Err(Failure::Refused(refusal))) => Err(refusal),
            Ok(Err(Failure::Misfit)) | Err(_) => Err(match reason() {
                Some(why) => Refusal::broken(explain(Some(why))),
                None => judge().unwrap_or_else(|| Refusal::broken(explain(None))),
            }),
            Ok(Err(Failure::Open)) => Err(match reason() {
                Some(why) => Refusal::unsupported(explain(Some(why)), FIXED),
                None => Refusal::unsupported(
                    "makes a tensor whose shape cannot be told from the file",
                    FIXED,
                ),
            }),
        }
    }

    fn infer_guarded(
        &self,
        node: &NodeProto,
        operands: &[Option<Fact>],
        slot: usize,
    ) -> Result<Fact, Failure> {
        let constants: Option<Vec<&Data>> = (operands.iter().flatten())
            .map(|operand| match operand {
                Fact::Constant(value) => Some(value),
                Fact::Varying { .. } => None,
            })
            .collect();
        // With its first operand unknown, tract tells the shape without computing anything.
        let generates = matches!(node.op_type.as_str(), "ConstantOfShape" | "Range");
        let (model, outlet) = self.build(node, operands, !generates, slot)?;
        let fact = model.outlet_fact(outlet)?;
        if let (true, Some(value)) = (generates, fact.value.concretize()) {
            return Ok(Fact::Constant(Data::from_tensor(&plain(&value)?)));
        }
        let (shape, datum) = concrete(fact)?;
        let Some(constants) = constants.filter(|all| !all.is_empty()) else {
            return Ok(Fact::Varying { shape, datum });
        };
        check_cost(node, &constants, &shape)?;
        let inputs = constants.into_iter().map(|it| it.to_tensor().into_tvalue()).collect();
        let op = &model.nodes()[outlet.node].op;
        let outputs = op.eval_out_of_plan(inputs)?;
        match outputs.and_then(|mut outputs| outputs.drain(..).nth(outlet.slot)) {
            Some(value) => Ok(Fact::Constant(Data::from_tensor(&plain(&value.into_arc_tensor())?))),
            None => Ok(Fact::Varying { shape, datum }),
        }
    }

    /// A model of the node alone, analysed, and the outlet of its output in `slot`.
    fn build(
        &self,
        node: &NodeProto,
        operands: &[Option<Fact>],
        hide_first: bool,
        slot: usize,
    ) -> Result<(InferenceModel, OutletId), Failure> {
        let rename = |prefix: &str, names: &[String]| -> Vec<String> {
            let name = |(slot, name): (usize, &String)| match name.as_str() {
                "" => String::new(),
                _ => format!("{prefix}{slot}"),
            };
            names.iter().enumerate().map(name).collect()
        };
        let (input, output) = (rename("in", &node.input), rename("out", &node.output));
        let alone = NodeProto { input, output, name: "node".into(), ..node.clone() };
        let alone =
            pb::NodeProto::decode(alone.encode_to_vec().as_slice()).map_err(|_| Failure::Misfit)?;
        let proto = pb::ModelProto {
            opset_import: vec![pb::OperatorSetIdProto {
                domain: String::new(),
                version: self.opset,
            }],
            graph: Some(pb::GraphProto { node: vec![alone], ..Default::default() }),
            ..Default::default()
        };
        let parsed = self.onnx.parse(&proto, None)?;
        let (mut model, outlets) = (parsed.model, parsed.outlets_by_name);
        for (slot, operand) in operands.iter().enumerate() {
            let Some(operand) = operand else { continue };
            let fact = match operand {
                Fact::Constant(value) if slot == 0 && hide_first || is_weight(value) => {
                    InferenceFact::dt_shape(value.datum_type(), value.shape())
                }
                Fact::Constant(value) => InferenceFact::try_from(&value.to_tensor())?,
                Fact::Varying { shape, datum } => InferenceFact::dt_shape(*datum, shape),
            };
            if let Some(&outlet) = outlets.get(&format!("in{slot}")) {
                model.set_outlet_fact(outlet, fact)?;
            }
        }
        let outlet = *outlets.get(&format!("out{slot}")).ok_or(Failure::Misfit)?;
        model.analyse(false)?;
        Ok((model, outlet))
    }
}

/// Whether no rule for shapes can ask for a constant's values: floats, and more than a list of scales or pads has.
fn is_weight(value: &Data) -> bool {
    matches!(value, Data::Floats(_)) && value.len() > MAX_SETTINGS
}

/// Refuses a constant whose size is written in its operands' values, if it is too large.
fn check_generator(node: &NodeProto, operands: &[Option<Fact>]) -> Result<(), Refusal> {
    let values = |slot: usize| match operands.get(slot) {
        Some(Some(Fact::Constant(value))) => value.ints(),
        _ => None,
    };
    let count = match node.op_type.as_str() {
        "ConstantOfShape" => values(0).and_then(|shape| {
            let lengths: Option<Vec<_>> =
                shape.iter().map(|&length| usize::try_from(length).ok()).collect();
            count_elements(&lengths?)
        }),
        "Range" => (|| {
            let [start, limit, delta] = [0, 1, 2].map(|slot| values(slot)?.first().copied());
            usize::try_from(limit?.checked_sub(start?)?.checked_div(delta?)?.max(0)).ok()
        })(),
        _ => return Ok(()),
    };
    match count {
        Some(count) if count <= MAX_FOLDED => Ok(()),
        _ => Err(too_large()),
    }
}

fn check_cost(node: &NodeProto, inputs: &[&Data], output: &[usize]) -> Result<(), Refusal> {
    if count_elements(output).is_none_or(|count| count > MAX_FOLDED) {
        return Err(too_large());
    }
    let multiplies =
        matches!(node.op_type.as_str(), "Conv" | "Gemm" | "MatMul" | "MaxPool" | "AveragePool");
    let work = inputs.iter().try_fold(1usize, |work, input| work.checked_mul(input.len()));
    if multiplies && work.is_none_or(|work| work > MAX_WORK) {
        return Err(Refusal::unsupported(
            format!("multiplies constants more than {MAX_WORK} times"),
            FOLD,
        ));
    }
    Ok(())
}

fn too_large() -> Refusal {
    let message = format!("computes a constant of more than {MAX_FOLDED} elements");
    Refusal::unsupported(message, FOLD)
}

/// What helps where a shape is not certain.
const FIXED: &str = "export with fixed shapes that fit; only the batch may stay open";

/// What helps where computing a constant would take too much.
const FOLD: &str = "let the exporter fold constants, so that the file holds the value itself";

/// Shape and element type of a fact that is certain.
fn concrete(fact: &InferenceFact) -> Result<(Vec<usize>, DatumType), Failure> {
    let lengths = fact.shape.concretize();
    let shape: Option<Vec<usize>> =
        lengths.and_then(|shape| shape.iter().map(|length| length.to_usize().ok()).collect());
    let (Some(shape), Some(datum)) = (shape, fact.datum_type.concretize()) else {
        return Err(Failure::Open);
    };
    // Shapes are tract's own type of integers; nothing below knows it.
    let datum = if datum == TDim::datum_type() { i64::datum_type() } else { datum };
    match count_elements(&shape) {
        Some(_) => Ok((shape, datum)),
        None => Err(Refusal::unsupported(
            format!("makes a tensor of shape {shape:?}, above {MAX_ELEMENTS} elements"),
            "export a network of smaller tensors",
        )
        .into()),
    }
}

/// The value with tract's symbolic integers turned into plain ones.
fn plain(value: &Arc<Tensor>) -> Result<Arc<Tensor>, Failure> {
    if value.datum_type() != TDim::datum_type() {
        return Ok(value.clone());
    }
    Ok(Arc::new(value.cast_to::<i64>()?.into_owned()))
}

/// Why nothing is known of what a node makes.
enum Failure {
    /// We refuse it, for this reason.
    Refused(Refusal),
    /// tract cannot give its operands to the node. What it says of that is about its own types.
    Misfit,
    /// tract does not tell the shape.
    Open,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<TractError> for Failure {
    fn from(_: TractError) -> Self {
        Self::Misfit
    }
}

#[cfg(test)]
mod tests {
    use super::KNOWN;
    use crate::ops;

    #[test]
    fn the_list_is_sorted_and_holds_no_operator_that_runs() {
        assert!(KNOWN.is_sorted());
        assert!(KNOWN.iter().all(|op_type| ops::find_converter(op_type).is_none()));
    }
}
