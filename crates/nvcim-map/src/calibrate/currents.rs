//! What each conversion of a tile senses: the weights it sums drives with.

use std::ops::Range;

use ndarray::{Array2, Axis};
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
    let (n_rows, n_slices) = (cut.rows.len(), code.n_slices());
    let slots = list_slots(chip, &code, n_rows, cut.cols.len());
    let tile = layer.weights(cut.rows.clone(), cut.cols.clone());
    let ranges = &layer.ranges[cut.cols.clone()];
    let per_col = slots.len() / (cut.cols.len() + usize::from(code.has_reference()));
    let mut weights = Array2::zeros((slots.len(), n_rows));
    // Of one column, row by row and slice by slice.
    let mut cells: Vec<(f64, f64)> = Vec::with_capacity(n_rows * n_slices);
    let by_col = slots.chunks(per_col).zip(weights.axis_chunks_iter_mut(Axis(0), per_col));
    for (col, (slots, mut weights)) in by_col.enumerate() {
        cells.clear();
        match ranges.get(col).copied().map(f64::from) {
            Some(range) => tile
                .column(col)
                .iter()
                .for_each(|&weight| cells.extend(code.encode(f64::from(weight) / range))),
            // A reference column holds weights of 0.
            None => (0..n_rows).for_each(|_| cells.extend(code.encode(0.0))),
        }
        for (slot, mut weights) in slots.iter().zip(weights.rows_mut()) {
            for row in slot.rows.range() {
                let (plus, minus) = cells[row * n_slices + slot.slice as usize];
                let siemens = match slot.terminal {
                    Terminal::Pair => plus - minus,
                    Terminal::Plus => plus,
                    Terminal::Minus => minus,
                };
                weights[row] = (siemens / chip.cell.g_max) as f32;
            }
        }
    }
    Sensed { slots, weights }
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
