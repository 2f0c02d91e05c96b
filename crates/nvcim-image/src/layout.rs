//! What an image says, and the table of contents that its bytes begin with.

use nvcim_chip::describe::Chip;
use nvcim_ir::programmed::ProgrammedNet;

/// Everything a chip, or its simulator, is told about one network.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The chip that the network was compiled for.
    pub chip: Chip,
    /// The network as the chip runs it.
    pub net: ProgrammedNet,
    /// How the image came to be.
    pub provenance: Provenance,
}

/// How an image came to be. No clock, path or host name: the same inputs give the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// Version of the toolchain that compiled it.
    pub tool_version: String,
    /// BLAKE3 of the ONNX file.
    pub model_hash: [u8; 32],
    /// BLAKE3 of the calibration data; `None` for worst-case ranges.
    pub calibration_hash: Option<[u8; 32]>,
    /// The die that it was compiled for; `None` for every die of the design.
    pub die: Option<DieStamp>,
    /// The corrections that were made, in order.
    pub corrections: Vec<String>,
    /// The effects that were present when the die was measured, in order.
    pub effects: Vec<String>,
    /// Seconds after programming at which the die was measured; finite, at least 0.
    pub at_s: f64,
}

/// Which die an image was compiled for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DieStamp {
    /// Name or serial number.
    pub name: String,
    /// The seed that drew it; `None` for a real die.
    pub seed: Option<u64>,
    /// BLAKE3 of the canonical die file.
    pub hash: [u8; 32],
}

/// One entry of an image's section table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The section's number in the table.
    pub id: u32,
    /// The section's name in messages and in the format's description.
    pub name: &'static str,
    /// Its first byte, from the start of the image.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// CRC32 of its bytes.
    pub crc32: u32,
    /// The number of records in it.
    pub n_records: u32,
}
