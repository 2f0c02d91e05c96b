//! What conversions see of a die's cells: weights, variances, constant currents, and networks.
//!
//! Per conversion and drive, with `a` what the array answers (see `crate::answer`) and `d` the gain of the
//! word line's driver, a term of sign `s` contributes
//!
//! * `s d a / g_max` to the weight, times `1 - l` where pulses leave a leak `l` for the rest of the window,
//! * `(d sd a / g / g_max)^2` to the variance of read noise, `sd` that of the cell: exact without wires, to
//!   first order in their voltage drop with a transfer matrix, `a / g` taken as 1 in networks,
//! * `d o a / g_max` to the constant current, `o` the driver's offset in full scales, with the sign of the
//!   sense stage alone: a driver's offset does not turn with the sign of its drive,
//! * and its column's leakage to the constant current, see [`nvcim_chip::effects::leakage`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ndarray::{Array2, Axis};
use nvcim_chip::describe::Accumulate;
use nvcim_chip::effects::Effect;
use nvcim_chip::effects::driver_errors::DriverErrors;
use nvcim_chip::effects::leakage::Leakage;
use nvcim_chip::network::cell_law::CellLaw;
use nvcim_chip::network::nonlinear::Crossbar;
use nvcim_ir::ids::{ArrayId, IdVec};

use crate::answer::{Answer, drives_one_voltage};
use crate::cells::ArrayCells;
use crate::circuits::draw_drivers;
use crate::die::Setup;
use crate::kernel::Currents;
use crate::network::{Feed, Network, Pick, Solved, SolvedArray, SolvedCells, Way};
use crate::tap::{Tap, Term};

/// Conversions on the arrays of a die that have been looked at.
pub(crate) struct Wired<'a> {
    setup: &'a Setup,
    arrays: &'a IdVec<ArrayId, Option<ArrayCells>>,
    taps: &'a [Tap<'a>],
    n_rows: usize,
    /// The drivers of every array that differ.
    drivers: BTreeMap<ArrayId, DriverErrors>,
}

