//! Outer steps: exact currents, a model made right with them, and its solution, over and over.

use crate::ir_drop::Effort;
use crate::ir_drop::anderson::Anderson;
use crate::ir_drop::layout::{GainRule, Layout, State};
use crate::ir_drop::model::{Proposal, propose};

/// A step that makes the residual larger than this many times the least is taken back.
const SETBACK: f64 = 2.0;

/// The least share of a plain step that is tried.
const MIN_DAMPING: f64 = 1.0 / 64.0;

/// No gain below this share of its bound is tried.
const MIN_GAIN: f64 = 1e-3;

/// Where outer steps ended.
pub(super) struct Solved {
    /// The best state.
    pub(super) best: State,
    /// Its residual, as [`Proposal`] has it.
    pub(super) residual: f64,
    /// Exact matrices computed per array.
    pub(super) iterations: usize,
}

/// Cells as if there were no wires, at gain 1 or the given one.
pub(super) fn ideal_cells(layout: &Layout) -> State {
    let gain = |rule: &GainRule| match *rule {
        GainRule::Given(gain) => gain,
        GainRule::UpTo { at_most, .. } => at_most.min(1.0),
    };
    let gains: Vec<f64> = layout.gains.iter().map(gain).collect();
    let wanted = layout.pairs.iter().map(|pair| gains[pair.gain] * pair.wanted);
    let point = wanted.chain(gains.iter().copied()).collect();
    state_at(layout, point)
}

/// The same cells with every gain that is not given at its least squares.
pub(super) fn at_best_gain(layout: &Layout, mut state: State) -> State {
    for (at, members) in layout.members.iter().enumerate() {
        let GainRule::UpTo { at_most, .. } = layout.gains[at] else { continue };
        let sum =
            |value: &dyn Fn(usize) -> f64| members.iter().map(|&pair| value(pair)).sum::<f64>();
        // The gain that makes `worth / gain` nearest to what is wanted.
        let along = sum(&|pair| state.worth[pair] * layout.pairs[pair].wanted);
        let all = sum(&|pair| state.worth[pair] * state.worth[pair]);
        if along > 0.0 {
            state.gains[at] = (all / along).min(at_most);
        }
    }
    state
}

/// Solves for continuous cells from `start` on.
pub(super) fn solve(layout: &Layout, start: &State, effort: Effort) -> Solved {
    let Proposal { point: mut step, mut residual } = propose(layout, start, effort.tolerance);
    let mut plain = step.clone();
    let mut solved = Solved { best: start.clone(), residual, iterations: 1 };
    let mut anderson = Anderson::default();
    let mut damping = 1.0;
    while residual > effort.tolerance && solved.iterations < effort.max_iterations {
        let state = state_at(layout, step);
        solved.iterations += 1;
        let proposal = propose(layout, &state, effort.tolerance);
        residual = proposal.residual;
        if residual > SETBACK * solved.residual {
            damping *= 0.5;
            if damping < MIN_DAMPING {
                break;
            }
            anderson = Anderson::default();
            step = between(&point(&solved.best), &plain, damping);
            continue;
        }
        if residual < solved.residual {
            damping = (2.0 * damping).min(1.0);
            plain = proposal.point.clone();
            solved = Solved { best: state.clone(), residual, ..solved };
        }
        let here = point(&state);
        let mixed = anderson.mix(&here, proposal.point, layout.pairs.len());
        step = between(&here, &mixed, damping);
    }
    solved
}

/// Differences and gains in one row.
fn point(state: &State) -> Vec<f64> {
    state.d.iter().chain(&state.gains).copied().collect()
}

fn between(from: &[f64], to: &[f64], share: f64) -> Vec<f64> {
    from.iter().zip(to).map(|(from, to)| from + share * (to - from)).collect()
}

/// The state at a point, moved into its bounds.
fn state_at(layout: &Layout, mut point: Vec<f64>) -> State {
    let mut gains = point.split_off(layout.pairs.len());
    for (gain, rule) in gains.iter_mut().zip(&layout.gains) {
        *gain = match *rule {
            GainRule::Given(given) => given,
            GainRule::UpTo { at_most, .. } => gain.clamp(MIN_GAIN * at_most, at_most),
        };
    }
    for (d, pair) in point.iter_mut().zip(&layout.pairs) {
        let (lo, hi) = pair.bounds(layout.ends);
        *d = d.clamp(lo, hi);
    }
    let worth = layout.true_worth(&point);
    State { d: point, gains, worth }
}
