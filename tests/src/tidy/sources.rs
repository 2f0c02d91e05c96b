//! Rules on source files: shape, forbidden names, and what each floor may touch.

use crate::manifests::FLOORS;
use crate::tree::{Findings, Text, lines_naming, read_texts, shipped_files};

/// A file longer than this holds two things.
const MAX_LINES: usize = 800;

/// The first floor that may touch files, the clock, the environment, threads and the terminal.
const OUTSIDE_WORLD_FLOOR: u32 = 4;

/// Names through which the outside world would enter.
const OUTSIDE_WORLD: &[&str] = &[
    "std::fs",
    "std::env",
    "std::time",
    "std::net",
    "std::process",
    "std::thread",
    "fs::",
    "env::",
    "Instant",
    "SystemTime",
    "stdin",
    "stdout",
    "stderr",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "current_num_threads",
    "available_parallelism",
];

/// Words that no file of the repository may hold, split so that this one does not.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "is a path of one machine"),
    (concat!("/ro", "ot/"), "is a path of one machine"),
    (concat!("/ho", "me/"), "is a path of one machine"),
    (concat!("/tm", "p/target"), "is a path of one machine"),
    (concat!("TO", "DO"), "leaves work unfinished: do it, or write an issue"),
    (concat!("FIX", "ME"), "leaves work unfinished: do it, or write an issue"),
    (concat!("XX", "X"), "leaves work unfinished: do it, or write an issue"),
];

/// Every Rust file of the crates' own code, benches and tests included.
fn crate_files() -> Vec<Text> {
    read_texts("crates", &[".rs"])
}

/// Notes every line of `file` that holds `word`.
fn refuse(findings: &mut Findings, file: &Text, word: &str, why: &str) {
    for line in lines_naming(&file.content, word) {
        findings.add(format!("{}:{line}: `{word}` {why}", file.path));
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut findings = Findings::default();
    for file in crate_files().into_iter().chain(read_texts("tests", &[".rs"])) {
        let first = file.content.lines().next().unwrap_or_default();
        findings.require(first.starts_with("//! ") && first.len() > 8, || {
            format!("{}: must open with `//!` and one sentence on what it is for", file.path)
        });
        let n_lines = file.content.lines().count();
        findings.require(n_lines <= MAX_LINES, || {
            format!("{}: has {n_lines} lines, at most {MAX_LINES}", file.path)
        });
    }
    findings.fail_if_any();
}

#[test]
fn the_compiler_checks_all_memory() {
    let mut findings = Findings::default();
    for file in crate_files() {
        refuse(&mut findings, &file, "unsafe", "appears nowhere in the house");
    }
    findings.fail_if_any();
}

#[test]
fn nothing_depends_on_hash_order() {
    let mut findings = Findings::default();
    for file in FLOORS.iter().flat_map(|floor| shipped_files(floor.name)) {
        for word in ["HashMap", "HashSet", "RandomState"] {
            refuse(&mut findings, &file, word, "has an order that changes from run to run");
        }
    }
    findings.fail_if_any();
}

#[test]
fn the_outside_world_enters_as_values() {
    let mut findings = Findings::default();
    for floor in FLOORS.iter().filter(|floor| floor.level < OUTSIDE_WORLD_FLOOR) {
        for file in shipped_files(floor.name) {
            for word in OUTSIDE_WORLD {
                refuse(
                    &mut findings,
                    &file,
                    word,
                    "belongs to the public crate or the command line",
                );
            }
        }
    }
    findings.fail_if_any();
}

#[test]
fn only_the_public_crate_re_exports() {
    let mut findings = Findings::default();
    for floor in FLOORS.iter().filter(|floor| floor.name != "nvcim") {
        for file in shipped_files(floor.name) {
            for word in ["pub use", "pub extern crate"] {
                refuse(&mut findings, &file, word, "hides where a name is defined");
            }
        }
    }
    findings.fail_if_any();
}

#[test]
fn the_simulator_knows_the_image_alone() {
    let mut findings = Findings::default();
    for file in shipped_files("nvcim-sim") {
        for word in ["TiledNet", "Graph", "MatrixLayer", "nvcim_ir::graph", "nvcim_map"] {
            refuse(&mut findings, &file, word, "is not in the image, so a chip cannot know it");
        }
    }
    findings.fail_if_any();
}

#[test]
fn nothing_is_stringly_or_shared_behind_the_back() {
    let mut findings = Findings::default();
    for file in FLOORS.iter().flat_map(|floor| shipped_files(floor.name)) {
        for word in ["Rc<RefCell", "static mut", "thread_local!", ".unwrap()"] {
            refuse(&mut findings, &file, word, "has no place in shipped code");
        }
    }
    findings.fail_if_any();
}

#[test]
fn no_file_holds_a_forbidden_word() {
    let endings =
        [".rs", ".toml", ".md", ".txt", ".py", ".sh", ".lock", ".ci/run", ".gitignore", "LICENSE"];
    let mut findings = Findings::default();
    for file in read_texts("", &endings) {
        for (word, why) in FORBIDDEN {
            refuse(&mut findings, &file, word, why);
        }
        for (number, line) in (1..).zip(file.content.lines()) {
            findings.require(!line.chars().any(is_pictograph), || {
                format!("{}:{number}: holds a pictograph", file.path)
            });
        }
    }
    findings.fail_if_any();
}

/// Whether a character is one of the pictures that Unicode keeps above its scripts and symbols.
fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{1F000}'..='\u{1FAFF}' | '\u{2600}'..='\u{27BF}' | '\u{FE0F}')
}
