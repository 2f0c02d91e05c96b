//! The currents of a passive array with any cell law under one input vector, by Newton's method.
//!
//! **Notation.** Node voltages `w` of word lines and `b` of bit lines, [word lines, bit lines] each; cell
//! currents `i(w - b)` with slopes `d`; `Lw` and `Lb` the nodal matrices of the wires. `x` are the currents
//! that word lines deliver to their cells, `y` those that bit lines take from theirs. The state always
//! satisfies the wires, `Lw w = sources - x` and `Lb b = y`; the cells are what is left to satisfy.
//!
//! **Residual.** `sum |x - i| + sum |i - y|` over all cells, divided by the largest current that the cells
//! of one bit line carry, signs aside. A current misplaced at a node of a network of positive conductances
//! leaves through sources and grounds in shares that sum to 1, and cells whose current grows with voltage
//! are such conductances between any two states: no output is off by more than the residual times that
//! largest current.
//!
//! **Phases.** A Newton step solves the network with cells linearised at the state (see the file on lines).
//! How exactly follows the residual (R. Dembo, S. Eisenstat and T. Steihaug, SIAM J. Numer. Anal. 19, 400
//! (1982), doi:10.1137/0719025). A step that does not lower the residual is halved towards the state.
//!
//! **Cost.** `O(cells)` per inner iteration. 256 by 256 cells up to 100 uS with 1 ohm per segment take four
//! Newton steps with eight inner iterations together.

use ndarray::ArrayView2;

use crate::network::cell_law::{CellLaw, Cubic};
use crate::network::lines::{Lines, sum_of};
use crate::network::{Unconverged, Wires};

/// The tolerance to ask for where nothing speaks for another: far below one LSB of any converter.
pub const DEFAULT_TOLERANCE: f64 = 1e-9;

/// Newton steps before giving up; a handful is usual.
const MAX_STEPS: usize = 60;
/// Halvings of one Newton step before giving up.
const MAX_HALVINGS: usize = 12;
/// How far an inner solve lowers the residual before cells are linearised anew.
const FORCING: f64 = 0.02;
/// The share of the tolerance that an inner solve may use up.
const INNER_SHARE: f64 = 0.25;

/// An array with its cells, ready to be solved for many input vectors.
#[derive(Debug, Clone)]
pub struct Crossbar {
    n_rows: usize,
    n_cols: usize,
    wires: Wires,
    law: CellLaw,
    /// [word lines, bit lines].
    cells: Vec<Cubic>,
}

/// What a solve works on, kept from one vector to the next.
#[derive(Debug, Clone)]
pub struct Workspace {
    state: State,
    trial: State,
    /// The linearised cells' currents at no voltage.
    fixed: Vec<f64>,
    lines: Lines,
}

/// How a solve went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solved {
    /// Newton steps.
    pub n_steps: usize,
    /// Sweeps over all lines: the inner iterations of all steps.
    pub n_sweeps: usize,
    /// The residual reached: no output current is off by more than this share of the largest current that
    /// the cells of one bit line carry, signs aside.
    pub residual: f64,
    /// The highest voltage across a cell, in volts; beyond [`CellLaw::highest_volts`] the law was continued.
    pub peak_cell_volts: f64,
}

/// Voltages and currents that satisfy the wires, and the cells at them; vectors are [word lines, bit lines].
#[derive(Debug, Clone)]
struct State {
    /// `w`, in volts.
    word_volts: Vec<f64>,
    /// `x`, in ampere.
    word_currents: Vec<f64>,
    /// `b`, in volts.
    bit_volts: Vec<f64>,
    /// `y`, in ampere.
    bit_currents: Vec<f64>,
    /// `i`, in ampere.
    cell_currents: Vec<f64>,
    /// `d`, in siemens.
    slopes: Vec<f64>,
    /// `sum |x - i| + sum |i - y|`, in ampere.
    misplaced: f64,
    /// The largest current that the cells of one bit line carry, signs aside, in ampere.
    scale: f64,
    /// The highest voltage across a cell.
    peak_volts: f64,
}

