//! The pairs of a group in one row, and what they and their arrays are worth at given differences.

use std::ops::Range;

use ndarray::Array2;
use nvcim_chip::effects::ir_drop::IrDropMethod;
use nvcim_chip::network::Wires;
use nvcim_chip::network::fast::estimate_transfer_matrix;
use nvcim_chip::network::passive::transfer_matrix;

use crate::ir_drop::{ArrayCells, Block, Distorted, Gain, Group, Side};

/// A group, pair by pair: block by block, row by row, lane by lane.
pub(super) struct Layout {
    wires: Wires,
    method: IrDropMethod,
    /// The least and largest conductance of a free cell.
    pub(super) ends: (f64, f64),
    pub(super) pairs: Vec<Pair>,
    pub(super) gains: Vec<GainRule>,
    /// The pairs under each gain.
    pub(super) members: Vec<Vec<usize>>,
    /// The arrays with their unused and stuck cells, and all others at rest.
    arrays: Vec<Array2<f64>>,
    blocks: Vec<Shape>,
}

/// The pairs of a block, and how they make a table.
#[derive(Debug, Clone)]
struct Shape {
    pairs: Range<usize>,
    n_rows: usize,
    n_lanes: usize,
    is_paired: bool,
}

/// One pair, or a single cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) plus: Place,
    pub(super) minus: Option<Place>,
    pub(super) hold: Hold,
    /// The value at gain 1, in siemens.
    pub(super) wanted: f64,
    /// Which gain applies.
    pub(super) gain: usize,
}

/// A cell: array, word line, bit line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) array: usize,
    pub(super) row: usize,
    pub(super) col: usize,
}

/// What moves when a pair's difference `d` does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Hold {
    /// Both cells, one of which rests at the bottom of its reach.
    Free,
    /// A cell without a partner; `d` is its conductance.
    Single,
    /// The negative cell; the positive one is stuck at this.
    PlusStuck(f64),
    /// The positive cell; the negative one is stuck at this.
    MinusStuck(f64),
    /// Nothing.
    Stuck(f64, f64),
}

/// How a gain is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum GainRule {
    /// As large as errors allow.
    UpTo {
        /// The bound.
        at_most: f64,
        /// The relative error that may be spent on it.
        allowance: f64,
    },
    /// So.
    Given(f64),
}

/// What the pairs of a group are set to, and what comes of it.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The difference of each pair, in siemens.
    pub(super) d: Vec<f64>,
    /// The gains.
    pub(super) gains: Vec<f64>,
    /// What each pair is worth behind the wires, in siemens.
    pub(super) worth: Vec<f64>,
}

impl Pair {
    /// The bounds of `d` where free cells reach from `lo` to `hi`.
    pub(super) fn bounds(&self, (lo, hi): (f64, f64)) -> (f64, f64) {
        match self.hold {
            Hold::Free => (lo - hi, hi - lo),
            Hold::Single => (lo, hi),
            Hold::PlusStuck(plus) => (plus - hi, plus - lo),
            Hold::MinusStuck(minus) => (lo - minus, hi - minus),
            Hold::Stuck(plus, minus) => (plus - minus, plus - minus),
        }
    }

    /// The conductances of both cells at `d`, 0 for one that is not there.
    pub(super) fn cells(&self, d: f64, (lo, hi): (f64, f64)) -> (f64, f64) {
        match self.hold {
            Hold::Free => ((lo + d.max(0.0)).min(hi), (lo + (-d).max(0.0)).min(hi)),
            Hold::Single => (d.clamp(lo, hi), 0.0),
            Hold::PlusStuck(plus) => (plus, (plus - d).clamp(lo, hi)),
            Hold::MinusStuck(minus) => ((minus + d).clamp(lo, hi), minus),
            Hold::Stuck(plus, minus) => (plus, minus),
        }
    }
}

