//! Measures what a study's results lack.

use std::str::FromStr;
use std::sync::Mutex;

use nvcim_chip::effects::EffectSet;
use nvcim_chip::record::DieRecord;
use nvcim_correct::plan::Plan;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};

use crate::recovery::summarize;
use crate::study::Study;
use crate::study::agenda::{Agenda, CellItem, Job};
use crate::study::cell::{Cell, unlabelled};
use crate::study::method::Method;
use crate::study::results::{Measured, Results};
use crate::study::shared::{Borrowed, Shared};
use crate::study::work::{lock, run_all};
use crate::verify::float_accuracy;

/// Which part of a study's measurements is done, so that several machines share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Counted from 0.
    at: usize,
    /// Parts in all.
    of: usize,
}

impl Shard {
    /// The whole study.
    pub const WHOLE: Self = Self { at: 0, of: 1 };

    /// Whether this part has the measurement at a place of the agenda.
    pub fn has(self, place: usize) -> bool {
        place % self.of == self.at
    }

    /// Whether this is less than the whole study.
    pub fn is_part(self) -> bool {
        self.of > 1
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `I/N`. Parts may be counted from 1 to N or from 0 to N - 1: part N is part 0.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` is no part of a whole, as in 1/4");
        let (at, of) = text.split_once('/').ok_or_else(wrong)?;
        match (at.trim().parse::<usize>(), of.trim().parse::<usize>()) {
            (Ok(at), Ok(of)) if of > 0 && at <= of => Ok(Self { at: at % of, of }),
            _ => Err(wrong()),
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Measurements done in this run.
    pub done: usize,
    /// Measurements that this run was to do.
    pub total: usize,
    /// The measurement that was done last, in words.
    pub last: String,
}

/// How a study is run.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Measurements done at once, a thread each; results do not depend on it.
    pub jobs: usize,
    /// The part that is done.
    pub shard: Shard,
    /// Hears of every measurement.
    pub progress: &'a (dyn Fn(&Progress) + Sync),
}

/// A run of a study. Jobs come cell by cell and die by die, so that what they share is needed for a short time.
struct Run<'a> {
    study: &'a Study,
    results: Mutex<Results>,
    /// By cell and whether the network is a trained one.
    naive: Shared<(usize, bool), Result<Image>>,
    /// By cell and seed.
    dies: Shared<(usize, u64), DieRecord>,
}

impl Study {
    /// Measures what `results` lacks, and gives all results back. What is done is noted at once.
    ///
    /// # Errors
    /// Whatever compilation or simulation reports; a part of a study that may leave out dies, since no part
    /// knows what the others found.
    pub fn run(&self, results: Results, options: &Options<'_>) -> Result<Results> {
        let Options { jobs, shard, progress } = *options;
        if shard.is_part() && self.agenda.stop.is_some() {
            let message =
                "dies are left out by what all of them show, which no part of a study knows";
            let hint = "run it whole, or drop `[stop]` from the study file";
            return Err(Diagnostic::bad_input("--shard", message).hint(hint).into());
        }
        let asked = self.agenda.jobs().into_iter().enumerate();
        let missing: Vec<_> = asked
            .filter(|(place, (_, key))| shard.has(*place) && results.get(key).is_none())
            .map(|(_, job)| job)
            .collect();
        let total = missing.len();
        let done = Mutex::new(0);
        let run = Run {
            study: self,
            results: Mutex::new(results),
            naive: Shared::new(2 + 2 * jobs),
            dies: Shared::new(2 + jobs),
        };
        let needed = missing.into_iter().filter(|(job, _)| {
            let needed = run.is_needed(*job);
            *lock(&done) += usize::from(!needed);
            needed
        });
        let work = |(job, key): (Job, &str)| {
            let measured = run.measure(job)?;
            lock(&run.results).add(&self.agenda, job, key, measured)?;
            let mut done = lock(&done);
            *done += 1;
            progress(&Progress { done: *done, total, last: self.agenda.describe(job, measured) });
            Ok(())
        };
        run_all(needed, jobs, &work)?;
        Ok(run.results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Run<'_> {
    /// Whether a measurement still says something: dies beyond where a cell may stop do not.
    fn is_needed(&self, job: Job) -> bool {
        match job {
            Job::Method { cell, die, .. } => {
                let stopped = settled(&self.study.agenda, cell, &lock(&self.results));
                stopped.is_none_or(|dies| (die as usize) < dies)
            }
            _ => true,
        }
    }

    fn measure(&self, job: Job) -> Result<Measured> {
        let study = self.study;
        match job {
            Job::Float { network } => {
                let network = &study.networks[network];
                let percent = float_accuracy(&network.model, &network.data)?;
                count_right(percent, network.data.len())
            }
            Job::Control { cell } => {
                let network = &study.networks[study.agenda.cells[cell].network];
                let [_, control] = study.trained.get(&cell).ok_or_else(|| {
                    Diagnostic::internal("study", format!("cell {cell} has no control"))
                })?;
                count_right(float_accuracy(control, &network.data)?, network.data.len())
            }
            Job::Method { cell, method, die } => {
                self.run_method(cell, study.agenda.cells[cell].methods[method].0, die)
            }
            Job::Effects { cell, count, die } => {
                let effects = study.first_effects(study.agenda.cells[cell].chip, count);
                let place = study.cell(cell, false);
                let naive = self.naive_image(cell, false);
                let naive = (*naive).as_ref().map_err(Clone::clone)?;
                let die = self.die(&place, (cell, die), naive);
                let right = place.count_right(naive, &die, effects)?;
                Ok(Measured { right, images: place.data.len() })
            }
        }
    }

    fn run_method(&self, cell: usize, method: Method, die: u64) -> Result<Measured> {
        let place = self.study.cell(cell, method.is_trained());
        let naive = self.naive_image(cell, method.is_trained());
        let naive = (*naive).as_ref().map_err(Clone::clone)?;
        let die = self.die(&place, (cell, die), naive);
        let corrected = match method.plan() {
            Plan::NONE => None,
            plan => Some(place.compile_for(&die, plan)?.output.image),
        };
        let image = corrected.as_ref().unwrap_or(naive);
        let right = place.count_right(image, &die, EffectSet::ALL)?;
        Ok(Measured { right, images: place.data.len() })
    }

    /// The naive image of a cell.
    fn naive_image(&self, cell: usize, trained: bool) -> Borrowed<Result<Image>> {
        let place = self.study.cell(cell, trained);
        self.naive.get((cell, trained), || Ok(place.compile_naive()?.output.image))
    }

    /// A die of a cell: drawing the stuck cells of many arrays takes longer than running images.
    fn die(&self, place: &Cell<'_>, key: (usize, u64), naive: &Image) -> Borrowed<DieRecord> {
        self.dies.get(key, || place.draw_die(naive, key.1))
    }
}

fn count_right(percent: Option<f64>, images: usize) -> Result<Measured> {
    let percent = percent.ok_or_else(unlabelled)?;
    Ok(Measured { right: (percent * images as f64 / 100.0).round() as usize, images })
}

/// How many dies of a cell count: the least at which every method's interval is narrow enough. `None` where
/// dies are not left out, or where no number of dies was enough so far.
pub fn settled(agenda: &Agenda, cell: usize, results: &Results) -> Option<usize> {
    let (half_width, least) = agenda.stop?;
    let cell = &agenda.cells[cell];
    let accuracies = prefixes(cell, results);
    let known = accuracies.iter().map(Vec::len).min().unwrap_or(0);
    (least as usize..=known).find(|&dies| {
        accuracies.iter().all(|all| {
            let summary = summarize(&all[..dies]);
            summary.is_some_and(|it| (it.ci95[1] - it.ci95[0]) / 2.0 <= half_width)
        })
    })
}

/// Per method, the accuracies of dies 0, 1, ... up to the first that is not known.
fn prefixes(cell: &CellItem, results: &Results) -> Vec<Vec<f64>> {
    let known = |keys: &Vec<String>| keys.iter().map_while(|key| results.percent(key)).collect();
    cell.methods.iter().map(|(_, keys)| known(keys)).collect()
}

impl Agenda {
    /// A measurement in words.
    fn describe(&self, job: Job, measured: Measured) -> String {
        let place = |cell: usize| {
            let cell = &self.cells[cell];
            format!("{} on {}", self.networks[cell.network].name, self.chips[cell.chip].name)
        };
        let what = match job {
            Job::Float { network } => format!("{} in float", self.networks[network].name),
            Job::Control { cell } => format!("{}, control in float", place(cell)),
            Job::Method { cell, method, die } => {
                format!("{}, {}, die {die}", place(cell), self.cells[cell].methods[method].0.name())
            }
            Job::Effects { cell, count, die } => {
                format!("{}, naive with {count} effects, die {die}", place(cell))
            }
        };
        format!("{what}: {:.2} %", measured.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::Shard;

    #[test]
    fn every_part_has_its_share_and_all_have_everything() {
        let parse = |text: &str| text.parse::<Shard>();
        assert_eq!(parse("3/3"), parse("0/3"));
        let parts = ["1/3", "2/3", "3/3"].map(|text| parse(text).unwrap());
        for place in 0..30 {
            assert_eq!(parts.iter().filter(|part| part.has(place)).count(), 1);
        }
        assert!(!parse("1/1").unwrap().is_part());
        for wrong in ["", "1", "4/3", "1/0", "-1/2", "a/b"] {
            assert!(parse(wrong).unwrap_err().contains("as in 1/4"), "{wrong}");
        }
    }
}
