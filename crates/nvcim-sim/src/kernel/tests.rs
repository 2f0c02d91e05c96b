//! What prepared conversions answer, and how their noise is distributed.

use ndarray::{Array2, ArrayView2, array, s};
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::output_noise::OutputNoise;
use nvcim_chip::effects::read::{ReadNoise, pair_variance};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_ops::run_program::Columns;

use super::{Currents, Kernel, Scratch};
use crate::clips::ClipCount;
use crate::drive::{Driver, Drives, Part};
use crate::noise::{Block, Purpose};
use crate::periphery::{Periphery, Sense};
use crate::testing::{fresh, plain_chip};

const WIDE: [f64; 2] = [-4.0, 4.0];
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
        variances: chip.effects.read.map(|_| {
            cells(&|(plus, minus)| pair_variance(0.02 * plus, 0.02 * minus) / (g_max * g_max))
        }),
        leakage: vec![],
    };
    let kernel = Kernel::new(&periphery, &currents, &senses);
    let block = Block { purpose: Purpose::Inference, unit: 0, cells: 0, columns };
    let mut driven = Drives::default();
    driven.fill(&Driver::new(&periphery), &[Part::Whole], 1.0, drives, block);
    let mut codes = vec![0.0; 2 * drives.ncols()];
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
    let uneven = Sense { gain: 1.1, offset_lsb: -3.0, range: [-1.0, 1.0] };
    let set = EffectSet::ALL.without(Effect::Dac);
    let (codes, _) = convert(&plain_chip(), set, [uneven, PERFECT], &array![[1.0], [0.5], [0.25]]);
    // (1.1 x 0.6 - 3 x 8 / 255 + 1) / 2 x 255 = 199.65: the offset is in LSB of the nominal range.
    assert_eq!(codes, array![[200.0], [128.0]]);
}

#[test]
fn clipped_conversions_are_counted_by_side() {
    let narrow = Sense { range: [-0.5, 0.5], ..PERFECT };
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
fn moments(chip: &Chip, effects: EffectSet, range: [f64; 2]) -> [(f64, f64); 2] {
    let n = 40_000;
    let mut drives = Array2::zeros((3, n));
    drives.columns_mut().into_iter().for_each(|mut it| it.assign(&array![1.0, 0.5, 0.25]));
    let (codes, _) = convert(chip, effects, [Sense { range, ..PERFECT }; 2], &drives);
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
