//! Golden cases: every refusal of the import, as a user reads it.
//!
//! Each group of cases has a file in `tests/refusals/`, which holds the name of every case and the problems that
//! its model is refused with. `NVCIM_BLESS=1` rewrites the files; the difference is then read as a user would
//! read it. A text of the import that occurs in no file fails a test, so that no message goes unread.

mod attributes;
mod constants;
mod files;
mod fuzz;
mod graphs;
mod layers;
mod operators;
mod recurrent;
mod texts;
mod windows;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::import;
use crate::proto::AttributeProto;
use crate::survey::Fate;
use crate::tensor_data::ExternalData;
use crate::testing::TestModel;

/// A model that must be refused.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
}

fn case(name: &'static str, model: TestModel) -> Case {
    Case { name, bytes: model.bytes() }
}

/// A model with one node, which reads its input.
fn single(input: &[i64], op_type: &str, attributes: &[AttributeProto]) -> TestModel {
    TestModel::new(18, input).node(op_type, "x", "y", attributes).output("y")
}

/// Every group: the name of its file, and its cases.
fn groups() -> [(&'static str, Vec<Case>); 8] {
    [
        ("attributes", attributes::cases()),
        ("constants", constants::cases()),
        ("files", files::cases()),
        ("graphs", graphs::cases()),
        ("layers", layers::cases()),
        ("operators", operators::cases()),
        ("recurrent", recurrent::cases()),
        ("windows", windows::cases()),
    ]
}

/// The folder of the models: `weights.bin` has eight bytes, `worn.bin` cannot be read though it is there.
struct Folder;

impl ExternalData for Folder {
    fn length(&self, location: &str) -> Result<u64, String> {
        match location {
            "weights.bin" | "worn.bin" => Ok(8),
            _ => Err(format!("models/{location}: No such file or directory (os error 2)")),
        }
    }

    fn read(&self, location: &str, _: u64, bytes: &mut [u8]) -> Result<(), String> {
        if location != "weights.bin" {
            return Err("Input/output error (os error 5)".into());
        }
        bytes.fill(0);
        Ok(())
    }
}

fn path_of(group: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/refusals");
    PathBuf::from(folder).join(format!("{group}.txt"))
}

/// A case as its file holds it: the problems as the public crate hands them on, with the file's name, and what
/// a survey says besides.
fn render(case: &Case) -> String {
    let mut text = format!("== {}\n", case.name);
    let Err(problems) = import::import_model(&case.bytes, &Folder) else {
        return text + "is imported\n";
    };
    let nodes = import::survey_model(&case.bytes, &Folder).map_or(Vec::new(), |it| it.nodes);
    let told: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
    for problem in problems {
        let kind = problem.kind;
        let problem = problem.within("model.onnx");
        writeln!(text, "error[{kind:?}]: {problem}").expect("a text takes all");
    }
    for node in nodes {
        let at = super::name_node(&node.name, &node.op_type);
        match node.fate {
            Fate::Unsupported { reason, hint } if !told.contains(&reason) => {
                writeln!(text, "survey: {at}: {reason}\n  hint: {hint}").expect("a text takes all");
            }
            Fate::Folded { into } if into.contains(' ') => {
                writeln!(text, "survey: {at}: folded into {into}").expect("a text takes all");
            }
            _ => {}
        }
    }
    text
}

#[test]
fn every_refusal_reads_as_in_its_file() {
    let mut stale = Vec::new();
    for (group, cases) in groups() {
        let texts: Vec<_> = cases.iter().map(render).collect();
        let got = texts.join("\n");
        let path = path_of(group);
        if std::env::var_os("NVCIM_BLESS").is_some() {
            fs::write(&path, &got).unwrap();
        }
        let want = fs::read_to_string(&path).unwrap_or_default();
        if want != got {
            let wanted: Vec<_> = want.split("\n\n").map(str::trim_end).collect();
            let changed = texts.iter().map(|text| text.trim_end());
            let changed: Vec<_> = changed.filter(|text| !wanted.contains(text)).collect();
            stale.push(format!(
                "`tests/refusals/{group}.txt` does not hold\n\n{}",
                changed.join("\n\n")
            ));
        }
    }
    assert!(stale.is_empty(), "{}\n\nNVCIM_BLESS=1 rewrites the files", stale.join("\n\n"));
}

#[test]
fn every_case_is_refused_with_a_place_and_a_remedy() {
    let mut names = std::collections::BTreeSet::new();
    for case in groups().into_iter().flat_map(|(_, cases)| cases) {
        let name = case.name;
        assert!(names.insert(name), "two cases are called `{name}`");
        let problems = import::import_model(&case.bytes, &Folder).err();
        for problem in problems.unwrap_or_else(|| panic!("`{name}` is imported")) {
            assert!(!problem.at.is_empty() && !problem.hints.is_empty(), "`{name}`: {problem}");
            let text = problem.to_string();
            // Rust's names of types, and what tract and prost say.
            for slip in ["Some(", "None", "DatumType", "F32", "I64", "Impossible", "TDim", "Varint"]
            {
                assert!(!text.contains(slip), "`{name}` says `{slip}`: {text}");
            }
            assert!(!problem.message.ends_with('.'), "`{name}`: {text}");
        }
    }
}
