//! What no packing can go below.
//!
//! Sites of `R x C` weights hold `R C` weights each: in every mode there are at least `sum H W / (R C)` of them, for
//! matrices of `H x W`.
//!
//! Tiles that run at once share no row and no column, but for those of matrices that read the same inputs, which
//! may share rows and count as one matrix here. Let such a matrix take `r` rows and `c` columns of a site, and give
//! that the price `(r/R)^p (c/C)^(1-p)`, with any `p` from 0 to 1. By Hoelder's inequality the prices on a site add
//! up to `(sum r/R)^p (sum c/C)^(1-p)` at most, which is 1: the sum of all prices is a lower bound, the value of
//! one solution to the dual of the linear program over all configurations of sites. Rows alone are `p = 1`,
//! columns alone `p = 0`, and near the middle small leftovers cost more than their share of the weights.
//!
//! What a matrix costs at least, wherever it is cut: each of its columns is covered by tiles whose rows add up to
//! `H`, none with more than `R`. As `r^p` is concave, their `r^p` add up to at least
//! `f_p(H) = floor(H/R) R^p + (H mod R)^p`. A tile of `c` columns is met by `c` of them and costs each `1/c` of its
//! price, with `c` at most `c_max = min(W, C)`. So all tiles cost at least `W f_p(H) c_max^-p`, over `R^p C^(1-p)`;
//! and likewise, row by row, `H f_(1-p)(W) r_max^(p-1)`. The larger of both counts.
//!
//! Blocks of grouped layers share no line with each other: each is a matrix. A reference column makes room scarcer
//! for any tile, so leaving it out keeps the bound valid.

use std::collections::BTreeMap;

use nvcim_chip::describe::Pack;

use super::{Matrix, Space};
use crate::cut::Room;

/// Prices that are tried: `p` from 0 to 1 in as many steps.
const STEPS: u32 = 16;

/// What rounding may do to a sum of quotients and powers: far more than it does.
const ROUNDING: f64 = 1e-9;

pub(super) fn bound_sites(matrices: &[Matrix], space: Space, mode: Pack) -> usize {
    let Room { n_rows, n_cols } = space.room();
    let cells = matrices.iter().map(Matrix::n_weights).sum::<usize>().div_ceil(n_rows * n_cols);
    if mode != Pack::Concurrent {
        return cells;
    }
    let sheets = list_sheets(matrices);
    let priced = (0..=STEPS).map(|step| {
        let price = Price { p: f64::from(step) / f64::from(STEPS), room: space.room() };
        let sum: f64 = sheets.iter().map(|sheet| price.bound(sheet)).sum();
        (sum * (1.0 - ROUNDING)).ceil() as usize
    });
    priced.fold(cells, usize::max)
}

/// Matrices that share no line with any other.
struct Sheet {
    count: usize,
    n_rows: usize,
    n_cols: usize,
}

/// Blocks of grouped layers, and matrices that read the same inputs side by side.
fn list_sheets(matrices: &[Matrix]) -> Vec<Sheet> {
    let mut joined: BTreeMap<usize, Sheet> = BTreeMap::new();
    let mut sheets = Vec::new();
    for &Matrix { blocks: (count, n_rows, n_cols), drives } in matrices {
        if count == 1 {
            let sheet = joined.entry(drives).or_insert(Sheet { count, n_rows, n_cols: 0 });
            sheet.n_cols += n_cols;
        } else {
            sheets.push(Sheet { count, n_rows, n_cols });
        }
    }
    sheets.extend(joined.into_values());
    sheets
}

/// The price `(r/R)^p (c/C)^(1-p)` of `r` rows and `c` columns.
struct Price {
    p: f64,
    room: Room,
}

impl Price {
    /// What sheets cost at least.
    fn bound(&self, sheet: &Sheet) -> f64 {
        let Self { p, room } = *self;
        let q = 1.0 - p;
        let (height, width) = (sheet.n_rows as f64, sheet.n_cols as f64);
        let (most_rows, most_cols) = (room.n_rows as f64, room.n_cols as f64);
        let by_column =
            width * part(sheet.n_rows, room.n_rows, p) * libm::pow(width.min(most_cols), -p);
        let by_row =
            height * part(sheet.n_cols, room.n_cols, q) * libm::pow(height.min(most_rows), -q);
        let whole = libm::pow(most_rows, p) * libm::pow(most_cols, q);
        sheet.count as f64 * by_column.max(by_row) / whole
    }
}

/// The least sum of `r^p` over parts of a length, none above `most`.
fn part(length: usize, most: usize, p: f64) -> f64 {
    let rest = match length % most {
        0 => 0.0,
        rest => libm::pow(rest as f64, p),
    };
    (length / most) as f64 * libm::pow(most as f64, p) + rest
}

impl Matrix {
    fn n_weights(&self) -> usize {
        let (groups, n_rows, n_cols) = self.blocks;
        groups * n_rows * n_cols
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::Pack;

    use super::bound_sites;
    use crate::pack::{Matrix, Space};

    const SPACE: Space = Space { n_rows: 8, n_cols: 8, references: 0 };

    fn bound(blocks: &[(usize, usize, usize)]) -> usize {
        let matrix = |(drives, &blocks)| Matrix { blocks, drives };
        let matrices: Vec<_> = blocks.iter().enumerate().map(matrix).collect();
        bound_sites(&matrices, SPACE, Pack::Concurrent)
    }

    #[test]
    fn one_resource_alone_can_bind() {
        assert_eq!(bound(&[(1, 8, 1); 5]), 5, "rows");
        assert_eq!(bound(&[(1, 1, 8); 5]), 5, "columns");
        assert_eq!(bound(&[(1, 16, 16); 2]), 8, "cells");
        assert_eq!(bound(&[(4, 4, 4)]), 2, "blocks lie on a diagonal");
    }

    #[test]
    fn leftovers_cost_more_than_their_weights() {
        // 12x12 is a site, two halves and a quarter. The halves go with nothing, and 8 quarters make 4 sites.
        assert_eq!((8usize * 12 * 12).div_ceil(64), 18);
        let of_best = 8 * 3 + 4;
        let bound = bound(&[(1, 12, 12); 8]);
        assert!((20..=of_best).contains(&bound), "{bound}");
    }

    #[test]
    fn matrices_of_the_same_inputs_share_rows() {
        let matrix = |drives| Matrix { blocks: (1, 8, 4), drives };
        let bound = |drives: [usize; 2]| bound_sites(&drives.map(matrix), SPACE, Pack::Concurrent);
        assert_eq!((bound([0, 0]), bound([0, 1])), (1, 2));
    }
}
