//! The currents of a gated array (NOR flash) under on-off inputs, where wires have resistance.
//!
//! **Circuit.** Inputs sit on gates and carry no current, so that columns are independent. The sense stage
//! at the bottom holds each bit line at `bit_line_volts`, through `sense_ohm` and one segment, then one
//! segment lies between neighbouring cells; the top is open. A source line runs along each bit line, is
//! grounded at the bottom after one segment, and open at the top.
//!
//! **Cell.** With `s` the voltage of its source and `u` that between its drain and source, a cell that is on
//! carries
//!
//! ```text
//! i = g V (1 + c (u - V)) exp(-s / v)    V = bit_line_volts, c = output_conductance_per_volt
//! ```
//!
//! where `v = m kT/q` is the gate voltage that changes a subthreshold current by a factor e: a risen source
//! takes its rise from the gate's drive. `g V` is the current that programming aimed at, so `g` keeps its
//! place in the normalised current. The output conductance stands for the lowering of the barrier by the
//! drain (subthreshold current itself saturates a few kT/q above the source: Y. Tsividis, Operation and
//! Modeling of the MOS Transistor). Valid while `u` stays above some 100 mV, which [`Solved`] reports, with
//! gates in the subthreshold region. A cell that is off carries nothing.
//!
//! **Steps.** All cells of a column inject the same current into both of its lines, so one running sum
//! serves both. With cells linearised, `i = j - p d - q s` with `d` the sag of the bit line, the current
//! `y` below a cell satisfies `y = t (J - P d' - Q s')`, `d'` and `s'` one node further down:
//!
//! ```text
//! J = j + t J'    P = p + t P'    Q = q + t Q'    t = 1 / (1 + r_bit P + r_source Q)
//! ```
//!
//! from the open top down, primes one node above; then `d` and `s` from the bottom up. Currents are
//! decreasing and convex in `s`, so Newton's method from the voltages of no current converges from
//! one side without damping. With ideal source lines the column is linear and one pass down is the answer.
//!
//! **Cost.** `O(rows)` per column and Newton step, three to seven of which are usual.

use ndarray::ArrayView2;

use crate::network::Unconverged;

/// The residual at which a column counts as solved, as a share of its current.
pub const TOLERANCE: f64 = 1e-10;

/// Newton steps before giving up.
const MAX_STEPS: usize = 100;

/// The wires and cells of a gated array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatedWires {
    /// One segment of a bit line in ohm, between neighbouring cells and after the last.
    pub bit_line_ohm: f64,
    /// Each bit line's sense stage, in ohm.
    pub sense_ohm: f64,
    /// One segment of a source line in ohm, between neighbouring cells and after the last; 0 where sources
    /// are at ground.
    pub source_line_ohm: f64,
    /// What the sense stage holds bit lines at, in volts above ground.
    pub bit_line_volts: f64,
    /// How a cell's current grows with the voltage between drain and source, per volt.
    pub output_conductance_per_volt: f64,
    /// `m kT/q`, in volts: the rise of a source that lowers its cell's current by a factor e.
    pub subthreshold_volts: f64,
}

/// How a solve went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solved {
    /// The most Newton steps that a column took.
    pub n_steps: usize,
    /// The largest residual of a column: current that cells disagree with wires about, as a share of the
    /// column's current.
    pub residual: f64,
    /// The lowest voltage between drain and source of a cell that is on; infinite where none is.
    pub lowest_drain_volts: f64,
}

impl Solved {
    const NOTHING: Self = Self { n_steps: 0, residual: 0.0, lowest_drain_volts: f64::INFINITY };

    fn and(self, other: Self) -> Self {
        Self {
            n_steps: self.n_steps.max(other.n_steps),
            residual: self.residual.max(other.residual),
            lowest_drain_volts: self.lowest_drain_volts.min(other.lowest_drain_volts),
        }
    }
}

/// Writes the currents [bit lines] in ampere of an array with conductances `g` [word lines, bit lines] in
/// siemens, each finite and at least 0, while the gates of the word lines `on` conduct.
///
/// # Errors
/// [`Unconverged`] where a column does not reach [`TOLERANCE`].
///
/// # Panics
/// Where a length does not fit the array.
pub fn column_currents(
    g: ArrayView2<'_, f64>,
    on: &[bool],
    wires: &GatedWires,
    currents: &mut [f64],
) -> Result<Solved, Unconverged> {
    assert_eq!(on.len(), g.nrows(), "one input per word line");
    assert_eq!(currents.len(), g.ncols(), "one current per bit line");
    if wires.source_line_ohm == 0.0 {
        return Ok(solve_with_ideal_sources(g, on, wires, currents));
    }
    let mut column = Column::new(g.nrows());
    let mut solved = Solved::NOTHING;
    for (cells, current) in g.columns().into_iter().zip(currents) {
        column.start(cells.iter().copied(), on);
        solved = solved.and(column.solve(wires)?);
        *current = column.total;
    }
    Ok(solved)
}

