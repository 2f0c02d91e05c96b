//! Every device preset: mean, spread and current at 5 conductances, 4 times and 3 voltages, and the
//! correlation of one cell between two times.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::read::ReadCell;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::file::parse_chip;

use crate::normal::{clipped_moments, folded_exponential};
use crate::sampling::{
    DAY, YEAR, assert_correlation, assert_moments, preset, programming_and_drift, sample,
};

const SHARES: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];
const VOLTAGES: [f64; 3] = [-0.5, 0.1, 0.4];

/// Coefficients from the constant up.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().enumerate().map(|(power, c)| c * x.powi(power as i32)).sum()
}

fn clipped_log(a: f64, b: f64, lo: f64, hi: f64, q: f64) -> f64 {
    (a * libm::log(q) + b).clamp(lo, hi)
}

/// A device's first and second moment in microsiemens at `(u, tau)`, and the mean of the product of one
/// cell's conductances at two times where that has a closed form.
struct Device {
    g_max_us: f64,
    targets_us: [f64; 5],
    times: [f64; 4],
    moments: fn(f64, f64) -> (f64, f64),
    product: fn(f64, f64, f64) -> Option<f64>,
}

fn check(chip: &Chip, device: &Device) {
    let set = programming_and_drift();
    assert!((chip.cell.g_max * 1e6 - device.g_max_us).abs() < 1e-9);
    for u in device.targets_us {
        let samples = device.times.map(|tau| sample(chip, set, u * 1e-6, tau));
        for (tau, cells) in device.times.iter().zip(&samples) {
            let (first, second) = (device.moments)(u, *tau);
            let what = format!("{} at {u} uS after {tau} s", chip.name);
            let sd = (second - first * first).max(0.0).sqrt();
            assert_moments(cells, first * 1e-6, sd * 1e-6, &what);
            check_currents(chip, cells, (first, sd), &what);
        }
        for (early, late) in [(0, 1), (1, 3)] {
            let (t1, t2) = (device.times[early], device.times[late]);
            let Some(product) = (device.product)(u, t1, t2) else { continue };
            let ((a, aa), (b, bb)) = ((device.moments)(u, t1), (device.moments)(u, t2));
            let expected = (product - a * b) / ((aa - a * a) * (bb - b * b)).sqrt();
            let what = format!("{} at {u} uS, {t1} s and {t2} s", chip.name);
            assert_correlation(&samples[early], &samples[late], expected, &what);
        }
    }
}

/// Currents of ohmic cells have the moments of conductances times the voltage; those of others are
/// checked against their law below.
fn check_currents(chip: &Chip, cells: &[f64], (mean, sd): (f64, f64), what: &str) {
    if chip.effects.iv.is_some() {
        return;
    }
    for volts in VOLTAGES {
        let currents: Vec<_> = cells.iter().map(|&g| chip.current(g, volts)).collect();
        assert_moments(&currents, mean * 1e-6 * volts, sd * 1e-6 * volts.abs(), what);
    }
}

/// Phase-change cells: a clipped Gaussian times a power law with a folded Gaussian exponent.
fn phase_change(u: f64, taus: [f64; 2], sd: f64, (m, s, t0): (f64, f64, f64)) -> (f64, f64) {
    let [l1, l2] = taus.map(|tau| libm::log((t0 + tau) / t0));
    let (first, second) = clipped_moments(u, sd, 0.0, f64::INFINITY);
    (first * folded_exponential(l1, m, s), second * folded_exponential(l1 + l2, m, s))
}

fn pcm_ibm(u: f64, taus: [f64; 2]) -> (f64, f64) {
    let q = u / 25.0;
    let m = clipped_log(-0.0155, 0.0244, 0.049, 0.1, q);
    let s = clipped_log(-0.0125, -0.0059, 0.008, 0.045, q);
    phase_change(u, taus, polynomial(&[0.26348, 1.9650, -1.1731], q), (m, s, 20.0))
}

#[test]
fn pcm_ibm_cells() {
    check(
        &preset("pcm-ibm"),
        &Device {
            g_max_us: 25.0,
            targets_us: SHARES.map(|q| 25.0 * q),
            times: [0.0, 1.0, DAY, YEAR],
            moments: |u, tau| pcm_ibm(u, [tau, tau]),
            product: |u, t1, t2| Some(pcm_ibm(u, [t1, t2]).1),
        },
    );
}

