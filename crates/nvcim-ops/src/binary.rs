//! Element-wise functions of two tensors, broadcast within a sample.

use ndarray::{ArrayViewD, Axis, Zip};
use nvcim_ir::op::Binary;

use crate::tensor::{Operand, Tensor, batched, copy_standard, count_samples};

/// Combines two tensors element by element, to `shape`; in place where an operand of that shape was
/// handed over.
///
/// Within a sample the operands' trailing axes are aligned, and axes of length 1 repeat.
pub fn binary(function: Binary, a: Operand<'_>, b: Operand<'_>, shape: &[usize]) -> Tensor {
    // With its function known here, a loop over one instruction becomes a vector loop.
    match function {
        Binary::Add => combine(a, b, shape, |a, b| a + b),
        Binary::Sub => combine(a, b, shape, |a, b| a - b),
        Binary::Mul => combine(a, b, shape, |a, b| a * b),
        function => combine(a, b, shape, |a, b| evaluate(function, a, b)),
    }
}

/// The function of two numbers. What is no number stays visible on either side.
#[inline]
pub fn evaluate(function: Binary, a: f32, b: f32) -> f32 {
    match function {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Min if a < b || a.is_nan() => a,
        Binary::Max if a > b || a.is_nan() => a,
        Binary::Min | Binary::Max => b,
        Binary::Pow => libm::powf(a, b),
        Binary::Equal => truth(a == b),
        Binary::Greater => truth(a > b),
        Binary::GreaterOrEqual => truth(a >= b),
    }
}

/// 1 for true, 0 for false.
fn truth(it: bool) -> f32 {
    f32::from(u8::from(it))
}

/// `a` where `condition` is not 0, `b` elsewhere, all broadcast to `shape`.
pub fn select(
    condition: &Operand<'_>,
    a: &Operand<'_>,
    b: &Operand<'_>,
    shape: &[usize],
) -> Tensor {
    let mut res = expand(a, shape);
    let full = batched(count_samples(a), shape);
    let (condition, other) = (align(condition, shape), align(b, shape));
    let [condition, other] = [&condition, &other]
        .map(|x| x.broadcast(full.clone()).expect("the verifier has broadcast"));
    Zip::from(&mut res).and(condition).and(other).for_each(|res, &condition, &other| {
        if condition == 0.0 {
            *res = other;
        }
    });
    res
}

/// Repeats axes of length 1, and the whole along axes that it lacks, to `shape`.
pub fn expand(x: &Operand<'_>, shape: &[usize]) -> Tensor {
    let full = batched(count_samples(x), shape);
    copy_standard(&align(x, shape).broadcast(full).expect("the verifier has broadcast"))
}

fn combine(
    a: Operand<'_>,
    b: Operand<'_>,
    shape: &[usize],
    function: impl Fn(f32, f32) -> f32,
) -> Tensor {
    if !a.is_owned() && b.is_owned() && b.shape()[1..] == *shape {
        let mut res = b.into_owned();
        res.zip_mut_with(&align(&a, shape), |b, a| *b = function(*a, *b));
        return res;
    }
    let mut res = if a.shape()[1..] == *shape { a.into_owned() } else { expand(&a, shape) };
    res.zip_mut_with(&align(&b, shape), |a, b| *a = function(*a, *b));
    res
}

/// A view of `x` with as many axes as `shape` has; those that it lacks stand between samples and the rest.
fn align<'a>(x: &'a Operand<'_>, shape: &[usize]) -> ArrayViewD<'a, f32> {
    let mut view = x.view();
    while view.ndim() <= shape.len() {
        view.insert_axis_inplace(Axis(1));
    }
    view
}

#[cfg(test)]
mod tests {
    use ndarray::{Dimension, IxDyn};
    use nvcim_ir::op::Binary;
    use nvcim_ir::shape::broadcast;
    use proptest::prelude::{any, proptest};
    use proptest::sample::subsequence;

    use super::{binary, select};
    use crate::tensor::{Operand, Tensor};
    use crate::testing::{tensor, values};

    #[test]
    fn equals_and_what_is_no_number_compare_as_ieee_754_says() {
        let of = |a, b| {
            [Binary::Equal, Binary::Greater, Binary::GreaterOrEqual]
                .map(|it| super::evaluate(it, a, b))
        };
        assert_eq!(of(2.0, 2.0), [1.0, 0.0, 1.0]);
        assert_eq!(of(0.0, -0.0), [1.0, 0.0, 1.0]);
        assert_eq!(of(f32::NAN, f32::NAN), [0.0; 3]);
    }