impl Crossbar {
    /// An array with conductances `g` [word lines, bit lines] in siemens, each finite and at least 0.
    pub fn new(g: ArrayView2<'_, f64>, wires: &Wires, law: CellLaw) -> Self {
        let (n_rows, n_cols) = g.dim();
        let cells = g.iter().map(|&g| law.cubic(g)).collect();
        Self { n_rows, n_cols, wires: *wires, law, cells }
    }

    /// Room to solve this array: one per thread, good for any number of vectors.
    pub fn new_workspace(&self) -> Workspace {
        let state = State::new(self.cells.len());
        Workspace {
            trial: state.clone(),
            state,
            fixed: vec![0.0; self.cells.len()],
            lines: Lines::new(self.n_rows, self.n_cols, &self.wires),
        }
    }

    /// Solves for the currents [bit lines] in ampere under `volts` [word lines], to a residual of at most
    /// `tolerance` (see [`Solved::residual`]). The answer depends on the arguments alone, not on what the
    /// workspace was used for before.
    ///
    /// # Errors
    /// [`Unconverged`] where rounding or a limit on steps stops the solver before `tolerance`; `currents`
    /// then holds the best that was reached.
    ///
    /// # Panics
    /// Where a length does not fit the array, or the workspace was made for an array of another size.
    pub fn solve(
        &self,
        volts: &[f64],
        tolerance: f64,
        workspace: &mut Workspace,
        currents: &mut [f64],
    ) -> Result<Solved, Unconverged> {
        assert_eq!(volts.len(), self.n_rows, "one voltage per word line");
        assert_eq!(currents.len(), self.n_cols, "one current per bit line");
        assert_eq!(workspace.fixed.len(), self.cells.len(), "a workspace of this array");
        if self.cells.is_empty() {
            currents.fill(0.0);
            return Ok(Solved { n_steps: 0, n_sweeps: 0, residual: 0.0, peak_cell_volts: 0.0 });
        }
        let work = workspace;
        work.state.start(volts, self.n_cols);
        self.evaluate(&mut work.state, currents);
        let (mut n_steps, mut n_sweeps, mut moved) = (0, 0, true);
        while moved && n_steps < MAX_STEPS && !work.state.is_within(tolerance) {
            n_sweeps += self.take_step(volts, tolerance, work);
            moved = self.accept_or_halve(work, currents);
            n_steps += 1;
        }
        currents.fill(0.0);
        for row in work.state.bit_currents.chunks_exact(self.n_cols) {
            for (sum, current) in currents.iter_mut().zip(row) {
                *sum += current;
            }
        }
        let State { peak_volts: peak_cell_volts, .. } = work.state;
        let residual = work.state.residual();
        if work.state.is_within(tolerance) {
            Ok(Solved { n_steps, n_sweeps, residual, peak_cell_volts })
        } else {
            Err(Unconverged { asked: tolerance, reached: residual, n_steps })
        }
    }

    /// Takes the network with cells linearised at the state to its solution, the trial state; returns the
    /// number of sweeps.
    fn take_step(&self, volts: &[f64], tolerance: f64, work: &mut Workspace) -> usize {
        let Workspace { state, trial, fixed, lines } = work;
        for (at, fixed) in fixed.iter_mut().enumerate() {
            let across = state.word_volts[at] - state.bit_volts[at];
            *fixed = state.cell_currents[at] - state.slopes[at] * across;
        }
        lines.set_slopes(&state.slopes);
        trial.bit_volts.copy_from_slice(&state.bit_volts);
        // With cells as linear as their linearisation, one step can go all the way.
        let enough = if self.law.is_linear() { 0.0 } else { FORCING * state.misplaced };
        let n_sweeps = lines.solve(
            volts,
            fixed,
            |at| state.bit_currents[at] + state.slopes[at] * state.bit_volts[at],
            enough.max(INNER_SHARE * tolerance * state.scale),
            (&mut trial.word_volts, &mut trial.bit_volts),
        );
        for (at, (slope, drawn)) in lines.slopes().iter().zip(lines.drawn()).enumerate() {
            let back = slope * trial.bit_volts[at];
            trial.word_currents[at] = slope * trial.word_volts[at] - (back - fixed[at]);
            trial.bit_currents[at] = drawn - back;
        }
        n_sweeps
    }

