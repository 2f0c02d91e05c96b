//! Everything that a study measures, by name and by key: what results are read against.
//!
//! A stored format of its own: a folder of results holds its agenda, so that results of several machines can be
//! put together, and reported on, where neither networks nor images are.

use std::collections::BTreeSet;

use nvcim_ir::diag::{Diagnostic, Result};
use serde::{Deserialize, Serialize};

use crate::study::method::Method;

/// The schema of the stored form.
pub const SCHEMA: &str = "nvcim.study-agenda/1";

/// A study, laid out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agenda {
    /// The schema of the stored form.
    pub schema: String,
    /// How reports call the study.
    pub name: String,
    /// What it asks, in words.
    pub description: String,
    /// The command that runs it.
    pub command: String,
    /// Version of the program that laid it out.
    pub version: String,
    /// What is compared, weakest first.
    pub methods: Vec<Method>,
    /// Most points that a good die loses.
    pub yield_points: f64,
    /// Half the widest interval, and the least dies, where dies may be left out.
    pub stop: Option<(f64, u64)>,
    /// Seed of the noise of every run.
    pub run_seed: u64,
    /// The networks.
    pub networks: Vec<NetworkItem>,
    /// The chips: those of the matrix, then the points of sweeps.
    pub chips: Vec<ChipItem>,
    /// The sweeps.
    pub sweeps: Vec<SweepItem>,
    /// Networks on chips.
    pub cells: Vec<CellItem>,
    /// What is looked into.
    pub exhibit: Option<ExhibitItem>,
}

/// A network of an agenda.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkItem {
    /// How results call it.
    pub name: String,
    /// The ONNX file as the study names it, and its BLAKE3.
    pub model: (String, String),
    /// The test data as the study names it, and the BLAKE3 of images and labels.
    pub data: (String, String),
    /// Test images.
    pub images: usize,
    /// Key of its accuracy in float.
    pub float: String,
}

/// A chip of an agenda.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipItem {
    /// How results call it.
    pub name: String,
    /// What is wrong with it, in words.
    pub about: String,
    /// The chip file as the study names it, and the BLAKE3 of the chip.
    pub file: (String, String),
    /// Seconds after programming at which dies are measured and corrected, and at which they are used.
    pub times_s: (f64, f64),
    /// Names of its effects, in the order in which the signal meets them.
    pub effects: Vec<String>,
    /// Index of the sweep that it is a point of, with its place and name on the axis.
    pub sweep: Option<(usize, f64, String)>,
}

/// A sweep of an agenda.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepItem {
    /// How results call it.
    pub name: String,
    /// What the axis shows.
    pub axis: String,
}

/// A network on a chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellItem {
    /// Index of the network.
    pub network: usize,
    /// Index of the chip.
    pub chip: usize,
    /// The methods, each with the keys of its dies.
    pub methods: Vec<(Method, Vec<String>)>,
    /// Per die, the keys of the naive mapping with none of the effects, the first, the first two, and so on, all
    /// but the last that makes it whole.
    pub waterfall: Vec<Vec<String>>,
    /// The trained network and its control, where there is one.
    pub trained: Option<TrainedItem>,
}

/// A network that was trained for a chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedItem {
    /// The trained ONNX file as the study names it, and its BLAKE3.
    pub model: (String, String),
    /// The ONNX file of the same training with all effects off, and its BLAKE3.
    pub control: (String, String),
    /// Key of the accuracy of `control` in float.
    pub float: String,
}

/// What is looked into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExhibitItem {
    /// Index of the cell.
    pub cell: usize,
    /// Seed of the die.
    pub die: u64,
    /// Key of the look.
    pub key: String,
}

/// One measurement that an agenda asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// A network in float.
    Float {
        /// Index of the network.
        network: usize,
    },
    /// The control of a trained network in float.
    Control {
        /// Index of the cell.
        cell: usize,
    },
    /// A method on a die.
    Method {
        /// Index of the cell.
        cell: usize,
        /// Index of the method among those of the cell.
        method: usize,
        /// Seed of the die.
        die: u64,
    },
    /// The naive mapping on a die with the first effects of the chip.
    Effects {
        /// Index of the cell.
        cell: usize,
        /// How many effects.
        count: usize,
        /// Seed of the die.
        die: u64,
    },
}

impl Agenda {
    /// Reads the stored form; `place` is its name in messages.
    ///
    /// # Errors
    /// Another or a newer format.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Self> {
        let agenda: Self = serde_json::from_slice(bytes).map_err(|error| {
            Diagnostic::bad_input(place, format!("is no agenda of a study: {error}"))
                .hint("give folders that `nvcim study` has written")
        })?;
        if agenda.schema == SCHEMA {
            return Ok(agenda);
        }
        let message = format!("has schema `{}`, this version reads `{SCHEMA}`", agenda.schema);
        Err(Diagnostic::bad_input(place, message).into())
    }

    /// The stored form.
    ///
    /// # Errors
    /// Never with numbers that are finite.
    pub fn write(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Diagnostic::internal("agenda", error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Every measurement with its key, in the order in which it is best done: cell by cell, die by die. What several ask for
    /// is there once, for the first of them.
    pub fn jobs(&self) -> Vec<(Job, &str)> {
        let floats = self.networks.iter().enumerate();
        let mut jobs: Vec<(Job, &str)> =
            floats.map(|(network, item)| (Job::Float { network }, item.float.as_str())).collect();
        for (cell, item) in self.cells.iter().enumerate() {
            jobs.extend(item.trained.iter().map(|it| (Job::Control { cell }, it.float.as_str())));
            for die in 0..item.n_dies() {
                for (method, (_, keys)) in item.methods.iter().enumerate() {
                    let job = Job::Method { cell, method, die: die as u64 };
                    jobs.extend(keys.get(die).map(|key| (job, key.as_str())));
                }
                let steps = item.waterfall.get(die).into_iter().flatten().enumerate();
                jobs.extend(steps.map(|(count, key)| {
                    (Job::Effects { cell, count, die: die as u64 }, key.as_str())
                }));
            }
        }
        let mut known = BTreeSet::new();
        jobs.retain(|(_, key)| known.insert(*key));
        jobs
    }

    /// The cells of the matrix, without those of sweeps.
    pub fn matrix(&self) -> impl Iterator<Item = (usize, &CellItem)> {
        let cells = self.cells.iter().enumerate();
        cells.filter(|(_, cell)| self.chips[cell.chip].sweep.is_none())
    }
}

impl CellItem {
    /// Dies of the cell.
    pub fn n_dies(&self) -> usize {
        self.methods.iter().map(|(_, keys)| keys.len()).max().unwrap_or(0)
    }
}
