//! Fault finding: which cells of an array are stuck, from fewer matrix-vector products than it has rows.
//!
//! # Notation
//! An array is written low, every cell to `g_min`, and driven with `X`, `[reads, rows]`, drives from 0 to 1; then
//! it is written high, every cell to `g_max`, and driven alike. With `a` what a column answers to the swing of one
//! cell, `b` its offset and `r = g_min / (g_max - g_min)`, its results are
//!
//! ```text
//! low  = a r X 1       + X p + b + noise        p >= 0: what cells carry too much when written low
//! high = a (1 + r) X 1 - X q + b + noise        q >= 0: what they lack when written high
//! ```
//!
//! A cell that follows its write has `p = q = 0`; one that is stuck loses its whole swing, `p + q = a`, whatever it
//! is stuck at: `(p, q) = (0, a)` at `g_min`, `(a, 0)` at `g_max`. The unit of the results cancels against `a`.
//!
//! # Phases
//! 1. *Sparse*: the linear program `min sum (p + q)` over `p`, `q`, `a`, `b` with every result within one standard
//!    deviation of its noise. A result that cannot be, a clipped code say, may stay outside at ten times the price.
//! 2. *Refine* (`refine.rs`): the program pulls all deviations towards 0, and knows nothing of errors that one cell
//!    makes in all reads alike. A stepwise least squares that does starts from its answer.
//! 3. *Judge*: a cell that lost more than half of its swing is stuck, where it stands in between.
//!
//! # How many reads
//! [`reads_needed`]. Programming error is no noise that more passes average out: all cells err, always alike, so
//! that an array of 128 rows that does with 48 reads where writing is exact needs more where it is not.
//!
//! # Limits
//! Currents must add up: where wires or sense stages sag, drive few rows at a time. A cell stuck beyond the range
//! is found, but taken to be nearer to the range than it is.
//!
//! # Sources
//! Sparse recovery by linear programming: S. S. Chen, D. L. Donoho and M. A. Saunders, "Atomic decomposition by
//! basis pursuit", SIAM Journal on Scientific Computing 20 (1998), doi 10.1137/S1064827596304010; its limit and its
//! noise: D. L. Donoho, A. Maleki and A. Montanari, "The noise-sensitivity phase transition in compressed sensing",
//! IEEE Transactions on Information Theory 57 (2011), doi 10.1109/TIT.2011.2165823.

use ndarray::{Array2, ArrayView1, ArrayView2};
use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;
use nvcim_ir::diag::{Diagnostic, Kind, Result};
use nvcim_lp::program::{LinearProgram, Relation, Solver};

use refine::Regression;

mod refine;

/// Price of a result that stays outside its noise, per cell's swing.
const OUTSIDE: f64 = 10.0;

/// A column of which less than this share of the usual swing is left does not answer to its writes.
const DEAD: f64 = 0.1;

/// Noise that is always assumed, as a share of a cell's swing: keeps equations solvable where all is exact.
const LEAST_NOISE: f64 = 1e-4;

/// What is left of a column may exceed its noise by this factor before it is distrusted.
const MISFIT: f64 = 1.3;

/// What is known of an array's cells and of the noise of its results.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellNoise {
    /// Lowest programmable conductance in siemens.
    pub g_min: f64,
    /// Highest programmable conductance in siemens.
    pub g_max: f64,
    /// Standard deviation of a cell written low and of one written high, as shares of the swing: the same in all
    /// reads after one write.
    pub written: [f64; 2],
    /// The same for what differs from read to read.
    pub read: [f64; 2],
    /// Standard deviation of a result that does not depend on cells, in the unit of the results; 0.29 for whole
    /// codes.
    pub result: f64,
}

/// Results of one array: the same drives after both writes.
#[derive(Debug, Clone, Copy)]
pub struct ArrayReads<'a> {
    /// Drives of all rows, 0 to 1, `[reads, rows]`.
    pub drives: ArrayView2<'a, f64>,
    /// Results with every cell written low, `[reads, columns]`, in any unit linear in the current.
    pub low: ArrayView2<'a, f64>,
    /// Results with every cell written high, likewise.
    pub high: ArrayView2<'a, f64>,
}

/// A cell found stuck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StuckFinding {
    /// Physical word line.
    pub row: u32,
    /// What it seems to be stuck at in siemens, exactly an end of the range where it may well be that.
    pub g: f64,
    /// The share of its swing that it lost: above 0.5, 1 when fully stuck.
    pub lost: f64,
    /// Standard error of `lost`.
    pub lost_error: f64,
    /// Probability that more than half of the swing is lost, given that the other findings are right.
    pub confidence: f64,
}