/// Writes the charges [bit lines] that pulses of different lengths leave, in ampere times one step of pulse
/// length: word line `m` is on for the first `steps[m]` steps.
///
/// Between two ends of pulses the same gates conduct, so the charge is exact with one solve per distinct
/// length above 0.
///
/// # Errors
/// See [`column_currents`].
///
/// # Panics
/// Where a length does not fit the array.
pub fn pulse_width_charges(
    g: ArrayView2<'_, f64>,
    steps: &[u32],
    wires: &GatedWires,
    charges: &mut [f64],
) -> Result<Solved, Unconverged> {
    let mut ends = steps.to_vec();
    ends.sort_unstable();
    ends.dedup();
    let mut from = 0;
    let segments = ends.into_iter().filter(|&end| end > 0).map(|end| {
        let length = end - std::mem::replace(&mut from, end);
        (f64::from(length), move |steps: u32| steps >= end)
    });
    add_phases(g, steps, wires, charges, segments)
}

/// Writes the weighted currents [bit lines] in ampere of inputs given bit by bit: bit `k` of `codes[m]`
/// turns word line `m` on in a phase of its own that counts `2^k`.
///
/// # Errors
/// See [`column_currents`].
///
/// # Panics
/// Where a length does not fit the array.
pub fn bit_serial_currents(
    g: ArrayView2<'_, f64>,
    codes: &[u32],
    wires: &GatedWires,
    currents: &mut [f64],
) -> Result<Solved, Unconverged> {
    let all = codes.iter().fold(0, |all, code| all | code);
    let bits = (0..u32::BITS).filter(|bit| all >> bit & 1 == 1);
    let phases = bits.map(|bit| (f64::from(1_u32 << bit), move |code: u32| code >> bit & 1 == 1));
    add_phases(g, codes, wires, currents, phases)
}

/// Adds up phases, each a weight and which inputs it turns on.
fn add_phases<F: Fn(u32) -> bool>(
    g: ArrayView2<'_, f64>,
    inputs: &[u32],
    wires: &GatedWires,
    sums: &mut [f64],
    phases: impl Iterator<Item = (f64, F)>,
) -> Result<Solved, Unconverged> {
    let mut currents = vec![0.0; g.ncols()];
    let mut on = vec![false; inputs.len()];
    let mut solved = Solved::NOTHING;
    sums.fill(0.0);
    for (weight, turns_on) in phases {
        for (on, &input) in on.iter_mut().zip(inputs) {
            *on = turns_on(input);
        }
        solved = solved.and(column_currents(g, &on, wires, &mut currents)?);
        for (sum, current) in sums.iter_mut().zip(&currents) {
            *sum += weight * current;
        }
    }
    Ok(solved)
}

impl GatedWires {
    fn bit_segment(&self, row: usize, n_rows: usize) -> f64 {
        if row + 1 == n_rows { self.bit_line_ohm + self.sense_ohm } else { self.bit_line_ohm }
    }

    /// Current in ampere, and how it falls with the sag of the bit line and the rise of the source line, in
    /// siemens, of a cell with conductance `g`.
    fn cell(&self, g: f64, sag: f64, rise: f64) -> Cell {
        let full = g * self.bit_line_volts * libm::exp(-rise / self.subthreshold_volts);
        let with_sag = full * self.output_conductance_per_volt;
        let current = full - with_sag * (sag + rise);
        Cell { current, with_sag, with_rise: with_sag + current / self.subthreshold_volts }
    }
}

/// A cell at its voltages.
struct Cell {
    current: f64,
    with_sag: f64,
    with_rise: f64,
}

/// All columns at once, where they are linear: one pass from the open ends to the sense stages.
///
/// The sag of the topmost cell that is on, the largest of its column, is carried down as
/// `sag + share * (sag of the current node)`.
fn solve_with_ideal_sources(
    g: ArrayView2<'_, f64>,
    on: &[bool],
    wires: &GatedWires,
    currents: &mut [f64],
) -> Solved {
    let n_rows = g.nrows();
    let slope = wires.bit_line_volts * wires.output_conductance_per_volt;
    currents.fill(0.0);
    let mut tops = vec![Top { admittance: 0.0, sag: 0.0, share: 1.0 }; g.ncols()];
    let first = on.iter().position(|&on| on).unwrap_or(n_rows);
    for (row, &on) in on.iter().enumerate().skip(first) {
        let ohm = wires.bit_segment(row, n_rows);
        let (full, slope) = if on { (wires.bit_line_volts, slope) } else { (0.0, 0.0) };
        for ((current, top), g) in currents.iter_mut().zip(&mut tops).zip(g.row(row)) {
            let here = top.admittance + slope * g;
            let passed = (1.0 + ohm * here).recip();
            let sum = *current + full * g;
            *current = passed * sum;
            top.admittance = passed * here;
            top.share *= passed;
            top.sag += top.share * ohm * sum;
        }
    }
    let sag = tops.iter().fold(0.0, |max: f64, top| max.max(top.sag));
    let lowest_drain_volts =
        if first < n_rows { wires.bit_line_volts - sag } else { f64::INFINITY };
    Solved { lowest_drain_volts, ..Solved::NOTHING }
}

