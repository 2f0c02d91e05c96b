//! Closest pair: the pair of conductances that comes nearest to a weight when cells are stuck.
//!
//! In units of the conductance range, `u = (g - g_min) / (g_max - g_min)`, a pair is worth
//! `w = u+ - u-`. A stuck cell fixes its `u`; its partner then takes the reachable value that brings
//! the pair nearest to `w`. With both cells free the pair is one-sided.

use std::collections::BTreeMap;

use nvcim_chip::describe::Cell;
use nvcim_chip::record::ArrayRecord;

/// Stuck cells of one array by physical row and column, in siemens.
pub(crate) type FaultMap = BTreeMap<(u32, u32), f64>;

/// Indexes the stuck cells of an array.
pub(crate) fn index_faults(array: &ArrayRecord) -> FaultMap {
    array.stuck.iter().map(|cell| ((cell.row, cell.col), f64::from(cell.g))).collect()
}

/// The conductances in siemens, (plus, minus), that come nearest to the relative weight `w`, -1 to 1.
///
/// `stuck_plus` and `stuck_minus` are the conductances of stuck cells, in siemens. A stuck cell's own
/// target is the nearest reachable one, which costs no programming pulse.
pub(crate) fn closest_pair(
    w: f64,
    stuck_plus: Option<f64>,
    stuck_minus: Option<f64>,
    cell: &Cell,
) -> (f64, f64) {
    let step = w * cell.range();
    match (stuck_plus, stuck_minus) {
        (None, None) => cell.pair_for(w),
        (Some(plus), None) => (cell.snap(plus), cell.snap(plus - step)),
        (None, Some(minus)) => (cell.snap(minus + step), cell.snap(minus)),
        (Some(plus), Some(minus)) => (cell.snap(plus), cell.snap(minus)),
    }
}

#[cfg(test)]
mod tests {
    use super::closest_pair;
    use nvcim_chip::describe::Cell;

    const CELL: Cell = Cell { g_min: 0.0, g_max: 1.0, n_levels: None };

    #[test]
    fn a_free_partner_makes_up_for_a_stuck_cell() {
        // g+ stuck at 1: w = 0.3 needs g- = 0.7.
        let (_, minus) = closest_pair(0.3, Some(1.0), None, &CELL);
        assert!((minus - 0.7).abs() < 1e-12);
        // g- stuck at 1: only weights down from 0 are reachable; 0.3 becomes 0.
        assert_eq!(closest_pair(0.3, None, Some(1.0), &CELL), (1.0, 1.0));
        assert_eq!(closest_pair(-0.25, None, Some(0.5), &CELL).0, 0.25);
    }

    #[test]
    fn no_reachable_pair_is_nearer() {
        let cell = Cell { n_levels: Some(5), ..CELL };
        let levels: Vec<f64> = (0..5).map(|level| f64::from(level) / 4.0).collect();
        for w in (-20..=20).map(|w| f64::from(w) / 20.0) {
            for stuck in [0.0, 0.5, 1.0, 1.2] {
                let (_, minus) = closest_pair(w, Some(stuck), None, &cell);
                let best = levels.iter().map(|u| (stuck - u - w).abs()).fold(f64::MAX, f64::min);
                assert!((stuck - minus - w).abs() <= best + 1e-12, "w {w} stuck {stuck}");
                let (plus, _) = closest_pair(w, None, Some(stuck), &cell);
                let best = levels.iter().map(|u| (u - stuck - w).abs()).fold(f64::MAX, f64::min);
                assert!((plus - stuck - w).abs() <= best + 1e-12, "w {w} stuck {stuck}");
            }
        }
    }
}
