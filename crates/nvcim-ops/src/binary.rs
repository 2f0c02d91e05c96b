//! Element-wise functions of two tensors, broadcast within a sample.

use ndarray::{ArrayViewD, Axis};
use nvcim_ir::op::Binary;

use crate::tensor::{Operand, Tensor, batched, copy_standard, count_samples};

/// Combines two tensors element by element, to `shape`; in place where an operand of that shape was
/// handed over.
///
/// Within a sample the operands' trailing axes are aligned, and axes of length 1 repeat.
pub fn binary(function: Binary, a: Operand<'_>, b: Operand<'_>, shape: &[usize]) -> Tensor {
    match function {
        Binary::Add => combine(a, b, shape, |a, b| a + b),
        Binary::Sub => combine(a, b, shape, |a, b| a - b),
        Binary::Mul => combine(a, b, shape, |a, b| a * b),
        Binary::Div => combine(a, b, shape, |a, b| a / b),
    }
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
    let mut res = if a.shape()[1..] == *shape {
        a.into_owned()
    } else {
        let full = batched(count_samples(&a), shape);
        copy_standard(&align(&a, shape).broadcast(full).expect("the verifier has broadcast"))
    };
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
