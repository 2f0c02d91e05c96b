//! Giving each cut an array and its cells physical rows and columns: one tile per array, in order.
//!
//! Weights fill an array from row 0 and column 0; spare lines follow, reserved ones come last. A pair's
//! cells are neighbours, lines `2 i` and `2 i + 1` along the pair axis, or sit on the same lines of two
//! arrays, `2 t` and `2 t + 1` for tile `t`. The slices of a column are neighbours too.

use nvcim_chip::describe::{Chip, PairAxis, SignCoding, Weights};
use nvcim_ir::diag::Diagnostic;
use nvcim_ir::ids::{ArrayId, Id, IdVec, LayerId, TileId};
use nvcim_ir::tiled::{MatrixLayer, Readout, Tile, Wiring};

use crate::cut::{self, Cut, Room};

/// What a network takes up on a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Arrays used with one tile on each, or on each two.
    pub arrays_needed: usize,
    /// Arrays below which no placement could go: cells of all blocks over usable cells of an array.
    pub arrays_bound: usize,
    /// Cells used by tiles, zeros between blocks on a tile included.
    pub cells_used: usize,
}

/// Counts arrays and cells.
pub fn count_demand(
    layers: &IdVec<LayerId, MatrixLayer>,
    cuts: &[Cut],
    room: Room,
    chip: &Chip,
) -> Demand {
    let weights: usize = layers.iter().map(|layer| layer.blocks.len()).sum();
    let references = usize::from(chip.weights.sign == SignCoding::OffsetColumn);
    let on_tiles: usize =
        cuts.iter().map(|cut| cut.rows.len() * (cut.cols.len() + references)).sum();
    let per_tile = chip.arrays.arrays_per_tile();
    Demand {
        arrays_needed: per_tile * cuts.len(),
        arrays_bound: per_tile * weights.div_ceil(room.n_rows * room.n_cols),
        cells_used: chip.weights.cells_per_weight() * on_tiles,
    }
}

/// Why a chip has too few arrays for one cut on each: what each layer needs, and what would fit.
pub fn explain_misfit(
    layers: &IdVec<LayerId, MatrixLayer>,
    cuts: &[Cut],
    chip: &Chip,
) -> Option<Diagnostic> {
    let arrays = &chip.arrays;
    let per_tile = arrays.arrays_per_tile();
    let needed = per_tile * cuts.len();
    let count = arrays.count.filter(|&count| count < needed)?;
    let mut needs: IdVec<LayerId, usize> = layers.iter().map(|_| 0).collect();
    for cut in cuts {
        needs[cut.layer] += per_tile;
    }
    let first_out = &layers[cuts[count / per_tile].layer].name;
    let message = format!(
        "has {count} arrays of {}x{}, too few for the {needed} that the network needs; \
         layer `{first_out}` is the first without room",
        arrays.n_rows, arrays.n_cols,
    );
    let by_layer: Vec<_> =
        layers.iter().zip(&needs).map(|(layer, need)| format!("`{}` {need}", layer.name)).collect();
    let problem = Diagnostic::unsupported(format!("chip `{}`", chip.name), message)
        .hint(format!("arrays needed by layer: {}", by_layer.join(", ")))
        .hint(format!("a chip with `arrays.count` of at least {needed} would fit"));
    Some(match find_size_that_fits(layers, chip, count) {
        Some((n_rows, n_cols)) => {
            problem.hint(format!("so would {count} arrays of {n_rows}x{n_cols}"))
        }
        None => problem,
    })
}

/// The smallest array, in doublings of the chip's, of which `count` hold every layer.
fn find_size_that_fits(
    layers: &IdVec<LayerId, MatrixLayer>,
    chip: &Chip,
    count: usize,
) -> Option<(usize, usize)> {
    let tiles = count / chip.arrays.arrays_per_tile();
    let mut larger = chip.clone();
    // However large, an array holds one layer at most.
    while layers.len() <= tiles {
        larger.arrays.n_rows = larger.arrays.n_rows.checked_mul(2)?;
        larger.arrays.n_cols = larger.arrays.n_cols.checked_mul(2)?;
        if cut::cut_layers(layers, cut::room_of(&larger)).len() <= tiles {
            return Some((larger.arrays.n_rows, larger.arrays.n_cols));
        }
    }
    None
}

/// Puts each cut with its readouts on the array, or the two arrays, of the same number.
pub fn place_cuts(cuts: Vec<Cut>, readouts: Vec<Vec<Readout>>, chip: &Chip) -> IdVec<TileId, Tile> {
    let per_tile = chip.arrays.arrays_per_tile();
    let place = |(index, (cut, readouts)): (usize, (Cut, Vec<Readout>))| {
        let Cut { layer, rows, cols } = cut;
        let array = ArrayId::new(per_tile * index);
        let minus_array = (per_tile == 2).then(|| ArrayId::new(per_tile * index + 1));
        let wiring = Wiring { minus_array, ..wire_lines(rows.len(), cols.len(), chip) };
        Tile { layer, array, rows, cols, wiring, readouts }
    };
    cuts.into_iter().zip(readouts).enumerate().map(place).collect()
}

fn wire_lines(n_rows: usize, n_cols: usize, chip: &Chip) -> Wiring {
    let lines =
        |len: usize, first: u32, step: u32| (0..len as u32).map(|at| first + step * at).collect();
    let Weights { sign, significance, .. } = &chip.weights;
    let n_slices = significance.len();
    let n_lanes = n_slices * n_cols;
    let along = Wiring {
        n_slices: n_slices as u32,
        plus_rows: lines(n_rows, 0, 1),
        minus_rows: lines(n_rows, 0, 1),
        plus_cols: lines(n_lanes, 0, 1),
        minus_cols: lines(n_lanes, 0, 1),
        minus_array: None,
    };
    let alone = Wiring { minus_rows: Vec::new(), minus_cols: Vec::new(), ..along.clone() };
    match (sign, chip.arrays.pairs) {
        (SignCoding::Pairs, PairAxis::Columns) => {
            Wiring { plus_cols: lines(n_lanes, 0, 2), minus_cols: lines(n_lanes, 1, 2), ..along }
        }
        (SignCoding::Pairs, PairAxis::Rows) => {
            Wiring { plus_rows: lines(n_rows, 0, 2), minus_rows: lines(n_rows, 1, 2), ..along }
        }
        (SignCoding::Pairs, PairAxis::Arrays) => along,
        (SignCoding::OffsetDigital, _) => alone,
        (SignCoding::OffsetColumn, _) => {
            Wiring { plus_cols: lines(n_lanes + n_slices, 0, 1), ..alone }
        }
    }
}
