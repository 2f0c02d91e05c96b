//! What no packing can go below.
//!
//! With `a` the weights of a matrix, `w` the most columns and `h` the most rows that a tile of it can have on a
//! site of `R x C` weights:
//!
//! * cells: sites hold `R C` weights each, so there are at least `sum a / (R C)`;
//! * rows: tiles that run at once share no row. A tile of `r` rows holds at most `r w` weights, so a matrix
//!   takes at least `a / w` rows, and there are at least `sum (a / w) / R` sites;
//! * columns: likewise `sum (a / h) / C`.
//!
//! The last two are the dual of the linear program that asks for nothing but rows and columns, at prices of
//! one resource alone, where its optimum lies. Matrices that read the same inputs count as one, since they may
//! share rows. A reference column makes room scarcer for any tile, so leaving it out keeps the bound valid.

use std::collections::BTreeMap;

use nvcim_chip::describe::Pack;

use super::{Matrix, Space};
use crate::cut::Room;

/// What rounding may do to a sum of quotients: far more than it does.
const ROUNDING: f64 = 1e-9;

pub(super) fn bound_sites(matrices: &[Matrix], space: Space, mode: Pack) -> usize {
    let Room { n_rows, n_cols } = space.room();
    let cells = matrices.iter().map(Matrix::n_weights).sum::<usize>().div_ceil(n_rows * n_cols);
    if mode != Pack::Concurrent {
        return cells;
    }
    let widths = widths(matrices);
    let (mut rows, mut cols) = (0.0, 0.0);
    for matrix in matrices {
        let (_, height, _) = matrix.blocks;
        rows += matrix.n_weights() as f64 / matrix.width(&widths).min(n_cols) as f64;
        cols += matrix.n_weights() as f64 / height.min(n_rows) as f64;
    }
    let sites = |lines: f64, per_site: usize| {
        let sites = lines / per_site as f64;
        (sites * (1.0 - ROUNDING)).ceil() as usize
    };
    cells.max(sites(rows, n_rows)).max(sites(cols, n_cols))
}

/// Columns of all matrices that share rows, by what drives them.
fn widths(matrices: &[Matrix]) -> BTreeMap<usize, usize> {
    let mut widths = BTreeMap::new();
    for matrix in matrices.iter().filter(|matrix| matrix.blocks.0 == 1) {
        *widths.entry(matrix.drives).or_default() += matrix.blocks.2;
    }
    widths
}

impl Matrix {
    fn n_weights(&self) -> usize {
        let (groups, n_rows, n_cols) = self.blocks;
        groups * n_rows * n_cols
    }

    /// Columns that share rows with one of its own.
    fn width(&self, widths: &BTreeMap<usize, usize>) -> usize {
        if self.blocks.0 == 1 { widths[&self.drives] } else { self.blocks.2 }
    }
}
