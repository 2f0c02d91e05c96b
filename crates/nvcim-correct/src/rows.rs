//! Rows and columns to places, and signs to columns: stuck cells go where they do least harm.
//!
//! In a place with stuck cells a weight `w` becomes the nearest that the place can hold, `clip(w)`. With
//! `e_i` the energy of input `i` (its variance: means are left to the bias), a matrix row `i` at place `p`
//! costs
//!
//! ```text
//! cost[i, p] = e_i sum_j a_j^2 (clip_pj(s_j w_ij / a_j) - s_j w_ij / a_j)^2
//! ```
//!
//! with `a_j` the weight that takes the whole range of column `j`, and `s_j` its sign. Rows are assigned to
//! places at least total cost, which is a linear program with an integral optimum; so are columns to their
//! places, with rows as they are; signs are chosen by comparison. The three are taken in turn: no turn can
//! make the sum worse. Idea of remapping rows round faults: L. Xia et al., DAC 2017,
//! doi 10.1145/3061639.3062248.

use ndarray::{Array2, ArrayView2};
use nvcim_lp::assign::assign;

use crate::grid::Grid;
use crate::piece::{Piece, excess};

/// Times that rows, signs and columns are gone through.
const TURNS: usize = 3;

/// What is wanted of a piece, and how much errors count.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Weights as shares of what takes the whole range, `[tile rows, columns]`.
    pub(crate) shares: Array2<f64>,
    /// Energies of the inputs, `[tile rows]`.
    pub(crate) energies: Vec<f64>,
    /// Squares of the weights that take the whole range, `[columns]`.
    pub(crate) worths: Vec<f64>,
}

/// What may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freedom {
    pub(crate) rows: bool,
    pub(crate) cols: bool,
    pub(crate) signs: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed {
    /// Weighted square error with everything where mapping put it.
    pub(crate) before: f64,
    /// The same now.
    pub(crate) after: f64,
    /// Largest relative gap between an assignment's cost and its certificate.
    pub(crate) gap: f64,
    /// Rows, copies of columns and signs that changed.
    pub(crate) changed: usize,
}

/// Moves what may move of a piece.
pub(crate) fn place(piece: &mut Piece, wish: &Wish, freedom: Freedom, grid: &Grid) -> Placed {
    let mapped = piece.clone();
    let before = total(piece, wish, grid);
    let mut gap = 0.0_f64;
    let spoiled = piece.site.spoiled.iter().any(|row| !row.is_empty());
    for _ in 0..if spoiled { TURNS } else { 0 } {
        let last = (piece.rows.clone(), piece.cols.clone(), piece.signs.clone());
        if freedom.cols {
            gap = gap.max(assign_cols(piece, wish, grid));
        }
        if freedom.rows {
            gap = gap.max(assign_rows(piece, wish, grid));
        }
        if freedom.signs {
            choose_signs(piece, wish, grid);
        }
        if last == (piece.rows.clone(), piece.cols.clone(), piece.signs.clone()) {
            break;
        }
    }
    let after = total(piece, wish, grid);
    if after >= before {
        *piece = mapped.clone();
    }
    let moved = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let flat = |cols: &[Vec<usize>]| cols.concat();
    let turned = piece.signs.iter().filter(|sign| **sign < 0.0).count();
    let changed =
        moved(&piece.rows, &mapped.rows) + moved(&flat(&piece.cols), &flat(&mapped.cols)) + turned;
    Placed { before, after: after.min(before), gap, changed }
}

/// The weighted square error of a piece as it is.
fn total(piece: &Piece, wish: &Wish, grid: &Grid) -> f64 {
    let cols = piece.cols_at_places(grid);
    let mut sum = 0.0;
    for (row, &place) in piece.rows.iter().enumerate() {
        for (col, reach) in piece.reaches_at(place, &cols) {
            let off = excess(wish.shares[(row, col)], reach);
            sum += wish.energies[row] * wish.worths[col] * off * off;
        }
    }
    sum
}

/// Assigns rows to places; answers with the gap.
fn assign_rows(piece: &mut Piece, wish: &Wish, grid: &Grid) -> f64 {
    let cols = piece.cols_at_places(grid);
    let shares = wish.shares.t().as_standard_layout().into_owned();
    let n_rows = piece.rows.len();
    let mut costs = Array2::zeros((grid.n_rows, n_rows));
    for (place, mut costs) in costs.outer_iter_mut().enumerate() {
        for (col, reach) in piece.reaches_at(place, &cols) {
            let worth = wish.worths[col];
            for (cost, &share) in costs.iter_mut().zip(shares.row(col)) {
                let off = excess(share, reach);
                *cost += worth * off * off;
            }
        }
        costs.iter_mut().zip(&wish.energies).for_each(|(cost, energy)| *cost *= energy);
    }
    let (order, gap) = assign_evenly(costs.t());
    if let Some(order) = order {
        piece.rows = order;
    }
    gap
}

/// Assigns copies of columns to places, one by one as if each stood alone; answers with the gap.
fn assign_cols(piece: &mut Piece, wish: &Wish, grid: &Grid) -> f64 {
    let copies = piece.copies();
    // What every column would cost at each place, whichever of its copies it is, `[places, columns]`.
    let mut alone = Array2::<f64>::zeros((grid.n_cols, piece.cols.len()));
    let mut signed = vec![0.0; piece.cols.len()];
    for (row, &place) in piece.rows.iter().enumerate() {
        let shares = wish.shares.row(row);
        for ((signed, share), sign) in signed.iter_mut().zip(shares).zip(&piece.signs) {
            *signed = sign * share;
        }
        for spoiled in &piece.site.spoiled[place] {
            let costs = alone.row_mut(spoiled.col);
            for ((cost, &share), worth) in costs.into_iter().zip(&signed).zip(&wish.worths) {
                let off = excess(share, spoiled.reach);
                *cost += wish.energies[row] * worth * off * off;
            }
        }
    }
    let costs = Array2::from_shape_fn((piece.cols.len() * copies, grid.n_cols), |(at, place)| {
        alone[(place, at / copies)]
    });
    let (order, gap) = assign_evenly(costs.view());
    if let Some(order) = order {
        piece.cols = order.chunks(copies).map(<[usize]>::to_vec).collect();
    }
    gap
}

/// A least-cost assignment and its gap; none where it is not possible.
fn assign_evenly(costs: ArrayView2<'_, f64>) -> (Option<Vec<usize>>, f64) {
    match assign(costs) {
        Some(assignment) => {
            let gap = assignment.gap();
            (Some(assignment.col_of_row), gap)
        }
        None => (None, 0.0),
    }
}

/// Turns the columns that are better held the other way round.
fn choose_signs(piece: &mut Piece, wish: &Wish, grid: &Grid) {
    let cols = piece.cols_at_places(grid);
    let mut gains = vec![0.0; piece.cols.len()];
    for (row, &place) in piece.rows.iter().enumerate() {
        for (col, reach) in piece.reaches_at(place, &cols) {
            let share = wish.shares[(row, col)];
            let (as_is, turned) = (excess(share, reach), excess(-share, reach));
            gains[col] += wish.energies[row] * (as_is * as_is - turned * turned);
        }
    }
    for (sign, gain) in piece.signs.iter_mut().zip(gains) {
        if gain > 0.0 {
            *sign = -*sign;
        }
    }
}
