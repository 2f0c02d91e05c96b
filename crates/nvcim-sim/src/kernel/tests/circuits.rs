//! Sense stages that bend their currents, converters with uneven levels, noise in front of both.

use std::sync::Arc;

use ndarray::{Array2, array};
use nvcim_chip::circuits::AdcInl;
use nvcim_chip::describe::{Accumulate, Chip};
use nvcim_chip::effects::nonlinearity::Nonlinearity;
use nvcim_chip::effects::output_noise::OutputNoise;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_ops::run_program::{Columns, Nth};

use super::{
    PERFECT, UNEVEN, WIDE, bit_serial_chip, convert, convert_leaking, digitised, noisy_chip,
};
use crate::clips::ClipCount;
use crate::periphery::Sense;
use crate::testing::{KOLMOGOROV_BOUND, kolmogorov, plain_chip};

fn bent(mut chip: Chip, s_curve_per_cell: f64, saturation_cells: Option<f64>) -> Chip {
    chip.effects.nonlinearity = Some(Nonlinearity { s_curve_per_cell, saturation_cells });
    chip
}

/// The current that a code of [`WIDE`] stands for.
fn current(code: f64) -> f64 {
    WIDE[0] + code * (WIDE[1] - WIDE[0]) / 255.0
}

fn single(n: usize) -> Columns {
    Columns { first_sample: 0, per_sample: n, layer_use: Nth::ONLY }
}

#[test]
fn currents_bend_behind_leakage_and_before_gain_and_offset() {
    let chip = bent(plain_chip(), 0.25, Some(1.5));
    let drives = array![[1.0, -1.0], [0.5, -0.5], [0.25, -0.25f64]];
    let run = |set| convert_leaking(&chip, set, UNEVEN, drives.view(), single(2), &[0.4, 4.0]).0;
    // Currents 0.6 and -0.6 with a leakage of 0.4, 0 with one of 4, the latter limited.
    let stage = [[1.0 / 1.25, -0.2 / 1.05], [1.5, 1.5]];
    let exact = run(EffectSet::NONE.with(Effect::Nonlinearity));
    let whole = run(EffectSet::ALL.without(Effect::Dac));
    for ((conversion, column), &y) in Array2::from(stage.to_vec()).indexed_iter() {
        let sense = &UNEVEN[conversion];
        let y = f64::from(sense.gain) * y + f64::from(sense.offset_lsb) * 8.0 / 255.0;
        let [lo, hi] = sense.range;
        let code = (y - lo) / (hi - lo) * 255.0;
        assert!((exact[(conversion, column)] - code).abs() < 1e-9, "{exact} {code}");
        let got = lo + whole[(conversion, column)] * (hi - lo) / 255.0;
        assert!((got - digitised(conversion, y)).abs() < 1e-12, "{got} {y}");
    }
}

#[test]
fn a_stage_senses_what_was_accumulated_or_each_slice() {
    let stage = Nonlinearity { s_curve_per_cell: 0.5, saturation_cells: None };
    let set = EffectSet::ALL.without(Effect::Adc);
    // Code 7 of 15: digits 3 and 1, hence 1 and 1/3 of full scale, which count 1/5 and 4/5.
    let drives = array![[7.0 / 15.0], [0.0], [0.0f64]];
    let leak = 0.1;
    let run = |accumulate| {
        let chip = bent(bit_serial_chip(4, 2, accumulate), stage.s_curve_per_cell, None);
        let leakage = [leak, 0.0];
        let codes = convert_leaking(&chip, set, [PERFECT; 2], drives.view(), single(1), &leakage);
        current(codes.0[(0, 0)])
    };
    let sliced = 0.2 * stage.apply(1.0 + leak) + 0.8 * stage.apply(1.0 / 3.0 + leak);
    assert!((run(Accumulate::Digital) - sliced).abs() < 1e-12);
    let whole = stage.apply(7.0 / 15.0 + leak);
    assert!((run(Accumulate::Analog) - whole).abs() < 1e-12);
    assert!((sliced - whole).abs() > 1e-3);
}

#[test]
fn without_the_effect_or_a_curve_the_bytes_are_those_of_a_linear_stage() {
    let drives =
        Array2::from_shape_fn((3, 40), |(row, at)| ((row + 3 * at) % 17) as f32 / 8.0 - 1.0);
    let run = |chip: &Chip, set| convert(chip, set, UNEVEN, &drives);
    let linear = run(&noisy_chip(), EffectSet::ALL);
    let chip = bent(noisy_chip(), 0.1, Some(1.0));
    assert_eq!(run(&chip, EffectSet::ALL.without(Effect::Nonlinearity)), linear);
    assert_eq!(run(&bent(noisy_chip(), 0.0, None), EffectSet::ALL), linear);
    assert_ne!(run(&chip, EffectSet::ALL), linear);
}

