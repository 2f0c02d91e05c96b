//! What interval an operator makes of its operands' intervals.
//!
//! Each bound holds for every element of a tensor, so positions and channels are forgotten; operands are
//! taken as independent. Bounds are sound up to rounding, and cut at [`LIMIT`].

use ndarray::{ArrayView, IxDyn};
use nvcim_ir::graph::Constant;
use nvcim_ir::ids::{ConstId, IdVec};
use nvcim_ir::op::{Binary, Op, Reduction, Unary, Window};
use nvcim_ops::{binary, unary};

use crate::span::Span;

/// The magnitude beyond which a bound says nothing; keeps later arithmetic within f32.
pub(super) const LIMIT: f32 = 1e30;

/// The input at which hard swish is least.
const HARD_SWISH_BOTTOM: f32 = -1.5;

/// Below the least value of either form of GELU: -0.169971 and -0.170041, near -0.75.
const GELU_BOTTOM: f32 = -0.170_05;
/// Below this input, either form of GELU only falls: it turns at -0.751792 or -0.752462.
const GELU_DIPS: f32 = -0.752_5;

/// A span within plus and minus [`LIMIT`]; everything, where it is not a number.
pub(super) fn saturate(Span { lo, hi }: Span) -> Span {
    let lo = if lo.is_nan() { -LIMIT } else { lo.clamp(-LIMIT, LIMIT) };
    let hi = if hi.is_nan() { LIMIT } else { hi.clamp(-LIMIT, LIMIT) };
    Span { lo, hi }
}

/// Whether a window takes in padding.
pub(super) fn pads(window: &Window) -> bool {
    (window.pads_begin, window.pads_end) != ([0; 2], [0; 2])
}

/// The interval of a digital operator's result; the network's input is for the caller to know.
///
/// `shape` is that of one sample of the first operand.
pub(super) fn bound_op(
    op: &Op,
    operands: &[Span],
    shape: &[usize],
    consts: &IdVec<ConstId, Constant>,
) -> Span {
    let first = operands.first().copied().unwrap_or(Span::ZERO);
    match op {
        Op::Const(value) => span_of_const(&consts[*value]),
        Op::BatchNorm { scale, bias, mean, var, epsilon } => {
            let of = |id: &ConstId| consts[*id].value.iter().copied();
            let stats = of(scale).zip(of(bias)).zip(of(mean).zip(of(var)));
            let bound = |((scale, bias), (mean, var)): ((f32, f32), (f32, f32))| {
                let slope = scale / (var + epsilon).sqrt();
                corners([first.lo, first.hi], |x| slope * (x - mean) + bias)
            };
            stats.map(bound).fold(Span::EMPTY, Span::join)
        }
        Op::Unary(function) => bound_unary(*function, first),
        Op::Binary(function) => bound_binary(*function, first, operands[1]),
        Op::Select => operands[1].join(operands[2]),
        Op::MatMul => {
            let terms = shape.last().copied().unwrap_or(1);
            sum(corners(products(first, operands[1]), |value| value), terms)
        }
        Op::Softmax { .. } => Span { lo: 0.0, hi: 1.0 },
        Op::LogSoftmax { .. } => {
            // At least -(hi - lo) - ln(n), and ln(n) is at most the number of n's binary digits.
            let digits = shape.iter().product::<usize>().checked_ilog2().unwrap_or(0) + 1;
            Span { lo: first.lo - first.hi - digits as f32, hi: 0.0 }
        }
        Op::AveragePool { window, count_pad: true } if pads(window) => first.join(Span::ZERO),
        Op::Concat { .. } => operands.iter().copied().fold(Span::EMPTY, Span::join),
        Op::Pad { value, .. } => first.join(Span { lo: *value, hi: *value }),
        Op::Reduce { reduction, axes } => {
            let count = axes.iter().map(|&axis| shape[axis]).product();
            bound_reduction(*reduction, first, count)
        }
        Op::Lookup { table } => span_of_const(&consts[*table]),
        // A sum of some elements, or of none.
        Op::CumSum { axis, .. } => sum(first, shape[*axis]).join(Span::ZERO).join(first),
        Op::ArgMax { axis, .. } => Span { lo: 0.0, hi: shape[*axis] as f32 },
        // One element that differs from equal others lies farthest off: by the root of their number.
        Op::Normalize { axes, .. } => {
            let count: usize = axes.iter().map(|&axis| shape[axis]).product();
            let farthest = (count as f32).sqrt();
            Span { lo: -farthest, hi: farthest }
        }
        // Each element of the result is one element of the operand, or a mean of some.
        Op::AveragePool { .. }
        | Op::MaxPool { .. }
        | Op::GlobalAveragePool
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Expand
        | Op::Gather { .. }
        | Op::Slice { .. } => first,
        Op::Conv { weight, bias, window, groups: _ } => {
            let x = if pads(window) { first.join(Span::ZERO) } else { first };
            bound_filters(&consts[*weight], bias.map(|id| &consts[id]), x)
        }
        // The caller bounds the input; lowering leaves no dense layer digital.
        Op::Input | Op::Dense { .. } => Span { lo: -LIMIT, hi: LIMIT },
    }
}

