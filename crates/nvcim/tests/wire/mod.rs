//! The wire format of protobuf, as far as tests need it to write ONNX files field by field.

/// A field of bytes.
pub(crate) fn field(number: usize, body: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2)[..], &varint(body.len()), body].concat()
}

/// A field of a whole number.
pub(crate) fn number(number: usize, value: usize) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
