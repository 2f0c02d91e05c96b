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

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::{Chip, PairAxis, SignCoding, Subtract};
    use nvcim_chip::effects::EffectSet;
    use nvcim_chip::presets::find_preset;
    use nvcim_ops::run_graph::run_graph;

    use crate::data::{Dataset, Preprocess};
    use crate::demo;
    use crate::export::{Format, OnDie, export_image};
    use crate::model::Model;
    use crate::pipeline::{CompileOptions, compile_model};
    use crate::simulate::{DieChoice, ideal_conditions, load_image, resolve_die, run_data};

    type Change = fn(&mut Chip);

    /// The largest difference between the exported network and the image on ideal arrays.
    fn distance(change: Change) -> f32 {
        let mut chip = find_preset(demo::CHIP).unwrap();
        chip.arrays.count = None;
        change(&mut chip);
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let image = compile_model(&model, &chip, &CompileOptions::default()).unwrap().output.image;
        let record = resolve_die(&image, DieChoice::Seed(1));
        let conditions = ideal_conditions();
        assert_eq!(conditions.effects, EffectSet::NONE);
        let mut network = Vec::new();
        let die = Some(OnDie { record: &record, conditions });
        let mut keep = |_: &str, bytes| {
            network = bytes;
            Ok(())
        };
        export_image(&image, die, Format::Onnx, &mut keep).unwrap();
        let preprocess = Preprocess { limit: Some(20), ..Preprocess::default() };
        let data = Dataset::open("digits", preprocess).unwrap();
        let machine = load_image(&image, &record, conditions).unwrap();
        let want = run_data(&machine, &data, &|_| ()).unwrap().outputs;
        let graph = Model::from_bytes("network.onnx", &network).import().unwrap().output;
        let input = data.head(20, machine.input_shape()).unwrap();
        let got = run_graph(&graph, &input, &mut |_, _| ()).remove(0);
        got.iter().zip(&want).fold(0.0, |max, (got, want)| max.max((got - want).abs()))
    }

    #[test]
    fn every_way_to_hold_weights_is_exported() {
        let changes: [(&str, Change); 6] = [
            ("pairs on columns", |_| ()),
            ("two conversions", |chip| chip.arrays.subtract = Subtract::Digital),
            ("pairs on arrays", |chip| chip.arrays.pairs = PairAxis::Arrays),
            ("slices", |chip| chip.weights.significance = vec![1.0, 16.0]),
            ("digital offset", |chip| chip.weights.sign = SignCoding::OffsetDigital),
            ("reference column, few rows at once", |chip| {
                chip.weights.sign = SignCoding::OffsetColumn;
                chip.arrays.max_active_rows = Some(20);
            }),
        ];
        for (name, change) in changes {
            let distance = distance(change);
            // Class scores of some units, in single precision.
            assert!(distance < 1e-3, "{name}: {distance}");
        }
    }
}
