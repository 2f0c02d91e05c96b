//! The box fit of one output column in the L1 norm: weights inside what cells can hold, by linear programming.
//!
//! # Notation
//! `x` input vectors and `z` the wanted outputs of one column, `v` its weights, `b` its bias; the fit is
//!
//! ```text
//! min  sum over vectors |z - v'x - b|     lo <= v <= hi, b free
//! ```
//!
//! The covariance fit (`moments.rs`), which corrections use, minimises the squares of the same deviations. It
//! costs no more for more vectors and leaves open weights with the given ones; this one shrugs off a minority
//! of wild vectors, such as outputs that saturated, and carries a proof from the program's dual. Where inputs
//! leave weights open, the answer lies amid the best ones.
//!
//! Inputs are taken about their means, so that the bias, the one unknown without a box, stays near the mean
//! output.
//!
//! # Cost
//! That of [`nvcim_lp::fit::fit_l1`]: some twenty sparse factorisations of `O(vectors rows^2)` each.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use nvcim_lp::fit::fit_l1;
use nvcim_lp::program::Unsolved;

/// The fit of one output column.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxL1 {
    /// Weights inside their boxes, `[n_rows]`, in output per input units.
    pub weights: Array1<f64>,
    /// The bias, in output units.
    pub bias: f64,
    /// Sum of the deviations over all vectors, in output units.
    pub error: f64,
    /// How far that sum may be above the smallest possible, relative to it or to what the mean output alone
    /// would leave, whichever is larger.
    pub gap: f64,
}

