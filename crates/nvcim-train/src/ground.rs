//! What the draws of one step stand on: chip, effects, time, and which die is trained for.

use nvcim_chip::closest::StuckPair;
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Chip, InputDrive, Topology};
use nvcim_chip::effects::die_draws::{DieDraws, StuckMap};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::record::{ArrayRecord, DieRecord};
use nvcim_ir::diag::Diagnostic;
use nvcim_ir::ids::{ArrayId, Id, IdVec, LayerId};

/// The chip as training sees it.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The chip.
    pub chip: &'a Chip,
    /// The effects that act; converters too act only where they are in the set.
    pub effects: EffectSet,
    /// Seconds from the reference read to the time of use.
    pub at_s: f64,
    /// The die that is trained for: its stuck cells, gains and offsets are the same in every step. `None` for
    /// any die of the chip: every step draws another.
    pub die: Option<&'a DieRecord>,
    /// For a network that is going to be corrected on its die, the copies of each layer that its chip has room for:
    /// pairs are then chosen round stuck cells, ranges, gain and offset of every conversion fit what cells have
    /// become, and the mean of `n` copies errs `sqrt(n)` times less.
    pub corrected: Option<&'a IdVec<LayerId, f64>>,
}

/// Effects that training does not see, each with what it takes in their place.
const UNSEEN: &[(Effect, &str)] =
    &[(Effect::Iv, "cells follow Ohm's law"), (Effect::Leakage, "nothing leaks")];

impl Ground<'_> {
    /// Whether nothing of the chip acts, so that layers are exact.
    pub(crate) fn is_exact(&self) -> bool {
        self.effects == EffectSet::NONE
    }

    /// What a layer's errors are multiplied by, since its copies share them.
    pub(crate) fn share(&self, layer: LayerId) -> f64 {
        self.corrected.map_or(1.0, |copies| 1.0 / copies[layer].max(1.0).sqrt())
    }

    /// A warning for every effect that acts and that training does not see.
    pub fn warn_of_unseen(&self) -> Vec<Diagnostic> {
        let acts = |effect| self.effects.has(effect) && self.chip.describes(effect);
        let warn = |message: String| {
            let hint = "the trained network is right all the same; see what it reaches with `nvcim simulate`";
            Diagnostic::unsupported(format!("chip `{}`", self.chip.name), message).hint(hint)
        };
        let unseen = UNSEEN.iter().filter(|(effect, _)| acts(*effect));
        let mut warnings: Vec<_> = unseen
            .map(|(effect, instead)| {
                warn(format!("training does not see `{effect}`: there, {instead}"))
            })
            .collect();
        if acts(Effect::IrDrop) && !self.has_wires() {
            let message = "training sees `ir_drop` in passive arrays of ohmic cells only: there, wires are ideal";
            warnings.push(warn(message.into()));
        }
        let circuits = &self.chip.circuits;
        let uneven = circuits.dac != Default::default()
            || circuits.adc.capacitor_sd != 0.0
            || circuits.adc.inl_lsb != nvcim_chip::circuits::AdcInl::Bow(0.0);
        if uneven && (acts(Effect::Dac) || acts(Effect::Adc)) {
            warn_of_circuits(&mut warnings, warn);
        }
        warnings
    }

    /// Whether wires take part: a transfer matrix says what passive arrays of ohmic cells make of them.
    pub(crate) fn has_wires(&self) -> bool {
        let bent = self.effects.has(Effect::Iv)
            && self.chip.effects.iv.is_some()
            && self.chip.dac.coding == InputDrive::Amplitude;
        self.effects.has(Effect::IrDrop)
            && self.chip.effects.ir_drop.is_some()
            && self.chip.arrays.topology == Topology::Passive
            && !bent
    }
}

fn warn_of_circuits(warnings: &mut Vec<Diagnostic>, warn: impl Fn(String) -> Diagnostic) {
    let message = "training takes the steps of converters as even, and drivers as alike";
    warnings.push(warn(message.into()));
}

/// The measurable part of the die of one step: drawn, or that of the die that is trained for.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    ground: &'a Ground<'a>,
    draws: DieDraws<'a>,
    /// By array; what no tile sits on stays empty.
    stuck: IdVec<ArrayId, Stuck<'a>>,
}

#[derive(Debug)]
enum Stuck<'a> {
    None,
    Drawn(StuckMap<'a>),
    /// By row and column, ascending.
    Known(Vec<((u32, u32), f64)>),
}

impl<'a> Measured<'a> {
    /// The die that `seed` draws, up to the array before `n_arrays`.
    pub(crate) fn new(ground: &'a Ground<'a>, seed: u64, n_arrays: usize) -> Self {
        let draws = DieDraws::new(ground.chip, seed);
        let acts = ground.effects.has(Effect::Stuck);
        let stuck = |array: usize| match ground.die {
            _ if !acts => Stuck::None,
            Some(die) => die.arrays.get(ArrayId::new(array)).map_or(Stuck::None, |record| {
                let cells = record.stuck.iter();
                let mut known: Vec<_> =
                    cells.map(|cell| ((cell.row, cell.col), f64::from(cell.g))).collect();
                known.sort_by_key(|(place, _)| *place);
                Stuck::Known(known)
            }),
            None => draws.stuck(array as u32).map_or(Stuck::None, Stuck::Drawn),
        };
        Self { ground, draws, stuck: (0..n_arrays).map(stuck).collect() }
    }

    /// What a cell is stuck at, in siemens, where it is.
    pub(crate) fn stuck(&self, array: ArrayId, row: u32, col: u32) -> Option<f64> {
        match self.stuck.get(array)? {
            Stuck::None => None,
            Stuck::Drawn(map) => map.of(row, col),
            Stuck::Known(known) => {
                let at = known.binary_search_by_key(&(row, col), |(place, _)| *place).ok()?;
                Some(known[at].1)
            }
        }
    }

    /// Whether cells of an array may be stuck.
    pub(crate) fn may_stick(&self, array: ArrayId) -> bool {
        !matches!(self.stuck.get(array), None | Some(Stuck::None))
    }

    /// Gain and offset, in LSB of the nominal range, of a bit line's converter. A die that is corrected has
    /// them fitted away.
    pub(crate) fn column(&self, array: ArrayId, line: u32) -> (f64, f64) {
        let ground = self.ground;
        if ground.corrected.is_some() {
            return (1.0, 0.0);
        }
        let record = ground.die.map(|die| die.arrays.get(array));
        let pick = |effect, of: fn(&ArrayRecord) -> &[f32], drawn: Option<f64>| match record {
            _ if !ground.effects.has(effect) => None,
            Some(record) => {
                record.and_then(|it| of(it).get(line as usize)).map(|value| f64::from(*value))
            }
            None => drawn,
        };
        let number = array.index() as u32;
        let gain = self.draws.column_gain(number, line);
        let offset = self.draws.column_offset_lsb(number, line);
        (
            pick(Effect::ColumnGain, |it| &it.column_gain, gain).unwrap_or(1.0),
            pick(Effect::ColumnOffset, |it| &it.column_offset_lsb, offset).unwrap_or(0.0),
        )
    }
}

/// A slice of good cells.
pub(crate) const GOOD: StuckPair = (None, None);

/// How many slices and columns of cells a chip's code takes.
pub(crate) fn code_of(ground: &Ground<'_>) -> WeightCode {
    WeightCode::new(ground.chip)
}
