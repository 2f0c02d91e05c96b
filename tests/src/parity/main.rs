//! Networks of others: every one computes what those expect who made it, or is refused.
//!
//! `tests/parity/node_cases.py` writes the node tests of the ONNX standard, from the `onnx` package, and
//! `tests/parity/torch_networks.py` networks as PyTorch exports them. Where they are not there, a test counts as
//! ignored, and a line on stderr says how to make them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use ndarray::IxDyn;
use nvcim_chip::presets::find_preset;
use nvcim_ir::diag::{Diagnostic, Kind, Warned};
use nvcim_map::map_graph::lower_only;
use nvcim_onnx::import::import_model;
use nvcim_onnx::tensor_data::NoExternalData;
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::run_graph::run_graph;
use nvcim_ops::run_program::run_program;
use nvcim_ops::tensor::Tensor;
use nvcim_tests::repository;
use serde_json::Value;

/// Networks that a script writes.
struct Source {
    test: &'static str,
    /// Says where they are, if not in `folder`.
    variable: &'static str,
    folder: &'static str,
    script: &'static str,
    packages: &'static str,
}

const SOURCES: &[Source] = &[
    Source {
        test: "node_tests_of_the_standard",
        variable: "NVCIM_ONNX_NODES",
        folder: "target/onnx-nodes",
        script: "tests/parity/node_cases.py",
        packages: "onnx",
    },
    Source {
        test: "networks_of_pytorch",
        variable: "NVCIM_TORCH_NETWORKS",
        folder: "target/torch-networks",
        script: "tests/parity/torch_networks.py",
        packages: "torch onnx onnxscript",
    },
];

fn main() {
    let arguments = Arguments::from_args();
    let trials = SOURCES.iter().map(make_trial).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn make_trial(source: &Source) -> Trial {
    let Source { test, variable, folder, script, packages } = source;
    let found = env::var_os(variable).map_or_else(|| repository().join(folder), PathBuf::from);
    let there = found.join("cases.json").is_file();
    if !there {
        eprintln!("\nSKIPPED: no `cases.json` in `{}`", found.display());
        eprintln!("  hint: python3 -m venv venv && venv/bin/pip install {packages}");
        eprintln!("        venv/bin/python {script} {folder}\n");
    }
    Trial::test(*test, move || check_all(&found)).with_ignored_flag(!there)
}

/// What became of one network.
enum Outcome {
    Passed,
    Refused(String),
    Wrong(String),
}

#[derive(Default)]
struct Count {
    passed: usize,
    refused: BTreeMap<String, usize>,
}

#[expect(clippy::print_stderr, reason = "the counts are what the test is read for")]
fn check_all(folder: &Path) -> Result<(), Failed> {
    let cases: Value = serde_json::from_slice(&fs::read(folder.join("cases.json"))?)?;
    let cases = cases.as_array().ok_or("`cases.json` is no list")?;
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases {
        let count = counts.entry(text(case, "op").to_owned()).or_default();
        match check_case(folder, case)? {
            Outcome::Passed => count.passed += 1,
            Outcome::Refused(reason) => *count.refused.entry(reason).or_default() += 1,
            Outcome::Wrong(how) => wrong.push(format!("{}: {how}", text(case, "name"))),
        }
    }
    let passed: usize = counts.values().map(|count| count.passed).sum();
    let mut table = String::new();
    for (op, Count { passed, refused }) in &counts {
        let total: usize = refused.values().sum();
        writeln!(table, "{op}: {passed} pass, {total} refused")?;
        for (reason, times) in refused {
            writeln!(table, "    {times} x {reason}")?;
        }
    }
    let refused = cases.len() - passed - wrong.len();
    eprintln!("{table}{passed} pass, {refused} refused with a reason, {} wrong", wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn check_case(folder: &Path, case: &Value) -> Result<Outcome, Failed> {
    let name = text(case, "name");
    let bytes = fs::read(folder.join(format!("{name}.onnx")))?;
    let graph = match import_model(&bytes, &NoExternalData) {
        Ok(Warned { output, .. }) => output,
        Err(problems) => return Ok(refusal(&problems)),
    };
    let input = &graph.node(graph.input()).shape;
    let elements = read_floats(&folder.join(format!("{name}.input")))?;
    let samples = elements.len() / input.iter().product::<usize>().max(1);
    let whole: Vec<usize> = std::iter::once(samples).chain(input.iter().copied()).collect();
    let input = Tensor::from_shape_vec(IxDyn(&whole), elements)?;
    let got = run_graph(&graph, &input, &mut |_, _| ());
    if let Some(how) = compare(&got, folder, case)? {
        return Ok(Outcome::Wrong(how));
    }
    // What is mapped computes the same: matrices folded and lowered, in float.
    let net = lower_only(&graph, &find_preset("ideal").map_err(|it| format!("{it:?}"))?);
    let net = net.map_err(|it| format!("{name}: {it:?}"))?;
    let mut engine = FloatEngine::new(&net.layers);
    let got = run_program(&net.program, &input, 0, &mut engine, &mut |_, _| ());
    match compare(&got, folder, case)? {
        Some(how) => Ok(Outcome::Wrong(format!("mapped, {how}"))),
        None => Ok(Outcome::Passed),
    }
}

/// Where outputs differ from what is expected, if they do.
fn compare(got: &[Tensor], folder: &Path, case: &Value) -> Result<Option<String>, Failed> {
    let name = text(case, "name");
    let [rtol, atol] = ["rtol", "atol"].map(|key| case[key].as_f64().unwrap_or(1e-5) as f32);
    for (at, got) in got.iter().enumerate() {
        let want = read_floats(&folder.join(format!("{name}.output{at}")))?;
        let shape = &case["outputs"][at]["shape"];
        if got.len() != want.len() {
            return Ok(Some(format!("output {at} is {:?}, not {shape}", got.shape())));
        }
        for (place, (got, want)) in got.iter().zip(&want).enumerate() {
            let near = (got - want).abs() <= atol + rtol * want.abs();
            if !(near || got == want || (got.is_nan() && want.is_nan())) {
                return Ok(Some(format!("output {at}[{place}] is {got}, not {want}")));
            }
        }
    }
    Ok(None)
}

/// The first reason, without the names that tell its network from others.
fn refusal(problems: &[Diagnostic]) -> Outcome {
    match problems.first() {
        Some(Diagnostic { kind: Kind::Internal, message, .. }) => Outcome::Wrong(message.clone()),
        Some(Diagnostic { message, .. }) => Outcome::Refused(message.clone()),
        None => Outcome::Wrong("refused without a reason".into()),
    }
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

fn read_floats(path: &Path) -> Result<Vec<f32>, Failed> {
    let bytes = fs::read(path)?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}
