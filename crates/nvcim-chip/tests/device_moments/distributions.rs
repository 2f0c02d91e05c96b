//! Every stochastic effect: its distribution against the one stated, drift at 1 second, 1 day and 1 year.

use nvcim_chip::effects::conductance::CellChain;
use nvcim_chip::effects::draws::CellPlace;
use nvcim_chip::effects::{Effect, EffectSet};

use crate::normal::{distribution, folded_distribution};
use crate::sampling::{
    DAY, N, YEAR, assert_correlation, assert_distribution, assert_moments, chip_with, sample,
};

const TARGET: f64 = 50e-6;
const SWING: &str = "slope_factor = 1.5\nreference_celsius = 26.85\n";
/// `m kT/q` of [`SWING`], at 300 K.
const VOLTS: f64 = 1.5 * 8.617_333_262e-5 * 300.0;

fn cells(tables: &str, at_s: f64) -> Vec<f64> {
    sample(&chip_with(tables), EffectSet::ALL, TARGET, at_s)
}

fn normal(mean: f64, sd: f64) -> impl Fn(f64) -> f64 {
    move |x| distribution((x - mean) / sd)
}

#[test]
fn gaussian_programming_errors() {
    for (keys, sd_us) in [
        ("sd_of_range = 0.03", 3.0),
        ("form = \"share\"\nsd_of_g = 0.1", 5.0),
        ("form = \"fit\"\nsd_microsiemens = { polynomial = [1.0, 2.0, 4.0] }", 3.0),
        ("form = \"fit\"\nsd_microsiemens = { saturating = [4.0, 50.0] }", 4.0 * 0.632_120_558_8),
    ] {
        let values = cells(&format!("[effects.programming]\n{keys}"), 0.0);
        assert_moments(&values, TARGET, sd_us * 1e-6, keys);
        assert_distribution(values, normal(TARGET, sd_us * 1e-6), keys);
    }
}

#[test]
fn lognormal_programming_errors() {
    let values = cells("[effects.programming]\nform = \"lognormal\"\nsd_of_log = 0.3", 0.0);
    let mean = TARGET * libm::exp(0.045);
    assert_moments(&values, mean, mean * libm::expm1(0.09).sqrt(), "lognormal");
    let logs = values.iter().map(|g| libm::log(g / TARGET)).collect();
    assert_distribution(logs, normal(0.0, 0.3), "lognormal");
}

/// Threshold voltages back from conductances: a Gaussian, and two half Gaussians on either side.
#[test]
fn floating_gates_end_beside_their_target() {
    let shifts = |sd: f64, overshoot: f64, detrapping: f64| -> Vec<f64> {
        let keys = format!(
            "[effects.programming]\nform = \"threshold\"\n{SWING}sd_volts = {sd:?}\n\
             overshoot_volts = {overshoot:?}\ndetrapping_volts = {detrapping:?}"
        );
        cells(&keys, 0.0).iter().map(|g| -VOLTS * libm::log(g / TARGET)).collect()
    };
    assert_distribution(shifts(0.01, 0.0, 0.0), normal(0.0, 0.01), "symmetric");
    let half = |x: f64| folded_distribution(x, 0.0, 0.01);
    assert_distribution(shifts(0.0, 0.01, 0.0), half, "overshoot");
    assert_distribution(shifts(0.0, 0.0, 0.01), |x| 1.0 - half(-x), "detrapping");
    // All three: half Gaussians have the mean sd sqrt(2 / pi) and the variance sd^2 (1 - 2 / pi).
    let (mean, left) = ((2.0 / std::f64::consts::PI).sqrt(), 1.0 - 2.0 / std::f64::consts::PI);
    let sd = (0.01f64.powi(2) + left * (0.02f64.powi(2) + 0.005f64.powi(2))).sqrt();
    assert_moments(&shifts(0.01, 0.02, 0.005), mean * 0.015, sd, "together");
}

/// The moments that the code states for corrections, in the form where they are least obvious.
#[test]
fn stated_moments_of_a_floating_gate_are_those_of_its_cells() {
    let chip = chip_with(&format!(
        "[effects.programming]\nform = \"threshold\"\n{SWING}sd_volts = 0.003\n\
         overshoot_volts = 0.006\ndetrapping_volts = 0.002"
    ));
    let values = sample(&chip, EffectSet::ALL, TARGET, 0.0);
    let (mean, sd) = chip.effects.programming.unwrap().moments(TARGET, &chip.cell);
    assert_moments(&values, mean, sd, "threshold");
}

