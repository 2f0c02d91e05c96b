//! From results to what a study says: cells, sweeps, waterfalls, and the figures over all cells.

use crate::recovery::{Summary as Spread, summarize};
use crate::study::agenda::{Agenda, CellItem};
use crate::study::figures::{Baselines, Figures, yield_percent};
use crate::study::method::Method;
use crate::study::results::Results;
use crate::study::run::settled;

/// Everything that a study says.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Measurements that are there, and those that the agenda asks for.
    pub measured: (usize, usize),
    /// The cells of the matrix, in the order of the agenda.
    pub cells: Vec<CellSummary>,
    /// The sweeps, one entry per network.
    pub sweeps: Vec<SweepSummary>,
    /// Where effects were switched on one after the other.
    pub waterfalls: Vec<Waterfall>,
    /// Every method over all cells.
    pub overall: Vec<(Method, Overall)>,
}

/// One network on one chip.
#[derive(Debug, Clone, PartialEq)]
pub struct CellSummary {
    /// Index in the agenda.
    pub cell: usize,
    /// Accuracy of the ONNX file in float in percent, where it is known.
    pub reference: Option<f64>,
    /// The dies on which every method was measured, but for methods that were on none.
    pub dies: Vec<u64>,
    /// The methods, in the order of the agenda; none without a die or a reference.
    pub methods: Vec<MethodSummary>,
}

/// One method on the dies of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodSummary {
    /// The method.
    pub method: Method,
    /// What accuracies are compared with: float, or what training alone makes of it.
    pub reference: f64,
    /// Accuracies in percent, one per die of the cell.
    pub accuracies: Vec<f64>,
    /// What may be said of them.
    pub figures: Figures,
    /// Share of good dies in percent.
    pub yield_percent: f64,
}

/// A method over all cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overall {
    /// Mean recovery over the cells in which it is stated.
    pub mean_recovery: Option<f64>,
    /// The lowest recovery, and the index of its cell among those of the summary.
    pub worst_recovery: Option<(f64, usize)>,
    /// The lowest end of the 95 % intervals of recovery.
    pub least_bound: Option<f64>,
    /// Cells in which recovery is stated.
    pub n_stated: usize,
    /// Cells that it was measured in.
    pub n_cells: usize,
    /// Most points lost in a cell in which it is not.
    pub most_points_elsewhere: Option<f64>,
    /// Share of good dies of all cells in percent.
    pub yield_percent: f64,
}

/// A network on a chip at several strengths or times.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepSummary {
    /// Index of the sweep.
    pub sweep: usize,
    /// Index of the network.
    pub network: usize,
    /// The points, in the order of the file.
    pub points: Vec<SweepPoint>,
}

/// A point of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPoint {
    /// Its place on the axis.
    pub x: f64,
    /// How the axis calls it.
    pub label: String,
    /// The network there.
    pub cell: CellSummary,
}

/// What a network loses as effects are switched on one after the other, and what methods bring back.
#[derive(Debug, Clone, PartialEq)]
pub struct Waterfall {
    /// Index of the cell among those of the summary.
    pub cell: usize,
    /// Dies that were measured.
    pub dies: usize,
    /// Mean accuracy in percent of the naive mapping without any effect.
    pub ideal: f64,
    /// Each effect with the mean accuracy once it acts too.
    pub effects: Vec<(String, f64)>,
    /// Each other method with its mean accuracy on the same dies.
    pub methods: Vec<(Method, f64)>,
}

impl Summary {
    /// Sums up what is there.
    pub fn new(agenda: &Agenda, results: &Results) -> Self {
        let jobs = agenda.jobs();
        let there = jobs.iter().filter(|(_, key)| results.get(key).is_some()).count();
        let cells: Vec<CellSummary> =
            agenda.matrix().map(|(at, _)| CellSummary::new(agenda, at, results)).collect();
        let waterfalls = cells.iter().enumerate();
        Self {
            measured: (there, jobs.len()),
            sweeps: sum_up_sweeps(agenda, results),
            waterfalls: waterfalls
                .filter_map(|(at, cell)| Waterfall::new(agenda, at, cell, results))
                .collect(),
            overall: agenda
                .methods
                .iter()
                .filter_map(|method| Some((*method, Overall::new(*method, &cells)?)))
                .collect(),
            cells,
        }
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.measured.0 == self.measured.1
    }

