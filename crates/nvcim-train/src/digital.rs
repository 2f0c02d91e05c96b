//! The digital operators of a program on the tape: burn's, or made of burn's, or moves of elements.
//!
//! Values are those of the executor in `nvcim-ops` up to rounding. Where a function has a corner or a step, the
//! slope is that of one side: 0 at the corner of a rectifier, 0 everywhere for what rounds.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use std::sync::Arc;

use burn_backend::ops::{ActivationOps, FloatTensorOps};
use burn_backend::tensor::BoolTensor;
use burn_backend::{BoolDType, Scalar, Shape, get_or_init_device_settings};
use ndarray::IxDyn;
use nvcim_ir::graph::Constant;
use nvcim_ir::ids::{ConstId, IdVec};
use nvcim_ir::op::{Binary, Op, Reduction, Unary, Window};
use nvcim_ir::program::Lowering;
use nvcim_ops::tensor::{Operand, Tensor};
use nvcim_ops::{binary, layout, scan};

use crate::convert::Key;
use crate::matrix::{self, Leaves, SeenLayer};
use crate::pick::{self, Moves, Windows};
use crate::tape::{self, Tape, Var, WayBack};

/// A digital operator as it runs on the tape.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Moves elements.
    Move(Moves),
    /// Chooses the largest of each window, or the smallest.
    Choose {
        /// What is chosen from.
        windows: Windows,
        /// Whether the smallest is chosen.
        smallest: bool,
    },
    /// Takes the mean of each window.
    Average(Windows),
    /// Multiplies by a matrix that stays as it is: a convolution that a chip runs digitally.
    Multiply {
        /// The matrix.
        layer: Arc<SeenLayer>,
        /// How it walks.
        window: Window,
    },
    /// Computes.
    Compute(Op),
}

/// Plans a step that makes samples of `to` from operands whose samples have the shapes `from`.
///
/// # Errors
/// Why the way back through the operator cannot be computed.
pub(crate) fn plan_op(
    op: &Op,
    consts: &IdVec<ConstId, Constant>,
    from: &[&[usize]],
    to: &[usize],
) -> Result<Plan, &'static str> {
    let first = from.first().copied().unwrap_or_default();
    if let Some(moves) = pick::find_moves(op, first, to) {
        return moves.map(Plan::Move);
    }
    Ok(match op {
        Op::MaxPool { window } => {
            Plan::Choose { windows: pick::find_windows(window, first, to, None), smallest: false }
        }
        Op::AveragePool { window, count_pad } => {
            Plan::Average(pick::find_windows(window, first, to, Some(*count_pad)))
        }
        Op::Reduce { reduction: reduction @ (Reduction::Max | Reduction::Min), axes } => {
            let windows = pick::find_groups(first, axes)?;
            Plan::Choose { windows, smallest: *reduction == Reduction::Min }
        }
        Op::Conv { weight, bias, window, groups } => {
            let bias = bias.map(|bias| &consts[bias]);
            let layer = Arc::new(fixed_layer(&consts[*weight], bias, *groups));
            Plan::Multiply { layer, window: window.clone() }
        }
        Op::Dense { .. } => return Err("is a matrix that mapping left digital"),
        other => Plan::Compute(other.clone()),
    })
}

/// Runs a planned operator on its operands, `[samples, sample shape...]`, to samples of `shape`.
pub(crate) fn run_op(
    plan: &Plan,
    operands: &[&Var],
    consts: &IdVec<ConstId, Constant>,
    n_samples: usize,
    shape: &[usize],
) -> Var {
    match plan {
        Plan::Move(moves) => pick::move_elements(operands[0], moves, shape),
        Plan::Choose { windows, smallest } => pick::choose(operands[0], windows, *smallest, shape),
        Plan::Average(windows) => pick::average(operands[0], windows, shape),
        Plan::Multiply { layer, window } => {
            let blank = |len: usize| tape::constant(vec![0.0; len], &[len]);
            let (groups, rows, cols) = layer.blocks;
            let leaves =
                Leaves { weights: blank(groups * rows * cols), bias: blank(layer.bias.len()) };
            let lowering = Lowering::Conv(window.clone());
            matrix::multiply(operands[0], &leaves, layer, &lowering, shape, Key::default())
        }
        Plan::Compute(op) => Computing { operands, consts, n_samples, shape }.compute(op),
    }
}

