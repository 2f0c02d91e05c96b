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
