//! The cheapest assignment of rows to distinct columns, by shortest augmenting paths.
//!
//! Notation: `c` is the cost, `n` rows, `m >= n` columns. The linear program and its dual are
//!
//! ```text
//! min  sum c_ij x_ij    sum_j x_ij = 1,  sum_i x_ij <= 1,  x >= 0
//! max  sum u_i + sum v_j    u_i + v_j <= c_ij,  v <= 0       (v of any sign where n = m)
//! ```
//!
//! The solver keeps a price `v_j` per column under which every assigned row sits on a column that is cheapest for
//! it, `c_ij - v_j` being what column j costs row i; columns that are not assigned keep the price 0.
//!
//! Phases:
//!
//! 1. *Column reduction*, square costs only: every price becomes the smallest cost of its column.
//! 2. *Auction*: a free row takes its cheapest column, lowers that column's price until the second cheapest is as
//!    good, and thereby frees the row that sat there. This settles most rows; a budget of steps ends it.
//! 3. *Paths*: for every row still free, Dijkstra's algorithm finds the cheapest chain of moves that ends on a
//!    column nobody holds; prices of the columns passed are lowered by what the chain saved on them.
//! 4. *Certificate*: the prices, with `u_i` found anew and rounded down, are a feasible solution of the dual. Its
//!    objective bounds the cost of every assignment from below, whatever went wrong before.
//!
//! Ties go to the column found first, and columns are searched in a fixed order: the same cost gives the same
//! assignment.
//!
//! Cost: `O(n^2 m)` at worst, close to `O(n m)` where the auction settles nearly all rows.
//!
//! Source: R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
//! problems", Computing 38, 1987, doi 10.1007/BF02278710; for more columns than rows D. F. Crouse, "On implementing
//! 2D rectangular assignment algorithms", IEEE Transactions on Aerospace and Electronic Systems 52, 2016,
//! doi 10.1109/TAES.2016.140952.

mod paths;

use std::collections::VecDeque;

use ndarray::ArrayView2;

use self::paths::{LANES, Paths, Step};
use crate::sum::{difference_below, exact_sum};

/// Steps that the auction may take per row before paths take over.
const AUCTION_STEPS_PER_ROW: usize = 4;

/// Every row on a column of its own, with what bounds the cost from below.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The column of each row.
    pub col_of_row: Vec<usize>,
    /// Sum of the costs of the chosen entries.
    pub cost: f64,
    /// No assignment costs less: the objective of a dual solution whose feasibility was checked entry by entry.
    pub bound: f64,
    /// Sum of the magnitudes of the chosen entries: what rounding errors are relative to.
    magnitude: f64,
}

impl Assignment {
    /// An assignment with its costs summed up, and the bound that somebody proved.
    pub(crate) fn new(cost: ArrayView2<'_, f64>, col_of_row: Vec<usize>, bound: f64) -> Self {
        let chosen = || col_of_row.iter().enumerate().map(|(row, &col)| cost[[row, col]]);
        let (total, magnitude) = (exact_sum(chosen()), exact_sum(chosen().map(f64::abs)));
        Self { col_of_row, cost: total, bound, magnitude }
    }

    /// How much the cost may exceed the smallest possible one, relative to the magnitudes of the chosen entries.
    ///
    /// With costs of one sign that is `(cost - bound) / |cost|`. Where costs of both signs cancel, their sum would be
    /// a divisor as small as its rounding error.
    pub fn gap(&self) -> f64 {
        (self.cost - self.bound) / self.magnitude.max(f64::MIN_POSITIVE)
    }
}

/// Finds the cheapest assignment of every row to a distinct column.
///
/// `cost` is `[n_rows, n_cols]`. An entry that is not finite is forbidden. `None` where no assignment exists, as with
/// more rows than columns.
pub fn assign(cost: ArrayView2<'_, f64>) -> Option<Assignment> {
    let (n_rows, n_cols) = cost.dim();
    if n_rows > n_cols {
        return None;
    }
    let costs = Costs::new(cost);
    let mut search = Search::new(&costs);
    if n_rows == n_cols {
        search.reduce_columns();
    }
    let mut paths = Paths::new(costs.width);
    for row in search.run_auction() {
        search.augment(row, &mut paths)?;
    }
    let bound = bound_of_prices(&costs, &search.price);
    let col_of_row =
        search.col_of_row.into_iter().map(|col| col.expect("every row was augmented")).collect();
    Some(Assignment::new(cost, col_of_row, bound))
}

/// The cost matrix, row after row, with forbidden columns added until a row fills whole lanes.
struct Costs {
    /// Finite, or infinite where forbidden.
    entries: Vec<f64>,
    n_rows: usize,
    n_cols: usize,
    /// Columns with the added ones.
    width: usize,
}

impl Costs {
    fn new(cost: ArrayView2<'_, f64>) -> Self {
        let (n_rows, n_cols) = cost.dim();
        let width = n_cols.next_multiple_of(LANES);
        let mut entries = vec![f64::INFINITY; n_rows * width];
        for (row, costs) in cost.outer_iter().enumerate() {
            for (entry, &cost) in entries[row * width..].iter_mut().zip(costs) {
                *entry = if cost.is_finite() { cost } else { f64::INFINITY };
            }
        }
        Self { entries, n_rows, n_cols, width }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.entries[row * self.width..][..self.width]
    }
}

/// The assignment so far and the prices under which it is optimal.
struct Search<'a> {
    costs: &'a Costs,
    /// `v_j`: what using column j takes off the cost, at most 0 unless costs are square.
    price: Vec<f64>,
    col_of_row: Vec<Option<usize>>,
    row_of_col: Vec<Option<usize>>,
}

