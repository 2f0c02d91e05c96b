//! Convolution in floating point.

use ndarray::linalg::general_mat_mul;
use ndarray::{Axis, s};
use nvcim_ir::graph::Constant;
use nvcim_ir::op::Window;

use crate::im2col::convolve_samples;
use crate::tensor::{Operand, Tensor};

/// Convolution of `[c, h, w]` with `weight` `[m, c / groups, kh, kw]` and `bias` `[m]`, to `shape`
/// `[m, oh, ow]`. One matrix product per sample and group.
pub fn conv(
    x: &Operand<'_>,
    weight: &Constant,
    bias: Option<&Constant>,
    window: &Window,
    groups: usize,
    shape: &[usize],
) -> Tensor {
    let filters = shape[0];
    let weight = weight.value.as_standard_layout();
    let k = weight.len() / filters;
    let weight = weight.to_shape((filters, k)).expect("a weight has m rows of c / groups kh kw");
    let per_group = filters / groups;
    convolve_samples(x, window, shape, |_, columns, mut out| {
        if let Some(bias) = bias {
            for (mut row, &bias) in out.outer_iter_mut().zip(&bias.value) {
                row.fill(bias);
            }
        }
        for (group, mut out) in out.axis_chunks_iter_mut(Axis(0), per_group).enumerate() {
            let weight = weight.slice(s![group * per_group..(group + 1) * per_group, ..]);
            let columns = columns.slice(s![group * k..(group + 1) * k, ..]);
            general_mat_mul(1.0, &weight, &columns, 1.0, &mut out);
        }
    })
}
