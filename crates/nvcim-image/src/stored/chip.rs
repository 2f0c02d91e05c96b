//! The chip record: the canonical description as text, and its hash.

use bincode::{BorrowDecode, Encode};
use nvcim_chip::describe::Chip;
use nvcim_chip::file;

use crate::stored::Result;

/// A chip description.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredChip<'a> {
    hash: [u8; 32],
    text: &'a str,
}

impl<'a> StoredChip<'a> {
    /// Stores the canonical `text` of a description.
    pub(crate) fn store(text: &'a str) -> Self {
        Self { hash: *blake3::hash(text.as_bytes()).as_bytes(), text }
    }

    /// Reads the description back; warnings about it were shown when the image was made.
    pub(crate) fn load(self) -> Result<Chip> {
        let Self { hash, text } = self;
        if blake3::hash(text.as_bytes()) != blake3::Hash::from_bytes(hash) {
            return Err("holds a chip description that does not have the BLAKE3 it says".into());
        }
        let parsed = file::parse_chip(text, "chip description").map_err(|problems| {
            let problems: Vec<_> =
                problems.iter().map(|it| format!("{}: {}", it.at, it.message)).collect();
            format!("holds a chip description that is refused: {}", problems.join("; "))
        })?;
        Ok(parsed.output)
    }
}
