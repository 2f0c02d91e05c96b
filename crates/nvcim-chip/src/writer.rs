//! Writes the canonical TOML of this crate's files: one key a line, in the order given.

use std::fmt::{Debug, Write};

/// TOML text under construction.
#[derive(Default)]
pub(crate) struct Writer {
    text: String,
}

impl Writer {
    /// A file of this kind, with its header.
    pub(crate) fn new(kind: &str) -> Self {
        let mut writer = Self::default();
        writer.value("schema", 1);
        writer.text("kind", kind);
        writer
    }

    /// Starts the table with this dotted key.
    pub(crate) fn section(&mut self, path: &str) {
        self.line(format_args!("\n[{path}]"));
    }

    /// An integer, float or flag; floats in the shortest form that reads back the same.
    pub(crate) fn value(&mut self, key: &str, value: impl Debug) {
        self.line(format_args!("{key} = {value:?}"));
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &str, text: &str) {
        self.line(format_args!("{key} = {}", quote(text)));
    }

    /// A value that stands as it will be read.
    pub(crate) fn raw(&mut self, key: &str, value: &str) {
        self.line(format_args!("{key} = {value}"));
    }

    /// A list with one entry a line.
    pub(crate) fn list(&mut self, key: &str, entries: impl Iterator<Item = String>) {
        self.line(format_args!("{key} = ["));
        entries.for_each(|entry| self.line(format_args!("  {entry},")));
        self.line(format_args!("]"));
    }

    /// A text under a key that may hold any character.
    pub(crate) fn quoted(&mut self, key: &str, text: &str) {
        self.line(format_args!("{} = {}", quote(key), quote(text)));
    }

    /// The text written so far.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// One line, as it stands.
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes any text");
    }
}

/// A basic TOML string.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(control)).expect("a String takes any text");
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}
