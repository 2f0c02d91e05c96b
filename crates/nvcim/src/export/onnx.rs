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
//! in double precision. Without a die, cells are at their targets, `gain` is 1 and `offset` 0. With a die
//! they are what the die has; where negative inputs take a second pass, its offset cancels the first's.
//! Converters, noise and wires are left out: they are no matrix.

use ndarray::Array2;
use nvcim_chip::describe::NegativeInputs;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{Id, IdVec, LayerId, TileId};
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
        let scale = f64::from(scaled.scale);
        let local = scaled.readout.col as usize;
        let col = tile.cols.start + local;
        let unit = scale * f64::from(gain) / (chip.cell.g_max * f64::from(input.full_scale));
        for (row, global) in tile.rows.clone().enumerate() {
            let (plus, minus) = (f64::from(plus[(row, local)]), f64::from(minus[(row, local)]));
            let g = match scaled.readout.terminal {
                Terminal::Pair => plus - minus,
                Terminal::Plus => plus,
                Terminal::Minus => minus,
            };
            sum.weights[(global, col)] += unit * g;
        }
        sum.bias[col] += f64::from(scaled.shift);
        if !passes_cancel {
            sum.bias[col] += scale * f64::from(offset_lsb) * chip.adc.nominal_lsb();
        }
    }
    Ok(())
}