/// What is known of a column after the search.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFindings {
    /// Stuck cells by row.
    pub stuck: Vec<StuckFinding>,
    /// Results per swing of one fully driven cell: the column's gain, in the unit of the results; 0 where no cell
    /// swings.
    pub gain: f64,
    /// The column's offset, in the unit of the results.
    pub offset: f64,
    /// What is left of the results in terms of their noise: about 1 where everything is explained.
    pub misfit: f64,
    /// The reads that a column with as many faults as were found asks for.
    pub reads_needed: usize,
    /// Whether the findings can be relied upon: enough reads, and results explained up to noise.
    pub trusted: bool,
}

/// Drives that suit the search: a random half of the word lines in each read, `[n_reads, n_rows]`.
pub fn search_drives(n_reads: usize, n_rows: usize, seed: u64) -> Array2<f64> {
    let stream = Stream::new(seed, 0, Effect::Stuck);
    Array2::from_shape_fn((n_reads, n_rows), |(read, row)| {
        let driven = stream.uniform([read as u32, row as u32, 0, 0]) < 0.5;
        f64::from(u8::from(driven))
    })
}

/// Reads that find the faults of the columns of an array of `n_rows` rows, of whose cells at most the share `faults`
/// is stuck low and as much stuck high, when a random half of the rows is driven.
///
/// `written` and `result` are standard deviations as in [`CellNoise`], both as shares of a cell's swing, the larger
/// one where they differ. In units of a swing, `m` reads that are shared among `k = n psi(faults)` degrees of
/// freedom leave each cell an error of variance `(n written^2 + 4 result^2) / (m - k)`, where `psi` is the minimax
/// risk of soft thresholding for deviations of one sign. Half a swing is to be three such errors. The theory holds
/// for large arrays: `2 sqrt(n)` reads more cover the width of the transition on small ones, and `faults` is raised
/// by two of its standard deviations from column to column.
pub fn reads_needed(n_rows: usize, faults: f64, written: f64, result: f64) -> usize {
    let n = n_rows as f64;
    let spread = (faults * (1.0 - faults) / n).max(0.0).sqrt();
    (least_reads(n, faults + 2.0 * spread, written, result) + 2.0 * n.sqrt()).ceil() as usize
}

/// The reads that the theory of large arrays asks for.
fn least_reads(n: f64, faults: f64, written: f64, result: f64) -> f64 {
    n * minimax_risk(faults) + 36.0 * (n * written * written + 4.0 * result * result)
}

/// The mean squared error per entry of soft thresholding at its best threshold, when the share `faults` of all
/// entries is large and positive, the rest 0, in units of the noise's variance.
fn minimax_risk(faults: f64) -> f64 {
    let faults = faults.clamp(0.0, 1.0);
    let risk = |threshold: f64| {
        let above = 0.5 * libm::erfc(threshold * std::f64::consts::FRAC_1_SQRT_2);
        let density = libm::exp(-0.5 * threshold * threshold) / (2.0 * std::f64::consts::PI).sqrt();
        let square = 1.0 + threshold * threshold;
        faults * square + (1.0 - faults) * (square * above - threshold * density)
    };
    // Thresholds beyond 6 keep one entry in a billion: no array is as large.
    (0..=600).map(|step| risk(f64::from(step) / 100.0)).fold(f64::INFINITY, f64::min)
}

/// What all columns of an array share.
#[derive(Debug, Clone)]
pub struct FaultSearch {
    drives: Array2<f64>,
    /// Sum of the drives of each read.
    sums: Vec<f64>,
    cells: CellNoise,
    /// What columns usually answer to the swing of one cell, faults included.
    usual: f64,
    regression: Regression,
}

impl FaultSearch {
    /// Prepares the search from the results of all columns of an array.
    ///
    /// # Errors
    /// Shapes that do not agree, numbers that are none, drives outside 0 to 1, and an array none of whose columns
    /// answers to its writes.
    pub fn new(reads: ArrayReads<'_>, cells: CellNoise) -> Result<Self> {
        check_reads(reads)?;
        let drives = reads.drives.as_standard_layout().into_owned();
        let sums: Vec<f64> =
            drives.rows().into_iter().map(|row| sum(row.iter().copied())).collect();
        let mut swings: Vec<f64> = (0..reads.low.ncols())
            .map(|col| swing_of(reads.low.column(col), reads.high.column(col), &sums))
            .collect();
        swings.sort_by(f64::total_cmp);
        // Dead columns are few: three quarters up stands a live one.
        let usual = swings[swings.len() * 3 / 4];
        if !(usual > 0.0 && usual.is_finite()) {
            let message = "has no columns whose results rise from the low to the high write";
            let hint = "give results of the low write first, and of the same drives after both";
            return Err(Diagnostic::bad_input("results", message).hint(hint).into());
        }
        let variances = [0, 1].map(|write| Self::variances(&drives, &cells, usual, write));
        let written = cells.written;
        let regression = Regression::new(drives.view(), cells.rest(), &variances, written);
        Ok(Self { drives, sums, cells, usual, regression })
    }

