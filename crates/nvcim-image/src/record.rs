//! Records: the small, separately checked pieces that a section consists of.
//!
//! A section is a u32 count, then per record a u32 length, a u32 CRC32 and the bincode bytes.

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
use bincode::de::BorrowDecode;
use bincode::enc::Encode;
use bincode::error::DecodeError;
use nvcim_ir::diag::{Diagnostic, Result};

use crate::frame::{self, Framed};
use crate::section::Kind;

/// Length and CRC32.
const HEAD: usize = 8;

/// Little-endian, fixed-width integers, u64 lengths, u32 enum tags, at most `LIMIT` bytes.
const fn encoding<const LIMIT: usize>() -> Configuration<LittleEndian, Fixint, Limit<LIMIT>> {
    config::legacy().with_limit::<LIMIT>()
}

/// Appends the records of a section that each take at most `LIMIT` bytes.
///
/// An item that cannot be stored is an error; so is a record or a section that grows too large.
pub(crate) fn write_records<T: Encode, const LIMIT: usize>(
    kind: Kind,
    items: impl IntoIterator<Item = std::result::Result<T, String>>,
    res: &mut Vec<u8>,
) -> Result<()> {
    let start = res.len();
    res.extend([0; 4]);
    let mut count = 0u32;
    for item in items {
        let refuse = |message| too_large(kind, count, message);
        let bytes = bincode::encode_to_vec(item.map_err(refuse)?, encoding::<LIMIT>())
            .map_err(|error| refuse(format!("cannot be written: {error}")))?;
        if bytes.len() > LIMIT {
            return Err(
                refuse(format!("takes {} bytes, must be at most {LIMIT}", bytes.len())).into()
            );
        }
        let length = u32::try_from(bytes.len()).expect("every limit is below 2^32");
        res.extend(length.to_le_bytes());
        res.extend(crc32fast::hash(&bytes).to_le_bytes());
        res.extend(bytes);
        count = count.checked_add(1).ok_or_else(|| refuse("is one too many".into()))?;
    }
    res[start..][..4].copy_from_slice(&count.to_le_bytes());
    Ok(())
}

fn too_large(kind: Kind, index: u32, message: String) -> Diagnostic {
    let place = format!("record {index} of section `{}`", kind.name());
    Diagnostic::unsupported(place, message).hint("shorten names, or cut the network into parts")
}

/// The number of records that a section says it has.
pub(crate) fn count_records(section: &Framed<'_>) -> Result<u32> {
    match section.bytes.first_chunk() {
        Some(count) => Ok(u32::from_le_bytes(*count)),
        None => Err(damaged(section, "is too short for a record count".into()).into()),
    }
}

/// Reads every record of a section and hands each to `load`.
///
/// Memory is bounded by the section's length: nothing is allocated on the word of a length or count.
pub(crate) fn read_records<'a, T: BorrowDecode<'a, ()>, U, const LIMIT: usize>(
    section: &Framed<'a>,
    mut load: impl FnMut(T) -> std::result::Result<U, String>,
) -> Result<Vec<U>> {
    let count = count_records(section)?;
    let mut rest = &section.bytes[4..];
    let mut res = Vec::new();
    for index in 0..count {
        let offset = section.offset + section.bytes.len() - rest.len();
        let item = split_record::<LIMIT>(&mut rest)
            .and_then(|bytes| decode_record::<T, LIMIT>(bytes))
            .and_then(&mut load)
            .map_err(|message| damaged_record(section.kind, index, offset, message))?;
        res.push(item);
    }
    if !rest.is_empty() {
        let message = format!("has {} bytes after its {count} records", rest.len());
        return Err(damaged(section, message).into());
    }
    Ok(res)
}

/// Reads the only record of a section.
pub(crate) fn read_record<'a, T: BorrowDecode<'a, ()>, U, const LIMIT: usize>(
    section: &Framed<'a>,
    load: impl FnMut(T) -> std::result::Result<U, String>,
) -> Result<U> {
    let records = read_records::<T, U, LIMIT>(section, load)?;
    let count = records.len();
    match <[U; 1]>::try_from(records) {
        Ok([record]) => Ok(record),
        Err(_) => Err(damaged(section, format!("has {count} records, must have 1")).into()),
    }
}

/// Takes one record off the front of `rest` and checks its length and CRC32.
fn split_record<'a, const LIMIT: usize>(
    rest: &mut &'a [u8],
) -> std::result::Result<&'a [u8], String> {
    let Some((&[l0, l1, l2, l3, c0, c1, c2, c3], body)) = rest.split_first_chunk::<HEAD>() else {
        return Err(format!("has {} of the {HEAD} bytes of its head", rest.len()));
    };
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > LIMIT {
        return Err(format!("is {length} bytes long, must be at most {LIMIT}"));
    }
    let Some((bytes, after)) = body.split_at_checked(length) else {
        return Err(format!("is {length} bytes long, but {} are left", body.len()));
    };
    let (stored, found) = (u32::from_le_bytes([c0, c1, c2, c3]), crc32fast::hash(bytes));
    if stored != found {
        return Err(format!("has CRC32 {found:08x}, must have {stored:08x}"));
    }
    *rest = after;
    Ok(bytes)
}

fn decode_record<'a, T: BorrowDecode<'a, ()>, const LIMIT: usize>(
    bytes: &'a [u8],
) -> std::result::Result<T, String> {
    let (item, used) =
        bincode::borrow_decode_from_slice(bytes, encoding::<LIMIT>()).map_err(explain)?;
    if used == bytes.len() {
        Ok(item)
    } else {
        Err(format!("is {} bytes long, but its fields take {used}", bytes.len()))
    }
}

/// Says what bincode found without naming its types.
fn explain(error: DecodeError) -> String {
    match error {
        DecodeError::UnexpectedEnd { additional } => {
            format!("ends inside a field, which needs {additional} bytes more")
        }
        DecodeError::LimitExceeded => "has a field beyond the record's limit".into(),
        DecodeError::UnexpectedVariant { found, .. } => format!("has the unknown tag {found}"),
        DecodeError::InvalidBooleanValue(found) => {
            format!("has the truth value {found}, must be 0 or 1")
        }
        DecodeError::OutsideUsizeRange(length) => {
            format!("has length {length}, beyond the address space")
        }
        DecodeError::Utf8 { inner } => format!("has a text that is not UTF-8: {inner}"),
        error => format!("cannot be read: {error}"),
    }
}

fn damaged(section: &Framed<'_>, message: String) -> Diagnostic {
    frame::damaged(frame::place(section.kind, section.offset), message)
}

fn damaged_record(kind: Kind, index: u32, offset: usize, message: String) -> Diagnostic {
    let place = format!("record {index} of section `{}` at byte {offset}", kind.name());
    frame::damaged(place, message)
}
