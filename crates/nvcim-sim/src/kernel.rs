//! One prepared set of conversions: what a bench's `mvm` and the running image share.
//!
//! Notation: drives x `[rows, columns]` in the driver's unit, weights W `[conversions, rows]` and, where
//! reads are noisy, variances V of the same shape.
//! 1. Current: `y = W x`, and `+ sqrt(V x^2) z` with one standard normal draw z per conversion and column.
//!    W is `(g+ - g-) / g_max` times the drive unit, computed in f64 from the cells; V is
//!    `(s+^2 + s-^2) / g_max^2` times its square. One draw per output has the exact distribution of a
//!    draw per cell, see [`pair_variance`].
//! 2. Column gain and offset, then output noise, in codes.
//! 3. The ADC: round and clip, counting what was clipped.
//!
//! Cost: one matrix product, two where reads are noisy, and a few operations per conversion.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip};
use nvcim_chip::describe::{Adc, Chip};
use nvcim_chip::effects::adc::Transfer;
use nvcim_chip::effects::read::pair_variance;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::random::Stream;
use nvcim_ir::tiled::AdcRange;

use crate::clips::ClipCount;
use crate::conditions::Conditions;
use crate::drive::{Driver, take_like, take_slice};
use crate::noise::Block;

/// What all conversions of a die have in common.
#[derive(Debug, Clone)]
pub(crate) struct Periphery {
    pub(crate) driver: Driver,
    g_max: f64,
    adc: Adc,
    /// Whether codes are whole and clipped.
    rounds: bool,
    read: Option<Stream>,
    /// Standard deviation in normalised current.
    output: Option<(f64, Stream)>,
}

impl Periphery {
    pub(crate) fn new(chip: &Chip, die_seed: u64, conditions: &Conditions) -> Self {
        let set: EffectSet = conditions.effects;
        let stream = |effect| Stream::new(conditions.run_seed, die_seed, effect);
        let read = chip.effects.read.filter(|_| set.has(Effect::Read));
        let output = chip.effects.output_noise.filter(|_| set.has(Effect::OutputNoise));
        Self {
            driver: Driver::new(&chip.dac, set),
            g_max: chip.cell.g_max,
            adc: chip.adc,
            rounds: set.has(Effect::Adc),
            read: read.map(|_| stream(Effect::Read)),
            output: output.map(|noise| (noise.sd(&chip.adc), stream(Effect::OutputNoise))),
        }
    }

    /// The draws of a read-back's noise, where reads are noisy.
    pub(crate) fn read_noise(&self) -> Option<Stream> {
        self.read
    }
}

/// A column's sense stage and converter, set to a range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sense {
    /// 1 for a perfect one.
    pub(crate) gain: f32,
    /// In LSB of the nominal range.
    pub(crate) offset_lsb: f32,
    pub(crate) range: AdcRange,
}

/// Prepared conversions.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// Normalised current per drive unit, `[conversions, rows]`.
    weights: Array2<f32>,
    transfers: Vec<Transfer>,
    /// The highest code, where codes are whole and clipped.
    max_code: Option<f32>,
    /// Variance of the current per squared drive unit, `[conversions, rows]`.
    read: Option<(Array2<f32>, Stream)>,
    /// Standard deviation in codes of each conversion.
    output: Option<(Vec<f32>, Stream)>,
}

/// Room that conversions work in; any one serves any kernel.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    squares: Vec<f32>,
    variances: Vec<f32>,
    read_draws: Vec<f32>,
    output_draws: Vec<f32>,
}