fn pcm_hermes(u: f64, taus: [f64; 2]) -> (f64, f64) {
    let q = u / 20.7;
    let m = if q < 0.0945 {
        clipped_log(-0.0387, -0.0182, 0.072, 0.13, q)
    } else {
        -0.0436 * q * q - 0.0126 * q + 0.0736
    };
    let s = if q < 0.3055 {
        clipped_log(-0.0117, -0.0057, 0.0091, 0.04, q)
    } else {
        -0.0118 * q * q + 0.0093 * q + 0.0073
    };
    let sd = 0.166_032_22 + 4.718_064_68 * q - 8.481_012_52 * q * q + 4.689_614_19 * q * q * q;
    phase_change(u, taus, sd, (m, s, 300.0))
}

#[test]
fn pcm_hermes_cells() {
    check(
        &preset("pcm-hermes"),
        &Device {
            g_max_us: 20.7,
            targets_us: [0.05, 0.2, 0.31, 0.6, 0.95].map(|q| 20.7 * q),
            times: [0.0, 1.0, DAY, YEAR],
            moments: |u, tau| pcm_hermes(u, [tau, tau]),
            product: |u, t1, t2| Some(pcm_hermes(u, [t1, t2]).1),
        },
    );
}

/// Total spread so far of a series, and the spread that the first draw made.
fn series<const K: usize>(times: [f64; K], sds: [f64; K], tau: f64) -> (f64, f64) {
    let t = times[0] + tau;
    let knots = times.iter().zip(sds).filter(|(time, _)| **time <= t).map(|(_, sd)| sd);
    let mut widest = knots.fold(0.0, f64::max);
    for at in 1..K {
        if times[at - 1] < t && t < times[at] {
            let share = libm::log(t / times[at - 1]) / libm::log(times[at] / times[at - 1]);
            widest = widest.max(sds[at - 1] + share * (sds[at] - sds[at - 1]));
        }
    }
    (widest, sds[0])
}

/// Mean product of one cell at two times under [`series`], where clipping is five spreads away.
fn series_product<const K: usize>(
    times: [f64; K],
    sds: [f64; K],
    u: f64,
    (t1, t2): (f64, f64),
) -> Option<f64> {
    let ((s1, first), (s2, _)) = (series(times, sds, t1), series(times, sds, t2));
    let later = |s: f64| (s * s - first * first).max(0.0).sqrt();
    (u > 5.0 * s2).then(|| u * u + first * first + later(s1) * later(s2))
}

const NEURRAM_TIMES: [f64; 3] = [1.0, DAY, 2.0 * DAY];

fn neurram_sds(u: f64) -> [f64; 3] {
    let q = u / 40.0;
    [
        polynomial(&[0.348, 16.03, -43.853, 45.393, -16.815], q),
        polynomial(&[0.701, 22.086, -50.773, 47.095, -16.458], q),
        polynomial(&[0.782, 20.274, -43.507, 37.062, -11.934], q),
    ]
}

#[test]
fn rram_neurram_cells() {
    check(
        &preset("rram-neurram"),
        &Device {
            g_max_us: 40.0,
            targets_us: SHARES.map(|q| 40.0 * q),
            times: [0.0, 3600.0, DAY - 1.0, 2.0 * DAY - 1.0],
            moments: |u, tau| {
                let (sd, _) = series(NEURRAM_TIMES, neurram_sds(u), tau);
                clipped_moments(u, sd, 0.0, f64::INFINITY)
            },
            product: |u, t1, t2| series_product(NEURRAM_TIMES, neurram_sds(u), u, (t1, t2)),
        },
    );
}

const SONOS_TIMES: [f64; 6] = [1.0, DAY, 2.0 * DAY, 3.0 * DAY, 4.0 * DAY, 5.0 * DAY];

