//! Corrections before programming: cell targets from weights, the chip's design and a die's fault map.
//!
//! Sees only the measurable part of a die ([`DieRecord`]); its hidden part cannot change the result.

use ndarray::Array2;
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::record::DieRecord;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, IdVec};
use nvcim_ir::programmed::{
    ProgrammedLayer, ProgrammedNet, ProgrammedTile, ScaledReadout, Targets, verify_programmed,
};
use nvcim_ir::tiled::{MatrixLayer, Readout, Tile, TiledNet, Wiring};

use crate::closest::{FaultMap, Stuck, closest_slices, index_faults};
use crate::plan::Plan;

/// A net with cell targets, and how many weights the fault map moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Targeted {
    /// The net.
    pub net: ProgrammedNet,
    /// Weights with a stuck cell that `closest` took into account.
    pub weights_on_stuck_pairs: usize,
}

/// Chooses every cell's target and every readout's nominal scale.
///
/// Without a die, or without `closest` in the plan, pairs are one-sided and nothing is known of faults.
///
/// # Errors
/// A die record that lacks an array which the net uses.
pub fn correct_before(
    net: &TiledNet,
    chip: &Chip,
    die: Option<&DieRecord>,
    plan: Plan,
) -> Result<Targeted> {
    let die = die.filter(|_| plan.closest);
    let code = WeightCode::new(chip);
    let mut weights_on_stuck_pairs = 0;
    let mut problems = Vec::new();
    let mut tiles = IdVec::new();
    for tile in &net.tiles {
        let faults = match Faults::of_tile(tile, die) {
            Ok(faults) => faults,
            Err(missing) => {
                let message = format!("the die file has no {missing}");
                let hint = "sample or import a die with every array of the chip";
                problems.push(Diagnostic::bad_input("--die", message).hint(hint));
                continue;
            }
        };
        let layer = &net.layers[tile.layer];
        let (targets, on_stuck) = target_cells(layer, tile, &faults, &code, &chip.cell);
        weights_on_stuck_pairs += on_stuck;
        tiles.push(ProgrammedTile {
            layer: tile.layer,
            array: tile.array,
            rows: tile.rows.clone(),
            cols: tile.cols.clone(),
            wiring: tile.wiring.clone(),
            targets,
            readouts: scale_nominally(layer, tile, &code, &chip.cell),
            drive_sum: sum_nominally(layer, tile, &code, &chip.cell),
        });
    }
    if !problems.is_empty() {
        problems.dedup();
        return Err(problems);
    }
    let layers = net.layers.iter().map(to_programmed).collect();
    let net = ProgrammedNet { program: net.program.clone(), layers, tiles };
    verify_programmed(&net, chip.array_size(), chip.cell.n_levels)?;
    Ok(Targeted { net, weights_on_stuck_pairs })
}

fn to_programmed(layer: &MatrixLayer) -> ProgrammedLayer {
    ProgrammedLayer {
        name: layer.name.clone(),
        shape: layer.shape(),
        bias: layer.bias.clone(),
        input: layer.input,
    }
}

/// What is known to be stuck under a tile's positive and negative cells.
struct Faults {
    plus: FaultMap,
    minus: FaultMap,
}

impl Faults {
    /// The faults of a tile's arrays, none without a die; an error names an array that the die lacks.
    fn of_tile(tile: &Tile, die: Option<&DieRecord>) -> std::result::Result<Self, ArrayId> {
        let find = |array: ArrayId| match die {
            None => Ok(FaultMap::new()),
            Some(die) => die.arrays.get(array).map(index_faults).ok_or(array),
        };
        Ok(Self { plus: find(tile.array)?, minus: find(tile.wiring.minus_array(tile.array))? })
    }

    /// What one pair, or one cell, is stuck at.
    fn find(&self, wiring: &Wiring, row: usize, lane: usize) -> Stuck {
        let plus = self.plus.get(&(wiring.plus_rows[row], wiring.plus_cols[lane]));
        let minus = || self.minus.get(&(wiring.minus_rows[row], wiring.minus_cols[lane]));
        (plus.copied(), if wiring.is_paired() { minus().copied() } else { None })
    }
}

