//! What tells one measurement from every other: a hash of all that its result depends on.

use std::ops::Range;

use nvcim_chip::describe::Chip;
use nvcim_chip::file::hash_chip;
use nvcim_ir::diag::Result;

use crate::data::Dataset;
use crate::pipeline::hash_tensor;
use crate::study::cell::{Cell, unlabelled};
use crate::study::method::Method;

/// Version of everything between a model and its accuracy on a die. A change of mapping, corrections or
/// simulation that changes accuracies raises it; what was measured before does not count from then on.
const REVISION: u32 = 1;

/// The same for what concerns coarse converters alone, whose ranges are as narrow as copies that shift them together ask for.
const REVISION_OF_COARSE_RANGES: u32 = 3;

/// The same for what concerns quantised networks alone, whose zero points stay in the digital program.
const REVISION_OF_ZERO_POINTS: u32 = 2;

/// What an ONNX file of a quantised network says somewhere.
const SIGN_OF_ZERO_POINTS: &[u8] = b"DequantizeLinear";

/// The same for what concerns cells that err alone: there, noise says how many copies tiles get.
const REVISION_OF_COPIES: u32 = 2;

/// Hexadecimal digits of a key: as many as keep two from meeting by chance.
const DIGITS: usize = 32;

/// Images hashed at once.
const IMAGES_AT_ONCE: usize = 512;

/// A key under construction: names and values, a line each.
pub(super) struct Key(String);

impl Key {
    /// A key for a network in float, by the hashes of its file and of its test images.
    pub(super) fn of_float(model: &str, data: &str) -> Self {
        let mut key = Self(format!("nvcim study result\nversion {}\n", env!("CARGO_PKG_VERSION")));
        key.line("revision", &REVISION.to_string());
        key.line("model", model);
        key.line("data", data);
        key
    }

    /// A key for a network on a chip, by the hashes of its file and of its test images.
    pub(super) fn of_cell(cell: &Cell<'_>, model: &str, data: &str) -> Self {
        let mut key = Self::of_float(model, data);
        key.line("calibration", &hex(&hash_tensor(cell.calibration)));
        key.line("chip", &hex(&hash_chip(cell.chip)));
        key.line("corrected at", &format!("{:?}", cell.corrected_at_s));
        key.line("used at", &format!("{:?}", cell.used_at_s));
        key.line("run seed", &cell.run_seed.to_string());
        let mut windows = cell.model.bytes.windows(SIGN_OF_ZERO_POINTS.len());
        if windows.any(|it| it == SIGN_OF_ZERO_POINTS) {
            key.line("revision of zero points", &REVISION_OF_ZERO_POINTS.to_string());
        }
        key
    }

    /// The key of one method on one die of a chip.
    pub(super) fn of_method(&self, method: Method, chip: &Chip, die: u64) -> String {
        let plan = method.on_chip(chip).plan().limited_to(chip);
        let mut key = Self(self.0.clone());
        if plan.narrows_ranges(chip) {
            key.line("revision of coarse ranges", &REVISION_OF_COARSE_RANGES.to_string());
        }
        if plan.chooses_copies(chip) {
            key.line("revision of copies", &REVISION_OF_COPIES.to_string());
        }
        key.line("corrections", &plan.names().join(","));
        key.line("die", &first_like(die, chip).to_string());
        key.finish()
    }

    /// The key of the naive mapping on one die of a chip with the effects of these names only.
    pub(super) fn of_effects(&self, effects: &[String], chip: &Chip, die: u64) -> String {
        let mut key = Self(self.0.clone());
        key.line("effects", &effects.join(","));
        key.line("die", &first_like(die, chip).to_string());
        key.finish()
    }

    /// The key of a look into one die.
    pub(super) fn of_exhibit(&self, die: u64) -> String {
        let mut key = Self(self.0.clone());
        key.line("exhibit of die", &die.to_string());
        key.finish()
    }

    /// The key of what is not about a die.
    pub(super) fn finish(&self) -> String {
        hex(blake3::hash(self.0.as_bytes()).as_bytes())[..DIGITS].to_owned()
    }

    fn line(&mut self, name: &str, value: &str) {
        self.0 += &format!("{name} {value}\n");
    }
}

/// The first die of a chip that is the same as `die`.
fn first_like(die: u64, chip: &Chip) -> u64 {
    if chip.dies_are_alike() { 0 } else { die }
}

/// BLAKE3 of test images as the network sees them, and of their labels.
///
/// # Errors
/// Images that do not suit the network, or have no labels.
pub(super) fn hash_data(data: &Dataset, sample: &[usize]) -> Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    for first in (0..data.len()).step_by(IMAGES_AT_ONCE) {
        let range: Range<usize> = first..(first + IMAGES_AT_ONCE).min(data.len());
        hasher.update(&hash_tensor(&data.batch(range, sample)?));
    }
    for label in data.labels(0..data.len()).ok_or_else(unlabelled)? {
        hasher.update(&label.to_le_bytes());
    }
    Ok(hasher.finalize().into())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
