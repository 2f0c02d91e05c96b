//! Corrections before programming: cell targets from weights, the chip's design and a die's fault map.
//!
//! Sees only the measurable part of a die ([`DieRecord`]); its hidden part cannot change the result.

use ndarray::Array2;
use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::record::DieRecord;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::IdVec;
use nvcim_ir::programmed::{
    ProgrammedLayer, ProgrammedNet, ProgrammedTile, ScaledReadout, Targets, verify_programmed,
};
use nvcim_ir::tiled::{MatrixLayer, Tile, TiledNet};

use crate::closest::{FaultMap, closest_pair, index_faults};
use crate::plan::Plan;

/// A net with cell targets, and how many weights the fault map moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Targeted {
    /// The net.
    pub net: ProgrammedNet,
    /// Weights whose pair has a stuck cell that `closest` took into account.
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
    let mut weights_on_stuck_pairs = 0;
    let mut problems = Vec::new();
    let mut tiles = IdVec::new();
    for tile in &net.tiles {
        let faults = match die.map(|die| die.arrays.get(tile.array)) {
            None => FaultMap::new(),
            Some(Some(array)) => index_faults(array),
            Some(None) => {
                let message = format!("the die file has no {}", tile.array);
                let hint = "sample or import a die with every array of the chip";
                problems.push(Diagnostic::bad_input("--die", message).hint(hint));
                continue;
            }
        };
        let layer = &net.layers[tile.layer];
        let (targets, on_stuck) = target_cells(layer, tile, &faults, &chip.cell);
        weights_on_stuck_pairs += on_stuck;
        tiles.push(ProgrammedTile {
            layer: tile.layer,
            array: tile.array,
            rows: tile.rows.clone(),
            cols: tile.cols.clone(),
            wiring: tile.wiring.clone(),
            targets,
            readouts: scale_nominally(layer, tile, &chip.cell),
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

/// The targets of a tile's cells, and the number of weights with a stuck cell.
fn target_cells(
    layer: &MatrixLayer,
    tile: &Tile,
    faults: &FaultMap,
    cell: &Cell,
) -> (Targets, usize) {
    let weights = layer.weights(tile.rows.clone(), tile.cols.clone());
    let mut plus = Array2::<f64>::zeros(weights.dim());
    let mut minus = plus.clone();
    let mut on_stuck = 0;
    let wiring = &tile.wiring;
    for ((row, col), &weight) in weights.indexed_iter() {
        let w = f64::from(weight) / f64::from(layer.w_max);
        let pair = if faults.is_empty() {
            cell.pair_for(w)
        } else {
            let stuck_plus = faults.get(&(wiring.plus_rows[row], wiring.plus_cols[col])).copied();
            let stuck_minus =
                faults.get(&(wiring.minus_rows[row], wiring.minus_cols[col])).copied();
            on_stuck += usize::from(stuck_plus.or(stuck_minus).is_some());
            closest_pair(w, stuck_plus, stuck_minus, cell)
        };
        (plus[(row, col)], minus[(row, col)]) = pair;
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
fn scale_nominally(layer: &MatrixLayer, tile: &Tile, cell: &Cell) -> Vec<ScaledReadout> {
    let per_current = cell.g_max / cell.range() * f64::from(layer.w_max);
    let unit = (per_current * f64::from(layer.input.full_scale)) as f32;
    let scale = |readout: &nvcim_ir::tiled::Readout| ScaledReadout {
        readout: *readout,
        scale: readout.terminal.sign() * unit,
        shift: 0.0,
    };
    tile.readouts.iter().map(scale).collect()
}