/// A convolution's weights `[m, c / groups, kh, kw]` as a layer's blocks.
fn fixed_layer(weight: &Constant, bias: Option<&Constant>, groups: usize) -> SeenLayer {
    let filters = weight.value.shape()[0];
    let (rows, cols) = (weight.value.len() / filters, filters / groups);
    let by_output: Vec<f32> = weight.value.iter().copied().collect();
    let mut blocks = Vec::with_capacity(by_output.len());
    for filters in by_output.chunks_exact(rows * cols) {
        blocks
            .extend((0..rows).flat_map(|row| (0..cols).map(move |col| filters[col * rows + row])));
    }
    let bias = bias.map_or_else(|| vec![0.0; filters], |it| it.value.iter().copied().collect());
    SeenLayer::exact((groups, rows, cols), &blocks, &bias)
}

struct Computing<'a> {
    operands: &'a [&'a Var],
    consts: &'a IdVec<ConstId, Constant>,
    n_samples: usize,
    shape: &'a [usize],
}

impl Computing<'_> {
    fn compute(&self, op: &Op) -> Var {
        let x = || self.operands[0].clone();
        match op {
            Op::Const(id) => self.repeat(*id),
            Op::BatchNorm { scale, bias, mean, var, epsilon } => {
                let [scale, bias, mean, var] =
                    [scale, bias, mean, var].map(|id| &self.consts[*id].value);
                let factor = |at: usize| scale[at] / (var[at] + epsilon).sqrt();
                let factors: Vec<f32> = (0..scale.len()).map(factor).collect();
                let shifts = factors.iter().zip(mean).zip(bias).map(|((f, m), b)| b - f * m);
                let mut lens = vec![1; self.shape.len() + 1];
                lens[1] = factors.len();
                let shifts = tape::constant(shifts.collect(), &lens);
                add(mul(x(), tape::constant(factors, &lens)), shifts)
            }
            Op::Unary(function) => unary(*function, x()),
            Op::Binary(function) => {
                let [a, b] = [0, 1].map(|at| self.aligned(at));
                self.binary(*function, a, b)
            }
            Op::Select => {
                let [asked, then, other] = [0, 1, 2].map(|at| self.widened(at));
                let asked = Tape::float_not_equal_elem(asked, number(0.0), bools());
                Tape::float_mask_where(other, asked, then)
            }
            Op::MatMul => Tape::float_matmul(self.aligned(0), self.aligned(1)),
            Op::Softmax { axis } => Tape::softmax(x(), axis + 1),
            Op::LogSoftmax { axis } => Tape::log_softmax(x(), axis + 1),
            Op::GlobalAveragePool => mean(x(), &[1, 2]),
            Op::Reduce { reduction, axes } => self.shaped(reduce(*reduction, x(), axes)),
            Op::Normalize { axes, epsilon, centred } => normalize(x(), axes, *epsilon, *centred),
            Op::Reshape => self.shaped(x()),
            // Numbers that jump: there is nothing to learn from them.
            Op::ArgMax { axis, last } => {
                let x = Operand::from(tape::tensor_of(self.operands[0]));
                tape::constant_of(&scan::arg_max(&x, *axis, *last, self.shape))
            }
            Op::Lookup { table } => {
                let x = Operand::from(tape::tensor_of(self.operands[0]));
                tape::constant_of(&layout::lookup(&x, &self.consts[*table], self.shape))
            }
            Op::CumSum { axis, exclusive, reverse } => {
                let x = Operand::from(tape::tensor_of(self.operands[0]));
                let sums = scan::cum_sum(&x, *axis, *exclusive, *reverse);
                let back = Summed {
                    shape: x.shape().to_vec(),
                    axis: *axis,
                    exclusive: *exclusive,
                    reverse: *reverse,
                };
                let values = sums.iter().copied().collect();
                tape::record([self.operands[0]], values, sums.shape(), back)
            }
            Op::Concat { axis } => {
                Tape::float_cat(self.operands.iter().copied().cloned().collect(), axis + 1)
            }
            Op::Input
            | Op::Conv { .. }
            | Op::Dense { .. }
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::Transpose { .. }
            | Op::Expand
            | Op::Gather { .. }
            | Op::Slice { .. }
            | Op::Pad { .. } => unreachable!("`{}` is planned otherwise", op.name()),
        }
    }

    /// The lengths of the result's axes.
    fn full(&self) -> Vec<usize> {
        [&[self.n_samples], self.shape].concat()
    }

    fn shaped(&self, x: Var) -> Var {
        Tape::float_reshape(x, Shape::from(self.full()))
    }

    /// A constant for every sample.
    fn repeat(&self, id: ConstId) -> Var {
        let values: Vec<f32> = self.consts[id].value.iter().copied().collect();
        tape::constant(values.repeat(self.n_samples), &self.full())
    }

    /// An operand with axes of length 1 behind its samples, until it has as many as the result.
    fn aligned(&self, at: usize) -> Var {
        let x = self.operands[at];
        let mut lens = tape::shape_of(x);
        let missing = (self.shape.len() + 1).saturating_sub(lens.len());
        if missing == 0 {
            return x.clone();
        }
        lens.splice(1..1, std::iter::repeat_n(1, missing));
        Tape::float_reshape(x.clone(), Shape::from(lens))
    }

    /// An operand broadcast to the result's shape.
    fn widened(&self, at: usize) -> Var {
        Tape::float_expand(self.aligned(at), Shape::from(self.full()))
    }

    fn binary(&self, function: Binary, a: Var, b: Var) -> Var {
        match function {
            Binary::Add => add(a, b),
            Binary::Sub => Tape::float_sub(a, b),
            Binary::Mul => mul(a, b),
            Binary::Div => Tape::float_div(a, b),
            Binary::Pow => Tape::float_powf(a, b),
            // Truths jump: there is nothing to learn from them.
            Binary::Equal | Binary::Greater | Binary::GreaterOrEqual => {
                let [a, b] = [0, 1].map(|at| Operand::from(tape::tensor_of(self.operands[at])));
                tape::constant_of(&binary::binary(function, a, b, self.shape))
            }
            Binary::Min | Binary::Max => {
                let [a, b] = [0, 1].map(|at| self.widened(at));
                let lower: BoolTensor<Tape> = Tape::float_lower(b.clone(), a.clone(), bools());
                let (kept, taken) = if function == Binary::Min { (a, b) } else { (b, a) };
                Tape::float_mask_where(kept, lower, taken)
            }
        }
    }
}

