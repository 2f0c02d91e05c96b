//! Accuracies that have been measured, one line of JSON each, so that a run that was stopped goes on.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use nvcim::diag::Result;
use nvcim::study::ledger::Ledger;
use serde_json::{Value, json};

/// What tells one measurement from every other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Version of the corrections, as the caller names it.
    pub tag: String,
    /// Name of the case.
    pub case: String,
    /// Start of the chip's hash, so that a changed chip is measured anew.
    pub chip: String,
    /// Name of the network.
    pub network: String,
    /// Name of the method.
    pub method: String,
    /// Seed of the die.
    pub die: u64,
    /// Test images, from the start of the set.
    pub images: usize,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Accuracy in percent.
    pub accuracy: f64,
    /// CPU seconds that the compilation for this die took; `None` for an image that all dies share.
    pub compile_s: Option<f64>,
}

/// Measurements by key, and the file that every new one is appended to.
#[derive(Debug, Default)]
pub struct Results {
    measured: BTreeMap<Key, Measured>,
    ledger: Ledger,
}

impl Results {
    /// Reads what a file holds and appends to it from now on; the file is made where it is missing.
    ///
    /// A line that does not read, such as the last one of a run that was killed, is passed over.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that another run is writing.
    pub fn open(path: &Path) -> Result<Self> {
        let (lines, ledger) = Ledger::open(path)?;
        Ok(Self { measured: lines.iter().filter_map(parse_line).collect(), ledger })
    }

    /// What was measured under this key.
    pub fn get(&self, key: &Key) -> Option<Measured> {
        self.measured.get(key).copied()
    }

    /// Notes a measurement, in the file first.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn add(&mut self, key: Key, measured: Measured) -> io::Result<()> {
        self.ledger.add(&write_line(&key, measured))?;
        self.measured.insert(key, measured);
        Ok(())
    }
}

fn write_line(key: &Key, measured: Measured) -> Value {
    let Key { tag, case, chip, network, method, die, images } = key;
    let Measured { accuracy, compile_s } = measured;
    json!({
        "tag": tag, "case": case, "chip": chip, "network": network, "method": method, "die": die,
        "images": images, "accuracy": accuracy, "compile_s": compile_s,
    })
}

fn parse_line(value: &Value) -> Option<(Key, Measured)> {
    let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
    let key = Key {
        tag: text("tag")?,
        case: text("case")?,
        chip: text("chip")?,
        network: text("network")?,
        method: text("method")?,
        die: value.get("die")?.as_u64()?,
        images: value.get("images")?.as_u64()?.try_into().ok()?,
    };
    let accuracy = value.get("accuracy")?.as_f64()?;
    let compile_s = value.get("compile_s").and_then(Value::as_f64);
    Some((key, Measured { accuracy, compile_s }))
}

#[cfg(test)]
mod tests {
    use super::{Key, Measured, Results, parse_line, write_line};

    fn key() -> Key {
        Key {
            tag: "t".into(),
            case: "stuck-a".into(),
            chip: "0a1b".into(),
            network: "lenet".into(),
            method: "+box+scale".into(),
            die: 7,
            images: 10_000,
        }
    }

    #[test]
    fn lines_read_back_as_they_were_written() {
        for compile_s in [None, Some(0.125)] {
            let measured = Measured { accuracy: 98.75, compile_s };
            let line = write_line(&key(), measured);
            assert_eq!(parse_line(&line), Some((key(), measured)));
            let mut without = line.clone();
            without.as_object_mut().unwrap().remove("accuracy");
            assert_eq!(parse_line(&without), None);
        }
    }

    #[test]
    fn a_killed_run_goes_on_after_its_broken_line() {
        let name = format!("nvcim-results-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        let measured = Measured { accuracy: 50.0, compile_s: None };
        let line = write_line(&key(), measured).to_string();
        std::fs::write(&path, format!("{line}\n{}", &line[..20])).unwrap();
        let other = Key { die: 8, ..key() };
        let mut results = Results::open(&path).unwrap();
        assert_eq!((results.get(&key()), results.get(&other)), (Some(measured), None));
        results.add(other.clone(), measured).unwrap();
        drop(results);
        let again = Results::open(&path).unwrap();
        assert_eq!((again.get(&key()), again.get(&other)), (Some(measured), Some(measured)));
        std::fs::remove_file(&path).unwrap();
    }
}
