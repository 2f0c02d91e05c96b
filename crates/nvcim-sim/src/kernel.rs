//! One prepared set of conversions: what a bench's `mvm` and the running image share.
//!
//! Notation: drives x `[rows, columns]` in drive units of `u` full scales, see [`crate::drive`]; weights W
//! `[conversions, rows]` and, where reads are noisy, variances V of the same shape, both per full scale.
//! Arithmetic is in the kernel's type `T`, each operation rounded once; what stands in brackets is
//! computed in f64 and rounded to `T` when the kernel is made. Per conversion j and column c:
//! 1. Current `y = sum_i x_ic [W_ji u]`, by a matrix product, which alone has no documented order of
//!    addition (it is the same for any batch).
//! 2. `code = [gain / D] y + [(offset + gain leakage - lo) / D]`, the column's own gain and offset, with
//!    the LSB `D = (hi - lo) / max_code` of the range that is set.
//! 3. Noise `code += sqrt(v) z`, with one standard normal draw z and
//!    `v = sum_i x_ic^2 [V_ji u^2 gain^2 / D^2] + [(s / D)^2]`, s the output noise. Read noise of cells and
//!    noise of the output are independent and Gaussian and enter linearly, so that one draw with the sum
//!    of their variances has their exact distribution. Without read noise `code += [s / D] z`.
//! 4. The ADC: `code = rint(clip(code, 0, max_code))`, halfway to even; what was clipped is counted.
//! 5. Slices that are converted one by one, `n` bits each, the lowest first:
//!    `acc = (acc + code) [2^-n]` from 0, then `code = [top] acc + [(W - 1) lo / D]`, with the weights'
//!    scale `top` and sum W of [`Slicing`]. `acc` is exact as long as the bits of slices and ADC fit the
//!    significand. The result stands for the current `lo + D code` as any other code does.
//!
//! Where read noise holds for a sample ([`Correlation::Image`]), step 1 takes `W + sqrt(V) Z` with a draw
//! per cell and sample instead: the noise of a sample's columns is then correlated as theirs is on a chip.
//! Noise that is frozen is the cells', not the kernel's.
//!
//! Cost: one matrix product over all slices, two where read noise is new each time, and a few operations
//! per conversion; for noise that holds for a sample, a draw per cell and sample.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use nvcim_chip::effects::adc::Transfer;
use nvcim_chip::effects::read::Correlation;
use nvcim_chip::random::Stream;
use nvcim_chip::real::Real;

use crate::clips::ClipCount;
use crate::drive::Drive;
use crate::noise::{Block, place};
use crate::periphery::{Periphery, Sense, Slicing};
use crate::room::take_slice;

/// What conversions see of the array: numbers alone, wherever they come from.
#[derive(Debug, Clone)]
pub struct Currents {
    /// Normalised current per full-scale drive, `[conversions, rows]`: `(g+ - g-) / g_max` for cells
    /// between perfect wires.
    pub weights: Array2<f64>,
    /// Variance of the normalised current per squared full-scale drive, `[conversions, rows]`, where
    /// reads are noisy: `(s+^2 + s-^2) / g_max^2` for cells between perfect wires.
    pub variances: Option<Array2<f64>>,
    /// Normalised current that each conversion sees whatever is driven, in every pass and slice; empty
    /// for none.
    pub leakage: Vec<f64>,
}

/// Prepared conversions.
#[derive(Debug, Clone)]
pub struct Kernel<T = f32> {
    /// Normalised current per drive unit, `[conversions, rows]`.
    weights: Array2<T>,
    transfers: Vec<Transfer<T>>,
    /// The highest code, where codes are whole and clipped.
    max_code: Option<T>,
    code_noise: Option<CodeNoise<T>>,
    cell_noise: Option<CellNoise<T>>,
    sum: Option<SliceSum<T>>,
}

/// Noise that is new for every conversion, in codes.
#[derive(Debug, Clone)]
struct CodeNoise<T> {
    stream: Stream,
    /// Standard deviation of the output noise of each conversion.
    deviations: Vec<T>,
    /// Variance per squared drive unit, `[conversions, rows]`.
    variances: Option<Array2<T>>,
}

/// Read noise that holds for a sample.
#[derive(Debug, Clone)]
struct CellNoise<T> {
    stream: Stream,
    /// Standard deviations of the weights.
    deviations: Array2<T>,
}

