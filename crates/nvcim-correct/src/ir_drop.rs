//! IR-drop pre-distortion: cells chosen so that the currents *behind* resistive wires are the wanted ones.
//!
//! **Notation.** `G` [word lines, bit lines] the conductances of an array, `T(G)` its transfer matrix
//! (`nvcim_chip::network`), a *pair* a positive and a negative cell, or a single cell. `e` is what a
//! pair is worth: `T` of its positive cell's lines minus `T` of its negative cell's. `W` holds the
//! wanted `e` at gain 1, `s` is the gain, and `d` is a pair's one degree of freedom: the difference of
//! its cells, one of which stays at the bottom of its reach.
//!
//! **Task.** Find cells within their reach with `e = s W` and the largest `s`. Wires lose current, so that
//! the far cells run out of reach first: `s < 1`, and `-20 log10 s` decibels of signal are the price.
//!
//! **Why one cell rests.** More common mode draws more current, which lowers every `e`. Nothing is lost by
//! `g_min > 0`: which of the two cells is above it follows from the sign of what is missing with both at
//! `g_min`, not from the sign of the weight. (Choosing by the weight's sign leaves small weights with an
//! error of their pair's unequal losses, which no iteration removes.)
//!
//! **Phases.**
//! 1. *Outer steps* (`outer.rs`): exact `T` at the present cells. The estimate of
//!    `nvcim_chip::network::fast` with the difference to the exact `T` added is right here and has
//!    nearly the right slopes.
//! 2. *Inner steps* (`model.rs`): that model is solved, each pair along its own slope `T / g`, over and
//!    over. Each step costs a small part of the exact matrix. The gain is chosen in every step
//!    (`headroom.rs`).
//! 3. Outer steps are mixed by Anderson's method (`anderson.rs`), for wires so bad that the estimate's
//!    slopes are poor, and shortened where they lead astray.
//! 4. Cells with levels are snapped, and snapped again with what exact currents show to be missing
//!    (`snap.rs`).
//!
//! A pair with a stuck cell is held by its partner as far as that reaches; the rest of its error is left
//! over.
//!
//! **Cost.** 4 to 7 exact matrices per array where they take half the current; `docs/corrections.md` has
//! figures.
//!
//! Sources: pre-distortion by fixed-point iteration is folklore of the field, e.g. B. Liu et al.,
//! "Reduction and IR-drop compensations techniques for reliable neuromorphic computing systems", ICCAD
//! 2014, doi:10.1109/ICCAD.2014.7001330. Mixing: D. G. Anderson, J. ACM 12, 547 (1965),
//! doi:10.1145/321296.321305.

mod anderson;
mod headroom;
mod layout;
mod model;
mod outer;
mod snap;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use nvcim_chip::describe::Cell;
use nvcim_chip::effects::ir_drop::{IrDrop, IrDropMethod};
use nvcim_chip::network::Wires;
use nvcim_ir::tiled::{ArraySize, Wiring};

use crate::ir_drop::layout::Layout;

/// Arrays that are solved together, and what their cells shall be worth.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// The wires of each array.
    pub wires: Wires,
    /// How currents are computed: [`IrDropMethod::Exact`] for silicon, the other for a chip simulated so.
    pub method: IrDropMethod,
    /// What a free cell's conductance can be at the time of use.
    pub reach: Reach,
    /// The arrays.
    pub arrays: Vec<ArrayCells<'a>>,
    /// The matrices that they hold; no cell is used twice.
    pub blocks: Vec<Block<'a>>,
}

/// The conductances that a free cell can have at the time of use, in siemens.
///
/// Where conductances change after programming, these are the expected ones, and the caller
/// turns them back into targets.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// Anything from the first to the second, which is larger.
    Range(f64, f64),
    /// One of these, ascending, at least two.
    Levels(Vec<f64>),
}