impl Kernel {
    /// Prepares one conversion per entry of `senses` over `n_rows` drives. `cells(conversion, row)` is
    /// the pair of conductances in siemens between them, positive first, 0 where there is none, and
    /// `deviations(conversion, row)` the spreads of one read of both.
    pub(crate) fn new(
        periphery: &Periphery,
        senses: &[Sense],
        n_rows: usize,
        cells: impl Fn(usize, usize) -> (f64, f64),
        deviations: impl Fn(usize, usize) -> (f64, f64),
    ) -> Self {
        let Periphery { driver, g_max, adc, rounds, read, output } = periphery;
        let dim = (senses.len(), n_rows);
        let unit = driver.unit() / g_max;
        let weights = Array2::from_shape_fn(dim, |(conversion, row)| {
            let (plus, minus) = cells(conversion, row);
            ((plus - minus) * unit) as f32
        });
        let variances = || {
            Array2::from_shape_fn(dim, |(conversion, row)| {
                let (plus, minus) = deviations(conversion, row);
                (pair_variance(plus, minus) * unit * unit) as f32
            })
        };
        let max_code = adc.max_code() as f32;
        let transfer = |it: &Sense| Transfer::new(adc, it.range, it.gain, it.offset_lsb);
        let codes_per_current =
            |it: &Sense| f64::from(max_code) / (f64::from(it.range.hi) - f64::from(it.range.lo));
        let output_deviations = |sd: &f64| {
            senses.iter().map(|it| (sd * codes_per_current(it)) as f32).collect::<Vec<_>>()
        };
        Self {
            weights,
            transfers: senses.iter().map(transfer).collect(),
            max_code: rounds.then_some(max_code),
            read: read.map(|stream| (variances(), stream)),
            output: output.as_ref().map(|(sd, stream)| (output_deviations(sd), *stream)),
        }
    }

    /// The number of conversions.
    pub(crate) fn n_conversions(&self) -> usize {
        self.transfers.len()
    }

    /// The way between current and code of each conversion.
    pub(crate) fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    /// Converts the currents of `drives`, `[rows, columns]`, to `codes`, row-major `[conversions,
    /// columns]`, with the noise of `block`, whose columns these are.
    pub(crate) fn convert(
        &self,
        drives: ArrayView2<'_, f32>,
        block: Block,
        codes: &mut [f32],
        scratch: &mut Scratch,
    ) -> ClipCount {
        let n_columns = drives.ncols();
        if codes.is_empty() {
            return ClipCount::default();
        }
        multiply(&self.weights, drives, codes);
        let draws = self.draw(drives, block, codes.len(), scratch);
        let mut clips = ClipCount::default();
        for (conversion, codes) in codes.chunks_exact_mut(n_columns).enumerate() {
            let part = Row { conversion, per_sample: block.columns.per_sample };
            let transfer = &self.transfers[conversion];
            if let Some((variances, z)) = draws.read {
                let variances = &variances[conversion * n_columns..][..n_columns];
                part.add_read_noise(codes, variances, z, self.n_conversions());
            }
            codes.iter_mut().for_each(|y| *y = transfer.exact_code(*y));
            if let (Some((deviations, _)), Some(z)) = (&self.output, draws.output) {
                part.add_output_noise(codes, deviations[conversion], z, self.n_conversions());
            }
            if let Some(max_code) = self.max_code {
                clips += settle(transfer, max_code, codes);
            }
        }
        ClipCount { total: codes.len() as u64, ..clips }
    }

    /// Draws all noise of `len` conversions.
    fn draw<'a>(
        &self,
        drives: ArrayView2<'_, f32>,
        block: Block,
        len: usize,
        scratch: &'a mut Scratch,
    ) -> Draws<'a> {
        let Scratch { squares, variances, read_draws, output_draws } = scratch;
        let read = self.read.as_ref().map(|(per_square, stream)| {
            let mut squares = take_like(squares, &drives);
            Zip::from(&mut squares).and(drives).for_each(|square, &x| *square = x * x);
            let variances = take_slice(variances, len);
            multiply(per_square, squares.view(), variances);
            let z = take_slice(read_draws, len);
            block.fill(stream, self.n_conversions(), z);
            (&*variances, &*z)
        });
        let output = self.output.as_ref().map(|(_, stream)| {
            let z = take_slice(output_draws, len);
            block.fill(stream, self.n_conversions(), z);
            &*z
        });
        Draws { read, output }
    }
}

