//! What a study says, as JSON and CSV for other programs.

use serde_json::{Map, Value, json};

use crate::recovery::Recovery;
use crate::study::agenda::Agenda;
use crate::study::exhibit::Exhibit;
use crate::study::method::Method;
use crate::study::summary::{CellSummary, MethodSummary, Summary};

/// The schema of the JSON document.
pub const SCHEMA: &str = "nvcim.study/1";

/// The whole summary as JSON; accuracies and recoveries in percent.
pub fn write_json(agenda: &Agenda, summary: &Summary) -> Value {
    let overall = |pick: &dyn Fn(&crate::study::summary::Overall) -> Value| -> Value {
        let entries = summary.overall.iter();
        entries
            .map(|(method, it)| (method.name().to_owned(), pick(it)))
            .collect::<Map<_, _>>()
            .into()
    };
    let beyond_naive = |pick: &dyn Fn(&crate::study::summary::Overall) -> Value| -> Value {
        let mut all = overall(pick);
        if let Some(all) = all.as_object_mut() {
            all.remove(Method::Naive.name());
        }
        all
    };
    let (there, asked) = summary.measured;
    json!({
        "schema": SCHEMA,
        "name": agenda.name,
        "description": agenda.description,
        "version": agenda.version,
        "complete": summary.is_complete(),
        "measured": there,
        "asked": asked,
        "mean_recovery": beyond_naive(&|it| json!(it.mean_recovery)),
        "worst_recovery": beyond_naive(&|it| json!(it.worst_recovery.map(|(percent, _)| percent))),
        "worst_lower_bound": beyond_naive(&|it| json!(it.least_bound)),
        "cells_with_recovery": beyond_naive(&|it| json!(it.n_stated)),
        "yield_points": agenda.yield_points,
        "yield": overall(&|it| json!(it.yield_percent)),
        "cells": summary.cells.iter().map(|it| cell(agenda, it)).collect::<Vec<_>>(),
        "sweeps": summary.sweeps.iter().map(|it| sweep(agenda, it)).collect::<Vec<_>>(),
        "waterfalls": summary.waterfalls.iter().map(|it| {
            let place = &agenda.cells[summary.cells[it.cell].cell];
            json!({
                "model": agenda.networks[place.network].name,
                "chip": agenda.chips[place.chip].name,
                "dies": it.dies,
                "ideal": it.ideal,
                "effects": pairs(&it.effects),
                "methods": it.methods.iter().map(|(method, percent)| {
                    json!({"method": method.name(), "accuracy": percent})
                }).collect::<Vec<_>>(),
            })
        }).collect::<Vec<_>>(),
    })
}

fn pairs(effects: &[(String, f64)]) -> Vec<Value> {
    effects.iter().map(|(name, it)| json!({"effect": name, "accuracy": it})).collect()
}

fn cell(agenda: &Agenda, cell: &CellSummary) -> Value {
    let item = &agenda.cells[cell.cell];
    let (network, chip) = (&agenda.networks[item.network], &agenda.chips[item.chip]);
    let by_method = |pick: &dyn Fn(&MethodSummary) -> Option<Value>| -> Value {
        let entries = cell.methods.iter();
        entries
            .filter_map(|it| Some((it.method.name().to_owned(), pick(it)?)))
            .collect::<Map<_, _>>()
            .into()
    };
    let share = |recovery: Option<Recovery>| recovery.map(|it| json!(it.percent));
    let beyond_naive = |it: &MethodSummary, value: Option<Value>| {
        (it.method != Method::Naive).then(|| value.unwrap_or(Value::Null))
    };
    let mut document = json!({
        "model": network.name,
        "chip": chip.name,
        "about": chip.about,
        "corrected_at_s": chip.times_s.0,
        "used_at_s": chip.times_s.1,
        "images": network.images,
        "dies": cell.dies.len(),
        "die_seeds": cell.dies,
        "reference": cell.reference,
        "references": by_method(&|it| it.method.is_trained().then(|| json!(it.reference))),
        "std": by_method(&|it| Some(json!(it.figures.accuracy.std))),
        "recovery": by_method(&|it| beyond_naive(it, share(it.figures.from_naive))),
        "ci95": by_method(&|it| {
            beyond_naive(it, it.figures.from_naive.map(|it| json!(it.ci95)))
        }),
        "recovery_from_lab": by_method(&|it| {
            it.method.is_beyond_lab().then(|| share(it.figures.from_lab).unwrap_or(Value::Null))
        }),
        "points_left": by_method(&|it| Some(json!(it.figures.lost.points))),
        "points_left_upper95": by_method(&|it| Some(json!(it.figures.lost.upper95))),
        "yield": by_method(&|it| Some(json!(it.yield_percent))),
        "accuracies": by_method(&|it| Some(json!(it.accuracies))),
    });
    for method in Method::ALL {
        document[method.name()] = json!(cell.find(method).map(|it| it.figures.accuracy.mean));
    }
    document
}

fn sweep(agenda: &Agenda, sweep: &crate::study::summary::SweepSummary) -> Value {
    let points = sweep.points.iter().map(|point| {
        let mut document = cell(agenda, &point.cell);
        document["x"] = json!(point.x);
        document["label"] = json!(point.label);
        document
    });
    json!({
        "name": agenda.sweeps[sweep.sweep].name,
        "axis": agenda.sweeps[sweep.sweep].axis,
        "model": agenda.networks[sweep.network].name,
        "points": points.collect::<Vec<_>>(),
    })
}

