//! Stepwise least squares: which deviations the results of a column call for, given how its noise is correlated.
//!
//! # Notation
//! The unknowns of a column are its deviations, `p` then `q`, its gain and its offset; `D`, `[results, unknowns]`,
//! says how results follow from them. Errors of the written cells reach all reads through the drives, so that the
//! noise of the results after one write has the covariance `written^2 X X' + variances`. Results and `D` are divided
//! by its Cholesky factor, after which all noise is alike.
//!
//! # Phases
//! `S = [D y]' [D y]` is swept on the unknowns in use; gain and offset always are. Sweeping turns the rows and
//! columns of an unknown in use into its estimate and its variance, and those of the others into what they would
//! add: each step puts in the most significant unknown or takes out the smallest.
//!
//! # Cost
//! `unknowns^2` multiplications a step and about as many steps as there are faults, on `S`, which columns of an
//! array share but for its last line.
//!
//! # Source
//! J. H. Goodnight, "A tutorial on the SWEEP operator", The American Statistician 33 (1979),
//! doi 10.1080/00031305.1979.10482685.

use ndarray::{Array2, ArrayView2};

/// An unknown is put in when it stands this many of its standard errors above 0; one in 4000 does by chance.
const ENTER: f64 = 3.5;

/// Deviations below this share of the swing are put down to programming error.
const LEAST: f64 = 0.3;

/// An unknown that others explain but for this share is not put in: it cannot be told from them.
const COLLINEAR: f64 = 1e-6;

/// The equations that the columns of an array share.
#[derive(Debug, Clone)]
pub(super) struct Regression {
    /// `D' D`, with one more line and column for a column's results.
    squares: Array2<f64>,
    /// `D`, divided by the noise's factor.
    design: Array2<f64>,
    /// The Cholesky factor of the noise after each write.
    factors: [Array2<f64>; 2],
}

/// What refinement found of one column, in swings of one cell.
#[derive(Debug, Clone)]
pub(super) struct ColumnFit {
    /// `p / a`, then `q / a`; 0 where nothing was called for.
    pub(super) deviations: Vec<f64>,
    /// `a`.
    pub(super) gain: f64,
    /// `b`.
    pub(super) offset: f64,
    /// Root mean square of what is left, in standard deviations of the noise.
    pub(super) misfit: f64,
    /// The swept matrix, which holds variances of the unknowns in use.
    swept: Array2<f64>,
    used: Vec<bool>,
}

impl ColumnFit {
    /// The standard error of the sum of two deviations, if the noise is as assumed.
    pub(super) fn error_of_sum(&self, first: usize, second: usize) -> f64 {
        let covariance = |i: usize, j: usize| {
            if self.used[i] && self.used[j] { -self.swept[(i, j)] } else { 0.0 }
        };
        let sum =
            covariance(first, first) + covariance(second, second) + 2.0 * covariance(first, second);
        sum.max(0.0).sqrt() / self.gain
    }
}

impl Regression {
    /// The equations of drives `[reads, rows]`, for cells that carry `rest` swings when written low. `variances` and
    /// `written` are those of the noise after the low and the high write, in swings.
    pub(super) fn new(
        drives: ArrayView2<'_, f64>,
        rest: f64,
        variances: &[Vec<f64>; 2],
        written: [f64; 2],
    ) -> Self {
        let (n_reads, n_rows) = drives.dim();
        let shared = drives.dot(&drives.t());
        let factors = [0, 1].map(|write| {
            let mut noise = &shared * (written[write] * written[write]);
            for (at, variance) in variances[write].iter().enumerate() {
                noise[(at, at)] += variance;
            }
            factorise(noise)
        });
        let mut design = Array2::zeros((2 * n_reads, 2 * n_rows + 2));
        for ((read, row), &x) in drives.indexed_iter() {
            design[(read, row)] = x;
            design[(n_reads + read, n_rows + row)] = -x;
            design[(read, 2 * n_rows)] += rest * x;
            design[(n_reads + read, 2 * n_rows)] += (1.0 + rest) * x;
        }
        design.column_mut(2 * n_rows + 1).fill(1.0);
        for mut column in design.columns_mut() {
            let mut whole = column.to_vec();
            divide(&factors, &mut whole);
            column.iter_mut().zip(whole).for_each(|(entry, value)| *entry = value);
        }
        let n = design.ncols();
        let mut squares = Array2::zeros((n + 1, n + 1));
        squares.slice_mut(ndarray::s![..n, ..n]).assign(&design.t().dot(&design));
        Self { squares, design, factors }
    }

    /// Fits a column's results after both writes, in swings, beginning with the deviations of `start`.
    pub(super) fn refine(&self, low: &[f64], high: &[f64], start: &[f64]) -> ColumnFit {
        let mut results: Vec<f64> = low.iter().chain(high).copied().collect();
        divide(&self.factors, &mut results);
        let mut fit = self.open(&results);
        // The most certain first; no more than half as many as there are results, so that something is left to judge.
        let mut order: Vec<usize> = (0..start.len()).filter(|&at| start[at] > LEAST).collect();
        order.sort_by(|&i, &j| start[j].total_cmp(&start[i]).then(i.cmp(&j)));
        order.truncate(results.len() / 2);
        for at in order {
            if fit.is_distinct(at, &self.squares) {
                fit.toggle(at);
            }
        }
        for _ in 0..2 * start.len() {
            let Some(at) = fit.next_change(start.len(), results.len(), &self.squares) else {
                break;
            };
            fit.toggle(at);
        }
        fit.close(start.len(), results.len())
    }

