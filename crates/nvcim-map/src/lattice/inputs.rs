//! Inputs of quantised layers on the steps of drivers.
//!
//! A tensor behind a rounding step holds whole multiples of one number, its *pitch*, and most digital steps keep
//! it or scale it: pitches are carried through the program from rounding on. A driver has `N` steps from 0 to full
//! scale; for inputs with multiples up to `n` the full scale becomes `pitch N / m` with `m = floor(N / n)`, and
//! drivers convert them without an error. A driver with too few steps keeps the scale that it had.

use ndarray::{ArcArray, IxDyn};
use nvcim_chip::effects::dac;
use nvcim_ir::ids::{IdVec, LayerId, StepId};
use nvcim_ir::op::{Binary, Op, Unary};
use nvcim_ir::program::{Program, Step, StepOp};
use nvcim_ir::tiled::InputCoding;

use super::{Pitch, find_pitch, magnitude, range_of};

/// How far from a whole number a ratio may be that counts as one: products of a few rounded numbers.
const TOLERANCE: f64 = 1e-5;

/// Moves the full scales of layers whose inputs have a pitch up to where drivers of `bits` bits hit it.
pub(crate) fn align_inputs(program: &Program, inputs: &mut IdVec<LayerId, InputCoding>, bits: u32) {
    let mut pitches: IdVec<StepId, Option<f64>> = IdVec::new();
    // The pitch of all inputs of a layer; nothing in front of its first use, none where one use has none.
    let mut driven: IdVec<LayerId, Option<Option<f64>>> = inputs.iter().map(|_| None).collect();
    for step in &program.steps {
        let pitch = match &step.op {
            StepOp::Digital(op) => carry_pitch(program, step, op, &pitches),
            StepOp::Matrix { layer, .. } => {
                let pitch = pitches[step.operands[0]];
                let joined = |before: Option<f64>| before.zip(pitch).and_then(|(a, b)| join(a, b));
                driven[*layer] = Some(driven[*layer].map_or(pitch, joined));
                None
            }
        };
        pitches.push(pitch);
    }
    for (input, pitch) in inputs.iter_mut().zip(&driven) {
        if let Some(Some(pitch)) = *pitch {
            align_input(input, pitch, dac::drive_steps(bits));
        }
    }
}

/// The next full scale whose steps hit multiples of `pitch`.
fn align_input(input: &mut InputCoding, pitch: f64, n_steps: f64) {
    let multiple = (f64::from(input.full_scale) / pitch - TOLERANCE).ceil().max(1.0);
    input.full_scale = range_of(pitch, multiple, n_steps).unwrap_or(input.full_scale);
}

