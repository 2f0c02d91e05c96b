//! Products of matrices that both depend on the input.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::tensor::{Operand, Tensor, count_samples, elements, elements_mut, zeros};

/// `[.., m, k]` by `[.., k, n]` over the last two axes, to `shape` `[.., m, n]`; the axes before broadcast
/// within a sample.
pub fn mat_mul(a: &Operand<'_>, b: &Operand<'_>, shape: &[usize]) -> Tensor {
    let samples = count_samples(a);
    let (front, size) = shape.split_at(shape.len() - 2);
    let (rows, inner, cols) = (size[0], a.shape()[a.ndim() - 1], size[1]);
    let [of_a, of_b] = [a, b].map(|x| matrices_under(&x.shape()[1..x.ndim() - 2], front));
    let per_sample = |x: &Operand<'_>| x.len() / samples.max(1);
    let mut res = zeros(samples, shape);
    let mut products = elements_mut(&mut res).chunks_exact_mut(rows * cols);
    let a_samples = elements(a).chunks_exact(per_sample(a).max(1));
    let b_samples = elements(b).chunks_exact(per_sample(b).max(1));
    for (a, b) in a_samples.zip(b_samples) {
        for ((&at_a, &at_b), out) in of_a.iter().zip(&of_b).zip(&mut products) {
            let a = &a[at_a * rows * inner..][..rows * inner];
            let b = &b[at_b * inner * cols..][..inner * cols];
            let fits = "the verifier has seen that the matrices fit";
            let a = ArrayView2::from_shape((rows, inner), a).expect(fits);
            let b = ArrayView2::from_shape((inner, cols), b).expect(fits);
            let mut out = ArrayViewMut2::from_shape((rows, cols), out).expect(fits);
            general_mat_mul(1.0, &a, &b, 0.0, &mut out);
        }
    }
    res
}

/// Which of an operand's matrices stands under each matrix of the product, by number in row-major order.
fn matrices_under(own: &[usize], front: &[usize]) -> Vec<usize> {
    let mut under = vec![0];
    let missing = front.len() - own.len();
    for (axis, &len) in front.iter().enumerate() {
        let own = axis.checked_sub(missing).map_or(1, |axis| own[axis]);
        let step = |at: usize| if own == 1 { 0 } else { at };
        under = under.iter().flat_map(|&at| (0..len).map(move |k| at * own + step(k))).collect();
    }
    under
}

#[cfg(test)]
mod tests {
    use ndarray::{Dimension, IxDyn};

    use super::mat_mul;
    use crate::tensor::{Operand, Tensor};
    use crate::testing::{assert_close, tensor, values};

    #[test]
    fn one_matrix_by_another() {
        let a = tensor(&[1, 2, 2], &[1., 2., 3., 4.]);
        let b = tensor(&[1, 2, 1], &[10., 1.]);
        let got = mat_mul(&Operand::from(&a), &Operand::from(&b), &[2, 1]);
        assert_eq!(got, tensor(&[1, 2, 1], &[12., 34.]));
    }

    #[test]
    fn axes_in_front_broadcast_within_a_sample() {
        for (front_a, front_b, front) in [
            (&[2, 3][..], &[2, 3][..], [2, 3]),
            (&[2, 1], &[1, 3], [2, 3]),
            (&[3], &[2, 3], [2, 3]),
            (&[2, 3], &[], [2, 3]),
        ] {
            let a = values(&[&[2], front_a, &[4, 5]].concat(), 1);
            let b = values(&[&[2], front_b, &[5, 6]].concat(), 2);
            let under = |x: &Tensor, at: &[usize], row: usize, col: usize| {
                let own = &x.shape()[1..x.ndim() - 2];
                let at = own.iter().zip(&at[2 - own.len()..]);
                let at = at.map(|(&len, &at)| if len == 1 { 0 } else { at });
                at.chain([row, col]).collect::<Vec<_>>()
            };
            let shape = [&front[..], &[4, 6]].concat();
            let want = Tensor::from_shape_fn(IxDyn(&[&[2], &shape[..]].concat()), |at| {
                let at = at.slice();
                let terms = (0..5).map(|k| {
                    let (of_a, of_b) =
                        (under(&a, &at[1..3], at[3], k), under(&b, &at[1..3], k, at[4]));
                    let index = |of: Vec<usize>| IxDyn(&[&[at[0]], &of[..]].concat());
                    a[index(of_a)] * b[index(of_b)]
                });
                terms.sum()
            });
            assert_close(&mat_mul(&Operand::from(&a), &Operand::from(&b), &shape), &want);
        }
    }
}
