//! The deployment image: `ProgrammedNet` to bytes and back, versioned and checksummed.
//!
//! `docs/image-format.md` describes every byte. The only place where a stored layout is defined: the
//! types of `stored` have the shape of the file, and exhaustive conversions tie them to the nouns of
//! `nvcim-ir`, so that a field added there cannot be forgotten here.

pub mod codec;
mod frame;
mod items;
pub mod layout;
mod record;
mod section;
mod stored;