/// Exponents back from conductances: a folded Gaussian, the same at any time.
#[test]
fn power_law_exponents() {
    let tables = "[effects.drift]\nnu_mean = 0.01\nnu_sd = 0.02\nt0_seconds = 20";
    let exponents = [1.0, DAY, YEAR].map(|tau| {
        let turn = libm::log((20.0 + tau) / 20.0);
        cells(tables, tau).iter().map(|g| -libm::log(g / TARGET) / turn).collect::<Vec<_>>()
    });
    let [second, day, year] = exponents;
    assert!(second.iter().zip(&year).all(|(a, b)| (a - b).abs() < 1e-9));
    assert_correlation(&second, &day, 1.0, "one exponent per cell");
    for values in [second, day, year] {
        assert_distribution(values, |x| folded_distribution(x, 0.01, 0.02), "exponents");
    }
}

#[test]
fn log_time_spreads() {
    let tables = "[effects.drift]\nform = \"log-time\"\nshift_microsiemens = -0.5\n\
                  sd_microsiemens = 1\nsd_slope_microsiemens = 0.1\nt0_seconds = 1";
    for tau in [1.0, DAY, YEAR] {
        let ln_t = libm::log(1.0 + tau);
        let (mean, sd) = (TARGET - 0.5e-6 * ln_t, 1e-6 * (1.0 + 0.1 * ln_t));
        let values = cells(tables, tau);
        assert_moments(&values, mean, sd, "log-time");
        assert_distribution(values, normal(mean, sd), "log-time");
    }
}

#[test]
fn series_keep_one_draw_and_add_another() {
    let tables = "[effects.programming]\nform = \"fit\"\nsd_microsiemens = 2\n\
                  [effects.drift]\nform = \"series\"\nt0_seconds = 1\n\
                  times_seconds = [86400, 31557600]\nsd_polynomials_microsiemens = [[3], [4]]";
    let at = |t: f64| cells(tables, t - 1.0);
    // Right after programming, after a day and after a year; after 1 s by the logarithm between.
    for (t, sd) in
        [(1.0, 2.0), (2.0, 2.0 + libm::log(2.0) / libm::log(DAY)), (DAY, 3.0), (YEAR, 4.0)]
    {
        let values = at(t);
        assert_moments(&values, TARGET, sd * 1e-6, "series");
        assert_distribution(values, normal(TARGET, sd * 1e-6), "series");
    }
    let expected = (4.0 + (5.0f64 * 12.0).sqrt()) / (3.0 * 4.0);
    assert_correlation(&at(DAY), &at(YEAR), expected, "series");
    assert_correlation(&at(1.0), &at(YEAR), 0.5, "series");
}

#[test]
fn measured_cells_have_the_moments_of_their_table() {
    let tables = "[effects.measured]\ntimes_seconds = [1, 86400]\n\
                  targets_siemens = [40e-6, 60e-6]\nmean_siemens = [[41e-6, 61e-6], [38e-6, 57e-6]]\n\
                  sd_siemens = [[1e-6, 3e-6], [4e-6, 6e-6]]";
    let (fresh, old) = (cells(tables, 0.0), cells(tables, DAY - 1.0));
    assert_moments(&fresh, 51e-6, 2e-6, "fresh");
    assert_moments(&old, 47.5e-6, 5e-6, "old");
    assert_correlation(&fresh, &old, 2.0 / 5.0, "measured");
    assert_distribution(fresh, normal(51e-6, 2e-6), "fresh");
    assert_distribution(old, normal(47.5e-6, 5e-6), "old");
}

/// Losses back from conductances: a folded Gaussian, scaled by time.
#[test]
fn charge_loss_differs_from_cell_to_cell() {
    let tables = format!(
        "[effects.drift]\nform = \"retention\"\n{SWING}loss_mean = 1e-4\nloss_sd = 1e-4\n\
         t0_seconds = 100\nactivation_electronvolts = 1.1\ntemperature_celsius = 26.85\n\
         vt_gmax_volts = 2\nvt_neutral_volts = 1"
    );
    let stored = 1.0 + VOLTS * std::f64::consts::LN_2;
    for tau in [1.0, DAY, YEAR] {
        let turn = libm::log(1.0 + tau / 100.0) * stored / VOLTS;
        let losses = cells(&tables, tau).iter().map(|g| libm::log(g / TARGET) / turn).collect();
        assert_distribution(losses, |x| folded_distribution(x, 1e-4, 1e-4), "losses");
    }
}

