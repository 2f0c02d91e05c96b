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