/// The way back through running sums: sums from the other end.
#[derive(Debug)]
struct Summed {
    shape: Vec<usize>,
    axis: usize,
    exclusive: bool,
    reverse: bool,
}

impl WayBack<1> for Summed {
    fn pull(&self, gradient: &[f32], _wanted: [bool; 1]) -> [Vec<f32>; 1] {
        let gradient = Tensor::from_shape_vec(IxDyn(&self.shape), gradient.to_vec())
            .expect("sums are as many as what they sum");
        let x = Operand::from(gradient);
        let summed = scan::cum_sum(&x, self.axis, self.exclusive, !self.reverse);
        [summed.iter().copied().collect()]
    }
}

fn unary(function: Unary, x: Var) -> Var {
    let add_number = |x: Var, y: f64| Tape::float_add_scalar(x, number(y));
    match function {
        Unary::Relu => Tape::relu(x),
        Unary::Clip { lo, hi } => {
            // The upper bound wins where the bounds cross.
            let x = if lo.is_finite() { Tape::float_clamp_min(x, number(lo.into())) } else { x };
            if hi.is_finite() { Tape::float_clamp_max(x, number(hi.into())) } else { x }
        }
        Unary::Sigmoid => Tape::sigmoid(x),
        Unary::Tanh => Tape::float_tanh(x),
        Unary::LeakyRelu { alpha } => below_zero(x.clone(), x.clone(), times(x, alpha.into())),
        Unary::HardSwish => {
            let gate = add_number(times(x.clone(), 1.0 / 6.0), 0.5);
            mul(x, Tape::float_clamp(gate, number(0.0), number(1.0)))
        }
        Unary::Abs => Tape::float_abs(x),
        Unary::Sqrt => Tape::float_sqrt(x),
        Unary::Exp => Tape::float_exp(x),
        Unary::Log => Tape::float_log(x),
        Unary::Erf => Tape::float_erf(x),
        Unary::Sin => Tape::float_sin(x),
        Unary::Cos => Tape::float_cos(x),
        Unary::Floor => Tape::float_floor(x),
        Unary::Ceil => Tape::float_ceil(x),
        Unary::Round => Tape::float_round(x),
        Unary::Sign => Tape::float_sign(x),
        Unary::Softplus => {
            // The exponential of a negative number never overflows.
            let bent = Tape::float_exp(Tape::float_neg(Tape::float_abs(x.clone())));
            add(Tape::float_log1p(bent), Tape::relu(x))
        }
        Unary::Gelu => {
            let share = add_number(Tape::float_erf(times(x.clone(), FRAC_1_SQRT_2)), 1.0);
            times(mul(x, share), 0.5)
        }
        Unary::GeluTanh => {
            let cube = mul(mul(x.clone(), x.clone()), x.clone());
            let bent = add(x.clone(), times(cube, 0.044_715));
            let share = Tape::float_tanh(times(bent, FRAC_2_SQRT_PI * FRAC_1_SQRT_2));
            times(mul(x, add_number(share, 1.0)), 0.5)
        }
        Unary::Elu { alpha, gamma, width } => {
            // What is not used of the other side must not overflow, or its way back would be no number.
            let low = Tape::float_clamp_max(x.clone(), number(0.0));
            let bent = add_number(Tape::float_exp(times(low, 1.0 / f64::from(width))), -1.0);
            let bent = times(bent, alpha.into());
            times(below_zero(x.clone(), x, bent), gamma.into())
        }
    }
}

