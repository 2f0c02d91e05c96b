//! Runs what the recovery table lacks: every die compiled for and simulated, several dies at a time.
//!
//! A die is one thread's work from compilation to accuracy, so that compile times are those of one core
//! and memory grows with the number of threads, not of dies.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use cpu_time::ThreadTime;
use nvcim::conditions::Conditions;
use nvcim::describe::Chip;
use nvcim::diag::{Diagnostic, Result};
use nvcim::effects::EffectSet;
use nvcim::file::hash_chip;
use nvcim::layout::Image;
use nvcim::pipeline::{CompileOptions, Compiled, compile_model};
use nvcim::plan::Plan;
use nvcim::record::DieRecord;
use nvcim::simulate::{DieChoice, load_image, resolve_die, run_data};
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
        let missing: Vec<Task<'_>> = (0..self.dies)
            .flat_map(|die| self.methods.iter().map(move |method| (method, die)))
            .filter(|&(method, die)| lock(results).get(&self.key(bench, method, die)).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let naive = &bench.compile(None, Plan::NONE)?.image;
        let tasks = Mutex::new(missing.into_iter());
        let problems = Mutex::new(Vec::new());
        let work = || -> Result<()> {
            loop {
                let next = lock(&tasks).next();
                let Some((method, die)) = next else { return Ok(()) };
                let measured = on_one_core(|| bench.run(naive, method, die))?;
                progress(&bench.describe(method, die, measured));
                let key = self.key(bench, method, die);
                let failed =
                    |error: std::io::Error| Diagnostic::bad_input("results", error.to_string());
                lock(results).add(key, measured).map_err(failed)?;
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    if let Err(found) = work() {
                        // Nobody starts another die once one has failed.
                        lock(&tasks).by_ref().for_each(drop);
                        lock(&problems).extend(found);
                    }
                });
            }
        });
        let problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
        nvcim::diag::fail_if_any(problems)
    }

    fn key(&self, bench: &Bench<'_>, method: &Method, die: u64) -> Key {
        let hash = hash_chip(&bench.chip);
        Key {
            tag: self.tag.clone(),
            case: bench.case.name.to_owned(),
            chip: hash[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
            network: bench.network.name.to_owned(),
            method: method.name.clone(),
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
    fn compile(&self, die: Option<&DieRecord>, plan: Plan) -> Result<Compiled> {
        let conditions = conditions_at(self.case.corrected_at_s);
        let &Case { corrected_at_s, used_at_s, .. } = self.case;
        let use_s = (corrected_at_s != used_at_s).then_some([used_at_s; 2]);
        let calibration = Some(&self.opened.calibration);
        let options =
            CompileOptions { die, calibration, plan, conditions, base: None, use_s, pack: None };
        Ok(compile_model(&self.opened.model, &self.chip, &options)?.output)
    }

    /// Compiles for a die where the method corrects anything, and runs the images on it.
    fn run(&self, naive: &Image, method: &Method, die: u64) -> Result<Measured> {
        let die = resolve_die(naive, DieChoice::Seed(die));
        let start = ThreadTime::now();
        let corrected = match method.plan {
            Plan::NONE => None,
            plan => Some(self.compile(Some(&die), plan)?.image),
        };
        let compile_s = corrected.is_some().then(|| start.elapsed().as_secs_f64());
        let image = corrected.as_ref().unwrap_or(naive);
        let machine = load_image(image, &die, conditions_at(self.case.used_at_s))?;
        let run = run_data(&machine, &self.opened.data, &|_| ())?;
        Ok(Measured { accuracy: labelled(run.accuracy)?, compile_s })
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

/// Every effect, so many seconds after programming.
fn conditions_at(at_s: f64) -> Conditions {
    Conditions { effects: EffectSet::ALL, at_s, extrapolate: false, run_seed: 0 }
}

/// Runs work and everything that it hands to other threads on one thread of its own.
///
/// # Panics
/// Without room for one more thread.
pub fn on_one_core<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.expect("a machine that runs this has room for one more thread").install(work)
}

/// A line of progress with the seconds since a start before it.
pub fn stamp(start: Instant, line: &str) -> String {
    format!("[{:7.1} s] {line}", start.elapsed().as_secs_f64())
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn labelled(accuracy: Option<f64>) -> Result<f64> {
    accuracy.ok_or_else(|| Diagnostic::bad_input("images", "have no labels").into())
}

#[cfg(test)]
mod tests {
    use nvcim::plan::Plan;

    use super::Method;

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
