//! Every matrix product of a run, for an independent replay: what goes in, what converters make of it,
//! what comes out.
//!
//! An `.npz` with `input` and `outputs`, `[images, shape...]`, and per layer `l0`, `l1`, ... `l0_x`,
//! `[rows, columns]`, the input vectors before the DAC, and `l0_out`, `[cols, columns]`, what the layer
//! made of them, bias included. Column `c` belongs to image `c / l0_per_image`, position
//! `c % l0_per_image`; `l0_per_image` is one number. Where several steps use a layer, their positions follow
//! each other in the order of the program. Per tile `t0`, `t1`, ... and pass `p0`, `p1` there
//! are `t0_p0_drives`, `[slices, rows, columns]`, what word lines were driven with in drive units, and
//! `t0_p0_codes`, `[slices, conversions, columns]`, what converters answered. `t0_p0_draws`, of the same
//! shape, are the standard normal draws of their noise; it has no conversions where there is none. Layers
//! and tiles have the numbers that `nvcim inspect` and an exported manifest show.

use std::collections::BTreeMap;
use std::io::Cursor;

use ndarray::{Array1, Array2, Array3, ArrayD, ArrayView2, ArrayViewMut2, Axis, concatenate};
use ndarray_npy::NpzWriter;
use nvcim_chip::real::Real;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{IdVec, LayerId, TileId};
use nvcim_ir::program::list_uses;
use nvcim_ops::run_program::{Columns, MatrixEngine, run_program};
use nvcim_ops::tensor::Tensor;
use nvcim_sim::engine::ChipEngine;
use nvcim_sim::machine::Machine;
use nvcim_sim::record::{Conversions, Place, join_calls};

use crate::data::Dataset;

/// Images run at once.
const IMAGES_AT_ONCE: usize = 16;

/// Numbers that a trace may hold: 1 to 2 GiB.
const MAX_NUMBERS: usize = 1 << 28;

/// What one layer was given and what it made of it, call by call.
#[derive(Debug, Clone, Default)]
struct LayerTrace {
    columns: Vec<Columns>,
    inputs: Vec<Array2<f32>>,
    outputs: Vec<Array2<f32>>,
    per_image: usize,
}

impl LayerTrace {
    fn count_numbers(&self) -> usize {
        self.inputs.iter().chain(&self.outputs).map(Array2::len).sum()
    }
}

/// The products of a run.
#[derive(Debug, Clone)]
pub struct Trace<T = f32> {
    input: Tensor,
    outputs: Tensor,
    layers: IdVec<LayerId, LayerTrace>,
    conversions: BTreeMap<Place, Conversions<T>>,
}

/// Runs all images of `data` and keeps every product; outputs are those of an ordinary run of `machine`.
///
/// Another program that follows the documented arithmetic reproduces a trace in f64 code by code. In f32
/// codes near the middle between two depend on the order in which products are summed.
///
/// # Errors
/// Data that does not suit the network, or more of it than a trace may hold.
pub fn trace_run<T: Real>(machine: &Machine<T>, data: &Dataset) -> Result<Trace<T>> {
    let program = machine.program();
    let input = data.batch(0..data.len(), machine.input_shape())?;
    let mut layers: BTreeMap<LayerId, LayerTrace> = BTreeMap::new();
    for it in list_uses(program) {
        layers.entry(it.layer).or_default().per_image += it.n_positions;
    }
    let mut recorder =
        Recorder { engine: machine.engine().recording(), layers: layers.into_values().collect() };
    let mut outputs = Vec::new();
    let mut next = 0;
    while next < data.len() {
        // The first image alone says how large the trace will be.
        let end = if next == 0 { 1 } else { data.len().min(next + IMAGES_AT_ONCE) };
        let images = input.slice_axis(Axis(0), (next..end).into()).to_owned();
        let run = run_program(program, &images, next as u64, &mut recorder, &mut |_, _| ());
        outputs.extend(run.into_iter().next());
        if next == 0 {
            let of_layers: usize = recorder.layers.iter().map(LayerTrace::count_numbers).sum();
            check_size(of_layers + recorder.engine.count_recorded(), data.len())?;
        }
        next = end;
    }
    let views: Vec<_> = outputs.iter().map(|part| part.view()).collect();
    let outputs = concatenate(Axis(0), &views).expect("every chunk has the same output shape");
    let conversions = recorder.engine.take_record();
    Ok(Trace { input, outputs, layers: recorder.layers, conversions })
}

/// Refuses a trace that does not fit, once the first image has been traced.
fn check_size(numbers: usize, images: usize) -> Result<()> {
    let most = MAX_NUMBERS / numbers.max(1);
    if images <= most {
        return Ok(());
    }
    let message = format!("would hold {images} images of {numbers} numbers, at most {MAX_NUMBERS}");
    let hint = format!("trace fewer images with `--limit {}`", most.max(1));
    Err(Diagnostic::bad_input("--trace", message).hint(hint).into())
}

impl<T: Real> Trace<T> {
    /// The first output for every image, `[images, output shape...]`.
    pub fn outputs(&self) -> &Tensor {
        &self.outputs
    }

