//! What a chip is told: cell targets, converter ranges and digital scales. Nothing else reaches the image.
//!
//! No float weight survives to this noun: what the simulator computes, it computes from these targets.

use std::collections::BTreeSet;
use std::ops::Range;

use ndarray::Array2;

use crate::diag::{Diagnostic, Result, fail_if_any};
use crate::ids::{ArrayId, Id, IdVec, LayerId, TileId};
use crate::program::{self, LayerShape, Program};
use crate::tiled::{self, ArraySize, CellUse, InputCoding, Readout, Wiring};

/// One matrix product as the chip's controller sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgrammedLayer {
    /// The name of the ONNX node.
    pub name: String,
    /// The size of the matrix.
    pub shape: LayerShape,
    /// Added digitally to each output, `[n_cols]`.
    pub bias: Vec<f32>,
    /// How inputs are driven.
    pub input: InputCoding,
}

/// Conductance targets of a tile, `[matrix rows, lanes]` for either cell of the pairs; offset-coded weights
/// have no negative cells, `[matrix rows, 0]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Cells with discrete levels, counted from `g_min`.
    Levels {
        /// Targets of the positive cells.
        plus: Array2<u16>,
        /// Targets of the negative cells.
        minus: Array2<u16>,
    },
    /// Cells with a continuous range, in siemens.
    Siemens {
        /// Targets of the positive cells.
        plus: Array2<f32>,
        /// Targets of the negative cells.
        minus: Array2<f32>,
    },
}

impl Targets {
    /// Rows and lanes of the positive and of the negative cells.
    pub fn dims(&self) -> [(usize, usize); 2] {
        match self {
            Targets::Levels { plus, minus } => [plus.dim(), minus.dim()],
            Targets::Siemens { plus, minus } => [plus.dim(), minus.dim()],
        }
    }
}

/// A conversion and what its result is worth: the output gains `scale y + shift`, all outputs of the tile
/// where the conversion is the reference column's.
///
/// `y` is the dequantised normalised current; a second pass for negative inputs is subtracted from it.
/// A column whose sign was turned has a negative scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaledReadout {
    /// The conversion.
    pub readout: Readout,
    /// Output units per normalised current.
    pub scale: f32,
    /// Output units.
    pub shift: f32,
}

/// A rectangle of a layer's matrix as it is to be programmed.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgrammedTile {
    /// The layer.
    pub layer: LayerId,
    /// The array that holds it.
    pub array: ArrayId,
    /// The rows of the layer's matrix.
    pub rows: Range<usize>,
    /// The columns of the layer's matrix.
    pub cols: Range<usize>,
    /// The physical rows and columns.
    pub wiring: Wiring,
    /// The cells' targets.
    pub targets: Targets,
    /// The conversions, with their worth.
    pub readouts: Vec<ScaledReadout>,
    /// What each output gains per unit of the digital sum of all drives, in output units, one per tile
    /// column; empty where nothing is. Takes the offset off offset-coded weights.
    pub drive_sum: Vec<f32>,
    /// Steps of the drivers that are added to the size of every input before it is rounded, within half a step.
    /// Copies of a tile that round differently have finer steps together than any has alone.
    pub drive_shift: f32,
}

/// A network as the chip runs it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgrammedNet {
    /// The digital program.
    pub program: Program,
    /// The matrix layers.
    pub layers: IdVec<LayerId, ProgrammedLayer>,
    /// The tiles, in the order in which their contributions are summed.
    pub tiles: IdVec<TileId, ProgrammedTile>,
}

/// Checks a programmed net against its chip's arrays; encoding and simulation rely on every rule.
///
/// 1. The program verifies with the layers' sizes.
/// 2. Biases are finite and as long as the matrix is wide; full scales are positive and finite.
/// 3. Tiles lie inside their layer's matrix and inside their array, and no cell is used twice.
/// 4. Targets have the size of the tile's wiring; levels are below `n_levels`, siemens are finite and not negative;
///    a chip has levels or it does not, and all tiles follow it.
/// 5. Every slice of every tile column has a readout, with a finite non-empty range, scale and shift, and
///    rows to drive; there is a finite `drive_sum` per column, or none at all.
/// 6. Drives are shifted by no more than half a step.
/// 7. Every output column of every layer is reached by a tile.
pub fn verify_programmed(
    net: &ProgrammedNet,
    size: ArraySize,
    n_levels: Option<u32>,
) -> Result<()> {
    let shapes: IdVec<_, _> = net.layers.iter().map(|layer| layer.shape).collect();
    program::verify_program(&net.program, &shapes)?;
    let mut problems = Vec::new();
    let mut reached: IdVec<LayerId, Vec<bool>> =
        shapes.iter().map(|shape| vec![false; shape.n_cols]).collect();
    let mut cells = CellUse::new(size);
    let refuse = |id: TileId, message| {
        let at = format!("{id} on {}", net.tiles[id].array);
        Diagnostic::bad_input(at, message)
    };
    for (id, tile) in net.tiles.iter_enumerated() {
        let checked = check_tile(tile, shapes.get(tile.layer).copied(), size, n_levels)
            .and_then(|()| cells.claim(id, tile.array, &tile.wiring));
        match checked {
            Ok(()) => reached[tile.layer][tile.cols.clone()].fill(true),
            Err(message) => problems.push(refuse(id, message)),
        }
    }
    problems.extend(cells.find_conflicts().into_iter().map(|(id, message)| refuse(id, message)));
    for ((id, layer), reached) in net.layers.iter_enumerated().zip(&reached) {
        if let Err(message) = check_layer(layer, reached) {
            problems.push(Diagnostic::bad_input(format!("{id} `{}`", layer.name), message));
        }
    }
    fail_if_any(problems)
}

