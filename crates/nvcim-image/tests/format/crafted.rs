//! Well-sealed nonsense: images whose checksums hold, but whose content does not.

use nvcim_image::codec::{decode_image, encode_image, list_sections};
use nvcim_ir::diag::{Diagnostic, Kind};

use crate::reseal::reseal;
use crate::sample::sample_image;

/// Applies `change` to the content of a section's first record (or count and record head, from -12).
fn forge(section: &str, at: usize, value: &[u8]) -> Diagnostic {
    let mut bytes = encode_image(&sample_image(Some(16))).unwrap();
    let sections = list_sections(&bytes).unwrap();
    let section = sections.iter().find(|it| it.name == section).unwrap();
    bytes[section.offset as usize + at..][..value.len()].copy_from_slice(value);
    reseal(&mut bytes);
    let mut problems = decode_image(&bytes).unwrap_err();
    assert!(problems.iter().all(|it| it.kind == Kind::BadInput), "{problems:?}");
    assert!(problems.iter().all(|it| it.hints == ["compile the network again"]), "{problems:?}");
    problems.remove(0)
}

/// Record count and the first record's head.
const RECORD: usize = 12;

#[test]
fn resealing_changes_nothing_in_a_good_image() {
    let bytes = encode_image(&sample_image(None)).unwrap();
    let mut sealed = bytes.clone();
    reseal(&mut sealed);
    assert_eq!(sealed, bytes);
}

#[test]
fn record_counts_must_fit() {
    assert!(forge("layers", 0, &[1]).message.ends_with("bytes after its 1 records"));
    assert_eq!(forge("layers", 0, &[3]).message, "has 0 of the 8 bytes of its head");
    assert_eq!(forge("layers", 0, &[0xff; 4]).message, "has 0 of the 8 bytes of its head");
    assert_eq!(forge("outputs", 0, &[2]).message, "has 0 of the 8 bytes of its head");
}

#[test]
fn record_lengths_must_fit() {
    let problem = forge("steps", 4, &[0xff; 4]);
    assert!(problem.at.starts_with("record 0 of section `steps` at byte "), "{problem}");
    assert_eq!(problem.message, "is 4294967295 bytes long, must be at most 65536");
    let problem = forge("tiles", 4, &(256u32 << 20).to_le_bytes());
    assert!(problem.message.starts_with("is 268435456 bytes long, but "), "{problem}");
}

#[test]
fn lengths_inside_records_must_fit() {
    for length in [u64::MAX, 1 << 40, 1 << 20, 1 << 15] {
        // The first field of a step and of a layer is a text, of a constant too.
        for section in ["steps", "constants", "layers"] {
            let problem = forge(section, RECORD, &length.to_le_bytes());
            let known = ["ends inside a field", "has a field beyond the record's limit"];
            assert!(known.iter().any(|it| problem.message.starts_with(it)), "{problem}");
        }
    }
}

#[test]
fn the_chip_must_have_the_hash_it_says() {
    let problem = forge("chip", RECORD + 5, &[0]);
    assert_eq!(problem.message, "holds a chip description that does not have the BLAKE3 it says");
}

/// Replaces a part of the chip's text by one as long, hash included.
fn forge_chip(old: &str, new: &str) -> Diagnostic {
    let mut bytes = encode_image(&sample_image(Some(16))).unwrap();
    let chip = list_sections(&bytes).unwrap().remove(1);
    let record = &mut bytes[chip.offset as usize + RECORD..][..chip.length as usize - RECORD];
    let (hash, text) = record.split_at_mut(32);
    let text = &mut text[8..];
    let at = text.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
    text[at..][..new.len()].copy_from_slice(new.as_bytes());
    hash.copy_from_slice(blake3::hash(text).as_bytes());
    reseal(&mut bytes);
    decode_image(&bytes).unwrap_err().remove(0)
}

#[test]
fn the_chip_must_be_valid_and_suit_the_net() {
    let problem = forge_chip("topology", "topolojy");
    let start = "holds a chip description that is refused: ";
    assert!(
        problem.message.starts_with(start) && problem.message.contains("topolojy"),
        "{problem}"
    );
    let problem = forge_chip("levels = 16", "levels = 15");
    assert_eq!(problem.at, "image: t0 on a0");
    assert_eq!(problem.message, "targets a level beyond the cell's 15");
    let problem = forge_chip("levels = 16", "#evels = 16");
    assert_eq!(problem.message, "stores levels, but the chip's cells are continuous");
    let problem = forge_chip("levels = 16", "levels= 257");
    assert_eq!(problem.message, "stores targets in another form than a cell of 257 levels has");
}

#[test]
fn the_net_must_fit_the_chip() {
    // The first tile's array, second field of its record.
    let problem = forge("tiles", RECORD + 4, &7u32.to_le_bytes());
    assert_eq!(problem.at, "image: t0 on a7");
    // Its rows, third field: none, since they end where they begin.
    let problem = forge("tiles", RECORD + 12, &0u32.to_le_bytes());
    assert!(problem.message.ends_with("targets for 0 rows and 2 columns"), "{problem}");
}

#[test]
fn texts_and_tags_must_be_known() {
    let problem = forge("layers", RECORD + 8, &[0xff]);
    assert!(problem.message.starts_with("has a text that is not UTF-8"), "{problem}");
    // `conv`, rows, full scale, then whether inputs are signed.
    let problem = forge("layers", RECORD + 8 + 4 + 8, &[2]);
    assert_eq!(problem.message, "has the truth value 2, must be 0 or 1");
    // `node0`, `tensor0`, no operand, a shape of three sizes, then the operator.
    let problem = forge("steps", RECORD + 13 + 15 + 8 + 20, &99u32.to_le_bytes());
    assert_eq!(problem.message, "has the unknown tag 99");
}

#[test]
fn layers_must_fit_the_program() {
    // Rows of the first layer: the program's shapes contradict them.
    let problem = forge("layers", RECORD + 12, &19u32.to_le_bytes());
    assert!(problem.at.starts_with("image: s2 `node2`"), "{problem}");
}