impl Layout {
    pub(super) fn new(group: &Group<'_>) -> Self {
        let ends = group.reach.ends();
        assert!(0.0 <= ends.0 && ends.0 < ends.1 && ends.1.is_finite(), "cells have a reach");
        let arrays = group.arrays.iter().map(|array| {
            let mut cells = Array2::from_elem((array.n_rows, array.n_cols), array.rest);
            for (&(row, col), &g) in array.fixed {
                cells[[row as usize, col as usize]] = g;
            }
            cells
        });
        let mut layout = Self {
            wires: group.wires,
            method: group.method,
            ends,
            pairs: Vec::new(),
            gains: Vec::new(),
            members: Vec::new(),
            arrays: arrays.collect(),
            blocks: Vec::new(),
        };
        for block in &group.blocks {
            layout.add_block(block, &group.arrays);
        }
        layout
    }

    fn add_block(&mut self, block: &Block<'_>, arrays: &[ArrayCells<'_>]) {
        let (n_rows, n_lanes) = block.wanted.dim();
        let start = self.pairs.len();
        let stuck_at = |Place { array, row, col }: Place| {
            arrays[array].fixed.get(&(row as u32, col as u32)).copied()
        };
        let first = self.gains.len();
        self.gains.extend(gain_rules(block.gain, n_lanes));
        self.members.resize(self.gains.len(), Vec::new());
        for ((row, lane), &wanted) in block.wanted.indexed_iter() {
            assert!(wanted.is_finite(), "wanted values are finite");
            let plus = block.plus.place(row, lane);
            let minus = block.minus.map(|side| side.place(row, lane));
            let gain = if let Gain::Common { .. } = block.gain { first } else { first + lane };
            let hold = match (stuck_at(plus), minus.map(&stuck_at)) {
                (None, None) => Hold::Single,
                (Some(plus), None) => Hold::Stuck(plus, 0.0),
                (None, Some(None)) => Hold::Free,
                (Some(plus), Some(None)) => Hold::PlusStuck(plus),
                (None, Some(Some(minus))) => Hold::MinusStuck(minus),
                (Some(plus), Some(Some(minus))) => Hold::Stuck(plus, minus),
            };
            self.members[gain].push(self.pairs.len());
            self.pairs.push(Pair { plus, minus, hold, wanted, gain });
        }
        let is_paired = block.minus.is_some();
        self.blocks.push(Shape { pairs: start..self.pairs.len(), n_rows, n_lanes, is_paired });
    }

    /// Writes the cells of all pairs into the arrays.
    pub(super) fn conductances(&self, d: &[f64]) -> Vec<Array2<f64>> {
        let mut arrays = self.arrays.clone();
        for (pair, &d) in self.pairs.iter().zip(d) {
            let (plus, minus) = pair.cells(d, self.ends);
            arrays[pair.plus.array][[pair.plus.row, pair.plus.col]] = plus;
            if let Some(at) = pair.minus {
                arrays[at.array][[at.row, at.col]] = minus;
            }
        }
        arrays
    }

    /// The transfer matrices that count as the truth.
    pub(super) fn true_transfer(&self, cells: &[Array2<f64>]) -> Vec<Array2<f64>> {
        match self.method {
            IrDropMethod::Exact => {
                let of_array = |g: &Array2<f64>| transfer_matrix(g.view(), &self.wires);
                cells.iter().map(of_array).collect()
            }
            IrDropMethod::Fast => self.estimated_transfer(cells),
        }
    }

    /// The estimated transfer matrices.
    pub(super) fn estimated_transfer(&self, cells: &[Array2<f64>]) -> Vec<Array2<f64>> {
        let of_array = |g: &Array2<f64>| estimate_transfer_matrix(g.view(), &self.wires);
        cells.iter().map(of_array).collect()
    }

    /// What each pair is worth under these transfer matrices.
    pub(super) fn worth(&self, transfer: &[Array2<f64>]) -> Vec<f64> {
        let current = |Place { array, row, col }: Place| transfer[array][[col, row]];
        let of_pair = |pair: &Pair| current(pair.plus) - pair.minus.map_or(0.0, current);
        self.pairs.iter().map(of_pair).collect()
    }

    /// What each pair is worth in truth at these differences.
    pub(super) fn true_worth(&self, d: &[f64]) -> Vec<f64> {
        self.worth(&self.true_transfer(&self.conductances(d)))
    }

    /// The sum of squares of what is missing, each over its gain.
    pub(super) fn error_squared(&self, state: &State) -> f64 {
        self.blocks.iter().map(|block| self.errors_of(block, state).0).sum()
    }

    /// A block's error over what is wanted of it.
    fn relative_error(&self, block: &Shape, state: &State) -> f64 {
        let (missing, all) = self.errors_of(block, state);
        self.relative(missing, all)
    }

    /// Sums of squares over a block: of what is missing over the gain, and of what is wanted.
    fn errors_of(&self, block: &Shape, state: &State) -> (f64, f64) {
        let (mut missing, mut all) = (0.0, 0.0);
        for at in block.pairs.clone() {
            let pair = &self.pairs[at];
            let error = state.worth[at] / state.gains[pair.gain] - pair.wanted;
            missing += error * error;
            all += pair.wanted * pair.wanted;
        }
        (missing, all)
    }

    /// The root of one sum of squares over another; over one cell at the top of its reach where that is 0.
    pub(super) fn relative(&self, part: f64, all: f64) -> f64 {
        if all > 0.0 { (part / all).sqrt() } else { part.sqrt() / self.ends.1 }
    }

    /// The cells of every block, as the caller gets them; `boxes` hold what each pair could be worth,
    /// `before` is the state without pre-distortion.
    pub(super) fn distorted(
        &self,
        state: &State,
        boxes: &[(f64, f64)],
        before: &State,
    ) -> Vec<Distorted> {
        let cells = |at: usize| self.pairs[at].cells(state.d[at], self.ends);
        let gain = |at: usize| state.gains[self.pairs[at].gain];
        let of_block = |block: &Shape| Distorted {
            plus: block.table(|at| cells(at).0),
            minus: match block.is_paired {
                true => block.table(|at| cells(at).1),
                false => Array2::zeros((block.n_rows, 0)),
            },
            gain: block.pairs.clone().take(block.n_lanes).map(gain).collect(),
            effective: block.table(|at| state.worth[at]),
            reach: [
                block.table(|at| boxes[at].0 / gain(at)),
                block.table(|at| boxes[at].1 / gain(at)),
            ],
            relative_error: self.relative_error(block, state),
            error_before: self.relative_error(block, before),
        };
        self.blocks.iter().map(of_block).collect()
    }
}