/// The fits speak of nanoamperes, at 0.1 V.
fn sonos_sds(u: f64) -> [f64; 6] {
    let current_na = u * 0.1 * 1000.0;
    [
        (19.887, 176.31),
        (25.59, 186.85),
        (28.73, 193.57),
        (31.04, 198.90),
        (33.76, 204.77),
        (34.58, 207.34),
    ]
    .map(|(a, b)| a * (1.0 - libm::exp(-current_na / b)) / 0.1 / 1000.0)
}

#[test]
fn sonos_cells() {
    check(
        &preset("sonos-40"),
        &Device {
            g_max_us: 16.0,
            targets_us: [0.01, 0.1, 0.3, 0.6, 1.0].map(|q| 16.0 * q),
            times: [0.0, 3600.0, 1.5 * DAY, 5.0 * DAY - 1.0],
            moments: |u, tau| {
                let (sd, _) = series(SONOS_TIMES, sonos_sds(u), tau);
                clipped_moments(u, sd, 0.0, f64::INFINITY)
            },
            product: |u, t1, t2| series_product(SONOS_TIMES, sonos_sds(u), u, (t1, t2)),
        },
    );
}

#[test]
fn rram_milo_cells() {
    check(
        &preset("rram-milo"),
        &Device {
            g_max_us: 225.0,
            targets_us: [50.0, 80.0, 110.0, 160.0, 225.0],
            times: [0.0, 1.0, DAY, YEAR],
            moments: |u, _| {
                let sd = -0.009107 * u + 4.782;
                (u, u * u + sd * sd)
            },
            // Nothing drifts: the same cell at any time.
            product: |u, _, _| {
                let sd = -0.009107 * u + 4.782;
                Some(u * u + sd * sd)
            },
        },
    );
}

#[test]
fn rram_milo_currents() {
    let chip = preset("rram-milo");
    for u in [50.0, 70.0, 90.0, 110.0, 225.0f64] {
        // Beyond the fit, the shape of its ends.
        let fitted = u.clamp(62.5, 110.0) * 1e-6;
        let x = libm::log10(fitted);
        let n2 = 0.0001388 * x * x * x + 0.001541 * x * x + 0.005711 * x + 0.007063;
        let n3 = 8.871e-5 * x * x + 6.7919e-4 * x + 1.2968e-3;
        for volts in VOLTAGES {
            let v: f64 = f64::abs(volts);
            let size = (fitted * v + n2 * v * v + n3 * v * v * v) * (u * 1e-6 / fitted);
            let found = chip.current(u * 1e-6, volts);
            assert!((found - size.copysign(volts)).abs() < 1e-9 * size, "{u} uS at {volts} V");
        }
        let iv = chip.effects.iv.unwrap();
        assert!((0..=50).all(|step| iv.slope(u * 1e-6, f64::from(step) / 100.0) > 0.0), "{u} uS");
    }
}

fn cmo_sds(u: f64, tau: f64) -> (f64, f64) {
    let relaxed = if tau > 0.0 { 0.042 * libm::log(1.0 + tau) + 0.412 } else { 0.0 };
    (0.0112185 + 0.0112903 * u, relaxed)
}

#[test]
fn rram_cmo_cells() {
    check(
        &preset("rram-cmo"),
        &Device {
            g_max_us: 90.0,
            targets_us: [9.0, 25.0, 49.0, 70.0, 89.5],
            times: [0.0, 1.0, DAY, YEAR],
            moments: |u, tau| {
                let (first, second) = cmo_sds(u, tau);
                if tau == 0.0 {
                    return clipped_moments(u, first, 0.0, f64::INFINITY);
                }
                let sd = (first * first + second * second).sqrt();
                clipped_moments(u - 0.089 * libm::log(1.0 + tau), sd, 8.0, 90.0)
            },
            product: |u, t1, t2| {
                let ((first, a), (_, b)) = (cmo_sds(u, t1), cmo_sds(u, t2));
                let mean = |tau: f64| u - 0.089 * libm::log(1.0 + tau);
                let inside = (20.0..80.0).contains(&u);
                inside.then(|| mean(t1) * mean(t2) + first * first + a * b)
            },
        },
    );
}

