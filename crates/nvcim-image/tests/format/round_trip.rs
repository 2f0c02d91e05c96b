//! Images come back as they were, and what cannot be stored is refused with a reason.

use nvcim_image::codec::{decode_image, encode_image, hash_image, list_sections};
use nvcim_image::layout::Image;
use nvcim_ir::diag::Kind;
use nvcim_ir::programmed::Targets;

use proptest::prelude::*;

use crate::sample::sample_image;

/// One image per stored form of targets: bytes at both ends of their range, words, siemens.
fn samples() -> [Image; 5] {
    [Some(2), Some(256), Some(257), Some(1 << 16), None].map(sample_image)
}

#[test]
fn images_come_back_as_they_were() {
    for image in samples() {
        let bytes = encode_image(&image).unwrap();
        assert_eq!(decode_image(&bytes).unwrap(), image, "{:?}", image.chip.cell);
        assert_eq!(encode_image(&decode_image(&bytes).unwrap()).unwrap(), bytes);
    }
}

#[test]
fn absent_parts_of_the_provenance_come_back() {
    let mut image = sample_image(None);
    image.provenance.die.as_mut().unwrap().seed = None;
    assert_eq!(decode_image(&encode_image(&image).unwrap()).unwrap(), image);
    image.provenance.die = None;
    image.provenance.calibration_hash = None;
    image.provenance.corrections.clear();
    assert_eq!(decode_image(&encode_image(&image).unwrap()).unwrap(), image);
}

#[test]
fn the_sections_fill_the_space_between_table_and_hash() {
    let bytes = encode_image(&sample_image(Some(16))).unwrap();
    let sections = list_sections(&bytes).unwrap();
    let names: Vec<_> = sections.iter().map(|section| section.name).collect();
    assert_eq!(names, ["provenance", "chip", "steps", "outputs", "constants", "layers", "tiles"]);
    let counts: Vec<_> = sections.iter().map(|section| section.n_records).collect();
    assert_eq!(counts, [1, 1, 29, 1, 9, 2, 3]);
    for pair in sections.windows(2) {
        assert_eq!(pair[0].offset + pair[0].length, pair[1].offset);
    }
    let last = &sections[sections.len() - 1];
    assert_eq!(last.offset + last.length, (bytes.len() - 32) as u64);
}

#[test]
fn the_hash_is_what_the_image_ends_in() {
    let bytes = encode_image(&sample_image(None)).unwrap();
    assert!(bytes.ends_with(&hash_image(&bytes)));
    assert_eq!(hash_image(b"short"), *blake3::hash(b"").as_bytes());
}

#[test]
fn nets_that_do_not_verify_are_not_written() {
    let mut image = sample_image(Some(16));
    image.chip.cell.n_levels = Some(15);
    let problems = encode_image(&image).unwrap_err();
    assert!(problems[0].message.contains("15"), "{problems:?}");
}

#[test]
fn times_that_are_none_are_not_written() {
    let mut image = sample_image(None);
    image.provenance.at_s = f64::NAN;
    let problems = encode_image(&image).unwrap_err();
    assert_eq!(problems[0].at, "provenance");
}

#[test]
fn names_beyond_the_limit_of_a_record_are_refused() {
    let mut image = sample_image(None);
    image.net.program.steps.iter_mut().last().unwrap().name = "n".repeat(1 << 16);
    let problems = encode_image(&image).unwrap_err();
    assert_eq!(problems[0].kind, Kind::Unsupported);
    assert!(problems[0].message.contains("must be at most 65536"), "{problems:?}");
}

proptest! {
    /// Texts of any script and floats of any size, denormal and negative zero included, keep every bit.
    #[test]
    fn any_text_and_any_float_comes_back(
        texts in prop::collection::vec(any::<String>(), 4),
        bias in prop::collection::vec(-f32::MAX..=f32::MAX, 2),
        targets in prop::collection::vec(0.0..=f32::MAX, 20),
        scale in any::<f32>().prop_filter("finite", |scale| scale.is_finite()),
        at_s in 0.0..f64::MAX,
    ) {
        let mut image = sample_image(None);
        image.provenance.corrections = texts.clone();
        image.provenance.at_s = at_s;
        for (step, text) in image.net.program.steps.iter_mut().zip(&texts) {
            step.name.clone_from(text);
        }
        image.net.layers.iter_mut().next().unwrap().bias = bias;
        let tile = image.net.tiles.iter_mut().next().unwrap();
        tile.readouts[0].scale = scale;
        let Targets::Siemens { plus, .. } = &mut tile.targets else { unreachable!() };
        plus.iter_mut().zip(targets).for_each(|(cell, target)| *cell = target);
        let bytes = encode_image(&image).unwrap();
        let again = decode_image(&bytes).unwrap();
        prop_assert_eq!(&again, &image);
        let found = again.net.tiles.iter().next().unwrap().readouts[0].scale;
        prop_assert_eq!(found.to_bits(), scale.to_bits());
        prop_assert_eq!(encode_image(&again).unwrap(), bytes);
    }
}
