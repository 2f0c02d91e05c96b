//! The step records: the digital program in execution order.

use bincode::{BorrowDecode, Encode};
use nvcim_ir::program::Step;

use crate::items::Items;
use crate::stored::op::StoredOp;
use crate::stored::{Result, load_id, load_sizes, store_id, store_sizes};

/// One step and the tensor that it makes.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredStep<'a> {
    name: &'a str,
    tensor: &'a str,
    operands: Items<u32>,
    shape: Items<u32>,
    op: StoredOp,
}

impl<'a> StoredStep<'a> {
    pub(crate) fn store(step: &'a Step) -> Result<Self> {
        let Step { name, tensor, op, operands, shape } = step;
        Ok(Self {
            name,
            tensor,
            operands: operands.iter().copied().map(store_id).collect(),
            shape: store_sizes(shape)?,
            op: StoredOp::store(op)?,
        })
    }

    pub(crate) fn load(self) -> Result<Step> {
        let Self { name, tensor, operands, shape, op } = self;
        Ok(Step {
            name: name.into(),
            tensor: tensor.into(),
            op: op.load()?,
            operands: operands.0.into_iter().map(load_id).collect(),
            shape: load_sizes(shape),
        })
    }
}
