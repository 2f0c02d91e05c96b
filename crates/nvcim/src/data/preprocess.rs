//! From stored values to input tensors: resize, scale, shift, normalise, lay out.
//!
//! In this order: bytes are resized bilinearly and rounded back to bytes, values are multiplied by the
//! scale (1/255 for u8, 1 otherwise, unless given), the shift is added, the mean subtracted and the
//! result divided by the standard deviation, per channel.

use std::ops::Range;

use ndarray::{ArrayD, Axis, IxDyn};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ops::tensor::Tensor;

use super::Raw;

/// What happens to stored values before the network sees them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preprocess {
    /// Factor of raw values; 1/255 for u8 and 1 for others where absent.
    pub scale: Option<f32>,
    /// Added after scaling.
    pub shift: f32,
    /// Mean per channel, or one for all; none where empty.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, or one for all; none where empty.
    pub std: Vec<f32>,
    /// Height and width to resize to.
    pub resize: Option<(usize, usize)>,
    /// Most images used.
    pub limit: Option<usize>,
}

impl Preprocess {
    /// The images of `range` as `[n, sample_shape...]`.
    pub(crate) fn apply(&self, raw: &Raw, range: Range<usize>, sample: &[usize]) -> Result<Tensor> {
        match raw {
            Raw::Floats(values) => self.apply_floats(values, range, sample),
            Raw::Bytes { values, dims, signed } => {
                self.apply_bytes(values, *dims, *signed, range, sample)
            }
        }
    }

    fn apply_floats(
        &self,
        values: &ArrayD<f32>,
        range: Range<usize>,
        sample: &[usize],
    ) -> Result<Tensor> {
        let count: usize = sample.iter().product();
        let stored: usize = values.shape()[1..].iter().product();
        if stored != count {
            return Err(mismatch(&values.shape()[1..], sample).into());
        }
        if self.resize.is_some() {
            let message = "resizes bytes only; this data holds floats";
            return Err(Diagnostic::bad_input("--resize", message).into());
        }
        let part = values.slice_axis(Axis(0), range.clone().into());
        let shape: Vec<usize> = [range.len()].into_iter().chain(sample.iter().copied()).collect();
        let scale = self.scale.unwrap_or(1.0);
        let channels = sample.first().copied().unwrap_or(1).max(1);
        let per_channel = count / channels;
        let table = self.channel_table(channels, scale)?;
        let mut res: Vec<f32> = part.iter().copied().collect();
        for (at, value) in res.iter_mut().enumerate() {
            let (factor, offset) = table[(at % count) / per_channel.max(1) % channels];
            *value = *value * factor + offset;
        }
        Ok(ArrayD::from_shape_vec(IxDyn(&shape), res).expect("the count was checked"))
    }

    fn apply_bytes(
        &self,
        values: &[u8],
        [_, height, width, channels]: [usize; 4],
        signed: bool,
        range: Range<usize>,
        sample: &[usize],
    ) -> Result<Tensor> {
        let (out_h, out_w) = self.resize.unwrap_or((height, width));
        let channels_last = match sample {
            [c, h, w] if [*c, *h, *w] == [channels, out_h, out_w] => false,
            [h, w, c] if [*h, *w, *c] == [out_h, out_w, channels] => true,
            // A flat or otherwise shaped input takes grey images row by row.
            _ if channels == 1 && sample.iter().product::<usize>() == out_h * out_w => true,
            _ => return Err(mismatch(&[channels, out_h, out_w], sample).into()),
        };
        let scale = self.scale.unwrap_or(if signed { 1.0 } else { 1.0 / 255.0 });
        let table = self.channel_table(channels, scale)?;
        let stored = height * width * channels;
        let count = out_h * out_w * channels;
        let mut res = vec![0.0f32; range.len() * count];
        let to_number = |byte: u8| if signed { f32::from(byte as i8) } else { f32::from(byte) };
        for (image, out) in range.clone().zip(res.chunks_exact_mut(count.max(1))) {
            let image = &values[image * stored..(image + 1) * stored];
            let pixel =
                |y: usize, x: usize, c: usize| to_number(image[(y * width + x) * channels + c]);
            for y in 0..out_h {
                for x in 0..out_w {
                    for (c, &(factor, offset)) in table.iter().enumerate() {
                        let value = match self.resize {
                            None => pixel(y, x, c),
                            Some(_) => {
                                let at = |y, x| pixel(y, x, c);
                                interpolate(at, (y, out_h, height), (x, out_w, width)).round()
                            }
                        };
                        let place = if channels_last {
                            (y * out_w + x) * channels + c
                        } else {
                            (c * out_h + y) * out_w + x
                        };
                        out[place] = value * factor + offset;
                    }
                }
            }
        }
        let shape: Vec<usize> = [range.len()].into_iter().chain(sample.iter().copied()).collect();
        Ok(ArrayD::from_shape_vec(IxDyn(&shape), res).expect("the count was checked"))
    }

