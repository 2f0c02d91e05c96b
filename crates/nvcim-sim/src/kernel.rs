//! One prepared set of conversions: what a bench's `mvm` and the running image share.
//!
//! Notation: drives x `[rows, columns]` in drive units of `u` full scales, see [`crate::drive`]; weights W
//! `[conversions, rows]` and, where reads are noisy, variances V of the same shape, both per full scale.
//! Arithmetic is in the kernel's type `T`, each operation rounded once; what stands in brackets is
//! computed in f64 and rounded to `T` when the kernel is made. Per conversion j and column c:
//! 1. Current `y = sum_i x_ic [W_ji u]`, by a matrix product, which alone has no documented order of
//!    addition (it is the same for any batch); where cells or arrays are not linear, plus what
//!    `crate::network` computes.
//! 2. `code = [gain / D] y + [(offset + gain leakage - lo) / D]`, the column's own gain and offset, with
//!    the LSB `D = (hi - lo) / max_code` of the range that is set.
//! 3. Noise `code += sqrt(v) z`, with one standard normal draw z and
//!    `v = sum_i x_ic^2 [V_ji u^2 gain^2 / D^2] + [(s / D)^2]`, s the output noise. Read noise of cells and
//!    noise of the output are independent and Gaussian and enter linearly, so that one draw with the sum
//!    of their variances has their exact distribution. Without read noise `code += [s / D] z`.
//! 4. The ADC: `code = rint(clip(code, 0, max_code))`, halfway to even; what lay outside 0 to max_code
//!    is counted. A converter with uneven levels answers instead how many of its transitions lie at or
//!    below `code`, compared in f64; what is counted is the same.
//! 5. Slices that are converted one by one, `n` bits each, the lowest first:
//!    `acc = (acc + code) [2^-n]` from 0, then `code = [top] acc + [(W - 1) lo / D]`, with the weights'
//!    scale `top` and sum W of [`Slicing`]. `acc` is exact as long as the bits of slices and ADC fit the
//!    significand. The result stands for the current `lo + D code` as any other code does.
//!
//! Where read noise holds for a sample ([`Correlation::Image`]), step 1 takes `W + sqrt(V) Z` with a draw
//! per cell and sample instead: the noise of a sample's columns is then correlated as theirs is on a chip.
//! A sample of a single column cannot tell, and takes step 3.
//! Noise that is frozen is the cells', not the kernel's.
//!
//! A sense stage that is not linear takes over steps 2 and 3, see `kernel/stage.rs`.
//!
//! Cost: one matrix product over all slices, two where read noise is new each time, and a few operations
//! per conversion; for noise that holds for a sample, a draw per cell and sample.

use std::mem;
use std::sync::Arc;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use nvcim_chip::effects::adc::Transfer;
use nvcim_chip::effects::adc_linearity::CodeTable;
use nvcim_chip::effects::read::Correlation;
use nvcim_chip::random::Stream;
use nvcim_chip::real::Real;
use nvcim_ops::run_program::Columns;

use crate::clips::ClipCount;
use crate::drive::{Drive, SliceGroup};
use crate::network::Network;
use crate::noise::{Block, place};
use crate::periphery::{Periphery, Sense, Slicing};
use crate::record::Recorder;
use crate::room::take_slice;
use stage::Stage;

mod stage;

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
    /// What happens to currents first, where the sense stage is not linear.
    stage: Option<Stage<T>>,
    transfers: Vec<Transfer<T>>,
    /// The levels of each converter; `None` for even ones.
    levels: Vec<Option<Arc<CodeTable>>>,
    /// The highest code, where codes are whole and clipped.
    max_code: Option<T>,
    code_noise: Option<FreshNoise<T>>,
    cell_noise: Option<CellNoise<T>>,
    sum: Option<SliceSum<T>>,
    /// Currents that the weights leave out.
    network: Option<Network>,
}

