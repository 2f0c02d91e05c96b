//! Coarse drives: the full scale of a layer's inputs, and where the copies of a tile round them.
//!
//! A driver of two bits knows four sizes. With the largest input at full scale most inputs are below half a step
//! and come to nothing; a lower full scale clips a few and tells the others apart. Copies of a tile on word lines
//! of their own add the middle of their share of a step before they round, so that together they have as many
//! times the steps. Rest stays at rest and full scale at full scale, whatever is added.

use ndarray::{Array2, ArrayView2};
use nvcim_chip::effects::dac::quantize_shifted;
use nvcim_ir::tiled::InputCoding;

use crate::affine::unsaid;
use crate::coarse::shift_of;
use crate::samples::Samples;

/// Full scales that are tried, as shares of the largest input.
const SHARES: [f32; 12] = [1.0, 0.85, 0.72, 0.6, 0.5, 0.42, 0.36, 0.3, 0.25, 0.2, 0.16, 0.12];

/// How the inputs of a layer are rounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    /// Bits of the drivers.
    pub(crate) bits: u32,
    /// Copies on word lines of their own.
    pub(crate) n_copies: usize,
}

/// A full scale and what it is expected to bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    /// Whether it is another than before.
    pub(crate) is_new: bool,
    /// How inputs are to be driven.
    pub(crate) input: InputCoding,
    /// Root mean square errors of the outputs on held-out images before and after, relative to what is wanted.
    pub(crate) errors: [f64; 2],
}

impl Rounding {
    /// What copies make of `x` on the mean, in input units and the shape of `x`.
    pub(crate) fn round(self, x: ArrayView2<'_, f32>, input: InputCoding) -> Array2<f32> {
        let least = if input.signed { -1.0 } else { 0.0 };
        let shifts: Vec<f32> =
            (0..self.n_copies).map(|copy| shift_of(copy, self.n_copies)).collect();
        let unit = input.full_scale / shifts.len() as f32;
        x.mapv(|x| {
            let x = (x / input.full_scale).clamp(least, 1.0);
            unit * shifts.iter().map(|&it| quantize_shifted(x, self.bits, it)).sum::<f32>()
        })
    }

    /// The full scale from which most can be told of a layer's outputs under `weights`, `[n_rows, n_cols]`.
    ///
    /// Gains and offsets are fitted later, so that what counts is the part of the outputs that no line through
    /// the rounded products says.
    pub(crate) fn choose(
        self,
        samples: &Samples,
        weights: ArrayView2<'_, f32>,
        input: InputCoding,
    ) -> Choice {
        let error = |share: f32, x: ArrayView2<'_, f32>, z: ArrayView2<'_, f32>| {
            let input = InputCoding { full_scale: share * input.full_scale, ..input };
            let y = self.round(x, input).dot(&weights);
            z.columns().into_iter().zip(y.columns()).map(|(z, y)| unsaid(z, y)).sum::<f64>()
        };
        let mut best = (f64::INFINITY, 1.0);
        for share in SHARES {
            let error = error(share, samples.fit_x(), samples.fit_z());
            if error < best.0 {
                best = (error, share);
            }
        }
        let held_out = samples.held_out_z();
        let variances = held_out.columns().into_iter().map(|z| f64::from(z.var(0.0)));
        let size = variances.sum::<f64>().max(f64::MIN_POSITIVE);
        let errors =
            [1.0, best.1].map(|share| (error(share, samples.held_out_x(), held_out) / size).sqrt());
        let is_new = errors[1] < errors[0];
        let share = if is_new { best.1 } else { 1.0 };
        let input = InputCoding { full_scale: share * input.full_scale, ..input };
        Choice { is_new, input, errors }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use nvcim_ir::tiled::InputCoding;

    use super::Rounding;
    use crate::coarse::shift_of;
    use crate::samples::Samples;

    /// Vectors of a few inputs, most of them small and one of a hundred large.
    fn samples() -> Samples {
        let x = Array2::from_shape_fn((400, 2), |(vector, row)| {
            let place = ((vector * (7 + 4 * row)) % 101) as f32 / 101.0;
            if vector % 100 == 3 { 2.5 } else { place }
        });
        let z = x.dot(&array![[1.0], [-0.5]]);
        Samples { x, z, n_fit: 300 }
    }

    const INPUT: InputCoding = InputCoding { full_scale: 2.5, signed: false };

    #[test]
    fn a_few_large_inputs_give_way_to_many_small_ones() {
        let weights = array![[1.0], [-0.5]];
        let choose =
            |n_copies| Rounding { bits: 2, n_copies }.choose(&samples(), weights.view(), INPUT);
        let alone = choose(1);
        assert!(alone.is_new && alone.input.full_scale < 2.0, "{alone:?}");
        assert!(alone.errors[1] < alone.errors[0], "{alone:?}");
        let together = choose(8);
        assert!(together.errors[1] < 0.5 * alone.errors[1], "{alone:?} {together:?}");
    }

    #[test]
    fn inputs_on_steps_stay_there_whatever_copies_add() {
        let x = array![[0.0, 1.0], [2.0, 3.0]];
        let input = InputCoding { full_scale: 3.0, signed: false };
        for n_copies in 1..9 {
            let rounded = Rounding { bits: 2, n_copies }.round(x.view(), input);
            assert!((&rounded - &x).iter().all(|off| off.abs() < 1e-6), "{rounded}");
            assert!((0..n_copies).all(|copy| shift_of(copy, n_copies).abs() < 0.5));
        }
    }
}
