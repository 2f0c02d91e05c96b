//! A matrix layer on the tape: forth as its arrays would compute it in one step, straight through on the way
//! back.
//!
//! Notation: a layer's inputs `x` are driven as `x^ = DAC(x / full_scale)`; each conversion of a tile sees a
//! current `y`, answers with a code, and adds what the code is worth to its output column. On the way back
//! rounding counts as the identity, and what was clipped lets no gradient through: a column whose conversion
//! left its range, an input beyond full scale. With `M` the output per input that the tile's cells make of an
//! input where nothing is rounded, and `d` the gradient of its outputs where nothing was clipped,
//!
//! ```text
//! dx = M^T d      dW = x^ full_scale d^T
//! ```
//!
//! so that a weight learns as if its cells held it exactly, and an input as the cells really are. Straight
//! through estimators: Y. Bengio, N. Léonard and A. Courville, arXiv 1308.3432.

use std::ops::Range;
use std::sync::Arc;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use nvcim_ir::program::Lowering;
use nvcim_ops::im2col::Im2col;

use crate::convert::{Clipped, Converter, Key};
use crate::drive::Drive;
use crate::tape::{self, Var, WayBack};

/// A layer as one step of training sees it.
#[derive(Debug, Clone)]
pub(crate) struct SeenLayer {
    /// Groups, rows per group, columns per group.
    pub(crate) blocks: (usize, usize, usize),
    /// Added to each output, `[n_cols]`.
    pub(crate) bias: Vec<f32>,
    /// How inputs are driven; `None` where they enter as they are.
    pub(crate) drive: Option<Drive>,
    /// The tiles that add up to the layer.
    pub(crate) tiles: Vec<SeenTile>,
}

/// A rectangle of a layer as one step sees it.
#[derive(Debug, Clone)]
pub(crate) struct SeenTile {
    /// The rows of the layer's matrix.
    pub(crate) rows: Range<usize>,
    /// The columns of the layer's matrix.
    pub(crate) cols: Range<usize>,
    /// Output per input where nothing is rounded, `[columns, rows]`.
    pub(crate) linear: Array2<f32>,
    /// Added to each output whatever the input, `[columns]`; empty for nothing.
    pub(crate) shift: Vec<f32>,
    /// The conversions; `None` where nothing is rounded and nothing is noisy, so that `linear` says it all.
    pub(crate) converter: Option<Converter>,
}

impl SeenLayer {
    /// A layer in exact floating point; `weights` are its blocks, `[groups, rows, columns]`.
    pub(crate) fn exact(blocks: (usize, usize, usize), weights: &[f32], bias: &[f32]) -> Self {
        let (groups, rows, cols) = blocks;
        let tile = |group: usize| {
            let block = &weights[group * rows * cols..][..rows * cols];
            let block = ArrayView2::from_shape((rows, cols), block).expect("the block's own size");
            SeenTile {
                rows: group * rows..(group + 1) * rows,
                cols: group * cols..(group + 1) * cols,
                linear: block.t().as_standard_layout().into_owned(),
                shift: Vec::new(),
                converter: None,
            }
        };
        let tiles = (0..groups).map(tile).collect();
        Self { blocks, bias: bias.to_vec(), drive: None, tiles }
    }
}

/// The leaves that a layer's gradients are asked for by.
#[derive(Debug, Clone)]
pub(crate) struct Leaves {
    /// `[groups, rows, columns]` in a row.
    pub(crate) weights: Var,
    /// `[n_cols]`.
    pub(crate) bias: Var,
}

/// Multiplies `x`, `[samples, shape...]`, by a layer to samples of `shape`; `key` names the draws of noise.
pub(crate) fn multiply(
    x: &Var,
    leaves: &Leaves,
    layer: &Arc<SeenLayer>,
    lowering: &Lowering,
    shape: &[usize],
    key: Key,
) -> Var {
    let from = tape::shape_of(x);
    let full = [&from[..1], shape].concat();
    let walk = Walk::new(lowering, &from, shape, layer.bias.len());
    let x_values = tape::values_of(x);
    let driven = layer.drive.as_ref().map(|drive| drive.round(&x_values));
    let mut out = vec![0.0; full.iter().product()];
    let mut clipped = Vec::new();
    walk.for_each(driven.as_ref().unwrap_or(&x_values), |piece, x| {
        let mut out = walk.outputs(&mut out, piece);
        for (mut row, &bias) in out.outer_iter_mut().zip(&layer.bias) {
            row.fill(bias);
        }
        layer.add_products(x, out.view_mut(), Key { piece, ..key }, &mut clipped);
    });
    let back = Back { layer: Arc::clone(layer), walk, x: x_values, clipped, key };
    tape::record([x, &leaves.weights, &leaves.bias], out, &full, back)
}

