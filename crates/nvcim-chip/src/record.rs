//! What a lab can measure of one die: fault map, column gain and offset, read-back.
//!
//! `crate::die_file` reads and writes it. The hidden rest of a simulated die is drawn from its seed and
//! never stands here.

use std::collections::BTreeSet;

use ndarray::Array2;
use nvcim_ir::ids::{ArrayId, IdVec};

use crate::describe::Arrays;

/// A cell that holds one conductance whatever is programmed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StuckCell {
    /// Physical word line.
    pub row: u32,
    /// Physical bit line.
    pub col: u32,
    /// The conductance it holds, in siemens; may lie outside the programmable range.
    pub g: f32,
}

/// The measurable part of one array.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArrayRecord {
    /// Stuck cells, by row, then column.
    pub stuck: Vec<StuckCell>,
    /// Gain of each bit line's converter, 1 for a perfect one; empty where not measured.
    pub column_gain: Vec<f32>,
    /// Offset of each bit line's converter, in LSB of the nominal range; empty where not measured.
    pub column_offset_lsb: Vec<f32>,
    /// Conductances read back, in siemens, `[rows, columns]`; absent where not measured.
    pub read_back: Option<Array2<f32>>,
}

impl ArrayRecord {
    /// Whether no cell can be written: every one off the reserved lines is known to be stuck.
    pub fn is_dead(&self, arrays: &Arrays) -> bool {
        let n_rows = arrays.n_rows.saturating_sub(arrays.reserved_rows);
        let n_cols = arrays.n_cols.saturating_sub(arrays.reserved_cols);
        if self.stuck.len() < n_rows * n_cols {
            return false;
        }
        let inside =
            |cell: &&StuckCell| (cell.row as usize) < n_rows && (cell.col as usize) < n_cols;
        let stuck = self.stuck.iter().filter(inside).map(|cell| (cell.row, cell.col));
        stuck.collect::<BTreeSet<_>>().len() == n_rows * n_cols
    }
}

/// The measurable part of one die.
#[derive(Debug, Clone, PartialEq)]
pub struct DieRecord {
    /// Name or serial number.
    pub name: String,
    /// The seed that drew it, and that draws its hidden part; `None` for a real die.
    pub seed: Option<u64>,
    /// Hash of the canonical chip description that it was made for.
    pub chip_hash: [u8; 32],
    /// Its arrays.
    pub arrays: IdVec<ArrayId, ArrayRecord>,
}

impl DieRecord {
    /// The arrays on which no cell can be written, ascending.
    pub fn dead_arrays(&self, arrays: &Arrays) -> Vec<ArrayId> {
        let dead = self.arrays.iter_enumerated().filter(|(_, array)| array.is_dead(arrays));
        dead.map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ArrayRecord, StuckCell};
    use crate::testing::plain_chip;

    #[test]
    fn an_array_is_dead_once_every_usable_cell_is_stuck() {
        let mut arrays = plain_chip().arrays;
        arrays.reserved_rows = 1;
        let lines = |n: usize| 0..n as u32;
        let cells = lines(arrays.n_rows - 1)
            .flat_map(|row| lines(arrays.n_cols).map(move |col| StuckCell { row, col, g: 0.0 }));
        let mut record = ArrayRecord { stuck: cells.collect(), ..ArrayRecord::default() };
        assert!(record.is_dead(&arrays));
        // A cell on a reserved line makes up for none, and neither does one that is named twice.
        let last = record.stuck.pop().expect("there are cells");
        assert!(!record.is_dead(&arrays));
        record.stuck.push(StuckCell { row: arrays.n_rows as u32 - 1, ..last });
        assert!(!record.is_dead(&arrays));
        record.stuck.push(record.stuck[0]);
        assert!(!record.is_dead(&arrays));
    }
}
