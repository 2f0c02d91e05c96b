//! Means, sums, products and extremes over whole axes.

use nvcim_ir::op::Reduction;

use crate::tensor::{Operand, Tensor, batched, count_samples, elements, elements_mut, sum, zeros};

/// The mean over the spatial axes: `[c, h, w]` to `shape` `[c, 1, 1]`.
pub fn global_average_pool(x: &Operand<'_>, shape: &[usize]) -> Tensor {
    let plane: usize = x.shape()[2..].iter().product();
    let mut res = zeros(count_samples(x), shape);
    for (out, values) in elements_mut(&mut res).iter_mut().zip(elements(x).chunks_exact(plane)) {
        *out = sum(values) / plane as f32;
    }
    res
}

/// One element for all along `axes` of a sample, to `shape`, which says whether they stay with length 1.
///
/// Axes are taken away one at a time, last first.
pub fn reduce(x: Operand<'_>, reduction: Reduction, axes: &[usize], shape: &[usize]) -> Tensor {
    let samples = count_samples(&x);
    let mut lens = x.shape().to_vec();
    let mut values = x.into_owned().into_raw_vec_and_offset().0;
    let mut count = 1;
    for &axis in axes.iter().rev() {
        let len = std::mem::replace(&mut lens[axis + 1], 1);
        values = fold_axis(&values, len, lens[axis + 2..].iter().product(), reduction);
        count *= len;
    }
    if reduction == Reduction::Mean {
        values.iter_mut().for_each(|value| *value /= count as f32);
    }
    Tensor::from_shape_vec(batched(samples, shape), values).expect("the axes left make the shape")
}

/// Reduces the middle axis of `[.., len, inner]`; a mean is left undivided.
fn fold_axis(values: &[f32], len: usize, inner: usize, reduction: Reduction) -> Vec<f32> {
    match reduction {
        Reduction::Mean | Reduction::Sum if inner == 1 => {
            values.chunks_exact(len).map(sum).collect()
        }
        Reduction::Mean | Reduction::Sum => fold_lines(values, len, inner, |sum, x| sum + x),
        Reduction::Prod => fold_lines(values, len, inner, |product, x| product * x),
        // What is no number stays visible.
        Reduction::Max => {
            fold_lines(values, len, inner, |most, x| if x > most || x.is_nan() { x } else { most })
        }
        Reduction::Min => {
            fold_lines(
                values,
                len,
                inner,
                |least, x| {
                    if x < least || x.is_nan() { x } else { least }
                },
            )
        }
    }
}

/// Folds the lines of each block `[len, inner]` into its first one.
fn fold_lines(
    values: &[f32],
    len: usize,
    inner: usize,
    fold: impl Fn(f32, f32) -> f32,
) -> Vec<f32> {
    let mut res = Vec::with_capacity(values.len() / len);
    for block in values.chunks_exact(len * inner) {
        let start = res.len();
        let (first, rest) = block.split_at(inner);
        res.extend_from_slice(first);
        for line in rest.chunks_exact(inner) {
            res[start..].iter_mut().zip(line).for_each(|(res, value)| *res = fold(*res, *value));
        }
    }
    res
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;
    use nvcim_ir::op::Reduction;
    use proptest::prelude::{any, proptest};
    use proptest::sample::subsequence;

    use super::{global_average_pool, reduce};
    use crate::tensor::Operand;
    use crate::testing::{assert_close, tensor, values};

    #[test]
    fn a_global_pool_is_the_mean_of_each_plane() {
        let x = tensor(&[1, 2, 2, 2], &[1., 2., 3., 4., -1., -1., -1., 5.]);
        let got = global_average_pool(&Operand::from(&x), &[2, 1, 1]);
        assert_eq!(got, tensor(&[1, 2, 1, 1], &[2.5, 0.5]));
        for (reduction, want) in [
            (Reduction::Mean, [2.5, 0.5]),
            (Reduction::Sum, [10., 2.]),
            (Reduction::Max, [4., 5.]),
            (Reduction::Min, [1., -1.]),
            (Reduction::Prod, [24., -5.]),
        ] {
            let got = reduce(Operand::from(&x), reduction, &[1, 2], &[2]);
            assert_eq!(got, tensor(&[1, 2], &want), "{reduction:?}");
        }
    }

    #[test]
    fn a_nan_among_them_shows_in_the_extremes() {
        let x = tensor(&[1, 3], &[1., f32::NAN, 2.]);
        for reduction in [Reduction::Max, Reduction::Min] {
            assert!(reduce(Operand::from(&x), reduction, &[0], &[1])[[0, 0]].is_nan());
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_mean_over_any_axes(
            shape in [1..4usize, 1..20, 1..4],
            axes in subsequence(vec![0usize, 1, 2], 0..=3),
            keep in any::<bool>(),
        ) {
            let x = values(&[2, shape[0], shape[1], shape[2]], 5);
            let mut want = x.mapv(f64::from);
            for &axis in axes.iter().rev() {
                want = want.mean_axis(Axis(axis + 1)).unwrap();
                if keep {
                    want.insert_axis_inplace(Axis(axis + 1));
                }
            }
            let got = reduce(Operand::from(&x), Reduction::Mean, &axes, &want.shape()[1..]);
            assert_close(&got, &want.mapv(|value| value as f32));
        }
    }
}
