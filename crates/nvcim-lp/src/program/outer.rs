//! The one place that talks to good_lp and the solvers behind it.
//!
//! Both are told the program in the same order. clarabel calls an answer solved that is only almost so, and one that is
//! a direction of unbounded descent; microlp tells no dual values. Neither is believed: see the checks.

use good_lp::solvers::clarabel::clarabel;
use good_lp::solvers::microlp::microlp;
use good_lp::variable::UnsolvedProblem;
use good_lp::{
    Constraint, DualValues, Expression, ProblemVariables, ResolutionError, SolutionWithDual,
    SolverModel, variable,
};

use super::reduce::Reduced;
use super::{Relation, Row, Solver, Unsolved};

/// Gap between primal and dual objective at which the interior-point method stops, relative and absolute. What
/// rounding leaves of it is for the checks to judge.
const INTERIOR_GAP: f64 = 1e-10;

/// What a solver says, unchecked.
pub(super) struct RawAnswer {
    /// One value per variable.
    pub(super) values: Vec<f64>,
    /// One dual value per row: the change of the objective per unit of its right-hand side.
    pub(super) duals: Option<Vec<f64>>,
}

/// Solves a reduced program.
pub(super) fn run(reduced: &Reduced, solver: Solver) -> Result<RawAnswer, Unsolved> {
    if reduced.variables.is_empty() {
        let duals = (solver == Solver::Interior).then(Vec::new);
        return Ok(RawAnswer { values: Vec::new(), duals });
    }
    let mut variables = ProblemVariables::new();
    let mut objective = Expression::with_capacity(reduced.variables.len());
    let mut handles = Vec::with_capacity(reduced.variables.len());
    for &(lo, hi, cost) in &reduced.variables {
        let handle = variables.add(variable().min(lo).max(hi));
        handles.push(handle);
        if cost != 0.0 {
            objective.add_mul(cost, handle);
        }
    }
    let problem = variables.minimise(objective);
    match solver {
        Solver::Vertex => run_vertex(problem, &handles, &reduced.rows),
        Solver::Interior => run_interior(problem, &handles, &reduced.rows),
    }
}

fn run_vertex(
    problem: UnsolvedProblem,
    handles: &[good_lp::Variable],
    rows: &[Row],
) -> Result<RawAnswer, Unsolved> {
    let mut model = problem.using(microlp);
    for row in rows {
        model.add_constraint(constraint(row, handles));
    }
    let solution = model.solve().map_err(unsolved)?;
    Ok(RawAnswer { values: values(&solution, handles), duals: None })
}

/// Equalities come last: clarabel works on one block per run of rows of a kind.
fn run_interior(
    problem: UnsolvedProblem,
    handles: &[good_lp::Variable],
    rows: &[Row],
) -> Result<RawAnswer, Unsolved> {
    let mut model = problem.using(clarabel);
    model.settings().tol_gap_abs(INTERIOR_GAP).tol_gap_rel(INTERIOR_GAP);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| rows[at].relation == Relation::Equal);
    let mut references = Vec::with_capacity(rows.len());
    for &at in &order {
        references.push((at, model.add_constraint(constraint(&rows[at], handles))));
    }
    let mut solution = model.solve().map_err(unsolved)?;
    let values = values(&solution, handles);
    let shadow_prices = solution.compute_dual();
    let mut duals = vec![0.0; rows.len()];
    for (at, reference) in references {
        duals[at] = shadow_prices.dual(reference);
    }
    Ok(RawAnswer { values, duals: Some(duals) })
}

fn constraint(row: &Row, handles: &[good_lp::Variable]) -> Constraint {
    let mut sum = Expression::with_capacity(row.terms.len());
    for &(index, factor) in &row.terms {
        sum.add_mul(factor, handles[index]);
    }
    match row.relation {
        Relation::AtMost => sum.leq(row.rhs),
        Relation::AtLeast => sum.geq(row.rhs),
        Relation::Equal => sum.eq(row.rhs),
    }
}

fn values(solution: &impl good_lp::Solution, handles: &[good_lp::Variable]) -> Vec<f64> {
    handles.iter().map(|&handle| solution.value(handle)).collect()
}

fn unsolved(error: ResolutionError) -> Unsolved {
    match error {
        ResolutionError::Infeasible => Unsolved::Infeasible,
        ResolutionError::Unbounded => Unsolved::Unbounded,
        other => Unsolved::Failed(format!("the solver gave up: {other}")),
    }
}