    #[test]
    fn operands_keep_their_sides() {
        let a = tensor(&[1, 2], &[8., 2.]);
        let b = tensor(&[1, 2], &[2., 4.]);
        for (function, want) in [
            (Binary::Add, [10., 6.]),
            (Binary::Sub, [6., -2.]),
            (Binary::Mul, [16., 8.]),
            (Binary::Div, [4., 0.5]),
            (Binary::Min, [2., 2.]),
            (Binary::Max, [8., 4.]),
            (Binary::Pow, [64., 16.]),
            (Binary::Equal, [0., 0.]),
            (Binary::Greater, [1., 0.]),
            (Binary::GreaterOrEqual, [1., 0.]),
        ] {
            let want = tensor(&[1, 2], &want);
            let lend = |x: &Tensor| Operand::from(x.clone());
            assert_eq!(binary(function, Operand::from(&a), Operand::from(&b), &[2]), want);
            assert_eq!(binary(function, lend(&a), Operand::from(&b), &[2]), want);
            assert_eq!(binary(function, Operand::from(&a), lend(&b), &[2]), want);
        }
    }

    #[test]
    fn selecting_broadcasts_all_three() {
        let condition = tensor(&[2, 2, 1], &[0., 1., -2., 0.]);
        let a = tensor(&[2, 1, 2], &[1., 2., 3., 4.]);
        let b = tensor(&[2, 1], &[f32::NEG_INFINITY, 9.]);
        let [condition, a, b] = [&condition, &a, &b].map(Operand::from);
        let lost = f32::NEG_INFINITY;
        let want = tensor(&[2, 2, 2], &[lost, lost, 1., 2., 3., 4., 9., 9.]);
        assert_eq!(select(&condition, &a, &b, &[2, 2]), want);
    }

    #[test]
    fn a_nan_on_either_side_stays_visible() {
        let x = tensor(&[1, 2], &[f32::NAN, 1.]);
        let y = tensor(&[1, 2], &[1., f32::NAN]);
        for function in [Binary::Min, Binary::Max] {
            let got = binary(function, Operand::from(&x), Operand::from(&y), &[2]);
            assert!(got.iter().all(|value| value.is_nan()), "{function:?}: {got}");
        }
    }

    #[test]
    fn samples_do_not_mix() {
        let a = tensor(&[2, 2, 1], &[1., 2., 3., 4.]);
        let b = tensor(&[2, 1], &[10., 100.]);
        let got = binary(Binary::Mul, Operand::from(&b), Operand::from(&a), &[2, 1]);
        assert_eq!(got, tensor(&[2, 2, 1], &[10., 20., 300., 400.]));
    }

    /// The element of an operand under an element of the result; both index arrays start with the sample.
    fn under(x: &Tensor, at: &[usize]) -> f32 {
        let skipped = at.len() - x.ndim();
        let own = x.shape()[1..].iter().zip(&at[1 + skipped..]);
        let own = own.map(|(&len, &at)| if len == 1 { 0 } else { at });
        x[IxDyn(&std::iter::once(at[0]).chain(own).collect::<Vec<_>>())]
    }

    proptest! {
        #[test]
        fn agrees_with_the_broadcasting_rule(
            shape in [1..4usize, 1..4, 1..4],
            ones in [subsequence(vec![0usize, 1, 2], 0..=3), subsequence(vec![0, 1, 2], 0..=3)],
            skip in [0..4usize, 0..4],
            owned in any::<[bool; 2]>(),
        ) {
            let make = |side: usize| {
                let mut own = shape;
                ones[side].iter().for_each(|&axis| own[axis] = 1);
                let own = &own[skip[side]..];
                (values(&[&[2], own].concat(), side as u32), own.to_vec())
            };
            let ((a, a_shape), (b, b_shape)) = (make(0), make(1));
            let shape = broadcast(&a_shape, &b_shape).unwrap();
            let lend = |x, owned| if owned { Operand::from(Tensor::clone(x)) } else { Operand::from(x) };
            let got = binary(Binary::Sub, lend(&a, owned[0]), lend(&b, owned[1]), &shape);
            let want = Tensor::from_shape_fn(IxDyn(&[&[2], &shape[..]].concat()), |at| {
                under(&a, at.slice()) - under(&b, at.slice())
            });
            assert_eq!(&got, &want);
            assert!(got.is_standard_layout());
        }
    }
}
