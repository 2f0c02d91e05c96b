//! Normalisation by the statistics of the sample itself: layer, instance, group and root-mean-square norms
//! up to their scale and bias.

use crate::layout;
use crate::tensor::{Operand, Tensor, elements_mut, sum};

/// `(x - mean) / sqrt(var + epsilon)` with statistics over `axes` of a sample; not `centred`,
/// `x / sqrt(mean(x^2) + epsilon)`. In place where the operand was handed over and the axes are last.
///
/// The variance is the mean of squared deviations, summed after the mean is known, so that it loses
/// nothing where the mean is large.
pub fn normalize(x: Operand<'_>, axes: &[usize], epsilon: f32, centred: bool) -> Tensor {
    let rank = x.ndim() - 1;
    let others = (0..rank).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = others.chain(axes.iter().copied()).collect();
    if order.is_sorted() {
        let lens = &x.shape()[1 + rank - axes.len()..];
        let len = lens.iter().product();
        let mut res = x.into_owned();
        for row in elements_mut(&mut res).chunks_exact_mut(len) {
            normalize_row(row, epsilon, centred);
        }
        return res;
    }
    let last: Vec<usize> = (rank - axes.len()..rank).collect();
    let moved = Operand::from(layout::transpose(&x, &order));
    let normalized = Operand::from(normalize(moved, &last, epsilon, centred));
    let mut back = vec![0; rank];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    layout::transpose(&normalized, &back)
}

fn normalize_row(row: &mut [f32], epsilon: f32, centred: bool) {
    let count = row.len() as f32;
    if centred {
        let mean = sum(row) / count;
        row.iter_mut().for_each(|value| *value -= mean);
    }
    let squares: Vec<f32> = row.iter().map(|value| value * value).collect();
    let deviation = (sum(&squares) / count + epsilon).sqrt();
    row.iter_mut().for_each(|value| *value /= deviation);
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;
    use proptest::prelude::{any, proptest};
    use proptest::sample::subsequence;

    use super::normalize;
    use crate::tensor::Operand;
    use crate::testing::{assert_close, tensor, values};

    #[test]
    fn rows_are_normalised() {
        let x = tensor(&[1, 2, 2], &[1., 3., -2., 2.]);
        let centred = normalize(Operand::from(&x), &[1], 0.0, true);
        assert_eq!(centred, tensor(&[1, 2, 2], &[-1., 1., -1., 1.]));
        let plain = normalize(Operand::from(&x), &[1], 0.0, false);
        let root = 5f32.sqrt();
        assert_close(&plain, &tensor(&[1, 2, 2], &[1. / root, 3. / root, -1., 1.]));
        let flat = tensor(&[1, 2], &[7., 7.]);
        assert_eq!(normalize(Operand::from(flat), &[0], 1e-5, true), tensor(&[1, 2], &[0., 0.]));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition_over_any_axes(
            shape in [1..4usize, 1..9, 1..4],
            axes in subsequence(vec![0usize, 1, 2], 1..=3),
            centred in any::<bool>(),
        ) {
            let x = values(&[2, shape[0], shape[1], shape[2]], 5);
            let mean = |mut x: ndarray::ArrayD<f64>| {
                for axis in &axes {
                    x = x.mean_axis(Axis(axis + 1)).unwrap().insert_axis(Axis(axis + 1));
                }
                x
            };
            let wide = x.mapv(f64::from);
            let wide = if centred { &wide - &mean(wide.clone()) } else { wide };
            let deviation = mean(wide.mapv(|x| x * x)).mapv(|var| (var + 0.01).sqrt());
            let got = normalize(Operand::from(&x), &axes, 0.01, centred);
            assert_close(&got, &(wide / deviation).mapv(|x| x as f32));
        }
    }
}
