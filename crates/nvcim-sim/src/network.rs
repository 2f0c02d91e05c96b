//! Currents that no matrix gives: cells along their curves, and arrays that every vector makes a network
//! of its own.
//!
//! Everything is computed in f64, whatever the kernel's type. Drives come in drive units of `unit` full
//! scales. A network is solved vector by vector:
//!
//! * Amplitudes are voltages, one solve per vector.
//! * Pulses of different length turn rows on together and off one after the other. Between two ends the
//!   same rows are on, so the charge is the sum over the distinct lengths of the difference to the next
//!   shorter one times the current of the rows that are at least as long. Rows driven the other way are on
//!   with the opposite sign.
//! * Whole codes that stand for slices added before a conversion are taken apart again, each slice being
//!   a network of its own.
//!
//! A solver that stops before its tolerance leaves the best it reached, and is counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis};
use nvcim_chip::network::gated::{self, GatedWires};
use nvcim_chip::network::nonlinear::{Crossbar, DEFAULT_TOLERANCE, Workspace};
use nvcim_chip::real::Real;
use rayon::prelude::*;

use crate::periphery::Slicing;

/// What stands in for a kernel's weights.
#[derive(Debug, Clone)]
pub(crate) enum Network {
    /// `y = W2 x |x| + W3 x^3`, beside the weights, which are linear: `[conversions, rows]` each, per
    /// power of a drive unit.
    Curves {
        /// Of the square.
        square: Array2<f64>,
        /// Of the cube.
        cube: Array2<f64>,
    },
    /// Arrays solved vector by vector.
    Solved(Arc<Solved>),
}

/// Vectors that one task solves: what sets the grain of parallel work, not results.
const VECTORS_AT_ONCE: usize = 8;

/// Arrays whose currents are solved for.
#[derive(Debug)]
pub(crate) struct Solved {
    /// The arrays, with the word lines that drives reach.
    pub(crate) arrays: Vec<SolvedArray>,
    /// The conversions.
    pub(crate) picks: Vec<Pick>,
    /// Full scales per drive unit.
    pub(crate) unit: f64,
    /// How drives come.
    pub(crate) way: Way,
    /// Solves that stopped before their tolerance.
    pub(crate) n_stalled: AtomicU64,
}

/// An array to be solved.
#[derive(Debug)]
pub(crate) struct SolvedArray {
    pub(crate) cells: SolvedCells,
    pub(crate) n_rows: usize,
    pub(crate) n_cols: usize,
    pub(crate) feeds: Vec<Feed>,
}

/// What is solved.
#[derive(Debug)]
pub(crate) enum SolvedCells {
    /// A passive array, driven at so many volts by a full-scale drive.
    Passive(Box<Crossbar>, f64),
    /// A gated array: its conductances in siemens, `[word lines, bit lines]`.
    Gated(Array2<f64>, GatedWires),
}

/// A word line and the drive that it gets: `gain (sign x + offset)`, in full scales.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feed {
    pub(crate) word_line: usize,
    pub(crate) drive: usize,
    pub(crate) sign: f64,
    pub(crate) gain: f64,
    pub(crate) offset: f64,
}

/// One conversion of a solved network.
#[derive(Debug, Clone)]
pub(crate) struct Pick {
    /// The drives that act.
    pub(crate) driven: Range<usize>,
    /// Array, bit line among those kept, and what its current in amperes per volt of a full-scale drive counts.
    pub(crate) terms: Vec<(usize, usize, f64)>,
}

/// How drives come to the word lines of a solved network.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// As voltages.
    Amplitude,
    /// As pulses of the full voltage.
    Pulses,
    /// As slices, added in their weights: each as voltages, or as pulses.
    Added(Slicing, bool),
}

/// The voltages or pulse lengths of an array's word lines, and what is solved with them.
struct Solver<'a> {
    array: &'a SolvedArray,
    workspace: Option<Workspace>,
    /// In full scales, by word line.
    drives: Vec<f64>,
    /// In amperes per volt of a full-scale drive, by bit line.
    currents: Vec<f64>,
    phase: Vec<f64>,
}

impl Network {
    /// Solves so far that stopped before their tolerance.
    pub(crate) fn n_stalled(&self) -> u64 {
        match self {
            Self::Curves { .. } => 0,
            Self::Solved(solved) => solved.n_stalled.load(Ordering::Relaxed),
        }
    }

    /// Adds the currents of `driven`, `[rows, columns]` in drive units, to `out`, `[conversions, columns]`.
    pub(crate) fn add_currents<T: Real>(
        &self,
        driven: ArrayView2<'_, T>,
        mut out: ArrayViewMut2<'_, T>,
    ) {
        match self {
            Self::Curves { square, cube } => {
                let mut sum = Array2::<f64>::zeros(out.dim());
                let squares = driven.mapv(|x| x.to_f64() * x.to_f64().abs());
                general_mat_mul(1.0, square, &squares, 0.0, &mut sum);
                let cubes = driven.mapv(|x| x.to_f64().powi(3));
                general_mat_mul(1.0, cube, &cubes, 1.0, &mut sum);
                out.zip_mut_with(&sum, |out, &y| *out += T::from_f64(y));
            }
            Self::Solved(solved) => solved.add_currents(driven, out),
        }
    }
}

