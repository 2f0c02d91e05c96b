//! The frame round the sections: magic, version, section table, BLAKE3.
//!
//! Layout, integers little-endian: magic, u32 version, u32 section count, then per section u32 id, u64
//! offset, u64 length, u32 CRC32; the sections without gaps; 32 bytes of BLAKE3 over all before them.

use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};

use crate::section::Kind;

/// First bytes of every image. The first is no text and the last are a line break, so that a transfer
/// that tampers with either is noticed at once.
pub(crate) const MAGIC: [u8; 8] = *b"\x89NVCIM\r\n";

/// The version of the format that is written, and the newest that can be read.
pub(crate) const VERSION: u32 = 3;

/// What helps against every kind of damage.
pub(crate) const REMEDY: &str = "compile the network again";

/// Magic, version, section count.
pub(crate) const HEADER: usize = 16;

/// One entry of the section table.
pub(crate) const ENTRY: usize = 24;

/// BLAKE3 at the end.
pub(crate) const TRAILER: usize = 32;

/// The first byte of the first section.
pub(crate) const BODY: usize = HEADER + ENTRY * Kind::ALL.len();

/// A section found in an image, its checksum verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Framed<'a> {
    /// Which one.
    pub(crate) kind: Kind,
    /// First byte, from the start of the image.
    pub(crate) offset: usize,
    /// CRC32 of the bytes.
    pub(crate) crc32: u32,
    /// The content.
    pub(crate) bytes: &'a [u8],
}

/// An image under construction. Sections are written where they will stay: they are most of an image, and a
/// copy would double what writing it takes.
pub(crate) struct FrameWriter {
    bytes: Vec<u8>,
    kinds: std::slice::Iter<'static, Kind>,
}

impl FrameWriter {
    /// An image without sections.
    pub(crate) fn new() -> Self {
        let mut bytes = Vec::with_capacity(BODY);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((Kind::ALL.len() as u32).to_le_bytes());
        bytes.resize(BODY, 0);
        Self { bytes, kinds: Kind::ALL.iter() }
    }

    /// Lets `write` append the next section in the order of [`Kind::ALL`].
    ///
    /// # Panics
    /// For more sections than there are kinds.
    pub(crate) fn add(
        &mut self,
        write: impl FnOnce(Kind, &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let at = Kind::ALL.len() - self.kinds.len();
        let kind = *self.kinds.next().expect("the writer of images knows the kinds of sections");
        let start = self.bytes.len();
        write(kind, &mut self.bytes)?;
        let section = &self.bytes[start..];
        let mut entry = Vec::with_capacity(ENTRY);
        entry.extend(kind.id().to_le_bytes());
        entry.extend((start as u64).to_le_bytes());
        entry.extend((section.len() as u64).to_le_bytes());
        entry.extend(crc32fast::hash(section).to_le_bytes());
        self.bytes[HEADER + ENTRY * at..][..ENTRY].copy_from_slice(&entry);
        Ok(())
    }

    /// The image, every section written.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        debug_assert_eq!(self.kinds.len(), 0, "a section is missing");
        let hash = *blake3::hash(&self.bytes).as_bytes();
        self.bytes.extend(hash);
        self.bytes
    }
}

