//! Watching inputs and clean currents while calibration images run through float matrices.
//!
//! Two passes over the images (three with a percentile), in chunks, so that memory does not grow with
//! their number: full scales first, because currents depend on how the DAC rounds. Currents cost one
//! product per tile beside the layer's own.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Zip, s};
use nvcim_chip::effects::dac;
use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::InputCoding;
use nvcim_ops::float_engine::WatchedEngine;
use nvcim_ops::run_program;
use nvcim_ops::tensor::Tensor;
use rayon::prelude::*;

use super::Task;
use super::currents::{self, Sensed};
use super::ranges::Seen;
use crate::cut::Cut;
use crate::span::{Span, code_input};

/// Images run at once.
const CHUNK: usize = 32;
/// Input vectors driven at once; bounds the scratch memory of a wide image.
const BLOCK: usize = 1024;
/// Bins of the histogram from which a percentile is read; its error is one bin of the largest magnitude.
const BINS: usize = 4096;

/// How each layer's inputs are to be driven; an error where one of them is not finite.
pub(super) fn scan_inputs(
    task: &Task<'_>,
    images: &Tensor,
    percentile: f64,
) -> Result<IdVec<LayerId, InputCoding>> {
    let mut spans: IdVec<LayerId, Span> = task.layers.iter().map(|_| Span::EMPTY).collect();
    let mut finite: IdVec<LayerId, bool> = task.layers.iter().map(|_| true).collect();
    run_images(task, images, &mut |layer, x| {
        spans[layer] = spans[layer].join(Span::of_array(x));
        finite[layer] &= x.fold(true, |all, value| all & value.is_finite());
    });
    let strays = finite.iter_enumerated().filter(|(_, finite)| !**finite).map(|(id, _)| {
        let message = "gets an input that is not finite from the calibration images";
        let hint = "check that the images are scaled as the network expects";
        Diagnostic::bad_input(format!("layer `{}`", task.layers[id].name), message).hint(hint)
    });
    fail_if_any(strays.collect())?;
    let mut largest: IdVec<LayerId, f32> = spans.iter().map(|span| span.magnitude()).collect();
    if percentile < 100.0 {
        largest = scan_percentiles(task, images, &largest, percentile);
    }
    Ok(spans.iter().zip(&largest).map(|(&span, &largest)| code_input(span, largest)).collect())
}

/// The magnitude that `percentile` percent of each layer's drives do not exceed, to one bin.
fn scan_percentiles(
    task: &Task<'_>,
    images: &Tensor,
    largest: &IdVec<LayerId, f32>,
    percentile: f64,
) -> IdVec<LayerId, f32> {
    let mut bins: IdVec<LayerId, Vec<u64>> = task.layers.iter().map(|_| vec![0; BINS]).collect();
    run_images(task, images, &mut |layer, x| {
        let largest = largest[layer];
        for value in x {
            // A layer without any drive has largest 0; NaN as a bin number is 0.
            let bin = (value.abs() / largest * BINS as f32) as usize;
            bins[layer][bin.min(BINS - 1)] += 1;
        }
    });
    let read = |(bins, &largest): (&Vec<u64>, &f32)| {
        let total: u64 = bins.iter().sum();
        let wanted = total as f64 * percentile / 100.0;
        let mut below = 0;
        let reaches = |count: &u64| {
            below += count;
            below as f64 >= wanted
        };
        let bin = bins.iter().position(reaches).unwrap_or(BINS - 1);
        largest * ((bin + 1) as f32 / BINS as f32)
    };
    bins.iter().zip(largest).map(read).collect()
}

/// The clean currents of every conversion of every cut.
pub(super) fn scan_currents(
    task: &Task<'_>,
    images: &Tensor,
    inputs: &IdVec<LayerId, InputCoding>,
) -> Vec<Vec<Seen>> {
    let scan =
        |cut: &Cut| TileScan::new(currents::sense_cut(&task.layers[cut.layer], cut, task.chip));
    let mut tiles: Vec<TileScan> = task.cuts.par_iter().map(scan).collect();
    run_images(task, images, &mut |layer, x| {
        for x in x.axis_chunks_iter(Axis(1), BLOCK) {
            let drives = make_drives(task, inputs[layer], &x);
            let of_layer = tiles.par_iter_mut().zip(task.cuts).filter(|it| it.1.layer == layer);
            of_layer.for_each(|(tile, cut)| {
                for drives in &drives {
                    tile.cover(drives.slice(s![cut.rows.clone(), ..]));
                }
            });
        }
    });
    tiles.into_iter().map(TileScan::finish).collect()
}

/// What word lines get before each conversion, in full scales, `[rows, vectors]` each: pass by pass, slice
/// by slice.
fn make_drives(task: &Task<'_>, input: InputCoding, x: &ArrayView2<'_, f32>) -> Vec<Array2<f32>> {
    let mut drives = Array2::zeros(x.dim());
    Zip::from(&mut drives).and(x).for_each(|drive, &x| *drive = x / input.full_scale);
    let slices = dac::drives_converted(&task.chip.dac, drives.view());
    if !task.takes_two_passes(input) {
        return slices;
    }
    slices.iter().flat_map(|slice| dac::split_passes(slice.view())).collect()
}

/// The currents seen so far on one tile.
struct TileScan {
    sensed: Sensed,
    spans: Vec<Span>,
}

impl TileScan {
    fn new(sensed: Sensed) -> Self {
        Self { spans: vec![Span::EMPTY; sensed.slots.len()], sensed }
    }

    /// Sees the currents under `drives`, `[the tile's rows, vectors]`.
    fn cover(&mut self, drives: ArrayView2<'_, f32>) {
        let weights = &self.sensed.weights;
        let mut currents = Array2::zeros((weights.nrows(), drives.ncols()));
        general_mat_mul(1.0, weights, &drives, 0.0, &mut currents);
        for (span, currents) in self.spans.iter_mut().zip(currents.outer_iter()) {
            *span = span.join(Span::of_array(&currents.insert_axis(Axis(0))));
        }
    }

    fn finish(self) -> Vec<Seen> {
        let slots = self.sensed.slots.into_iter().zip(self.spans);
        slots.map(|(slot, span)| Seen { slot, span }).collect()
    }
}

/// Runs all images through float matrices and shows `see` each layer's input vectors, `[rows, vectors]`.
fn run_images(
    task: &Task<'_>,
    images: &Tensor,
    see: &mut dyn FnMut(LayerId, &ArrayView2<'_, f32>),
) {
    let mut engine = WatchedEngine::new(task.layers, see);
    let mut first_sample = 0;
    for chunk in images.axis_chunks_iter(Axis(0), CHUNK) {
        let chunk = chunk.as_standard_layout().into_owned();
        run_program::run_program(task.program, &chunk, first_sample, &mut engine, &mut |_, _| {});
        first_sample += CHUNK as u64;
    }
}
