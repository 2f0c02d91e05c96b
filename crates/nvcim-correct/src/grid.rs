//! The places of an array: where a matrix row and a copy of a matrix column can go.
//!
//! A *row place* is a word line, or two where pairs sit on rows; a *column place* is as many neighbouring
//! bit lines as one copy of a column takes. Spare lines are places like all others, reserved ones are none.

use std::ops::Range;

use nvcim_chip::closest::StuckPair;
use nvcim_chip::describe::{Chip, PairAxis, SignCoding};
use nvcim_ir::ids::ArrayId;
use nvcim_ir::tiled::Wiring;

use crate::faults::Faults;

/// The places of a chip's arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Places for matrix rows.
    pub(crate) n_rows: usize,
    /// Places for copies of matrix columns.
    pub(crate) n_cols: usize,
    n_slices: usize,
    /// Pairs on neighbouring columns, on neighbouring rows, on two arrays; none for single cells.
    pairs: Option<PairAxis>,
}

impl Grid {
    pub(crate) fn new(chip: &Chip) -> Self {
        let arrays = &chip.arrays;
        let pairs = (chip.weights.sign == SignCoding::Pairs).then_some(arrays.pairs);
        let n_slices = chip.weights.significance.len();
        let lines = |all: usize, reserved: usize, axis| {
            all.saturating_sub(reserved) / if pairs == Some(axis) { 2 } else { 1 }
        };
        Self {
            n_rows: lines(arrays.n_rows, arrays.reserved_rows, PairAxis::Rows),
            n_cols: lines(arrays.n_cols, arrays.reserved_cols, PairAxis::Columns) / n_slices,
            n_slices,
            pairs,
        }
    }

    /// Word lines of the positive and the negative cells.
    fn row_lines(&self, place: usize) -> [u32; 2] {
        let place = place as u32;
        if self.pairs == Some(PairAxis::Rows) { [2 * place, 2 * place + 1] } else { [place; 2] }
    }

    /// Bit lines of the positive and the negative cells of a slice.
    fn col_lines(&self, place: usize, slice: usize) -> [u32; 2] {
        let lane = (place * self.n_slices + slice) as u32;
        if self.pairs == Some(PairAxis::Columns) { [2 * lane, 2 * lane + 1] } else { [lane; 2] }
    }

    /// What the cells of a copy of a weight at a row and a column place are stuck at, slice by slice.
    pub(crate) fn stuck_at(
        &self,
        faults: &Faults,
        row: usize,
        col: usize,
    ) -> impl Iterator<Item = StuckPair> {
        let [plus_row, minus_row] = self.row_lines(row);
        let at = move |slice| {
            let [plus_col, minus_col] = self.col_lines(col, slice);
            let minus = || faults.minus.get(minus_row, minus_col);
            (faults.plus.get(plus_row, plus_col), self.pairs.and_then(|_| minus()))
        };
        (0..self.n_slices).map(at)
    }

