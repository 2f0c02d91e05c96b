//! Convolution in floating point.

use ndarray::linalg::general_mat_mul;
use ndarray::{Axis, s};
use nvcim_ir::graph::Constant;
use nvcim_ir::op::Window;

use crate::im2col::convolve_samples;
use crate::run_program::fill_bias;
use crate::tensor::{Operand, Tensor, count_samples, elements, elements_mut, zeros};
use crate::walk::{Reach, find_reaches, lines_under};

/// Convolution of `[c, h, w]` with `weight` `[m, c / groups, kh, kw]` and `bias` `[m]`, to `shape`
/// `[m, oh, ow]`.
///
/// One matrix product per sample and group; a group of one channel has too little work for that and
/// is summed tap by tap.
pub fn conv(
    x: &Operand<'_>,
    weight: &Constant,
    bias: Option<&Constant>,
    window: &Window,
    groups: usize,
    shape: &[usize],
) -> Tensor {
    let filters = shape[0];
    let bias: Vec<f32> =
        bias.map_or_else(|| vec![0.0; filters], |bias| bias.value.iter().copied().collect());
    let weight = weight.value.as_standard_layout();
    let k = weight.len() / filters;
    let weight = weight.to_shape((filters, k)).expect("a weight has m rows of c / groups kh kw");
    let per_group = filters / groups;
    if groups > 1 && groups == x.shape()[1] {
        let weight = weight.as_slice().expect("the layout is standard");
        return convolve_planes(x, weight, &bias, window, per_group, shape);
    }
    convolve_samples(x, window, shape, |_, columns, mut out| {
        fill_bias(&mut out, &bias);
        for (group, mut out) in out.axis_chunks_iter_mut(Axis(0), per_group).enumerate() {
            let weight = weight.slice(s![group * per_group..(group + 1) * per_group, ..]);
            let columns = columns.slice(s![group * k..(group + 1) * k, ..]);
            general_mat_mul(1.0, &weight, &columns, 1.0, &mut out);
        }
    })
}

/// Depthwise convolution: every channel makes `per_group` filters of its own.
fn convolve_planes(
    x: &Operand<'_>,
    weight: &[f32],
    bias: &[f32],
    window: &Window,
    per_group: usize,
    shape: &[usize],
) -> Tensor {
    let (&[_, _, height, width], &[filters, out_height, out_width]) = (x.shape(), shape) else {
        unreachable!("the verifier has seen [c, h, w] on both sides of a convolution")
    };
    let rows = find_reaches(window, 0, height, out_height);
    let cols = find_reaches(window, 1, width, out_width);
    let taps = || rows.iter().flat_map(|row| cols.iter().map(move |col| (row, col)));
    let mut res = zeros(count_samples(x), shape);
    let planes = elements(x).chunks_exact(height * width);
    let outputs = elements_mut(&mut res).chunks_exact_mut(out_height * out_width);
    // A plane is read by `per_group` filters, which count anew with every sample.
    let planes = planes.flat_map(|plane| std::iter::repeat_n(plane, per_group));
    for ((plane, out), filter) in planes.zip(outputs).zip((0..filters).cycle()) {
        out.fill(bias[filter]);
        let kernel = &weight[filter * rows.len() * cols.len()..];
        for ((row, col), &weight) in taps().zip(kernel) {
            let out = &mut out[row.positions.start * out_width..row.positions.end * out_width];
            let sources = lines_under(plane, width, row, window.strides[0]);
            for (line, source) in out.chunks_exact_mut(out_width).zip(sources) {
                add_tap(line, source, col, window.strides[1], weight);
            }
        }
    }
    res
}

/// Adds what one tap sees along one line.
fn add_tap(line: &mut [f32], source: &[f32], col: &Reach, stride: usize, weight: f32) {
    let line = &mut line[col.positions.clone()];
    let source = &source[col.first..];
    if stride == 1 {
        line.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
    } else {
        let source = source.iter().step_by(stride);
        line.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, Ix3, IxDyn};
    use nvcim_ir::op::Window;
    use proptest::prelude::{Strategy, any, proptest};

    use super::conv;
    use crate::tensor::{Operand, Tensor};
    use crate::testing::{assert_close, constant, element_under, tensor, values, windows};

    #[test]
    fn sums_the_neighbourhood() {
        let x = tensor(&[1, 1, 2, 2], &[1., 2., 3., 4.]);
        let ones = constant(tensor(&[1, 1, 3, 3], &[1.; 9]));
        let bias = constant(tensor(&[1], &[0.5]));
        let got =
            conv(&Operand::from(&x), &ones, Some(&bias), &Window::square(3, 1, 1), 1, &[1, 2, 2]);
        assert_eq!(got, tensor(&[1, 1, 2, 2], &[10.5; 4]));
    }

    #[test]
    fn a_weight_may_lie_in_any_layout() {
        let x = values(&[2, 3, 4, 4], 1);
        let weight = values(&[2, 3, 3, 3], 2);
        let turned = weight.clone().reversed_axes().as_standard_layout().into_owned();
        let turned = constant(turned.reversed_axes());
        let run = |weight| {
            conv(&Operand::from(&x), weight, None, &Window::square(3, 1, 0), 1, &[2, 2, 2])
        };
        assert_eq!(run(&turned), run(&constant(weight)));
    }

    /// The definition, in double precision.
    fn convolve_directly(
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        window: &Window,
        shape: [usize; 3],
    ) -> Tensor {
        let (samples, height, width) = (x.shape()[0], x.shape()[2], x.shape()[3]);
        let (channels, filters) = (weight.shape()[1], shape[0]);
        let groups = x.shape()[1] / channels;
        let full = [samples, filters, shape[1], shape[2]];
        Tensor::from_shape_fn(IxDyn(&full), |at| {
            let group = at[1] / (filters / groups);
            let mut sum = f64::from(bias[at[1]]);
            for ((channel, tap_h, tap_w), weight) in weight
                .index_axis(Axis(0), at[1])
                .into_dimensionality::<Ix3>()
                .unwrap()
                .indexed_iter()
            {
                let y = element_under(window, 0, height, at[2], tap_h);
                let x_at = element_under(window, 1, width, at[3], tap_w);
                if let (Ok(y), Ok(x_at)) = (y, x_at) {
                    let value = x[[at[0], group * channels + channel, y, x_at]];
                    sum += f64::from(value) * f64::from(*weight);
                }
            }
            sum as f32
        })
    }

    fn groups() -> impl Strategy<Value = [usize; 3]> {
        [1..4usize, 1..4, 1..4]
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            (window, [height, width], [out_h, out_w]) in windows(),
            [groups, channels, filters] in groups(),
            seed in any::<u32>(),
        ) {
            let shape = [groups * filters, out_h, out_w];
            let x = values(&[2, groups * channels, height, width], seed);
            let [kernel_h, kernel_w] = window.kernel;
            let weight = values(&[groups * filters, channels, kernel_h, kernel_w], seed ^ 1);
            let bias = values(&[groups * filters], seed ^ 2);
            let want = convolve_directly(&x, &weight, &bias, &window, shape);
            let (weight, bias) = (constant(weight), constant(bias));
            let got = conv(&Operand::from(&x), &weight, Some(&bias), &window, groups, &shape);
            assert_close(&got, &want);
        }
    }
}