    /// The trace as `.npz` bytes.
    ///
    /// # Errors
    /// A writer's failure is passed on.
    pub fn to_npz(&self) -> Result<Vec<u8>> {
        let failed =
            |error: ndarray_npy::WriteNpzError| Diagnostic::internal("trace", error.to_string());
        let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
        let mut add =
            |name: String, values: &ArrayD<f32>| npz.add_array(name, values).map_err(failed);
        add("input".to_owned(), &self.input.to_owned().into_dyn())?;
        add("outputs".to_owned(), &self.outputs.to_owned().into_dyn())?;
        for (id, layer) in self.layers.iter_enumerated() {
            for (name, calls) in [("x", &layer.inputs), ("out", &layer.outputs)] {
                let calls = layer.columns.iter().copied().zip(calls.iter().map(|it| it.view()));
                let joined = join_calls(calls);
                add(format!("{id}_{name}"), &joined.into_dyn())?;
            }
        }
        for (id, layer) in self.layers.iter_enumerated() {
            let per_image = Array1::from_vec(vec![layer.per_image as u64]);
            npz.add_array(format!("{id}_per_image"), &per_image).map_err(failed)?;
        }
        for (name, values) in self.stack_slices(|it| it.drives.mapv(T::to_f64), "drives") {
            npz.add_array(name, &values).map_err(failed)?;
        }
        for (name, values) in self.stack_slices(|it| it.codes.mapv(T::to_f64), "codes") {
            npz.add_array(name, &values).map_err(failed)?;
        }
        for (name, values) in self.stack_slices(|it| it.draws.clone(), "draws") {
            npz.add_array(name, &values).map_err(failed)?;
        }
        Ok(npz.finish().map_err(failed)?.into_inner())
    }

    /// One array per tile and pass, `[slices, lines, columns]`, with its name in the archive.
    fn stack_slices<N: Clone>(
        &self,
        pick: impl Fn(&Conversions<T>) -> Array2<N>,
        what: &str,
    ) -> Vec<(String, Array3<N>)> {
        let mut slices: BTreeMap<(TileId, u32), Vec<Array2<N>>> = BTreeMap::new();
        for (place, conversions) in &self.conversions {
            slices.entry((place.tile, place.pass)).or_default().push(pick(conversions));
        }
        let stack = |((tile, pass), slices): (_, Vec<Array2<N>>)| {
            let views: Vec<_> = slices.iter().map(|slice| slice.view()).collect();
            let stacked = ndarray::stack(Axis(0), &views).expect("slices have the tile's size");
            (format!("{tile}_p{pass}_{what}"), stacked)
        };
        slices.into_iter().map(stack).collect()
    }
}

/// Passes products on and keeps them.
struct Recorder<'a, T> {
    engine: ChipEngine<'a, T>,
    layers: IdVec<LayerId, LayerTrace>,
}

impl<T: Real> MatrixEngine for Recorder<'_, T> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        self.engine.multiply(layer, columns, x, out.view_mut());
        let trace = &mut self.layers[layer];
        trace.columns.push(columns);
        trace.inputs.push(row_major(x));
        trace.outputs.push(row_major(out.view()));
    }
}

fn row_major(values: ArrayView2<'_, f32>) -> Array2<f32> {
    values.as_standard_layout().into_owned()
}

#[cfg(test)]
mod tests {
    use nvcim_chip::effects::EffectSet;
    use nvcim_chip::presets::find_preset;
    use nvcim_sim::conditions::Conditions;

    use super::trace_run;
    use crate::data::{Dataset, Preprocess};
    use crate::demo;
    use crate::model::Model;
    use crate::pipeline::{CompileOptions, compile_model};
    use crate::simulate::{DieChoice, load_image, resolve_die, run_data};

    #[test]
    fn a_trace_has_the_outputs_of_the_run_and_every_product() {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let chip = find_preset(demo::CHIP).unwrap();
        let image = compile_model(&model, &chip, &CompileOptions::default()).unwrap().output.image;
        let die = resolve_die(&image, DieChoice::Seed(4));
        let conditions =
            Conditions { effects: EffectSet::ALL, at_s: 0.0, extrapolate: false, run_seed: 7 };
        let machine = load_image(&image, &die, conditions).unwrap();
        let preprocess = Preprocess { limit: Some(21), ..Preprocess::default() };
        let data = Dataset::open("digits", preprocess).unwrap();
        let trace = trace_run(&machine, &data).unwrap();
        assert_eq!(trace.outputs(), &run_data(&machine, &data, &|_| ()).unwrap().outputs);
        for (layer, seen) in image.net.layers.iter().zip(&trace.layers) {
            let columns = |parts: &[ndarray::Array2<f32>]| parts.iter().map(|it| it.ncols()).sum();
            let want: usize = 21 * seen.per_image;
            let (inputs, outputs): (usize, usize) = (columns(&seen.inputs), columns(&seen.outputs));
            assert_eq!((inputs, outputs), (want, want), "{}", layer.name);
            assert!(seen.inputs.iter().all(|it| it.nrows() == layer.shape.n_rows));
            assert!(seen.outputs.iter().all(|it| it.nrows() == layer.shape.n_cols));
        }
        // The last product is the network's output: no step follows it.
        let last = trace.layers.iter().last().unwrap();
        let joined: Vec<f32> =
            last.outputs.iter().flat_map(|it| it.t().iter().copied().collect::<Vec<_>>()).collect();
        assert_eq!(joined, trace.outputs().iter().copied().collect::<Vec<_>>());
        assert!(trace.to_npz().unwrap().starts_with(b"PK"));
    }
}
