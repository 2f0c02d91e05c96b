//! Matrix product over the last axis in floating point.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Ix2};
use nvcim_ir::graph::Constant;

use crate::tensor::{Operand, Tensor, count_samples, elements, elements_mut, zeros};

/// `x W + b` over the last axis of `x`, to `shape`; `weight` is `[k, m]`, or `[m, k]` where
/// `transposed`, `bias` `[m]`. All other axes, the samples' included, are rows of one product.
pub fn dense(
    x: &Operand<'_>,
    weight: &Constant,
    bias: Option<&Constant>,
    transposed: bool,
    shape: &[usize],
) -> Tensor {
    let weight = weight.value.view().into_dimensionality::<Ix2>().expect("a weight has two axes");
    let weight = if transposed { weight.reversed_axes() } else { weight };
    let mut res = zeros(count_samples(x), shape);
    let mut out = rows_mut(&mut res);
    if let Some(bias) = bias {
        out.assign(&bias.value);
    }
    general_mat_mul(1.0, &rows(x), &weight, 1.0, &mut out);
    res
}

/// A tensor as rows along its last axis.
pub(crate) fn rows<'a>(x: &'a Operand<'_>) -> ArrayView2<'a, f32> {
    let len = x.shape()[x.ndim() - 1];
    ArrayView2::from_shape((x.len() / len, len), elements(x)).expect("the rows cover the tensor")
}

/// A tensor made here as rows along its last axis.
pub(crate) fn rows_mut(x: &mut Tensor) -> ArrayViewMut2<'_, f32> {
    let (count, len) = (x.len(), x.shape()[x.ndim() - 1]);
    ArrayViewMut2::from_shape((count / len, len), elements_mut(x))
        .expect("the rows cover the tensor")
}

#[cfg(test)]
mod tests {
    use super::dense;
    use crate::tensor::Operand;
    use crate::testing::{constant, tensor, values};

    #[test]
    fn multiplies_a_vector_by_either_layout() {
        let x = tensor(&[1, 2], &[1., 10.]);
        let bias = constant(tensor(&[3], &[0.5, 0., -0.5]));
        let want = tensor(&[1, 3], &[41.5, 52., 62.5]);
        let weight = tensor(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
        let turned = tensor(&[3, 2], &[1., 4., 2., 5., 3., 6.]);
        for (weight, transposed) in [(weight, false), (turned, true)] {
            let weight = constant(weight);
            assert_eq!(dense(&Operand::from(&x), &weight, Some(&bias), transposed, &[3]), want);
        }
    }

    #[test]
    fn all_axes_but_the_last_are_rows() {
        let x = values(&[2, 3, 4, 5], 1);
        let weight = constant(values(&[5, 6], 2));
        let got = dense(&Operand::from(&x), &weight, None, false, &[3, 4, 6]);
        let flat = x.to_shape(vec![24, 5]).unwrap().into_owned();
        let want = dense(&Operand::from(&flat), &weight, None, false, &[6]);
        assert_eq!(got.shape(), [2, 3, 4, 6]);
        assert!(got.iter().eq(&want));
    }
}
