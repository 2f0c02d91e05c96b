//! Runs what the recovery table lacks: every die compiled for and simulated, several dies at a time.
//!
//! A die is one thread's work from compilation to accuracy, so that compile times are those of one core
//! and memory grows with the number of threads, not of dies.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use cpu_time::ThreadTime;
use nvcim::describe::Chip;
use nvcim::diag::{Diagnostic, Result};
use nvcim::effects::EffectSet;
use nvcim::file::hash_chip;
use nvcim::layout::Image;
use nvcim::plan::Plan;
use nvcim::study::work::{lock, run_all};
use nvcim::study::{self, cell::Cell};
use nvcim::verify::float_accuracy;

use crate::recovery::cases::Case;
use crate::recovery::networks::{Network, Opened};
use crate::recovery::results::{Key, Measured, Results};
use crate::recovery::table::{Row, Subject};

/// Corrections under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// How the table calls them.
    pub name: String,
    /// What they are.
    pub plan: Plan,
}

impl Method {
    /// The mapping without corrections, whose image all dies share.
    pub const NAIVE: &str = "naive";

    /// Reads `naive`, a level of `--correct`, or a list without commas (`+closest+ranges`, `full-arrays`).
    ///
    /// # Errors
    /// Whatever the plan reports.
    pub fn parse(text: &str) -> Result<Self> {
        let spelled = match text {
            Self::NAIVE => "none".to_owned(),
            list => list.replace('+', ",+").replace('-', ",-"),
        };
        let plan = Plan::parse(spelled.trim_start_matches(','))?;
        Ok(Self { name: text.to_owned(), plan })
    }
}

/// What to measure.
#[derive(Debug)]
pub struct Study {
    /// Cases, in the order of the table.
    pub cases: Vec<Case>,
    /// Networks, in the order of the table.
    pub networks: Vec<Network>,
    /// Methods, naive first.
    pub methods: Vec<Method>,
    /// Dies 0 to this, exclusive.
    pub dies: u64,
    /// Test images, where not as many as the network's own.
    pub images: Option<usize>,
    /// Dies worked on at once.
    pub jobs: usize,
    /// Version of the corrections, part of every result's key.
    pub tag: String,
    /// The folder with networks and data.
    pub shared: PathBuf,
}

/// One network on the chip of one case.
struct Bench<'a> {
    case: &'a Case,
    network: &'a Network,
    opened: &'a Opened,
    chip: Chip,
    images: usize,
}

/// One method on one die.
type Task<'a> = (&'a Method, u64);