    /// The variance of each result after one write that differs from read to read, in swings of one cell.
    fn variances(drives: &Array2<f64>, cells: &CellNoise, usual: f64, write: usize) -> Vec<f64> {
        let (read, result) = (cells.read[write], cells.result / usual);
        let of_read = |row: ArrayView1<'_, f64>| {
            let square = sum(row.iter().map(|x| x * x));
            read * read * square + result * result + LEAST_NOISE * LEAST_NOISE
        };
        drives.rows().into_iter().map(of_read).collect()
    }

    /// Finds the stuck cells of one column from its results after both writes, one per read.
    ///
    /// A column that hardly answers to its writes is one whose cells are all stuck at what it carries all the same.
    ///
    /// # Errors
    /// A failure of the linear program's solver, which says nothing of the column.
    pub fn find(
        &self,
        low: ArrayView1<'_, f64>,
        high: ArrayView1<'_, f64>,
    ) -> Result<ColumnFindings> {
        if swing_of(low, high, &self.sums) < DEAD * self.usual {
            return Ok(self.dead_column(low));
        }
        let scaled = |results: ArrayView1<'_, f64>| results.mapv(|y| y / self.usual).to_vec();
        let (low, high) = (scaled(low), scaled(high));
        let start = self.solve_sparse(&low, &high)?;
        let fit = self.regression.refine(&low, &high, &start);
        let n_rows = self.drives.ncols();
        let mut stuck = Vec::new();
        for row in 0..n_rows {
            let (p, q) = (fit.deviations[row], fit.deviations[n_rows + row]);
            let lost_error = fit.error_of_sum(row, n_rows + row) * fit.misfit.max(1.0);
            if p + q > 0.5 {
                let z = (p + q - 0.5) / lost_error;
                stuck.push(StuckFinding {
                    row: row as u32,
                    g: self.conductance(0.5 * (p + 1.0 - q), lost_error),
                    lost: p + q,
                    lost_error,
                    confidence: 1.0 - 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2),
                });
            }
        }
        let reads_needed = self.reads_needed_for(&stuck);
        Ok(ColumnFindings {
            trusted: reads_needed <= self.drives.nrows() && fit.misfit <= MISFIT,
            gain: fit.gain * self.usual,
            offset: fit.offset * self.usual,
            misfit: fit.misfit,
            reads_needed,
            stuck,
        })
    }

    /// The reads that as many faults ask for; the larger of both kinds counts.
    fn reads_needed_for(&self, stuck: &[StuckFinding]) -> usize {
        let n_rows = self.drives.ncols();
        let middle = 0.5 * (self.cells.g_min + self.cells.g_max);
        let n_high = stuck.iter().filter(|cell| cell.g > middle).count();
        let most = n_high.max(stuck.len() - n_high) as f64 / n_rows as f64;
        let [low, high] = self.cells.written;
        let variances = [0, 1].map(|at| Self::variances(&self.drives, &self.cells, self.usual, at));
        let worst = variances.iter().flatten().fold(0.0, |most: f64, value| most.max(*value));
        // The share of this column is known; half the margin for small arrays is left.
        let n = n_rows as f64;
        (least_reads(n, most, low.max(high), worst.sqrt()) + n.sqrt()).ceil() as usize
    }

    /// A conductance from its place in the range, an end of the range within three errors of it.
    fn conductance(&self, u: f64, error: f64) -> f64 {
        let CellNoise { g_min, g_max, .. } = self.cells;
        let near = |end: f64| (u - end).abs() <= (3.0 * error).clamp(0.05, 0.25);
        match () {
            () if near(0.0) => g_min,
            () if near(1.0) => g_max,
            () => (g_min + u * (g_max - g_min)).max(0.0),
        }
    }

    /// All cells of a column stuck at what its results rise by with the drives.
    fn dead_column(&self, low: ArrayView1<'_, f64>) -> ColumnFindings {
        let (slope, offset) = line_through(&self.sums, low);
        let CellNoise { g_min, g_max, .. } = self.cells;
        let carried = slope / self.usual * (g_max - g_min);
        // What one in twenty of a cell's swing could not be told from is no current.
        let g = if carried <= 0.05 * (g_max - g_min) { 0.0 } else { carried };
        let finding = |row| StuckFinding { row, g, lost: 1.0, lost_error: 0.0, confidence: 1.0 };
        ColumnFindings {
            stuck: (0..self.drives.ncols() as u32).map(finding).collect(),
            gain: 0.0,
            offset,
            misfit: 1.0,
            reads_needed: 2,
            trusted: true,
        }
    }

    /// Phase 1: deviations `p`, then `q`, in swings of one cell.
    fn solve_sparse(&self, low: &[f64], high: &[f64]) -> Result<Vec<f64>> {
        let n_rows = self.drives.ncols();
        let mut program = LinearProgram::new();
        let deviations: Vec<_> =
            (0..2 * n_rows).map(|_| program.add_variable(0.0, f64::INFINITY, 1.0)).collect();
        let gain = program.add_variable(0.0, f64::INFINITY, 0.0);
        let offset = program.add_variable(f64::NEG_INFINITY, f64::INFINITY, 0.0);
        let rest = self.cells.rest();
        for (write, results) in [low, high].into_iter().enumerate() {
            let sign = if write == 0 { 1.0 } else { -1.0 };
            let variances = Self::variances(&self.drives, &self.cells, self.usual, write);
            let written = self.cells.written[write];
            for (read, row) in self.drives.rows().into_iter().enumerate() {
                let square = sum(row.iter().map(|x| x * x));
                let noise = (variances[read] + written * written * square).sqrt();
                let residual = program.add_variable(-noise, noise, 0.0);
                let over = program.add_variable(0.0, f64::INFINITY, OUTSIDE);
                let under = program.add_variable(0.0, f64::INFINITY, OUTSIDE);
                let cells = row.iter().zip(&deviations[write * n_rows..]);
                let mut terms: Vec<_> = cells
                    .filter(|(x, _)| **x != 0.0)
                    .map(|(x, deviation)| (*deviation, sign * x))
                    .collect();
                terms.extend([
                    (gain, (rest + write as f64) * self.sums[read]),
                    (offset, 1.0),
                    (residual, 1.0),
                    (over, 1.0),
                    (under, -1.0),
                ]);
                program.add_row(&terms, Relation::Equal, results[read]);
            }
        }
        let solution = program.solve(Solver::Interior).map_err(|why| {
            let message = format!("has a linear program that was not solved: {why}");
            Diagnostic::new(Kind::Infeasible, "fault search", message)
                .hint("look for results that are far from all others")
        })?;
        let gain = solution.value(gain).max(DEAD);
        Ok(deviations.iter().map(|deviation| solution.value(*deviation) / gain).collect())
    }
}

