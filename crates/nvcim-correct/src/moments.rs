//! First and second moments of input vectors and outputs, and the box-constrained least squares on them.
//!
//! With inputs `x` and wanted outputs `z`, centred, the error of weights `v` per output column is
//!
//! ```text
//! E (z - v'x)^2 = v'C v - 2 v's + E z^2,   C = cov(x), s = cov(x, z)
//! ```
//!
//! Means are left to the bias. Two terms join `C`: a pull towards the given weights `w`, which decides
//! what few vectors leave open, `l |v - w|^2` with `l = 1e-3 tr C / n`; and what the spread of cells costs,
//! in proportion to the square of their weights.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};

/// The pull towards the given weights, as a share of the mean variance.
const PULL: f64 = 1e-3;

/// Rows whose steps reach all gradients in one product: what one block works on stays in the first cache.
const BLOCK: usize = 16;

/// Moments of a layer's vectors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    /// Mean inputs, `[n_rows]`.
    pub(crate) mean_x: Array1<f64>,
    /// Mean outputs, `[n_cols]`.
    pub(crate) mean_z: Array1<f64>,
    /// Covariance of inputs, `[n_rows, n_rows]`.
    pub(crate) covariance: Array2<f64>,
    /// Covariance of inputs and outputs, `[n_rows, n_cols]`.
    pub(crate) cross: Array2<f64>,
    /// Variances of outputs, `[n_cols]`.
    pub(crate) variance_z: Array1<f64>,
}

impl Moments {
    /// Moments of `x`, `[vectors, n_rows]`, and `z`, `[vectors, n_cols]`.
    pub(crate) fn new(x: ArrayView2<'_, f32>, z: ArrayView2<'_, f32>) -> Self {
        let n = x.nrows().max(1) as f64;
        let (mean_x, x) = centre(x);
        let (mean_z, z) = centre(z);
        let mut covariance = Array2::zeros((x.ncols(), x.ncols()));
        general_mat_mul(1.0 / n, &x.t(), &x, 0.0, &mut covariance);
        let mut cross = Array2::zeros((x.ncols(), z.ncols()));
        general_mat_mul(1.0 / n, &x.t(), &z, 0.0, &mut cross);
        let variance_z =
            z.columns().into_iter().map(|z| z.iter().fold(0.0, |sum, z| sum + z * z) / n).collect();
        Self { mean_x, mean_z, covariance, cross, variance_z }
    }

    /// Variances of inputs, `[n_rows]`.
    pub(crate) fn energies(&self) -> ArrayView1<'_, f64> {
        self.covariance.diag()
    }

    /// Mean square error of every output column under weights `v`, `[n_rows, n_cols]`, means left out.
    pub(crate) fn errors(&self, v: ArrayView2<'_, f64>) -> Array1<f64> {
        let c_v = self.covariance.dot(&v);
        let mut errors = self.variance_z.clone();
        Zip::from(&mut errors)
            .and(v.columns())
            .and(c_v.columns())
            .and(self.cross.columns())
            .for_each(|error, v, c_v, s| {
                let terms = v.iter().zip(&c_v).zip(&s);
                *error += terms.fold(0.0, |sum, ((v, c_v), s)| sum + v * (c_v - 2.0 * s));
            });
        errors.mapv(|error| error.max(0.0))
    }

    /// Bias that makes outputs right on the mean: `E z - v' E x`, `[n_cols]`.
    pub(crate) fn bias(&self, v: ArrayView2<'_, f64>) -> Array1<f64> {
        &self.mean_z - &v.t().dot(&self.mean_x)
    }
}

/// Means of columns, and what is left without them.
fn centre(values: ArrayView2<'_, f32>) -> (Array1<f64>, Array2<f64>) {
    let values = values.mapv(f64::from);
    let n = values.nrows().max(1) as f64;
    let sum = |column: ArrayView1<'_, f64>| column.iter().fold(0.0, |sum, x| sum + x) / n;
    let means: Array1<f64> = values.columns().into_iter().map(sum).collect();
    let centred = &values - &means.view().insert_axis(Axis(0));
    (means, centred)
}

/// The least-squares problem of all columns of a layer.
#[derive(Debug)]
pub(crate) struct BoxFit {
    /// `C` with both additional terms, `[n_rows, n_rows]`.
    hessian: Array2<f64>,
    /// `s` with the pull, `[n_rows, n_cols]`.
    wanted: Array2<f64>,
    /// Both additional terms, `[n_rows]`: what the objective is curved by whatever the inputs do.
    added: Array1<f64>,
    /// The objective at `v = 0`, summed over columns.
    at_zero: f64,
}