/// Fits weights and bias of one output column to `x`, `[vectors, n_rows]`, and `z`, `[vectors]`, with weights
/// between `lo` and `hi`, `[n_rows]`; either may be infinite.
///
/// # Errors
/// [`Unsolved::Infeasible`] where bounds cross, [`Unsolved::Failed`] where shapes do not fit, there is no
/// vector or a number is not finite, [`Unsolved::Inexact`] where the solver stopped short.
pub fn fit_box_l1(
    x: ArrayView2<'_, f64>,
    z: ArrayView1<'_, f64>,
    lo: ArrayView1<'_, f64>,
    hi: ArrayView1<'_, f64>,
) -> Result<BoxL1, Unsolved> {
    let (n_vectors, n_rows) = x.dim();
    if (lo.len(), hi.len()) != (n_rows, n_rows) || z.len() != n_vectors || n_vectors == 0 {
        let text = format!(
            "{n_vectors} vectors of {n_rows} inputs for {} outputs and {} and {} bounds",
            z.len(),
            lo.len(),
            hi.len()
        );
        return Err(Unsolved::Failed(text));
    }
    let n = n_vectors as f64;
    let mean = |values: ArrayView1<'_, f64>| values.iter().fold(0.0, |sum, it| sum + it) / n;
    let means: Array1<f64> = x.columns().into_iter().map(mean).collect();
    let mean_z = mean(z);
    let centred = &x - &means.view().insert_axis(Axis(0));
    let of_bias = Array2::ones((n_vectors, 1));
    let a =
        concatenate(Axis(1), &[centred.view(), of_bias.view()]).expect("both have a row a vector");
    let targets: Vec<f64> = z.iter().map(|z| z - mean_z).collect();
    let mut bounds: Vec<_> = lo.iter().copied().zip(hi.iter().copied()).collect();
    bounds.push((f64::NEG_INFINITY, f64::INFINITY));
    let fit = fit_l1(a.view(), &targets, &bounds)?;
    let weights = Array1::from(fit.x[..n_rows].to_vec());
    let through_means = weights.iter().zip(&means).fold(0.0, |sum, (v, mean)| sum + v * mean);
    let bias = mean_z + fit.x[n_rows] - through_means;
    Ok(BoxL1 { weights, bias, error: fit.objective, gap: fit.gap() })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
    use nvcim_chip::effects::Effect;
    use nvcim_chip::random::Stream;
    use nvcim_lp::program::Unsolved;
    use proptest::prelude::*;

    use super::fit_box_l1;
    use crate::moments::{BoxFit, Moments};

    const N_VECTORS: usize = 60;
    const N_ROWS: usize = 6;

    /// A column: correlated inputs, given weights, and their outputs with noise of the given size.
    struct Column {
        x: Array2<f64>,
        w: Array1<f64>,
        z: Array1<f64>,
    }

    impl Column {
        fn new(seed: u64, noise: f64) -> Self {
            let stream = Stream::new(seed, 0, Effect::Read);
            let draw = |a, b, k| stream.normal([a as u32, b as u32, k, 0]);
            let x = Array2::from_shape_fn((N_VECTORS, N_ROWS), |(v, row)| {
                let both = draw(v, row, 0) + 0.8 * draw(v, 0, 1) + 0.2 * row as f64;
                // Moments are taken of single-precision vectors: both fits see the same.
                f64::from(both as f32)
            });
            let w = Array1::from_shape_fn(N_ROWS, |row| draw(row, 0, 2));
            let z = x.outer_iter().enumerate().map(|(v, x)| {
                let clean = x.iter().zip(&w).fold(0.7, |sum, (x, w)| sum + x * w);
                f64::from((clean + noise * draw(v, 0, 3)) as f32)
            });
            let z = z.collect();
            Self { x, w, z }
        }

        /// The covariance fit inside a box, with its gap and its objective as a function of weights.
        fn fit_squares(
            &self,
            lo: f64,
            hi: f64,
        ) -> (Array1<f64>, f64, impl Fn(&Array1<f64>) -> f64) {
            let as_column = |it: &Array1<f64>| it.clone().insert_axis(Axis(1));
            let (x, z) = (self.x.mapv(|x| x as f32), as_column(&self.z).mapv(|z| z as f32));
            let moments = Moments::new(x.view(), z.view());
            let w = as_column(&self.w);
            let fit = BoxFit::new(&moments, w.view(), Array1::zeros(N_ROWS).view());
            let [lo, hi] = [lo, hi].map(|it| Array2::from_elem((N_ROWS, 1), it));
            let start = w.mapv(|w| w.clamp(lo[(0, 0)], hi[(0, 0)]));
            let v = fit.descend(start, lo.view(), hi.view(), 5000);
            let gap = fit.gap(v.view(), lo.view(), hi.view());
            let cost = move |v: &Array1<f64>| fit.cost(v.view().insert_axis(Axis(1)));
            (v.column(0).to_owned(), gap, cost)
        }

        /// Least sum of deviations that weights can have, at their best bias: the median of what they lack.
        fn least_sum(&self, v: ArrayView1<'_, f64>) -> f64 {
            let mut lacks: Vec<f64> = self.lacks(v).to_vec();
            lacks.sort_by(f64::total_cmp);
            let median = lacks[N_VECTORS / 2];
            lacks.iter().fold(0.0, |sum, lack| sum + (lack - median).abs())
        }

        fn lacks(&self, v: ArrayView1<'_, f64>) -> Array1<f64> {
            let made =
                self.x.outer_iter().map(|x| x.iter().zip(v).fold(0.0, |s, (x, v)| s + x * v));
            made.zip(&self.z).map(|(made, z)| z - made).collect()
        }

        fn fit(&self, lo: f64, hi: f64) -> super::BoxL1 {
            let [lo, hi] = [lo, hi].map(|it| Array1::from_elem(N_ROWS, it));
            fit_box_l1(self.x.view(), self.z.view(), lo.view(), hi.view()).expect("it has a fit")
        }
    }

    fn largest_difference(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
        a.iter().zip(b).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// With no noise and no box in the way both norms have one answer: the given weights.
        #[test]
        fn both_norms_agree_where_nothing_is_lost(seed in 0u64..10_000) {
            let column = Column::new(seed, 0.0);
            let least = column.fit(-9.0, 9.0);
            let (squares, gap, _) = column.fit_squares(-9.0, 9.0);
            prop_assert!(gap <= 1e-9, "{:e}", gap);
            prop_assert!(least.gap.abs() <= 1e-7, "{:e}", least.gap);
            prop_assert!(largest_difference(&least.weights, &squares) <= 1e-4);
            prop_assert!((least.bias - 0.7).abs() <= 1e-4, "{}", least.bias);
        }

        /// Where boxes bind and outputs are noisy the answers differ, and each is the better one in its norm.
        #[test]
        fn each_fit_is_best_in_its_own_norm(seed in 0u64..10_000, width in 0.2..1.0f64) {
            let column = Column::new(seed, 0.3);
            let least = column.fit(-width, width);
            let (squares, gap, cost) = column.fit_squares(-width, width);
            let inside = |v: &Array1<f64>| v.iter().all(|v| v.abs() <= width);
            prop_assert!(inside(&least.weights) && inside(&squares));
            prop_assert!(gap <= 1e-9 && least.gap.abs() <= 1e-7, "{:e} {:e}", gap, least.gap);
            let sums = [&least.weights, &squares].map(|v| column.least_sum(v.view()));
            prop_assert!((sums[0] - least.error).abs() <= 1e-6 * sums[0], "{:?} {}", sums, least.error);
            prop_assert!(sums[0] <= sums[1] * (1.0 + 1e-7), "{:?}", sums);
            let costs = [&least.weights, &squares].map(&cost);
            prop_assert!(costs[1] <= costs[0] * (1.0 + 1e-7), "{:?}", costs);
        }
    }

    /// What the L1 norm is for: vectors whose outputs are wild pull squares away, not this fit.
    #[test]
    fn wild_vectors_move_squares_and_not_sums() {
        let mut column = Column::new(5, 0.0);
        column.z.iter_mut().step_by(7).for_each(|z| *z += 20.0);
        let least = column.fit(-9.0, 9.0);
        let (squares, _, _) = column.fit_squares(-9.0, 9.0);
        let off = |v: &Array1<f64>| largest_difference(v, &column.w);
        assert!(off(&least.weights) <= 1e-4, "{}", off(&least.weights));
        assert!(off(&squares) >= 0.1, "{}", off(&squares));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = Array2::<f64>::ones((3, 2));
        let fit = |x: ArrayView2<'_, f64>, z: &[f64], lo: &[f64], hi: &[f64]| {
            fit_box_l1(x, ArrayView1::from(z), ArrayView1::from(lo), ArrayView1::from(hi))
        };
        let failed = |found| matches!(found, Err(Unsolved::Failed(_)));
        assert!(failed(fit(x.view(), &[1.0; 2], &[0.0; 2], &[1.0; 2])));
        assert!(failed(fit(x.view(), &[1.0; 3], &[0.0; 1], &[1.0; 2])));
        assert!(failed(fit(x.view(), &[f64::NAN; 3], &[0.0; 2], &[1.0; 2])));
        assert!(failed(fit(Array2::zeros((0, 2)).view(), &[], &[0.0; 2], &[1.0; 2])));
        assert_eq!(fit(x.view(), &[1.0; 3], &[2.0; 2], &[1.0; 2]), Err(Unsolved::Infeasible));
    }
}
