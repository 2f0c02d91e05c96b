//! Pre-distortion of one tile: from the cells that would do without wires to those that do behind them.

use nvcim_chip::effects::ir_drop::IrDrop;
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::ids::TileId;
use nvcim_ir::programmed::ProgrammedTile;

use crate::faults::Faults;
use crate::holding::to_targets;
use crate::ir_drop::{Effort, FixedCells, Gain, Group, Reach, pre_distort};
use crate::outcome::{Outcome, Place};
use crate::piece::Ground;
use crate::plan::Correction;
use crate::predict::Cells;

/// The relative error that is spent on a larger gain: far below what converters make.
const ALLOWANCE: f64 = 1e-3;

/// Turns the targets of a tile of pairs, part of tile `id` of the tiled net, into those that give the same
/// currents behind wires, at the largest gain, which its scales take back.
pub(crate) fn pre_distort_tile(
    id: TileId,
    tile: &mut ProgrammedTile,
    faults: &Faults,
    wires: &IrDrop,
    ground: &Ground<'_>,
    statistics: &CellStatistics,
) -> Outcome {
    let cell = &ground.chip.cell;
    let cells = Cells::expect(&tile.targets, &tile.wiring, cell, statistics, faults);
    let wanted = &cells.plus - &cells.minus;
    let moves = ground.used != *cell;
    let reach = if moves {
        Reach::Range(ground.used.g_min, ground.used.g_max)
    } else {
        Reach::of_cell(cell)
    };
    let n_lanes = wanted.ncols();
    // Where no scale could take a gain back there is none.
    let ones = vec![1.0; n_lanes];
    let gain = if ground.chip.holds.column_affine {
        Gain::PerLane { at_most: 1.0, allowance: ALLOWANCE }
    } else {
        Gain::Given(&ones)
    };
    let [fixed_plus, fixed_minus]: [FixedCells; 2] =
        [&faults.plus, &faults.minus].map(|it| it.iter().collect());
    let group = Group::of_tile(
        &tile.wiring,
        ground.chip.array_size(),
        wires,
        (reach, statistics.mean(cell.g_min)),
        [&fixed_plus, &fixed_minus],
        (wanted.view(), gain),
    );
    let solved = pre_distort(&group, Effort::default());
    let distorted = &solved.blocks[0];
    let [plus, minus] =
        [&distorted.plus, &distorted.minus].map(|it| it.mapv(|g| statistics.target_for(g)));
    let gains = &distorted.gain;
    tile.targets = to_targets(&plus, &minus, cell);
    for scaled in &mut tile.readouts {
        let lane = tile.wiring.lane(scaled.readout.col, scaled.readout.slice);
        let gain = gains.get(lane).copied().unwrap_or(1.0);
        scaled.scale = (f64::from(scaled.scale) / gain) as f32;
    }
    let errors = [distorted.error_before, distorted.relative_error];
    let of_tile = (Correction::IrDrop, Place::Tile(id));
    Outcome::new(of_tile, errors[1] < errors[0], n_lanes, errors)
}
