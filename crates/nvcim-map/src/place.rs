//! Giving each cut an array and its cells physical rows and columns: one tile per array, in order.
//!
//! Weights fill an array from row 0 and column 0; spare lines follow, reserved ones come last. A pair's
//! cells are neighbours: lines `2 i` and `2 i + 1` along the pair axis.

use nvcim_chip::describe::{Arrays, Chip, PairAxis};
use nvcim_ir::diag::Diagnostic;
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

/// Why a chip has too few arrays for one cut on each: what each layer needs, and what would fit.
pub fn explain_misfit(
    layers: &IdVec<LayerId, MatrixLayer>,
    cuts: &[Cut],
    chip: &Chip,
) -> Option<Diagnostic> {
    let arrays = &chip.arrays;
    let count = arrays.count.filter(|&count| count < cuts.len())?;
    let mut needs: IdVec<LayerId, usize> = layers.iter().map(|_| 0).collect();
    for cut in cuts {
        needs[cut.layer] += 1;
    }
    let first_out = &layers[cuts[count].layer].name;
    let message = format!(
        "has {count} arrays of {}x{}, too few for the {} that the network needs; \
         layer `{first_out}` is the first without room",
        arrays.n_rows,
        arrays.n_cols,
        cuts.len(),
    );
    let by_layer: Vec<_> =
        layers.iter().zip(&needs).map(|(layer, need)| format!("`{}` {need}", layer.name)).collect();
    let problem = Diagnostic::unsupported(format!("chip `{}`", chip.name), message)
        .hint(format!("arrays needed by layer: {}", by_layer.join(", ")))
        .hint(format!("a chip with `arrays.count` of at least {} would fit", cuts.len()));
    Some(match find_size_that_fits(layers, arrays, count) {
        Some((n_rows, n_cols)) => {
            problem.hint(format!("so would {count} arrays of {n_rows}x{n_cols}"))
        }
        None => problem,
    })
}

/// The smallest array, in doublings of the chip's, of which `count` hold every layer.
fn find_size_that_fits(
    layers: &IdVec<LayerId, MatrixLayer>,
    arrays: &Arrays,
    count: usize,
) -> Option<(usize, usize)> {
    let mut larger = *arrays;
    // However large, an array holds one layer at most.
    while layers.len() <= count {
        larger.n_rows = larger.n_rows.checked_mul(2)?;
        larger.n_cols = larger.n_cols.checked_mul(2)?;
        if cut::cut_layers(layers, cut::room_of(&larger)).len() <= count {
            return Some((larger.n_rows, larger.n_cols));
        }
    }
    None
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
