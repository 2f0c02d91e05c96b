//! A die with an image programmed on it, ready to run.
//!
//! Phases: program every cell, prepare the conversions of every tile once, then run samples in chunks of
//! fixed size on all threads. Noise is keyed by run, die, effect, tile, pass, sample, position and
//! conversion, and sums have a fixed order: the same bytes come at any number of threads and any split of
//! a batch.
//!
//! What is computed, and in which order, is said where it happens: [`crate::drive`] from inputs to drives,
//! [`crate::kernel`] from drives to codes, [`crate::tile`] from codes to outputs. Cells come in as f64, from
//! targets in f32 siemens; a perfect cell of a perfect pair weighs `(g+ - g-) / g_max`.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Axis, Slice, concatenate};
use nvcim_chip::die::program_net;
use nvcim_chip::real::Real;
use nvcim_chip::record::DieRecord;
use nvcim_image::layout::Image;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{Id, IdVec, LayerId, StepId, TileId};
use nvcim_ir::program::{Program, StepOp};
use nvcim_ir::programmed::{ProgrammedTile, ScaledReadout, verify_programmed};
use nvcim_ops::run_program::run_program;
use nvcim_ops::tensor::Tensor;
use rayon::prelude::*;

use crate::check::check_record;
use crate::clips::Clips;
use crate::conditions::Conditions;
use crate::die::SimDie;
use crate::drive::{Driver, choose_passes};
use crate::engine::{ChipEngine, PreparedLayer};
use crate::tap::tap_tile;
use crate::tile::{PreparedTile, Target, Worth};

/// Samples that one thread runs at a time. Bounds memory and sets the grain of parallel work, not results.
const SAMPLES_AT_ONCE: usize = 16;

/// A die with an image programmed on it.
///
/// Conversions are computed in `T`, tensors between layers are f32 with either.
#[derive(Debug)]
pub struct Machine<T = f32> {
    program: Program,
    layers: IdVec<LayerId, PreparedLayer<T>>,
    driver: Driver<T>,
}

/// What a run gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The network's outputs, `[samples, shape...]` each.
    pub outputs: Vec<Tensor>,
    /// What its converters clipped.
    pub clips: Clips,
    /// Layers that got an input which is no number: drivers clip it, and nothing behind them shows it any more.
    pub astray: BTreeSet<LayerId>,
}

impl Machine {
    /// Programs `image` on the die of `record`, a die of the image's own chip, and prepares to run it.
    ///
    /// # Errors
    /// A record that does not fit the chip or lacks an array, an image that does not verify, a time of use
    /// beyond what is known of the chip's devices.
    pub fn load(image: &Image, record: &DieRecord, conditions: Conditions) -> Result<Self> {
        Self::load_as(image, record, conditions)
    }
}

impl<T: Real> Machine<T> {
    /// [`Machine::load`] for a type of choice: `Machine::<f64>::load_as` for what other programs check.
    ///
    /// # Errors
    /// As [`Machine::load`].
    pub fn load_as(image: &Image, record: &DieRecord, conditions: Conditions) -> Result<Self> {
        let Image { chip, net, provenance: _ } = image;
        verify_programmed(net, chip.array_size(), chip.cell.n_levels)?;
        check_record(chip, record)?;
        let mut die = SimDie::new(chip, record, conditions);
        program_net(&mut die, net, &chip.cell)?;
        let sides = net.tiles.iter().flat_map(|tile| tile.wiring.sides(tile.array));
        die.look_at(&sides.map(|side| side.0).collect())?;
        let bare = net.layers.iter().map(|layer| PreparedLayer {
            bias: layer.bias.clone(),
            per_input: T::ONE / T::from_real(layer.input.full_scale),
            shifts: Vec::new(),
            passes: choose_passes(layer.input.signed, chip.dac.negative),
            tiles: Vec::new(),
        });
        let mut layers: IdVec<LayerId, _> = bare.collect();
        for (id, tile) in net.tiles.iter_enumerated() {
            let PreparedLayer { shifts, tiles, .. } = &mut layers[tile.layer];
            let shift = find_or_add(shifts, T::from_real(tile.drive_shift));
            tiles.push(prepare_tile(&mut die, id, tile, shift)?);
        }
        let driver = die.driver();
        Ok(Self { program: net.program.clone(), layers, driver })
    }

