//! Damage on the way: every flipped bit, every cut and every appended byte is noticed and explained.

use nvcim_image::codec::{decode_image, encode_image, list_sections};
use nvcim_ir::diag::{Diagnostic, Kind};

use crate::sample::sample_image;

fn small_image() -> Vec<u8> {
    encode_image(&sample_image(Some(16))).unwrap()
}

fn problems(bytes: &[u8]) -> Vec<Diagnostic> {
    let problems = decode_image(bytes).unwrap_err();
    for problem in &problems {
        assert_eq!(problem.kind, Kind::BadInput, "{problem}");
        assert_eq!(problem.hints.len(), 1, "{problem}");
    }
    assert!(list_sections(bytes).is_err());
    problems
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut bytes = small_image();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(decode_image(&bytes).is_err(), "bit {bit} of byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
    assert!(decode_image(&bytes).is_ok());
}

#[test]
fn every_cut_is_noticed() {
    let bytes = small_image();
    for len in 0..bytes.len() {
        problems(&bytes[..len]);
    }
}

#[test]
fn appended_bytes_are_noticed() {
    let mut bytes = small_image();
    bytes.push(0);
    let problems = problems(&bytes);
    assert_eq!(problems[0].message, "has 1 bytes that belong to no section");
}

#[test]
fn every_damaged_section_is_named_with_its_place() {
    let mut bytes = small_image();
    let sections = list_sections(&bytes).unwrap();
    for section in [&sections[0], &sections[6]] {
        bytes[section.offset as usize + 13] ^= 0x40;
    }
    let found: Vec<_> = problems(&bytes).into_iter().map(|problem| problem.at).collect();
    let places = [&sections[0], &sections[6]]
        .map(|section| format!("section `{}` at byte {}", section.name, section.offset));
    assert_eq!(found, places);
}

#[test]
fn a_cut_names_the_section_that_it_goes_through() {
    let bytes = small_image();
    let sections = list_sections(&bytes).unwrap();
    let layers = &sections[5];
    let cut = (layers.offset + layers.length / 2) as usize + 32;
    let problems = problems(&bytes[..cut]);
    assert_eq!(problems[0].at, format!("section `layers` at byte {}", layers.offset));
    let message = format!("is {} bytes long, but {} are left", layers.length, layers.length / 2);
    assert_eq!(problems[0].message, message);
}

#[test]
fn files_of_another_kind_and_newer_images_have_their_own_remedies() {
    let [other] = &problems(b"\x7fELF, or anything else")[..] else { panic!() };
    assert_eq!(other.hints, ["pass a file that `nvcim compile` wrote"]);

    let mut newer = small_image();
    newer[8] = 4;
    let [newer] = &problems(&newer)[..] else { panic!() };
    assert_eq!(newer.message, "has format version 4, this nvcim reads up to 3");
    assert_eq!(newer.hints, ["use a newer nvcim"]);

    let mut older = small_image();
    older[8] = 1;
    let [older] = &problems(&older)[..] else { panic!() };
    assert_eq!(older.message, "has format version 1, this nvcim reads version 3");
    assert_eq!(older.hints, ["compile the model again"]);
}