impl BoxFit {
    /// States the problem: `w`, `[n_rows, n_cols]`, are the given weights; `spread`, `[n_rows]`, is the
    /// variance of a weight of each row in squares of the weight itself.
    pub(crate) fn new(
        moments: &Moments,
        w: ArrayView2<'_, f64>,
        spread: ArrayView1<'_, f64>,
    ) -> Self {
        let n_rows = moments.mean_x.len();
        let energies = moments.energies();
        let trace = energies.iter().fold(0.0, |sum, e| sum + e);
        // Inputs that never vary leave all weights open: any pull then keeps the given ones.
        let pull = (PULL * trace / n_rows.max(1) as f64).max(f64::MIN_POSITIVE.sqrt());
        let added = Zip::from(energies).and(spread).map_collect(|e, spread| pull + spread * e);
        let mut hessian = moments.covariance.clone();
        Zip::from(hessian.diag_mut()).and(&added).for_each(|h, added| *h += added);
        let mut wanted = moments.cross.clone();
        wanted.scaled_add(pull, &w);
        let pulled = pull * w.iter().fold(0.0, |sum, w| sum + w * w);
        let at_zero = moments.variance_z.iter().fold(pulled, |sum, z| sum + z);
        Self { hessian, wanted, added, at_zero }
    }

    /// Coordinate descent from `v` for at most `sweeps` sweeps over the rows, all columns at once, inside
    /// `lo` and `hi`; everything is `[n_rows, n_cols]`. Stops early once nothing moves.
    ///
    /// Costs `n_rows^2 n_cols` multiplications a sweep, most of them in matrix products: the steps of a
    /// block of rows reach the gradients of all others together. No step makes any column worse.
    pub(crate) fn descend(
        &self,
        mut v: Array2<f64>,
        lo: ArrayView2<'_, f64>,
        hi: ArrayView2<'_, f64>,
        sweeps: usize,
    ) -> Array2<f64> {
        let (n_rows, n_cols) = v.dim();
        let mut gradient = self.hessian.dot(&v) - &self.wanted;
        let mut steps = Array2::zeros((BLOCK, n_cols));
        for _ in 0..sweeps {
            let (mut moved, mut size) = (0.0_f64, 0.0_f64);
            for first in (0..n_rows).step_by(BLOCK) {
                let block = first..n_rows.min(first + BLOCK);
                let mut ahead = gradient.slice(s![block.clone(), ..]).to_owned();
                for (at, row) in block.clone().enumerate() {
                    let curvature = self.hessian[(row, row)];
                    Zip::from(steps.row_mut(at))
                        .and(v.row_mut(row))
                        .and(ahead.row(at))
                        .and(lo.row(row))
                        .and(hi.row(row))
                        .for_each(|step, v, &gradient, &lo, &hi| {
                            let next = (*v - gradient / curvature).clamp(lo, hi);
                            *step = next - *v;
                            *v = next;
                            moved = moved.max(step.abs());
                            size = size.max(next.abs());
                        });
                    let step = steps.row(at);
                    for later in at + 1..block.len() {
                        ahead.row_mut(later).scaled_add(self.hessian[(row, first + later)], &step);
                    }
                }
                let steps = steps.slice(s![..block.len(), ..]);
                let reach = self.hessian.slice(s![.., block]);
                general_mat_mul(1.0, &reach, &steps, 1.0, &mut gradient);
            }
            if moved <= 1e-6 * size {
                break;
            }
        }
        v
    }

    /// How far the objective at `v` may be above its optimum inside `lo` and `hi`, relative to the objective
    /// at 0; everything is `[n_rows, n_cols]`.
    ///
    /// With `g = H v - s` and `D` the additional terms, a step `d` changes the objective by `2 g'd + d'H d`,
    /// which is at least `2 g'd + d'D d`. There coordinates part, and the least value of each inside its box
    /// is known: their sum bounds the optimum from below. Costs as much as a sweep.
    pub(crate) fn gap(
        &self,
        v: ArrayView2<'_, f64>,
        lo: ArrayView2<'_, f64>,
        hi: ArrayView2<'_, f64>,
    ) -> f64 {
        let gradient = self.hessian.dot(&v) - &self.wanted;
        let mut above = 0.0;
        for (row, &added) in self.added.iter().enumerate() {
            Zip::from(v.row(row))
                .and(gradient.row(row))
                .and(lo.row(row))
                .and(hi.row(row))
                .for_each(|&v, &gradient, &lo, &hi| {
                    let step = (-gradient / added).clamp((lo - v).min(0.0), (hi - v).max(0.0));
                    above -= step * (2.0 * gradient + added * step);
                });
        }
        above / self.at_zero.max(f64::MIN_POSITIVE)
    }

