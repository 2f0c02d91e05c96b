//! What a file is: an image, a chip, a die, an ONNX model, or an `.npz`.

use nvcim_chip::file;
use nvcim_image::codec;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};

use crate::model::Model;

/// A file's kind and what it holds.
#[derive(Debug, Clone)]
pub enum Contents {
    /// A deployment image; every checksum was verified.
    Image(Box<Image>),
    /// A chip description.
    Chip(Box<nvcim_chip::describe::Chip>),
    /// A die file: its name and number of arrays cannot be trusted without its chip.
    Die,
    /// An ONNX model and its operators with their counts, most frequent first.
    Onnx(Vec<(String, usize)>),
    /// A NumPy archive.
    Npz,
}

impl Contents {
    /// The kind's name in text and JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Contents::Image(_) => "image",
            Contents::Chip(_) => "chip",
            Contents::Die => "die",
            Contents::Onnx(_) => "onnx",
            Contents::Npz => "npz",
        }
    }

    /// The version of the file's format, as its kind counts it.
    pub fn version(&self) -> u64 {
        match self {
            Contents::Image(_) => u64::from(codec::FORMAT_VERSION),
            Contents::Chip(_) | Contents::Die | Contents::Npz => 1,
            // The ONNX IR version has no bearing on what is read; operators carry the meaning.
            Contents::Onnx(_) => 0,
        }
    }
}

/// BLAKE3 of a file; of an image the hash that names it, which stands in its last bytes.
pub fn hash_contents(contents: &Contents, bytes: &[u8]) -> [u8; 32] {
    match contents {
        Contents::Image(_) => codec::hash_image(bytes),
        Contents::Chip(_) | Contents::Die | Contents::Onnx(_) | Contents::Npz => {
            blake3::hash(bytes).into()
        }
    }
}

/// Finds out what `bytes` are, and checks them whole.
///
/// # Errors
/// Nothing known, or damage.
pub fn inspect_bytes(place: &str, bytes: &[u8]) -> Result<Contents> {
    let named = |problems: Vec<Diagnostic>| -> Vec<Diagnostic> {
        problems.into_iter().map(|problem| problem.within(place)).collect()
    };
    if codec::is_image(bytes) {
        return Ok(Contents::Image(Box::new(codec::decode_image(bytes).map_err(named)?)));
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Ok(Contents::Npz);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.lines().any(|line| line.trim_start().starts_with("schema"))
    {
        let is_die = text.lines().any(|line| {
            let line: String = line.split_whitespace().collect();
            line == "kind=\"die\"" || line.starts_with("kind=\"die\"#")
        });
        return if is_die {
            Ok(Contents::Die)
        } else {
            Ok(Contents::Chip(Box::new(file::parse_chip(text, place)?.output)))
        };
    }
    let survey = Model::from_bytes(place, bytes).survey().map_err(|problems| {
        let hint = "known kinds: image, chip, die, ONNX model, `.npz`";
        problems.into_iter().map(|problem| problem.hint(hint)).collect::<Vec<_>>()
    })?;
    let mut counts = std::collections::BTreeMap::new();
    for node in survey.nodes {
        *counts.entry(node.op_type).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(Contents::Onnx(counts))
}
