//! The protobuf wire format, as far as copying a message with one part changed needs it.
//!
//! A message is a sequence of fields, each a key `number << 3 | kind` and a body: a varint (kind 0),
//! eight bytes (1), a length and that many bytes (2), or four bytes (5).

/// The wire kind of texts, bytes and messages.
pub(crate) const LENGTH_DELIMITED: u64 = 2;

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'b> {
    /// The field's number.
    pub(crate) number: u64,
    /// The wire kind.
    pub(crate) kind: u64,
    /// Key and body, as they stand in the message.
    pub(crate) whole: &'b [u8],
    /// The body, without its length.
    pub(crate) body: &'b [u8],
}

/// The fields of a message, in order.
///
/// An error where a field ends after the message or has an unknown kind.
pub(crate) fn read_fields(message: &[u8]) -> Result<Vec<Field<'_>>, String> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let key = read_varint(&mut rest)?;
        let (number, kind) = (key >> 3, key & 7);
        let body = match kind {
            0 => {
                let from = rest;
                read_varint(&mut rest)?;
                &from[..from.len() - rest.len()]
            }
            1 => take(&mut rest, 8)?,
            LENGTH_DELIMITED => {
                let length = read_varint(&mut rest)?;
                take(&mut rest, length)?
            }
            5 => take(&mut rest, 4)?,
            other => return Err(format!("it holds a field of unknown kind {other}")),
        };
        let whole = &start[..start.len() - rest.len()];
        fields.push(Field { number, kind, whole, body });
    }
    Ok(fields)
}

/// Appends a field of bytes, a text or a message.
pub(crate) fn write_field(message: &mut Vec<u8>, number: u64, body: &[u8]) {
    write_varint(message, number << 3 | LENGTH_DELIMITED);
    write_varint(message, body.len() as u64);
    message.extend_from_slice(body);
}

fn read_varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(rest, 1)? else { break };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("it holds a number of more than 64 bits".into())
}

fn write_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn take<'b>(rest: &mut &'b [u8], count: u64) -> Result<&'b [u8], String> {
    let split = usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count));
    let (taken, left) = split.ok_or_else(|| {
        format!("it ends too early, bytes missing: {}", count - rest.len() as u64)
    })?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::{read_fields, write_field};

    #[test]
    fn fields_cover_the_message_and_can_be_written_again() {
        let mut message = vec![0x08, 0x96, 0x01];
        write_field(&mut message, 300, &[7; 200]);
        message.extend([0x1d, 1, 2, 3, 4]);
        let fields = read_fields(&message).unwrap();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 300, 3]);
        assert_eq!(fields[1].body, [7; 200]);
        let copied: Vec<u8> = fields.iter().flat_map(|field| field.whole).copied().collect();
        assert_eq!(copied, message);
    }

    #[test]
    fn a_field_that_ends_late_is_an_error() {
        assert!(read_fields(&[0x0a, 5, 1]).is_err());
        assert!(
            read_fields(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err()
        );
        assert!(read_fields(&[0xff; 11]).is_err());
        assert!(read_fields(&[0x0b]).is_err());
    }
}
