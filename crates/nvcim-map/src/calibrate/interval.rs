//! What interval an operator makes of its operands' intervals.
//!
//! Each bound holds for every element of a tensor, so positions and channels are forgotten; operands are
//! taken as independent. Bounds are sound up to rounding, and cut at [`LIMIT`].

use nvcim_ir::graph::Constant;
use nvcim_ir::ids::{ConstId, IdVec};
use nvcim_ir::op::{Binary, Op, Unary, Window};

use super::span::Span;

/// The magnitude beyond which a bound says nothing; keeps later arithmetic within f32.
pub(super) const LIMIT: f32 = 1e30;

/// The input at which hard swish is least.
const HARD_SWISH_BOTTOM: f32 = -1.5;

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
/// `elements` is the number of elements of one sample of the first operand.
pub(super) fn bound_op(
    op: &Op,
    operands: &[Span],
    elements: usize,
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
        Op::Unary(unary) => bound_unary(*unary, first),
        Op::Binary(binary) => bound_binary(*binary, first, operands[1]),
        Op::Softmax { .. } => Span { lo: 0.0, hi: 1.0 },
        Op::LogSoftmax { .. } => {
            // At least -(hi - lo) - ln(n), and ln(n) is at most the number of n's binary digits.
            let digits = elements.checked_ilog2().unwrap_or(0) + 1;
            Span { lo: first.lo - first.hi - digits as f32, hi: 0.0 }
        }
        Op::AveragePool { window, count_pad: true } if pads(window) => first.join(Span::ZERO),
        Op::Concat { .. } => operands.iter().copied().fold(Span::EMPTY, Span::join),
        Op::Pad { value, .. } => first.join(Span { lo: *value, hi: *value }),
        // Each element of the result is one element of the operand, or a mean of some.
        Op::AveragePool { .. }
        | Op::MaxPool { .. }
        | Op::GlobalAveragePool
        | Op::ReduceMean { .. }
        | Op::Reshape
        | Op::Transpose { .. }
        | Op::Slice { .. } => first,
        // The caller bounds the input; lowering leaves no matrix digital.
        Op::Input | Op::Conv { .. } | Op::Dense { .. } => Span { lo: -LIMIT, hi: LIMIT },
    }
}

fn span_of_const(constant: &Constant) -> Span {
    constant.value.iter().map(|&value| Span { lo: value, hi: value }).fold(Span::EMPTY, Span::join)
}

/// The span of a function's values at some points.
fn corners<const N: usize>(points: [f32; N], function: impl Fn(f32) -> f32) -> Span {
    let values = points.map(function);
    values.into_iter().map(|value| Span { lo: value, hi: value }).fold(Span::EMPTY, Span::join)
}

fn bound_unary(unary: Unary, x: Span) -> Span {
    let Span { lo, hi } = x;
    match unary {
        Unary::Relu => Span { lo: lo.max(0.0), hi: hi.max(0.0) },
        Unary::Clip { lo: least, hi: most } => corners([lo, hi], |x| x.max(least).min(most)),
        Unary::Sigmoid => Span { lo: 0.0, hi: 1.0 },
        Unary::Tanh => Span { lo: lo.clamp(-1.0, 1.0), hi: hi.clamp(-1.0, 1.0) },
        // A negative slope turns at 0, which therefore counts as a corner where it is inside.
        Unary::LeakyRelu { alpha } => {
            corners([lo, hi, 0.0f32.clamp(lo, hi)], |x| if x < 0.0 { alpha * x } else { x })
        }
        Unary::HardSwish => {
            let turns = HARD_SWISH_BOTTOM.clamp(lo, hi);
            corners([lo, hi, turns], |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))
        }
    }
}

fn bound_binary(binary: Binary, a: Span, b: Span) -> Span {
    let products = |a: Span, b: Span| [a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi];
    match binary {
        Binary::Add => Span { lo: a.lo + b.lo, hi: a.hi + b.hi },
        Binary::Sub => Span { lo: a.lo - b.hi, hi: a.hi - b.lo },
        Binary::Mul => corners(products(a, b), |value| value),
        Binary::Div if b.lo > 0.0 || b.hi < 0.0 => {
            let inverse = Span { lo: 1.0 / b.hi, hi: 1.0 / b.lo };
            corners(products(a, inverse), |value| value)
        }
        // The divisor may come as near to zero as it likes.
        Binary::Div => Span { lo: -LIMIT, hi: LIMIT },
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::ids::IdVec;
    use nvcim_ir::op::{Binary, Op, Unary};

    use super::{LIMIT, Span, bound_op, saturate};

    fn bound(op: Op, operands: &[(f32, f32)]) -> (f32, f32) {
        let operands: Vec<_> = operands.iter().map(|&(lo, hi)| Span { lo, hi }).collect();
        let Span { lo, hi } = bound_op(&op, &operands, 10, &IdVec::new());
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
