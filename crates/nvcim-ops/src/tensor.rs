//! The array that executors move, and what its operators share.

use ndarray::{ArrayD, ArrayViewD, CowArray, IxDyn};

/// One value per element, `[samples, sample shape...]`.
///
/// Operators take and make tensors in standard (row-major, contiguous) layout.
pub type Tensor = ArrayD<f32>;

/// An operand: lent, or handed over for good where nothing reads it again, so that an operator may
/// work in place.
pub type Operand<'a> = CowArray<'a, f32, IxDyn>;

/// The elements of a tensor in row-major order.
pub(crate) fn elements<'a>(x: &'a Operand<'_>) -> &'a [f32] {
    x.as_slice().expect("operators take tensors in standard layout")
}

/// The elements of a tensor made here, in row-major order.
pub(crate) fn elements_mut(x: &mut Tensor) -> &mut [f32] {
    x.as_slice_mut().expect("operators make tensors in standard layout")
}

/// A tensor of zeros for `samples` samples of this shape.
pub(crate) fn zeros(samples: usize, shape: &[usize]) -> Tensor {
    Tensor::zeros(batched(samples, shape))
}

/// The shape of a tensor that holds `samples` samples of this shape.
pub(crate) fn batched(samples: usize, shape: &[usize]) -> IxDyn {
    IxDyn(&[&[samples], shape].concat())
}

/// The number of samples in a tensor.
pub(crate) fn count_samples(x: &Operand<'_>) -> usize {
    x.shape()[0]
}

/// A copy of `view` in standard layout.
pub(crate) fn copy_standard(view: &ArrayViewD<'_, f32>) -> Tensor {
    view.as_standard_layout().into_owned()
}

/// The sum of `values`, in eight interleaved partial sums.
///
/// The order depends on the length alone. Eight sums keep the vector unit busy and lose less to
/// rounding than one.
pub(crate) fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let whole = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(whole, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::sum;
    use crate::testing::values;

    #[test]
    fn sums_of_every_length_are_complete() {
        for len in 0..40 {
            let integers: Vec<_> = (1..=len).map(|value| value as f32).collect();
            assert_eq!(sum(&integers), (len * (len + 1) / 2) as f32);
        }
    }

    #[test]
    fn long_sums_stay_accurate() {
        let values = values(&[100_000], 1).mapv(|value| value + 1.0);
        let want: f64 = values.iter().copied().map(f64::from).sum();
        let got = f64::from(sum(values.as_slice().unwrap()));
        assert!((got / want - 1.0).abs() < 1e-5, "{got} must be {want}");
    }
}
