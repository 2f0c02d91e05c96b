//! What a lab can measure of one die: fault map, column gain and offset, read-back.
//!
//! `crate::die_file` reads and writes it. The hidden rest of a simulated die is drawn from its seed and
//! never stands here.

use ndarray::Array2;
use nvcim_ir::ids::{ArrayId, IdVec};

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
