//! A passive array of ohmic cells with current sources beside them, solved by conjugate gradients over lines.
//!
//! **Notation.** Quantities are [word lines, bit lines], row by row. `Lw` and `Lb` are the nodal matrices of
//! the wires, `D` the cells' conductances, `f` the currents beside them: a cell carries `d (w - b) + f`.
//!
//! **Steps.** Eliminating word lines line by line leaves
//!
//! ```text
//! (Lb + D - D (Lw + D)^-1 D) b = D w0 + f,    w0 the word lines at b = 0
//! ```
//!
//! for conjugate gradients, preconditioned by `Lb + D`, again line by line: one sweep over all word lines
//! and one over all bit lines per iteration, half the iterations of the same preconditioner on all nodes
//! (J. Reid, SIAM J. Numer. Anal. 9, 325 (1972), doi:10.1137/0709032). The product of `Lb + D` and each
//! vector is carried along instead of formed, because `Lb` is infinite for a wire without resistance.
//!
//! **Cost.** About 40 operations per cell and iteration.

use crate::network::Wires;
use crate::network::ladder::LadderBank;

/// Iterations of one solve; with severe wires a few hundred are usual.
const MAX_SWEEPS: usize = 4_000;

/// The lines of an array with its cells' conductances, and room to solve it.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    n_cols: usize,
    /// [bit lines reversed, word lines], so that drivers are at the last node.
    word_bank: LadderBank,
    /// [word lines, bit lines].
    bit_bank: LadderBank,
    /// `D`.
    slopes: Vec<f64>,
    /// `(Lb + D) b` of the last solve: what bit lines take from cells, and what cells short to word lines.
    drawn: Vec<f64>,
    residual: Vec<f64>,
    direction: Vec<f64>,
    /// `(Lb + D)` times the direction.
    direction_drawn: Vec<f64>,
    product: Vec<f64>,
    /// [bit lines reversed, word lines].
    across: Vec<f64>,
}

impl Lines {
    pub(super) fn new(n_rows: usize, n_cols: usize, wires: &Wires) -> Self {
        let zeros = || vec![0.0; n_rows * n_cols];
        let Wires { word_line_ohm, bit_line_ohm, driver_ohm, sense_ohm } = *wires;
        Self {
            n_cols,
            word_bank: LadderBank::new(n_cols, n_rows, word_line_ohm, word_line_ohm + driver_ohm),
            bit_bank: LadderBank::new(n_rows, n_cols, bit_line_ohm, bit_line_ohm + sense_ohm),
            slopes: zeros(),
            drawn: zeros(),
            residual: zeros(),
            direction: zeros(),
            direction_drawn: zeros(),
            product: zeros(),
            across: zeros(),
        }
    }

    /// Sets the cells' conductances `D` in siemens, each at least 0.
    pub(super) fn set_slopes(&mut self, slopes: &[f64]) {
        self.slopes.copy_from_slice(slopes);
        turn_over(slopes, self.n_cols, &mut self.across);
        self.word_bank.set_loads(&self.across);
        self.bit_bank.set_loads(slopes);
    }

    /// `D`.
    pub(super) fn slopes(&self) -> &[f64] {
        &self.slopes
    }

    /// `(Lb + D) b` of the last [`Self::solve`].
    pub(super) fn drawn(&self) -> &[f64] {
        &self.drawn
    }

    /// Turns currents into word lines into their voltages, `(Lw + D)^-1`, drivers at `volts` or 0.
    fn solve_words(&mut self, values: &mut [f64], volts: Option<&[f64]>) {
        turn_over(values, self.n_cols, &mut self.across);
        match volts {
            Some(volts) => self.word_bank.solve_driven(&mut self.across, volts),
            None => self.word_bank.solve(&mut self.across),
        }
        turn_back(&self.across, self.n_cols, values);
    }

    /// Word lines `w` under the drivers' `volts`, with bit lines at `b` and currents `f` beside the cells.
    pub(super) fn word_volts(&mut self, volts: &[f64], b: &[f64], f: &[f64], w: &mut [f64]) {
        for (at, w) in w.iter_mut().enumerate() {
            *w = self.slopes[at] * b[at] - f[at];
        }
        self.solve_words(w, Some(volts));
    }