/// At the limit half of the read noise is cut off, and none of the output noise.
#[test]
fn reads_are_noisy_before_the_stage_and_outputs_behind_it() {
    let n = 40_000;
    let drives = Array2::from_shape_fn((3, n), |(row, _)| if row == 0 { 1.0 } else { 0.0 });
    let set = EffectSet::NONE.with(Effect::Read).with(Effect::OutputNoise);
    let chip = bent(noisy_chip(), 0.0, Some(1.0));
    let (codes, _) = convert(&chip, set.with(Effect::Nonlinearity), [PERFECT; 2], &drives);
    let y = codes.row(0).mapv(|code| current(code.into()));
    let mean = y.sum() / n as f64;
    let variance = y.mapv(|y| (y - mean).powi(2)).sum() / n as f64;
    // min(z, 0) of a normal z has the mean -1 / sqrt(2 pi) and the variance 1/2 - 1/(2 pi).
    let (read, output) = (0.02f64, 0.5 * 8.0 / 255.0);
    let per_turn = 0.5 / std::f64::consts::PI;
    let expected = read * read * (0.5 - per_turn) + output * output;
    // Four standard errors: of the mean, and 3.04 % of a variance with an excess kurtosis of 0.31.
    assert!((mean - 1.0 + read * per_turn.sqrt()).abs() < 4.0 * (expected / n as f64).sqrt());
    assert!((variance / expected - 1.0).abs() < 0.0304, "{variance} {expected}");
}

#[test]
fn output_noise_in_cells_is_normal_with_its_spread_whatever_gain_and_range() {
    let n = 20_000;
    let drives = Array2::<f64>::zeros((3, n));
    for (sd_lsb, current_sd_cells, nonlinear) in
        [(0.0, 0.02, false), (0.5, 0.02, false), (0.5, 0.02, true)]
    {
        let mut chip = plain_chip();
        let noise = OutputNoise { sd_lsb, current_sd_cells };
        chip.effects.output_noise = Some(noise);
        let chip = if nonlinear { bent(chip, 0.3, Some(0.01)) } else { chip };
        let senses = [PERFECT; 2].map(|it| Sense { gain: 3.0, range: [-1.0, 2.0], ..it });
        let set = EffectSet::ALL.without(Effect::Adc).without(Effect::Dac);
        let (codes, _) = convert_leaking(&chip, set, senses, drives.view(), single(1), &[]);
        let sd = ((sd_lsb * 8.0 / 255.0).powi(2) + 0.02f64.powi(2)).sqrt();
        for row in codes.outer_iter() {
            let y = row.mapv(|code| -1.0 + code * 3.0 / 255.0).to_vec();
            assert!(kolmogorov(&y, 0.0, sd) < KOLMOGOROV_BOUND, "{}", kolmogorov(&y, 0.0, sd));
        }
    }
}

#[test]
fn a_converter_settles_on_its_own_levels_and_counts_what_lies_outside() {
    let mut chip = plain_chip();
    chip.adc.bits = 2;
    chip.circuits.adc.inl_lsb = AdcInl::Table(vec![0.0, 0.25, -0.5, 0.0]);
    let levels = chip.circuits.adc.code_table(&chip.adc, &[]).map(Arc::new);
    assert!(levels.is_some());
    // An LSB is a current of 1, and the transitions lie at 0.75, 1 and 2.5.
    let even = Sense { range: [0.0, 3.0], ..PERFECT };
    let senses = || [Sense { levels: levels.clone(), ..even.clone() }, even.clone()];
    let currents = [-0.25, 0.6875, 0.75, 0.96875, 1.0, 2.375, 2.5, 3.25];
    // The second conversion has half the weight in the second row.
    let drives = Array2::from_shape_fn((3, 8), |(row, at)| [1.5, 1.0, 0.0f64][row] * currents[at]);
    let run = |set| convert_leaking(&chip, set, senses(), drives.view(), single(8), &[]);
    let (codes, clips) = run(EffectSet::ALL.without(Effect::Dac));
    assert_eq!(codes.row(0).to_vec(), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!(codes.row(1).to_vec(), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0]);
    assert_eq!(clips, ClipCount { low: 2, high: 1, total: 16 });
    let (exact, clips) = run(EffectSet::NONE);
    assert_eq!(exact.row(0).to_vec(), currents);
    assert_eq!(clips, ClipCount { low: 0, high: 0, total: 16 });
}