impl SeenLayer {
    /// Adds what every tile makes of `x`, drives or exact inputs, `[rows, columns]`, to `out`; what was clipped is
    /// appended, tile by tile.
    fn add_products(
        &self,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
        key: Key,
        clipped: &mut Vec<Clipped>,
    ) {
        let uneven = self.drive.as_ref().and_then(|drive| drive.jitter(x, key));
        let x = uneven.as_ref().map_or(x, |uneven| uneven.view());
        let parts = self.drive.as_ref().map(|drive| drive.parts(x));
        for (at, tile) in self.tiles.iter().enumerate() {
            let mut out = out.slice_mut(s![tile.cols.clone(), ..]);
            match (&tile.converter, &parts) {
                (Some(converter), Some(parts)) => {
                    let key = Key { tile: at, ..key };
                    clipped.push(converter.convert(parts, tile.rows.clone(), out.view_mut(), key));
                }
                _ => {
                    let x = x.slice(s![tile.rows.clone(), ..]);
                    let unit = self.drive.as_ref().map_or(1.0, |drive| drive.full_scale);
                    general_mat_mul(unit, &tile.linear, &x, 1.0, &mut out);
                    clipped.push(Clipped::default());
                }
            }
            for (mut row, &shift) in out.outer_iter_mut().zip(&tile.shift) {
                row += shift;
            }
        }
    }
}

/// How a layer's operand becomes matrices of input vectors, piece by piece.
#[derive(Debug)]
struct Walk {
    plan: Option<Im2col>,
    /// Elements of a sample of the operand.
    len: usize,
    /// Length of an input vector.
    n_rows: usize,
    n_cols: usize,
}

impl Walk {
    fn new(lowering: &Lowering, from: &[usize], shape: &[usize], n_cols: usize) -> Self {
        let len = from[1..].iter().product();
        let (plan, n_rows) = match lowering {
            Lowering::Dense => (None, from[from.len() - 1]),
            Lowering::Conv(window) => {
                let (&[_, channels, height, width], &[_, out_height, out_width]) = (from, shape)
                else {
                    unreachable!("the verifier has seen [c, h, w] on both sides of a convolution")
                };
                let plan = Im2col::new(window, [channels, height, width], [out_height, out_width]);
                let n_rows = plan.n_rows();
                (Some(plan), n_rows)
            }
        };
        Self { plan, len, n_rows, n_cols }
    }

    /// Shows every piece of the operand, `[rows, columns]`: a sample of a convolution, else all at once.
    fn for_each(&self, x: &[f32], mut see: impl FnMut(usize, ArrayView2<'_, f32>)) {
        let Some(plan) = &self.plan else {
            let rows = ArrayView2::from_shape((x.len() / self.n_rows, self.n_rows), x);
            return see(0, rows.expect("rows cover the tensor").reversed_axes());
        };
        let dim = (self.n_rows, plan.n_positions());
        let mut buffer = vec![0.0; dim.0 * dim.1];
        for (piece, sample) in x.chunks_exact(self.len).enumerate() {
            plan.fill(sample, &mut buffer);
            see(piece, ArrayView2::from_shape(dim, &buffer).expect("the buffer was cut to this"));
        }
    }

    /// The outputs of a piece, `[n_cols, columns]`.
    fn outputs<'a>(&self, out: &'a mut [f32], piece: usize) -> ArrayViewMut2<'a, f32> {
        let n_cols = self.n_cols;
        match &self.plan {
            None => ArrayViewMut2::from_shape((out.len() / n_cols, n_cols), out)
                .expect("rows cover the tensor")
                .reversed_axes(),
            Some(plan) => {
                let len = n_cols * plan.n_positions();
                let out = &mut out[piece * len..][..len];
                ArrayViewMut2::from_shape((n_cols, plan.n_positions()), out)
                    .expect("the slice was cut to this")
            }
        }
    }

    /// The same to look at.
    fn gradients<'a>(&self, out: &'a [f32], piece: usize) -> ArrayView2<'a, f32> {
        let n_cols = self.n_cols;
        match &self.plan {
            None => ArrayView2::from_shape((out.len() / n_cols, n_cols), out)
                .expect("rows cover the tensor")
                .reversed_axes(),
            Some(plan) => {
                let len = n_cols * plan.n_positions();
                let out = &out[piece * len..][..len];
                ArrayView2::from_shape((n_cols, plan.n_positions()), out)
                    .expect("the slice was cut to this")
            }
        }
    }

    /// Adds the gradient of a piece's input vectors, `[rows, columns]` in standard layout, to the operand's.
    fn add_back(&self, gradient: &Array2<f32>, piece: usize, x: &mut [f32]) {
        match &self.plan {
            None => {
                let dim = (x.len() / self.n_rows, self.n_rows);
                let mut x = ArrayViewMut2::from_shape(dim, x).expect("rows cover the tensor");
                x += &gradient.t();
            }
            Some(plan) => {
                let gradient = gradient.as_slice().expect("made in standard layout");
                plan.add_back(gradient, &mut x[piece * self.len..][..self.len]);
            }
        }
    }
}

