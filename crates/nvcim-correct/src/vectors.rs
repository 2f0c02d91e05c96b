//! Calibration vectors: a few input vectors of every layer, taken from clean activations.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, concatenate};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::TiledNet;
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::run_program::{Columns, MatrixEngine, run_program};
use nvcim_ops::tensor::Tensor;

/// Positions of a feature map taken from each sample. Neighbouring positions say nearly the same, so
/// that a few from many samples tell more than all of a few samples.
const POSITIONS_PER_SAMPLE: usize = 4;

/// Samples run at once: bounds memory, not results.
const SAMPLES_AT_ONCE: usize = 16;

/// Collects input vectors of every layer, `[vectors, n_rows]` in input units, from clean activations.
pub(crate) fn collect_vectors(net: &TiledNet, calibration: &Tensor) -> IdVec<LayerId, Array2<f32>> {
    let none = || net.layers.iter().map(|_| Vec::new()).collect();
    let mut collector = Collector { float: FloatEngine::new(&net.layers), taken: none() };
    let n_samples = calibration.len_of(Axis(0));
    for first in (0..n_samples).step_by(SAMPLES_AT_ONCE) {
        let last = (first + SAMPLES_AT_ONCE).min(n_samples);
        let chunk = calibration.slice_axis(Axis(0), (first..last).into()).to_owned();
        run_program(&net.program, &chunk, first as u64, &mut collector, &mut |_, _| ());
    }
    let join = |(taken, layer): (&Vec<Array2<f32>>, _)| {
        let views: Vec<_> = taken.iter().map(|part| part.view()).collect();
        let n_rows = nvcim_ir::tiled::MatrixLayer::shape(layer).n_rows;
        concatenate(Axis(0), &views).unwrap_or_else(|_| Array2::zeros((0, n_rows)))
    };
    collector.taken.iter().zip(&net.layers).map(join).collect()
}

/// Runs float matrices and keeps a few of their input vectors.
struct Collector<'a> {
    float: FloatEngine<'a>,
    taken: IdVec<LayerId, Vec<Array2<f32>>>,
}

impl MatrixEngine for Collector<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    ) {
        let stride = columns.per_sample.div_ceil(POSITIONS_PER_SAMPLE).max(1);
        let chosen: Vec<usize> = (0..x.ncols())
            .filter(|column| (column % columns.per_sample) % stride == stride / 2)
            .collect();
        self.taken[layer].push(x.select(Axis(1), &chosen).reversed_axes());
        self.float.multiply(layer, columns, x, out);
    }
}
