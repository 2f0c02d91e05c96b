//! The models of all cases in ruins: cut short, and with each of their fields left out. Nothing may panic.

use super::{Folder, groups};
use crate::import;
use crate::wire::{self, LENGTH_DELIMITED};

#[test]
fn no_truncation_panics() {
    for case in groups().into_iter().flat_map(|(_, cases)| cases) {
        for length in 0..case.bytes.len() {
            let _ = import::import_model(&case.bytes[..length], &Folder);
        }
    }
}

/// A file that is cut short ends inside its graph, so that nothing of it is looked at; here every part is missed
/// in a message that is whole.
#[test]
fn no_missing_field_panics() {
    for case in groups().into_iter().flat_map(|(_, cases)| cases) {
        for ruin in without_each_field(&case.bytes) {
            let _ = import::import_model(&ruin, &Folder);
        }
    }
}

/// Copies of a message, each without one of its fields or of the fields inside them.
fn without_each_field(message: &[u8]) -> Vec<Vec<u8>> {
    let Ok(fields) = wire::read_fields(message) else { return Vec::new() };
    let mut copies = Vec::new();
    let mut start = 0;
    for field in fields {
        let end = start + field.whole.len();
        let (front, back) = (&message[..start], &message[end..]);
        copies.push([front, back].concat());
        if field.kind == LENGTH_DELIMITED {
            for inner in without_each_field(field.body) {
                let mut copy = front.to_vec();
                wire::write_field(&mut copy, field.number, &inner);
                copy.extend_from_slice(back);
                copies.push(copy);
            }
        }
        start = end;
    }
    copies
}

#[test]
fn every_field_is_missed_once() {
    let mut message = Vec::new();
    wire::write_field(&mut message, 1, &[0x08, 3, 0x10, 4]);
    message.extend([0x18, 5]);
    let copies = without_each_field(&message);
    assert_eq!(
        copies,
        [&[0x18, 5][..], &[0x0a, 2, 0x10, 4, 0x18, 5], &[0x0a, 2, 8, 3, 0x18, 5], &message[..6]]
    );
}