/// What hangs above the current node of one bit line.
#[derive(Clone, Copy)]
struct Top {
    admittance: f64,
    sag: f64,
    share: f64,
}

/// One column with a source line of its own.
struct Column {
    /// Conductances, 0 where a cell is off.
    g: Vec<f64>,
    nodes: Vec<Node>,
    /// The current into the sense stage, in ampere.
    total: f64,
}

/// A cell, its two nodes, and what hangs on them from above: `t`, `J`, `P` and `Q`.
#[derive(Clone, Copy, Default)]
struct Node {
    sag: f64,
    rise: f64,
    passed: f64,
    injected: f64,
    with_sag: f64,
    with_rise: f64,
    /// The linearised cell: its current at no sag and no rise, and how that falls.
    cell: (f64, f64, f64),
}

impl Column {
    fn new(n_rows: usize) -> Self {
        Self { g: vec![0.0; n_rows], nodes: vec![Node::default(); n_rows], total: 0.0 }
    }

    /// Sets the cells, with no current anywhere.
    fn start(&mut self, cells: impl Iterator<Item = f64>, on: &[bool]) {
        for ((own, g), &on) in self.g.iter_mut().zip(cells).zip(on) {
            *own = if on { g } else { 0.0 };
        }
        self.nodes.fill(Node::default());
        self.total = 0.0;
    }

    fn solve(&mut self, wires: &GatedWires) -> Result<Solved, Unconverged> {
        let mut misplaced = self.linearise(wires);
        let mut n_steps = 0;
        loop {
            if misplaced <= TOLERANCE * self.total {
                break;
            }
            if n_steps == MAX_STEPS {
                let reached = misplaced / self.total;
                return Err(Unconverged { asked: TOLERANCE, reached, n_steps });
            }
            self.step(wires);
            misplaced = self.linearise(wires);
            n_steps += 1;
        }
        let residual = if misplaced == 0.0 { 0.0 } else { misplaced / self.total };
        let conducting = self.nodes.iter().zip(&self.g).filter(|(_, g)| **g > 0.0);
        let lowest_drain_volts = conducting.fold(f64::INFINITY, |min, (node, _)| {
            min.min(wires.bit_line_volts - node.sag - node.rise)
        });
        Ok(Solved { n_steps, residual, lowest_drain_volts })
    }

    /// Linearises all cells at their voltages; returns by how much their currents differ from what they
    /// were linearised to before, in sum.
    fn linearise(&mut self, wires: &GatedWires) -> f64 {
        let mut misplaced = 0.0;
        for (node, &g) in self.nodes.iter_mut().zip(&self.g) {
            let Node { sag, rise, cell: (fixed, with_sag, with_rise), .. } = *node;
            let Cell { current, with_sag: p, with_rise: q } = wires.cell(g, sag, rise);
            misplaced += (fixed - with_sag * sag - with_rise * rise - current).abs();
            node.cell = (current + p * sag + q * rise, p, q);
        }
        misplaced
    }

    /// Solves the column with linearised cells.
    fn step(&mut self, wires: &GatedWires) {
        let n_rows = self.nodes.len();
        let (mut injected, mut with_sag, mut with_rise) = (0.0, 0.0, 0.0);
        for (row, node) in self.nodes.iter_mut().enumerate() {
            let (fixed, p, q) = node.cell;
            node.injected = injected + fixed;
            node.with_sag = with_sag + p;
            node.with_rise = with_rise + q;
            let sum = wires.bit_segment(row, n_rows) * node.with_sag
                + wires.source_line_ohm * node.with_rise;
            node.passed = (1.0 + sum).recip();
            injected = node.passed * node.injected;
            with_sag = node.passed * node.with_sag;
            with_rise = node.passed * node.with_rise;
        }
        self.total = injected;
        let (mut sag, mut rise) = (0.0, 0.0);
        for (row, node) in self.nodes.iter_mut().enumerate().rev() {
            let current =
                node.passed * (node.injected - node.with_sag * sag - node.with_rise * rise);
            sag += wires.bit_segment(row, n_rows) * current;
            rise += wires.source_line_ohm * current;
            (node.sag, node.rise) = (sag, rise);
        }
    }
}
