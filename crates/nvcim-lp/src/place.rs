//! Assignments with side constraints, stated as linear programs: rows pinned to a column, pairs forbidden, columns
//! that take several rows or none.
//!
//! Phases:
//!
//! 1. Pins and forbidden pairs become infinite costs. Where every column takes at most one row, what is left is a pure
//!    assignment and goes to [`crate::assign::assign`].
//! 2. Else the linear program `min sum c_ij x_ij` over `sum_j x_ij = 1` and `sum_i x_ij <= capacity_j`. Its vertices
//!    are integral, the answer of an interior-point method in general is not: among equally good assignments it
//!    returns their mean.
//! 3. *Rounding*: the pairs with `x_ij` above noise hold at least one whole assignment (an optimal one, if `x` is
//!    optimal). The cheapest in them is found as a pure assignment, a column being written down as often as it may be
//!    taken. Nothing is perturbed to break ties.
//! 4. *Certificate* ([`residual`]): shortest paths between columns find every exchange that would still lower the cost;
//!    it is made. When there is none, path lengths are prices that bound the cost from below. Thus the answer's quality
//!    rests on no solver's tolerance.
//!
//! Cost: the program's, plus `O(n m)` and one shortest path search over columns per exchange found.

mod residual;

use ndarray::{Array2, ArrayView2};

use crate::assign::{Assignment, assign};
use crate::program::{LinearProgram, Relation, Solver, Unsolved};

/// Shares of a row below this are noise of an interior-point method.
const NOISE: f64 = 1e-6;

/// What an assignment must obey. The default demands distinct columns and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Pairs of row and column that may not meet; infinite costs say the same.
    pub forbidden: Vec<(usize, usize)>,
    /// Rows that sit on a given column, as pairs of row and column.
    pub pinned: Vec<(usize, usize)>,
    /// How many rows each column takes; empty for one each.
    pub capacity: Vec<u32>,
}

/// Finds the cheapest assignment of every row to a column that obeys `rules`.
///
/// `cost` is `[n_rows, n_cols]`. An entry that is not finite is forbidden. With a capacity above 1, `solver` solves the
/// program, and [`Assignment::col_of_row`] may name a column more than once.
///
/// # Errors
/// [`Unsolved::Infeasible`] where no assignment obeys the rules, [`Unsolved::Failed`] where rules name a row or column
/// that is not there.
pub fn place(
    cost: ArrayView2<'_, f64>,
    rules: &Rules,
    solver: Solver,
) -> Result<Assignment, Unsolved> {
    let (n_rows, n_cols) = cost.dim();
    check_rules(rules, n_rows, n_cols)?;
    // No column can take more than all rows.
    let most = u32::try_from(n_rows).unwrap_or(u32::MAX);
    let capacity: Vec<usize> = match &rules.capacity[..] {
        [] => vec![1; n_cols],
        given => given.iter().map(|&it| it.min(most) as usize).collect(),
    };
    let allowed = allowed_costs(cost, rules, &capacity);
    if capacity.iter().all(|&it| it <= 1) {
        return assign(allowed.view()).ok_or(Unsolved::Infeasible);
    }
    let shares = solve_shares(&allowed, &capacity, solver)?;
    let rounded = round(&allowed, &capacity, &shares)?;
    let (col_of_row, bound) = residual::improve(&allowed, &capacity, rounded);
    Ok(Assignment::new(allowed.view(), col_of_row, bound))
}

fn check_rules(rules: &Rules, n_rows: usize, n_cols: usize) -> Result<(), Unsolved> {
    if let Some((row, col)) = rules
        .forbidden
        .iter()
        .chain(&rules.pinned)
        .find(|(row, col)| *row >= n_rows || *col >= n_cols)
    {
        let text = format!("a rule names row {row} and column {col} of {n_rows} and {n_cols}");
        return Err(Unsolved::Failed(text));
    }
    if !rules.capacity.is_empty() && rules.capacity.len() != n_cols {
        let text = format!("{} capacities for {n_cols} columns", rules.capacity.len());
        return Err(Unsolved::Failed(text));
    }
    Ok(())
}

/// The costs, infinite for every pair that the rules exclude.
fn allowed_costs(cost: ArrayView2<'_, f64>, rules: &Rules, capacity: &[usize]) -> Array2<f64> {
    let mut res = cost.mapv(|it| if it.is_finite() { it } else { f64::INFINITY });
    for (col, _) in capacity.iter().enumerate().filter(|(_, capacity)| **capacity == 0) {
        res.column_mut(col).fill(f64::INFINITY);
    }
    for &pair in &rules.forbidden {
        res[pair] = f64::INFINITY;
    }
    for &(row, col) in &rules.pinned {
        // Two pins of one row leave nothing, as they should.
        let kept = res[[row, col]];
        res.row_mut(row).fill(f64::INFINITY);
        res[[row, col]] = kept;
    }
    res
}

/// The share of each pair in the solution of the program.
fn solve_shares(
    cost: &Array2<f64>,
    capacity: &[usize],
    solver: Solver,
) -> Result<Array2<f64>, Unsolved> {
    let mut program = LinearProgram::new();
    let pairs: Vec<_> = cost
        .indexed_iter()
        .filter(|(_, cost)| cost.is_finite())
        .map(|(pair, &cost)| (pair, program.add_variable(0.0, 1.0, cost)))
        .collect();
    let mut of_row = vec![Vec::new(); cost.nrows()];
    let mut of_col = vec![Vec::new(); cost.ncols()];
    for &((row, col), variable) in &pairs {
        of_row[row].push((variable, 1.0));
        of_col[col].push((variable, 1.0));
    }
    for terms in &of_row {
        program.add_row(terms, Relation::Equal, 1.0);
    }
    for (terms, &capacity) in of_col.iter().zip(capacity) {
        if terms.len() > capacity {
            program.add_row(terms, Relation::AtMost, capacity as f64);
        }
    }
    let solution = program.solve(solver)?;
    let mut res = Array2::zeros(cost.dim());
    for (pair, variable) in pairs {
        res[pair] = solution.value(variable);
    }
    Ok(res)
}

/// The cheapest whole assignment among pairs that have a share.
///
/// With a threshold of `1 / (4 n m)` the shares left out sum up to a quarter of one row at most, so that any set of rows
/// still finds as many places (Hall's condition).
fn round(
    cost: &Array2<f64>,
    capacity: &[usize],
    shares: &Array2<f64>,
) -> Result<Vec<usize>, Unsolved> {
    let threshold = NOISE.min(0.25 / cost.len().max(1) as f64);
    let places: Vec<usize> =
        capacity.iter().enumerate().flat_map(|(col, &n)| std::iter::repeat_n(col, n)).collect();
    let support = Array2::from_shape_fn((cost.nrows(), places.len()), |(row, place)| {
        let pair = [row, places[place]];
        if shares[pair] > threshold { cost[pair] } else { f64::INFINITY }
    });
    let rounded = assign(support.view()).ok_or(Unsolved::Inexact { violation: threshold })?;
    Ok(rounded.col_of_row.into_iter().map(|place| places[place]).collect())
}
