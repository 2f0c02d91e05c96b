//! Exchanges that lower the cost of an assignment, and the prices that prove there are none.
//!
//! Notation: rows on columns with capacities, `c` the cost. Moving some row from column `j` to column `k` changes the
//! cost by `w_jk = min over rows i on j of (c_ik - c_ij)` at best. A cycle of such moves is an exchange; so is a path
//! that ends on a column with room, which a further node, the *pool*, closes: it leads to every column at no cost,
//! and every column with room leads to it.
//!
//! An assignment is cheapest if and only if no cycle has a negative length. Then shortest distances from the pool are
//! prices `v`: `v_j <= 0`, `v_j = 0` where there is room, and every row sits on a column that minimises `c_ij - v_j`.
//! They solve the dual program, which bounds the cost from below.
//!
//! Source: M. Klein, "A primal method for minimal cost flows", Management Science 14, 1967, doi 10.1287/mnsc.14.3.205;
//! the search is the one of Bellman and Ford.

use ndarray::Array2;

use crate::assign::row_dual;
use crate::sum::exact_sum;

/// Paths that are shorter by less than this, relative to the largest cost in use, are rounding.
const NOISE: f64 = 1e-13;

/// What the pool and the columns lead to, and by which row.
struct Moves {
    /// `w_jk`; infinite where no row on `j` may go to `k`.
    length: Array2<f64>,
    /// The row that moves.
    mover: Array2<usize>,
}

/// Makes exchanges until none lowers the cost, and returns the assignment with a lower bound on any one's cost.
///
/// `cost` is infinite for pairs that may not meet; `col_of_row` meets none of these and keeps to `capacity`.
pub(super) fn improve(
    cost: &Array2<f64>,
    capacity: &[usize],
    mut col_of_row: Vec<usize>,
) -> (Vec<usize>, f64) {
    let total =
        |cols: &[usize]| exact_sum(cols.iter().enumerate().map(|(row, &col)| cost[[row, col]]));
    loop {
        let used = col_of_row.iter().enumerate().map(|(row, &col)| cost[[row, col]].abs());
        let noise = NOISE * used.fold(0.0, f64::max);
        let moves = find_moves(cost, capacity, &col_of_row);
        let (cycle, prices) = search(&moves, noise);
        let exchanged = cycle.map(|nodes| exchange(&moves, &nodes, &col_of_row));
        match exchanged.filter(|cols| total(cols) < total(&col_of_row)) {
            Some(better) => col_of_row = better,
            None => return (col_of_row, bound_of_prices(cost, capacity, &prices)),
        }
    }
}

/// All moves; node `n_cols` is the pool.
fn find_moves(cost: &Array2<f64>, capacity: &[usize], col_of_row: &[usize]) -> Moves {
    let n_cols = capacity.len();
    let mut length = Array2::from_elem((n_cols + 1, n_cols + 1), f64::INFINITY);
    let mut mover = Array2::zeros((n_cols + 1, n_cols + 1));
    let mut n_held = vec![0; n_cols];
    for (row, &from) in col_of_row.iter().enumerate() {
        n_held[from] += 1;
        for to in (0..n_cols).filter(|&to| to != from) {
            let change = cost[[row, to]] - cost[[row, from]];
            if change < length[[from, to]] {
                length[[from, to]] = change;
                mover[[from, to]] = row;
            }
        }
    }
    for col in 0..n_cols {
        length[[n_cols, col]] = 0.0;
        if n_held[col] < capacity[col] {
            length[[col, n_cols]] = 0.0;
        }
    }
    Moves { length, mover }
}

/// Looks for shortest paths from the pool, and returns the cycle of negative length that it meets, if any, with the
/// distances of all columns.
fn search(moves: &Moves, noise: f64) -> (Option<Vec<usize>>, Vec<f64>) {
    let n_nodes = moves.length.nrows();
    let mut distance = vec![f64::INFINITY; n_nodes];
    let mut before = vec![None; n_nodes];
    distance[n_nodes - 1] = 0.0;
    let mut cycle = None;
    // Without noise, paths of `n_nodes` moves hold a cycle. Steps below the noise may put that off for ever.
    for _ in 0..2 * n_nodes {
        let mut changed = false;
        for from in (0..n_nodes).rev() {
            for to in 0..n_nodes {
                let length = distance[from] + moves.length[[from, to]];
                if length < distance[to] - noise {
                    (distance[to], before[to]) = (length, Some(from));
                    changed = true;
                }
            }
        }
        cycle = find_cycle(&before);
        if !changed || cycle.is_some() {
            break;
        }
    }
    distance.pop();
    (cycle, distance)
}

/// A cycle of `before`, in the order of moves.
fn find_cycle(before: &[Option<usize>]) -> Option<Vec<usize>> {
    let mut seen_from = vec![None; before.len()];
    for start in 0..before.len() {
        let mut at = start;
        while seen_from[at].is_none() {
            seen_from[at] = Some(start);
            let Some(next) = before[at] else { break };
            at = next;
        }
        let is_closed = seen_from[at] == Some(start) && before[at].is_some();
        if is_closed {
            return Some(cycle_through(before, at));
        }
    }
    None
}

/// The cycle of `before` that `node` lies on, in the order of moves.
fn cycle_through(before: &[Option<usize>], node: usize) -> Vec<usize> {
    let mut res = vec![node];
    let mut at = before[node].expect("a cycle goes on");
    while at != node {
        res.push(at);
        at = before[at].expect("a cycle goes on");
    }
    res.reverse();
    res
}

/// The assignment after every column of a cycle has handed a row on to the next.
fn exchange(moves: &Moves, nodes: &[usize], col_of_row: &[usize]) -> Vec<usize> {
    let pool = moves.length.nrows() - 1;
    let mut res = col_of_row.to_vec();
    for (&from, &to) in nodes.iter().zip(nodes.iter().cycle().skip(1)) {
        if from != pool && to != pool {
            res[moves.mover[[from, to]]] = to;
        }
    }
    res
}

/// The objective of the best dual solution with these prices.
fn bound_of_prices(cost: &Array2<f64>, capacity: &[usize], prices: &[f64]) -> f64 {
    let prices: Vec<_> = prices.iter().map(|it| it.min(0.0)).collect();
    let row_duals = cost.outer_iter().map(|costs| row_dual(costs, &prices));
    let col_duals = prices.iter().zip(capacity).map(|(price, &capacity)| price * capacity as f64);
    exact_sum(row_duals.chain(col_duals))
}