impl Shape {
    /// A number of each pair, `[rows, lanes]`.
    fn table(&self, of_pair: impl Fn(usize) -> f64) -> Array2<f64> {
        let values = self.pairs.clone().map(of_pair).collect();
        Array2::from_shape_vec((self.n_rows, self.n_lanes), values)
            .expect("a block has a pair per row and lane")
    }
}

/// The rules of a block's gains: one, or one per lane.
fn gain_rules(gain: Gain<'_>, n_lanes: usize) -> Vec<GainRule> {
    let is_gain = |gain: f64| gain > 0.0 && gain.is_finite();
    match gain {
        Gain::Common { at_most, allowance } | Gain::PerLane { at_most, allowance } => {
            assert!(is_gain(at_most), "a gain's bound is above 0 and finite, not {at_most}");
            assert!(allowance >= 0.0, "an allowance is at least 0, not {allowance}");
            let n_gains = if let Gain::Common { .. } = gain { 1 } else { n_lanes };
            vec![GainRule::UpTo { at_most, allowance }; n_gains]
        }
        Gain::Given(gains) => {
            assert_eq!(gains.len(), n_lanes, "one gain is given per lane");
            assert!(gains.iter().copied().all(is_gain), "gains are above 0 and finite: {gains:?}");
            gains.iter().map(|&gain| GainRule::Given(gain)).collect()
        }
    }
}

impl Side<'_> {
    fn place(&self, row: usize, lane: usize) -> Place {
        Place { array: self.array, row: self.rows[row] as usize, col: self.cols[lane] as usize }
    }
}