/// The targets of a tile's cells, and the number of weights with a stuck cell.
fn target_cells(
    layer: &MatrixLayer,
    tile: &Tile,
    faults: &Faults,
    code: &WeightCode,
    cell: &Cell,
) -> (Targets, usize) {
    let weights = layer.weights(tile.rows.clone(), tile.cols.clone());
    let wiring = &tile.wiring;
    let n_slices = code.n_slices();
    let mut plus = Array2::<f64>::zeros((weights.nrows(), wiring.plus_cols.len()));
    let mut minus = Array2::<f64>::zeros((weights.nrows(), wiring.minus_cols.len()));
    let mut on_stuck = 0;
    let mut stuck = vec![(None, None); n_slices];
    for row in 0..weights.nrows() {
        for col in 0..wiring.plus_cols.len() / n_slices {
            // The reference column behind the last one holds weights of 0.
            let weight = weights.get((row, col)).copied().unwrap_or(0.0);
            let lanes = col * n_slices..(col + 1) * n_slices;
            for (stuck, lane) in stuck.iter_mut().zip(lanes.clone()) {
                *stuck = faults.find(wiring, row, lane);
            }
            let is_stuck = stuck.iter().any(|at| *at != (None, None));
            on_stuck += usize::from(is_stuck && col < weights.ncols());
            let w = f64::from(weight) / f64::from(layer.w_max);
            for (lane, cells) in lanes.zip(closest_slices(w, &stuck, code, cell)) {
                plus[(row, lane)] = cells.0;
                if let Some(minus) = minus.get_mut((row, lane)) {
                    *minus = cells.1;
                }
            }
        }
    }
    let targets = match cell.n_levels {
        None => Targets::Siemens { plus: plus.mapv(|g| g as f32), minus: minus.mapv(|g| g as f32) },
        Some(_) => {
            let level = |g: f64| cell.level_of(g).expect("the cell has levels");
            Targets::Levels { plus: plus.mapv(level), minus: minus.mapv(level) }
        }
    };
    (targets, on_stuck)
}

/// What a conversion is worth when every cell sits on its target.
fn scale_nominally(
    layer: &MatrixLayer,
    tile: &Tile,
    code: &WeightCode,
    cell: &Cell,
) -> Vec<ScaledReadout> {
    let per_current = cell.g_max / cell.range() * f64::from(layer.w_max);
    let unit = per_current * f64::from(layer.input.full_scale);
    let scale = |readout: &Readout| {
        // What the reference column stands for is taken off.
        let of_column = if readout.col as usize == tile.cols.len() { -1.0 } else { 1.0 };
        let worth = code.factors()[readout.slice as usize] * unit;
        let scale = readout.terminal.sign() * (of_column * worth) as f32;
        ScaledReadout { readout: *readout, scale, shift: 0.0 }
    };
    tile.readouts.iter().map(scale).collect()
}

/// What a tile's outputs gain per unit of summed drives when every cell sits on its target: what an offset
/// without a reference column adds, taken off.
fn sum_nominally(layer: &MatrixLayer, tile: &Tile, code: &WeightCode, cell: &Cell) -> Vec<f32> {
    if code.is_paired() || code.has_reference() {
        return Vec::new();
    }
    vec![-offset_per_drive(layer, code, cell) as f32; tile.cols.len()]
}

/// What an offset adds to every output per unit of summed drives, in output units.
pub(crate) fn offset_per_drive(layer: &MatrixLayer, code: &WeightCode, cell: &Cell) -> f64 {
    let at_rest: f64 = code.factors().iter().map(|factor| factor * cell.g_min / cell.range()).sum();
    (at_rest + code.zero()) * f64::from(layer.w_max) * f64::from(layer.input.full_scale)
}
