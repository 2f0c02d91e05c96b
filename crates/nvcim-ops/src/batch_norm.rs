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