/// Noise that is new for every conversion: in codes, or in currents in front of a stage.
#[derive(Debug, Clone)]
struct FreshNoise<T> {
    /// The draws of output noise alone.
    output: Option<Stream>,
    /// Standard deviation of the output noise of each conversion, 0 for none.
    deviations: Vec<T>,
    /// The draws of read noise, which serve output noise too, and its variance per squared drive unit,
    /// `[conversions, rows]`.
    read: Option<(Stream, Array2<T>)>,
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

/// Sets the draws of cells apart from those of conversions, whose units never come near it.
const OF_CELLS: u32 = 1 << 31;

/// Room that conversions work in; any one serves any kernel.
#[derive(Debug, Default)]
pub struct Scratch<T = f32> {
    variances: Vec<T>,
    slices: Vec<T>,
    weights: Vec<T>,
    draws: Vec<f32>,
    gather: Vec<f32>,
    /// Keeps every conversion where there is one.
    pub(crate) recorder: Option<Recorder<T>>,
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
        let stage = Stage::new(periphery, currents, leaks);
        // Behind a stage that is not linear nothing of what came before it can be folded in.
        let (leakage, folded) = match stage {
            Some(_) => (&[][..], None),
            None => (&leakage[..], variances.as_ref()),
        };
        let transfer = |(conversion, it): (usize, &Sense)| {
            let leakage = leaks * leakage.get(conversion).copied().unwrap_or(0.0);
            Transfer::between(&periphery.adc, it.range, it.gain, it.offset_lsb, leakage)
        };
        let unit = periphery.drive_unit();
        let max_code = T::from_f64(f64::from(periphery.adc.max_code()));
        Self {
            weights: weights.mapv(|weight| T::from_f64(weight * unit)),
            stage,
            transfers: senses.iter().enumerate().map(transfer).collect(),
            levels: senses.iter().map(|it| it.levels.clone()).collect(),
            max_code: periphery.rounds.then_some(max_code),
            code_noise: FreshNoise::new(periphery, folded, senses),
            cell_noise: CellNoise::new(periphery, variances.as_ref()),
            sum: slices.map(|slicing| SliceSum::new(periphery, slicing, senses)),
            network: None,
        }
    }

    /// The same conversions with currents beside those of the weights.
    pub(crate) fn with_network(self, network: Option<Network>) -> Self {
        Self { network, ..self }
    }

    /// Those currents.
    pub(crate) fn into_network(self) -> Option<Network> {
        self.network
    }

