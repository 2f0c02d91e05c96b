//! Matrix layers in exact floating point: what ideal arrays and converters would compute.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::MatrixLayer;

use crate::run_program::{Columns, MatrixEngine, fill_bias};

/// Multiplies by the matrices of a tiled net, block by block of a grouped layer.
#[derive(Debug, Clone, Copy)]
pub struct FloatEngine<'a> {
    layers: &'a IdVec<LayerId, MatrixLayer>,
}

impl<'a> FloatEngine<'a> {
    /// An engine for these layers.
    pub fn new(layers: &'a IdVec<LayerId, MatrixLayer>) -> Self {
        Self { layers }
    }
}

/// Float matrices whose inputs are shown to somebody, `[n_rows, columns]` each, before they are multiplied.
pub struct WatchedEngine<'a> {
    float: FloatEngine<'a>,
    see: &'a mut dyn FnMut(LayerId, &ArrayView2<'_, f32>),
}

impl<'a> WatchedEngine<'a> {
    /// An engine for these layers that shows their inputs to `see`.
    pub fn new(
        layers: &'a IdVec<LayerId, MatrixLayer>,
        see: &'a mut dyn FnMut(LayerId, &ArrayView2<'_, f32>),
    ) -> Self {
        Self { float: FloatEngine::new(layers), see }
    }
}

impl MatrixEngine for WatchedEngine<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    ) {
        (self.see)(layer, &x);
        self.float.multiply(layer, columns, x, out);
    }
}

impl MatrixEngine for FloatEngine<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        _columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        let MatrixLayer { blocks, bias, .. } = &self.layers[layer];
        fill_bias(&mut out, bias);
        let (_, block_rows, block_cols) = blocks.dim();
        let inputs = x.axis_chunks_iter(Axis(0), block_rows);
        let outputs = out.axis_chunks_iter_mut(Axis(0), block_cols);
        for ((block, x), mut out) in blocks.outer_iter().zip(inputs).zip(outputs) {
            general_mat_mul(1.0, &block.t(), &x, 1.0, &mut out);
        }
    }
}
