//! im2col: a convolution's input as a matrix with one column per window position.
//!
//! The matrix of one sample is `[channels kh kw, positions]`, row-major; rows go channel first, then
//! kernel row, then kernel column, as [`nvcim_ir::program::Lowering::Conv`] has it. A weight `[m, k]`
//! times this matrix is the sample's output `[m, oh, ow]` without any shuffling.

use ndarray::{ArrayView2, ArrayViewMut2};
use nvcim_ir::op::Window;

use crate::tensor::{Operand, Tensor, count_samples, elements, elements_mut, zeros};
use crate::walk::{Reach, find_reaches, lines_under};

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

    /// Adds each element of `columns`, `[n_rows, n_positions]`, to the element of `sample` that
    /// [`Im2col::fill`] takes it from: the way back of a gradient. What stands over padding is dropped.
    pub fn add_back(&self, columns: &[f32], sample: &mut [f32]) {
        let ([_, height, width], [_, out_width]) = (self.sample, self.output);
        let [stride_h, stride_w] = self.strides;
        let mut matrix_rows = columns.chunks_exact(self.n_positions());
        for plane in sample.chunks_exact_mut(height * width) {
            for row in &self.rows {
                for (col, matrix_row) in self.cols.iter().zip(&mut matrix_rows) {
                    let lines = matrix_row.chunks_exact(out_width);
                    for (at, line) in row.positions.clone().zip(lines.skip(row.positions.start)) {
                        let start = (row.first + (at - row.positions.start) * stride_h) * width;
                        let to = plane[start + col.first..].iter_mut().step_by(stride_w);
                        let from = &line[col.positions.clone()];
                        to.zip(from).for_each(|(to, from)| *to += from);
                    }
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
        let sources = lines_under(plane, width, row, stride_h);
        for (line, source) in lines.zip(sources) {
            line[..col.positions.start].fill(0.0);
            line[col.positions.end..].fill(0.0);
            let line = &mut line[col.positions.clone()];
            let source = &source[col.first..];
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
    let &[filters, ref output @ ..] = shape else {
        unreachable!("the verifier has seen [m, oh, ow] behind a convolution")
    };
    let n_positions: usize = output.iter().product();
    let mut res = zeros(count_samples(x), shape);
    let mut outputs = elements_mut(&mut res).chunks_exact_mut(filters * n_positions);
    lower_samples(x, window, output, |sample, columns| {
        let output = outputs.next().expect("there is an output for every sample");
        let output = ArrayViewMut2::from_shape((filters, n_positions), output);
        product(sample, columns, output.expect("the output was cut to this shape"));
    });
    res
}

/// Shows the im2col matrix of every sample, `[k, positions]`, with the sample's number. `output` is
/// `[oh, ow]`.
pub fn lower_samples(
    x: &Operand<'_>,
    window: &Window,
    output: &[usize],
    mut see: impl FnMut(usize, ArrayView2<'_, f32>),
) {
    let (&[_, channels, height, width], &[out_height, out_width]) = (x.shape(), output) else {
        unreachable!("the verifier has seen [c, h, w] on both sides of a convolution")
    };
    let plan = Im2col::new(window, [channels, height, width], [out_height, out_width]);
    let (n_rows, n_positions) = (plan.n_rows(), plan.n_positions());
    let mut buffer = vec![0.0; if plan.identity { 0 } else { n_rows * n_positions }];
    for (at, sample) in elements(x).chunks_exact(channels * height * width).enumerate() {
        let columns = if plan.identity {
            sample
        } else {
            plan.fill(sample, &mut buffer);
            &buffer
        };
        let columns = ArrayView2::from_shape((n_rows, n_positions), columns);
        see(at, columns.expect("the buffers were cut to these shapes"));
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::op::Window;
    use proptest::prelude::proptest;

    use super::{Im2col, convolve_samples};
    use crate::tensor::Operand;
    use crate::testing::{element_under, tensor, values, windows};

    #[test]
    fn rows_go_by_channel_then_kernel_row_then_kernel_column() {
        let window = Window::square(2, 1, 0);
        let plan = Im2col::new(&window, [2, 2, 3], [1, 2]);
        let mut columns = vec![f32::NAN; plan.n_rows() * plan.n_positions()];
        plan.fill(&[1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.], &mut columns);
        #[rustfmt::skip]
        let want = [
            1., 2.,  2., 3.,  4., 5.,  5., 6.,
            7., 8.,  8., 9.,  10., 11.,  11., 12.,
        ];
        assert_eq!(columns, want);
    }

    #[test]
    fn padding_is_zero_even_in_a_used_buffer() {
        let window = Window { pads_begin: [1, 0], pads_end: [0, 2], ..Window::square(1, 2, 0) };
        let plan = Im2col::new(&window, [1, 2, 2], [2, 2]);
        let mut columns = vec![f32::NAN; 4];
        plan.fill(&[1., 2., 3., 4.], &mut columns);
        assert_eq!(columns, [0., 0., 3., 0.]);
    }

    #[test]
    fn a_pointwise_window_reads_the_sample_itself() {
        let x = values(&[2, 3, 2, 2], 1);
        let mut seen = Vec::new();
        convolve_samples(
            &Operand::from(&x),
            &Window::square(1, 1, 0),
            &[5, 2, 2],
            |sample, columns, out| {
                assert_eq!((columns.dim(), out.dim()), ((3, 4), (5, 4)));
                seen.push(sample);
                assert!(columns.iter().eq(x.index_axis(ndarray::Axis(0), sample)));
            },
        );
        assert_eq!(seen, [0, 1]);
        let strided = convolve_samples(
            &Operand::from(&x),
            &Window::square(1, 2, 0),
            &[1, 1, 1],
            |_, x, mut out| {
                out.assign(&x.slice(ndarray::s![..1, ..]));
            },
        );
        assert_eq!(strided, tensor(&[2, 1, 1, 1], &[x[[0, 0, 0, 0]], x[[1, 0, 0, 0]]]));
    }

    proptest! {
        #[test]
        fn the_way_back_is_the_adjoint((window, [height, width], out) in windows()) {
            let sample = values(&[2, height, width], 3);
            let plan = Im2col::new(&window, [2, height, width], out);
            let len = plan.n_rows() * plan.n_positions();
            let (mut columns, back) = (vec![f32::NAN; len], values(&[len], 4));
            plan.fill(sample.as_slice().unwrap(), &mut columns);
            let mut returned = vec![0.0; sample.len()];
            plan.add_back(back.as_slice().unwrap(), &mut returned);
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let forth = dot(&columns, back.as_slice().unwrap());
            let back = dot(sample.as_slice().unwrap(), &returned);
            assert!((forth - back).abs() <= 1e-4 * (1.0 + forth.abs()), "{forth} {back}");
        }

        #[test]
        fn every_element_is_the_one_under_its_tap((window, [height, width], out) in windows()) {
            let sample = values(&[2, height, width], 3);
            let plan = Im2col::new(&window, [2, height, width], out);
            let mut columns = vec![f32::NAN; plan.n_rows() * plan.n_positions()];
            plan.fill(sample.as_slice().unwrap(), &mut columns);
            let mut got = columns.into_iter();
            let [kernel_h, kernel_w] = window.kernel;
            for (channel, tap_h, tap_w) in ndarray::indices((2, kernel_h, kernel_w)) {
                for (y, x) in ndarray::indices(out) {
                    let y = element_under(&window, 0, height, y, tap_h);
                    let x = element_under(&window, 1, width, x, tap_w);
                    let want = match (y, x) {
                        (Ok(y), Ok(x)) => sample[[channel, y, x]],
                        _ => 0.0,
                    };
                    assert_eq!(got.next(), Some(want));
                }
            }
            assert_eq!(got.next(), None);
        }
    }
}