/// Overwrites `out`, row-major, with the product of both matrices.
fn multiply(left: &Array2<f32>, right: ArrayView2<'_, f32>, out: &mut [f32]) {
    let dim = (left.nrows(), right.ncols());
    let mut out = ArrayViewMut2::from_shape(dim, out).expect("the room fits the product");
    general_mat_mul(1.0, left, &right, 0.0, &mut out);
}

/// Clips and rounds exact codes in place.
fn settle(transfer: &Transfer, max_code: f32, codes: &mut [f32]) -> ClipCount {
    let (mut low, mut high) = (0u32, 0u32);
    for code in codes {
        low += u32::from(*code < 0.0);
        high += u32::from(*code > max_code);
        *code = transfer.settle(*code);
    }
    ClipCount { low: low.into(), high: high.into(), total: 0 }
}

/// Noise for all conversions: standard normal draws, `[samples, conversions, positions]`.
struct Draws<'a> {
    /// With the variances of the currents, `[conversions, columns]`.
    read: Option<(&'a [f32], &'a [f32])>,
    output: Option<&'a [f32]>,
}

/// One conversion's columns.
struct Row {
    conversion: usize,
    per_sample: usize,
}

impl Row {
    fn add_read_noise(&self, y: &mut [f32], variances: &[f32], z: &[f32], n_conversions: usize) {
        let samples = y.chunks_exact_mut(self.per_sample);
        let variances = variances.chunks_exact(self.per_sample);
        for ((y, variances), z) in samples.zip(variances).zip(self.draws(z, n_conversions)) {
            for ((y, variance), z) in y.iter_mut().zip(variances).zip(z) {
                *y += variance.sqrt() * z;
            }
        }
    }

    fn add_output_noise(&self, y: &mut [f32], deviation: f32, z: &[f32], n_conversions: usize) {
        let samples = y.chunks_exact_mut(self.per_sample);
        for (y, z) in samples.zip(self.draws(z, n_conversions)) {
            y.iter_mut().zip(z).for_each(|(y, z)| *y += deviation * z);
        }
    }

