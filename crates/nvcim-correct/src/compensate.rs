//! Program, read, compensate: rows that are still to be written make up for those that came out wrong.
//!
//! # Notation
//! `w` the wanted weights, `[rows, cols]`; `C` the covariance of the inputs, or their second moments where
//! no bias follows, with a ridge on its diagonal, `[rows, rows]`; `d = v - w` what the weights `v` of one
//! column miss. The output's mean squared error is `d' C d`, and `lo <= v <= hi` is what cells can hold.
//!
//! # Phases
//! Rows are written from the first to the last. With `C = U D U'`, `U` unit upper triangular,
//!
//! ```text
//! d' C d = sum over k of D_k (d_k + sum over i < k of U_ik d_i)^2
//! ```
//!
//! so that the best row `k` after rows that miss by `d_1 .. d_(k-1)` is `w_k - sum U_ik d_i`: its term is then
//! 0, and so can be all that follow. Where a box stops a row, those before it should have known: coordinate
//! descent on the exact problem then settles all open rows together.
//!
//! This is the update `v -= H[:,i] (v_i - read_i) / H_ii` with `H = C^-1` downdated row by row (B. Hassibi
//! and D. G. Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NIPS 1992; for rows
//! in a fixed order E. Frantar et al., "GPTQ", ICLR 2023, arXiv 2210.17323). The factor says the same without
//! an inverse and without a downdate, which subtracts nearly equal numbers `rows` times over; it is as stable
//! as a Cholesky factorisation.
//!
//! # Cost
//! `rows^3 / 3` multiplications for the factor, once per tile, then `(rows - i)^2` per column for the reading
//! of row `i`, `rows^3 / 3` per column in all. Columns that meet their box pay up to `MAX_SWEEPS` times that.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Zip};
use nvcim_ir::diag::{Diagnostic, Kind, Result};

/// The most sweeps of coordinate descent over the open rows of a column after one reading. They start from the
/// last plan or a better one, so that what is missing to the optimum shrinks from row to row.
const MAX_SWEEPS: usize = 100;

/// The most sweeps for the first plan of a column.
const FIRST_SWEEPS: usize = 1000;

/// Coordinate descent rests when a sweep moves no weight by more than this share of the largest wanted one.
const REST: f64 = 1e-10;

/// A pivot of the factor below this share of its diagonal entry says that `C` is not positive definite.
const LEAST_PIVOT: f64 = 1e-13;

/// What the weights of a tile can be, `[rows, cols]` each, in the units of the weights.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// The lowest value.
    pub lo: ArrayView2<'a, f64>,
    /// The highest value; equal to the lowest one where both cells of a pair are stuck.
    pub hi: ArrayView2<'a, f64>,
}

/// A tile that is being written row by row.
#[derive(Debug, Clone)]
pub struct Compensator {
    covariance: Array2<f64>,
    /// `U` transposed: row `k` holds what row `k` of the tile owes to those before it.
    factor: Array2<f64>,
    columns: Vec<Column>,
    trust: f64,
    next: usize,
    n_rows: usize,
}

/// One column of the tile; lists have one entry per row.
#[derive(Debug, Clone)]
struct Column {
    wanted: Vec<f64>,
    lo: Vec<f64>,
    hi: Vec<f64>,
    /// Read-back of written rows, targets of the others.
    plan: Vec<f64>,
}

impl Compensator {
    /// Plans a tile of which nothing is written: `wanted` itself where the boxes allow it, else the best
    /// that they allow.
    ///
    /// `covariance` is `C`, with its ridge. `trust` says how much of a deviation that is read is taken to be
    /// there, 0 to 1: 1 where reads are exact, else the variance of the programming error over its sum with
    /// that of the read noise, which makes the estimate best in the mean square.
    ///
    /// # Errors
    /// A `covariance` that is not positive definite ([`Kind::Infeasible`]; a larger ridge mends it). Shapes
    /// that do not agree, a box that is upside down and numbers that are none are defects of the caller.
    pub fn new(
        covariance: ArrayView2<'_, f64>,
        wanted: ArrayView2<'_, f64>,
        reach: Reach<'_>,
        trust: f64,
    ) -> Result<Self> {
        check(covariance, wanted, reach, trust)?;
        let factor = factorise(covariance)?;
        let covariance = covariance.as_standard_layout().into_owned();
        let columns = (0..wanted.ncols()).map(|col| {
            let list = |of: ArrayView2<'_, f64>| of.column(col).to_vec();
            let (wanted, plan) = (list(wanted), list(wanted));
            let mut column = Column { wanted, lo: list(reach.lo), hi: list(reach.hi), plan };
            column.settle(0, &factor, &covariance);
            column
        });
        let columns = columns.collect();
        Ok(Self { covariance, factor, columns, trust, next: 0, n_rows: wanted.nrows() })
    }

