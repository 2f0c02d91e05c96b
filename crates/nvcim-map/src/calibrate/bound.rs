//! Worst-case ranges: intervals carried through the program, one per tensor.

use nvcim_ir::ids::{IdVec, LayerId, StepId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{Lowering, StepOp};
use nvcim_ir::tiled::{InputCoding, MatrixLayer};

use super::currents::Sensed;
use super::ranges::Seen;
use super::span::{Span, code_input};
use super::{INPUT_BOUND, Task, currents, interval};
use crate::cut::Cut;

/// How each layer's inputs are driven in the worst case, and the first layer without a useful one.
pub(super) fn bound_inputs(task: &Task<'_>) -> (IdVec<LayerId, InputCoding>, Option<LayerId>) {
    let mut spans: IdVec<StepId, Span> = IdVec::new();
    let mut inputs: IdVec<LayerId, InputCoding> =
        task.layers.iter().map(|layer| layer.input).collect();
    let mut unbounded = None;
    for step in &task.program.steps {
        let operands: Vec<Span> = step.operands.iter().map(|id| spans[*id]).collect();
        let span = match &step.op {
            StepOp::Digital(Op::Input) => Span { lo: -INPUT_BOUND, hi: INPUT_BOUND },
            StepOp::Digital(op) => {
                let first = step.operands.first().map(|id| &task.program.steps[*id].shape[..]);
                interval::bound_op(op, &operands, first.unwrap_or(&[]), &task.program.consts)
            }
            StepOp::Matrix { layer, lowering } => {
                let drives = bound_drives(operands[0], lowering);
                let largest = drives.magnitude();
                inputs[*layer] = code_input(drives, largest);
                if largest >= interval::LIMIT {
                    unbounded = unbounded.or(Some(*layer));
                }
                bound_outputs(&task.layers[*layer], drives)
            }
        };
        spans.push(interval::saturate(span));
    }
    (inputs, unbounded)
}

fn bound_drives(x: Span, lowering: &Lowering) -> Span {
    match lowering {
        Lowering::Conv(window) if interval::pads(window) => x.join(Span::ZERO),
        Lowering::Conv(_) | Lowering::Dense => x,
    }
}

/// The span of `W^T x + bias` over all outputs for inputs anywhere in `x`.
fn bound_outputs(layer: &MatrixLayer, x: Span) -> Span {
    let (_, _, block_cols) = layer.blocks.dim();
    let mut res = Span::EMPTY;
    for (group, block) in layer.blocks.outer_iter().enumerate() {
        for (col, weights) in block.columns().into_iter().enumerate() {
            let bias = layer.bias[group * block_cols + col];
            let sum = bound_sum(weights.iter().copied(), x);
            res = res.join(Span { lo: sum.lo + bias, hi: sum.hi + bias });
        }
    }
    res
}

/// The span of `sum w x` for every `x` anywhere in the span of its own.
fn bound_sum(weights: impl Iterator<Item = f32>, x: Span) -> Span {
    let (mut lo, mut hi) = (0.0f64, 0.0f64);
    for weight in weights.map(f64::from) {
        let (a, b) = (weight * f64::from(x.lo), weight * f64::from(x.hi));
        lo += a.min(b);
        hi += a.max(b);
    }
    Span { lo: lo as f32, hi: hi as f32 }
}

/// The currents of every conversion of every cut when each drive may be anything its coding allows.
pub(super) fn bound_currents(
    task: &Task<'_>,
    inputs: &IdVec<LayerId, InputCoding>,
) -> Vec<Vec<Seen>> {
    let bound_cut = |cut: &Cut| {
        let input = inputs[cut.layer];
        let one_polarity = !input.signed || task.takes_two_passes(input);
        let drives = Span { lo: if one_polarity { 0.0 } else { -1.0 }, hi: 1.0 };
        let Sensed { slots, weights } =
            currents::sense_cut(&task.layers[cut.layer], cut, task.chip);
        let spans = weights.outer_iter().map(|row| bound_sum(row.iter().copied(), drives));
        slots.into_iter().zip(spans).map(|(slot, span)| Seen { slot, span }).collect()
    };
    task.cuts.iter().map(bound_cut).collect()
}
