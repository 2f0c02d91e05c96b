//! The report of a small real study: sections, markup, escaping, and what is said where things are missing.

use std::sync::LazyLock;

use super::write_study;
use crate::report::testing::check_markup;
use crate::study::Study;
use crate::study::agenda::Agenda;
use crate::study::exhibit::Exhibit;
use crate::study::file::parse_study;
use crate::study::method::Method;
use crate::study::results::Results;
use crate::study::run::{Options, Shard};
use crate::study::sources::Sources;
use crate::study::summary::{Overall, Summary};

const STUDY: &str = r#"
schema = 1
kind = "study"
name = "A study"
description = "of few images"
methods = ["naive", "lab", "corrected"]
dies = 2

[[network]]
name = "lenet"
model = "bundled:lenet-digits.onnx"
data = "digits"
calibration = "digits:train"
images = 40

[[chip]]
name = "flash"
file = "nor-flash-lenet"
set = { "effects.column_offset.sd_lsb" = 8.0 }

[[chip]]
name = "quiet"
file = "nor-flash-lenet"
set = { "effects.column_offset.sd_lsb" = 0.0, "effects.stuck.stuck_gmin" = 0.0, "effects.stuck.stuck_gmax" = 0.0 }

[[sweep]]
name = "bits"
axis = "ADC bits"
file = "nor-flash-lenet"
keys = ["adc.bits"]
values = [3, 8]
methods = ["lab"]
dies = 1

[waterfall]
dies = 1

[exhibit]
network = "lenet"
chip = "flash"
"#;

/// What a page is written from.
#[derive(Clone)]
struct Sample {
    agenda: Agenda,
    summary: Summary,
    exhibit: Option<Exhibit>,
}

impl Sample {
    fn run() -> Self {
        let file = parse_study(STUDY, "s.toml", false).unwrap().output;
        let sources = Sources { folder: None, shared: None };
        let study = Study::open(&file, &sources, "nvcim study s.toml").unwrap();
        let options = Options { jobs: 2, shard: Shard::WHOLE, progress: &|_| () };
        let results = study.run(Results::default(), &options).unwrap();
        let summary = Summary::new(&study.agenda, &results);
        Self { exhibit: study.look().unwrap(), agenda: study.agenda, summary }
    }

    fn shared() -> &'static Self {
        static SAMPLE: LazyLock<Sample> = LazyLock::new(Sample::run);
        &SAMPLE
    }

    /// The page without its script, which holds what markup may not.
    fn page(&self) -> String {
        let Self { agenda, summary, exhibit } = self;
        let page = write_study(agenda, summary, exhibit.as_ref());
        let (start, rest) = page.split_once("<script>").unwrap();
        let (script, end) = rest.split_once("</script>").unwrap();
        assert!(script.contains("sortable") && !script.contains("http"));
        let page = format!("{start}{end}");
        check_markup(&page);
        page
    }
}