fn check_layer(layer: &ProgrammedLayer, reached: &[bool]) -> std::result::Result<(), String> {
    if layer.bias.len() != layer.shape.n_cols || !layer.bias.iter().all(|bias| bias.is_finite()) {
        return Err(format!("needs {} finite biases", layer.shape.n_cols));
    }
    let full_scale = layer.input.full_scale;
    if !(full_scale.is_finite() && full_scale > 0.0) {
        return Err(format!("has full scale {full_scale}, must be positive and finite"));
    }
    match reached.iter().position(|reached| !reached) {
        Some(col) => Err(format!("has no tile for output {col}")),
        None => Ok(()),
    }
}

fn check_tile(
    tile: &ProgrammedTile,
    layer: Option<LayerShape>,
    size: ArraySize,
    n_levels: Option<u32>,
) -> std::result::Result<(), String> {
    let readouts: Vec<_> = tile.readouts.iter().map(|scaled| scaled.readout).collect();
    let ranges = (tile.rows.clone(), tile.cols.clone());
    tiled::check_block(layer, &ranges, &tile.wiring, &readouts, size)?;
    let [n_plus, n_minus] = [tile.wiring.plus_cols.len(), tile.wiring.minus_cols.len()];
    if tile.targets.dims() != [(tile.rows.len(), n_plus), (tile.rows.len(), n_minus)] {
        return Err("has targets of another size than its rows and columns".into());
    }
    match (&tile.targets, n_levels) {
        (Targets::Levels { plus, minus }, Some(n_levels)) => {
            let highest =
                |levels: &Array2<u16>| levels.iter().fold(0, |most: u16, &it| most.max(it));
            if u32::from(highest(plus).max(highest(minus))) >= n_levels {
                return Err(format!("targets a level beyond the cell's {n_levels}"));
            }
        }
        (Targets::Siemens { plus, minus }, None) => {
            if !plus.iter().chain(minus).all(|g| g.is_finite() && *g >= 0.0) {
                return Err("targets a conductance that is negative or not finite".into());
            }
        }
        _ => return Err("has levels where the chip has none, or the other way round".into()),
    }
    if tile.readouts.iter().any(|it| !(it.scale.is_finite() && it.shift.is_finite())) {
        return Err("scales a readout by a number that is not finite".into());
    }
    let sums = &tile.drive_sum;
    if !(sums.is_empty() || sums.len() == tile.cols.len()) || sums.iter().any(|it| !it.is_finite())
    {
        return Err(format!("needs {} finite drive sums or none", tile.cols.len()));
    }
    if !(-0.5..=0.5).contains(&tile.drive_shift) {
        return Err(format!("shifts drives by {} steps, must be within a half", tile.drive_shift));
    }
    Ok(())
}

/// What a net takes of a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Arrays that hold a cell of it.
    pub arrays: usize,
    /// Cells that hold a target.
    pub cells: usize,
}

/// Counts the arrays and cells that a net uses; no two tiles share a cell.
pub fn measure_usage(net: &ProgrammedNet) -> Usage {
    let sides = net.tiles.iter().flat_map(|tile| tile.wiring.sides(tile.array));
    let sides = sides.map(|(array, rows, cols)| (array, rows.len() * cols.len()));
    let mut arrays = BTreeSet::new();
    let mut cells = 0;
    for (array, count) in sides.filter(|(_, count)| *count > 0) {
        arrays.insert(array);
        cells += count;
    }
    Usage { arrays: arrays.len(), cells }
}

/// The highest array in use, plus one.
pub fn count_arrays(net: &ProgrammedNet) -> usize {
    let arrays =
        net.tiles.iter().flat_map(|tile| [tile.array, tile.wiring.minus_array(tile.array)]);
    arrays.map(|array| array.index() + 1).max().unwrap_or(0)
}
