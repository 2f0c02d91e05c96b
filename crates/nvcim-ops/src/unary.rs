//! Element-wise functions of one tensor.

use nvcim_ir::op::Unary;

use crate::tensor::{Operand, Tensor};

/// Applies `function` to every element, in place where the operand was handed over.
pub fn unary(function: Unary, x: Operand<'_>) -> Tensor {
    let mut res = x.into_owned();
    // Comparisons rather than `max` and `min`, so that a NaN shows instead of becoming a bound.
    match function {
        Unary::Relu => res.mapv_inplace(|x| if x < 0.0 { 0.0 } else { x }),
        Unary::Clip { lo, hi } => res.mapv_inplace(|x| {
            let x = if x < lo { lo } else { x };
            if x > hi { hi } else { x }
        }),
        Unary::Sigmoid => res.mapv_inplace(|x| 1.0 / (1.0 + libm::expf(-x))),
        Unary::Tanh => res.mapv_inplace(libm::tanhf),
        Unary::LeakyRelu { alpha } => res.mapv_inplace(|x| if x < 0.0 { alpha * x } else { x }),
        Unary::HardSwish => res.mapv_inplace(|x| {
            let gate = x / 6.0 + 0.5;
            let gate = if gate < 0.0 { 0.0 } else { gate };
            x * if gate > 1.0 { 1.0 } else { gate }
        }),
    }
    res
}
