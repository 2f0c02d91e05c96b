//! Which cells of an array a tile takes up, and which of its weights have a stuck cell.

use std::collections::{BTreeMap, BTreeSet};

use nvcim_chip::record::StuckCell;
use nvcim_ir::ids::ArrayId;
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_ir::tiled::Wiring;

/// Cells of consecutive word lines and bit lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rectangle {
    /// The first word line.
    pub(super) row: u32,
    /// The first bit line.
    pub(super) col: u32,
    /// Word lines.
    pub(super) n_rows: u32,
    /// Bit lines.
    pub(super) n_cols: u32,
}

impl Rectangle {
    /// Whether the cell lies inside.
    pub(super) fn holds(&self, row: u32, col: u32) -> bool {
        let along = |at: u32, first: u32, len: u32| at >= first && at - first < len;
        along(row, self.row, self.n_rows) && along(col, self.col, self.n_cols)
    }

    /// The smallest rectangle that holds all; `None` for none.
    pub(super) fn round(all: &[Self]) -> Option<Self> {
        let row = all.iter().map(|it| it.row).min()?;
        let col = all.iter().map(|it| it.col).min()?;
        let n_rows = all.iter().map(|it| it.row + it.n_rows).max()? - row;
        let n_cols = all.iter().map(|it| it.col + it.n_cols).max()? - col;
        Some(Self { row, col, n_rows, n_cols })
    }
}

/// The cells on `array` that a tile whose positive cells sit on `home` uses, as rectangles. Lines at most
/// `gap` apart count as consecutive.
pub(super) fn outline(wiring: &Wiring, home: ArrayId, array: ArrayId, gap: u32) -> Vec<Rectangle> {
    let here = wiring.sides(home).into_iter().filter(|side| side.0 == array);
    match here.map(|(_, rows, cols)| (rows, cols)).collect::<Vec<_>>()[..] {
        [(rows, cols), (other_rows, other_cols)] if rows == other_rows => {
            cross(&runs(&[rows], gap), &runs(&[cols, other_cols], gap))
        }
        [(rows, cols), (other_rows, other_cols)] if cols == other_cols => {
            cross(&runs(&[rows, other_rows], gap), &runs(&[cols], gap))
        }
        ref sides => sides
            .iter()
            .flat_map(|(rows, cols)| cross(&runs(&[rows], gap), &runs(&[cols], gap)))
            .collect(),
    }
}

/// The number of cells on `array` of a tile whose positive cells sit on `home`.
pub(super) fn count_cells(wiring: &Wiring, home: ArrayId, array: ArrayId) -> usize {
    let here = wiring.sides(home).into_iter().filter(|side| side.0 == array);
    here.map(|(_, rows, cols)| rows.len() * cols.len()).sum()
}

/// First line and number of lines of every run of lines at most `gap` apart.
fn runs(lines: &[&[u32]], gap: u32) -> Vec<(u32, u32)> {
    let lines: BTreeSet<u32> = lines.iter().copied().flatten().copied().collect();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((first, len)) if line - (*first + *len - 1) <= gap => {
                *len = line - *first + 1;
            }
            _ => runs.push((line, 1)),
        }
    }
    runs
}

fn cross(rows: &[(u32, u32)], cols: &[(u32, u32)]) -> Vec<Rectangle> {
    let beside = |&(row, n_rows): &(u32, u32)| {
        cols.iter().map(move |&(col, n_cols)| Rectangle { row, col, n_rows, n_cols })
    };
    rows.iter().flat_map(beside).collect()
}

/// The column of a tile that a lane belongs to; `None` for those of its reference column.
pub(super) fn weight_of(tile: &ProgrammedTile, lane: usize) -> Option<usize> {
    Some(lane / tile.wiring.n_slices as usize).filter(|&col| col < tile.cols.len())
}

