//! Element-wise functions of one tensor.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use nvcim_ir::op::Unary;

use crate::tensor::{Operand, Tensor};

/// Applies `function` to every element, in place where the operand was handed over.
pub fn unary(function: Unary, x: Operand<'_>) -> Tensor {
    let mut res = x.into_owned();
    match function {
        // With its few instructions here, a loop becomes a vector loop.
        Unary::Relu => res.mapv_inplace(relu),
        Unary::Clip { lo, hi } => res.mapv_inplace(|x| clip(x, lo, hi)),
        Unary::LeakyRelu { alpha } => res.mapv_inplace(|x| leaky_relu(x, alpha)),
        function => res.mapv_inplace(|x| evaluate(function, x)),
    }
    res
}

// Comparisons rather than `max` and `min`, so that a NaN shows instead of becoming a bound.

#[inline]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline]
fn clip(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if x < lo { lo } else { x };
    if x > hi { hi } else { x }
}

#[inline]
fn leaky_relu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { alpha * x } else { x }
}

/// The function of one number.
pub fn evaluate(function: Unary, x: f32) -> f32 {
    match function {
        Unary::Relu => relu(x),
        Unary::Clip { lo, hi } => clip(x, lo, hi),
        Unary::Sigmoid => 1.0 / (1.0 + libm::expf(-x)),
        Unary::Tanh => libm::tanhf(x),
        Unary::LeakyRelu { alpha } => leaky_relu(x, alpha),
        Unary::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
        Unary::Abs => x.abs(),
        Unary::Sqrt => x.sqrt(),
        Unary::Exp => libm::expf(x),
        Unary::Log => libm::logf(x),
        Unary::Erf => libm::erff(x),
        Unary::Sin => libm::sinf(x),
        Unary::Cos => libm::cosf(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        // The exponential of a negative number never overflows.
        Unary::Softplus => libm::log1pf(libm::expf(-x.abs())) + if x < 0.0 { 0.0 } else { x },
        Unary::Gelu => 0.5 * x * (1.0 + libm::erff(x * FRAC_1_SQRT_2)),
        Unary::GeluTanh => {
            let bent = x + 0.044_715 * (x * x * x);
            0.5 * x * (1.0 + libm::tanhf(FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * bent))
        }
        Unary::Elu { alpha, gamma, width } => {
            let bent = if x < 0.0 { alpha * libm::expm1f(x / width) } else { x };
            gamma * bent
        }
    }
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
    fn functions_of_a_table() {
        check(Unary::Abs, &[-2., 0., 3.], &[2., 0., 3.]);
        check(Unary::Sign, &[-2., 0., 3.], &[-1., 0., 1.]);
        check(Unary::Floor, &[-1.5, 1.5, 2.], &[-2., 1., 2.]);
        check(Unary::Ceil, &[-1.5, 1.5, 2.], &[-1., 2., 2.]);
        // Halves go to the even neighbour.
        check(Unary::Round, &[-2.5, -1.5, 0.5, 1.5, 2.5, 0.9], &[-2., -2., 0., 2., 2., 1.]);
        check(Unary::Sqrt, &[4., 2.], &[2., std::f32::consts::SQRT_2]);
        check(Unary::Exp, &[-1., 0., 1.], &[0.367_879_44, 1., std::f32::consts::E]);
        check(Unary::Log, &[1., 10.], &[0., std::f32::consts::LN_10]);
        check(Unary::Erf, &[0., 0.5, -2., 9.], &[0., 0.520_499_9, -0.995_322_3, 1.]);
        check(Unary::Sin, &[0., 1., 100.], &[0., 0.841_470_96, -0.506_365_66]);
        check(Unary::Cos, &[0., 1., 100.], &[1., 0.540_302_3, 0.862_318_9]);
    }

    #[test]
    fn soft_rectifiers() {
        let softplus = [0., 0.048_587_352, 3.048_587_3, std::f32::consts::LN_2, 1000.];
        check(Unary::Softplus, &[-1000., -3., 3., 0., 1000.], &softplus);
        check(Unary::Gelu, &[-1., 0., 1., 9.], &[-0.158_655_26, 0., 0.841_344_7, 9.]);
        check(Unary::GeluTanh, &[-1., 0., 1., 9.], &[-0.158_808, 0., 0.841_192, 9.]);
        let elu = Unary::Elu { alpha: 2., gamma: 1., width: 1. };
        check(elu, &[-1., 0., 3.], &[-1.264_241_1, 0., 3.]);
        let celu = Unary::Elu { alpha: 2., gamma: 1., width: 2. };
        check(celu, &[-1., 3.], &[-0.786_938_7, 3.]);
        let selu = Unary::Elu { alpha: 2., gamma: 3., width: 1. };
        check(selu, &[-1., 3.], &[-3.792_723_3, 9.]);
    }

    #[test]
    fn a_nan_stays_visible() {
        let functions = [
            Unary::Relu,
            Unary::Clip { lo: 0., hi: 6. },
            Unary::HardSwish,
            Unary::Sign,
            Unary::Softplus,
            Unary::Elu { alpha: 1., gamma: 1., width: 1. },
        ];
        for function in functions {
            let x = tensor(&[1, 1], &[f32::NAN]);
            assert!(unary(function, Operand::from(x))[[0, 0]].is_nan(), "{function:?}");
        }
    }
}
