//! What a study has measured, by key, and the file that keeps it.

use std::collections::BTreeMap;

use nvcim_ir::diag::{Diagnostic, Result};
use serde_json::{Value, json};

use crate::study::agenda::{Agenda, Job};
use crate::study::ledger::Ledger;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Images whose class is right.
    pub right: usize,
    /// Images that were run.
    pub images: usize,
}

impl Measured {
    /// The accuracy in percent.
    pub fn percent(self) -> f64 {
        100.0 * self.right as f64 / self.images.max(1) as f64
    }
}

/// Measurements by key. Each is a line of JSON that also says in words what it is.
#[derive(Debug, Default)]
pub struct Results {
    lines: BTreeMap<String, Value>,
    ledger: Ledger,
}

impl Results {
    /// Results of earlier runs, and where new ones are noted.
    pub fn new(lines: Vec<Value>, ledger: Ledger) -> Self {
        let mut results = Self { lines: BTreeMap::new(), ledger };
        results.take_in(lines);
        results
    }

    /// Takes lines in, without noting them. Of two with one key the later counts.
    pub fn take_in(&mut self, lines: Vec<Value>) {
        let keyed = lines.into_iter().filter_map(|line| {
            parse(&line)?;
            Some((line.get("key")?.as_str()?.to_owned(), line))
        });
        self.lines.extend(keyed);
    }

    /// What was measured under this key.
    pub fn get(&self, key: &str) -> Option<Measured> {
        parse(self.lines.get(key)?)
    }

    /// What was measured under this key, in percent.
    pub fn percent(&self, key: &str) -> Option<f64> {
        self.get(key).map(Measured::percent)
    }

    /// Notes a measurement, in the file first.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn add(&mut self, agenda: &Agenda, job: Job, key: &str, measured: Measured) -> Result<()> {
        let line = write(agenda, job, key, measured);
        let failed = |error: std::io::Error| {
            Diagnostic::bad_input("results", format!("cannot be written: {error}"))
        };
        self.ledger.add(&line).map_err(failed)?;
        self.lines.insert(key.to_owned(), line);
        Ok(())
    }

    /// Gives the file back: nothing is noted from now on.
    pub fn close(&mut self) {
        self.ledger = Ledger::default();
    }

    /// All lines: those of the agenda in its order, then what is left of others. The same results give the same
    /// bytes, in whatever order they came.
    pub fn write(&self, agenda: &Agenda) -> String {
        let jobs = agenda.jobs();
        let asked = jobs.iter().filter_map(|(_, key)| self.lines.get_key_value(*key));
        let mut ordered: Vec<_> = asked.collect();
        let known: std::collections::BTreeSet<_> = jobs.iter().map(|(_, key)| *key).collect();
        ordered.extend(self.lines.iter().filter(|(key, _)| !known.contains(key.as_str())));
        ordered.iter().map(|(_, line)| format!("{line}\n")).collect()
    }
}

fn write(agenda: &Agenda, job: Job, key: &str, measured: Measured) -> Value {
    let Measured { right, images } = measured;
    let mut line = json!({ "key": key, "right": right, "images": images });
    let place = |line: &mut Value, cell: usize| {
        let cell = &agenda.cells[cell];
        line["network"] = agenda.networks[cell.network].name.as_str().into();
        line["chip"] = agenda.chips[cell.chip].name.as_str().into();
    };
    match job {
        Job::Float { network } => {
            line["network"] = agenda.networks[network].name.as_str().into();
            line["method"] = "float".into();
        }
        Job::Control { cell } => {
            place(&mut line, cell);
            line["method"] = "control in float".into();
        }
        Job::Method { cell, method, die } => {
            place(&mut line, cell);
            line["method"] = agenda.cells[cell].methods[method].0.name().into();
            line["die"] = die.into();
        }
        Job::Effects { cell, count, die } => {
            place(&mut line, cell);
            let effects = &agenda.chips[agenda.cells[cell].chip].effects[..count];
            line["method"] = format!("naive, effects: {}", effects.join(" ")).into();
            line["die"] = die.into();
        }
    }
    line
}

fn parse(line: &Value) -> Option<Measured> {
    let count = |name: &str| usize::try_from(line.get(name)?.as_u64()?).ok();
    let (right, images) = (count("right")?, count("images")?);
    (right <= images && images > 0).then_some(Measured { right, images })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Ledger, Measured, Results};

    #[test]
    fn broken_lines_do_not_count_and_later_ones_win() {
        let line = |right: usize| json!({"key": "a", "right": right, "images": 10});
        let lines = vec![line(3), json!({"key": "b", "right": 11, "images": 10}), line(4)];
        let results = Results::new(lines, Ledger::default());
        assert_eq!(results.get("a"), Some(Measured { right: 4, images: 10 }));
        assert_eq!(results.percent("a"), Some(40.0));
        assert_eq!(results.get("b"), None);
    }
}
