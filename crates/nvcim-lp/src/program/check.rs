//! Whether an answer is one: rows evaluated again, and a bound from whatever dual values came with it.
//!
//! For any `y` with `y <= 0` at rows that are at most their right-hand side and `y >= 0` at those that are at least,
//! and `d = c - y A`, every feasible `x` has
//!
//! ```text
//! c x  =  y A x + d x  >=  y b + sum over j of min(d_j lo_j, d_j hi_j)
//! ```
//!
//! so wrong dual values make the bound weaker, never false. Source: A. Neumaier and O. Shcherbina, "Safe bounds in
//! linear and mixed-integer linear programming", Mathematical Programming 99, 2004, doi 10.1007/s10107-003-0433-3.

use super::{Bounded, LinearProgram, Relation, Row, Solution, Unsolved};
use crate::sum::exact_sum;

/// Rows may be missed by this much, see [`Solution::violation`].
const ROW_TOLERANCE: f64 = 1e-7;

/// The objective may exceed its bound by this much, see [`Solution::gap`].
const GAP_TOLERANCE: f64 = 1e-6;

/// A direction counts as unhindered by rows that it misses by this much per unit of its length.
const RAY_TOLERANCE: f64 = 1e-6;

/// How far out, relative to the answer, a bound reaches that stands in for an infinite one.
const REACH: f64 = 10.0;

/// What a solver says of the original program.
pub(super) struct Answer {
    /// One value per variable, perhaps outside its bounds.
    pub(super) values: Vec<f64>,
    /// One dual value per row, where the solver tells them.
    pub(super) duals: Option<Vec<f64>>,
}

/// Turns an answer into a solution, or says what is wrong with it.
pub(super) fn judge(program: &LinearProgram, answer: Answer) -> Result<Solution, Unsolved> {
    let Answer { values: raw, duals } = answer;
    if raw.iter().chain(duals.iter().flatten()).any(|it| !it.is_finite()) {
        return Err(Unsolved::Failed(
            "the solver answered with a number that is not finite".into(),
        ));
    }
    let variables = || program.variables.iter();
    let values: Vec<_> =
        raw.iter().zip(variables()).map(|(it, of)| it.clamp(of.lo, of.hi)).collect();
    let terms = || variables().zip(&values).map(|(of, value)| of.cost * value);
    let largest_cost = variables().fold(0.0, |largest: f64, of| largest.max(of.cost.abs()));
    let bound_within = |box_of: &dyn Fn(&Bounded, f64) -> (f64, f64)| {
        duals.as_deref().map(|duals| dual_bound(program, duals, &values, box_of))
    };
    let solution = Solution {
        objective: exact_sum(terms()),
        bound: bound_within(&finite_box),
        violation: worst_violation(program, &values),
        magnitude: largest_cost + exact_sum(terms().map(f64::abs)),
        values: values.clone(),
    };
    // Acceptance asks about the neighbourhood alone: in a very wide box rounding of the dual values adds up, while a
    // better point anywhere would show as a better point nearby.
    let gap_nearby = Solution { bound: bound_within(&nearby_box), ..solution.clone() }.gap();
    let gap_nearby = gap_nearby.unwrap_or(0.0);
    if solution.violation <= ROW_TOLERANCE && gap_nearby <= GAP_TOLERANCE {
        return Ok(solution);
    }
    if is_falling_ray(program, &raw) {
        return Err(Unsolved::Unbounded);
    }
    Err(Unsolved::Inexact { violation: solution.violation.max(gap_nearby) })
}

/// What a row's terms sum up to.
fn evaluate(row: &Row, values: &[f64]) -> f64 {
    exact_sum(row.terms.iter().map(|&(index, factor)| factor * values[index]))
}

/// By how much a sum misses a right-hand side.
fn missed(relation: Relation, sum: f64, rhs: f64) -> f64 {
    match relation {
        Relation::AtMost => (sum - rhs).max(0.0),
        Relation::AtLeast => (rhs - sum).max(0.0),
        Relation::Equal => (sum - rhs).abs(),
    }
}

fn largest_factor(row: &Row) -> f64 {
    row.terms.iter().fold(0.0, |largest: f64, term| largest.max(term.1.abs()))
}

fn worst_violation(program: &LinearProgram, values: &[f64]) -> f64 {
    let relative = |row: &Row| {
        let size = largest_factor(row) + row.rhs.abs();
        missed(row.relation, evaluate(row, values), row.rhs) / size.max(f64::MIN_POSITIVE)
    };
    program.rows.iter().map(relative).fold(0.0, f64::max)
}

/// The variable's bounds, with stand-ins for infinite ones.
fn finite_box(variable: &Bounded, value: f64) -> (f64, f64) {
    let reach = REACH * value.abs().max(1.0);
    let lo = if variable.lo.is_finite() { variable.lo } else { value - reach };
    let hi = if variable.hi.is_finite() { variable.hi } else { value + reach };
    (lo, hi)
}

/// The part of the variable's bounds that is near its value.
fn nearby_box(variable: &Bounded, value: f64) -> (f64, f64) {
    let reach = REACH * value.abs().max(1.0);
    (variable.lo.max(value - reach), variable.hi.min(value + reach))
}

/// The bound that dual values prove for all points within a box.
fn dual_bound(
    program: &LinearProgram,
    duals: &[f64],
    values: &[f64],
    box_of: &dyn Fn(&Bounded, f64) -> (f64, f64),
) -> f64 {
    let mut reduced: Vec<_> = program.variables.iter().map(|it| it.cost).collect();
    let mut parts = Vec::with_capacity(duals.len() + values.len());
    for (row, &dual) in program.rows.iter().zip(duals) {
        let dual = match row.relation {
            Relation::AtMost => dual.min(0.0),
            Relation::AtLeast => dual.max(0.0),
            Relation::Equal => dual,
        };
        parts.push(dual * row.rhs);
        for &(index, factor) in &row.terms {
            reduced[index] -= dual * factor;
        }
    }
    for ((variable, &value), cost) in program.variables.iter().zip(values).zip(reduced) {
        let (lo, hi) = box_of(variable, value);
        parts.push((cost * lo).min(cost * hi));
    }
    exact_sum(parts)
}

/// Whether going on along `direction` lowers the objective for ever without leaving rows or bounds.
fn is_falling_ray(program: &LinearProgram, direction: &[f64]) -> bool {
    let length = direction.iter().fold(0.0, |longest: f64, it| longest.max(it.abs()));
    if length == 0.0 {
        return false;
    }
    let ray: Vec<_> = direction.iter().map(|it| it / length).collect();
    let stays_in_bounds = program.variables.iter().zip(&ray).all(|(variable, &step)| {
        (variable.lo == f64::NEG_INFINITY || step >= -RAY_TOLERANCE)
            && (variable.hi == f64::INFINITY || step <= RAY_TOLERANCE)
    });
    let stays_in_rows = program.rows.iter().all(|row| {
        missed(row.relation, evaluate(row, &ray), 0.0) <= RAY_TOLERANCE * largest_factor(row)
    });
    let fall = exact_sum(program.variables.iter().zip(&ray).map(|(it, step)| -it.cost * step));
    let steepest = program.variables.iter().fold(0.0, |most: f64, it| most.max(it.cost.abs()));
    stays_in_bounds && stays_in_rows && fall > RAY_TOLERANCE * steepest
}