#[test]
fn the_page_is_well_formed_self_contained_and_in_order() {
    let page = Sample::shared().page();
    for outside in ["http", "//", "@import", "src=", "url("] {
        assert!(!page.contains(outside), "the page reaches out with `{outside}`");
    }
    let ids = [
        "headline",
        "matrix",
        "cells",
        "waterfalls",
        "sweeps",
        "exhibit",
        "floor",
        "array",
        "corrections",
        "layers",
        "origin",
    ];
    let places: Vec<_> =
        ids.iter().map(|id| page.find(&format!("<section id=\"{id}\">"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert!(!page.contains("NaN") && !page.contains("inf "));
    assert!(page.len() < 600_000, "{} bytes", page.len());
}

/// Training was measured on one of two chips: the headline speaks for both.
#[test]
fn a_method_of_few_cells_does_not_speak_for_all() {
    let mut sample = Sample::shared().clone();
    let (_, of_all) = sample.summary.strongest().unwrap();
    assert_eq!(sample.summary.strongest().unwrap().0, Method::Corrected);
    let of_one = Overall { n_cells: 1, n_stated: 1, mean_recovery: Some(12.25), ..of_all };
    sample.summary.overall.push((Method::Both, of_one));
    assert_eq!(sample.summary.strongest().unwrap(), (Method::Corrected, of_all));
    let page = sample.page();
    assert!(page.contains("<em>corrected</em> brings back"));
    assert!(page.contains("trained too, mean") && page.contains("both, 1 cell"));
    sample.summary.overall.last_mut().unwrap().1.n_cells = of_all.n_cells;
    assert_eq!(sample.summary.strongest().unwrap().0, Method::Both);
}

#[test]
fn every_cell_has_its_colour_and_its_numbers() {
    let sample = Sample::shared();
    let page = sample.page();
    let cells = &sample.summary.cells;
    assert_eq!(page.matches("<td class=\"n h\"").count(), cells.len() * 3);
    let [flash, quiet] = &cells[..] else { panic!("{cells:?}") };
    let recovered = flash.find(Method::Corrected).unwrap().figures.from_naive.unwrap();
    let stated = crate::report::number::percent(recovered.percent, 1);
    assert!(page.contains(&format!("<small>{stated}</small>")), "{stated}");
    assert_eq!(quiet.find(Method::Corrected).unwrap().figures.from_naive, None);
    assert!(page.contains(" left</small>"));
}

#[test]
fn a_waterfall_ends_where_the_naive_mapping_is() {
    let sample = Sample::shared();
    for (waterfall, cell) in sample.summary.waterfalls.iter().zip(&sample.summary.cells) {
        let (_, last) = waterfall.effects.last().unwrap();
        assert_eq!(*last, cell.find(Method::Naive).unwrap().accuracies[0]);
        let effects = &sample.agenda.chips[sample.agenda.cells[cell.cell].chip].effects;
        assert!(waterfall.effects.iter().map(|(name, _)| name).eq(effects));
    }
    assert_eq!(sample.page().matches("effect by effect").count(), 2);
}

#[test]
fn the_look_into_a_die_counts_every_image_and_cell() {
    let exhibit = Sample::shared().exhibit.as_ref().unwrap();
    for (confusion, accuracy) in exhibit.confusion.iter().zip(exhibit.accuracy) {
        let all: u32 = confusion.iter().flatten().sum();
        let right: u32 = (0..10).map(|class| confusion[class][class]).sum();
        assert_eq!(all as usize, exhibit.images);
        assert!((100.0 * f64::from(right) / f64::from(all) - accuracy).abs() < 1e-9);
    }
    let [conv1, ..] = &exhibit.layers[..] else { panic!("{:?}", exhibit.layers) };
    assert!(conv1.snr_entire_db[1] > conv1.snr_entire_db[0] + 3.0, "{conv1:?}");
    // What lies between the lines is converted, what lies beyond clips.
    let inside: u64 = conv1.conversions[1][20..60].iter().sum();
    let share = 100.0 * (1.0 - inside as f64 / conv1.conversions[1].iter().sum::<u64>() as f64);
    assert!((share - conv1.clipped_percent[1]).abs() < 2.0, "{share}, {conv1:?}");
    // A cell that is not stuck is close to its target.
    let (mut near, mut all) = (0, 0);
    for (target, counts) in exhibit.cells.counts.iter().enumerate() {
        for (programmed, count) in counts.iter().enumerate() {
            near += if target.abs_diff(programmed) <= 2 { *count } else { 0 };
            all += count;
        }
    }
    assert!(f64::from(near) > 0.95 * f64::from(all), "{near} of {all}");
}

#[test]
fn what_is_missing_is_said() {
    let mut sample = Sample::shared().clone();
    sample.summary.measured.0 -= 1;
    sample.exhibit = None;
    sample.summary.cells[0].methods.clear();
    let page = sample.page();
    assert!(page.contains("measurements are there so far"));
    assert!(page.contains("<td class=\"n\">\u{2013}</td>"));
    assert!(!page.contains("<section id=\"exhibit\">"));
    sample.summary = Summary::new(&sample.agenda, &Results::default());
    assert!(sample.page().contains("No cell has been measured yet."));
}

#[test]
fn names_cannot_break_out() {
    let name = "<b>\"a\" & 'b'</b>";
    let mut sample = Sample::shared().clone();
    let Agenda { networks, chips, sweeps, .. } = &mut sample.agenda;
    networks.iter_mut().for_each(|it| name.clone_into(&mut it.name));
    networks.iter_mut().for_each(|it| name.clone_into(&mut it.model.0));
    chips.iter_mut().for_each(|it| name.clone_into(&mut it.name));
    chips.iter_mut().for_each(|it| name.clone_into(&mut it.about));
    sweeps.iter_mut().for_each(|it| name.clone_into(&mut it.axis));
    let exhibit = sample.exhibit.as_mut().unwrap();
    exhibit.layers.iter_mut().for_each(|it| name.clone_into(&mut it.name));
    assert!(!sample.page().contains("<b>\"a"));
}
