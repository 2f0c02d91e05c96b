//! `nvcim study` as a contract: its JSON, that it goes on after it was stopped, parts, and missing files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Two chips and a sweep on few images and dies.
const STUDY: &str = r#"
schema = 1
kind = "study"
name = "small"
methods = ["naive", "lab", "corrected"]
dies = 2

[[network]]
name = "lenet"
model = "bundled:lenet-digits.onnx"
data = "digits"
calibration = "digits:train"
images = 60

[[chip]]
name = "offset"
file = "stress-b"
set = { "arrays.count" = 16, "effects.column_offset.sd_lsb" = 8.0 }

[[chip]]
name = "flash"
file = "nor-flash-lenet"

[[sweep]]
name = "bits"
axis = "ADC bits"
file = "nor-flash-lenet"
keys = ["adc.bits"]
values = [3, 8]
methods = ["lab"]

[waterfall]
dies = 1

[exhibit]
network = "lenet"
chip = "flash"
"#;

/// A folder of its own with the study file, and the binary to run in it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(study: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("there is room for a folder") };
        fs::write(bench.path("s.toml"), study).expect("there is room");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_nvcim"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("NVCIM_SHARED")
            .output()
            .expect("the binary starts")
    }

    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let run = self.run(&[arguments, &["--json"]].concat());
        let complaint = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{arguments:?}: {complaint}");
        serde_json::from_slice(&run.stdout).expect("one JSON document")
    }

    /// Every file of a folder of results, by name.
    fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.path(folder)).expect("the run made it");
        let mut files: Vec<_> = entries
            .map(|entry| {
                let path = entry.expect("it was just listed").path();
                let name = path.file_name().expect("entries have names");
                (name.to_string_lossy().into_owned(), fs::read(&path).expect("it is a file"))
            })
            .collect();
        files.sort();
        files
    }

    /// Fails where two folders do not hold the same files.
    fn assert_same(&self, one: &str, other: &str) {
        for ((name, bytes), (other_name, other_bytes)) in
            self.files(one).into_iter().zip(self.files(other))
        {
            assert_eq!(name, other_name);
            assert!(bytes == other_bytes, "{name} of {one} and {other} differ");
        }
        assert_eq!(self.files(one).len(), self.files(other).len());
    }
}

#[test]
fn a_study_says_what_came_back_in_the_same_bytes_however_it_is_run() {
    let bench = Bench::new(STUDY);
    let document = bench.json(&["study", "s.toml", "-o", "whole", "--threads", "2"], 0);
    assert_eq!(document["schema"], "nvcim.study/1");
    assert_eq!(document["complete"], true);
    let cells = document["cells"].as_array().expect("a list");
    assert_eq!(cells.len(), 2);
    for cell in cells {
        assert_eq!((&cell["model"], &cell["dies"]), (&json!("lenet"), &json!(2)));
        assert!(cell["closest"].is_null() && cell["trained"].is_null());
        let [float, naive, corrected] =
            ["reference", "naive", "corrected"].map(|key| cell[key].as_f64().expect("a number"));
        let share = 100.0 * (corrected - naive) / (float - naive);
        let stated = cell["recovery"]["corrected"].as_f64().expect("naive loses enough");
        assert!((share - stated).abs() < 1e-9, "{share}, {stated}");
        let ends = cell["ci95"]["corrected"].as_array().expect("two ends");
        assert!(ends[0].as_f64() <= Some(stated) && Some(stated) <= ends[1].as_f64(), "{cell}");
    }
    let of = |key: &str, method: &str| document[key][method].as_f64().expect("a number");
    assert!(of("worst_recovery", "lab") <= of("mean_recovery", "lab"));
    assert!(of("worst_lower_bound", "lab") <= of("worst_recovery", "lab"));
    assert!(of("mean_recovery", "corrected") > 80.0, "{document}");
    assert!(document["mean_recovery"].get("naive").is_none());
    assert_eq!(document["sweeps"][0]["points"][1]["label"], "8");
    let steps = document["waterfalls"][1]["effects"].as_array().expect("a list");
    let naive =
        bench.json(&["study", "s.toml", "-o", "whole"], 0)["cells"][1]["accuracies"]["naive"][0]
            .clone();
    assert_eq!(steps.last().expect("flash has effects")["accuracy"], naive);
    let names: Vec<_> = bench.files("whole").into_iter().map(|(name, _)| name).collect();
    let expected = [
        "agenda.json",
        "cells.csv",
        "confusion.csv",
        "dies.csv",
        "exhibit.json",
        "layers.csv",
        "report.html",
        "results.jsonl",
        "study.json",
        "sweeps.csv",
        "waterfalls.csv",
    ];
    assert_eq!(names, expected);

    // Stopped in the middle of a line, then gone on with, on another number of threads.
    fs::create_dir(bench.path("stopped")).expect("the folder is new");
    let results = fs::read_to_string(bench.path("whole/results.jsonl")).expect("it was written");
    let start: String = results.lines().skip(3).take(4).map(|line| format!("{line}\n")).collect();
    let broken = &results[..results.len() / 2 - 3];
    let text = start + broken.rsplit('\n').next().unwrap_or_default();
    fs::write(bench.path("stopped/results.jsonl"), text).expect("there is room");
    bench.json(&["study", "s.toml", "-o", "stopped", "--threads", "1"], 0);
    bench.assert_same("whole", "stopped");

    // In parts, put together in the other order.
    let part = bench.json(&["study", "s.toml", "-o", "first", "--shard", "1/2"], 0);
    assert_eq!(part["complete"], false);
    bench.json(&["study", "s.toml", "-o", "second", "--shard", "2/2"], 0);
    bench.json(&["study", "merge", "second", "first", "-o", "merged"], 0);
    bench.assert_same("whole", "merged");
    bench.json(&["report", "first", "second", "-o", "r.html"], 0);
    let report = fs::read(bench.path("r.html")).expect("it was written");
    assert!(report == fs::read(bench.path("whole/report.html")).expect("it was written"));
}

