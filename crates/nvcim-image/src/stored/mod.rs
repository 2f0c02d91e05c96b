//! The stored types: one file per record, each a plain shape of bytes beside its two conversions.
//!
//! Every stored integer that counts or numbers something is a u32, so that no sum or product of two of
//! them overflows on a 64-bit machine. Conversions to the stored form take inner types apart without
//! `..`: a new field does not compile until it has a place here.

pub(crate) mod chip;
pub(crate) mod constant;
pub(crate) mod layer;
pub(crate) mod op;
pub(crate) mod outputs;
pub(crate) mod provenance;
pub(crate) mod step;
pub(crate) mod tile;

use nvcim_ir::ids::Id;

use crate::items::Items;

/// The result of a conversion; the error says what is wrong with the record.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// A size as it is stored.
fn store_size(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| format!("has size {value}, must be below 2^32"))
}

/// Sizes as they are stored.
fn store_sizes(values: &[usize]) -> Result<Items<u32>> {
    values.iter().copied().map(store_size).collect()
}

/// A size as it is used.
fn load_size(value: u32) -> usize {
    value as usize
}

/// Sizes as they are used.
fn load_sizes(values: Items<u32>) -> Vec<usize> {
    values.0.into_iter().map(load_size).collect()
}

/// An id as it is stored: its number without the prefix.
fn store_id<I: Id>(id: I) -> u32 {
    u32::try_from(id.index()).expect("an id holds 32 bits")
}

/// An id as it is used.
fn load_id<I: Id>(id: u32) -> I {
    I::new(load_size(id))
}