    /// The number of the row to write next and its targets, one per column; none after the last row.
    pub fn next_row(&self) -> Option<(usize, Array1<f64>)> {
        let targets = self.columns.iter().map(|column| column.plan.get(self.next).copied());
        Some((self.next, targets.collect::<Option<_>>()?)).filter(|(row, _)| *row < self.n_rows)
    }

    /// Takes what was read from the row that [`Self::next_row`] named, one value per column, and plans the
    /// rows after it anew. A reading that is no number counts as the target; readings beyond the last row
    /// are ignored.
    ///
    /// # Panics
    /// If there is not one value per column.
    pub fn read_back(&mut self, values: ArrayView1<'_, f64>) {
        assert_eq!(values.len(), self.columns.len(), "one value per column");
        if self.next == self.n_rows {
            return;
        }
        let at = self.next;
        self.next += 1;
        for (column, &value) in self.columns.iter_mut().zip(values) {
            let planned = column.plan[at];
            let missed = if value.is_finite() { self.trust * (value - planned) } else { 0.0 };
            // A row that came out as planned leaves the plan as good as it was.
            if missed != 0.0 {
                column.plan[at] = planned + missed;
                column.settle(self.next, &self.factor, &self.covariance);
            }
        }
    }

    /// The read-back of written rows and the targets of the others, `[rows, cols]`.
    pub fn plan(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.n_rows, self.columns.len()), |(row, col)| {
            self.columns[col].plan[row]
        })
    }

    /// The mean squared error of each column's output that the plan leaves, ridge included.
    pub fn errors(&self) -> Array1<f64> {
        self.columns.iter().map(|column| error_of(&self.covariance, &column.missing())).collect()
    }
}

/// The targets of all rows after those that are `written`, `[written rows, cols]`, in one call: what a
/// [`Compensator`] plans that was fed with them. The first rows of the answer are `written`.
///
/// # Errors
/// Those of [`Compensator::new`], and more written rows than the tile has.
pub fn compensate(
    covariance: ArrayView2<'_, f64>,
    wanted: ArrayView2<'_, f64>,
    reach: Reach<'_>,
    written: ArrayView2<'_, f64>,
) -> Result<Array2<f64>> {
    if written.ncols() != wanted.ncols() || written.nrows() > wanted.nrows() {
        let message = format!("gets {:?} written weights for {:?}", written.dim(), wanted.dim());
        return Err(Diagnostic::internal("compensation", message).into());
    }
    let mut tile = Compensator::new(covariance, wanted, reach, 1.0)?;
    for row in written.rows() {
        tile.read_back(row);
    }
    Ok(tile.plan())
}

impl Column {
    fn missing(&self) -> Vec<f64> {
        self.plan.iter().zip(&self.wanted).map(|(v, w)| v - w).collect()
    }

    /// Plans the rows from `first` on, for those before it as they are.
    fn settle(&mut self, first: usize, factor: &Array2<f64>, covariance: &Array2<f64>) {
        let most = if first == 0 { FIRST_SWEEPS } else { MAX_SWEEPS };
        let before = self.missing();
        let mut missing = before.clone();
        if self.substitute(first, factor, &mut missing) {
            // Two starts, neither always the better: the last plan, which knew of the boxes, and the row by
            // row one, which knows the reading.
            self.clip(first, &mut missing);
            let mut last = before;
            self.clip(first, &mut last);
            if error_of(covariance, &last) < error_of(covariance, &missing) {
                missing = last;
            }
            self.descend(first, covariance, &mut missing, most);
        }
        for (at, missing) in missing.iter().enumerate().skip(first) {
            self.plan[at] = (self.wanted[at] + missing).clamp(self.lo[at], self.hi[at]);
        }
    }

    /// Sets every open row so that its term is 0 or as small as its box allows; says whether a box held
    /// one back.
    fn substitute(&self, first: usize, factor: &Array2<f64>, missing: &mut [f64]) -> bool {
        let mut held = false;
        for at in first..missing.len() {
            let owed = dot(&factor.row(at).to_slice().expect("rows are contiguous")[..at], missing);
            let free = self.wanted[at] - owed;
            let kept = free.clamp(self.lo[at], self.hi[at]);
            held |= kept != free;
            missing[at] = if kept == free { -owed } else { kept - self.wanted[at] };
        }
        held
    }