/// Cells of an array by word and bit line, and their conductances in siemens.
pub type FixedCells = BTreeMap<(u32, u32), f64>;

/// The cells of one array that blocks do not choose.
#[derive(Debug, Clone, Copy)]
pub struct ArrayCells<'a> {
    /// Word lines, all driven: those of no input at 0 V.
    pub n_rows: usize,
    /// Bit lines.
    pub n_cols: usize,
    /// The conductance of unused cells, in siemens.
    pub rest: f64,
    /// Cells that have a conductance of their own: stuck ones, those of a block included, and cells of
    /// others.
    pub fixed: &'a FixedCells,
}

/// A matrix and where it sits.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The positive cells.
    pub plus: Side<'a>,
    /// The negative cells; `None` where single cells hold weights. Then `wanted` holds whole
    /// conductances, the offset included, and what is taken off an output per unit of summed drives
    /// shrinks with the gain too. Losses differ, so that cells with little loss cannot be worth as
    /// little as `g_min` is elsewhere: an offset some `g_min` above the least brings all in reach.
    pub minus: Option<Side<'a>>,
    /// What cells shall be worth without wires, plus minus minus, in siemens, `[rows, lanes]`.
    pub wanted: ArrayView2<'a, f64>,
    /// What is asked of the gain.
    pub gain: Gain<'a>,
}

/// The cells of one sign: those where its word and bit lines cross.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Which of the group's arrays.
    pub array: usize,
    /// Word lines, one per row of the block.
    pub rows: &'a [u32],
    /// Bit lines, one per lane of the block.
    pub cols: &'a [u32],
}

/// How the gain `s` is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gain<'a> {
    /// One for the block: the largest that leaves pairs of free cells in reach, or a larger one where that
    /// makes the error smaller because of stuck ones.
    Common {
        /// Its bound, above 0 and finite.
        at_most: f64,
        /// The relative error that may be spent on a larger gain: the sum of squared errors, each over
        /// the gain, becomes larger by this squared times the sum of squares wanted.
        allowance: f64,
    },
    /// The same, chosen for each lane.
    PerLane {
        /// As for one.
        at_most: f64,
        /// As for one.
        allowance: f64,
    },
    /// These, one per lane, each above 0. Pairs out of reach are left at their nearest.
    Given(&'a [f64]),
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The relative residual that is good enough: of what is wanted (Frobenius), the part that is
    /// neither there nor out of reach.
    pub tolerance: f64,
    /// The most exact matrices per array before snapping.
    pub max_iterations: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { tolerance: 1e-7, max_iterations: 30 }
    }
}

/// Cells against the wires of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct PreDistorted {
    /// By block.
    pub blocks: Vec<Distorted>,
    /// Exact matrices computed per array.
    pub iterations: usize,
    /// Whether the residual came within the tolerance.
    pub converged: bool,
    /// The residual of [`Effort::tolerance`], before snapping to levels.
    pub residual: f64,
}

/// The cells of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct Distorted {
    /// Conductances of positive cells at the time of use, in siemens, `[rows, lanes]`; stuck ones as
    /// they are.
    pub plus: Array2<f64>,
    /// Those of negative cells; `[rows, 0]` where there are none.
    pub minus: Array2<f64>,
    /// The gain of each lane: `effective` stands for `gain * wanted`. None in a block without rows.
    pub gain: Vec<f64>,
    /// What the pairs are worth behind the wires, in siemens, `[rows, lanes]`.
    pub effective: Array2<f64>,
    /// The least and most that each pair could be worth with all others as they are, per gain: the box
    /// that `wanted` must stay in, in siemens; to first order.
    pub reach: [Array2<f64>; 2],
    /// `|effective / gain - wanted| / |wanted|` (Frobenius); where nothing is wanted, over one cell at the
    /// top of its reach.
    pub relative_error: f64,
    /// The same for cells chosen as if there were no wires, at their best gain, or the given one.
    pub error_before: f64,
}