/// How the codes of slices become one.
#[derive(Debug, Clone)]
struct SliceSum<T> {
    per_base: T,
    top: T,
    /// Per conversion.
    shifts: Vec<T>,
}

/// Room that conversions work in; any one serves any kernel.
#[derive(Debug, Default)]
pub struct Scratch<T = f32> {
    variances: Vec<T>,
    slices: Vec<T>,
    weights: Vec<T>,
    draws: Vec<f32>,
    gather: Vec<f32>,
}

impl<T: Real> Kernel<T> {
    /// Prepares one conversion per entry of `senses`. Variances without noisy reads are left out.
    ///
    /// # Panics
    /// If `currents` and `senses` differ in the number of conversions, or `currents` in itself.
    pub fn new(periphery: &Periphery, currents: &Currents, senses: &[Sense]) -> Self {
        let Currents { weights, variances, leakage } = currents;
        let n = senses.len();
        assert_eq!(weights.nrows(), n, "one sense stage per conversion");
        assert!(leakage.is_empty() || leakage.len() == n, "one leakage per conversion");
        assert!(variances.as_ref().is_none_or(|it| it.dim() == weights.dim()), "shaped alike");
        let slices = periphery.converted_slices();
        // Slices that are added before the conversion bring their leakage along, each in its weight.
        let added = periphery.slicing.filter(|_| slices.is_none());
        let leaks = added.map_or(1.0, |slicing| slicing.weight_sum());
        let transfer = |(conversion, it): (usize, &Sense)| {
            let leakage = leaks * leakage.get(conversion).copied().unwrap_or(0.0);
            Transfer::with_current(&periphery.adc, it.range, it.gain, it.offset_lsb, leakage)
        };
        let unit = periphery.drive_unit();
        let max_code = T::from_f64(f64::from(periphery.adc.max_code()));
        Self {
            weights: weights.mapv(|weight| T::from_f64(weight * unit)),
            transfers: senses.iter().enumerate().map(transfer).collect(),
            max_code: periphery.rounds.then_some(max_code),
            code_noise: CodeNoise::new(periphery, variances.as_ref(), senses),
            cell_noise: CellNoise::new(periphery, variances.as_ref()),
            sum: slices.map(|slicing| SliceSum::new(periphery, slicing, senses)),
        }
    }

    /// The number of conversions.
    pub fn n_conversions(&self) -> usize {
        self.transfers.len()
    }

    /// The way between current and code of each conversion.
    pub fn transfers(&self) -> &[Transfer<T>] {
        &self.transfers
    }