/// The span of all filters' sums over inputs anywhere in `x`, biases included; filters are the first axis.
fn bound_filters(weight: &Constant, bias: Option<&Constant>, x: Span) -> Span {
    let of_filter = |(filter, weights): (usize, ArrayView<'_, f32, IxDyn>)| {
        let ends = |weight: &f32| corners([x.lo, x.hi], |x| weight * x);
        let bias = bias.map_or(0.0, |bias| bias.value[filter]);
        weights.iter().map(ends).fold(Span { lo: bias, hi: bias }, |sum, Span { lo, hi }| Span {
            lo: sum.lo + lo,
            hi: sum.hi + hi,
        })
    };
    weight.value.outer_iter().enumerate().map(of_filter).fold(Span::EMPTY, Span::join)
}

fn span_of_const(constant: &Constant) -> Span {
    constant.value.iter().map(|&value| Span { lo: value, hi: value }).fold(Span::EMPTY, Span::join)
}

/// The span of a function's values at some points.
fn corners<const N: usize>(points: [f32; N], function: impl Fn(f32) -> f32) -> Span {
    let values = points.map(function);
    values.into_iter().map(|value| Span { lo: value, hi: value }).fold(Span::EMPTY, Span::join)
}

fn bound_unary(function: Unary, x: Span) -> Span {
    let Span { lo, hi } = x;
    let at = |points: &[f32]| -> Span {
        let values = points.iter().map(|&point| unary::evaluate(function, point.clamp(lo, hi)));
        values.map(|value| Span { lo: value, hi: value }).fold(Span::EMPTY, Span::join)
    };
    match function {
        Unary::Sigmoid => Span { lo: 0.0, hi: 1.0 },
        Unary::Tanh => Span { lo: lo.clamp(-1.0, 1.0), hi: hi.clamp(-1.0, 1.0) },
        Unary::Sin | Unary::Cos => Span { lo: -1.0, hi: 1.0 },
        // Below 0 there is no value; what follows from one is no number either.
        Unary::Sqrt => Span { lo: lo.max(0.0).sqrt(), hi: hi.max(0.0).sqrt() },
        Unary::Log if lo <= 0.0 => Span { lo: -LIMIT, hi: unary::evaluate(function, hi.max(0.0)) },
        Unary::HardSwish => at(&[lo, HARD_SWISH_BOTTOM, hi]),
        Unary::Gelu | Unary::GeluTanh => {
            let bounds = at(&[lo, 0.0, hi]);
            let dips = lo < 0.0 && hi > GELU_DIPS;
            Span { lo: if dips { GELU_BOTTOM.min(bounds.lo) } else { bounds.lo }, ..bounds }
        }
        // These go up or down on each side of 0, or of nowhere; a corner is where they turn.
        Unary::Relu
        | Unary::Clip { .. }
        | Unary::LeakyRelu { .. }
        | Unary::Abs
        | Unary::Elu { .. }
        | Unary::Exp
        | Unary::Log
        | Unary::Erf
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Sign
        | Unary::Softplus => at(&[lo, 0.0, hi]),
    }
}

fn products(a: Span, b: Span) -> [f32; 4] {
    [a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi]
}

/// The span of a sum of `count` terms.
fn sum(term: Span, count: usize) -> Span {
    Span { lo: term.lo * count as f32, hi: term.hi * count as f32 }
}

fn bound_reduction(reduction: Reduction, x: Span, count: usize) -> Span {
    match reduction {
        Reduction::Mean | Reduction::Max | Reduction::Min => x,
        Reduction::Sum => sum(x, count),
        Reduction::Prod => {
            let farthest = x.lo.abs().max(x.hi.abs());
            let largest = binary::evaluate(Binary::Pow, farthest, count as f32);
            Span { lo: if x.lo < 0.0 { -largest } else { 0.0 }, hi: largest }
        }
    }
}

