//! Makes changed bytes look undamaged again: every checksum of an image computed anew, from its own lengths.
//!
//! Written from the format's description, not from the crate's code, and as trusting as a forger can be:
//! where a length leads outside, what lies there is left alone.

/// The first byte of the section table.
const TABLE: usize = 16;

/// Bytes of one entry of the section table.
const ENTRY: usize = 24;

/// Number of sections.
const SECTIONS: usize = 7;

/// Fixes the checksums of records, sections and file.
pub(crate) fn reseal(bytes: &mut [u8]) {
    for entry in (0..SECTIONS).map(|index| TABLE + ENTRY * index) {
        let (offset, length) = (read_u64(bytes, entry + 4), read_u64(bytes, entry + 12));
        let end = offset.saturating_add(length);
        let Some(section) = bytes.get_mut(offset..end) else { continue };
        reseal_records(section);
        let crc = crc32fast::hash(section).to_le_bytes();
        bytes[entry + 20..entry + 24].copy_from_slice(&crc);
    }
    let content = bytes.len() - 32;
    let hash = *blake3::hash(&bytes[..content]).as_bytes();
    bytes[content..].copy_from_slice(&hash);
}

fn reseal_records(section: &mut [u8]) {
    let mut at = 4;
    while let Some(length) = section.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let Some(record) = section.get(at + 8..(at + 8).saturating_add(length)) else { return };
        let crc = crc32fast::hash(record).to_le_bytes();
        section[at + 4..at + 8].copy_from_slice(&crc);
        at += 8 + length;
    }
}

fn read_u64(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}