/// The pitch of what a step makes of tensors with these pitches.
fn carry_pitch(
    program: &Program,
    step: &Step,
    op: &Op,
    pitches: &IdVec<StepId, Option<f64>>,
) -> Option<f64> {
    let pitch = |slot: usize| pitches[step.operands[slot]];
    let constant = |slot: usize| match &program.steps[step.operands[slot]].op {
        StepOp::Digital(Op::Const(id)) => Some(&program.consts[*id].value),
        _ => None,
    };
    match op {
        Op::Unary(Unary::Round | Unary::Floor | Unary::Ceil | Unary::Sign)
        | Op::Binary(Binary::Equal | Binary::Greater | Binary::GreaterOrEqual)
        | Op::ArgMax { .. } => Some(1.0),
        Op::Unary(Unary::Relu | Unary::Abs)
        | Op::CumSum { .. }
        | Op::MaxPool { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Expand
        | Op::Gather { .. }
        | Op::Slice { .. } => pitch(0),
        Op::Unary(Unary::Clip { lo, hi }) => {
            let finite = [lo, hi].into_iter().filter(|bound| bound.is_finite());
            keep_with(pitch(0)?, finite.copied())
        }
        Op::Lookup { table } => {
            let values = &program.consts[*table].value;
            Some(find_pitch(values.iter(), magnitude(values))?.pitch)
        }
        Op::Pad { value, .. } => keep_with(pitch(0)?, std::iter::once(*value)),
        Op::Concat { .. } => {
            (1..step.operands.len()).try_fold(pitch(0)?, |so_far, slot| join(so_far, pitch(slot)?))
        }
        Op::Binary(Binary::Add | Binary::Sub) => match (constant(0), constant(1)) {
            (None, None) => join(pitch(0)?, pitch(1)?),
            (Some(values), None) => keep_with(pitch(1)?, values.iter().copied()),
            (_, Some(values)) => keep_with(pitch(0)?, values.iter().copied()),
        },
        Op::Binary(Binary::Mul) => match (constant(0), constant(1)) {
            (Some(factor), None) => Some(pitch(1)? * the_one_of(factor)?),
            (None, Some(factor)) => Some(pitch(0)? * the_one_of(factor)?),
            _ => None,
        },
        Op::Binary(Binary::Div) => Some(pitch(0)? / the_one_of(constant(1)?)?),
        _ => None,
    }
}

/// The pitch of multiples of `pitch` together with these numbers, if they are multiples too.
fn keep_with(pitch: f64, mut numbers: impl Iterator<Item = f32>) -> Option<f64> {
    numbers.all(|number| is_whole(f64::from(number) / pitch)).then_some(pitch)
}

/// The pitch of multiples of either, where one is a multiple of the other.
fn join(a: f64, b: f64) -> Option<f64> {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    is_whole(large / small).then_some(small)
}

/// The size of all elements, where there is but one, not 0.
fn the_one_of(values: &ArcArray<f32, IxDyn>) -> Option<f64> {
    let Pitch { pitch, multiple } = find_pitch(values.iter(), magnitude(values))?;
    (multiple == 1 && values.iter().all(|value| *value != 0.0)).then_some(pitch)
}

fn is_whole(ratio: f64) -> bool {
    (ratio - ratio.round()).abs() <= TOLERANCE * ratio.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::Depthwise;
    use nvcim_ir::ids::{Id, IdVec, LayerId, NodeId};
    use nvcim_ir::op::{Binary, Op, Unary};
    use nvcim_ir::tiled::InputCoding;

    use super::align_inputs;
    use crate::lower::lower_graph;
    use crate::testing::Builder;

    /// The full scale of a dense layer behind what `make` builds on the input, from `full_scale` before.
    fn aligned(full_scale: f32, bits: u32, make: impl Fn(&mut Builder, NodeId) -> NodeId) -> f32 {
        let (mut net, x) = Builder::new(1, &[6]);
        let made = make(&mut net, x);
        let dense = net.dense(made, 3, false);
        let lowered = lower_graph(&net.finish(&[dense]), Depthwise::Arrays);
        let coding = InputCoding { full_scale, signed: true };
        let mut inputs: IdVec<LayerId, InputCoding> = std::iter::once(coding).collect();
        align_inputs(&lowered.program, &mut inputs, bits);
        inputs[Id::new(0)].full_scale
    }

    fn constant(net: &mut Builder, shape: &[usize], values: Vec<f32>) -> NodeId {
        let id = net.value(shape, values);
        net.add(Op::Const(id), &[], shape)
    }

    fn scalar(net: &mut Builder, value: f32) -> NodeId {
        constant(net, &[], vec![value])
    }

    /// `clip(round(x / s) + z)` and back, as quantised networks spell it.
    fn quantise(net: &mut Builder, x: NodeId, [s, z]: [f32; 2]) -> NodeId {
        let [scale, zero] = [scalar(net, s), scalar(net, z)];
        let scaled = net.map(Op::Binary(Binary::Div), &[x, scale]);
        let rounded = net.map(Op::Unary(Unary::Round), &[scaled]);
        let shifted = net.map(Op::Binary(Binary::Add), &[rounded, zero]);
        let clipped = net.map(Op::Unary(Unary::Clip { lo: -128.0, hi: 127.0 }), &[shifted]);
        let back = net.map(Op::Binary(Binary::Sub), &[clipped, zero]);
        net.map(Op::Binary(Binary::Mul), &[back, scale])
    }

    fn assert_near(got: f32, want: f32) {
        assert!((got / want - 1.0).abs() < 1e-6, "{got} {want}");
    }

    #[test]
    fn whole_inputs_are_steps_of_the_driver() {
        // All 255 multiples, 100 of them with 2 steps each, and one.
        let behind = |net: &mut Builder, x| quantise(net, x, [0.04, -128.0]);
        assert_near(aligned(10.2, 8, behind), 255.0 * 0.04);
        assert_near(aligned(4.0, 8, behind), 127.5 * 0.04);
        assert_near(aligned(0.04, 8, behind), 0.04);
        // 4 bits have too few steps for 255 multiples, and just enough for 15.
        assert_near(aligned(10.2, 4, behind), 10.2);
        assert_near(aligned(0.6, 4, behind), 0.6);
        assert_near(aligned(0.59, 4, behind), 0.6);
    }

    #[test]
    fn steps_that_move_elements_keep_the_pitch_and_others_lose_it() {
        let scale = [0.5, 3.0];
        let moved = |net: &mut Builder, x| {
            let x = quantise(net, x, scale);
            let y = net.map(Op::Unary(Unary::Relu), &[x]);
            let sum = net.map(Op::Binary(Binary::Add), &[x, y]);
            net.add(Op::Reshape, &[sum], &[6])
        };
        assert_near(aligned(100.2, 8, moved), 0.5 * 255.0);
        let curved = |net: &mut Builder, x| {
            let x = quantise(net, x, scale);
            net.map(Op::Unary(Unary::Tanh), &[x])
        };
        assert_near(aligned(100.2, 8, curved), 100.2);
        let shifted = |net: &mut Builder, x| {
            let x = quantise(net, x, scale);
            let third = scalar(net, 1.0 / 3.0);
            net.map(Op::Binary(Binary::Add), &[x, third])
        };
        assert_near(aligned(100.2, 8, shifted), 100.2);
        let channels = |net: &mut Builder, x| {
            let x = quantise(net, x, scale);
            let factors = constant(net, &[6], (1..=6).map(|factor| factor as f32).collect());
            net.map(Op::Binary(Binary::Mul), &[x, factors])
        };
        assert_near(aligned(100.2, 8, channels), 100.2);
        assert_near(aligned(100.2, 8, |_, x| x), 100.2);
    }
}