#[test]
fn trained_networks_are_measured_against_the_same_training_without_effects() {
    let start = STUDY.split("[[sweep]]").next().expect("it has a sweep");
    let study = start.replace("\"lab\"", "\"trained\", \"both\"")
        + "[[trained]]\nnetwork = \"lenet\"\nchip = \"flash\"\n\
           model = \"bundled:lenet-digits.onnx\"\ncontrol = \"bundled:lenet-digits.onnx\"\n";
    let bench = Bench::new(&study);
    let document = bench.json(&["study", "s.toml", "-o", "d"], 0);
    // Nothing was trained for the other chip.
    assert!(document["cells"][0]["trained"].is_null());
    let cell = &document["cells"][1];
    assert_eq!(cell["trained"], cell["naive"]);
    assert_eq!(cell["both"], cell["corrected"]);
    assert_eq!(cell["references"]["both"], cell["reference"]);
}

#[test]
fn dies_are_left_out_once_the_intervals_are_narrow() {
    let start = STUDY.split("[[sweep]]").next().expect("it has a sweep");
    let study =
        start.replace("dies = 2", "dies = 4\nstop = { half_width_points = 100.0, least_dies = 2 }");
    let bench = Bench::new(&study);
    let document = bench.json(&["study", "s.toml", "-o", "d", "--threads", "1"], 0);
    assert_eq!(document["cells"][0]["dies"], 2);
    let refused = bench.json(&["study", "s.toml", "-o", "e", "--shard", "1/2"], 4);
    assert_eq!(refused["errors"][0]["at"], "--shard");
}

#[test]
fn what_is_missing_is_named() {
    let bench = Bench::new(&STUDY.replace("bundled:lenet-digits.onnx", "models/none.onnx"));
    let document = bench.json(&["study", "s.toml"], 4);
    let at = document["errors"][0]["at"].as_str().expect("a text");
    assert!(at.ends_with("none.onnx"), "{document}");

    let bench = Bench::new(&STUDY.replace("bundled:", "shared:"));
    let document = bench.json(&["study", "s.toml"], 4);
    let hint = document["errors"][0]["hints"][0].as_str().expect("a text");
    assert!(hint.contains("--shared DIR"), "{document}");
    fs::create_dir(bench.path("data")).expect("the folder is new");
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../onnx-models/lenet-digits.onnx");
    fs::copy(bundled, bench.path("data/lenet-digits.onnx")).expect("it is bundled");
    let call = ["study", "s.toml", "--shared", "data", "-o", "d", "--shard", "1/50"];
    assert_eq!(bench.json(&call, 0)["complete"], false);

    assert_eq!(bench.run(&["study", "merge", "data"]).status.code(), Some(4));
    assert_eq!(bench.run(&["study", "s.toml", "--shard", "5/2"]).status.code(), Some(2));
}
