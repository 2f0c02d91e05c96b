//! Chips by preset name or file, and what they do in words.

use std::fs;

use nvcim_chip::describe::{Chip, PairAxis, SignCoding};
use nvcim_chip::{file, presets};
use nvcim_ir::diag::{Diagnostic, Result, Warned};

/// Finds a chip: a preset's name, or a TOML file.
///
/// # Errors
/// An unknown name, an unreadable file, or a description with problems.
pub fn open_chip(spec: &str) -> Result<Warned<Chip>> {
    if !spec.ends_with(".toml") && !spec.contains(['/', '\\']) {
        return presets::find_preset(spec).map(Warned::clean);
    }
    let text = fs::read_to_string(spec).map_err(|error| {
        Diagnostic::bad_input(spec, error.to_string())
            .hint("give a preset's name (`nvcim chip list`) or a TOML file")
    })?;
    file::parse_chip(&text, spec)
}

/// What holds a weight, to follow "a weight is": "a pair of cells on neighbouring bit lines".
pub fn describe_weights(chip: &Chip) -> String {
    let weights = &chip.weights;
    let paired = weights.sign == SignCoding::Pairs;
    let n_slices = weights.significance.len();
    let cells = match (paired, n_slices) {
        (true, 1) => "a pair of cells".to_owned(),
        (true, n) => format!("{n} pairs of cells"),
        (false, 1) => "one cell".to_owned(),
        (false, n) => format!("{n} cells"),
    };
    let place = match (weights.sign, chip.arrays.pairs) {
        (SignCoding::Pairs, PairAxis::Columns) => "on neighbouring bit lines",
        (SignCoding::Pairs, PairAxis::Rows) => "on neighbouring word lines",
        (SignCoding::Pairs, PairAxis::Arrays) => "on two arrays",
        (SignCoding::OffsetDigital, _) => "with an offset that is taken off digitally",
        (SignCoding::OffsetColumn, _) => "against a reference column",
    };
    let slices = match weights.bits_per_slice {
        Some(bits) => format!(", with digits of {bits} bits"),
        None if n_slices > 1 => ", which share it".to_owned(),
        None => String::new(),
    };
    format!("{cells} {place}{slices}")
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::{PairAxis, SignCoding};
    use nvcim_chip::presets::find_preset;

    use super::describe_weights;

    #[test]
    fn weights_are_described_as_they_are_held() {
        let mut chip = find_preset("ideal").unwrap();
        assert_eq!(describe_weights(&chip), "a pair of cells on neighbouring bit lines");
        chip.arrays.pairs = PairAxis::Arrays;
        chip.weights.significance = vec![1.0; 2];
        assert_eq!(describe_weights(&chip), "2 pairs of cells on two arrays, which share it");
        chip.weights.sign = SignCoding::OffsetColumn;
        chip.weights.bits_per_slice = Some(4);
        let said = "2 cells against a reference column, with digits of 4 bits";
        assert_eq!(describe_weights(&chip), said);
    }
}