/// `low` where `x` is below 0, `high` elsewhere.
fn below_zero(x: Var, high: Var, low: Var) -> Var {
    let below = Tape::float_lower_elem(x, number(0.0), bools());
    Tape::float_mask_where(high, below, low)
}

/// Reduces along axes of a sample, which stay with length 1.
fn reduce(reduction: Reduction, x: Var, axes: &[usize]) -> Var {
    match reduction {
        Reduction::Mean => mean(x, axes),
        Reduction::Sum => sum(x, axes),
        Reduction::Prod => axes.iter().fold(x, |x, axis| Tape::float_prod_dim(x, axis + 1)),
        Reduction::Max | Reduction::Min => unreachable!("extremes are chosen"),
    }
}

fn sum(x: Var, axes: &[usize]) -> Var {
    axes.iter().fold(x, |x, axis| Tape::float_sum_dim(x, axis + 1))
}

fn mean(x: Var, axes: &[usize]) -> Var {
    let lens = tape::shape_of(&x);
    let count: usize = axes.iter().map(|axis| lens[axis + 1]).product();
    times(sum(x, axes), 1.0 / count as f64)
}

fn normalize(x: Var, axes: &[usize], epsilon: f32, centred: bool) -> Var {
    let x = if centred { Tape::float_sub(x.clone(), mean(x, axes)) } else { x };
    let variance = mean(mul(x.clone(), x.clone()), axes);
    let deviation = Tape::float_sqrt(Tape::float_add_scalar(variance, number(epsilon.into())));
    Tape::float_div(x, deviation)
}

fn add(a: Var, b: Var) -> Var {
    Tape::float_add(a, b)
}

fn mul(a: Var, b: Var) -> Var {
    Tape::float_mul(a, b)
}

fn times(x: Var, factor: f64) -> Var {
    Tape::float_mul_scalar(x, number(factor))
}

fn number(value: f64) -> Scalar {
    Scalar::Float(value)
}

/// How the backend holds truth values.
fn bools() -> BoolDType {
    get_or_init_device_settings::<Tape>(&Default::default()).bool_dtype
}