    /// Solves for bit lines `b`, from the value that `b` has, where `drawn` is `(Lb + D) b` of that value;
    /// stops when the sum of currents left over at all nodes is at most `limit`. `w` gets the word lines.
    ///
    /// Returns the number of sweeps. Rounding may end the search early; the caller measures what is left.
    pub(super) fn solve(
        &mut self,
        volts: &[f64],
        f: &[f64],
        drawn: impl Fn(usize) -> f64,
        limit: f64,
        (w, b): (&mut [f64], &mut [f64]),
    ) -> usize {
        self.word_volts(volts, b, f, w);
        for at in 0..b.len() {
            self.drawn[at] = drawn(at);
            self.residual[at] = self.slopes[at] * w[at] + f[at] - self.drawn[at];
        }
        let n_sweeps = self.iterate(b, limit);
        // A last sweep passes on what is left over, all of it where bit lines are ideal and the search
        // sees no voltage, and takes voltages from currents, so that wires are satisfied to one rounding.
        for (drawn, residual) in self.drawn.iter_mut().zip(&self.residual) {
            *drawn += residual;
        }
        b.copy_from_slice(&self.drawn);
        self.bit_bank.solve(b);
        self.word_volts(volts, b, f, w);
        n_sweeps
    }

    /// Conjugate gradients from the residual that is there.
    fn iterate(&mut self, b: &mut [f64], limit: f64) -> usize {
        self.direction.copy_from_slice(&self.residual);
        self.bit_bank.solve(&mut self.direction);
        self.direction_drawn.copy_from_slice(&self.residual);
        let mut energy = sum_products(&self.residual, &self.direction);
        for n_sweeps in 0..MAX_SWEEPS {
            if sum_magnitudes(&self.residual) <= limit {
                return n_sweeps;
            }
            let curvature = self.apply_to_direction();
            // Zero, or not a number: rounding has used up what there was to gain.
            if !(curvature > 0.0 && energy > 0.0) {
                return n_sweeps;
            }
            let step = energy / curvature;
            for (at, b) in b.iter_mut().enumerate() {
                *b += step * self.direction[at];
                self.drawn[at] += step * self.direction_drawn[at];
                self.residual[at] -= step * self.product[at];
            }
            self.product.copy_from_slice(&self.residual);
            self.bit_bank.solve(&mut self.product);
            let next = sum_products(&self.residual, &self.product);
            let keep = next / energy;
            energy = next;
            for at in 0..b.len() {
                self.direction[at] = self.product[at] + keep * self.direction[at];
                self.direction_drawn[at] = self.residual[at] + keep * self.direction_drawn[at];
            }
        }
        MAX_SWEEPS
    }

    /// The system matrix times the direction, into `product`; returns the direction's curvature.
    fn apply_to_direction(&mut self) -> f64 {
        let mut product = std::mem::take(&mut self.product);
        for (at, product) in product.iter_mut().enumerate() {
            *product = self.slopes[at] * self.direction[at];
        }
        self.solve_words(&mut product, None);
        for (at, product) in product.iter_mut().enumerate() {
            *product = self.direction_drawn[at] - self.slopes[at] * *product;
        }
        self.product = product;
        sum_products(&self.direction, &self.product)
    }
}

/// Side of the squares that are turned at once: eight numbers fill a cache line.
const TILE: usize = 8;

/// Calls `copy` with the place of each element in [rows, columns] and in [columns reversed, rows].
#[inline]
fn for_each_turned(len: usize, n_cols: usize, mut copy: impl FnMut(usize, usize)) {
    let n_rows = len / n_cols;
    for top in (0..n_rows).step_by(TILE) {
        for left in (0..n_cols).step_by(TILE) {
            for col in left..n_cols.min(left + TILE) {
                for row in top..n_rows.min(top + TILE) {
                    copy(row * n_cols + col, (n_cols - 1 - col) * n_rows + row);
                }
            }
        }
    }
}

/// From [rows, columns] to [columns reversed, rows].
fn turn_over(from: &[f64], n_cols: usize, to: &mut [f64]) {
    for_each_turned(from.len(), n_cols, |at, turned| to[turned] = from[at]);
}

/// From [columns reversed, rows] to [rows, columns].
fn turn_back(from: &[f64], n_cols: usize, to: &mut [f64]) {
    for_each_turned(from.len(), n_cols, |at, turned| to[at] = from[turned]);
}

/// The sum of `n` terms in one fixed order, eight partial sums side by side.
#[inline]
pub(super) fn sum_of(n: usize, term: impl Fn(usize) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let whole = n - n % lanes.len();
    for start in (0..whole).step_by(lanes.len()) {
        for (at, lane) in lanes.iter_mut().enumerate() {
            *lane += term(start + at);
        }
    }
    lanes.into_iter().sum::<f64>() + (whole..n).map(term).sum::<f64>()
}

fn sum_products(a: &[f64], b: &[f64]) -> f64 {
    let b = &b[..a.len()];
    sum_of(a.len(), |at| a[at] * b[at])
}

fn sum_magnitudes(values: &[f64]) -> f64 {
    sum_of(values.len(), |at| values[at].abs())
}
