//! What a tile's conversions are expected to see: the means of its cells at the time of use, through wires.

use ndarray::{Array2, s};
use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::effects::Effect;
use nvcim_chip::effects::ir_drop::IrDrop;
use nvcim_chip::network::passive;
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::programmed::{ProgrammedTile, Targets};
use nvcim_ir::tiled::{Terminal, Wiring};

use crate::faults::{FaultMap, Faults};
use crate::known::Known;

/// The cells of a tile at the time of use, in siemens, `[tile rows, lanes]` each; no negative ones for
/// offset-coded weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cells {
    pub(crate) plus: Array2<f64>,
    pub(crate) minus: Array2<f64>,
}

impl Cells {
    /// What cells that are told to reach `targets` are on the mean, stuck ones as they are known to be.
    pub(crate) fn expect(
        targets: &Targets,
        wiring: &Wiring,
        cell: &Cell,
        statistics: &CellStatistics,
        faults: &Faults,
    ) -> Self {
        let [plus, minus] = siemens_of(targets, cell).map(|it| it.mapv(|g| statistics.mean(g)));
        let mut cells = Self { plus, minus };
        for row in 0..wiring.plus_rows.len() {
            for lane in 0..wiring.plus_cols.len() {
                let (plus, minus) = faults.find(wiring, row, lane);
                if let Some(g) = plus {
                    cells.plus[(row, lane)] = g;
                }
                if let Some(g) = minus {
                    cells.minus[(row, lane)] = g;
                }
            }
        }
        cells
    }
}

/// Targets in siemens, positive and negative cells.
pub(crate) fn siemens_of(targets: &Targets, cell: &Cell) -> [Array2<f64>; 2] {
    match targets {
        Targets::Siemens { plus, minus } => [plus, minus].map(|it| it.mapv(f64::from)),
        Targets::Levels { plus, minus } => {
            [plus, minus].map(|it| it.mapv(|level| cell.siemens_of(level)))
        }
    }
}

/// The wires that corrections reckon with: passive arrays of cells that they take to be ohmic.
pub(crate) fn wires_of<'a>(known: &Known<'a>) -> Option<&'a IrDrop> {
    known
        .chip
        .effects
        .ir_drop
        .as_ref()
        .filter(|ir_drop| known.effects.has(Effect::IrDrop) && ir_drop.gated.is_none())
}

/// What a full-scale drive of each row makes of each readout, in normalised current, `[tile rows, readouts]`.
pub(crate) fn predict_readouts(
    tile: &ProgrammedTile,
    known: &Known<'_>,
    statistics: &CellStatistics,
    faults: &Faults,
) -> Array2<f64> {
    let cell = &known.chip.cell;
    let cells = Cells::expect(&tile.targets, &tile.wiring, cell, statistics, faults);
    let seen = match wires_of(known) {
        None => cells,
        Some(wires) => see_through(&cells, &tile.wiring, known.chip, wires, statistics, faults),
    };
    let mut currents = Array2::zeros((tile.rows.len(), tile.readouts.len()));
    for (at, scaled) in tile.readouts.iter().enumerate() {
        let readout = scaled.readout;
        let lane = tile.wiring.lane(readout.col, readout.slice);
        let rows = readout.rows.range();
        let mut column = currents.slice_mut(s![rows.clone(), at]);
        let plus = seen.plus.slice(s![rows.clone(), lane]);
        match readout.terminal {
            Terminal::Plus => column.assign(&plus),
            Terminal::Minus => column.assign(&seen.minus.slice(s![rows, lane])),
            Terminal::Pair => column.assign(&(&plus - &seen.minus.slice(s![rows, lane]))),
        }
        column.mapv_inplace(|g| g / cell.g_max);
    }
    currents
}

/// The same cells behind the wires of their arrays, whose other cells are unused.
fn see_through(
    cells: &Cells,
    wiring: &Wiring,
    chip: &Chip,
    ir_drop: &IrDrop,
    statistics: &CellStatistics,
    faults: &Faults,
) -> Cells {
    let rest = statistics.mean(chip.cell.g_min);
    let blank = |faults: &FaultMap| {
        let mut g = Array2::from_elem((chip.arrays.n_rows, chip.arrays.n_cols), rest);
        for ((row, col), stuck) in faults.iter() {
            if let Some(g) = g.get_mut((row as usize, col as usize)) {
                *g = stuck;
            }
        }
        g
    };
    let write = |g: &mut Array2<f64>, rows: &[u32], cols: &[u32], cells: &Array2<f64>| {
        for ((row, lane), &value) in cells.indexed_iter() {
            g[(rows[row] as usize, cols[lane] as usize)] = value;
        }
    };
    let transfer = |g: Array2<f64>| passive::transfer_matrix(g.view(), &ir_drop.wires);
    let pick = |transfer: &Array2<f64>, rows: &[u32], cols: &[u32]| {
        Array2::from_shape_fn((rows.len(), cols.len()), |(row, lane)| {
            transfer[(cols[lane] as usize, rows[row] as usize)]
        })
    };
    let Wiring { plus_rows, minus_rows, plus_cols, minus_cols, minus_array, n_slices: _ } = wiring;
    let mut of_plus = blank(&faults.plus);
    write(&mut of_plus, plus_rows, plus_cols, &cells.plus);
    let of_minus = match minus_array {
        // Without negative cells there is nothing to write, and nothing to pick.
        None => {
            write(&mut of_plus, minus_rows, minus_cols, &cells.minus);
            None
        }
        Some(_) => {
            let mut of_minus = blank(&faults.minus);
            write(&mut of_minus, minus_rows, minus_cols, &cells.minus);
            Some(transfer(of_minus))
        }
    };
    let of_plus = transfer(of_plus);
    let of_minus = of_minus.as_ref().unwrap_or(&of_plus);
    Cells {
        plus: pick(&of_plus, plus_rows, plus_cols),
        minus: pick(of_minus, minus_rows, minus_cols),
    }
}

/// The weights that a tile is expected to hold, in units of the layer's matrix, `[tile rows, tile columns]`.
pub(crate) fn predict_weights(
    tile: &ProgrammedTile,
    readouts: &Array2<f64>,
    full_scale: f32,
) -> Array2<f64> {
    let mut weights = Array2::zeros((tile.rows.len(), tile.cols.len()));
    let per_input = 1.0 / f64::from(full_scale);
    for (scaled, seen) in tile.readouts.iter().zip(readouts.columns()) {
        let worth = f64::from(scaled.scale) * per_input;
        match scaled.readout.col as usize {
            col if col < tile.cols.len() => weights.column_mut(col).scaled_add(worth, &seen),
            _ => weights.columns_mut().into_iter().for_each(|mut it| it.scaled_add(worth, &seen)),
        }
    }
    for (mut column, &per_drive) in weights.columns_mut().into_iter().zip(&tile.drive_sum) {
        column += f64::from(per_drive) * per_input;
    }
    weights
}