/// One draw per die or array, and a direction whose component along rows follows the arcsine law.
#[test]
fn gradients_over_dies_arrays_and_cells() {
    let factors = |tables: &str, place: fn(u32) -> (u64, CellPlace)| -> Vec<f64> {
        let chip = chip_with(tables);
        let chain = CellChain::new(&chip, EffectSet::ALL, 0.0);
        let mut z = Vec::new();
        let one = |at| {
            let (die, place) = place(at);
            chain.draws(die).fill(place, 0, &mut z);
            chain.follow(TARGET, place, &z, None).used / TARGET - 1.0
        };
        (0..N as u32).map(one).collect()
    };
    let table = |die: f64, array: f64, slope: f64| {
        format!(
            "[effects.gradient]\ndie_sd_of_g = {die:?}\narray_sd_of_g = {array:?}\n\
             slope_of_g = {slope:?}"
        )
    };
    let over_dies = |at: u32| (u64::from(at), CellPlace { array: 0, row: 3, col: 4 });
    let over_arrays = |array: u32| (1, CellPlace { array, row: 3, col: 4 });
    // Row 100 of 101 is an edge, column 50 the middle.
    let at_the_edge = |array: u32| (1, CellPlace { array, row: 100, col: 50 });
    let dies = factors(&table(0.05, 0.0, 0.0), over_dies);
    assert_distribution(dies, normal(0.0, 0.05), "dies");
    let arrays = factors(&table(0.0, 0.04, 0.0), over_arrays);
    assert_distribution(arrays, normal(0.0, 0.04), "arrays");
    let both = factors(&table(0.03, 0.04, 0.0), over_dies);
    assert_distribution(both, normal(0.0, 0.05), "dies and arrays");
    let same = factors(&table(0.05, 0.0, 0.0), over_arrays);
    assert!(same.iter().all(|it| *it == same[0]));
    let arcsine = |x: f64| 0.5 + libm::asin((x / 0.1).clamp(-1.0, 1.0)) / std::f64::consts::PI;
    assert_distribution(factors(&table(0.0, 0.0, 0.2), at_the_edge), arcsine, "slopes");
}

#[test]
fn telegraph_noise_is_stationary_and_forgets_at_its_rate() {
    let tables = "[effects.rtn]\ncells_share = 1\noccupancy = 0.3\nrate_hz = 2e-5\n\
                  amplitude_of_g = 0.1";
    let [fresh, hour, day] = [0.0, 3600.0, DAY].map(|tau| cells(tables, tau));
    for values in [&fresh, &hour, &day] {
        assert!(values.iter().all(|g| *g == TARGET || (g / TARGET - 0.9).abs() < 1e-12));
        let sd = 0.1 * TARGET * (0.3f64 * 0.7).sqrt();
        assert_moments(values, TARGET * (1.0 - 0.3 * 0.1), sd, "telegraph");
    }
    assert_correlation(&fresh, &hour, libm::exp(-0.072), "an hour");
    assert_correlation(&fresh, &day, libm::exp(-1.728), "a day");
    let some = cells(&tables.replace("cells_share = 1", "cells_share = 0.25"), DAY);
    let full = some.iter().filter(|g| **g < TARGET).count() as f64 / N as f64;
    // Four standard errors of a share of 0.075.
    assert!((full - 0.075).abs() < 4.0 * (0.075f64 * 0.925 / N as f64).sqrt(), "{full}");
}

/// Temperature and read disturb draw nothing: they act alike on all cells.
#[test]
fn what_is_not_random_does_not_scatter() {
    let tables = "[effects.temperature]\nrelative_per_kelvin = 1e-3\nreference_celsius = 25\n\
                  temperature_celsius = 85\n[effects.disturb]\ndg_of_g_per_read = -1e-6\nreads = 1e5";
    let chip = chip_with(tables);
    let values = sample(&chip, EffectSet::ALL, TARGET, YEAR);
    let expected = TARGET * 1.06 * libm::exp(1e5 * libm::log1p(-1e-6));
    assert!(values.iter().all(|g| (g / expected - 1.0).abs() < 1e-12));
    let cold = sample(&chip, EffectSet::NONE.with(Effect::Disturb), TARGET, YEAR);
    assert!((cold[0] / values[0] - 1.0 / 1.06).abs() < 1e-12);
}