impl Distorted {
    /// The signal lost to headroom in decibels: `-20 log10` of the root mean square of the lanes' gains.
    pub fn snr_lost_db(&self) -> f64 {
        let power: f64 = self.gain.iter().map(|gain| gain * gain).sum();
        if power > 0.0 { 10.0 * libm::log10(self.gain.len() as f64 / power) } else { 0.0 }
    }
}

impl<'a> Group<'a> {
    /// The group of one tile that has its arrays for itself.
    ///
    /// `fixed` holds stuck cells of the positive and of the negative cells' array, which may be the
    /// same; `rest` is the conductance of unused cells at the time of use, in siemens.
    pub fn of_tile(
        wiring: &'a Wiring,
        size: ArraySize,
        ir_drop: &IrDrop,
        (reach, rest): (Reach, f64),
        fixed: [&'a FixedCells; 2],
        (wanted, gain): (ArrayView2<'a, f64>, Gain<'a>),
    ) -> Self {
        let n_arrays = if wiring.minus_array.is_some() { 2 } else { 1 };
        let of_array = |fixed| ArrayCells { n_rows: size.n_rows, n_cols: size.n_cols, rest, fixed };
        let minus =
            Side { array: n_arrays - 1, rows: &wiring.minus_rows, cols: &wiring.minus_cols };
        let block = Block {
            plus: Side { array: 0, rows: &wiring.plus_rows, cols: &wiring.plus_cols },
            minus: wiring.is_paired().then_some(minus),
            wanted,
            gain,
        };
        Self {
            wires: ir_drop.wires,
            method: ir_drop.method,
            reach,
            arrays: fixed.into_iter().take(n_arrays).map(of_array).collect(),
            blocks: vec![block],
        }
    }
}

impl Reach {
    /// What a chip's cell can be programmed to.
    pub fn of_cell(cell: &Cell) -> Self {
        match cell.n_levels {
            None => Self::Range(cell.g_min, cell.g_max),
            Some(n_levels) => {
                let step = cell.range() / f64::from(n_levels - 1);
                Self::Levels((0..n_levels).map(|at| cell.g_min + f64::from(at) * step).collect())
            }
        }
    }

    /// The least and largest conductance.
    fn ends(&self) -> (f64, f64) {
        match self {
            Self::Range(lo, hi) => (*lo, *hi),
            Self::Levels(levels) => match levels[..] {
                [lo, .., hi] => (lo, hi),
                _ => panic!("a cell has at least two levels"),
            },
        }
    }
}

/// Chooses the cells of a group so that the currents behind its wires are the wanted ones.
///
/// The result is never worse, by its relative error over the group, than the cells chosen as if there
/// were no wires.
///
/// # Panics
/// Where lines lie outside their array or are not as many as `wanted` has rows and lanes, where a
/// conductance, resistance or wanted value is not finite, a reach is empty, or a gain not above 0.
pub fn pre_distort(group: &Group<'_>, effort: Effort) -> PreDistorted {
    let layout = Layout::new(group);
    let mut raw = outer::ideal_cells(&layout);
    let solved = outer::solve(&layout, &raw, effort);
    let (mut best, mut iterations) = (solved.best, solved.iterations);
    if let Reach::Levels(levels) = &group.reach {
        let (snapped, n_rounds) = snap::snap(&layout, &best, levels);
        raw = snap::snapped(&layout, &raw.d, &raw, levels);
        best = snapped;
        iterations += n_rounds + 1;
    }
    let raw = outer::at_best_gain(&layout, raw);
    if layout.error_squared(&raw) < layout.error_squared(&best) {
        best = raw.clone();
    }
    let boxes = model::boxes(&layout, &best);
    PreDistorted {
        blocks: layout.distorted(&best, &boxes, &raw),
        iterations,
        converged: solved.residual <= effort.tolerance,
        residual: solved.residual,
    }
}
