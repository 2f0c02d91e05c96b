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

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use bincode::{BorrowDecode, Encode, config};
    use wincode::config::DefaultConfig;
    use wincode::{SchemaRead, SchemaWrite};

    use super::chip::StoredChip;
    use super::constant::StoredConstant;
    use super::layer::StoredLayer;
    use super::outputs::StoredOutputs;
    use super::provenance::StoredProvenance;
    use super::step::StoredStep;
    use super::tile::StoredTile;
    use crate::frame::{self, Framed};

    /// The fields of every record in a section.
    fn split_records<'a>(section: &Framed<'a>) -> Vec<&'a [u8]> {
        let (mut rest, mut res) = (&section.bytes[4..], Vec::new());
        while let Some((length, _)) = rest.split_first_chunk() {
            let (record, after) = rest[8..].split_at(u32::from_le_bytes(*length) as usize);
            res.push(record);
            rest = after;
        }
        res
    }

    fn agree<'a, T>(section: &Framed<'a>)
    where
        T: Debug + PartialEq + Encode + BorrowDecode<'a, ()>,
        T: SchemaRead<'a, DefaultConfig, Dst = T> + SchemaWrite<DefaultConfig, Src = T>,
    {
        for record in split_records(section) {
            let ours: T = bincode::borrow_decode_from_slice(record, config::legacy()).unwrap().0;
            let theirs: T = wincode::deserialize(record).unwrap();
            assert_eq!(ours, theirs);
            assert_eq!(wincode::serialize(&ours).unwrap(), record);
        }
    }

    /// Keeps the way out of an unmaintained dependency open: another crate reads and writes the same bytes.
    #[test]
    fn wincode_reads_and_writes_the_same_bytes() {
        let golden: [&[u8]; 3] = [
            include_bytes!("../../tests/golden/v3.nvcim"),
            include_bytes!("../../tests/golden/v3-words.nvcim"),
            include_bytes!("../../tests/golden/v3-siemens.nvcim"),
        ];
        for bytes in golden {
            let [provenance, chip, steps, outputs, constants, layers, tiles] =
                &frame::read_frame(bytes).unwrap();
            agree::<StoredProvenance<'_>>(provenance);
            agree::<StoredChip<'_>>(chip);
            agree::<StoredStep<'_>>(steps);
            agree::<StoredOutputs>(outputs);
            agree::<StoredConstant<'_>>(constants);
            agree::<StoredLayer<'_>>(layers);
            agree::<StoredTile>(tiles);
        }
    }
}
