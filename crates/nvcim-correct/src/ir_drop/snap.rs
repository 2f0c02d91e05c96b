//! Cells with levels: snapping a continuous solution, and snapping again with what exact currents show.
//!
//! A pair whose residual is more than half a level's worth moves; the others stay, since their
//! residual is their own rounding. Few pairs move after the first round.

use crate::ir_drop::layout::{Hold, Layout, State};
use crate::ir_drop::model;

/// The most rounds.
const MAX_ROUNDS: usize = 5;

/// Snaps a solution, and says how many exact matrices that took per array.
pub(super) fn snap(layout: &Layout, solution: &State, levels: &[f64]) -> (State, usize) {
    let mut state = snapped(layout, &solution.d, solution, levels);
    let mut best = state.clone();
    for round in 1..MAX_ROUNDS {
        let wanted = model::wanted_differences(layout, &state);
        let next = snapped(layout, &wanted, solution, levels);
        if next.d == state.d {
            return (best, round);
        }
        if layout.error_squared(&next) < layout.error_squared(&best) {
            best = next.clone();
        }
        state = next;
    }
    (best, MAX_ROUNDS)
}

/// The state with every pair's difference at the nearest that levels allow.
pub(super) fn snapped(layout: &Layout, d: &[f64], like: &State, levels: &[f64]) -> State {
    let lo = layout.ends.0;
    let near = |g: f64| nearest(levels, g);
    let to_levels = |(at, &d): (usize, &f64)| match layout.pairs[at].hold {
        Hold::Free if d >= 0.0 => near(lo + d) - lo,
        Hold::Free => lo - near(lo - d),
        Hold::Single => near(d),
        Hold::PlusStuck(plus) => plus - near(plus - d),
        Hold::MinusStuck(minus) => near(minus + d) - minus,
        Hold::Stuck(..) => d,
    };
    let d: Vec<f64> = d.iter().enumerate().map(to_levels).collect();
    let worth = layout.true_worth(&d);
    State { d, gains: like.gains.clone(), worth }
}

/// The level nearest to `g`, the lower of two.
fn nearest(levels: &[f64], g: f64) -> f64 {
    let above = levels.partition_point(|&level| level < g).min(levels.len() - 1);
    let below = above.saturating_sub(1);
    if g - levels[below] <= levels[above] - g { levels[below] } else { levels[above] }
}