/// Finds the sections of an image, in the order of [`Kind::ALL`], and verifies every checksum.
///
/// All damaged sections are reported, not the first.
pub(crate) fn read_frame(bytes: &[u8]) -> Result<[Framed<'_>; Kind::ALL.len()]> {
    check_header(bytes)?;
    let Some((content, trailer)) = bytes.split_last_chunk::<TRAILER>() else {
        return Err(cut_short(bytes.len(), BODY + TRAILER).into());
    };
    let Some((mut table, mut body)) =
        content.split_at_checked(BODY).map(|(head, body)| (&head[HEADER..], body))
    else {
        return Err(cut_short(bytes.len(), BODY + TRAILER).into());
    };
    let mut problems = Vec::new();
    let mut sections = [None; Kind::ALL.len()];
    for (kind, found) in Kind::ALL.into_iter().zip(&mut sections) {
        let entry = Entry::take(&mut table);
        let offset = content.len() - body.len();
        if entry.id != kind.id() || entry.offset != offset as u64 {
            let message = format!(
                "lists section {} at byte {}, must list section {} (`{}`) at byte {offset}",
                entry.id,
                entry.offset,
                kind.id(),
                kind.name()
            );
            return Err(damaged("section table", message).into());
        }
        let length = usize::try_from(entry.length).unwrap_or(usize::MAX);
        let Some((section, after)) = body.split_at_checked(length) else {
            let message = format!("is {} bytes long, but {} are left", entry.length, body.len());
            return Err(damaged(place(kind, offset), message).into());
        };
        let crc32 = crc32fast::hash(section);
        if crc32 != entry.crc32 {
            let message = format!("has CRC32 {crc32:08x}, must have {:08x}", entry.crc32);
            problems.push(damaged(place(kind, offset), message));
        }
        *found = Some(Framed { kind, offset, crc32, bytes: section });
        body = after;
    }
    if !body.is_empty() {
        let message = format!("has {} bytes that belong to no section", body.len());
        problems.push(damaged("image", message));
    }
    fail_if_any(problems)?;
    if blake3::hash(content) != blake3::Hash::from_bytes(*trailer) {
        let message = "does not have the BLAKE3 that its last 32 bytes say";
        return Err(damaged("image", message).into());
    }
    Ok(sections.map(|section| section.expect("the loop above filled every place or returned")))
}

fn check_header(bytes: &[u8]) -> Result<()> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(cut_short(bytes.len(), HEADER).into());
    };
    let [magic @ .., v0, v1, v2, v3, n0, n1, n2, n3] = header;
    if *magic != MAGIC {
        return Err(Diagnostic::bad_input("image", "does not begin with the magic of an image")
            .hint("pass a file that `nvcim compile` wrote")
            .into());
    }
    let version = u32::from_le_bytes([*v0, *v1, *v2, *v3]);
    if version > VERSION {
        let message = format!("has format version {version}, this nvcim reads up to {VERSION}");
        return Err(Diagnostic::bad_input("image", message).hint("use a newer nvcim").into());
    }
    if version == 0 {
        return Err(damaged("image", "has format version 0, which never was").into());
    }
    if version < VERSION {
        let message = format!("has format version {version}, this nvcim reads version {VERSION}");
        return Err(Diagnostic::bad_input("image", message).hint("compile the model again").into());
    }
    let count = u32::from_le_bytes([*n0, *n1, *n2, *n3]);
    if count as usize != Kind::ALL.len() {
        let message = format!("has {count} sections, must have {}", Kind::ALL.len());
        return Err(damaged("section table", message).into());
    }
    Ok(())
}

/// One entry of the section table.
struct Entry {
    id: u32,
    offset: u64,
    length: u64,
    crc32: u32,
}

impl Entry {
    /// Takes the next entry off a table that the caller knows to be long enough.
    fn take(table: &mut &[u8]) -> Self {
        fn next<const N: usize>(table: &mut &[u8]) -> [u8; N] {
            let (field, rest) =
                table.split_first_chunk().expect("the table has room for its entries");
            *table = rest;
            *field
        }
        Self {
            id: u32::from_le_bytes(next(table)),
            offset: u64::from_le_bytes(next(table)),
            length: u64::from_le_bytes(next(table)),
            crc32: u32::from_le_bytes(next(table)),
        }
    }
}

/// A section's place in messages.
pub(crate) fn place(kind: Kind, offset: usize) -> String {
    format!("section `{}` at byte {offset}", kind.name())
}

fn cut_short(len: usize, least: usize) -> Diagnostic {
    damaged("image", format!("is {len} bytes long, must have at least {least}"))
}

/// A damaged image, with the one remedy there is.
pub(crate) fn damaged(place: impl Into<String>, message: impl Into<String>) -> Diagnostic {
    Diagnostic::bad_input(place, message).hint(REMEDY)
}
