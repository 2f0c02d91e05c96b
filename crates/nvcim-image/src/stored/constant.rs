//! The constant records: tensors that the digital program uses.

use bincode::{BorrowDecode, Encode};
use ndarray::{ArcArray, IxDyn};
use nvcim_ir::graph::Constant;

use crate::items::Items;
use crate::stored::{Result, load_sizes, store_sizes};

/// A constant tensor.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredConstant<'a> {
    name: &'a str,
    shape: Items<u32>,
    values: Items<f32>,
}

impl<'a> StoredConstant<'a> {
    pub(crate) fn store(constant: &'a Constant) -> Result<Self> {
        let Constant { name, value } = constant;
        let shape = store_sizes(value.shape())?;
        Ok(Self { name, shape, values: value.iter().copied().collect() })
    }

    pub(crate) fn load(self) -> Result<Constant> {
        let Self { name, shape, values } = self;
        let (shape, count) = (load_sizes(shape), values.0.len());
        let value = ArcArray::from_shape_vec(IxDyn(&shape), values.0)
            .map_err(|_| format!("has {count} values for shape {shape:?}"))?;
        Ok(Constant { name: name.into(), value })
    }
}
