//! Chips by preset name or file.

use std::fs;

use nvcim_chip::describe::Chip;
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
