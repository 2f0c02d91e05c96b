//! What prepared conversions answer, and how their noise is distributed.

use ndarray::{Array2, ArrayView2, array, s};
use nvcim_chip::describe::{Accumulate, AdcCoding, BitSerial, Chip, InputDrive};
use nvcim_chip::effects::output_noise::OutputNoise;
use nvcim_chip::effects::read::{Correlation, ReadNoise, pair_variance};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::real::Real;
use nvcim_ops::run_program::{Columns, Nth};

use super::{Currents, Kernel, Scratch};
use crate::clips::ClipCount;
use crate::drive::{Coding, Driver, Drives, Part};
use crate::noise::{Block, Purpose};
use crate::periphery::{Periphery, Sense};
use crate::testing::{fresh, plain_chip};

mod circuits;

const WIDE: [f64; 2] = [-4.0, 4.0];
const PERFECT: Sense = Sense { gain: 1.0, offset_lsb: 0.0, range: WIDE, levels: None };
/// Pairs of conductances in siemens, two conversions over three rows.
const CELLS: [[(f64, f64); 3]; 2] =
    [[(1e-4, 0.0), (0.0, 5e-5), (2e-5, 8e-5)], [(0.0, 0.0), (5e-5, 0.0), (0.0, 1e-4)]];

fn convert(
    chip: &Chip,
    effects: EffectSet,
    senses: [Sense; 2],
    drives: &Array2<f32>,
) -> (Array2<f32>, ClipCount) {
    let columns = Columns { first_sample: 0, per_sample: drives.ncols(), layer_use: Nth::ONLY };
    convert_columns(chip, effects, senses, drives.view(), columns)
}

fn convert_columns(
    chip: &Chip,
    effects: EffectSet,
    senses: [Sense; 2],
    drives: ArrayView2<'_, f32>,
    columns: Columns,
) -> (Array2<f32>, ClipCount) {
    convert_leaking(chip, effects, senses, drives, columns, &[])
}

fn convert_leaking<T: Real>(
    chip: &Chip,
    effects: EffectSet,
    senses: [Sense; 2],
    drives: ArrayView2<'_, T>,
    columns: Columns,
    leakage: &[f64],
) -> (Array2<T>, ClipCount) {
    let periphery = Periphery::new(chip, 0, &fresh(effects));
    let cells = |of: &dyn Fn((f64, f64)) -> f64| {
        Array2::from_shape_fn((2, 3), |(conversion, row)| of(CELLS[conversion][row]))
    };
    let g_max = chip.cell.g_max;
    let currents = Currents {
        weights: cells(&|(plus, minus)| (plus - minus) / g_max),
        variances: chip.effects.read.map(|_| {
            cells(&|(plus, minus)| pair_variance(0.02 * plus, 0.02 * minus) / (g_max * g_max))
        }),
        leakage: leakage.to_vec(),
    };
    let kernel = Kernel::new(&periphery, &currents, &senses);
    let block = Block { purpose: Purpose::Inference, unit: 0, cells: 0, columns };
    let mut driven = Drives::default();
    driven.fill(&Driver::new(&periphery), &[Part::Whole], Coding::plain(T::ONE), drives, block);
    let mut codes = vec![T::ZERO; 2 * drives.ncols()];
    let clips = kernel.convert(&driven.pass(0, 0..3), block, &mut codes, &mut Scratch::default());
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
    let uneven = Sense { gain: 1.1, offset_lsb: -3.0, range: [-1.0, 1.0], levels: None };
    let set = EffectSet::ALL.without(Effect::Dac);
    let (codes, _) = convert(&plain_chip(), set, [uneven, PERFECT], &array![[1.0], [0.5], [0.25]]);
    // (1.1 x 0.6 - 3 x 8 / 255 + 1) / 2 x 255 = 199.65: the offset is in LSB of the nominal range.
    assert_eq!(codes, array![[200.0], [128.0]]);
}

