//! Closest pair: the pair of conductances that comes nearest to a weight when cells are stuck.
//!
//! In units of the conductance range, `u = (g - g_min) / (g_max - g_min)`, a pair is worth
//! `w = u+ - u-`. A stuck cell fixes its `u`; its partner then takes the reachable value that brings
//! the pair nearest to `w`. With both cells free the pair is one-sided.

use crate::coding::WeightCode;
use crate::describe::Cell;

/// What the positive and the negative cell of a slice are stuck at, in siemens, where they are.
pub type StuckPair = (Option<f64>, Option<f64>);

/// The conductances in siemens, (plus, minus) per slice, that come nearest to the relative weight `w`, -1
/// to 1, where `stuck` holds the conductances of stuck cells, as in [`closest_pair`].
///
/// Slices take their share of the weight first, each as near as its cells can. What is then missing is
/// made up from the most to the least significant slice, each by as much as it can: no slice could then be
/// changed alone for the better, though another combination may be nearer.
pub fn closest_slices(
    w: f64,
    stuck: &[StuckPair],
    code: &WeightCode,
    cell: &Cell,
) -> Vec<(f64, f64)> {
    let pick = |share: f64, (plus, minus): StuckPair| {
        if code.is_paired() {
            closest_pair(share, plus, minus, cell)
        } else {
            (cell.snap(plus.unwrap_or(cell.g_min + share * cell.range())), cell.g_min)
        }
    };
    let shares: Vec<f64> = code.shares(w).collect();
    let mut lanes: Vec<_> = shares.iter().zip(stuck).map(|(&it, &at)| pick(it, at)).collect();
    if stuck.iter().all(|at| *at == (None, None)) {
        return lanes;
    }
    // A stuck cell counts as it is, not as it is told to be.
    let share_of = |(plus, minus): (f64, f64), (at_plus, at_minus): StuckPair| {
        (at_plus.unwrap_or(plus) - at_minus.unwrap_or(minus)) / cell.range()
    };
    let factors = code.factors();
    let mut missing: f64 = (0..lanes.len())
        .map(|at| factors[at] * (shares[at] - share_of(lanes[at], stuck[at])))
        .sum();
    for slice in (0..lanes.len()).rev() {
        let before = share_of(lanes[slice], stuck[slice]);
        let share = before + missing / factors[slice];
        lanes[slice] = pick(share.clamp(-1.0, 1.0), stuck[slice]);
        missing -= factors[slice] * (share_of(lanes[slice], stuck[slice]) - before);
    }
    lanes
}

/// The conductances in siemens, (plus, minus), that come nearest to the relative weight `w`, -1 to 1.
///
/// `stuck_plus` and `stuck_minus` are the conductances of stuck cells, in siemens. A stuck cell's own
/// target is the nearest reachable one, which costs no programming pulse.
pub fn closest_pair(
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
    use proptest::prelude::*;

    use super::{closest_pair, closest_slices};
    use crate::coding::WeightCode;
    use crate::describe::{Cell, SignCoding};
    use crate::presets::find_preset;

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

    proptest! {
        /// Beside slices that each do their own best, what the others can make up for is made up.
        #[test]
        fn slices_make_up_for_each_other(
            w in -1.0..=1.0f64,
            stuck in prop::collection::vec(prop::option::of(0.0..1e-4f64), 4),
            sign in prop::sample::select(vec![SignCoding::Pairs, SignCoding::OffsetDigital]),
            digits in any::<bool>(),
        ) {
            let mut chip = find_preset("ideal").unwrap();
            chip.cell.n_levels = None;
            chip.weights.sign = sign;
            chip.weights.significance = vec![1.0; 2];
            chip.weights.bits_per_slice = digits.then_some(4);
            let code = WeightCode::new(&chip);
            let paired = code.is_paired();
            let minus = |at: usize| stuck[at].filter(|_| paired);
            let stuck = [(stuck[0], minus(1)), (stuck[2], minus(3))];
            let worth = |lanes: Vec<(f64, f64)>| {
                let cells = lanes.into_iter().zip(stuck).map(|((plus, minus), (at, at_minus))| {
                    (at.unwrap_or(plus), at_minus.unwrap_or(minus))
                });
                code.decode(cells)
            };
            let wanted = code.decode(code.encode(w));
            let alone = code.shares(w).zip(stuck).map(|(share, (plus, minus))| {
                closest_slices_alone(share, plus, minus, &code, &chip.cell)
            });
            let together = worth(closest_slices(w, &stuck, &code, &chip.cell));
            let alone = worth(alone.collect());
            prop_assert!((together - wanted).abs() <= (alone - wanted).abs() + 1e-9);
        }
    }

    fn closest_slices_alone(
        share: f64,
        plus: Option<f64>,
        minus: Option<f64>,
        code: &WeightCode,
        cell: &Cell,
    ) -> (f64, f64) {
        if code.is_paired() {
            closest_pair(share, plus, minus, cell)
        } else {
            (plus.unwrap_or(cell.g_min + share * cell.range()), cell.g_min)
        }
    }
}