    /// The objective, summed over columns: mean square error, pull and spread.
    #[cfg(test)]
    pub(crate) fn cost(&self, v: ArrayView2<'_, f64>) -> f64 {
        let terms = &v * &(self.hessian.dot(&v) - 2.0 * &self.wanted);
        self.at_zero + terms.iter().fold(0.0, |sum, term| sum + term)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use proptest::prelude::*;

    use super::{BoxFit, Moments};

    fn vectors(n: usize, n_rows: usize, seed: usize) -> Array2<f32> {
        let noise = |at: usize| ((at * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5;
        Array2::from_shape_fn((n, n_rows), |(v, row)| {
            noise(v * n_rows + row) + 0.7 * noise(v * 31 + 5) + 0.1 * row as f32
        })
    }

    #[test]
    fn without_a_box_the_given_weights_come_back() {
        let x = vectors(200, 6, 1);
        let w = Array2::from_shape_fn((6, 3), |(row, col)| row as f32 - 1.5 * col as f32);
        let moments = Moments::new(x.view(), x.dot(&w).view());
        let w = w.mapv(f64::from);
        let fit = BoxFit::new(&moments, w.view(), Array1::zeros(6).view());
        let far = Array2::from_elem((6, 3), 1e9);
        let v = fit.descend(Array2::zeros((6, 3)), (-&far).view(), far.view(), 500);
        assert!((&v - &w).iter().all(|d| d.abs() < 1e-2), "{v}");
        assert!(moments.errors(v.view()).iter().all(|&error| error < 1e-3));
        assert!(moments.bias(w.view()).iter().all(|b| b.abs() < 1e-4));
    }

    proptest! {
        /// At the optimum no coordinate can move inside its box and gain; and the fit is never worse than
        /// the weights clipped into the box.
        #[test]
        fn no_coordinate_can_gain(seed in 0usize..500, lo in -1.0..0.2f64, width in 0.1..2.0f64) {
            let x = vectors(100, 8, seed);
            let w = vectors(8, 2, seed + 1) * 4.0;
            let moments = Moments::new(x.view(), x.dot(&w).view());
            let w = w.mapv(f64::from);
            let fit = BoxFit::new(&moments, w.view(), Array1::from_elem(8, 0.01).view());
            let (lo, hi) = (Array2::from_elem((8, 2), lo), Array2::from_elem((8, 2), lo + width));
            let clipped = w.mapv(|w| w.clamp(lo[(0, 0)], hi[(0, 0)]));
            let v = fit.descend(clipped.clone(), lo.view(), hi.view(), 2000);
            let gradient = fit.hessian.dot(&v) - &fit.wanted;
            let scale = fit.hessian.diag().iter().fold(0.0_f64, |m, h| m.max(*h));
            for ((v, g), (lo, hi)) in v.iter().zip(&gradient).zip(lo.iter().zip(&hi)) {
                prop_assert!(*v >= *lo && *v <= *hi);
                let free = (*v > lo + 1e-9 || *g > -1e-4 * scale) && (*v < hi - 1e-9 || *g < 1e-4 * scale);
                prop_assert!(free);
                if *v > lo + 1e-9 && *v < hi - 1e-9 {
                    prop_assert!(g.abs() < 1e-4 * scale, "{} {}", g, scale);
                }
            }
            prop_assert!(fit.cost(v.view()) <= fit.cost(clipped.view()) + 1e-9);
        }

        /// The gap is an upper bound on what is left to gain wherever the descent stops, and goes to nothing.
        #[test]
        fn the_gap_bounds_what_is_left_to_gain(seed in 0usize..500, width in 0.1..3.0f64) {
            let x = vectors(100, 8, seed);
            let w = vectors(8, 3, seed + 1) * 4.0;
            let moments = Moments::new(x.view(), x.dot(&w).view());
            let w = w.mapv(f64::from);
            let fit = BoxFit::new(&moments, w.view(), Array1::from_elem(8, 0.01).view());
            let (lo, hi) = (Array2::from_elem((8, 3), -0.3), Array2::from_elem((8, 3), width - 0.3));
            let descend = |sweeps| fit.descend(lo.clone(), lo.view(), hi.view(), sweeps);
            let cost = |v: &Array2<f64>| fit.cost(v.view());
            let best = descend(5000);
            prop_assert!(fit.gap(best.view(), lo.view(), hi.view()) <= 1e-8);
            let mut last = f64::INFINITY;
            for sweeps in [0, 1, 3, 24] {
                let v = descend(sweeps);
                let gap = fit.gap(v.view(), lo.view(), hi.view());
                let left = (cost(&v) - cost(&best)) / fit.at_zero;
                prop_assert!(gap >= left - 1e-12, "{} sweeps: {:e} under {:e}", sweeps, gap, left);
                prop_assert!(left <= last + 1e-12);
                last = left;
            }
        }
    }
}