    /// Solves of networks so far that stopped before their tolerance.
    pub(crate) fn n_stalled(&self) -> u64 {
        self.network.as_ref().map_or(0, Network::n_stalled)
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
        drive: &Drive<'_, T>,
        block: Block,
        codes: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> ClipCount {
        let mut clips = ClipCount::default();
        if codes.is_empty() {
            return clips;
        }
        let n_columns = codes.len() / self.n_conversions();
        let Some(sum) = &self.sum else {
            for group in drive.groups() {
                clips += self.convert_group(&group, block, n_columns, codes, scratch);
            }
            return clips;
        };
        codes.fill(T::ZERO);
        let mut room = mem::take(&mut scratch.slices);
        for group in drive.groups() {
            let slices = take_slice(&mut room, self.n_conversions() * group.driven.ncols());
            clips += self.convert_group(&group, block, n_columns, slices, scratch);
            sum.add(slices, n_columns, codes);
        }
        scratch.slices = room;
        sum.finish(n_columns, codes);
        clips
    }

    /// Converts some slices, each on its own, to `codes`, `[conversions, slices, columns]`.
    fn convert_group(
        &self,
        group: &SliceGroup<'_, T>,
        block: Block,
        n_columns: usize,
        codes: &mut [T],
        scratch: &mut Scratch<T>,
    ) -> ClipCount {
        match (&self.cell_noise, group.squares) {
            (Some(noise), None) => {
                self.multiply_noisy(noise, group.driven, block, n_columns, codes, scratch);
            }
            _ => multiply(&self.weights, group.driven, codes),
        }
        if let Some(network) = &self.network {
            let dim = (self.n_conversions(), group.driven.ncols());
            let out = ArrayViewMut2::from_shape(dim, &mut *codes).expect("the room fits");
            network.add_currents(group.driven, out);
        }
        if let Some(stage) = &self.stage {
            stage.pass(group, block, n_columns, codes, scratch);
        }
        let noise = self.code_noise.as_ref();
        let noise =
            noise.and_then(|noise| noise.draw(group, block, n_columns, codes.len(), scratch));
        let width = group.driven.ncols();
        let n_draws = noise.as_ref().map_or(0, |noise| noise.z.len());
        let mut clips = ClipCount::default();
        for (conversion, codes) in codes.chunks_exact_mut(width).enumerate() {
            let noise = noise.as_ref().map(|noise| noise.row(conversion, width));
            clips += self.convert_row(conversion, noise, codes);
        }
        if let Some(recorder) = &mut scratch.recorder {
            recorder.keep(block, group, n_columns, codes, &scratch.draws[..n_draws]);
        }
        ClipCount { total: codes.len() as u64, ..clips }
    }

    /// Brings one conversion's currents to codes.
    fn convert_row(
        &self,
        conversion: usize,
        noise: Option<RowNoise<'_, T>>,
        codes: &mut [T],
    ) -> ClipCount {
        let transfer = &self.transfers[conversion];
        match noise {
            None => self.settle_row(conversion, codes, |y| transfer.exact_code(y)),
            Some(noise) => {
                codes.iter_mut().for_each(|code| *code = transfer.exact_code(*code));
                noise.add(codes);
                self.settle_row(conversion, codes, |code| code)
            }
        }
    }

    /// Brings what `exact` makes of each number to a converter's codes.
    fn settle_row(&self, conversion: usize, codes: &mut [T], exact: impl Fn(T) -> T) -> ClipCount {
        let Some(max_code) = self.max_code else {
            codes.iter_mut().for_each(|code| *code = exact(*code));
            return ClipCount::default();
        };
        match &self.levels[conversion] {
            // Clipping first gives the same codes, since both ends are whole, and bounds what is rounded.
            None => settle(max_code, codes, exact, |code| {
                code.clamp(T::ZERO, max_code).round_half_even()
            }),
            Some(levels) => settle(max_code, codes, exact, |code| {
                T::from_f64(levels.settle(code.to_f64()).into())
            }),
        }
    }

    /// Overwrites `out` with the currents of cells whose noise holds for a sample.
    fn multiply_noisy(
        &self,
        noise: &CellNoise<T>,
        driven: ArrayView2<'_, T>,
        block: Block,
        n_columns: usize,
        out: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let mut out = ArrayViewMut2::from_shape((self.n_conversions(), driven.ncols()), out)
            .expect("the room fits the product");
        let Columns { first_sample, per_sample, layer_use: _ } = block.columns;
        let weights = take_slice(&mut scratch.weights, self.weights.len());
        let z = take_slice(&mut scratch.draws, self.weights.len());
        for (serial, start) in (first_sample..).zip((0..n_columns).step_by(per_sample)) {
            noise.stream.fill_normals(place(block.purpose, block.cells | OF_CELLS, serial), z);
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

impl<T: Real> FreshNoise<T> {
    fn new(
        periphery: &Periphery,
        variances: Option<&Array2<f64>>,
        senses: &[Sense],
    ) -> Option<Self> {
        let output = periphery.output.map(|(_, stream)| stream);
        let read = periphery.read.and_then(|(_, stream)| Some((stream, variances?)));
        let sd = periphery.output.map_or(0.0, |(sd, _)| sd);
        if output.is_none() && read.is_none() {
            return None;
        }
        let unit = periphery.drive_unit();
        let per_current = |it: &Sense| codes_per_current(periphery, it);
        Some(Self {
            output,
            deviations: senses.iter().map(|it| T::from_f64(sd * per_current(it))).collect(),
            read: read.map(|(stream, variances)| {
                let per_square = Array2::from_shape_fn(variances.dim(), |(conversion, row)| {
                    let sense = &senses[conversion];
                    let scale = unit * f64::from(sense.gain) * per_current(sense);
                    T::from_f64(variances[(conversion, row)] * scale * scale)
                });
                (stream, per_square)
            }),
        })
    }

    /// Draws the noise of `len` conversions, and finds its variances.
    fn draw<'a>(
        &'a self,
        group: &SliceGroup<'_, T>,
        block: Block,
        n_columns: usize,
        len: usize,
        scratch: &'a mut Scratch<T>,
    ) -> Option<GroupNoise<'a, T>> {
        let Scratch { variances, draws, gather, .. } = scratch;
        // Without squares read noise is in the currents already.
        let read = self.read.as_ref().zip(group.squares);
        let stream = read.map(|((stream, _), _)| stream).or(self.output.as_ref())?;
        let z = take_slice(draws, len);
        block.fill(stream, group.first, n_columns, self.deviations.len(), z, gather);
        let variances = read.map(|((_, per_square), squares)| {
            let variances = take_slice(variances, len);
            multiply(per_square, squares, variances);
            &*variances
        });
        Some(GroupNoise { deviations: &self.deviations, z, variances })
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
        let low_code = |it: &Sense| it.range[0] * codes_per_current(periphery, it);
        Self {
            per_base: T::from_f64(1.0 / f64::from(1u32 << slicing.bits_per_slice)),
            top: T::from_f64(slicing.top_weight()),
            shifts: senses.iter().map(|it| T::from_f64(surplus * low_code(it))).collect(),
        }
    }

    /// Adds `slices`, `[conversions, slices, columns]`, to what `codes` holds of the slices before.
    fn add(&self, slices: &[T], n_columns: usize, codes: &mut [T]) {
        let width = slices.len() / self.shifts.len();
        for (codes, slices) in codes.chunks_exact_mut(n_columns).zip(slices.chunks_exact(width)) {
            for slice in slices.chunks_exact(n_columns) {
                let pairs = codes.iter_mut().zip(slice);
                pairs.for_each(|(sum, &code)| *sum = (*sum + code) * self.per_base);
            }
        }
    }

    /// Turns the sums of all slices into codes.
    fn finish(&self, n_columns: usize, codes: &mut [T]) {
        for (codes, &shift) in codes.chunks_exact_mut(n_columns).zip(&self.shifts) {
            codes.iter_mut().for_each(|code| *code = self.top * *code + shift);
        }
    }
}

/// Codes per unit of current of a perfect column.
fn codes_per_current(periphery: &Periphery, sense: &Sense) -> f64 {
    let [lo, hi] = sense.range;
    f64::from(periphery.adc.max_code()) / (hi - lo)
}

/// Noise of a group of slices.
struct GroupNoise<'a, T> {
    /// By conversion.
    deviations: &'a [T],
    /// Standard normal draws, `[conversions, slices, columns]`.
    z: &'a [f32],
    /// Of the reads, laid out alike.
    variances: Option<&'a [T]>,
}

impl<'a, T: Real> GroupNoise<'a, T> {
    fn row(&self, conversion: usize, width: usize) -> RowNoise<'a, T> {
        let row = conversion * width..(conversion + 1) * width;
        RowNoise {
            deviation: self.deviations[conversion],
            z: &self.z[row.clone()],
            variances: self.variances.map(|it| &it[row]),
        }
    }
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

/// Brings each number, in place, to what `code_of` makes of what `exact` makes of it, and counts which of
/// the latter lie outside.
fn settle<T: Real>(
    max_code: T,
    codes: &mut [T],
    exact: impl Fn(T) -> T,
    code_of: impl Fn(T) -> T,
) -> ClipCount {
    let (mut low, mut high) = (0u32, 0u32);
    for code in codes {
        let exact = exact(*code);
        low += u32::from(exact < T::ZERO);
        high += u32::from(exact > max_code);
        *code = code_of(exact);
    }
    ClipCount { low: low.into(), high: high.into(), total: 0 }
}

#[cfg(test)]
mod tests;