/// The number of weights of a tile with at least one stuck cell.
pub(super) fn count_stuck_weights<'a>(
    tile: &ProgrammedTile,
    stuck: impl Fn(ArrayId) -> &'a [StuckCell],
) -> usize {
    let index = |lines: &[u32]| -> BTreeMap<u32, usize> {
        lines.iter().enumerate().map(|(place, &line)| (line, place)).collect()
    };
    let mut weights = BTreeSet::new();
    for (array, rows, cols) in tile.wiring.sides(tile.array) {
        let (rows, cols) = (index(rows), index(cols));
        weights.extend(stuck(array).iter().filter_map(|cell| {
            let lane = *cols.get(&cell.col)?;
            Some((*rows.get(&cell.row)?, weight_of(tile, lane)?))
        }));
    }
    weights.len()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use nvcim_chip::record::StuckCell;
    use nvcim_ir::ids::{ArrayId, Id};
    use nvcim_ir::programmed::{ProgrammedTile, Targets};
    use nvcim_ir::tiled::Wiring;

    use super::{Rectangle, count_stuck_weights, outline};

    fn home() -> ArrayId {
        ArrayId::new(0)
    }

    fn pairs_on_columns(rows: &[u32], first_col: u32, n_cols: u32) -> Wiring {
        let cols = |side: u32| (0..n_cols).map(|col| first_col + 2 * col + side).collect();
        Wiring {
            n_slices: 1,
            minus_array: None,
            plus_rows: rows.to_vec(),
            minus_rows: rows.to_vec(),
            plus_cols: cols(0),
            minus_cols: cols(1),
        }
    }

    #[test]
    fn neighbouring_pairs_make_one_rectangle() {
        let all = outline(&pairs_on_columns(&[4, 3, 5], 6, 4), home(), home(), 1);
        assert_eq!(all, [Rectangle { row: 3, col: 6, n_rows: 3, n_cols: 8 }]);
    }

    #[test]
    fn gaps_that_would_not_be_seen_are_closed() {
        let wiring = pairs_on_columns(&[0, 1, 4, 9], 0, 1);
        assert_eq!(outline(&wiring, home(), home(), 1).len(), 3);
        assert_eq!(outline(&wiring, home(), home(), 3).len(), 2);
        assert_eq!(outline(&wiring, home(), home(), 5).len(), 1);
    }

    #[test]
    fn sides_apart_are_drawn_apart() {
        let wiring = Wiring {
            n_slices: 1,
            minus_array: None,
            plus_rows: vec![0, 1],
            minus_rows: vec![8, 9],
            plus_cols: vec![0, 1, 2],
            minus_cols: vec![5, 6, 7],
        };
        assert_eq!(outline(&wiring, home(), home(), 1).len(), 2);
        let round = Rectangle::round(&outline(&wiring, home(), home(), 1));
        assert_eq!(round, Some(Rectangle { row: 0, col: 0, n_rows: 10, n_cols: 8 }));
        assert_eq!(Rectangle::round(&[]), None);
    }

    #[test]
    fn a_weight_with_two_stuck_cells_counts_once() {
        let cell = |row, col| StuckCell { row, col, g: 0.0 };
        let stuck = [cell(2, 0), cell(2, 1), cell(2, 4), cell(7, 0)];
        let tile = |n_cols, n_slices| ProgrammedTile {
            layer: Id::new(0),
            array: home(),
            rows: 0..2,
            cols: 0..n_cols,
            wiring: Wiring { n_slices, ..pairs_on_columns(&[1, 2], 0, 3) },
            targets: Targets::Levels { plus: Array2::zeros((0, 0)), minus: Array2::zeros((0, 0)) },
            readouts: Vec::new(),
            drive_sum: Vec::new(),
            drive_shift: 0.0,
        };
        assert_eq!(count_stuck_weights(&tile(3, 1), |_| &stuck), 2);
        // The last column is a reference; all slices are one weight.
        assert_eq!(count_stuck_weights(&tile(2, 1), |_| &stuck), 1);
        assert_eq!(count_stuck_weights(&tile(1, 3), |_| &stuck), 1);
    }

    #[test]
    fn rectangles_cover_the_used_cells_and_no_others() {
        const N_LINES: u32 = 7;
        for subset in 1..1u32 << N_LINES {
            let rows: Vec<u32> = (0..N_LINES).filter(|row| subset >> row & 1 == 1).collect();
            for first_col in 0..2 {
                let all = outline(&pairs_on_columns(&rows, first_col, 2), home(), home(), 1);
                for (row, col) in
                    (0..N_LINES).flat_map(|row| (0..N_LINES).map(move |col| (row, col)))
                {
                    let used = rows.contains(&row) && (first_col..first_col + 4).contains(&col);
                    let covered = all.iter().filter(|it| it.holds(row, col)).count();
                    assert_eq!(
                        covered,
                        usize::from(used),
                        "{rows:?} from {first_col}: {row}, {col}"
                    );
                }
            }
        }
    }
}