    /// The row and column places with a stuck cell, ascending.
    pub(crate) fn stuck_places(&self, faults: &Faults) -> Vec<(usize, usize)> {
        let per = |axis| if self.pairs == Some(axis) { 2 } else { 1 };
        let (per_row, per_col) = (per(PairAxis::Rows), per(PairAxis::Columns) * self.n_slices);
        let alone = Faults { plus: faults.plus.clone(), ..Faults::default() };
        let faults = if self.pairs.is_some() { faults } else { &alone };
        let mut places: Vec<_> = faults
            .cells()
            .map(|(row, col)| (row as usize / per_row, col as usize / per_col))
            .filter(|&(row, col)| row < self.n_rows && col < self.n_cols)
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The row and column places of a tile as mapping wired it: neighbours, the first ones first.
    pub(crate) fn places_of(&self, wiring: &Wiring) -> (Range<usize>, Range<usize>) {
        let per = |axis| if self.pairs == Some(axis) { 2 } else { 1 };
        let places = |lines: &[u32], per_place: usize, len: usize| {
            let first = lines.first().map_or(0, |&line| line as usize / per_place);
            first..first + len
        };
        let Wiring { plus_rows, plus_cols, .. } = wiring;
        let rows = places(plus_rows, per(PairAxis::Rows), plus_rows.len());
        let n_cols = plus_cols.len() / self.n_slices;
        (rows, places(plus_cols, per(PairAxis::Columns) * self.n_slices, n_cols))
    }

    /// The wiring of rows at `rows` and of columns whose copies sit at `cols`, `[columns][copies]`, as many
    /// copies for all of them.
    ///
    /// Copies are slices: copy `c` of slice `k` is slice `c n_slices + k`.
    pub(crate) fn wire(
        &self,
        rows: &[usize],
        cols: &[Vec<usize>],
        minus_array: Option<ArrayId>,
    ) -> Wiring {
        let copies = cols.first().map_or(1, Vec::len);
        let row_lines = |side: usize| rows.iter().map(|&row| self.row_lines(row)[side]).collect();
        let col_lines = |side: usize| {
            let places = cols.iter().flatten();
            let lane = |&place: &usize| {
                (0..self.n_slices).map(move |slice| self.col_lines(place, slice)[side])
            };
            places.flat_map(lane).collect()
        };
        let paired = self.pairs.is_some();
        Wiring {
            n_slices: (copies * self.n_slices) as u32,
            plus_rows: row_lines(0),
            minus_rows: if paired { row_lines(1) } else { Vec::new() },
            plus_cols: col_lines(0),
            minus_cols: if paired { col_lines(1) } else { Vec::new() },
            minus_array,
        }
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::closest::StuckPair;
    use nvcim_chip::describe::PairAxis;
    use nvcim_chip::presets::find_preset;

    use super::Grid;
    use crate::faults::{FaultMap, Faults};

    #[test]
    fn copies_of_a_column_are_slices_of_it() {
        let grid = Grid::new(&find_preset("stress-a").unwrap());
        assert_eq!((grid.n_rows, grid.n_cols), (128, 128));
        let wiring = grid.wire(&[3, 0], &[vec![5, 1], vec![0, 2]], None);
        assert_eq!(wiring.n_slices, 2);
        assert_eq!(wiring.plus_rows, [3, 0]);
        assert_eq!(wiring.plus_cols, [10, 2, 0, 4]);
        assert_eq!(wiring.minus_cols, [11, 3, 1, 5]);
        assert_eq!(wiring.lane(1, 1), 3);
    }

    #[test]
    fn places_are_found_again_from_lines() {
        for pairs in [PairAxis::Columns, PairAxis::Rows, PairAxis::Arrays] {
            let mut chip = find_preset("stress-a").unwrap();
            chip.arrays.pairs = pairs;
            chip.weights.significance = vec![1.0; 3];
            let grid = Grid::new(&chip);
            let wiring = grid.wire(&[5, 6, 7], &[vec![4], vec![5]], None);
            assert_eq!(grid.places_of(&wiring), (5..8, 4..6));
        }
    }

    #[test]
    fn a_stuck_cell_spoils_the_place_of_its_pair() {
        let mut chip = find_preset("stress-a").unwrap();
        chip.arrays.pairs = PairAxis::Rows;
        let stuck: FaultMap = [((4, 7), 1e-5)].into_iter().collect();
        let faults = Faults { plus: stuck.clone(), minus: stuck };
        let grid = Grid::new(&chip);
        assert_eq!(grid.stuck_places(&faults), [(2, 7)]);
        // On rows, line 4 is the positive one of place 2; its negative cell is on line 5.
        let stuck_at = |row, col| grid.stuck_at(&faults, row, col).collect::<Vec<StuckPair>>();
        assert_eq!(stuck_at(2, 7), [(Some(1e-5), None)]);
        assert_eq!(stuck_at(2, 6), [(None, None)]);
    }
}