/// The tables of a study, by file name.
pub fn write_csv(agenda: &Agenda, summary: &Summary) -> Vec<(&'static str, String)> {
    let mut dies = Csv::new("network,chip,method,die,accuracy");
    let mut cells = Csv::new(
        "network,chip,method,dies,images,reference,accuracy,sd,recovery,recovery_low,recovery_high,\
         recovery_from_lab,points_left,points_left_upper95,yield",
    );
    for cell in &summary.cells {
        let item = &agenda.cells[cell.cell];
        let (network, chip) = (&agenda.networks[item.network], &agenda.chips[item.chip]);
        for it in &cell.methods {
            let names = [network.name.clone(), chip.name.clone(), it.method.name().to_owned()];
            for (die, accuracy) in cell.dies.iter().zip(&it.accuracies) {
                dies.row(names.iter().cloned().chain([die.to_string(), number(*accuracy)]));
            }
            let share = it.figures.from_naive;
            let end = |at: usize| share.map(|it| it.ci95[at]);
            let figures = [
                Some(it.reference),
                Some(it.figures.accuracy.mean),
                Some(it.figures.accuracy.std),
                share.map(|it| it.percent),
                end(0),
                end(1),
                it.figures.from_lab.map(|it| it.percent),
                Some(it.figures.lost.points),
                Some(it.figures.lost.upper95),
                Some(it.yield_percent),
            ];
            let counts = [it.accuracies.len().to_string(), network.images.to_string()];
            let figures = figures.map(|it| it.map_or_else(String::new, number));
            cells.row(names.into_iter().chain(counts).chain(figures));
        }
    }
    let mut sweeps = Csv::new("sweep,network,x,method,dies,reference,accuracy,sd,lowest,highest");
    for sweep in &summary.sweeps {
        for point in &sweep.points {
            for it in &point.cell.methods {
                let spread = it.figures.accuracy;
                let figures = [it.reference, spread.mean, spread.std, spread.min, spread.max];
                let names = [
                    agenda.sweeps[sweep.sweep].name.clone(),
                    agenda.networks[sweep.network].name.clone(),
                    number(point.x),
                    it.method.name().to_owned(),
                    it.accuracies.len().to_string(),
                ];
                sweeps.row(names.into_iter().chain(figures.map(number)));
            }
        }
    }
    let mut waterfalls = Csv::new("network,chip,dies,step,accuracy");
    for it in &summary.waterfalls {
        let item = &agenda.cells[summary.cells[it.cell].cell];
        let (network, chip) = (&agenda.networks[item.network], &agenda.chips[item.chip]);
        let effects = it.effects.iter().map(|(name, percent)| (format!("+ {name}"), *percent));
        let methods =
            it.methods.iter().map(|(method, percent)| (method.name().to_owned(), *percent));
        let ideal = [("no effect".to_owned(), it.ideal)];
        for (step, percent) in ideal.into_iter().chain(effects).chain(methods) {
            let dies = it.dies.to_string();
            waterfalls.row([network.name.clone(), chip.name.clone(), dies, step, number(percent)]);
        }
    }
    vec![
        ("cells.csv", cells.0),
        ("dies.csv", dies.0),
        ("sweeps.csv", sweeps.0),
        ("waterfalls.csv", waterfalls.0),
    ]
}

/// The tables of a look into one die, by file name.
pub fn write_exhibit_csv(exhibit: &Exhibit) -> Vec<(&'static str, String)> {
    let images = ["naive", "corrected"];
    let mut layers = Csv::new("layer,image,snr_entire_db,snr_single_db,clipped_percent");
    for layer in &exhibit.layers {
        for (at, image) in images.into_iter().enumerate() {
            let figures =
                [layer.snr_entire_db[at], layer.snr_single_db[at], layer.clipped_percent[at]];
            let names = [layer.name.clone(), image.to_owned()];
            layers.row(names.into_iter().chain(figures.map(number)));
        }
    }
    let mut confusion = Csv::new("image,class,answer,count");
    for (image, counts) in images.into_iter().zip(&exhibit.confusion) {
        for (class, row) in counts.iter().enumerate() {
            for (answer, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                let numbers = [class.to_string(), answer.to_string(), count.to_string()];
                confusion.row([image.to_owned()].into_iter().chain(numbers));
            }
        }
    }
    vec![("layers.csv", layers.0), ("confusion.csv", confusion.0)]
}

/// A table of comma-separated values under construction.
struct Csv(String);

impl Csv {
    fn new(head: &str) -> Self {
        Self(format!("{head}\n"))
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let quote = |cell: String| match cell.contains([',', '"', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell,
        };
        self.0 += &cells.into_iter().map(quote).collect::<Vec<_>>().join(",");
        self.0.push('\n');
    }
}

/// A number in the shortest form that reads back the same.
fn number(value: f64) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::Csv;

    #[test]
    fn cells_with_commas_are_quoted() {
        let mut csv = Csv::new("a,b");
        csv.row(["x, \"y\"".to_owned(), "1".to_owned()]);
        assert_eq!(csv.0, "a,b\n\"x, \"\"y\"\"\",1\n");
    }
}
