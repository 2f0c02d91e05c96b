//! The outputs record: which steps are the network's outputs.

use bincode::{BorrowDecode, Encode};
use nvcim_ir::ids::StepId;

use crate::items::Items;
use crate::stored::{load_id, store_id};

/// The network's outputs.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredOutputs {
    steps: Items<u32>,
}

impl StoredOutputs {
    pub(crate) fn store(outputs: &[StepId]) -> Self {
        Self { steps: outputs.iter().copied().map(store_id).collect() }
    }

    pub(crate) fn load(self) -> Vec<StepId> {
        self.steps.0.into_iter().map(load_id).collect()
    }
}
