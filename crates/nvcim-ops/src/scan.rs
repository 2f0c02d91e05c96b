//! What looks at the elements of an axis one after the other: places of the largest, and running sums.

use crate::tensor::{Operand, Tensor, batched, count_samples, elements, elements_mut, zeros};

/// The number of the largest element along `axis` of a sample, to `shape`, which says whether the axis stays
/// with length 1; the first of several, or the last. What is no number counts as largest.
pub fn arg_max(x: &Operand<'_>, axis: usize, last: bool, shape: &[usize]) -> Tensor {
    let (len, inner) = extents(x, axis);
    let mut numbers = Vec::with_capacity(x.len() / len);
    for block in elements(x).chunks_exact(len * inner) {
        let wins = |at: usize, best: usize, column: usize| {
            let (value, most) = (block[at * inner + column], block[best * inner + column]);
            let equal = value == most || value.is_nan() && most.is_nan();
            value > most || value.is_nan() && !most.is_nan() || last && equal
        };
        let largest =
            |column| (1..len).fold(0, |best, at| if wins(at, best, column) { at } else { best });
        numbers.extend((0..inner).map(|column| largest(column) as f32));
    }
    Tensor::from_shape_vec(batched(count_samples(x), shape), numbers)
        .expect("the axes left make the shape")
}

/// The sum of all elements up to each along `axis` of a sample, itself included unless `exclusive`; from the
/// end where `reverse`. Sums are added up in that order.
pub fn cum_sum(x: &Operand<'_>, axis: usize, exclusive: bool, reverse: bool) -> Tensor {
    let (len, inner) = extents(x, axis);
    let mut res = zeros(count_samples(x), &x.shape()[1..]);
    let blocks = elements(x).chunks_exact(len * inner);
    for (block, out) in blocks.zip(elements_mut(&mut res).chunks_exact_mut(len * inner)) {
        for column in 0..inner {
            let mut sum = 0.0;
            for step in 0..len {
                let at = if reverse { len - 1 - step } else { step } * inner + column;
                let before = sum;
                sum += block[at];
                out[at] = if exclusive { before } else { sum };
            }
        }
    }
    res
}

/// The length of a sample's axis, and the elements from one of its numbers to the next.
fn extents(x: &Operand<'_>, axis: usize) -> (usize, usize) {
    (x.shape()[axis + 1], x.shape()[axis + 2..].iter().product())
}

#[cfg(test)]
mod tests {
    use super::{arg_max, cum_sum};
    use crate::tensor::Operand;
    use crate::testing::tensor;

    #[test]
    fn the_first_or_the_last_of_equals_is_largest() {
        let x = tensor(&[1, 3, 2], &[1., 5., 4., 2., 4., 5.]);
        let largest = |axis, last, shape: &[usize]| arg_max(&Operand::from(&x), axis, last, shape);
        assert_eq!(largest(0, false, &[2]), tensor(&[1, 2], &[1., 0.]));
        assert_eq!(largest(0, true, &[1, 2]), tensor(&[1, 1, 2], &[2., 2.]));
        assert_eq!(largest(1, false, &[3]), tensor(&[1, 3], &[1., 0., 1.]));
        let x = tensor(&[2, 3], &[0., f32::NAN, f32::NAN, f32::INFINITY, -1., 1.]);
        let largest = |last| arg_max(&Operand::from(&x), 0, last, &[]);
        assert_eq!(largest(false), tensor(&[2], &[1., 0.]));
        assert_eq!(largest(true), tensor(&[2], &[2., 0.]));
    }

    #[test]
    fn sums_run_either_way_with_or_without_the_element() {
        let x = tensor(&[2, 3, 1], &[1., 2., 3., 10., 20., 30.]);
        let sums = |exclusive, reverse| {
            cum_sum(&Operand::from(&x), 0, exclusive, reverse).into_raw_vec_and_offset().0
        };
        assert_eq!(sums(false, false), [1., 3., 6., 10., 30., 60.]);
        assert_eq!(sums(true, false), [0., 1., 3., 0., 10., 30.]);
        assert_eq!(sums(false, true), [6., 5., 3., 60., 50., 30.]);
        assert_eq!(sums(true, true), [5., 3., 0., 50., 30., 0.]);
        let x = tensor(&[1, 2, 2], &[1., 2., 3., 4.]);
        let down = cum_sum(&Operand::from(&x), 0, false, false);
        assert_eq!(down, tensor(&[1, 2, 2], &[1., 2., 4., 6.]));
    }
}