fn bound_binary(function: Binary, a: Span, b: Span) -> Span {
    let power = |base, exponent| binary::evaluate(Binary::Pow, base, exponent);
    match function {
        Binary::Add => Span { lo: a.lo + b.lo, hi: a.hi + b.hi },
        Binary::Sub => Span { lo: a.lo - b.hi, hi: a.hi - b.lo },
        Binary::Mul => corners(products(a, b), |value| value),
        Binary::Div if b.lo > 0.0 || b.hi < 0.0 => {
            let inverse = Span { lo: 1.0 / b.hi, hi: 1.0 / b.lo };
            corners(products(a, inverse), |value| value)
        }
        // The divisor may come as near to zero as it likes.
        Binary::Div => Span { lo: -LIMIT, hi: LIMIT },
        Binary::Min => Span { lo: a.lo.min(b.lo), hi: a.hi.min(b.hi) },
        Binary::Max => Span { lo: a.lo.max(b.lo), hi: a.hi.max(b.hi) },
        Binary::Pow if a.lo > 0.0 => {
            let pairs = [(a.lo, b.lo), (a.lo, b.hi), (a.hi, b.lo), (a.hi, b.hi)];
            corners(pairs.map(|(base, exponent)| power(base, exponent)), |value| value)
        }
        // Powers of one even or odd number turn at 0 or nowhere; others may do anything.
        Binary::Pow if b.lo == b.hi && b.lo >= 0.0 && b.lo.fract() == 0.0 => {
            corners([a.lo, a.hi, 0.0f32.clamp(a.lo, a.hi)], |base| power(base, b.lo))
        }
        Binary::Pow => Span { lo: -LIMIT, hi: LIMIT },
        Binary::Equal | Binary::Greater | Binary::GreaterOrEqual => Span { lo: 0.0, hi: 1.0 },
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::ids::IdVec;
    use nvcim_ir::op::{Binary, Op, Reduction, Unary};

    use super::{LIMIT, Span, bound_op, saturate};

    fn bound(op: Op, operands: &[(f32, f32)]) -> (f32, f32) {
        let operands: Vec<_> = operands.iter().map(|&(lo, hi)| Span { lo, hi }).collect();
        let Span { lo, hi } = bound_op(&op, &operands, &[5, 2], &IdVec::new());
        (lo, hi)
    }

    #[test]
    fn functions_that_turn_are_bounded_at_their_turning_point() {
        assert_eq!(bound(Op::Unary(Unary::HardSwish), &[(-4.0, 1.0)]).0, -0.375);
        assert_eq!(bound(Op::Unary(Unary::HardSwish), &[(0.0, 3.0)]), (0.0, 3.0));
        let turned = Op::Unary(Unary::LeakyRelu { alpha: -1.0 });
        assert_eq!(bound(turned, &[(-2.0, 1.0)]), (0.0, 2.0));
        let clip = Op::Unary(Unary::Clip { lo: 0.0, hi: 6.0 });
        assert_eq!(bound(clip, &[(-2.0, 9.0)]), (0.0, 6.0));
    }

    #[test]
    fn arithmetic_takes_the_worst_corner() {
        let operands = [(-1.0, 2.0), (-3.0, 4.0)];
        assert_eq!(bound(Op::Binary(Binary::Sub), &operands), (-5.0, 5.0));
        assert_eq!(bound(Op::Binary(Binary::Mul), &operands), (-6.0, 8.0));
        assert_eq!(bound(Op::Binary(Binary::Div), &operands), (-LIMIT, LIMIT));
        assert_eq!(bound(Op::Binary(Binary::Div), &[(-1.0, 2.0), (0.5, 4.0)]), (-2.0, 4.0));
    }

    #[test]
    fn sums_products_and_norms_grow_with_their_terms() {
        let reduce = |reduction| Op::Reduce { reduction, axes: vec![0] };
        assert_eq!(bound(reduce(Reduction::Sum), &[(-1.0, 2.0)]), (-5.0, 10.0));
        assert_eq!(bound(reduce(Reduction::Prod), &[(-1.0, 2.0)]), (-32.0, 32.0));
        assert_eq!(bound(reduce(Reduction::Max), &[(-1.0, 2.0)]), (-1.0, 2.0));
        assert_eq!(bound(Op::MatMul, &[(-1.0, 2.0), (0.0, 3.0)]), (-6.0, 12.0));
        let norm = Op::Normalize { axes: vec![0, 1], epsilon: 0.0, centred: false };
        assert_eq!(bound(norm, &[(-1.0, 2.0)]), (-10f32.sqrt(), 10f32.sqrt()));
    }

    #[test]
    fn smooth_functions_stay_inside_their_bounds() {
        let elu = Unary::Elu { alpha: 1.5, gamma: 2.0, width: 0.5 };
        for function in [Unary::Gelu, Unary::GeluTanh, Unary::Abs, Unary::Round, elu] {
            for (lo, hi) in [(-3.0, -1.0), (-2.0, -0.5), (-1.0, 2.0), (0.5, 3.0)] {
                let (least, most) = bound(Op::Unary(function), &[(lo, hi)]);
                for at in 0..=100 {
                    let x = lo + (hi - lo) * at as f32 / 100.0;
                    let y = nvcim_ops::unary::evaluate(function, x);
                    assert!((least..=most).contains(&y), "{function:?} {x} {y} {least} {most}");
                }
            }
        }
    }

    #[test]
    fn a_logarithm_of_softmax_is_at_worst_one_element_far_below_equal_others() {
        let (lo, hi) = bound(Op::LogSoftmax { axis: 0 }, &[(-1.0, 2.0)]);
        // -3 - ln(9 + exp(-3)), one of ten elements 3 below the others.
        let exact = -5.202741;
        assert!(lo <= exact && hi == 0.0, "{lo} {exact}");
    }

    #[test]
    fn what_is_not_a_number_may_be_anything() {
        let Span { lo, hi } = saturate(Span { lo: f32::NAN, hi: f32::INFINITY });
        assert_eq!((lo, hi), (-LIMIT, LIMIT));
    }
}