/// The two cheapest columns of a row.
struct Cheapest {
    first: (usize, f64),
    second: (usize, f64),
}

impl<'a> Search<'a> {
    fn new(costs: &'a Costs) -> Self {
        Self {
            costs,
            price: vec![0.0; costs.width],
            col_of_row: vec![None; costs.n_rows],
            row_of_col: vec![None; costs.width],
        }
    }

    /// Prices every column at its smallest cost. A column without any finite cost keeps the price 0.
    fn reduce_columns(&mut self) {
        let mut smallest = vec![f64::INFINITY; self.costs.width];
        for row in 0..self.costs.n_rows {
            for (least, &cost) in smallest.iter_mut().zip(self.costs.row(row)) {
                *least = least.min(cost);
            }
        }
        for (price, least) in self.price.iter_mut().zip(smallest) {
            *price = if least.is_finite() { least } else { 0.0 };
        }
    }

    /// All rows, those first that lose most on an average column against their cheapest one.
    ///
    /// Whoever comes later and has less to lose rarely drives them out again: with costs near a product of row and
    /// column factors nearly every path is one move long.
    fn rows_by_stake(&self) -> Vec<usize> {
        let stakes = (0..self.costs.n_rows).map(|row| {
            let finite = || self.costs.row(row).iter().copied().filter(|it| it.is_finite());
            let mean = finite().sum::<f64>() / (finite().count().max(1) as f64);
            (row, mean - finite().fold(mean, f64::min))
        });
        let mut res: Vec<_> = stakes.collect();
        res.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        res.into_iter().map(|(row, _)| row).collect()
    }

    /// Lets free rows outbid each other, and returns the rows that hold no column at the end.
    fn run_auction(&mut self) -> Vec<usize> {
        let n_rows = self.costs.n_rows;
        let mut free = VecDeque::from(self.rows_by_stake());
        let mut left = Vec::new();
        for _ in 0..AUCTION_STEPS_PER_ROW * n_rows {
            let Some(row) = free.pop_front() else { break };
            let Cheapest { first, second } = self.cheapest_columns(row);
            if !second.1.is_finite() {
                // With one column or none to go to there is no second price: the paths decide.
                left.push(row);
                continue;
            }
            let is_tie = first.1 == second.1;
            let taken = self.row_of_col[first.0].is_some();
            let col = if is_tie && taken { second.0 } else { first.0 };
            self.price[first.0] -= second.1 - first.1;
            match self.take(row, col) {
                Some(outbid) if is_tie => left.push(outbid),
                Some(outbid) => free.push_front(outbid),
                None => {}
            }
        }
        left.extend(free);
        left
    }

    /// Gives `col` to `row` and returns the row that held it.
    fn take(&mut self, row: usize, col: usize) -> Option<usize> {
        self.col_of_row[row] = Some(col);
        let outbid = self.row_of_col[col].replace(row);
        if let Some(other) = outbid {
            self.col_of_row[other] = None;
        }
        outbid
    }

    /// The two columns that cost `row` least under the prices; an infinite cost where there are none.
    fn cheapest_columns(&self, row: usize) -> Cheapest {
        let mut res = Cheapest { first: (0, f64::INFINITY), second: (0, f64::INFINITY) };
        for (col, (cost, price)) in self.costs.row(row).iter().zip(&self.price).enumerate() {
            let reduced = cost - price;
            if reduced < res.second.1 {
                res.second = (col, reduced);
                if reduced < res.first.1 {
                    std::mem::swap(&mut res.first, &mut res.second);
                }
            }
        }
        res
    }

    /// Moves rows along the cheapest chain that starts at the free row `start` and ends on a column nobody holds.
    ///
    /// `None` where no chain of finite cost ends.
    fn augment(&mut self, start: usize, paths: &mut Paths) -> Option<()> {
        paths.restart(&self.price);
        let mut step = Step { row: start, offset: 0.0 };
        let (end, length) = loop {
            paths.relax(self.costs, step);
            let (col, length) = paths.settle_nearest(&self.row_of_col)?;
            let Some(row) = self.row_of_col[col] else { break (col, length) };
            // Row `row` sits on `col`, the cheapest for it: what it would pay elsewhere counts from there.
            step = Step { row, offset: length - (self.costs.row(row)[col] - self.price[col]) };
        };
        for (row, col) in paths.trace_back(self.costs, &self.price, end, length) {
            self.row_of_col[col] = Some(row);
            self.col_of_row[row] = Some(col);
        }
        paths.lower_prices(&mut self.price, length);
        Some(())
    }
}

/// The objective of the best dual solution with these prices, rounded down.
///
/// Prices above 0 are feasible only where every column is used; with more columns than rows they are cut to 0. `u_i`
/// is the largest number that no entry of its row violates: `u_i + v_j <= c_ij` holds exactly, not to rounding.
fn bound_of_prices(costs: &Costs, price: &[f64]) -> f64 {
    let is_square = costs.n_rows == costs.n_cols;
    let price: Vec<_> = price.iter().map(|&it| if is_square { it } else { it.min(0.0) }).collect();
    let row_duals = (0..costs.n_rows).map(|row| row_dual(costs.row(row), &price));
    exact_sum(row_duals.chain(price.iter().copied()))
}

/// The largest `u` with `u + v_j <= c_j` for all columns: exactly, not to rounding.
pub(crate) fn row_dual<'a>(costs: impl IntoIterator<Item = &'a f64>, price: &[f64]) -> f64 {
    let reduced = costs.into_iter().zip(price).map(|(&cost, &price)| difference_below(cost, price));
    reduced.fold(f64::INFINITY, f64::min)
}