    /// Converts the currents of `drive` to `codes`, row-major `[conversions, columns]`, with the noise of
    /// `block`, whose columns these are.
    pub fn convert(
        &self,
        drive: Drive<'_, T>,
        block: Block,
        codes: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> ClipCount {
        if codes.is_empty() {
            return ClipCount::default();
        }
        let Scratch { variances, slices, weights, draws, gather } = scratch;
        let n_columns = codes.len() / self.n_conversions();
        let width = drive.driven.ncols();
        let len = self.n_conversions() * width;
        let single = match &self.sum {
            Some(_) => take_slice(slices, len),
            None => &mut *codes,
        };
        match &self.cell_noise {
            Some(noise) => {
                self.multiply_noisy(noise, drive.driven, block, n_columns, single, weights, draws);
            }
            None => multiply(&self.weights, drive.driven, single),
        }
        let noise = self.code_noise.as_ref().map(|noise| {
            let z = take_slice(draws, len);
            block.fill(&noise.stream, n_columns, self.n_conversions(), z, gather);
            let squares = noise.variances.as_ref().zip(drive.squares);
            let variances = squares.map(|(per_square, squares)| {
                let variances = take_slice(variances, len);
                multiply(per_square, squares, variances);
                &*variances
            });
            (noise, &*z, variances)
        });
        let mut clips = ClipCount::default();
        for (conversion, codes) in single.chunks_exact_mut(width).enumerate() {
            let transfer = &self.transfers[conversion];
            let row = conversion * width..(conversion + 1) * width;
            let noise = noise.map(|(noise, z, variances)| RowNoise {
                deviation: noise.deviations[conversion],
                z: &z[row.clone()],
                variances: variances.map(|it| &it[row.clone()]),
            });
            clips += self.convert_row(transfer, noise, codes);
        }
        if let Some(sum) = &self.sum {
            let slices = slices[..len].chunks_exact(width);
            for ((codes, slices), &shift) in
                codes.chunks_exact_mut(n_columns).zip(slices).zip(&sum.shifts)
            {
                sum.accumulate(slices, shift, codes);
            }
        }
        ClipCount { total: len as u64, ..clips }
    }

    /// Brings one conversion's currents to codes.
    fn convert_row(
        &self,
        transfer: &Transfer<T>,
        noise: Option<RowNoise<'_, T>>,
        codes: &mut [T],
    ) -> ClipCount {
        let Some(max_code) = self.max_code else {
            codes.iter_mut().for_each(|code| *code = transfer.exact_code(*code));
            noise.inspect(|noise| noise.add(codes));
            return ClipCount::default();
        };
        match noise {
            None => settle(max_code, codes, |y| transfer.exact_code(y)),
            Some(noise) => {
                codes.iter_mut().for_each(|code| *code = transfer.exact_code(*code));
                noise.add(codes);
                settle(max_code, codes, |code| code)
            }
        }
    }

    /// Overwrites `out` with the currents of cells whose noise holds for a sample.
    #[expect(clippy::too_many_arguments, reason = "rooms of one scratch, borrowed apart")]
    fn multiply_noisy(
        &self,
        noise: &CellNoise<T>,
        driven: ArrayView2<'_, T>,
        block: Block,
        n_columns: usize,
        out: &mut [T],
        weights: &mut Vec<T>,
        draws: &mut Vec<f32>,
    ) {
        let mut out = ArrayViewMut2::from_shape((self.n_conversions(), driven.ncols()), out)
            .expect("the room fits the product");
        let per_sample = block.columns.per_sample;
        let weights = take_slice(weights, self.weights.len());
        let z = take_slice(draws, self.weights.len());
        for (serial, start) in
            (block.columns.first_sample..).zip((0..n_columns).step_by(per_sample))
        {
            noise.stream.fill_normals(place(block.purpose, block.cells, serial), z);
            let cells = self.weights.iter().zip(&noise.deviations).zip(&*z);
            for (out, ((&weight, &deviation), &z)) in weights.iter_mut().zip(cells) {
                *out = weight + deviation * T::from_real(z);
            }
            let weights = ArrayView2::from_shape(self.weights.dim(), &*weights)
                .expect("the room fits the weights");
            for start in (start..driven.ncols()).step_by(n_columns) {
                let columns = s![.., start..start + per_sample];
                let mut out = out.slice_mut(columns);
                general_mat_mul(T::ONE, &weights, &driven.slice(columns), T::ZERO, &mut out);
            }
        }
    }
}

impl<T: Real> CodeNoise<T> {
    fn new(
        periphery: &Periphery,
        variances: Option<&Array2<f64>>,
        senses: &[Sense],
    ) -> Option<Self> {
        let output = periphery.output.map(|(sd, stream)| (stream, sd));
        let read = periphery.read.filter(|(correlation, _)| *correlation == Correlation::Mvm);
        let read = read.and_then(|(_, stream)| Some((stream, variances?)));
        let stream = read.map(|(stream, _)| stream).or(output.map(|(stream, _)| stream))?;
        let sd = output.map_or(0.0, |(_, sd)| sd);
        let unit = periphery.drive_unit();
        let per_current = |it: &Sense| codes_per_current(periphery, it);
        Some(Self {
            stream,
            deviations: senses.iter().map(|it| T::from_f64(sd * per_current(it))).collect(),
            variances: read.map(|(_, variances)| {
                Array2::from_shape_fn(variances.dim(), |(conversion, row)| {
                    let sense = &senses[conversion];
                    let scale = unit * f64::from(sense.gain) * per_current(sense);
                    T::from_f64(variances[(conversion, row)] * scale * scale)
                })
            }),
        })
    }
}

impl<T: Real> CellNoise<T> {
    fn new(periphery: &Periphery, variances: Option<&Array2<f64>>) -> Option<Self> {
        let (_, stream) = periphery.read.filter(|(it, _)| *it == Correlation::Image)?;
        let unit = periphery.drive_unit();
        let deviations = variances?.mapv(|variance| T::from_f64(variance.sqrt() * unit));
        Some(Self { stream, deviations })
    }
}

impl<T: Real> SliceSum<T> {
    fn new(periphery: &Periphery, slicing: Slicing, senses: &[Sense]) -> Self {
        let surplus = slicing.weight_sum() - 1.0;
        let low_code = |it: &Sense| f64::from(it.range.lo) * codes_per_current(periphery, it);
        Self {
            per_base: T::from_f64(1.0 / f64::from(1u32 << slicing.bits_per_slice)),
            top: T::from_f64(slicing.top_weight()),
            shifts: senses.iter().map(|it| T::from_f64(surplus * low_code(it))).collect(),
        }
    }