    /// Moves the state to the trial state, or as far towards it as the residual falls; `false` where it
    /// does not fall at all.
    fn accept_or_halve(&self, work: &mut Workspace, scratch: &mut [f64]) -> bool {
        for _ in 0..=MAX_HALVINGS {
            self.evaluate(&mut work.trial, scratch);
            if work.trial.misplaced < work.state.misplaced {
                std::mem::swap(&mut work.state, &mut work.trial);
                return true;
            }
            work.trial.halve_towards(&work.state);
        }
        false
    }

    /// Lets the cells answer the voltages of `state`; `sums` [bit lines] is scratch.
    fn evaluate(&self, state: &mut State, sums: &mut [f64]) {
        let highest = self.law.highest_volts();
        let mut peak_volts = 0.0_f64;
        for (at, cell) in self.cells.iter().enumerate() {
            let across = state.word_volts[at] - state.bit_volts[at];
            peak_volts = peak_volts.max(across.abs());
            let (current, slope) = cell.current_and_slope(across, highest);
            state.cell_currents[at] = current;
            state.slopes[at] = slope;
        }
        state.peak_volts = peak_volts;
        state.scale = largest_column(&state.cell_currents, sums);
        state.misplaced = sum_of(state.cell_currents.len(), |at| {
            let current = state.cell_currents[at];
            (state.word_currents[at] - current).abs() + (current - state.bit_currents[at]).abs()
        });
    }
}

impl State {
    fn new(n_cells: usize) -> Self {
        let zeros = || vec![0.0; n_cells];
        Self {
            word_volts: zeros(),
            word_currents: zeros(),
            bit_volts: zeros(),
            bit_currents: zeros(),
            cell_currents: zeros(),
            slopes: zeros(),
            misplaced: 0.0,
            scale: 0.0,
            peak_volts: 0.0,
        }
    }

    /// No current in any wire: word lines at their sources, bit lines at ground.
    fn start(&mut self, volts: &[f64], n_cols: usize) {
        for (row, volts) in self.word_volts.chunks_exact_mut(n_cols).zip(volts) {
            row.fill(*volts);
        }
        for values in [&mut self.word_currents, &mut self.bit_volts, &mut self.bit_currents] {
            values.fill(0.0);
        }
    }

    /// Goes half of the way to `other`; the wires are linear, so that they stay satisfied.
    fn halve_towards(&mut self, other: &Self) {
        for (values, others) in [
            (&mut self.word_volts, &other.word_volts),
            (&mut self.word_currents, &other.word_currents),
            (&mut self.bit_volts, &other.bit_volts),
            (&mut self.bit_currents, &other.bit_currents),
        ] {
            for (value, other) in values.iter_mut().zip(others) {
                *value = 0.5 * (*value + other);
            }
        }
    }

    fn residual(&self) -> f64 {
        if self.misplaced == 0.0 { 0.0 } else { self.misplaced / self.scale }
    }

    fn is_within(&self, tolerance: f64) -> bool {
        self.residual() <= tolerance
    }
}

/// The largest sum of magnitudes over a column of `values` [word lines, bit lines]; `sums` [bit lines] is
/// scratch.
fn largest_column(values: &[f64], sums: &mut [f64]) -> f64 {
    sums.fill(0.0);
    for row in values.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value.abs();
        }
    }
    sums.iter().fold(0.0, |max, &sum| max.max(sum))
}
