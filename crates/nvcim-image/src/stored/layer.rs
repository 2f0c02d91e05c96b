//! The layer records: matrix products that run on arrays.

use bincode::{BorrowDecode, Encode};
use nvcim_ir::program::LayerShape;
use nvcim_ir::programmed::ProgrammedLayer;
use nvcim_ir::tiled::InputCoding;

use crate::items::Items;
use crate::stored::{Result, load_size, store_size};

/// A matrix layer. It has as many columns as biases.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredLayer<'a> {
    name: &'a str,
    n_rows: u32,
    full_scale: f32,
    signed: bool,
    bias: Items<f32>,
}

impl<'a> StoredLayer<'a> {
    pub(crate) fn store(layer: &'a ProgrammedLayer) -> Result<Self> {
        let ProgrammedLayer {
            name,
            shape: LayerShape { n_rows, n_cols },
            bias,
            input: InputCoding { full_scale, signed },
        } = layer;
        debug_assert_eq!(*n_cols, bias.len(), "the verifier has compared them");
        Ok(Self {
            name,
            n_rows: store_size(*n_rows)?,
            full_scale: *full_scale,
            signed: *signed,
            bias: bias.iter().copied().collect(),
        })
    }

    pub(crate) fn load(self) -> ProgrammedLayer {
        let Self { name, n_rows, full_scale, signed, bias: Items(bias) } = self;
        ProgrammedLayer {
            name: name.into(),
            shape: LayerShape { n_rows: load_size(n_rows), n_cols: bias.len() },
            bias,
            input: InputCoding { full_scale, signed },
        }
    }
}