    /// This conversion's draws, sample by sample.
    fn draws<'a>(&self, z: &'a [f32], n_conversions: usize) -> impl Iterator<Item = &'a [f32]> {
        let Self { conversion, per_sample } = *self;
        z.chunks_exact(n_conversions * per_sample)
            .map(move |sample| &sample[conversion * per_sample..][..per_sample])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, array, s};
    use nvcim_chip::describe::Chip;
    use nvcim_chip::effects::output_noise::OutputNoise;
    use nvcim_chip::effects::read::ReadNoise;
    use nvcim_chip::effects::{Effect, EffectSet};
    use nvcim_ir::tiled::AdcRange;
    use nvcim_ops::run_program::Columns;

    use super::{Kernel, Periphery, Scratch, Sense};
    use crate::clips::ClipCount;
    use crate::noise::{Block, Purpose};
    use crate::testing::{fresh, plain_chip};

    const WIDE: AdcRange = AdcRange { lo: -4.0, hi: 4.0 };
    const PERFECT: Sense = Sense { gain: 1.0, offset_lsb: 0.0, range: WIDE };
    /// Pairs of conductances in siemens, two conversions over three rows.
    const CELLS: [[(f64, f64); 3]; 2] =
        [[(1e-4, 0.0), (0.0, 5e-5), (2e-5, 8e-5)], [(0.0, 0.0), (5e-5, 0.0), (0.0, 1e-4)]];

    fn convert(
        chip: &Chip,
        effects: EffectSet,
        senses: [Sense; 2],
        drives: &Array2<f32>,
    ) -> (Array2<f32>, ClipCount) {
        let columns = Columns { first_sample: 0, per_sample: drives.ncols() };
        convert_columns(chip, effects, senses, drives.view(), columns)
    }

    fn convert_columns(
        chip: &Chip,
        effects: EffectSet,
        senses: [Sense; 2],
        drives: ArrayView2<'_, f32>,
        columns: Columns,
    ) -> (Array2<f32>, ClipCount) {
        let periphery = Periphery::new(chip, 0, &fresh(effects));
        let cells = |conversion: usize, row: usize| CELLS[conversion][row];
        let deviations = |conversion: usize, row: usize| {
            let (plus, minus) = CELLS[conversion][row];
            (0.02 * plus, 0.02 * minus)
        };
        let kernel = Kernel::new(&periphery, &senses, 3, cells, deviations);
        let block = Block { purpose: Purpose::Inference, unit: 0, columns };
        let mut codes = vec![0.0; 2 * drives.ncols()];
        let clips = kernel.convert(drives, block, &mut codes, &mut Scratch::default());
        (Array2::from_shape_vec((2, drives.ncols()), codes).unwrap(), clips)
    }

    #[test]
    fn currents_are_differences_over_g_max() {
        let (codes, _) = convert(
            &plain_chip(),
            EffectSet::NONE,
            [PERFECT; 2],
            &array![[1.0, 0.5], [0.5, 0.0], [0.25, -1.0]],
        );
        // Currents 1 - 0.25 - 0.15 = 0.6, 0.5 + 0.6 = 1.1; 0.25 - 0.25 = 0, 0 + 1 = 1. In codes:
        let expected = array![[0.6, 1.1], [0.0, 1.0f32]].mapv(|y| (y + 4.0) / 8.0 * 255.0);
        assert!(codes.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{codes}");
    }

    #[test]
    fn gain_then_offset_then_rounding() {
        let uneven = Sense { gain: 1.1, offset_lsb: -3.0, range: AdcRange { lo: -1.0, hi: 1.0 } };
        let set = EffectSet::ALL.without(Effect::Dac);
        let (codes, _) =
            convert(&plain_chip(), set, [uneven, PERFECT], &array![[1.0], [0.5], [0.25]]);
        // (1.1 x 0.6 - 3 x 8 / 255 + 1) / 2 x 255 = 199.65: the offset is in LSB of the nominal range.
        assert_eq!(codes, array![[200.0], [128.0]]);
    }

    #[test]
    fn clipped_conversions_are_counted_by_side() {
        let narrow = Sense { range: AdcRange { lo: -0.5, hi: 0.5 }, ..PERFECT };
        let drives = array![[1.0, -1.0, 0.1], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let set = EffectSet::ALL.without(Effect::Dac);
        let (codes, clips) = convert(&plain_chip(), set, [narrow; 2], &drives);
        assert_eq!(codes.row(0).to_vec(), [255.0, 0.0, 153.0]);
        assert_eq!(codes.row(1).to_vec(), [128.0, 0.0, 128.0]);
        assert_eq!(clips, ClipCount { low: 2, high: 1, total: 6 });
        let (_, clips) = convert(&plain_chip(), EffectSet::NONE, [narrow; 2], &drives);
        assert_eq!(clips, ClipCount { low: 0, high: 0, total: 6 });
    }

    /// Mean and variance of both conversions, in squared normalised current, over many columns.
    fn moments(chip: &Chip, effects: EffectSet, range: AdcRange) -> [(f64, f64); 2] {
        let n = 40_000;
        let mut drives = Array2::zeros((3, n));
        drives.columns_mut().into_iter().for_each(|mut it| it.assign(&array![1.0, 0.5, 0.25]));
        let (codes, _) = convert(chip, effects, [Sense { range, ..PERFECT }; 2], &drives);
        let step = f64::from(range.hi - range.lo) / 255.0;
        [0, 1].map(|row| {
            let y = codes.row(row).mapv(|code| f64::from(range.lo) + f64::from(code) * step);
            let mean = y.sum() / n as f64;
            (mean, y.mapv(|y| (y - mean).powi(2)).sum() / n as f64)
        })
    }

    #[test]
    fn read_noise_has_the_variance_of_its_cells() {
        let mut chip = plain_chip();
        chip.effects.read = Some(ReadNoise::share(0.02));
        let set = EffectSet::NONE.with(Effect::Read);
        let [(mean, first), (_, second)] = moments(&chip, set, WIDE);
        // sum x^2 (s+^2 + s-^2) with s = 2 % of g / g_max: row by row 1, 1/4 and 1/16 times its cells.
        let square = 0.02f64.powi(2);
        let expected = [square * (1.0 + 0.25 * 0.25 + 0.0625 * 0.68), square * (0.0625 + 0.0625)];
        // Four standard errors of a variance from 40 000 draws: 2.8 %.
        assert!((first / expected[0] - 1.0).abs() < 0.028, "{first} {expected:?}");
        assert!((second / expected[1] - 1.0).abs() < 0.028, "{second} {expected:?}");
        assert!((mean - 0.6).abs() < 4.0 * (expected[0] / 40_000.0).sqrt(), "{mean}");
        let [(_, off), _] = moments(&chip, EffectSet::NONE, WIDE);
        assert!(off < 1e-12, "{off}");
    }

    #[test]
    fn output_noise_is_in_lsb_of_the_nominal_range_whatever_the_range() {
        let mut chip = plain_chip();
        chip.effects.output_noise = Some(OutputNoise { sd_lsb: 0.5 });
        let set = EffectSet::NONE.with(Effect::OutputNoise);
        let expected = (0.5f64 * 8.0 / 255.0).powi(2);
        for range in [WIDE, AdcRange { lo: -1.0, hi: 1.0 }] {
            let [(_, first), (_, second)] = moments(&chip, set, range);
            assert!((first / expected - 1.0).abs() < 0.028, "{first} {expected}");
            assert!((second / expected - 1.0).abs() < 0.028, "{second} {expected}");
        }
    }

    fn noisy_chip() -> Chip {
        let mut chip = plain_chip();
        chip.effects.read = Some(ReadNoise::share(0.02));
        chip.effects.output_noise = Some(OutputNoise { sd_lsb: 0.5 });
        chip
    }

    #[test]
    fn conversions_and_effects_draw_independently() {
        let n = 40_000;
        let drives = Array2::ones((3, n));
        let noise_of = |effect| {
            let set = EffectSet::NONE.with(effect);
            let (codes, _) = convert(&noisy_chip(), set, [PERFECT; 2], &drives);
            let (still, _) = convert(&noisy_chip(), EffectSet::NONE, [PERFECT; 2], &drives);
            codes - still
        };
        let (read, output) = (noise_of(Effect::Read), noise_of(Effect::OutputNoise));
        let pairs = [(&read, 0, &read, 1), (&output, 0, &output, 1), (&read, 0, &output, 0)];
        for (left, i, right, j) in pairs {
            let product = |a: (&Array2<f32>, usize), b: (&Array2<f32>, usize)| {
                (&a.0.row(a.1) * &b.0.row(b.1)).mapv(f64::from).sum()
            };
            let (left, right) = ((left, i), (right, j));
            let size = (product(left, left) * product(right, right)).sqrt();
            // Four standard errors of a correlation from 40 000 draws: 2 %.
            assert!((product(left, right) / size).abs() < 0.02, "{}", product(left, right) / size);
        }
    }

    #[test]
    fn samples_of_several_positions_may_come_together_or_apart() {
        let drives = Array2::from_shape_fn((3, 15), |(row, col)| (row + col) as f32 / 20.0);
        let part = |samples: std::ops::Range<usize>| {
            let columns = Columns { first_sample: samples.start as u64, per_sample: 5 };
            let drives = drives.slice(s![.., 5 * samples.start..5 * samples.end]);
            let set = EffectSet::ALL;
            convert_columns(&noisy_chip(), set, [PERFECT; 2], drives, columns).0
        };
        let whole = part(0..3);
        assert_eq!(part(0..1), whole.slice(s![.., ..5]));
        assert_eq!(part(1..3), whole.slice(s![.., 5..]));
    }

    #[test]
    fn nothing_to_convert_is_no_error() {
        let (codes, clips) =
            convert(&noisy_chip(), EffectSet::ALL, [PERFECT; 2], &Array2::zeros((3, 0)));
        assert_eq!((codes.dim(), clips), ((2, 0), ClipCount::default()));
    }
}
