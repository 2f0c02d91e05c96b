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

#[cfg(test)]
mod tests {
    use nvcim_ir::op::Unary;

    use super::unary;
    use crate::tensor::Operand;
    use crate::testing::{assert_close, tensor};

    fn check(function: Unary, x: &[f32], want: &[f32]) {
        let x = tensor(&[1, x.len()], x);
        let want = tensor(&[1, want.len()], want);
        assert_close(&unary(function, Operand::from(&x)), &want);
        assert_close(&unary(function, Operand::from(x)), &want);
    }

    #[test]
    fn piecewise_linear_functions() {
        check(Unary::Relu, &[-2., 0., 3.], &[0., 0., 3.]);
        check(Unary::LeakyRelu { alpha: 0.1 }, &[-2., 0., 3.], &[-0.2, 0., 3.]);
        check(Unary::Clip { lo: -1., hi: 6. }, &[-2., 0.5, 7.], &[-1., 0.5, 6.]);
        check(Unary::Clip { lo: f32::NEG_INFINITY, hi: 1. }, &[-2e30, 2.], &[-2e30, 1.]);
        // ONNX takes the upper bound where the bounds cross.
        check(Unary::Clip { lo: 2., hi: 1. }, &[0., 1.5, 3.], &[1., 1., 1.]);
    }

    #[test]
    fn smooth_functions() {
        check(Unary::Sigmoid, &[0., 1., -1.], &[0.5, 0.731_058_6, 0.268_941_43]);
        check(Unary::Sigmoid, &[-1000., 1000.], &[0., 1.]);
        check(Unary::Tanh, &[0., 0.5, -1000.], &[0., 0.462_117_17, -1.]);
        check(Unary::HardSwish, &[-4., -1., 0., 1., 4.], &[0., -1. / 3., 0., 2. / 3., 4.]);
    }

    #[test]
    fn a_nan_stays_visible() {
        let functions = [Unary::Relu, Unary::Clip { lo: 0., hi: 6. }, Unary::HardSwish];
        for function in functions {
            let x = tensor(&[1, 1], &[f32::NAN]);
            assert!(unary(function, Operand::from(x))[[0, 0]].is_nan(), "{function:?}");
        }
    }
}