    fn clip(&self, first: usize, missing: &mut [f64]) {
        for (at, missing) in missing.iter_mut().enumerate().skip(first) {
            let wanted = self.wanted[at];
            *missing = (wanted + *missing).clamp(self.lo[at], self.hi[at]) - wanted;
        }
    }

    /// Coordinate descent inside the boxes: every step solves one row exactly, so that the error never rises.
    fn descend(
        &self,
        first: usize,
        covariance: &Array2<f64>,
        missing: &mut [f64],
        max_sweeps: usize,
    ) {
        let largest = self.wanted.iter().fold(0.0f64, |most, w| most.max(w.abs()));
        let row_of = |at| covariance.row(at).to_slice().expect("rows are contiguous");
        let mut slope: Vec<f64> = (0..missing.len()).map(|at| dot(row_of(at), missing)).collect();
        for _ in 0..max_sweeps {
            let mut moved = 0.0f64;
            for at in first..missing.len() {
                let wanted = self.wanted[at];
                let free = wanted + missing[at] - slope[at] / covariance[(at, at)];
                let step = free.clamp(self.lo[at], self.hi[at]) - wanted - missing[at];
                if step == 0.0 {
                    continue;
                }
                missing[at] += step;
                moved = moved.max(step.abs());
                for (slope, c) in slope[first..].iter_mut().zip(&row_of(at)[first..]) {
                    *slope += c * step;
                }
            }
            if moved <= REST * largest {
                return;
            }
        }
    }
}

/// `U` transposed of `C = U D U'`, from the last row up.
fn factorise(covariance: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let n = covariance.nrows();
    // Row `j` of `scaled` is `D_j` times row `j` of the factor.
    let (mut factor, mut scaled) = (Array2::<f64>::zeros((n, n)), Array2::<f64>::zeros((n, n)));
    for j in (0..n).rev() {
        let below = |i: usize| {
            (j + 1..n).fold(covariance[(i, j)], |rest, k| rest - scaled[(k, i)] * factor[(k, j)])
        };
        let column: Vec<f64> = (0..=j).map(below).collect();
        let pivot = column[j];
        if pivot.is_nan() || pivot <= LEAST_PIVOT * covariance[(j, j)] {
            let message = format!("is not positive definite at row {j}");
            let hint = "add a ridge to its diagonal, a thousandth of its mean, say";
            let problem = Diagnostic::new(Kind::Infeasible, "covariance of the inputs", message);
            return Err(problem.hint(hint).into());
        }
        for (i, value) in column.into_iter().enumerate() {
            scaled[(j, i)] = value;
            factor[(j, i)] = value / pivot;
        }
    }
    Ok(factor)
}

fn check(
    covariance: ArrayView2<'_, f64>,
    wanted: ArrayView2<'_, f64>,
    Reach { lo, hi }: Reach<'_>,
    trust: f64,
) -> Result<()> {
    let n = wanted.nrows();
    let message = if covariance.dim() != (n, n) {
        format!("gets a covariance of {:?} for {n} rows", covariance.dim())
    } else if lo.dim() != wanted.dim() || hi.dim() != wanted.dim() {
        format!("gets boxes of {:?} and {:?} for {:?}", lo.dim(), hi.dim(), wanted.dim())
    } else if !Zip::from(lo).and(hi).all(|lo, hi| lo <= hi) {
        "gets a box that is upside down".into()
    } else if !(covariance.iter().chain(wanted).all(|value| value.is_finite())) {
        "gets a number that is none".into()
    } else if !(0.0..=1.0).contains(&trust) {
        format!("gets a trust of {trust:?}, must be 0 to 1")
    } else {
        return Ok(());
    };
    Err(Diagnostic::internal("compensation", message).into())
}

/// `d' C d`.
fn error_of(covariance: &Array2<f64>, missing: &[f64]) -> f64 {
    let rows = covariance.rows().into_iter().zip(missing);
    rows.map(|(row, d)| d * dot(row.to_slice().expect("rows are contiguous"), missing)).sum()
}

/// The sum of products over the shorter list, from the first entry on.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).fold(0.0, |sum, (a, b)| sum + a * b)
}

#[cfg(test)]
mod tests;
