//! Draws many cells of a chip.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::conductance::CellChain;
use nvcim_chip::effects::draws::CellPlace;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::file::parse_chip;
use nvcim_chip::presets::find_preset;

/// Cells per estimate.
pub(crate) const N: usize = 10_000;
pub(crate) const DAY: f64 = 86_400.0;
pub(crate) const YEAR: f64 = 3.155_76e7;

/// The effects of programming and time alone.
pub(crate) fn programming_and_drift() -> EffectSet {
    EffectSet::NONE.with(Effect::Programming).with(Effect::Drift)
}

pub(crate) fn preset(name: &str) -> Chip {
    find_preset(name).unwrap()
}

/// Continuous cells of 0 to 100 uS with these effect tables and no others.
pub(crate) fn chip_with(tables: &str) -> Chip {
    let text = format!(
        "schema = 1\nkind = \"chip\"\nname = \"test\"\n\
         [arrays]\nrows = 101\ncolumns = 101\ntopology = \"passive\"\n\
         [cell]\ng_min_siemens = 0\ng_max_siemens = 100e-6\n\
         [dac]\nbits = 8\ndrive = \"amplitude\"\n\
         [adc]\nbits = 8\nlo_cells = -8\nhi_cells = 8\n{tables}"
    );
    parse_chip(&text, tables).unwrap().output
}

/// Conductances at `at_s` of `n` cells told to reach `target`, each in a place of its own.
pub(crate) fn sample_n(chip: &Chip, set: EffectSet, target: f64, at_s: f64, n: usize) -> Vec<f64> {
    let chain = CellChain::new(chip, set, at_s);
    let draws = chain.draws(1);
    let mut z = Vec::new();
    let life = |cell: usize| {
        let cell = cell as u32;
        let place = CellPlace { array: cell >> 12, row: (cell >> 6) & 63, col: cell & 63 };
        draws.fill(place, 0, &mut z);
        chain.follow(target, place, &z, None).used
    };
    (0..n).map(life).collect()
}

/// [`sample_n`] of [`N`] cells.
pub(crate) fn sample(chip: &Chip, set: EffectSet, target: f64, at_s: f64) -> Vec<f64> {
    sample_n(chip, set, target, at_s, N)
}

/// Mean, standard deviation and kurtosis.
pub(crate) fn moments(values: &[f64]) -> (f64, f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let central = |p: i32| values.iter().map(|it| (it - mean).powi(p)).sum::<f64>() / n;
    (mean, central(2).sqrt(), central(4) / central(2).powi(2))
}

pub(crate) fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let ((a, sa, _), (b, sb, _)) = (moments(left), moments(right));
    let product = left.iter().zip(right).map(|(x, y)| (x - a) * (y - b)).sum::<f64>();
    product / left.len() as f64 / (sa * sb)
}

/// Asserts that cells have these moments, to four standard errors.
pub(crate) fn assert_moments(values: &[f64], mean: f64, sd: f64, what: &str) {
    let (found_mean, found_sd, kurtosis) = moments(values);
    let n = values.len() as f64;
    let mean_bound = 4.0 * sd / n.sqrt() + 1e-12 * mean.abs();
    assert!((found_mean - mean).abs() <= mean_bound, "{what}: mean {found_mean} for {mean}");
    let sd_bound = 4.0 * sd * ((kurtosis - 1.0) / (4.0 * n)).sqrt() + 1e-12 * mean.abs();
    assert!((found_sd - sd).abs() <= sd_bound, "{what}: sd {found_sd} for {sd}");
}

/// Asserts that two lists correlate so, to four standard errors `(1 - r^2) / sqrt n`.
pub(crate) fn assert_correlation(left: &[f64], right: &[f64], expected: f64, what: &str) {
    let found = correlation(left, right);
    // Heavier tails than normal ones widen the error; the spread of products is measured, not assumed.
    let ((a, sa, _), (b, sb, _)) = (moments(left), moments(right));
    let scores: Vec<f64> = left
        .iter()
        .zip(right)
        .map(|(x, y)| {
            let (x, y) = ((x - a) / sa, (y - b) / sb);
            x * y - 0.5 * found * (x * x + y * y)
        })
        .collect();
    let bound = 4.0 * moments(&scores).1 / (left.len() as f64).sqrt() + 1e-9;
    assert!((found - expected).abs() <= bound, "{what}: correlation {found} for {expected}");
}

/// Asserts that values follow a distribution function: the largest distance, times `sqrt n`, below 1.95,
/// which chance passes once in a thousand.
pub(crate) fn assert_distribution(mut values: Vec<f64>, cdf: impl Fn(f64) -> f64, what: &str) {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = values.iter().enumerate().fold(0.0f64, |largest, (at, &value)| {
        let expected = cdf(value);
        largest.max(((at + 1) as f64 / n - expected).abs()).max((expected - at as f64 / n).abs())
    });
    assert!(distance * n.sqrt() < 1.95, "{what}: {}", distance * n.sqrt());
}
