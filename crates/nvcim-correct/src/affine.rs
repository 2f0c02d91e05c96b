//! Gain and offset of conversions by least squares: against what they are expected to see, or against what
//! is wanted of them together.
//!
//! *Together*: for one output column with readouts `y_1 .. y_k` and wanted outputs `t`, minimise
//! `sum (t - sum_r s_r y_r - b)^2 + lambda sum_r var(y_r) (s_r - s0_r)^2` over scales `s` and shift `b`, with
//! `s0` the scales so far. A small `lambda` only decides columns that answer nothing, which keep their
//! scale; a larger one keeps few vectors from being fitted too well.
//!
//! *One by one*: a readout that is expected to see `p` and answers `y = g p + o` gets its scale divided by
//! `g` and its shift against `o`. Regressing `y` on `p`, which is exact, leaves `g` without the shrinkage that
//! noise in `y` brings the other way round.
//!
//! Gain and offset are always fitted together.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// The `lambda` that decides only columns that answer nothing.
pub(crate) const LEAST_RIDGE: f64 = 1e-6;

/// Gains that one-by-one fits believe in; outside, and where an answer has little to do with what is
/// expected, the readout keeps its scale.
pub(crate) const GAINS: [f64; 2] = [0.2, 5.0];

/// The least correlation of answer and expectation that one-by-one fits believe in.
const LEAST_CORRELATION: f64 = 0.3;

/// The fit of one output column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    /// One scale per readout.
    pub(crate) scales: Vec<f64>,
    /// The shift of the whole column.
    pub(crate) shift: f64,
}

/// Fits scales and shift; `y` is `[vectors, readouts]`, `t` is `[vectors]`.
pub(crate) fn fit_column(
    y: ArrayView2<'_, f32>,
    t: ArrayView1<'_, f32>,
    nominal: &[f64],
    ridge: f64,
) -> Fit {
    ColumnFit::new(y, t, nominal).solve(ridge)
}

/// The least-squares problem of one output column, for any ridge.
#[derive(Debug, Clone)]
pub(crate) struct ColumnFit<'a> {
    /// The scales so far.
    nominal: &'a [f64],
    mean_y: Array1<f64>,
    mean_t: f64,
    /// Covariances of readouts, times the number of vectors.
    covariance: Array2<f64>,
    /// Those of readouts with what the scales so far leave missing.
    residual: Array1<f64>,
}

impl<'a> ColumnFit<'a> {
    /// States the problem; `y` is `[vectors, readouts]`, `t` is `[vectors]`.
    pub(crate) fn new(y: ArrayView2<'_, f32>, t: ArrayView1<'_, f32>, nominal: &'a [f64]) -> Self {
        let n = y.nrows() as f64;
        let mean_y: Array1<f64> =
            y.columns().into_iter().map(|column| sum(column.iter()) / n).collect();
        let mean_t = sum(t.iter()) / n;
        let y = y.mapv(f64::from) - mean_y.view().insert_axis(Axis(0));
        let mut missing = t.mapv(|t| f64::from(t) - mean_t).insert_axis(Axis(1));
        let scales = ArrayView1::from(nominal).insert_axis(Axis(1));
        general_mat_mul(-1.0, &y, &scales, 1.0, &mut missing);
        let residual = y.t().dot(&missing).remove_axis(Axis(1));
        Self { nominal, mean_y, mean_t, covariance: y.t().dot(&y), residual }
    }

    /// Scales and shift under a ridge.
    pub(crate) fn solve(&self, ridge: f64) -> Fit {
        let mut covariance = self.covariance.clone();
        let trace: f64 = covariance.diag().sum();
        // A column that never moved has no covariance; any positive ridge then leaves the nominal scale.
        let k = self.nominal.len() as f64;
        let least = (LEAST_RIDGE * trace / k).max(f64::MIN_POSITIVE.sqrt());
        covariance.diag_mut().mapv_inplace(|variance| variance + (ridge * variance).max(least));
        let change = solve_positive(covariance, self.residual.clone());
        let scales: Vec<f64> = self.nominal.iter().zip(&change).map(|(s, d)| s + d).collect();
        let seen: f64 = scales.iter().zip(&self.mean_y).map(|(s, y)| s * y).sum();
        Fit { shift: self.mean_t - seen, scales }
    }
}

/// Means of two columns of numbers, and sums of products about them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Products {
    pub(crate) mean_p: f64,
    pub(crate) mean_y: f64,
    pub(crate) pp: f64,
    pub(crate) yy: f64,
    pub(crate) py: f64,
}

impl Products {
    /// Those of `p` and `y`, `[vectors]` each.
    pub(crate) fn new(p: ArrayView1<'_, f32>, y: ArrayView1<'_, f32>) -> Self {
        let n = p.len().max(1) as f64;
        let (mean_p, mean_y) = (sum(p.iter()) / n, sum(y.iter()) / n);
        let (mut pp, mut yy, mut py) = (0.0, 0.0, 0.0);
        for (&p, &y) in p.iter().zip(&y) {
            let (p, y) = (f64::from(p) - mean_p, f64::from(y) - mean_y);
            pp += p * p;
            yy += y * y;
            py += p * y;
        }
        Self { mean_p, mean_y, pp, yy, py }
    }
}