    /// Factor and offset of each channel, so that `value * factor + offset` is the whole chain.
    fn channel_table(&self, channels: usize, scale: f32) -> Result<Vec<(f32, f32)>> {
        let pick = |name: &str, values: &[f32], default: f32| -> Result<Vec<f32>> {
            match values {
                [] => Ok(vec![default; channels]),
                [one] => Ok(vec![*one; channels]),
                many if many.len() == channels => Ok(many.to_vec()),
                many => {
                    let message =
                        format!("has {} values of the {name} for {channels} channels", many.len());
                    Err(Diagnostic::bad_input("--normalize", message).into())
                }
            }
        };
        let mean = pick("mean", &self.mean, 0.0)?;
        let std = pick("standard deviation", &self.std, 1.0)?;
        let entry = |(mean, std): (f32, f32)| (scale / std, (self.shift - mean) / std);
        Ok(mean.into_iter().zip(std).map(entry).collect())
    }
}

/// Bilinear interpolation with pixel centres at half coordinates; `(position, new length, old length)`.
fn interpolate(
    at: impl Fn(usize, usize) -> f32,
    (y, out_h, height): (usize, usize, usize),
    (x, out_w, width): (usize, usize, usize),
) -> f32 {
    let (y0, y1, fy) = neighbours(y, out_h, height);
    let (x0, x1, fx) = neighbours(x, out_w, width);
    let top = at(y0, x0) * (1.0 - fx) + at(y0, x1) * fx;
    let bottom = at(y1, x0) * (1.0 - fx) + at(y1, x1) * fx;
    top * (1.0 - fy) + bottom * fy
}

fn neighbours(position: usize, new: usize, old: usize) -> (usize, usize, f32) {
    let centre = (position as f32 + 0.5) * old as f32 / new as f32 - 0.5;
    let centre = centre.clamp(0.0, (old - 1) as f32);
    let low = centre.floor() as usize;
    (low, (low + 1).min(old - 1), centre - low as f32)
}

fn mismatch(stored: &[usize], sample: &[usize]) -> Diagnostic {
    let message = format!("holds samples of {stored:?}, but the model takes {sample:?}");
    Diagnostic::bad_input("data", message).hint("`--resize H,W` changes the size of images")
}

#[cfg(test)]
mod tests {
    use super::{Preprocess, neighbours};
    use crate::data::Raw;

    fn bytes(dims: [usize; 4]) -> Raw {
        let n: usize = dims.iter().product();
        Raw::Bytes { values: (0..n as u8).collect(), dims, signed: false }
    }

    #[test]
    fn colour_turns_to_the_models_layout() {
        let options = Preprocess { scale: Some(1.0), ..Preprocess::default() };
        let raw = bytes([1, 1, 2, 3]);
        let first = options.apply(&raw, 0..1, &[3, 1, 2]).unwrap();
        assert_eq!(first.iter().copied().collect::<Vec<_>>(), [0., 3., 1., 4., 2., 5.]);
        let last = options.apply(&raw, 0..1, &[1, 2, 3]).unwrap();
        assert_eq!(last.iter().copied().collect::<Vec<_>>(), [0., 1., 2., 3., 4., 5.]);
        assert!(options.apply(&raw, 0..1, &[3, 2, 2]).is_err());
    }

    #[test]
    fn scale_shift_and_normalise_come_in_this_order() {
        let options = Preprocess {
            scale: Some(2.0),
            shift: 1.0,
            mean: vec![3.0],
            std: vec![4.0],
            ..Preprocess::default()
        };
        let x = options.apply(&bytes([1, 1, 2, 1]), 0..1, &[2]).unwrap();
        assert_eq!(x.iter().copied().collect::<Vec<_>>(), [-0.5, 0.0]);
    }

    #[test]
    fn interpolation_keeps_centres_and_clamps_borders() {
        assert_eq!(neighbours(0, 4, 2), (0, 1, 0.0));
        assert_eq!(neighbours(1, 4, 2), (0, 1, 0.25));
        assert_eq!(neighbours(3, 4, 2), (1, 1, 0.0));
    }
}