/// What the way back through a layer needs.
#[derive(Debug)]
struct Back {
    layer: Arc<SeenLayer>,
    walk: Walk,
    x: Vec<f32>,
    /// Piece by piece, tile by tile.
    clipped: Vec<Clipped>,
    key: Key,
}

impl WayBack<3> for Back {
    fn pull(&self, gradient: &[f32], wanted: [bool; 3]) -> [Vec<f32>; 3] {
        let Self { layer, walk, x, .. } = self;
        let mut of_x = vec![0.0; if wanted[0] { x.len() } else { 0 }];
        let mut of_bias = vec![0.0; layer.bias.len()];
        let mut of_tiles: Vec<Array2<f32>> = layer
            .tiles
            .iter()
            .map(|tile| Array2::zeros((tile.rows.len(), tile.cols.len())))
            .collect();
        let driven = layer.drive.as_ref().map(|drive| drive.round(x));
        walk.for_each(driven.as_ref().unwrap_or(x), |piece, x| {
            let gradient = walk.gradients(gradient, piece);
            for (of_bias, row) in of_bias.iter_mut().zip(gradient.outer_iter()) {
                *of_bias += row.iter().sum::<f32>();
            }
            let pulled = self.pull_piece(piece, x, gradient, &mut of_tiles, wanted[0]);
            if wanted[0] {
                walk.add_back(&pulled, piece, &mut of_x);
            }
        });
        if let Some(drive) = &layer.drive {
            let clipped = of_x.iter_mut().zip(x).filter(|(_, x)| drive.clips(**x));
            clipped.for_each(|(of_x, _)| *of_x = 0.0);
        }
        [of_x, self.gather_weights(&of_tiles), of_bias]
    }
}

impl Back {
    /// Adds to the gradients of the tiles' weights, and returns that of the piece's input vectors.
    fn pull_piece(
        &self,
        piece: usize,
        x: ArrayView2<'_, f32>,
        gradient: ArrayView2<'_, f32>,
        of_tiles: &mut [Array2<f32>],
        wants_x: bool,
    ) -> Array2<f32> {
        let layer = &self.layer;
        let key = Key { piece, ..self.key };
        let uneven = layer.drive.as_ref().and_then(|drive| drive.jitter(x, key));
        let x = uneven.as_ref().map_or(x, |uneven| uneven.view());
        let unit = layer.drive.as_ref().map_or(1.0, |drive| drive.full_scale);
        let mut of_x = Array2::zeros(if wants_x { x.dim() } else { (0, 0) });
        for (at, (tile, of_tile)) in layer.tiles.iter().zip(of_tiles).enumerate() {
            let clipped = &self.clipped[piece * layer.tiles.len() + at];
            let gradient = gradient.slice(s![tile.cols.clone(), ..]);
            let open = clipped.mask(gradient);
            let gradient = open.as_ref().map_or(gradient, |open| open.view());
            let x = x.slice(s![tile.rows.clone(), ..]);
            general_mat_mul(unit, &x, &gradient.t(), 1.0, of_tile);
            if wants_x {
                let mut of_x = of_x.slice_mut(s![tile.rows.clone(), ..]);
                general_mat_mul(1.0, &tile.linear.t(), &gradient, 1.0, &mut of_x);
            }
        }
        of_x
    }

    /// The gradients of the blocks from those of the tiles; tiles also cover the zeros between blocks.
    fn gather_weights(&self, of_tiles: &[Array2<f32>]) -> Vec<f32> {
        let (groups, block_rows, block_cols) = self.layer.blocks;
        let mut res = vec![0.0; groups * block_rows * block_cols];
        for (tile, of_tile) in self.layer.tiles.iter().zip(of_tiles) {
            for group in 0..groups {
                let (top, left) = (group * block_rows, group * block_cols);
                let rows = tile.rows.start.max(top)..tile.rows.end.min(top + block_rows);
                let cols = tile.cols.start.max(left)..tile.cols.end.min(left + block_cols);
                for row in rows {
                    for col in cols.clone() {
                        let at = (group * block_rows + row - top) * block_cols + col - left;
                        res[at] += of_tile[(row - tile.rows.start, col - tile.cols.start)];
                    }
                }
            }
        }
        res
    }
}