/// The part of the variance of `p` that `y` does not say.
pub(crate) fn unsaid(p: ArrayView1<'_, f32>, y: ArrayView1<'_, f32>) -> f64 {
    let Products { pp, yy, py, .. } = Products::new(p, y);
    (if yy > 0.0 { pp - py * py / yy } else { pp }) / p.len().max(1) as f64
}

/// Gain and offset of one readout: `y` is nearly `gain p + offset`, `p` what is expected; `None` where that
/// cannot be said.
pub(crate) fn regress(p: ArrayView1<'_, f32>, y: ArrayView1<'_, f32>) -> Option<[f64; 2]> {
    let Products { mean_p, mean_y, pp, yy, py } = Products::new(p, y);
    let gain = py / pp;
    let related = py >= LEAST_CORRELATION * (pp * yy).sqrt() && pp > 0.0;
    let believed = related && (GAINS[0]..=GAINS[1]).contains(&gain);
    believed.then_some([gain, mean_y - gain * mean_p])
}

/// The gain that brings what is made closest to what is wanted, both `[vectors, columns]` and about the means of
/// their columns; `None` where the two have nothing in common.
pub(crate) fn gain_towards(made: ArrayView2<'_, f32>, wanted: ArrayView2<'_, f32>) -> Option<f64> {
    let (mut wm, mut mm) = (0.0, 0.0);
    for (made, wanted) in made.columns().into_iter().zip(wanted.columns()) {
        let Products { pp, py, .. } = Products::new(made, wanted);
        wm += py;
        mm += pp;
    }
    (wm > 0.0 && mm > 0.0).then(|| wm / mm)
}

fn sum<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.fold(0.0, |sum, &value| sum + f64::from(value))
}

/// Solves `a x = b` for a symmetric positive definite `a` by Cholesky factorisation.
fn solve_positive(mut a: Array2<f64>, mut b: Array1<f64>) -> Array1<f64> {
    let n = b.len();
    for j in 0..n {
        for k in 0..j {
            let factor = a[(j, k)];
            for i in j..n {
                a[(i, j)] -= a[(i, k)] * factor;
            }
        }
        let pivot = a[(j, j)].sqrt();
        for i in j..n {
            a[(i, j)] /= pivot;
        }
    }
    for i in 0..n {
        for k in 0..i {
            b[i] -= a[(i, k)] * b[k];
        }
        b[i] /= a[(i, i)];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            b[i] -= a[(k, i)] * b[k];
        }
        b[i] /= a[(i, i)];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::{LEAST_RIDGE, fit_column, regress};
    use ndarray::{Array1, Array2, Axis};

    #[test]
    fn recovers_gain_and_offset_of_each_readout() {
        let y = Array2::from_shape_fn((40, 2), |(v, r)| ((v * (3 + r)) % 7) as f32 - 2.0);
        let t: Array1<f32> = y.map_axis(Axis(1), |y| 0.5 * y[0] - 1.25 * y[1] + 3.0);
        let fit = fit_column(y.view(), t.view(), &[1.0, -1.0], LEAST_RIDGE);
        assert!((fit.scales[0] - 0.5).abs() < 1e-4, "{fit:?}");
        assert!((fit.scales[1] + 1.25).abs() < 1e-4, "{fit:?}");
        assert!((fit.shift - 3.0).abs() < 1e-3, "{fit:?}");
    }

    #[test]
    fn a_noisy_answer_does_not_shrink_its_gain() {
        let p = Array1::from_shape_fn(400, |v| ((v * 37) % 101) as f32 / 50.0 - 1.0);
        let noise = |v: usize| ((v * 61) % 89) as f32 / 89.0 - 0.494;
        let y = Array1::from_shape_fn(400, |v| 1.25 * p[v] - 0.5 + noise(v));
        let [gain, offset] = regress(p.view(), y.view()).unwrap();
        assert!((gain - 1.25).abs() < 0.06 && (offset + 0.5).abs() < 0.03, "{gain} {offset}");
        assert_eq!(regress(p.view(), Array1::zeros(400).view()), None);
        assert_eq!(regress(p.view(), (-&y).view()), None);
    }

    #[test]
    fn a_dead_column_keeps_its_nominal_scale_and_answers_the_mean() {
        let y = Array2::from_elem((10, 1), 0.25);
        let t = Array1::from_iter((0..10).map(|v| v as f32));
        let fit = fit_column(y.view(), t.view(), &[2.0], LEAST_RIDGE);
        assert_eq!(fit.scales, [2.0]);
        assert!((fit.shift - 4.0).abs() < 1e-9);
    }
}
