//! A file of JSON lines that grows by whole lines, so that a run that was killed goes on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use nvcim_ir::diag::{Diagnostic, Result};
use serde_json::Value;

/// The file that every new line is appended to; none keeps nothing.
#[derive(Debug, Default)]
pub struct Ledger {
    file: Option<File>,
}

impl Ledger {
    /// Reads what a file holds and appends to it from now on; the file is made where it is missing.
    ///
    /// A line that does not read, such as the last one of a run that was killed, is passed over. The file is
    /// locked for as long as the ledger lives.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that another run is writing.
    pub fn open(path: &Path) -> Result<(Vec<Value>, Self)> {
        let failed =
            |error: io::Error| Diagnostic::bad_input(path.display().to_string(), error.to_string());
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let hint = "wait for it, or give each run a folder of its own and merge them";
                let message = "is being written by another run";
                return Err(Diagnostic::bad_input(path.display().to_string(), message)
                    .hint(hint)
                    .into());
            }
            Err(TryLockError::Error(error)) => return Err(failed(error).into()),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(failed)?;
        }
        Ok((parse_lines(&text), Self { file: Some(file) }))
    }

    /// Appends a line, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn add(&mut self, line: &Value) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
    }
}

/// The lines of a text that are JSON.
pub fn parse_lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Ledger;

    #[test]
    fn a_killed_run_goes_on_after_its_broken_line() {
        let name = format!("nvcim-ledger-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "{\"a\":1}\n{\"a\":").unwrap();
        let (lines, mut ledger) = Ledger::open(&path).unwrap();
        assert_eq!(lines, [json!({"a": 1})]);
        ledger.add(&json!({"a": 2})).unwrap();
        assert!(Ledger::open(&path).unwrap_err()[0].message.contains("another run"));
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().0, [json!({"a": 1}), json!({"a": 2})]);
        std::fs::remove_file(&path).unwrap();
    }
}
