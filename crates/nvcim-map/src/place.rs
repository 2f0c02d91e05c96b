//! Giving each cut an array and its cells physical rows and columns: one tile per array, in order.
//!
//! Weights fill an array from row 0 and column 0; spare lines follow, reserved ones come last. A pair's
//! cells are neighbours: lines `2 i` and `2 i + 1` along the pair axis.

use nvcim_chip::describe::{Arrays, Chip, PairAxis};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, Id, IdVec, LayerId, TileId};
use nvcim_ir::tiled::{MatrixLayer, Readout, Tile, Wiring};

use crate::cut::{self, Cut, Room};

/// Cells of one pair.
const CELLS_PER_PAIR: usize = 2;

/// What a network takes up on a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Arrays used with one tile on each.
    pub arrays_needed: usize,
    /// Arrays below which no placement could go: cells of all blocks over usable cells of an array.
    pub arrays_bound: usize,
    /// Cells used by tiles, zeros between blocks on a tile included.
    pub cells_used: usize,
}

/// Counts arrays and cells.
pub fn count_demand(layers: &IdVec<LayerId, MatrixLayer>, cuts: &[Cut], room: Room) -> Demand {
    let weights: usize = layers.iter().map(|layer| layer.blocks.len()).sum();
    let on_tiles: usize = cuts.iter().map(|cut| cut.rows.len() * cut.cols.len()).sum();
    Demand {
        arrays_needed: cuts.len(),
        arrays_bound: weights.div_ceil(room.n_rows * room.n_cols),
        cells_used: CELLS_PER_PAIR * on_tiles,
    }
}

/// Checks that the chip has an array for every cut.
///
/// # Errors
/// One problem for the chip, with what each layer needs and what would fit.
pub fn check_fit(layers: &IdVec<LayerId, MatrixLayer>, cuts: &[Cut], chip: &Chip) -> Result<()> {
    let arrays = &chip.arrays;
    let Some(count) = arrays.count.filter(|&count| count < cuts.len()) else {
        return Ok(());
    };
    let mut needs = Vec::new();
    let mut first_out = None;
    let mut total = 0;
    for (id, layer) in layers.iter_enumerated() {
        let own = cuts.iter().filter(|cut| cut.layer == id).count();
        total += own;
        needs.push(format!("`{}` {own}", layer.name));
        if total > count && first_out.is_none() {
            first_out = Some(layer.name.as_str());
        }
    }
    let message = format!(
        "has {count} arrays of {}x{}, the network needs {}; layer `{}` is the first without room",
        arrays.n_rows,
        arrays.n_cols,
        cuts.len(),
        first_out.unwrap_or_default()
    );
    let mut problem = Diagnostic::unsupported(format!("chip `{}`", chip.name), message)
        .hint(format!("arrays needed by layer: {}", needs.join(", ")))
        .hint(format!("set the chip's `arrays.count` to at least {}", cuts.len()));
    if let Some((n_rows, n_cols)) = find_size_that_fits(layers, arrays, count) {
        problem = problem.hint(format!("or use arrays of {n_rows}x{n_cols}, of which {count} do"));
    }
    Err(problem.into())
}

/// The smallest array, in doublings of the chip's, of which `count` hold every layer.
fn find_size_that_fits(
    layers: &IdVec<LayerId, MatrixLayer>,
    arrays: &Arrays,
    count: usize,
) -> Option<(usize, usize)> {
    if layers.len() > count {
        return None;
    }
    let mut larger = *arrays;
    loop {
        larger.n_rows = larger.n_rows.checked_mul(2)?;
        larger.n_cols = larger.n_cols.checked_mul(2)?;
        let room = cut::measure_room(&larger).ok()?;
        if cut::cut_layers(layers, room).len() <= count {
            return Some((larger.n_rows, larger.n_cols));
        }
    }
}

/// Puts each cut with its readouts on the array of the same number.
pub fn place_cuts(
    cuts: Vec<Cut>,
    readouts: Vec<Vec<Readout>>,
    pairs: PairAxis,
) -> IdVec<TileId, Tile> {
    let place = |(index, (cut, readouts)): (usize, (Cut, Vec<Readout>))| {
        let Cut { layer, rows, cols } = cut;
        let wiring = wire_pairs(rows.len(), cols.len(), pairs);
        Tile { layer, array: ArrayId::new(index), rows, cols, wiring, readouts }
    };
    cuts.into_iter().zip(readouts).enumerate().map(place).collect()
}

fn wire_pairs(n_rows: usize, n_cols: usize, pairs: PairAxis) -> Wiring {
    let lines =
        |len: usize, first: u32, step: u32| (0..len as u32).map(|at| first + step * at).collect();
    match pairs {
        PairAxis::Columns => Wiring {
            plus_rows: lines(n_rows, 0, 1),
            minus_rows: lines(n_rows, 0, 1),
            plus_cols: lines(n_cols, 0, 2),
            minus_cols: lines(n_cols, 1, 2),
        },
        PairAxis::Rows => Wiring {
            plus_rows: lines(n_rows, 0, 2),
            minus_rows: lines(n_rows, 1, 2),
            plus_cols: lines(n_cols, 0, 1),
            minus_cols: lines(n_cols, 0, 1),
        },
    }
}
