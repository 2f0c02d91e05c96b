//! Networks on chips by methods: what is lost, and what comes back, on many dies.
//!
//! ```text
//! study file --parse--> StudyFile --open--> Study (networks, chips, Agenda) --run--> Results
//! Agenda + Results --> Summary --> JSON, CSV, report
//! ```
//!
//! An [`agenda::Agenda`] lists every measurement with a key, a hash of all that its result depends on. A
//! result is a number of right images under its key: it does not matter who measured it, when, or in which order,
//! so a study goes on after it was stopped, and is spread over machines by [`run::Shard`].

pub mod agenda;
pub mod cell;
pub mod document;
pub mod exhibit;
pub mod figures;
pub mod file;
mod key;
mod lay_out;
pub mod ledger;
pub mod method;
pub mod results;
pub mod run;
mod shared;
pub mod sources;
pub mod summary;
pub mod work;

use std::collections::BTreeMap;

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::{Effect, EffectSet};

use crate::model::Model;
use crate::study::agenda::Agenda;
use crate::study::cell::Cell;
use crate::study::sources::Network;

/// A study with everything that it needs opened.
#[derive(Debug)]
pub struct Study {
    /// What is measured.
    pub agenda: Agenda,
    networks: Vec<Network>,
    chips: Vec<Chip>,
    /// The network trained for the chip, and its control, by cell.
    trained: BTreeMap<usize, [Model; 2]>,
}

impl Study {
    /// A network on a chip; with the network that was trained for the chip where `trained` says so.
    fn cell(&self, cell: usize, trained: bool) -> Cell<'_> {
        let item = &self.agenda.cells[cell];
        let model = match self.trained.get(&cell) {
            Some([model, _]) if trained => model,
            _ => &self.networks[item.network].model,
        };
        self.cell_of((item.network, item.chip), model)
    }

    fn cell_of<'a>(&'a self, (network, chip): (usize, usize), model: &'a Model) -> Cell<'a> {
        let Network { calibration, data, .. } = &self.networks[network];
        let (corrected_at_s, used_at_s) = self.agenda.chips[chip].times_s;
        let (chip, run_seed) = (&self.chips[chip], self.agenda.run_seed);
        Cell { model, calibration, data, chip, corrected_at_s, used_at_s, run_seed }
    }

    /// The first effects that a chip describes, in the order in which the signal meets them.
    fn first_effects(&self, chip: usize, count: usize) -> EffectSet {
        let described = Effect::ALL.into_iter().filter(|it| self.chips[chip].describes(*it));
        described.take(count).fold(EffectSet::NONE, EffectSet::with)
    }
}