    /// Networks solved so far whose solver stopped before its tolerance; what it reached was used.
    pub fn n_stalled(&self) -> u64 {
        let tiles = self.layers.iter().flat_map(|layer| &layer.tiles);
        tiles.map(|tile| tile.kernel.n_stalled()).sum()
    }

    /// The digital program round the matrices.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The shape of one input sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.program.steps[StepId::new(0)].shape
    }

    /// Something to run single layers or the program with, while looking on.
    pub fn engine(&self) -> ChipEngine<'_, T> {
        ChipEngine::new(&self.layers, &self.driver)
    }

    /// Runs `input`, `[samples, input shape...]`, whose first sample is number `first_sample` of the run.
    ///
    /// # Panics
    /// If `input` does not have the shape of the program's input behind a batch axis.
    pub fn run(&self, input: &Tensor, first_sample: u64) -> Run {
        let n_samples = input.len_of(Axis(0));
        // An empty input makes one empty chunk, which gives outputs of the right shape.
        let starts: Vec<_> = (0..n_samples.max(1)).step_by(SAMPLES_AT_ONCE).collect();
        let drivers = list_drivers(&self.program);
        let run_chunk = |&start: &usize| {
            let end = (start + SAMPLES_AT_ONCE).min(n_samples);
            let chunk = input.slice_axis(Axis(0), Slice::from(start..end)).to_owned();
            let mut engine = self.engine();
            let first_sample = first_sample + start as u64;
            let mut astray = BTreeSet::new();
            let mut look = |step: StepId, tensor: &Tensor| {
                if let Some(&layer) = drivers.get(&step)
                    && tensor.fold(false, |any, value| any | value.is_nan())
                {
                    astray.insert(layer);
                }
            };
            let outputs = run_program(&self.program, &chunk, first_sample, &mut engine, &mut look);
            Run { outputs, clips: engine.clips(), astray }
        };
        join_runs(&starts.par_iter().map(run_chunk).collect::<Vec<_>>())
    }
}

/// Prepares the conversions of a tile from the cells that it was programmed to.
fn prepare_tile<T: Real>(
    die: &mut SimDie,
    id: TileId,
    tile: &ProgrammedTile,
    shift: usize,
) -> Result<PreparedTile<T>> {
    let kernel = die.prepare(&tap_tile(tile), tile.rows.len())?;
    let worth = |&ScaledReadout { readout, scale, shift }: &ScaledReadout| Worth {
        target: match readout.col as usize {
            col if col < tile.cols.len() => Target::Column(col),
            _ => Target::AllColumns,
        },
        scale: T::from_real(scale),
        shift: T::from_real(shift),
    };
    let worths = tile.readouts.iter().map(worth).collect();
    let drive_sum = tile.drive_sum.iter().map(|&per_drive| T::from_real(per_drive)).collect();
    let (rows, cols) = (tile.rows.clone(), tile.cols.clone());
    Ok(PreparedTile { id, rows, cols, kernel, worths, drive_sum, shift })
}

/// The index of `value`, which joins `values` where it is new.
fn find_or_add<T: PartialEq>(values: &mut Vec<T>, value: T) -> usize {
    let found = values.iter().position(|it| *it == value);
    found.unwrap_or_else(|| {
        values.push(value);
        values.len() - 1
    })
}

/// The steps whose tensors drive a layer, and the first layer that each drives.
fn list_drivers(program: &Program) -> BTreeMap<StepId, LayerId> {
    let mut drivers = BTreeMap::new();
    for step in &program.steps {
        if let StepOp::Matrix { layer, .. } = step.op {
            drivers.entry(step.operands[0]).or_insert(layer);
        }
    }
    drivers
}

/// Joins the runs of consecutive samples.
fn join_runs(runs: &[Run]) -> Run {
    let join_output = |output: usize| {
        let parts: Vec<_> = runs.iter().map(|run| run.outputs[output].view()).collect();
        concatenate(Axis(0), &parts).expect("an output has one shape for all samples")
    };
    let (first, rest) = runs.split_first().expect("there is at least one chunk");
    let mut clips = first.clips.clone();
    rest.iter().for_each(|run| clips += &run.clips);
    let astray = runs.iter().flat_map(|run| &run.astray).copied().collect();
    Run { outputs: (0..first.outputs.len()).map(join_output).collect(), clips, astray }
}

#[cfg(test)]
mod tests;