    /// The equations of one column, with gain and offset in use.
    fn open(&self, results: &[f64]) -> ColumnFit {
        let n = self.design.ncols();
        let mut swept = self.squares.clone();
        for (at, column) in self.design.columns().into_iter().enumerate() {
            let product = column.iter().zip(results).fold(0.0, |sum, (d, y)| sum + d * y);
            swept[(at, n)] = product;
            swept[(n, at)] = product;
        }
        swept[(n, n)] = results.iter().fold(0.0, |sum, y| sum + y * y);
        let used = vec![false; n];
        let mut fit =
            ColumnFit { deviations: Vec::new(), gain: 1.0, offset: 0.0, misfit: 0.0, swept, used };
        fit.toggle(n - 2);
        if fit.is_distinct(n - 1, &self.squares) {
            fit.toggle(n - 1);
        }
        fit
    }
}

impl ColumnFit {
    /// Puts an unknown in, or takes it out again: sweeps the matrix on it, or back.
    fn toggle(&mut self, at: usize) {
        let sign = if self.used[at] { -1.0 } else { 1.0 };
        let pivot = self.swept[(at, at)];
        let line = self.swept.row(at).to_vec();
        for (i, mut row) in self.swept.rows_mut().into_iter().enumerate() {
            let factor = line[i] / pivot;
            if i == at || factor == 0.0 {
                continue;
            }
            row.iter_mut().zip(&line).for_each(|(entry, l)| *entry -= factor * l);
            row[at] = sign * factor;
        }
        for (i, entry) in self.swept.row_mut(at).iter_mut().enumerate() {
            *entry = if i == at { -1.0 / pivot } else { sign * line[i] / pivot };
        }
        self.used[at] = !self.used[at];
    }

    /// Whether the unknowns in use leave something of this one.
    fn is_distinct(&self, at: usize, squares: &Array2<f64>) -> bool {
        self.swept[(at, at)] > COLLINEAR * squares[(at, at)]
    }

    /// The unknown to take out, or else to put in.
    fn next_change(&self, n: usize, n_results: usize, squares: &Array2<f64>) -> Option<usize> {
        let last = self.swept.ncols() - 1;
        let gain = self.swept[(n, last)].max(f64::MIN_POSITIVE);
        let estimate = |at: usize| self.swept[(at, last)] / gain;
        let smallest = (0..n)
            .filter(|&at| self.used[at] && estimate(at) < LEAST)
            .min_by(|&i, &j| estimate(i).total_cmp(&estimate(j)));
        if smallest.is_some() {
            return smallest;
        }
        if 2 * self.used.iter().filter(|used| **used).count() >= n_results {
            return None;
        }
        // Noise is 1 by division, so that this counts standard errors.
        let significance = |at: usize| self.swept[(at, last)] / self.swept[(at, at)].sqrt();
        (0..n)
            .filter(|&at| !self.used[at] && self.is_distinct(at, squares))
            .filter(|&at| significance(at) > ENTER)
            .filter(|&at| self.swept[(at, last)] / self.swept[(at, at)] / gain > LEAST)
            .max_by(|&i, &j| significance(i).total_cmp(&significance(j)).then(j.cmp(&i)))
    }

    fn close(mut self, n: usize, n_results: usize) -> Self {
        let last = self.swept.ncols() - 1;
        let value = |at: usize| if self.used[at] { self.swept[(at, last)] } else { 0.0 };
        let (gain, offset) = (value(n), value(n + 1));
        // A column whose gain comes out at 0 or below answers to nothing; the caller has sorted such out.
        self.gain = gain.max(f64::MIN_POSITIVE.sqrt());
        self.offset = offset;
        self.deviations = (0..n).map(|at| value(at) / self.gain).collect();
        let n_used = self.used.iter().filter(|used| **used).count();
        let freedom = n_results.saturating_sub(n_used).max(1) as f64;
        self.misfit = (self.swept[(last, last)].max(0.0) / freedom).sqrt();
        self
    }
}

/// The lower Cholesky factor of a positive definite matrix.
fn factorise(mut a: Array2<f64>) -> Array2<f64> {
    for j in 0..a.nrows() {
        for k in 0..j {
            let factor = a[(j, k)];
            for i in j..a.nrows() {
                a[(i, j)] -= a[(i, k)] * factor;
            }
        }
        let pivot = a[(j, j)].sqrt();
        for i in j..a.nrows() {
            a[(i, j)] /= pivot;
        }
    }
    a
}

/// Divides the results after each write by its factor, from the first read on.
fn divide(factors: &[Array2<f64>; 2], results: &mut [f64]) {
    let n_reads = factors[0].nrows();
    for (factor, half) in factors.iter().zip(results.chunks_exact_mut(n_reads)) {
        for i in 0..n_reads {
            let known = (0..i).fold(0.0, |sum, k| sum + factor[(i, k)] * half[k]);
            half[i] = (half[i] - known) / factor[(i, i)];
        }
    }
}