#[test]
fn clipped_conversions_are_counted_by_side() {
    let narrow = || Sense { range: [-0.5, 0.5], ..PERFECT };
    let drives = array![[1.0, -1.0, 0.1], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    let set = EffectSet::ALL.without(Effect::Dac);
    let (codes, clips) = convert(&plain_chip(), set, [narrow(), narrow()], &drives);
    assert_eq!(codes.row(0).to_vec(), [255.0, 0.0, 153.0]);
    assert_eq!(codes.row(1).to_vec(), [128.0, 0.0, 128.0]);
    assert_eq!(clips, ClipCount { low: 2, high: 1, total: 6 });
    let (_, clips) = convert(&plain_chip(), EffectSet::NONE, [narrow(), narrow()], &drives);
    assert_eq!(clips, ClipCount { low: 0, high: 0, total: 6 });
}

/// Mean and variance of both conversions, in squared normalised current, over many columns.
fn moments(chip: &Chip, effects: EffectSet, range: [f64; 2]) -> [(f64, f64); 2] {
    let n = 40_000;
    let mut drives = Array2::zeros((3, n));
    drives.columns_mut().into_iter().for_each(|mut it| it.assign(&array![1.0, 0.5, 0.25]));
    let (codes, _) = convert(chip, effects, [PERFECT; 2].map(|it| Sense { range, ..it }), &drives);
    let step = (range[1] - range[0]) / 255.0;
    [0, 1].map(|row| {
        let y = codes.row(row).mapv(|code| range[0] + f64::from(code) * step);
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

/// One draw stands for both noises, so its variance is the sum of theirs, with the gain of the reads'.
#[test]
fn noises_of_reads_and_outputs_add_up_behind_the_gain() {
    let chip = noisy_chip();
    let set = EffectSet::NONE.with(Effect::Read).with(Effect::OutputNoise);
    let n = 40_000;
    let drives = Array2::from_shape_fn((3, n), |(row, _)| if row == 0 { 1.0 } else { 0.0 });
    let (codes, _) =
        convert(&chip, set, [PERFECT; 2].map(|it| Sense { gain: -1.5, ..it }), &drives);
    let per_lsb = 8.0 / 255.0;
    let moment = |row: usize, power: i32| {
        let mean = codes.row(row).mapv(f64::from).sum() / n as f64;
        let moments = codes.row(row).mapv(|code| ((f64::from(code) - mean) * per_lsb).powi(power));
        moments.sum() / n as f64
    };
    let output = (0.5f64 * per_lsb).powi(2);
    let expected = [output + (1.5f64 * 0.02).powi(2), output];
    for (row, expected) in expected.into_iter().enumerate() {
        // Four standard errors at 40 000 draws: 2.8 % of a variance, 0.2 of a fourth moment over it.
        assert!((moment(row, 2) / expected - 1.0).abs() < 0.028, "{} {expected}", moment(row, 2));
        let fourth = moment(row, 4) / expected.powi(2);
        assert!((fourth - 3.0).abs() < 0.2, "{fourth}");
    }
}

#[test]
fn output_noise_is_in_lsb_of_the_nominal_range_whatever_the_range() {
    let mut chip = plain_chip();
    chip.effects.output_noise = Some(OutputNoise { sd_lsb: 0.5, ..OutputNoise::default() });
    let set = EffectSet::NONE.with(Effect::OutputNoise);
    let expected = (0.5f64 * 8.0 / 255.0).powi(2);
    for range in [WIDE, [-1.0, 1.0]] {
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
        let columns =
            Columns { first_sample: samples.start as u64, per_sample: 5, layer_use: Nth::ONLY };
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

fn bit_serial_chip(bits: u32, bits_per_slice: u32, accumulate: Accumulate) -> Chip {
    let mut chip = plain_chip();
    chip.dac.bits = bits;
    chip.dac.coding = InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate });
    chip
}

const UNEVEN: [Sense; 2] = [
    Sense { gain: 1.1, offset_lsb: -3.0, range: [-1.0, 2.0], levels: None },
    Sense { gain: 0.9, offset_lsb: 2.0, range: [-2.0, 1.5], levels: None },
];
const LEAKAGE: [f64; 2] = [0.05, -0.1];

/// The current of `sense` for drives in full scales, with its errors, straight from the definition.
fn sensed(conversion: usize, drives: &[f64; 3]) -> f64 {
    let sense = &UNEVEN[conversion];
    let cells = CELLS[conversion].iter().zip(drives);
    let y: f64 = cells.map(|((plus, minus), x)| (plus - minus) / 1e-4 * x).sum();
    let offset = f64::from(sense.offset_lsb) * 8.0 / 255.0;
    f64::from(sense.gain) * (y + LEAKAGE[conversion]) + offset
}

/// The converter of `sense`: the current that it takes `y` for.
fn digitised(conversion: usize, y: f64) -> f64 {
    let [lo, hi] = UNEVEN[conversion].range;
    let lsb = (hi - lo) / 255.0;
    ((y.clamp(lo, hi) - lo) / lsb).round_ties_even() * lsb + lo
}

#[test]
fn slices_add_up_as_their_definition_says() {
    let x = array![[1.0, -0.3, 0.6, -1.0], [0.5, 0.9, 0.0, 1.0], [-0.25, 0.1, 0.8, 1.0]];
    let columns = Columns { first_sample: 0, per_sample: 4, layer_use: Nth::ONLY };
    for (bits, per_slice) in [(8u32, 1), (8, 3), (7, 2), (4, 4)] {
        let steps = f64::from((1u32 << bits) - 1);
        let base = f64::from(1u32 << per_slice);
        let codes = x.mapv(|x: f64| (x * steps).round_ties_even());
        // Slice k and its weight, by division rather than by binary arithmetic.
        let slice = |k: u32, column: usize| {
            let digit = |code: f64| (code.abs() / base.powi(k as i32)).floor() % base;
            [0, 1, 2].map(|row| {
                let code = codes[(row, column)];
                code.signum() * digit(code) / (base - 1.0)
            })
        };
        let weight = |k: u32| base.powi(k as i32) * (base - 1.0) / steps;
        let slices = bits.div_ceil(per_slice);
        for accumulate in [Accumulate::Digital, Accumulate::Analog] {
            let chip = bit_serial_chip(bits, per_slice, accumulate);
            let run = |set| convert_leaking(&chip, set, UNEVEN, x.view(), columns, &LEAKAGE);
            let (codes, clips) = run(EffectSet::ALL);
            let n_conversions = if accumulate == Accumulate::Digital { 8 * slices } else { 8 };
            assert_eq!(clips.total, u64::from(n_conversions));
            for ((conversion, column), &code) in codes.indexed_iter() {
                let [lo, hi] = UNEVEN[conversion].range;
                let got = lo + code * (hi - lo) / 255.0;
                let sum = |convert: &dyn Fn(f64) -> f64| -> f64 {
                    let each = |k| weight(k) * convert(sensed(conversion, &slice(k, column)));
                    (0..slices).map(each).sum()
                };
                let want = match accumulate {
                    Accumulate::Digital => sum(&|y| digitised(conversion, y)),
                    Accumulate::Analog => {
                        // What is added per conversion comes once, what is sensed with every slice.
                        let offset = f64::from(UNEVEN[conversion].offset_lsb) * 8.0 / 255.0;
                        let y = sum(&|y| y - offset) + offset;
                        digitised(conversion, y)
                    }
                };
                assert!(
                    (got - want).abs() < 1e-9,
                    "{bits} {per_slice} {accumulate:?}: {got} {want}"
                );
            }
        }
    }
}

/// Without converters there is nothing to tell slices by.
#[test]
fn slices_of_an_ideal_converter_are_the_whole() {
    let x = array![[1.0, -0.3, 0.6], [0.5, 0.9, 0.0], [-0.25, 0.1, 0.8]];
    let columns = Columns { first_sample: 0, per_sample: 3, layer_use: Nth::ONLY };
    let set = EffectSet::ALL.without(Effect::Adc);
    let run =
        |chip: &Chip| convert_leaking::<f64>(chip, set, [PERFECT; 2], x.view(), columns, &[]).0;
    let whole = run(&plain_chip());
    for (per_slice, accumulate) in
        [(1, Accumulate::Digital), (3, Accumulate::Digital), (3, Accumulate::Analog)]
    {
        let sliced = run(&bit_serial_chip(8, per_slice, accumulate));
        assert!(sliced.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-10), "{sliced} {whole}");
    }
}

#[test]
fn a_sign_magnitude_converter_has_a_code_for_nothing() {
    let mut chip = plain_chip();
    chip.adc.coding = AdcCoding::SignMagnitude;
    let drives = array![[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]];
    let set = EffectSet::ALL.without(Effect::Dac);
    let narrow = || Sense { range: [-0.5, 0.5], ..PERFECT };
    let (codes, clips) = convert(&chip, set, [narrow(), narrow()], &drives);
    // 127 is the middle of 0 to 254, which 254 clips at.
    assert_eq!(codes, array![[127.0, 254.0], [127.0, 127.0]]);
    assert_eq!(clips, ClipCount { low: 0, high: 1, total: 4 });
}

#[test]
fn every_slice_has_noise_of_its_own() {
    let n = 20_000;
    // Codes 3 and 2 of 3: both bits of the first row, the higher one of the second.
    let drives = Array2::from_shape_fn((3, n), |(row, _)| [1.0f32, 2.0 / 3.0, 0.0][row]);
    let columns = Columns { first_sample: 0, per_sample: 1, layer_use: Nth::ONLY };
    let set = EffectSet::ALL.without(Effect::Adc);
    let (read, output) = (0.02f64.powi(2), (0.5f64 * 8.0 / 255.0).powi(2));
    // Of cell variances 1 and 1/4, with the squares of the weights 1/3 and 2/3.
    let cells = read * ((1.0 + 4.0) / 9.0 + 0.25 * 4.0 / 9.0);
    for (accumulate, outputs) in
        [(Accumulate::Digital, output * (1.0 + 4.0) / 9.0), (Accumulate::Analog, output)]
    {
        let mut chip = bit_serial_chip(2, 1, accumulate);
        chip.effects = noisy_chip().effects;
        let (codes, _) = convert_columns(&chip, set, [PERFECT; 2], drives.view(), columns);
        let y = codes.row(0).mapv(|code| f64::from(code) * 8.0 / 255.0);
        let mean = y.sum() / n as f64;
        let variance = y.mapv(|y| (y - mean).powi(2)).sum() / n as f64;
        // Four standard errors of a variance from 20 000 draws: 4 %.
        let ratio = variance / (cells + outputs);
        assert!((ratio - 1.0).abs() < 0.04, "{accumulate:?} {ratio}");
    }
}

/// Noise of samples of two columns each: variances of both and their covariance, first conversion.
fn sample_moments(chip: &Chip, columns: [[f32; 3]; 2]) -> [f64; 3] {
    let n = 20_000;
    let drives = Array2::from_shape_fn((3, 2 * n), |(row, at)| columns[at % 2][row]);
    let layout = Columns { first_sample: 0, per_sample: 2, layer_use: Nth::ONLY };
    let set = EffectSet::NONE.with(Effect::Read);
    let (noisy, _) = convert_columns(chip, set, [PERFECT; 2], drives.view(), layout);
    let (still, _) = convert_columns(chip, EffectSet::NONE, [PERFECT; 2], drives.view(), layout);
    let noise = (noisy - still).mapv(|code| f64::from(code) * 8.0 / 255.0);
    let mean = |pick: fn(f64, f64) -> f64| {
        let samples = noise.row(0).to_vec();
        samples.chunks_exact(2).map(|pair| pick(pair[0], pair[1])).sum::<f64>() / n as f64
    };
    [mean(|a, _| a * a), mean(|_, b| b * b), mean(|a, b| a * b)]
}

#[test]
fn noise_that_holds_for_a_sample_is_common_to_its_columns() {
    let mut chip = plain_chip();
    let read = |correlation| Some(ReadNoise { correlation, ..ReadNoise::share(0.02) });
    let columns = [[1.0, 0.5, 0.25], [0.5, -1.0, 0.0]];
    // Variances of the cells: 1, 1/4 and 0.68, in squares of 2 %.
    let cells = [1.0, 0.25, 0.68];
    let square = 0.02f64.powi(2);
    let covariance = |a: usize, b: usize| {
        let product = |row: usize| f64::from(columns[a][row] * columns[b][row]) * cells[row];
        square * (0..3).map(product).sum::<f64>()
    };
    let expected = [covariance(0, 0), covariance(1, 1), covariance(0, 1)];
    // Four standard errors from 20 000 samples: 4 % of a variance, and for a covariance 2.83 % of
    // sqrt(v_a v_b + c^2).
    let slack = 0.0283 * (expected[0] * expected[1] + expected[2].powi(2)).sqrt();
    for (correlation, common) in [(Correlation::Image, expected[2]), (Correlation::Mvm, 0.0)] {
        chip.effects.read = read(correlation);
        let [first, second, both] = sample_moments(&chip, columns);
        assert!((first / expected[0] - 1.0).abs() < 0.04, "{first} {expected:?}");
        assert!((second / expected[1] - 1.0).abs() < 0.04, "{second} {expected:?}");
        assert!((both - common).abs() < slack, "{correlation:?} {both} {common}");
    }
}

/// A sample of one column takes the cheap way, to the same distribution.
#[test]
fn a_sample_of_one_column_cannot_tell_how_long_noise_holds() {
    let mut chip = noisy_chip();
    let single = Columns { first_sample: 0, per_sample: 1, layer_use: Nth::ONLY };
    let drives = Array2::from_elem((3, 64), 0.5f32);
    let mut run = |correlation| {
        chip.effects.read = Some(ReadNoise { correlation, ..ReadNoise::share(0.02) });
        convert_columns(&chip, EffectSet::ALL, [PERFECT; 2], drives.view(), single).0
    };
    assert_eq!(run(Correlation::Image), run(Correlation::Mvm));
}
