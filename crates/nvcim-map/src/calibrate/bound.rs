//! Worst-case ranges: intervals carried through the program, one per tensor.

use std::borrow::Cow;

use ndarray::{ArrayView1, ArrayView2};
use nvcim_ir::ids::{IdVec, LayerId, StepId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{Lowering, StepOp};
use nvcim_ir::tiled::InputCoding;
use rayon::prelude::*;

use super::currents::Sensed;
use super::ranges::Seen;
use super::{INPUT_BOUND, Task, currents, interval};
use crate::cut::Cut;
use crate::span::{Span, code_input};

/// How each layer's inputs are driven in the worst case, and the first layer without a useful one.
pub(super) fn bound_inputs(task: &Task<'_>) -> (IdVec<LayerId, InputCoding>, Option<LayerId>) {
    // The one pass over all weights, which needs to know nothing of inputs.
    let layers: Vec<_> = task.layers.iter().collect();
    let sums: IdVec<LayerId, Vec<Sums>> = (layers.par_iter())
        .map(|layer| layer.blocks.outer_iter().flat_map(|it| Sums::of_columns(&it)).collect())
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let mut spans: IdVec<StepId, Span> = IdVec::new();
    // What drives each layer in any of its uses.
    let mut driven: IdVec<LayerId, Span> = task.layers.iter().map(|_| Span::EMPTY).collect();
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
                driven[*layer] = driven[*layer].join(drives);
                if drives.magnitude() >= interval::LIMIT {
                    unbounded = unbounded.or(Some(*layer));
                }
                bound_outputs(&sums[*layer], &task.layers[*layer].bias, drives)
            }
        };
        spans.push(interval::saturate(span));
    }
    let code = |drives: &Span| code_input(*drives, drives.magnitude());
    (driven.iter().map(code).collect(), unbounded)
}

fn bound_drives(x: Span, lowering: &Lowering) -> Span {
    match lowering {
        Lowering::Conv(window) if interval::pads(window) => x.join(Span::ZERO),
        Lowering::Conv(_) | Lowering::Dense => x,
    }
}

/// The span of `W^T x + bias` over all outputs, given by their columns' sums, for inputs anywhere in `x`.
fn bound_outputs(sums: &[Sums], biases: &[f32], x: Span) -> Span {
    let outputs = sums.iter().zip(biases).map(|(sums, bias)| {
        let Span { lo, hi } = sums.bound(x);
        Span { lo: lo + bias, hi: hi + bias }
    });
    outputs.fold(Span::EMPTY, Span::join)
}

/// Sums side by side in one instruction.
const LANES: usize = 8;

/// What is needed of weights to bound a sum with them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sums {
    /// The sum of positive weights.
    positive: f64,
    /// The sum of negative weights.
    negative: f64,
}

impl Sums {
    /// Of one column.
    fn of(weights: &[f32]) -> Self {
        let (chunks, rest) = weights.as_chunks::<LANES>();
        let (mut positive, mut negative) = ([0.0; LANES], [0.0; LANES]);
        for chunk in chunks {
            add_up(&mut positive, &mut negative, chunk);
        }
        add_up(&mut positive, &mut negative, rest);
        Self { positive: positive.iter().sum(), negative: negative.iter().sum() }
    }

    /// Of every column, the way that they lie in memory.
    fn of_columns(block: &ArrayView2<'_, f32>) -> Vec<Self> {
        let (mut positive, mut negative) = (vec![0.0; block.ncols()], vec![0.0; block.ncols()]);
        if block.strides()[0] < block.strides()[1] {
            for (at, column) in block.columns().into_iter().enumerate() {
                let sums = Self::of(&contiguous(&column));
                (positive[at], negative[at]) = (sums.positive, sums.negative);
            }
        } else {
            for row in block.rows() {
                add_up(&mut positive, &mut negative, &contiguous(&row));
            }
        }
        let pairs = positive.into_iter().zip(negative);
        pairs.map(|(positive, negative)| Self { positive, negative }).collect()
    }

    /// The span of `sum w x` for every `x` anywhere in the span of its own.
    fn bound(self, x: Span) -> Span {
        let (lo, hi) = (f64::from(x.lo), f64::from(x.hi));
        let sum = |of_positive: f64, of_negative: f64| {
            (self.positive * of_positive + self.negative * of_negative) as f32
        };
        Span { lo: sum(lo, hi), hi: sum(hi, lo) }
    }
}

/// Adds each weight to the sum of its sign at its place.
fn add_up(positive: &mut [f64], negative: &mut [f64], weights: &[f32]) {
    for ((positive, negative), &weight) in positive.iter_mut().zip(negative).zip(weights) {
        // One instruction each, which `max` is not: it looks after what is no number.
        *positive += f64::from(if weight > 0.0 { weight } else { 0.0 });
        *negative += f64::from(if weight < 0.0 { weight } else { 0.0 });
    }
}

/// The elements side by side, copied where they are not.
fn contiguous<'a>(values: &'a ArrayView1<'_, f32>) -> Cow<'a, [f32]> {
    values.as_slice().map_or_else(|| values.to_vec().into(), Cow::from)
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
        let spans = weights.outer_iter().map(|row| Sums::of(&contiguous(&row)).bound(drives));
        slots.into_iter().zip(spans).map(|(slot, span)| Seen { slot, span }).collect()
    };
    task.cuts.par_iter().map(bound_cut).collect()
}
