//! What corrections are told of cells before programming, against drawn cells of every preset.

use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::presets::PRESETS;
use nvcim_chip::statistics::CellStatistics;

use crate::sampling::{DAY, N, YEAR, moments, preset, sample};

/// What quadrature and straight lines between targets may add to four standard errors, as a share of the
/// spread; at kinks of exponents, which these targets keep away from, lines cost more.
const TOLERANCE: f64 = 0.01;

#[test]
fn statistics_of_every_preset_are_those_of_its_cells() {
    let set = EffectSet::ALL.without(Effect::Stuck);
    let mut n_checked = 0;
    for (name, _) in PRESETS {
        let chip = preset(name);
        for at_s in [0.0, DAY, YEAR] {
            if chip.check_time(at_s, set, false).is_err() {
                continue;
            }
            let statistics = CellStatistics::new(&chip, set, at_s);
            // Both ends of the range, near the lower one, and between targets of the table.
            for share in [0.0, 0.003, 0.05, 0.1, 0.213, 0.31, 0.47, 0.723, 0.9, 1.0] {
                let target = chip.cell.g_min + share * chip.cell.range();
                let (mean, sd, kurtosis) = moments(&sample(&chip, set, target, at_s));
                let (found, spread) = (statistics.mean(target), statistics.sd(target));
                let (what, n) = (format!("{name} at {share} after {at_s} s"), N as f64);
                let rounding = 1e-12 * chip.cell.g_max;
                let bound = (4.0 / n.sqrt() + TOLERANCE) * sd + rounding;
                assert!((found - mean).abs() <= bound, "{what}: mean {found} for {mean}");
                // Of cells that do not scatter the kurtosis is a matter of rounding.
                let error = ((kurtosis - 1.0).max(0.0) / (4.0 * n)).sqrt();
                let bound = (4.0 * error + TOLERANCE) * sd + rounding;
                assert!((spread - sd).abs() <= bound, "{what}: sd {spread} for {sd}");
                n_checked += 1;
            }
        }
    }
    assert!(n_checked >= 250, "{n_checked}");
}

#[test]
fn an_ideal_cell_stands_where_it_is_told_to() {
    let chip = preset("ideal");
    let statistics = CellStatistics::new(&chip, EffectSet::ALL, YEAR);
    for step in 0..=1000 {
        let g = chip.cell.g_max * f64::from(step) / 1000.0;
        let snapped = chip.cell.snap(g);
        assert_eq!((statistics.mean(g), statistics.sd(g)), (snapped, 0.0));
        assert_eq!((statistics.target_for(g), statistics.read_sd(g)), (snapped, 0.0));
    }
}