impl CellNoise {
    /// What a cell carries at `g_min`, in swings.
    fn rest(&self) -> f64 {
        self.g_min / (self.g_max - self.g_min)
    }
}

/// How much more a column answers per unit of drive after the high write.
fn swing_of(low: ArrayView1<'_, f64>, high: ArrayView1<'_, f64>, sums: &[f64]) -> f64 {
    let squares = sum(sums.iter().map(|sum| sum * sum));
    sum(low.iter().zip(high).zip(sums).map(|((low, high), sum)| (high - low) * sum)) / squares
}

/// Slope and intercept of `y` over `x` by least squares; slope 0 where `x` does not vary.
fn line_through(x: &[f64], y: ArrayView1<'_, f64>) -> (f64, f64) {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (sum(x.iter().copied()) / n, sum(y.iter().copied()) / n);
    let square = sum(x.iter().map(|x| (x - mean_x) * (x - mean_x)));
    let product = sum(x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)));
    let slope = if square > 0.0 { product / square } else { 0.0 };
    (slope, mean_y - slope * mean_x)
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

/// Checks that drives are shares of full scale.
///
/// # Errors
/// The first that is none.
pub fn check_drives(drives: ArrayView2<'_, f64>) -> Result<()> {
    let Some(x) = drives.iter().find(|x| !(0.0..=1.0).contains(*x)) else { return Ok(()) };
    let message = format!("have an entry {x:?}, must be 0 to 1");
    let hint = "give drives as shares of full scale";
    Err(Diagnostic::bad_input("drives", message).hint(hint).into())
}

fn check_reads(ArrayReads { drives, low, high }: ArrayReads<'_>) -> Result<()> {
    let mut problems = Vec::new();
    let mut refuse = |at: &str, message: String| problems.push(Diagnostic::bad_input(at, message));
    if drives.is_empty() || low.is_empty() {
        refuse("results", "hold no reads".into());
    }
    if low.nrows() != drives.nrows() || high.dim() != low.dim() {
        let (low, high, reads) = (low.dim(), high.dim(), drives.nrows());
        refuse("results", format!("have {low:?} and {high:?} entries for {reads} reads"));
    }
    if low.iter().chain(high).any(|y| !y.is_finite()) {
        refuse("results", "have an entry that is no finite number".into());
    }
    problems.extend(check_drives(drives).err().into_iter().flatten());
    nvcim_ir::diag::fail_if_any(problems)
}

#[cfg(test)]
mod tests;
