//! `network.onnx`: the network that an image's conductances compute, in floating point.
//!
//! Notation: a conversion of column `j` sees `y = gain sum_i x_i / full_scale (g+ - g-) / g_max + offset`
//! and the output gains `scale y + shift`. Hence, summed over a layer's conversions,
//!
//! ```text
//! W_ij   += scale gain (g+ - g-) / (g_max full_scale)
//! bias_j += shift + scale offset
//! ```
//!
//! in double precision, over the rows that the conversion drives; a reference column counts for all `j`,
//! and what is taken off digitally adds its share of the sum of drives to `W_ij`. Without a die, cells are at their targets, `gain` is 1 and `offset` 0. With a die
//! they are what the die has; where negative inputs take a second pass, its offset cancels the first's.
//! Converters, noise and wires are left out: they are no matrix.

use std::ops::Range;

use ndarray::{Array2, s};
use nvcim_chip::describe::NegativeInputs;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{Id, IdVec, LayerId, TileId};
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_ir::tiled::Terminal;
use nvcim_onnx::emit::{Matrix, emit_program};

use crate::export::{Deployed, Pairs, Sense, Sink};

/// A layer's matrix and bias under construction.
struct Sum {
    weights: Array2<f64>,
    bias: Vec<f64>,
}

pub(super) fn write(deployed: &mut Deployed<'_>, sink: &mut Sink<'_>) -> Result<()> {
    let net = &deployed.image.net;
    let blank = net.layers.iter().map(|layer| Sum {
        weights: Array2::zeros((layer.shape.n_rows, layer.shape.n_cols)),
        bias: layer.bias.iter().copied().map(f64::from).collect(),
    });
    let mut sums: IdVec<LayerId, Sum> = blank.collect();
    for index in 0..net.tiles.len() {
        let id = TileId::new(index);
        add_tile(deployed, id, &mut sums[deployed.tile(id).layer])?;
    }
    let single = |sum: &Sum| Matrix {
        weights: sum.weights.mapv(|weight| weight as f32),
        bias: sum.bias.iter().map(|bias| *bias as f32).collect(),
    };
    let matrices: IdVec<LayerId, Matrix> = sums.iter().map(single).collect();
    sink("network.onnx", emit_program(&net.program, &matrices)?)
}

fn add_tile(deployed: &mut Deployed<'_>, id: TileId, sum: &mut Sum) -> Result<()> {
    let (tile, chip) = (deployed.tile(id), deployed.chip());
    let Pairs { plus, minus } = deployed.actual(id)?;
    let senses = deployed.senses(id);
    let input = deployed.image.net.layers[tile.layer].input;
    let passes_cancel = input.signed && chip.dac.negative == NegativeInputs::TwoPass;
    for (conversion, scaled) in tile.readouts.iter().enumerate() {
        let Sense { gain, offset_lsb } = senses
            .as_ref()
            .map_or(Sense { gain: 1.0, offset_lsb: 0.0 }, |senses| senses[conversion]);
        let (readout, scale) = (scaled.readout, f64::from(scaled.scale));
        let lane = tile.wiring.lane(readout.col, readout.slice);
        let of_rows = |row: usize| match readout.terminal {
            Terminal::Pair => f64::from(plus[(row, lane)]) - f64::from(minus[(row, lane)]),
            Terminal::Plus => f64::from(plus[(row, lane)]),
            Terminal::Minus => f64::from(minus[(row, lane)]),
        };
        let unit = scale * f64::from(gain) / (chip.cell.g_max * f64::from(input.full_scale));
        let offset = scale * f64::from(offset_lsb) * chip.adc.nominal_lsb();
        let bias = f64::from(scaled.shift) + if passes_cancel { 0.0 } else { offset };
        for col in outputs_of(tile, readout.col) {
            for row in readout.rows.range() {
                sum.weights[(tile.rows.start + row, col)] += unit * of_rows(row);
            }
            sum.bias[col] += bias;
        }
    }
    for (col, &per_drive) in tile.cols.clone().zip(&tile.drive_sum) {
        let share = f64::from(per_drive) / f64::from(input.full_scale);
        sum.weights.slice_mut(s![tile.rows.clone(), col]).mapv_inplace(|weight| weight + share);
    }
    Ok(())
}

/// The layer's columns that a conversion of a tile's column counts for: all of the tile's where it is the
/// reference.
fn outputs_of(tile: &ProgrammedTile, col: u32) -> Range<usize> {
    let col = tile.cols.start + col as usize;
    if tile.cols.contains(&col) { col..col + 1 } else { tile.cols.clone() }
}