    /// Adds up one conversion's `slices`, `[slices, columns]`, to `codes`.
    fn accumulate(&self, slices: &[T], shift: T, codes: &mut [T]) {
        codes.fill(T::ZERO);
        for slice in slices.chunks_exact(codes.len()) {
            codes
                .iter_mut()
                .zip(slice)
                .for_each(|(acc, &code)| *acc = (*acc + code) * self.per_base);
        }
        codes.iter_mut().for_each(|acc| *acc = self.top * *acc + shift);
    }
}

/// Codes per unit of current of a perfect column.
fn codes_per_current(periphery: &Periphery, sense: &Sense) -> f64 {
    let span = f64::from(sense.range.hi) - f64::from(sense.range.lo);
    f64::from(periphery.adc.max_code()) / span
}

/// Noise of one conversion's codes.
#[derive(Clone, Copy)]
struct RowNoise<'a, T> {
    deviation: T,
    z: &'a [f32],
    /// Of the reads.
    variances: Option<&'a [T]>,
}

impl<T: Real> RowNoise<'_, T> {
    fn add(&self, codes: &mut [T]) {
        let Self { deviation, z, variances } = *self;
        let codes = codes.iter_mut().zip(z);
        match variances {
            None => codes.for_each(|(code, &z)| *code += deviation * T::from_real(z)),
            Some(variances) => {
                let variance = deviation * deviation;
                codes.zip(variances).for_each(|((code, &z), &read)| {
                    *code += (read + variance).sqrt() * T::from_real(z);
                });
            }
        }
    }
}

/// Overwrites `out`, row-major, with the product of both matrices.
fn multiply<T: Real>(left: &Array2<T>, right: ArrayView2<'_, T>, out: &mut [T]) {
    let dim = (left.nrows(), right.ncols());
    let mut out = ArrayViewMut2::from_shape(dim, out).expect("the room fits the product");
    general_mat_mul(T::ONE, left, &right, T::ZERO, &mut out);
}

/// Clips and rounds what `exact` makes of each number, in place.
fn settle<T: Real>(max_code: T, codes: &mut [T], exact: impl Fn(T) -> T) -> ClipCount {
    let (mut low, mut high) = (0u32, 0u32);
    for code in codes {
        let exact = exact(*code);
        low += u32::from(exact < T::ZERO);
        high += u32::from(exact > max_code);
        // Clipping first gives the same codes, since both ends are whole, and bounds what is rounded.
        *code = exact.clamp(T::ZERO, max_code).round_half_even();
    }
    ClipCount { low: low.into(), high: high.into(), total: 0 }
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

    use super::{Currents, Kernel, Scratch};
    use crate::clips::ClipCount;
    use crate::drive::{Driver, Drives, Part};
    use crate::noise::{Block, Purpose};
    use crate::periphery::{Periphery, Sense};
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
        let cells = |of: &dyn Fn((f64, f64)) -> f64| {
            Array2::from_shape_fn((2, 3), |(conversion, row)| of(CELLS[conversion][row]))
        };
        let g_max = chip.cell.g_max;
        let currents = Currents {
            weights: cells(&|(plus, minus)| (plus - minus) / g_max),
            variances: chip.effects.read.map(|noise| {
                cells(&|(plus, minus)| noise.pair_variance(plus, minus) / (g_max * g_max))
            }),
            leakage: vec![],
        };
        let kernel = Kernel::new(&periphery, &currents, &senses);
        let block = Block { purpose: Purpose::Inference, unit: 0, cells: 0, columns };
        let mut driven = Drives::default();
        driven.fill(&Driver::new(&periphery), &[Part::Whole], 1.0, drives, block);
        let mut codes = vec![0.0; 2 * drives.ncols()];
        let clips =
            kernel.convert(driven.pass(0, 0..3), block, &mut codes, &mut Scratch::default());
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
        chip.effects.output_noise = Some(OutputNoise { sd_lsb: 0.5, ..OutputNoise::default() });
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
        chip.effects.output_noise = Some(OutputNoise { sd_lsb: 0.5, ..OutputNoise::default() });
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