    /// The strongest method that was measured in nine tenths of the cells at least that any was measured in: what speaks for a
    /// few must not stand for all.
    pub fn strongest(&self) -> Option<(Method, Overall)> {
        let others = || self.overall.iter().filter(|(method, _)| *method != Method::Naive);
        let most = others().map(|(_, it)| it.n_cells).max()?;
        others().rev().find(|(_, it)| 10 * it.n_cells >= 9 * most).copied()
    }
}

impl CellSummary {
    fn new(agenda: &Agenda, at: usize, results: &Results) -> Self {
        let item = &agenda.cells[at];
        let reference = results.percent(&agenda.networks[item.network].float);
        let stopped = settled(agenda, at, results).unwrap_or(usize::MAX);
        let begun = list_begun(item, results);
        let measured =
            |die: &usize| begun.iter().all(|(_, keys)| results.get(&keys[*die]).is_some());
        let dies: Vec<usize> = (0..item.n_dies().min(stopped)).filter(measured).collect();
        Self {
            cell: at,
            reference,
            methods: sum_up_methods(agenda, (item, &begun), &dies, results).unwrap_or_default(),
            dies: dies.into_iter().map(|die| die as u64).collect(),
        }
    }

    /// The summary of a method, where it was measured.
    pub fn find(&self, method: Method) -> Option<&MethodSummary> {
        self.methods.iter().find(|it| it.method == method)
    }
}

/// The methods of a cell that anything is known of: those of which nothing has been measured yet say nothing against the others.
fn list_begun<'a>(item: &'a CellItem, results: &Results) -> Vec<&'a (Method, Vec<String>)> {
    let control = item.trained.as_ref().is_none_or(|it| results.percent(&it.float).is_some());
    let begun = |(method, keys): &&(Method, Vec<String>)| {
        let any = keys.iter().any(|key| results.get(key).is_some());
        *method == Method::Naive || (any && (control || !method.is_trained()))
    };
    item.methods.iter().filter(begun).collect()
}

/// `None` without a die, or without what accuracies are compared with.
fn sum_up_methods(
    agenda: &Agenda,
    (item, begun): (&CellItem, &[&(Method, Vec<String>)]),
    dies: &[usize],
    results: &Results,
) -> Option<Vec<MethodSummary>> {
    let float = results.percent(&agenda.networks[item.network].float)?;
    // Learning the data set must not pass as recovery.
    let control = item.trained.as_ref().and_then(|trained| results.percent(&trained.float));
    let control = control.map_or(float, |control| control.max(float));
    let accuracies = |wanted: Method| -> Option<Vec<f64>> {
        let (_, keys) = begun.iter().find(|(method, _)| *method == wanted)?;
        dies.iter().map(|die| results.percent(&keys[*die])).collect()
    };
    let naive = accuracies(Method::Naive)?;
    let lab = accuracies(Method::Lab);
    let sum_up = |&&(method, _): &&(Method, Vec<String>)| {
        let reference = if method.is_trained() { control } else { float };
        let baselines = Baselines { reference, naive: &naive, lab: lab.as_deref() };
        let accuracies = accuracies(method)?;
        let mut figures = Figures::new(&baselines, &accuracies)?;
        figures.from_naive = figures.from_naive.filter(|_| method != Method::Naive);
        figures.from_lab = figures.from_lab.filter(|_| method.is_beyond_lab());
        let yield_percent = yield_percent(reference, agenda.yield_points, &accuracies);
        Some(MethodSummary { method, reference, accuracies, figures, yield_percent })
    };
    begun.iter().map(sum_up).collect()
}