impl Solved {
    fn add_currents<T: Real>(&self, driven: ArrayView2<'_, T>, mut out: ArrayViewMut2<'_, T>) {
        let mut spans: Vec<&Range<usize>> = self.picks.iter().map(|pick| &pick.driven).collect();
        spans.sort_unstable_by_key(|span| (span.start, span.end));
        spans.dedup();
        let some = |(driven, mut out): (ArrayView2<'_, T>, ArrayViewMut2<'_, T>)| {
            let mut solvers: Vec<Solver<'_>> = self.arrays.iter().map(Solver::new).collect();
            for (driven, out) in driven.columns().into_iter().zip(out.columns_mut()) {
                self.add_vector(&spans, driven, out, &mut solvers);
            }
        };
        let driven: Vec<_> = driven.axis_chunks_iter(Axis(1), VECTORS_AT_ONCE).collect();
        let out: Vec<_> = out.axis_chunks_iter_mut(Axis(1), VECTORS_AT_ONCE).collect();
        driven.into_par_iter().zip(out).for_each(some);
    }

    /// Adds the currents of one vector.
    fn add_vector<T: Real>(
        &self,
        spans: &[&Range<usize>],
        driven: ArrayView1<'_, T>,
        mut out: ArrayViewMut1<'_, T>,
        solvers: &mut [Solver<'_>],
    ) {
        for span in spans {
            for solver in &mut *solvers {
                solver.solve(self, span, |row| driven[row].to_f64());
            }
            for (pick, out) in self.picks.iter().zip(&mut out) {
                if pick.driven == **span {
                    let y = pick
                        .terms
                        .iter()
                        .map(|&(array, line, worth)| solvers[array].currents[line] * worth);
                    *out += T::from_f64(y.sum());
                }
            }
        }
    }
}

impl<'a> Solver<'a> {
    fn new(array: &'a SolvedArray) -> Self {
        let workspace = match &array.cells {
            SolvedCells::Passive(crossbar, _) => Some(crossbar.new_workspace()),
            SolvedCells::Gated(..) => None,
        };
        Self {
            array,
            workspace,
            drives: vec![0.0; array.n_rows],
            currents: vec![0.0; array.n_cols],
            phase: vec![0.0; array.n_cols],
        }
    }

    /// Solves for one vector, of which only the drives in `span` act.
    fn solve(&mut self, network: &Solved, span: &Range<usize>, drive: impl Fn(usize) -> f64) {
        self.currents.fill(0.0);
        match network.way {
            Way::Amplitude => {
                self.feed(span, |row| drive(row) * network.unit);
                self.add_pattern(network, 1.0);
            }
            Way::Pulses => {
                self.feed(span, |row| drive(row) * network.unit);
                self.add_pulses(network, 1.0);
            }
            Way::Added(slicing, pulses) => {
                let base = f64::from(1u32 << slicing.bits_per_slice);
                for slice in 0..slicing.n_slices {
                    let digit = |row: usize| slicing.digit(drive(row), slice) / (base - 1.0);
                    self.feed(span, digit);
                    let weight = slicing.weight(slice);
                    if pulses {
                        self.add_pulses(network, weight);
                    } else {
                        self.add_pattern(network, weight);
                    }
                }
            }
        }
    }

    fn feed(&mut self, span: &Range<usize>, drive: impl Fn(usize) -> f64) {
        self.drives.fill(0.0);
        for feed in self.array.feeds.iter().filter(|feed| span.contains(&feed.drive)) {
            let x = feed.sign * drive(feed.drive);
            self.drives[feed.word_line] += feed.gain * (x + feed.offset);
        }
    }

    /// Adds the currents of pulses as long as the drives say.
    fn add_pulses(&mut self, network: &Solved, weight: f64) {
        let mut ends: Vec<f64> = self.drives.iter().map(|x| x.abs()).filter(|&x| x > 0.0).collect();
        ends.sort_unstable_by(f64::total_cmp);
        ends.dedup();
        let lengths = std::mem::take(&mut self.drives);
        let mut from = 0.0;
        for end in ends {
            let on = |x: &f64| if x.abs() >= end { 1.0f64.copysign(*x) } else { 0.0 };
            self.drives = lengths.iter().map(on).collect();
            self.add_pattern(network, weight * (end - from));
            from = end;
        }
        self.drives = lengths;
    }

    /// Adds the currents of the drives as they stand.
    fn add_pattern(&mut self, network: &Solved, weight: f64) {
        if self.drives.iter().all(|&x| x == 0.0) {
            return;
        }
        let (volts_of_full_scale, solved) = match (&self.array.cells, &mut self.workspace) {
            (SolvedCells::Passive(crossbar, full_scale), Some(workspace)) => {
                let volts: Vec<f64> = self.drives.iter().map(|x| x * full_scale).collect();
                let solved = crossbar.solve(&volts, DEFAULT_TOLERANCE, workspace, &mut self.phase);
                (*full_scale, solved.is_ok())
            }
            (SolvedCells::Gated(g, wires), _) => {
                let on: Vec<bool> = self.drives.iter().map(|&x| x > 0.0).collect();
                let solved = gated::column_currents(g.view(), &on, wires, &mut self.phase);
                (wires.bit_line_volts, solved.is_ok())
            }
            (SolvedCells::Passive(..), None) => return,
        };
        network.n_stalled.fetch_add(u64::from(!solved), Ordering::Relaxed);
        for (sum, y) in self.currents.iter_mut().zip(&self.phase) {
            *sum += weight * y / volts_of_full_scale;
        }
    }
}
