//! Currents of an array whose wires have resistance, one file per way to compute them.
//!
//! | file | array | answer | cost for `n` by `n` cells |
//! |---|---|---|---|
//! | [`passive`] | ohmic cells | the whole transfer matrix, exact | `O(n^3)` |
//! | [`fast`] | ohmic cells | the whole transfer matrix, to second order in the wires | `O(n^2)` |
//! | [`nonlinear`] | any cell law | one input vector, to a stated tolerance | `O(n^2)` per iteration |
//! | [`gated`] | inputs on gates | one input pattern | `O(n^2)` |
//!
//! All passive arrays follow one convention. Word line `m` is driven at its left end by an ideal source
//! through `driver_ohm` and one wire segment, then one segment lies between neighbouring cells; its right
//! end is open. Bit line `n` is open at the top, has one segment between neighbouring cells, and ends at
//! the bottom, after one more segment and `sense_ohm`, in a virtual ground. The output is the current into
//! that ground. Every word line is driven: an unused one is held at 0 V and does not float. A conductance
//! of 0 is an open cell, and any resistance may be 0.

use std::error::Error;
use std::fmt;

pub mod cell_law;
pub mod fast;
pub mod gated;
mod ladder;
mod lines;
mod mesh;
pub mod nonlinear;
pub mod passive;

/// An iterative solver stopped before it reached the tolerance it was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unconverged {
    /// The residual asked for.
    pub asked: f64,
    /// The residual reached, in the solver's own measure.
    pub reached: f64,
    /// Newton steps taken.
    pub n_steps: usize,
}

impl fmt::Display for Unconverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, reached, n_steps } = self;
        write!(f, "stopped after {n_steps} steps at a residual of {reached:e}, asked for {asked:e}")
    }
}

impl Error for Unconverged {}

/// Resistances of a passive array in ohm, each finite and at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wires {
    /// One segment of a word line, between neighbouring cells and before the first.
    pub word_line_ohm: f64,
    /// One segment of a bit line, between neighbouring cells and after the last.
    pub bit_line_ohm: f64,
    /// Each word line's driver.
    pub driver_ohm: f64,
    /// Each bit line's sense stage.
    pub sense_ohm: f64,
}

impl Wires {
    /// No resistance anywhere: every cell sees the full voltage.
    pub const IDEAL: Self =
        Self { word_line_ohm: 0.0, bit_line_ohm: 0.0, driver_ohm: 0.0, sense_ohm: 0.0 };

    /// What lies before cell `col` of a word line.
    fn word_segment(&self, col: usize) -> f64 {
        if col == 0 { self.driver_ohm + self.word_line_ohm } else { self.word_line_ohm }
    }

    /// What lies after cell `row` of a bit line with `n_rows` cells.
    fn bit_segment(&self, row: usize, n_rows: usize) -> f64 {
        if row + 1 == n_rows { self.bit_line_ohm + self.sense_ohm } else { self.bit_line_ohm }
    }
}
