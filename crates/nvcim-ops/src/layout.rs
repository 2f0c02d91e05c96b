//! Operators that move elements and compute nothing.

use ndarray::{Axis, Slice};
use nvcim_ir::op::SliceAxis;

use crate::tensor::{Operand, Tensor, batched, copy_standard, count_samples, elements};

/// The same elements in row-major order under `shape`; moves where the operand was handed over.
pub fn reshape(x: Operand<'_>, shape: &[usize]) -> Tensor {
    let shape = batched(count_samples(&x), shape);
    x.into_owned().into_shape_with_order(shape).expect("both shapes have the same elements")
}

/// Axis `i` of an output sample is axis `perm[i]` of the input sample.
pub fn transpose(x: &Operand<'_>, perm: &[usize]) -> Tensor {
    let perm: Vec<_> = std::iter::once(0).chain(perm.iter().map(|axis| axis + 1)).collect();
    copy_standard(&x.view().permuted_axes(perm))
}

/// Joins tensors along `axis` of a sample, to `shape`.
pub fn concat(operands: &[Operand<'_>], axis: usize, shape: &[usize]) -> Tensor {
    let samples = count_samples(&operands[0]);
    let blocks = samples * shape[..axis].iter().product::<usize>();
    let mut parts: Vec<_> = operands
        .iter()
        .map(|x| elements(x).chunks_exact(x.shape()[axis + 1..].iter().product()))
        .collect();
    let mut joined = Vec::with_capacity(samples * shape.iter().product::<usize>());
    for _ in 0..blocks {
        parts.iter_mut().filter_map(Iterator::next).for_each(|part| joined.extend_from_slice(part));
    }
    Tensor::from_shape_vec(batched(samples, shape), joined).expect("the parts make the shape")
}

/// Takes a strided part of every axis of a sample.
pub fn slice(x: &Operand<'_>, axes: &[SliceAxis]) -> Tensor {
    let part = x.slice_each_axis(|at| match at.axis {
        Axis(0) => Slice::from(..),
        Axis(axis) => to_slice(axes[axis - 1]),
    });
    copy_standard(&part)
}

/// A slice with a negative step runs down from the end of its range.
fn to_slice(SliceAxis { start, step, len }: SliceAxis) -> Slice {
    let start = start as isize;
    // One element has no distance to the next: any step that is not 0 will do.
    let step = if len == 1 { 1 } else { step };
    let last = start + (len as isize - 1) * step;
    Slice::new(start.min(last), Some(start.max(last) + 1), step)
}

/// Surrounds every sample with `value`, `before` elements in front of each axis, to `shape`.
pub fn pad(x: &Operand<'_>, before: &[usize], value: f32, shape: &[usize]) -> Tensor {
    let mut res = Tensor::from_elem(batched(count_samples(x), shape), value);
    let mut inside = res.slice_each_axis_mut(|at| match at.axis {
        Axis(0) => Slice::from(..),
        Axis(axis) => Slice::from(before[axis - 1]..before[axis - 1] + x.shape()[axis]),
    });
    inside.assign(x);
    res
}
