//! Image to bytes and back.
//!
//! Writing is a pure function of the image: the same image gives the same bytes on every machine.
//! Reading trusts nothing: checksums first, then each record within its limit, then the verifier, against
//! the chip that the image itself describes.

use bincode::Encode;
use nvcim_chip::file;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::program::Program;
use nvcim_ir::programmed::{self, ProgrammedNet};

use crate::frame::{self, FrameWriter, REMEDY, TRAILER};
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
        return Err(Diagnostic::internal(format!("chip `{}`", chip.name), message).into());
    }
    let mut frame = FrameWriter::new();
    let provenance = [Ok(StoredProvenance::store(provenance))];
    frame.add(write::<_, { Kind::Provenance.record_limit() }>(provenance))?;
    let chip = [Ok(StoredChip::store(&text))];
    frame.add(write::<_, { Kind::Chip.record_limit() }>(chip))?;
    let steps = steps.iter().map(StoredStep::store);
    frame.add(write::<_, { Kind::Steps.record_limit() }>(steps))?;
    let outputs = [Ok(StoredOutputs::store(outputs))];
    frame.add(write::<_, { Kind::Outputs.record_limit() }>(outputs))?;
    let consts = consts.iter().map(StoredConstant::store);
    frame.add(write::<_, { Kind::Constants.record_limit() }>(consts))?;
    let layers = layers.iter().map(StoredLayer::store);
    frame.add(write::<_, { Kind::Layers.record_limit() }>(layers))?;
    let tiles = tiles.iter().map(|tile| StoredTile::store(tile, n_levels));
    frame.add(write::<_, { Kind::Tiles.record_limit() }>(tiles))?;
    Ok(frame.finish())
}

/// What appends a section's records to an image.
fn write<T: Encode, const LIMIT: usize>(
    items: impl IntoIterator<Item = std::result::Result<T, String>>,
) -> impl FnOnce(Kind, &mut Vec<u8>) -> Result<()> {
    |kind, bytes| write_records::<T, LIMIT>(kind, items, bytes)
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

/// The format version that [`encode_image`] writes, the only one that [`decode_image`] reads.
pub const FORMAT_VERSION: u32 = crate::frame::VERSION;

/// Whether a file means to be an image. The line end in the magic is left out: a transfer that mangled
/// it made a damaged image, which is worth saying.
pub fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(crate::frame::MAGIC.trim_ascii_end())
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
