//! What each conversion of a tile senses: the weights it sums drives with.

use std::ops::Range;

use ndarray::{Array2, s};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Chip, Subtract};
use nvcim_ir::tiled::{MatrixLayer, RowSpan, Terminal};

use crate::cut::{Cut, split};

/// One conversion of a tile: a readout before it has a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// The tile's column; the one behind the last is the reference column.
    pub(super) col: u32,
    /// The slice.
    pub(super) slice: u32,
    /// The rows driven.
    pub(super) rows: RowSpan,
    /// What is converted.
    pub(super) terminal: Terminal,
}

/// The conversions of a tile, by column, slice and rows, positive before negative.
#[derive(Debug, Clone)]
pub(super) struct Sensed {
    pub(super) slots: Vec<Slot>,
    /// Normalised current per full-scale drive, `[conversions, rows]`; 0 for rows at rest.
    pub(super) weights: Array2<f32>,
}

/// The conversions of a cut whose cells sit at the reachable conductances of its weights.
pub(super) fn sense_cut(layer: &MatrixLayer, cut: &Cut, chip: &Chip) -> Sensed {
    let code = WeightCode::new(chip);
    let slots = list_slots(chip, &code, cut.rows.len(), cut.cols.len());
    let lanes = encode_cut(layer, cut, &code);
    let mut weights = Array2::zeros((slots.len(), cut.rows.len()));
    for (slot, mut weights) in slots.iter().zip(weights.outer_iter_mut()) {
        let lane = slot.col as usize * code.n_slices() + slot.slice as usize;
        for row in slot.rows.range() {
            let (plus, minus) = lanes[(row, lane)];
            let siemens = match slot.terminal {
                Terminal::Pair => plus - minus,
                Terminal::Plus => plus,
                Terminal::Minus => minus,
            };
            weights[row] = (siemens / chip.cell.g_max) as f32;
        }
    }
    Sensed { slots, weights }
}

/// Conductances of a cut, (positive, negative) in siemens, `[rows, lanes]`; a reference column's lanes
/// follow those of the matrix.
fn encode_cut(layer: &MatrixLayer, cut: &Cut, code: &WeightCode) -> Array2<(f64, f64)> {
    let weights = layer.weights(cut.rows.clone(), cut.cols.clone());
    let n_slices = code.n_slices();
    let n_cols = cut.cols.len() + usize::from(code.has_reference());
    let mut lanes = Array2::from_elem((cut.rows.len(), n_cols * n_slices), (0.0, 0.0));
    let ranges = &layer.ranges[cut.cols.clone()];
    for row in 0..cut.rows.len() {
        for col in 0..n_cols {
            // A reference column holds weights of 0.
            let weight = weights.get((row, col)).zip(ranges.get(col));
            let share = |(&weight, &range): (&f32, &f32)| f64::from(weight) / f64::from(range);
            let weight = weight.map_or(0.0, share);
            let mut lanes = lanes.slice_mut(s![row, col * n_slices..(col + 1) * n_slices]);
            lanes.iter_mut().zip(code.encode(weight)).for_each(|(lane, cells)| *lane = cells);
        }
    }
    lanes
}

/// The conversions of a tile of this size.
pub(super) fn list_slots(
    chip: &Chip,
    code: &WeightCode,
    n_rows: usize,
    n_cols: usize,
) -> Vec<Slot> {
    let each: &[Terminal] = match (code.is_paired(), chip.arrays.subtract) {
        (false, _) => &[Terminal::Plus],
        (true, Subtract::Analog) => &[Terminal::Pair],
        (true, Subtract::Digital) => &[Terminal::Plus, Terminal::Minus],
    };
    let parts: Vec<RowSpan> =
        split(n_rows, chip.arrays.rows_at_once(n_rows)).map(span_of).collect();
    let mut slots = Vec::new();
    for col in 0..(n_cols + usize::from(code.has_reference())) as u32 {
        for slice in 0..code.n_slices() as u32 {
            for &rows in &parts {
                slots.extend(each.iter().map(|&terminal| Slot { col, slice, rows, terminal }));
            }
        }
    }
    slots
}

fn span_of(rows: Range<usize>) -> RowSpan {
    RowSpan { start: rows.start as u32, end: rows.end as u32 }
}
