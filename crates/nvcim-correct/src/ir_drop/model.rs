//! The cheap model of a group, right at one point: solved for the wanted values and the largest gain.
//!
//! With `est(d)` the pairs' worth by the estimate and `c` its error at the present point, the model is
//! `est(d) + c`. Each pair moves along its own slope, `T / g` of the cell that moves; what it does to
//! others is seen in the next step. Slopes of cells at 0 S come from a conductance too small to matter.

use crate::ir_drop::headroom::{Span, largest_gain};
use crate::ir_drop::layout::{GainRule, Hold, Layout, Pair, Place, State};

/// The most steps of one solution.
const MAX_STEPS: usize = 40;

/// A solution's error over the error at its start; the model itself is hardly better.
const ACCURACY: f64 = 0.03;

/// A share of a cell's largest conductance that draws no current to speak of.
const TRACE: f64 = 1e-9;

/// A gain changes by at most this factor in one step, so that a poor model far from the solution cannot
/// throw it to 0.
const MAX_GAIN_CHANGE: f64 = 2.0;

/// What the model that is right at a state asks for.
pub(super) struct Proposal {
    /// Differences, then gains.
    pub(super) point: Vec<f64>,
    /// How far each pair's worth was from what the model asks of it first, over what is wanted
    /// (Frobenius): 0 at a solution, whatever is out of reach.
    pub(super) residual: f64,
}

/// The estimate at some differences.
struct Sight {
    /// What each pair is worth.
    worth: Vec<f64>,
    /// By pair, what its positive and its negative cell add per siemens.
    slopes: Vec<(f64, f64)>,
}

/// Looks at the estimate.
fn look(layout: &Layout, d: &[f64]) -> Sight {
    let mut cells = layout.conductances(d);
    let trace = TRACE * layout.ends.1;
    for g in &mut cells {
        g.mapv_inplace(|g| g.max(trace));
    }
    let transfer = layout.estimated_transfer(&cells);
    let slope =
        |at: Place| transfer[at.array][[at.col, at.row]] / cells[at.array][[at.row, at.col]];
    let of_pair = |pair: &Pair| (slope(pair.plus), pair.minus.map_or(0.0, slope));
    let slopes = layout.pairs.iter().map(of_pair).collect();
    Sight { worth: layout.worth(&transfer), slopes }
}

/// A pair's worth as a function of its `d` alone: straight on both sides of `d = 0`.
struct Line {
    /// At `d = 0`.
    zero: f64,
    below: f64,
    above: f64,
    /// The bounds of `d`.
    bounds: (f64, f64),
    /// The worth at the bounds.
    reach: (f64, f64),
}

impl Line {
    /// Through `worth` at `d`.
    fn through(pair: &Pair, ends: (f64, f64), d: f64, worth: f64, slopes: (f64, f64)) -> Self {
        let (plus, minus) = slopes;
        let (below, above) = match pair.hold {
            Hold::Free => (minus, plus),
            Hold::Single | Hold::MinusStuck(_) => (plus, plus),
            Hold::PlusStuck(_) => (minus, minus),
            // Any slope would do: such a pair has one `d`.
            Hold::Stuck(..) => (1.0, 1.0),
        };
        let zero = worth - d * if d > 0.0 { above } else { below };
        let bounds = pair.bounds(ends);
        let mut line = Self { zero, below, above, bounds, reach: (worth, worth) };
        if bounds.0 < bounds.1 {
            line.reach = (line.at(bounds.0), line.at(bounds.1));
        }
        line
    }

    fn at(&self, d: f64) -> f64 {
        self.zero + d * if d > 0.0 { self.above } else { self.below }
    }

    /// The `d` in bounds that comes nearest to `worth`.
    fn solve(&self, worth: f64) -> f64 {
        let missing = worth - self.zero;
        let d = missing / if missing > 0.0 { self.above } else { self.below };
        d.clamp(self.bounds.0, self.bounds.1)
    }
}

/// The lines of all pairs at `d`, where they are worth the estimate plus an offset each.
fn lines(layout: &Layout, sight: &Sight, offset: &[f64], d: &[f64]) -> Vec<Line> {
    let line = |at: usize| {
        let worth = sight.worth[at] + offset[at];
        Line::through(&layout.pairs[at], layout.ends, d[at], worth, sight.slopes[at])
    };
    (0..layout.pairs.len()).map(line).collect()
}

/// The lines of all pairs at a state.
fn lines_at(layout: &Layout, state: &State) -> Vec<Line> {
    let sight = look(layout, &state.d);
    let offset = minus(&state.worth, &sight.worth);
    lines(layout, &sight, &offset, &state.d)
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Solves the model that is right at `state` for the wanted values and the largest gains; stops at once
/// where the state is a solution to `tolerance`.
pub(super) fn propose(layout: &Layout, state: &State, tolerance: f64) -> Proposal {
    let (mut d, mut gains) = (state.d.clone(), state.gains.clone());
    let mut sight = look(layout, &d);
    let offset = minus(&state.worth, &sight.worth);
    let mut first = None;
    for _ in 0..MAX_STEPS {
        let lines = lines(layout, &sight, &offset, &d);
        set_gains(layout, &lines, &mut gains);
        let residual = step(layout, &lines, &gains, &mut d);
        let first = *first.get_or_insert(residual);
        if first <= tolerance || residual <= ACCURACY * first {
            break;
        }
        sight = look(layout, &d);
    }
    d.extend(gains);
    Proposal { point: d, residual: first.unwrap_or(0.0) }
}

/// Moves every pair along its line, and says by how much of what is wanted.
fn step(layout: &Layout, lines: &[Line], gains: &[f64], d: &mut [f64]) -> f64 {
    let (mut moved, mut all) = (0.0, 0.0);
    for ((pair, line), d) in layout.pairs.iter().zip(lines).zip(d) {
        let target = gains[pair.gain] * pair.wanted;
        let next = line.solve(target);
        let change = line.at(next) - line.at(*d);
        moved += change * change;
        all += target * target;
        *d = next;
    }
    layout.relative(moved, all)
}

/// Sets each gain to the largest that its rule allows.
fn set_gains(layout: &Layout, lines: &[Line], gains: &mut [f64]) {
    for (at, rule) in layout.gains.iter().enumerate() {
        gains[at] = match *rule {
            GainRule::Given(gain) => gain,
            GainRule::UpTo { at_most, allowance } => {
                let span = |&pair: &usize| {
                    let (lo, hi) = lines[pair].reach;
                    let Pair { wanted, hold, .. } = layout.pairs[pair];
                    let is_free = matches!(hold, Hold::Free | Hold::Single);
                    Span { lo, hi, wanted, is_free }
                };
                let spans: Vec<_> = layout.members[at].iter().map(span).collect();
                let (least, most) = (gains[at] / MAX_GAIN_CHANGE, gains[at] * MAX_GAIN_CHANGE);
                largest_gain(&spans, at_most, allowance).clamp(least, most)
            }
        };
    }
}

/// The least and most that each pair could be worth alone with all others as they are.
pub(super) fn boxes(layout: &Layout, state: &State) -> Vec<(f64, f64)> {
    lines_at(layout, state).iter().map(|line| line.reach).collect()
}

/// The differences at which each pair alone would be right.
pub(super) fn wanted_differences(layout: &Layout, state: &State) -> Vec<f64> {
    let lines = lines_at(layout, state);
    let wanted = |(pair, line): (&Pair, &Line)| line.solve(state.gains[pair.gain] * pair.wanted);
    layout.pairs.iter().zip(&lines).map(wanted).collect()
}
