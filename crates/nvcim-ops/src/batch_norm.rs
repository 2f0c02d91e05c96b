//! Batch normalisation with the statistics of training.

use nvcim_ir::graph::Constant;

use crate::tensor::{Operand, Tensor, elements_mut};

/// The constants of a batch normalisation, each `[channels]`.
#[derive(Debug, Clone, Copy)]
pub struct Statistics<'a> {
    /// Per-channel scale.
    pub scale: &'a Constant,
    /// Per-channel bias.
    pub bias: &'a Constant,
    /// Per-channel running mean.
    pub mean: &'a Constant,
    /// Per-channel running variance.
    pub var: &'a Constant,
    /// Added to the variance.
    pub epsilon: f32,
}

/// `scale (x - mean) / sqrt(var + epsilon) + bias` per channel, the first axis of a sample; in place
/// where the operand was handed over.
pub fn batch_norm(x: Operand<'_>, statistics: Statistics<'_>) -> Tensor {
    let Statistics { scale, bias, mean, var, epsilon } = statistics;
    let of = |constant: &Constant| constant.value.iter().copied().collect::<Vec<_>>();
    let (bias, mean) = (of(bias), of(mean));
    let gain: Vec<_> = (scale.value.iter().zip(&var.value))
        .map(|(scale, var)| scale / (var + epsilon).sqrt())
        .collect();
    let mut res = x.into_owned();
    let plane: usize = res.shape()[2..].iter().product();
    for sample in elements_mut(&mut res).chunks_exact_mut(plane * gain.len()) {
        for (channel, values) in sample.chunks_exact_mut(plane).enumerate() {
            let (gain, mean, bias) = (gain[channel], mean[channel], bias[channel]);
            for value in values {
                *value = (*value - mean) * gain + bias;
            }
        }
    }
    res
}

#[cfg(test)]
mod tests {
    use ndarray::IxDyn;

    use super::{Statistics, batch_norm};
    use crate::tensor::{Operand, Tensor};
    use crate::testing::{assert_close, constant, tensor, values};

    #[test]
    fn normalises_each_channel_of_images_and_of_vectors() {
        let [scale, bias, mean] = [1, 2, 3].map(|seed| values(&[3], seed));
        let var = tensor(&[3], &[0.25, 1., 4.]);
        let epsilon = 1e-3;
        for shape in [&[2, 3, 2, 2][..], &[2, 3]] {
            let x = values(shape, 4);
            let want = Tensor::from_shape_fn(IxDyn(shape), |at| {
                let of = |constant: &Tensor| f64::from(constant[at[1]]);
                let deviation = (of(&var) + f64::from(epsilon)).sqrt();
                (of(&scale) * (f64::from(x[&at]) - of(&mean)) / deviation + of(&bias)) as f32
            });
            let [scale, bias, mean, var] =
                [&scale, &bias, &mean, &var].map(|x| constant(x.clone()));
            let statistics =
                Statistics { scale: &scale, bias: &bias, mean: &mean, var: &var, epsilon };
            assert_close(&batch_norm(Operand::from(&x), statistics), &want);
            assert_close(&batch_norm(Operand::from(x), statistics), &want);
        }
    }
}
