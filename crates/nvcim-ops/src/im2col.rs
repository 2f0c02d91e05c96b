//! im2col: a convolution's input as a matrix with one column per window position.
//!
//! The matrix of one sample is `[channels kh kw, positions]`, row-major; rows go channel first, then
//! kernel row, then kernel column, as [`nvcim_ir::program::Lowering::Conv`] has it. A weight `[m, k]`
//! times this matrix is the sample's output `[m, oh, ow]` without any shuffling.

use ndarray::{ArrayView2, ArrayViewMut2};
use nvcim_ir::op::Window;

use crate::tensor::{Operand, Tensor, count_samples, elements, elements_mut, zeros};
use crate::walk::{Reach, find_reaches};

/// Lowers samples of one shape under one window.
#[derive(Debug, Clone)]
pub struct Im2col {
    sample: [usize; 3],
    output: [usize; 2],
    strides: [usize; 2],
    rows: Vec<Reach>,
    cols: Vec<Reach>,
    identity: bool,
}

impl Im2col {
    /// A plan for samples `[channels, height, width]` and outputs `[oh, ow]`.
    pub fn new(window: &Window, sample: [usize; 3], output: [usize; 2]) -> Self {
        let [_, height, width] = sample;
        let Window { kernel, strides, dilations: _, pads_begin, pads_end } = window;
        Self {
            sample,
            output,
            strides: *strides,
            rows: find_reaches(window, 0, height, output[0]),
            cols: find_reaches(window, 1, width, output[1]),
            identity: (*kernel, *strides, *pads_begin, *pads_end)
                == ([1; 2], [1; 2], [0; 2], [0; 2]),
        }
    }

    /// The matrix's rows: `channels kh kw`.
    pub fn n_rows(&self) -> usize {
        self.sample[0] * self.rows.len() * self.cols.len()
    }

    /// The matrix's columns: output positions.
    pub fn n_positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Writes the matrix of one sample, `[channels, height, width]`, over all of `columns`,
    /// `[n_rows, n_positions]`.
    pub fn fill(&self, sample: &[f32], columns: &mut [f32]) {
        let [_, height, width] = self.sample;
        let mut matrix_rows = columns.chunks_exact_mut(self.n_positions());
        for plane in sample.chunks_exact(height * width) {
            for row in &self.rows {
                for (col, matrix_row) in self.cols.iter().zip(&mut matrix_rows) {
                    self.fill_row(plane, row, col, matrix_row);
                }
            }
        }
    }

    /// Writes what one tap sees at every position.
    fn fill_row(&self, plane: &[f32], row: &Reach, col: &Reach, out: &mut [f32]) {
        let ([_, _, width], [_, out_width]) = (self.sample, self.output);
        let [stride_h, stride_w] = self.strides;
        out[..row.positions.start * out_width].fill(0.0);
        out[row.positions.end * out_width..].fill(0.0);
        let inside = &mut out[row.positions.start * out_width..row.positions.end * out_width];
        let lines = inside.chunks_exact_mut(out_width);
        let sources = plane[row.first * width..].chunks(width * stride_h);
        for (line, source) in lines.zip(sources) {
            line[..col.positions.start].fill(0.0);
            line[col.positions.end..].fill(0.0);
            let line = &mut line[col.positions.clone()];
            let source = &source[col.first..width];
            if stride_w == 1 {
                line.copy_from_slice(&source[..line.len()]);
            } else {
                for (to, from) in line.iter_mut().zip(source.iter().step_by(stride_w)) {
                    *to = *from;
                }
            }
        }
    }
}

/// Convolves sample by sample: `product` gets the sample's number, its im2col matrix `[k, positions]`
/// and its zeroed output `[m, positions]`. `shape` is the output's, `[m, oh, ow]`.
///
/// One buffer serves all samples, and a 1x1 window at stride 1 none: there the sample is the matrix.
pub fn convolve_samples(
    x: &Operand<'_>,
    window: &Window,
    shape: &[usize],
    mut product: impl FnMut(usize, ArrayView2<'_, f32>, ArrayViewMut2<'_, f32>),
) -> Tensor {
    let (&[_, channels, height, width], &[filters, out_height, out_width]) = (x.shape(), shape)
    else {
        unreachable!("the verifier has seen [c, h, w] on both sides of a convolution")
    };
    let plan = Im2col::new(window, [channels, height, width], [out_height, out_width]);
    let (n_rows, n_positions) = (plan.n_rows(), plan.n_positions());
    let mut res = zeros(count_samples(x), shape);
    let mut buffer = vec![0.0; if plan.identity { 0 } else { n_rows * n_positions }];
    let samples = elements(x).chunks_exact(channels * height * width);
    let outputs = elements_mut(&mut res).chunks_exact_mut(filters * n_positions);
    for (at, (sample, output)) in samples.zip(outputs).enumerate() {
        let columns = if plan.identity {
            sample
        } else {
            plan.fill(sample, &mut buffer);
            &buffer
        };
        let columns = ArrayView2::from_shape((n_rows, n_positions), columns);
        let output = ArrayViewMut2::from_shape((filters, n_positions), output);
        let proof = "the buffers were cut to these shapes";
        product(at, columns.expect(proof), output.expect(proof));
    }
    res
}