impl Study {
    /// Measures what `results` lacks. `row` takes every row of the table when it is known, `progress` a
    /// line for every die.
    ///
    /// # Errors
    /// Missing or broken files, and whatever compilation or simulation reports.
    pub fn run(
        &self,
        results: Results,
        row: &mut dyn FnMut(&str),
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<()> {
        let results = Mutex::new(results);
        for network in &self.networks {
            let images = self.images.unwrap_or(network.images);
            let opened = &network.open(&self.shared, images)?;
            let images = opened.data.len();
            let float = labelled(float_accuracy(&opened.model, &opened.data)?)?;
            for case in &self.cases {
                let bench = Bench { case, network, opened, chip: case.open_chip()?, images };
                self.measure(&bench, &results, progress)?;
                self.print_rows(&bench, float, &lock(&results), row);
            }
        }
        Ok(())
    }

    /// Measures what is missing of one case and network.
    fn measure(
        &self,
        bench: &Bench<'_>,
        results: &Mutex<Results>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        let missing: Vec<Task<'_>> = (0..self.dies)
            .flat_map(|die| self.methods.iter().map(move |method| (method, die)))
            .filter(|&(method, die)| {
                let key = self.key(bench, method, die);
                lock(results).get(&key).is_none() && seen.insert(key)
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let naive = &bench.cell().compile_naive()?.output.image;
        run_all(missing.into_iter(), self.jobs, &|(method, die)| {
            let measured = bench.run(naive, method, die)?;
            progress(&bench.describe(method, die, measured));
            let failed =
                |error: std::io::Error| Diagnostic::bad_input("results", error.to_string());
            Ok(lock(results).add(self.key(bench, method, die), measured).map_err(failed)?)
        })
    }

    /// What a measurement is filed under: one key for all that must come out the same.
    fn key(&self, bench: &Bench<'_>, method: &Method, die: u64) -> Key {
        let hash = hash_chip(&bench.chip);
        let die = if bench.chip.dies_are_alike() { 0 } else { die };
        Key {
            tag: self.tag.clone(),
            case: bench.case.name.to_owned(),
            chip: hash[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
            network: bench.network.name.to_owned(),
            method: effective_method(&bench.chip, &method.name).to_owned(),
            die,
            images: bench.images,
        }
    }

    fn print_rows(
        &self,
        bench: &Bench<'_>,
        float: f64,
        results: &Results,
        row: &mut dyn FnMut(&str),
    ) {
        let find = |method: &Method| -> Option<Vec<Measured>> {
            (0..self.dies).map(|die| results.get(&self.key(bench, method, die))).collect()
        };
        let accuracies = |name: &str| {
            let method = self.methods.iter().find(|method| method.name == name)?;
            Some(find(method)?.iter().map(|it| it.accuracy).collect::<Vec<_>>())
        };
        let (naive, lab) = (accuracies(Method::NAIVE).unwrap_or_default(), accuracies("lab"));
        let subject = Subject {
            case: bench.case.name,
            network: bench.network.name,
            images: bench.images,
            float,
            limit: bench.case.limit(bench.network.family),
            naive: &naive,
            lab: lab.as_deref(),
        };
        for method in &self.methods {
            let measured = find(method).unwrap_or_default();
            let accuracies: Vec<f64> = measured.iter().map(|it| it.accuracy).collect();
            let spent: Option<Vec<f64>> = measured.iter().map(|it| it.compile_s).collect();
            let compile_s = spent.map(|all| all.iter().sum::<f64>() / all.len() as f64);
            if let Some(summed) = Row::new(&subject, &accuracies) {
                row(&summed.print(&subject, &method.name, compile_s));
            }
        }
    }
}

impl Bench<'_> {
    fn cell(&self) -> Cell<'_> {
        let Opened { model, calibration, data } = self.opened;
        let &Case { corrected_at_s, used_at_s, .. } = self.case;
        let chip = &self.chip;
        Cell { model, calibration, data, chip, corrected_at_s, used_at_s, run_seed: 0 }
    }

    /// Compiles for a die where the method corrects anything, and runs the images on it.
    fn run(&self, naive: &Image, method: &Method, die: u64) -> Result<Measured> {
        let cell = self.cell();
        let die = cell.draw_die(naive, die);
        let start = ThreadTime::now();
        let corrected = match method.plan {
            Plan::NONE => None,
            plan => Some(cell.compile_for(&die, plan)?.output.image),
        };
        let compile_s = corrected.is_some().then(|| start.elapsed().as_secs_f64());
        let image = corrected.as_ref().unwrap_or(naive);
        let right = cell.count_right(image, &die, EffectSet::ALL)?;
        Ok(Measured { accuracy: 100.0 * right as f64 / self.images as f64, compile_s })
    }

    fn describe(&self, method: &Method, die: u64, measured: Measured) -> String {
        let compiled =
            measured.compile_s.map(|seconds| format!(", compiled in {seconds:.2} CPU s"));
        format!(
            "{}, {}, {}, die {die}: {:.2} %{}",
            self.case.name,
            self.network.name,
            method.name,
            measured.accuracy,
            compiled.unwrap_or_default()
        )
    }
}

/// The method whose image another one compiles too, as studies know them; others stand for themselves.
fn effective_method<'a>(chip: &Chip, method: &'a str) -> &'a str {
    study::method::Method::find(method).map_or(method, |known| known.on_chip(chip).name())
}

/// A line of progress with the seconds since a start before it.
pub fn stamp(start: Instant, line: &str) -> String {
    format!("[{:7.1} s] {line}", start.elapsed().as_secs_f64())
}

fn labelled(accuracy: Option<f64>) -> Result<f64> {
    accuracy.ok_or_else(|| Diagnostic::bad_input("images", "have no labels").into())
}

#[cfg(test)]
mod tests {
    use nvcim::describe::Chip;
    use nvcim::plan::Plan;

    use super::{Method, effective_method};
    use crate::recovery::cases::CASES;

    #[test]
    fn only_what_differs_is_measured() {
        let chips =
            CASES.map(|case| (case.name, case.open_chip().unwrap_or_else(|e| panic!("{e:?}"))));
        let named = |holds: &dyn Fn(&_) -> bool| -> Vec<_> {
            chips.iter().filter(|(_, chip)| holds(chip)).map(|(name, _)| *name).collect()
        };
        assert_eq!(named(&Chip::dies_are_alike), ["wires-separate", "wires-interleaved", "adc-4"]);
        let idle = |chip: &_| effective_method(chip, "closest") == Method::NAIVE;
        let rest = ["columns", "drift-refresh", "drift-never"];
        assert_eq!(
            named(&idle),
            [&["wires-separate", "wires-interleaved", "adc-4"][..], &rest].concat()
        );
        assert!(chips.iter().all(|(_, chip)| effective_method(chip, "full") == "full"));
    }

    #[test]
    fn methods_are_levels_or_lists_without_commas() {
        let parse = |text| Method::parse(text).map(|method| method.plan);
        assert_eq!(parse("naive"), Ok(Plan::NONE));
        assert_eq!(parse("lab"), Plan::parse("lab"));
        let list = Plan::parse("+closest,+ranges");
        assert_eq!(parse("+closest+ranges"), list);
        assert_eq!(parse("full-arrays"), Plan::parse("full,-arrays"));
        assert!(parse("closest,ranges").is_err());
    }
}
