//! A program made ready for a solver: without fixed variables and empty rows, its numbers near 1.

use super::check::Answer;
use super::outer::RawAnswer;
use super::{LinearProgram, Relation, Row, Unsolved};

/// How far a row without variables may miss its right-hand side, relative to what was taken out of it.
const EMPTY_ROW_TOLERANCE: f64 = 1e-9;

/// A program with the way back to the one it came from.
pub(super) struct Reduced {
    /// Bounds and cost of each variable that is left.
    pub(super) variables: Vec<(f64, f64, f64)>,
    /// Rows over those.
    pub(super) rows: Vec<Row>,
    /// Which variable of the original each one is.
    original_variable: Vec<usize>,
    /// Which row of the original each one is, and what it was divided by.
    original_row: Vec<(usize, f64)>,
    /// What the objective was divided by.
    cost_scale: f64,
}

/// Takes fixed variables out and scales rows and objective.
///
/// A variable that is NaN-free and has `lo <= hi` is expected of every variable: the statement was checked.
pub(super) fn reduce(program: &LinearProgram) -> Result<Reduced, Unsolved> {
    let mut place = vec![None; program.variables.len()];
    let mut original_variable = Vec::new();
    for (index, variable) in program.variables.iter().enumerate() {
        if variable.lo < variable.hi {
            place[index] = Some(original_variable.len());
            original_variable.push(index);
        }
    }
    let kept = || original_variable.iter().map(|&index| &program.variables[index]);
    let cost_scale = largest(kept().map(|it| it.cost));
    let variables = kept().map(|it| (it.lo, it.hi, it.cost / cost_scale)).collect();

    let (mut rows, mut original_row) = (Vec::new(), Vec::new());
    for (at, row) in program.rows.iter().enumerate() {
        let (row, fixed) = without_fixed(program, row, &place);
        if row.terms.is_empty() {
            check_empty(&row, fixed)?;
            continue;
        }
        let scale = largest(row.terms.iter().map(|term| term.1));
        let terms = row.terms.iter().map(|&(index, factor)| (index, factor / scale)).collect();
        rows.push(Row { terms, relation: row.relation, rhs: row.rhs / scale });
        original_row.push((at, scale));
    }
    Ok(Reduced { variables, rows, original_variable, original_row, cost_scale })
}

/// The row over the variables that are left, and the magnitude of what moved to its right-hand side.
fn without_fixed(program: &LinearProgram, row: &Row, place: &[Option<usize>]) -> (Row, f64) {
    let mut res = Row { terms: Vec::new(), relation: row.relation, rhs: row.rhs };
    let mut magnitude = row.rhs.abs();
    for &(index, factor) in &row.terms {
        match place[index] {
            Some(kept) => res.terms.push((kept, factor)),
            None => {
                let moved = factor * program.variables[index].lo;
                res.rhs -= moved;
                magnitude += moved.abs();
            }
        }
    }
    (res, magnitude)
}

/// Whether `0` compares with the right-hand side as the row demands.
fn check_empty(row: &Row, magnitude: f64) -> Result<(), Unsolved> {
    let missed = match row.relation {
        Relation::AtMost => -row.rhs,
        Relation::AtLeast => row.rhs,
        Relation::Equal => row.rhs.abs(),
    };
    if missed > EMPTY_ROW_TOLERANCE * magnitude { Err(Unsolved::Infeasible) } else { Ok(()) }
}

/// The largest magnitude, 1 where all are 0.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    let res = values.fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if res > 0.0 { res } else { 1.0 }
}

impl Reduced {
    /// The solver's answer in terms of the original program.
    pub(super) fn expand(&self, program: &LinearProgram, raw: RawAnswer) -> Answer {
        let mut values: Vec<_> = program.variables.iter().map(|it| it.lo).collect();
        for (&index, value) in self.original_variable.iter().zip(raw.values) {
            values[index] = value;
        }
        let duals = raw.duals.map(|duals| {
            let mut res = vec![0.0; program.rows.len()];
            for (&(at, scale), dual) in self.original_row.iter().zip(duals) {
                res[at] = dual * self.cost_scale / scale;
            }
            res
        });
        Answer { values, duals }
    }
}
