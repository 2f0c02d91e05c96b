//! Image to bytes and back.
//!
//! Writing is a pure function of the image: the same image gives the same bytes on every machine.
//! Reading trusts nothing: checksums first, then each record within its limit, then the verifier, against
//! the chip that the image itself describes.

use nvcim_chip::file;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::program::Program;
use nvcim_ir::programmed::{self, ProgrammedNet};

use crate::frame::{self, REMEDY, TRAILER};
use crate::layout::{Image, Section};
use crate::record::{self, read_record, read_records, write_records};
use crate::section::Kind;
use crate::stored::chip::StoredChip;
use crate::stored::constant::StoredConstant;
use crate::stored::layer::StoredLayer;
use crate::stored::outputs::StoredOutputs;
use crate::stored::provenance::{self, StoredProvenance};
use crate::stored::step::StoredStep;
use crate::stored::tile::StoredTile;

/// Writes an image.
///
/// Errors: the net does not verify against the chip, the provenance has a time that is none, or a part is
/// larger than the format allows.
pub fn encode_image(image: &Image) -> Result<Vec<u8>> {
    let Image { chip, net, provenance } = image;
    let ProgrammedNet { program: Program { steps, consts, outputs }, layers, tiles } = net;
    let n_levels = chip.cell.n_levels;
    programmed::verify_programmed(net, chip.array_size(), n_levels)?;
    provenance::check_time(image.provenance.at_s)
        .map_err(|message| Diagnostic::bad_input("provenance", message))?;
    let text = file::write_chip(chip);
    if StoredChip::store(&text).load().as_ref() != Ok(chip) {
        let message = "is not what its own canonical description reads back as";
        return Err(Diagnostic::internal(format!("chip `{}`", chip.name), message))?;
    }
    Ok(frame::write_frame(&[
        write_records::<_, { Kind::Provenance.record_limit() }>(
            Kind::Provenance,
            [Ok(StoredProvenance::store(provenance))],
        )?,
        write_records::<_, { Kind::Chip.record_limit() }>(
            Kind::Chip,
            [Ok(StoredChip::store(&text))],
        )?,
        write_records::<_, { Kind::Steps.record_limit() }>(
            Kind::Steps,
            steps.iter().map(StoredStep::store),
        )?,
        write_records::<_, { Kind::Outputs.record_limit() }>(
            Kind::Outputs,
            [Ok(StoredOutputs::store(outputs))],
        )?,
        write_records::<_, { Kind::Constants.record_limit() }>(
            Kind::Constants,
            consts.iter().map(StoredConstant::store),
        )?,
        write_records::<_, { Kind::Layers.record_limit() }>(
            Kind::Layers,
            layers.iter().map(StoredLayer::store),
        )?,
        write_records::<_, { Kind::Tiles.record_limit() }>(
            Kind::Tiles,
            tiles.iter().map(|tile| StoredTile::store(tile, n_levels)),
        )?,
    ]))
}

/// Reads an image back and verifies it against the chip that it embeds.
///
/// Never panics, and takes memory in proportion to `bytes`, whatever they hold. Every error is
/// [`nvcim_ir::diag::Kind::BadInput`].
pub fn decode_image(bytes: &[u8]) -> Result<Image> {
    let [provenance, chip, steps, outputs, consts, layers, tiles] = frame::read_frame(bytes)?;
    let provenance = read_record::<_, _, { Kind::Provenance.record_limit() }>(
        &provenance,
        StoredProvenance::load,
    )?;
    let chip = read_record::<_, _, { Kind::Chip.record_limit() }>(&chip, StoredChip::load)?;
    let n_levels = chip.cell.n_levels;
    let steps = read_records::<_, _, { Kind::Steps.record_limit() }>(&steps, StoredStep::load)?;
    let outputs = read_record::<_, _, { Kind::Outputs.record_limit() }>(
        &outputs,
        |stored: StoredOutputs| Ok(stored.load()),
    )?;
    let consts =
        read_records::<_, _, { Kind::Constants.record_limit() }>(&consts, StoredConstant::load)?;
    let layers = read_records::<_, _, { Kind::Layers.record_limit() }>(
        &layers,
        |stored: StoredLayer<'_>| Ok(stored.load()),
    )?;
    let tiles =
        read_records::<_, _, { Kind::Tiles.record_limit() }>(&tiles, |stored: StoredTile| {
            stored.load(n_levels)
        })?;
    let net = ProgrammedNet {
        program: Program {
            steps: steps.into_iter().collect(),
            consts: consts.into_iter().collect(),
            outputs,
        },
        layers: layers.into_iter().collect(),
        tiles: tiles.into_iter().collect(),
    };
    programmed::verify_programmed(&net, chip.array_size(), n_levels).map_err(|problems| {
        let inside = |problem: Diagnostic| problem.within("image").hint(REMEDY);
        problems.into_iter().map(inside).collect::<Vec<_>>()
    })?;
    Ok(Image { chip, net, provenance })
}

/// The name of an image: BLAKE3 over all but its last 32 bytes, which hold the same in an undamaged one.
pub fn hash_image(bytes: &[u8]) -> [u8; 32] {
    let content = bytes.len().saturating_sub(TRAILER);
    *blake3::hash(&bytes[..content]).as_bytes()
}

/// The sections of an image, in file order, after verifying every checksum of the frame.
pub fn list_sections(bytes: &[u8]) -> Result<Vec<Section>> {
    let sections = frame::read_frame(bytes)?;
    let list = sections.iter().map(|section| {
        Ok(Section {
            id: section.kind.id(),
            name: section.kind.name(),
            offset: section.offset as u64,
            length: section.bytes.len() as u64,
            crc32: section.crc32,
            n_records: record::count_records(section)?,
        })
    });
    list.collect()
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use super::{decode_image, encode_image, hash_image, list_sections};
    use crate::frame::TRAILER;
    use crate::layout::Image;
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
        assert_eq!(
            names,
            ["provenance", "chip", "steps", "outputs", "constants", "layers", "tiles"]
        );
        let counts: Vec<_> = sections.iter().map(|section| section.n_records).collect();
        assert_eq!(counts, [1, 1, 29, 1, 9, 2, 3]);
        for pair in sections.windows(2) {
            assert_eq!(pair[0].offset + pair[0].length, pair[1].offset);
        }
        let last = &sections[sections.len() - 1];
        assert_eq!(last.offset + last.length, (bytes.len() - TRAILER) as u64);
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
}
