//! Golden files guard the format: images written once must be read, and written, as on the first day.
//!
//! `NVCIM_BLESS=1` writes them anew. Only a new format version, or a file for one, calls for that.

use std::path::PathBuf;

use nvcim_image::codec::{decode_image, encode_image, list_sections};
use nvcim_image::layout::Image;

use crate::operators::{
    later_operators, sample_later_operators, sample_lookup, sample_several_uses,
};
use crate::sample::sample_image;

/// One golden file per stored form of targets, and one per time that operators joined.
fn files() -> [(&'static str, Image); 6] {
    [
        ("v3", sample_image(Some(16))),
        ("v3-words", sample_image(Some(1000))),
        ("v3-siemens", sample_image(None)),
        ("v3-operators", sample_later_operators(&later_operators())),
        ("v3-several-uses", sample_several_uses()),
        ("v3-lookup", sample_lookup()),
    ]
}

fn golden(name: &str, sample: &Image) -> Vec<u8> {
    let place = format!("{}/tests/golden/{name}.nvcim", env!("CARGO_MANIFEST_DIR"));
    let place = PathBuf::from(place);
    if std::env::var_os("NVCIM_BLESS").is_some() {
        std::fs::write(&place, encode_image(sample).unwrap()).unwrap();
    }
    std::fs::read(&place).unwrap()
}

#[test]
fn golden_files_are_read_as_on_the_first_day() {
    for (name, sample) in files() {
        let image = decode_image(&golden(name, &sample)).unwrap();
        assert_eq!(image, sample, "{name}");
    }
}

/// The chip's text is left out: it grows with the chip format, which has its own version.
#[test]
fn golden_files_are_written_as_on_the_first_day() {
    for (name, sample) in files() {
        let old = golden(name, &sample);
        let new = encode_image(&sample).unwrap();
        assert_eq!(old[..16], new[..16], "{name}: magic, version, section count");
        let sections = list_sections(&old).unwrap().into_iter().zip(list_sections(&new).unwrap());
        for (old_section, new_section) in sections.filter(|(section, _)| section.name != "chip") {
            let part = |bytes: &[u8], offset: u64, length: u64| {
                bytes[offset as usize..][..length as usize].to_vec()
            };
            assert_eq!(
                part(&old, old_section.offset, old_section.length),
                part(&new, new_section.offset, new_section.length),
                "{name}: {}",
                old_section.name
            );
        }
    }
}