/// A floating gate with symmetric errors is lognormal at any time and temperature: with `v = m kT/q` at
/// the reference temperature and a share `l` of the stored voltage lost,
/// `ln q = T_ref/T ((1 - l) (ln q_target - sd/v z) + l (Vt_gmax - Vt0) / v)`.
#[test]
fn nor_floating_gate_cells() {
    let text = include_str!("../chips/nor-floating-gate.toml")
        .replace("loss_sd = 3e-6", "loss_sd = 0.0")
        .replace("overshoot_volts = 0.0005", "overshoot_volts = 0.0")
        .replace("detrapping_volts = 0.0003", "detrapping_volts = 0.0");
    let chip = parse_chip(&text, "").unwrap().output;
    let set = programming_and_drift().with(Effect::Temperature);
    let v = 1.6 * 8.617_333_262e-5 * 298.15;
    let lost = |tau: f64| {
        let arrhenius = libm::exp(1.1 / 8.617_333_262e-5 * (1.0 / 298.15 - 1.0 / 328.15));
        1e-5 * arrhenius * libm::log(1.0 + tau / 3600.0)
    };
    for q in [0.01, 0.1, 0.3, 0.6, 1.0] {
        for tau in [0.0, 3600.0, DAY, YEAR] {
            let turn = 298.15 / 328.15;
            let centre = (1.0 - lost(tau)) * libm::log(q) + lost(tau) * (1.5 - 0.8) / v;
            let sd = turn * (1.0 - lost(tau)) * 0.0005 / v;
            let mean = 1e-6 * libm::exp(turn * centre + 0.5 * sd * sd);
            let spread = mean * libm::expm1(sd * sd).sqrt();
            let cells = sample(&chip, set, q * 1e-6, tau);
            let what = format!("floating gate at q = {q} after {tau} s");
            assert_moments(&cells, mean, spread, &what);
            check_currents(&chip, &cells, (mean * 1e6, spread * 1e6), &what);
        }
    }
}

/// Read noise of the presets against its formulas, at 5 conductances and 4 times.
#[test]
fn read_noise_of_every_preset() {
    let sd = |chip: &Chip, u: f64, tau: f64| {
        let read = ReadCell { programmed: u * 1e-6, g: 0.9e-6 * u, at_s: tau };
        chip.effects.read.unwrap().sd(&chip.cell, &read) * 1e6
    };
    let gathered = |t: f64, t_read: f64| libm::log((t + t_read) / (2.0 * t_read)).sqrt();
    let chips = ["pcm-ibm", "pcm-hermes", "sonos-40", "rram-neurram"].map(preset);
    let [ibm, hermes, sonos, neurram] = &chips;
    for q in [0.01, 0.1, 0.2, 0.5, 1.0] {
        for tau in [0.0, 1.0, DAY, YEAR] {
            let q_ibm = (0.0088 / libm::pow(q, 0.65)).min(0.2);
            let q_hermes = if q < 0.16 {
                clipped_log(-0.0117, -0.0069, 0.015, 0.04, q)
            } else {
                0.0069 * q * q * q - 0.028 * q * q + 0.0211 * q + 0.0123
            };
            let later = |value: f64| if tau > 0.0 { value } else { 0.0 };
            let cases = [
                (ibm, 25.0, later(0.9 * 25.0 * q * q_ibm * gathered(20.0 + tau, 250e-9))),
                (hermes, 20.7, later(0.9 * 20.7 * q * q_hermes * gathered(300.0 + tau, 512e-9))),
                (sonos, 16.0, 0.1258 * (1.0 - libm::exp(-0.9 * 1600.0 * q / 215.37))),
                (neurram, 40.0, 0.01 * 0.9 * 40.0 * q),
            ];
            for (chip, g_max, expected) in cases {
                let found = sd(chip, q * g_max, tau);
                let bound = 1e-9 * expected;
                assert!((found - expected).abs() <= bound, "{} {q} {tau} {found}", chip.name);
            }
        }
    }
}

/// A cell without an effect is a cell at its target.
#[test]
fn without_effects_cells_are_where_they_were_told_to_be() {
    let chip = preset("pcm-ibm");
    let cells = sample(&chip, EffectSet::NONE, 10e-6, YEAR);
    assert!(cells.iter().all(|g| *g == 10e-6));
}