impl<'a> Wired<'a> {
    pub(crate) fn new(
        setup: &'a Setup,
        arrays: &'a IdVec<ArrayId, Option<ArrayCells>>,
        taps: &'a [Tap<'a>],
        n_rows: usize,
    ) -> Self {
        let mut drivers = BTreeMap::new();
        if setup.conditions.effects.has(Effect::Dac) {
            for array in taps.iter().flat_map(|tap| &tap.terms).map(|term| term.array) {
                if let Some(errors) = draw_drivers(&setup.chip, setup.die_seed, array) {
                    drivers.entry(array).or_insert(errors);
                }
            }
        }
        Self { setup, arrays, taps, n_rows, drivers }
    }

    fn cells(&self, array: ArrayId) -> &ArrayCells {
        self.arrays[array].as_ref().expect("every array was looked at")
    }

    fn gain(&self, array: ArrayId, row: u32) -> f64 {
        self.drivers.get(&array).map_or(1.0, |drivers| drivers.gain(row))
    }

    /// A driver's offset, in full scales.
    fn offset(&self, array: ArrayId, row: u32) -> f64 {
        let steps = self.setup.periphery.dac_bits.map_or(1.0, |bits| f64::from((1u32 << bits) - 1));
        self.drivers.get(&array).map_or(0.0, |drivers| drivers.offset_steps(row) / steps)
    }

    /// Whether an array's currents are solved for, vector by vector.
    fn is_solved(&self) -> bool {
        matches!(self.setup.answer, Answer::CurvedNetwork(..) | Answer::GatedNetwork(_))
    }

    /// Weights, variances and constant currents.
    pub(crate) fn currents(&self) -> Currents {
        let scale = self.leak_scale();
        let weights = self.sum_over_cells(|term, cells, row| {
            if self.is_solved() { 0.0 } else { term.sign() * scale * self.worth(term, cells, row) }
        });
        let g_max = self.setup.chip.cell.g_max;
        let variances = self.setup.periphery.read.map(|_| {
            self.sum_over_cells(|term, cells, row| {
                let (g, seen) = (cells.conductance(row, term.col), cells.seen(row, term.col));
                // Sneak currents of a cell that hardly conducts are those of its neighbours.
                let share = if g > 0.0 { (seen / g).clamp(0.0, 1.0) } else { 1.0 };
                let gain = self.gain(term.array, row);
                let sd = gain * share * cells.read_sd(row, term.col) / g_max;
                sd * sd
            })
        });
        Currents { weights, variances, leakage: self.constants() }
    }

    /// What a full-scale drive of `row` adds to the current of a term, in largest cells.
    fn worth(&self, term: &Term<'_>, cells: &ArrayCells, row: u32) -> f64 {
        self.gain(term.array, row) * cells.seen(row, term.col) / self.setup.chip.cell.g_max
    }

    /// A sum over the cells of every drive of every conversion, `[conversions, drives]`.
    fn sum_over_cells(&self, of_cell: impl Fn(&Term<'_>, &ArrayCells, u32) -> f64) -> Array2<f64> {
        // Drive by drive, since the cells of a word line lie together.
        let mut sums = Array2::zeros((self.n_rows, self.taps.len()));
        for (drive, mut sums) in sums.outer_iter_mut().enumerate() {
            for (sum, tap) in sums.iter_mut().zip(self.taps) {
                for term in tap.terms.iter().filter(|_| tap.driven.contains(&drive)) {
                    *sum += of_cell(term, self.cells(term.array), term.rows[drive]);
                }
            }
        }
        sums.reversed_axes().as_standard_layout().into_owned()
    }

    /// The constant currents of conversions; none where all are 0.
    fn constants(&self) -> Vec<f64> {
        let of_drivers = |tap: &Tap<'_>, term: &Term<'_>| -> f64 {
            if self.drivers.is_empty() || self.is_solved() {
                return 0.0;
            }
            let cells = self.cells(term.array);
            let rows = tap.driven.clone().map(|drive| term.rows[drive]);
            rows.map(|row| self.worth(term, cells, row) * self.offset(term.array, row)).sum()
        };
        let leak =
            |tap: &Tap<'_>, term: &Term<'_>| self.leak(tap, term) / self.setup.chip.cell.g_max;
        let of_tap = |tap: &Tap<'_>| -> f64 {
            tap.terms
                .iter()
                .map(|term| term.sense * (of_drivers(tap, term) + leak(tap, term)))
                .sum()
        };
        let constants: Vec<f64> = self.taps.iter().map(of_tap).collect();
        if constants.iter().all(|&y| y == 0.0) { Vec::new() } else { constants }
    }

    /// The leakage of cells, where there is any.
    fn leakage(&self) -> Option<Leakage> {
        let acts = self.setup.conditions.effects.has(Effect::Leakage);
        self.setup.chip.effects.leakage.filter(|_| acts)
    }

    /// What leakage leaves of weights.
    fn leak_scale(&self) -> f64 {
        let drive = self.setup.chip.dac.coding;
        self.leakage().map_or(1.0, |model| model.leak(drive, 0.0, 0.0).weight_scale)
    }

    /// What leaks into a bit line whatever is driven, in siemens.
    fn leak(&self, tap: &Tap<'_>, term: &Term<'_>) -> f64 {
        let Some(model) = self.leakage() else { return 0.0 };
        let cells = self.cells(term.array);
        let sum = |rows: &mut dyn Iterator<Item = u32>| -> f64 {
            rows.map(|row| cells.conductance(row, term.col)).sum()
        };
        let of_tile = sum(&mut tap.driven.clone().map(|drive| term.rows[drive]));
        let of_array = sum(&mut (0..self.setup.chip.arrays.n_rows as u32));
        model.leak(self.setup.chip.dac.coding, of_tile, of_array).constant
    }

    /// What weights leave out.
    pub(crate) fn network(&self) -> Option<Network> {
        match self.setup.answer {
            Answer::Cells | Answer::CellsAtVoltage(_) | Answer::Wires(_) => None,
            Answer::Curves(iv) => Some(self.curves(|g| {
                let cubic = iv.cubic(g);
                [cubic.n2 * iv.full_scale, cubic.n3 * iv.full_scale * iv.full_scale]
            })),
            Answer::CurvedNetwork(wires, iv) => Some(self.solved(|g| {
                let crossbar = Crossbar::new(g.view(), &wires, CellLaw::Fitted(iv));
                SolvedCells::Passive(Box::new(crossbar), iv.full_scale)
            })),
            Answer::GatedNetwork(wires) => Some(self.solved(|g| SolvedCells::Gated(g, wires))),
        }
    }

    /// Squares and cubes of drives, from the coefficients of a cell's curve in siemens per full scale.
    fn curves(&self, coefficients: impl Fn(f64) -> [f64; 2]) -> Network {
        let g_max = self.setup.chip.cell.g_max;
        let unit = self.setup.periphery.drive_unit();
        let dim = (self.taps.len(), self.n_rows);
        let (mut square, mut cube) = (Array2::zeros(dim), Array2::zeros(dim));
        for (conversion, tap) in self.taps.iter().enumerate() {
            for term in &tap.terms {
                for drive in tap.driven.clone() {
                    let row = term.rows[drive];
                    let x = self.gain(term.array, row) * unit;
                    let [n2, n3] = coefficients(self.cells(term.array).conductance(row, term.col));
                    square[(conversion, drive)] += term.sign() * n2 * x * x / g_max;
                    cube[(conversion, drive)] += term.sign() * n3 * x * x * x / g_max;
                }
            }
        }
        Network::Curves { square, cube }
    }

    /// Arrays to be solved; `cells` makes one of an array's conductances, `[word lines, bit lines]`.
    ///
    /// Columns of a gated array know nothing of each other, so those that no conversion reads stay away.
    fn solved(&self, cells: impl Fn(Array2<f64>) -> SolvedCells) -> Network {
        let mut lines: BTreeMap<ArrayId, BTreeSet<u32>> = BTreeMap::new();
        for (array, line, _) in self.taps.iter().flat_map(Tap::lines) {
            lines.entry(array).or_default().insert(line);
        }
        if !matches!(self.setup.answer, Answer::GatedNetwork(_)) {
            let all: BTreeSet<u32> = (0..self.setup.chip.arrays.n_cols as u32).collect();
            lines.values_mut().for_each(|lines| lines.clone_from(&all));
        }
        let array = |(&array, lines): (&ArrayId, &BTreeSet<u32>)| {
            let kept: Vec<usize> = lines.iter().map(|&line| line as usize).collect();
            SolvedArray {
                cells: cells(self.cells(array).conductances().select(Axis(1), &kept)),
                n_rows: self.setup.chip.arrays.n_rows,
                n_cols: kept.len(),
                feeds: self.feeds(array),
            }
        };
        let scale = self.leak_scale() / self.setup.chip.cell.g_max;
        let term = |(array, line, sense): (ArrayId, u32, f64)| {
            let at = lines.range(..array).count();
            (at, lines[&array].range(..line).count(), scale * sense)
        };
        let pick = |tap: &Tap<'_>| Pick {
            driven: tap.driven.clone(),
            terms: tap.lines().map(term).collect(),
        };
        Network::Solved(Arc::new(Solved {
            arrays: lines.iter().map(array).collect(),
            picks: self.taps.iter().map(pick).collect(),
            unit: self.setup.periphery.drive_unit(),
            way: self.way(),
            n_stalled: AtomicU64::new(0),
        }))
    }

    /// The word lines of `array` that drives reach, each once.
    fn feeds(&self, array: ArrayId) -> Vec<Feed> {
        let mut feeds = BTreeMap::new();
        for tap in self.taps {
            for term in tap.terms.iter().filter(|term| term.array == array) {
                for drive in tap.driven.clone() {
                    let row = term.rows[drive];
                    feeds.entry(row).or_insert(Feed {
                        word_line: row as usize,
                        drive,
                        sign: term.drive,
                        gain: self.gain(array, row),
                        offset: self.offset(array, row),
                    });
                }
            }
        }
        feeds.into_values().collect()
    }

    fn way(&self) -> Way {
        let periphery = &self.setup.periphery;
        // Bits one by one are pulses too, whether they come apart (`Added`, or slices that are converted
        // one by one and drive either fully or not at all) or, without the effect `dac`, as a whole.
        let pulses = matches!(self.setup.answer, Answer::GatedNetwork(_))
            || drives_one_voltage(&self.setup.chip);
        match periphery.slicing {
            Some(slicing) if slicing.accumulate == Accumulate::Analog => {
                Way::Added(slicing, pulses)
            }
            _ if pulses => Way::Pulses,
            _ => Way::Amplitude,
        }
    }
}

#[cfg(test)]
mod tests;