impl Overall {
    fn new(method: Method, cells: &[CellSummary]) -> Option<Self> {
        let found: Vec<(usize, &MethodSummary)> = cells
            .iter()
            .enumerate()
            .filter_map(|(at, cell)| Some((at, cell.find(method)?)))
            .collect();
        let dies: usize = found.iter().map(|(_, it)| it.accuracies.len()).sum();
        (dies > 0).then_some(())?;
        let stated: Vec<(f64, usize)> = found
            .iter()
            .filter_map(|(at, it)| Some((it.figures.from_naive?.percent, *at)))
            .collect();
        let elsewhere = found.iter().filter(|(_, it)| it.figures.from_naive.is_none());
        let good = |(_, it): &(usize, &MethodSummary)| {
            it.yield_percent * it.accuracies.len() as f64 / dies as f64
        };
        let bounds = found.iter().filter_map(|(_, it)| Some(it.figures.from_naive?.ci95[0]));
        let sum: f64 = stated.iter().map(|(percent, _)| percent).sum();
        Some(Self {
            mean_recovery: (!stated.is_empty()).then(|| sum / stated.len() as f64),
            worst_recovery: stated.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0)),
            least_bound: bounds.min_by(f64::total_cmp),
            n_stated: stated.len(),
            n_cells: found.len(),
            most_points_elsewhere: elsewhere
                .map(|(_, it)| it.figures.lost.points)
                .max_by(f64::total_cmp),
            yield_percent: found.iter().map(good).sum(),
        })
    }
}

fn sum_up_sweeps(agenda: &Agenda, results: &Results) -> Vec<SweepSummary> {
    let mut sweeps: Vec<SweepSummary> = Vec::new();
    for (at, cell) in agenda.cells.iter().enumerate() {
        let Some((sweep, x, label)) = &agenda.chips[cell.chip].sweep else { continue };
        let point =
            SweepPoint { x: *x, label: label.clone(), cell: CellSummary::new(agenda, at, results) };
        let same = |it: &&mut SweepSummary| it.sweep == *sweep && it.network == cell.network;
        match sweeps.iter_mut().find(same) {
            Some(found) => found.points.push(point),
            None => sweeps.push(SweepSummary {
                sweep: *sweep,
                network: cell.network,
                points: vec![point],
            }),
        }
    }
    sweeps
}

impl Waterfall {
    /// `None` where the agenda asks for none, or something of it is missing.
    fn new(agenda: &Agenda, at: usize, cell: &CellSummary, results: &Results) -> Option<Self> {
        let item = &agenda.cells[cell.cell];
        let dies = item.waterfall.len();
        let mean = |keys: &mut dyn Iterator<Item = &String>| -> Option<f64> {
            let all: Option<Vec<f64>> = keys.map(|key| results.percent(key)).collect();
            summarize(&all?).map(|Spread { mean, .. }| mean)
        };
        let of_method = |keys: &Vec<String>| mean(&mut keys[..dies.min(keys.len())].iter());
        let steps = item.waterfall.first()?.len();
        let mut levels = Vec::new();
        for step in 0..steps {
            levels.push(mean(&mut item.waterfall.iter().map(|keys| &keys[step]))?);
        }
        let naive = item.methods.iter().find(|(method, _)| *method == Method::Naive)?;
        levels.push(of_method(&naive.1)?);
        let effects = agenda.chips[item.chip].effects.iter().cloned();
        let others = item.methods.iter().filter(|(method, _)| *method != Method::Naive);
        Some(Self {
            cell: at,
            dies,
            ideal: levels[0],
            effects: effects.zip(levels[1..].iter().copied()).collect(),
            methods: others
                .map(|(method, keys)| Some((*method, of_method(keys)?)))
                .collect::<Option<_>>()?,
        })
    }
}
