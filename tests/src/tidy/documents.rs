//! Rules on documents: what must exist, what must be linked, and what must move with the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::manifests::{FLOORS, namers_of_outer_crates, short_name};
use crate::tree::{Findings, Text, read_texts};

/// What the top folder shows; helper files wear a dot.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "crates",
    "docs",
    "examples",
    "onnx-models",
    "tests",
];

/// Documents that readers and file formats depend on.
const REQUIRED: &[&str] = &[
    "README.md",
    "docs/architecture.md",
    "docs/style.md",
    "docs/chip-format.md",
    "docs/die-format.md",
    "docs/image-format.md",
    "onnx-models/README.md",
];

/// Commands that the README promises and `.ci/run` calls.
const PROMISED: &[&str] = &["cargo run --release -- demo", "cargo test --workspace"];

fn read(path: &str) -> String {
    fs::read_to_string(nvcim_tests::repository().join(path))
        .unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

fn markdown() -> Vec<Text> {
    read_texts("", &[".md"])
}

/// The targets of a document's Markdown links that point into the repository, as paths below the top.
fn links(document: &Text) -> BTreeSet<String> {
    let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let targets = document.content.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .map(|target| normalize(folder, target.split('#').next().unwrap_or(target)))
        .collect()
}

/// Joins a link to its document's folder and resolves `..`.
fn normalize(folder: &str, target: &str) -> String {
    let mut parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn the_top_folder_shows_only_what_it_should() {
    let ignored = read(".gitignore");
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let mut findings = Findings::default();
    for entry in fs::read_dir(nvcim_tests::repository()).expect("the repository is there") {
        let name = entry.expect("the folder was just opened").file_name();
        let name = name.to_string_lossy();
        let known = name.starts_with('.') || [&ignored[..], TOP_LEVEL].concat().contains(&&*name);
        findings.require(known, || format!("`{name}` does not belong in the top folder"));
    }
    findings.fail_if_any();
}

#[test]
fn every_required_document_exists() {
    let mut findings = Findings::default();
    for path in REQUIRED {
        let there = nvcim_tests::repository().join(path).is_file();
        findings.require(there, || format!("`{path}` is missing"));
    }
    findings.fail_if_any();
}

#[test]
fn every_page_has_a_title_and_a_way_to_it() {
    let pages = markdown();
    let entrances = ["README.md", "docs/architecture.md"];
    let linked: BTreeSet<_> = pages
        .iter()
        .filter(|page| entrances.contains(&page.path.as_str()))
        .flat_map(links)
        .collect();
    let mut findings = Findings::default();
    for page in &pages {
        findings.require(page.content.starts_with("# "), || {
            format!("`{}` must open with its title, `# ...`", page.path)
        });
        let reachable = page.path == "README.md" || linked.contains(&page.path);
        findings.require(reachable || !page.path.starts_with("docs/"), || {
            format!("`{}` is linked from neither README.md nor docs/architecture.md", page.path)
        });
    }
    findings.fail_if_any();
}

#[test]
fn every_link_leads_somewhere() {
    let mut findings = Findings::default();
    for page in markdown() {
        for target in links(&page) {
            findings.require(nvcim_tests::repository().join(&target).exists(), || {
                format!("`{}` links to `{target}`, which is not there", page.path)
            });
        }
    }
    findings.fail_if_any();
}

#[test]
fn the_architecture_page_shows_the_floors_as_they_are() {
    let text = read("docs/architecture.md");
    let mut findings = Findings::default();
    for floor in FLOORS {
        let start = format!("| {} | `{}` |", floor.level, floor.name);
        let Some(row) = text.lines().find(|line| line.starts_with(&start)) else {
            findings.add(format!("docs/architecture.md has no row that starts `{start}`"));
            continue;
        };
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, _, _, _job, inner, walled, _] = cells[..] else {
            findings.add(format!("the row of `{}` must have five cells", floor.name));
            continue;
        };
        let want: Vec<_> = floor.inner.iter().map(|name| short_name(name)).collect();
        for (said, want) in [(inner, want.join(", ")), (walled, floor.walled.join(", "))] {
            let want = if want.is_empty() { "-" } else { &want };
            findings.require(said == want, || {
                format!(
                    "docs/architecture.md says `{said}` of `{}`, code says `{want}`",
                    floor.name
                )
            });
        }
    }
    findings.fail_if_any();
}

#[test]
fn every_outer_crate_has_its_reason() {
    let text = read("docs/decisions/dependencies.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| crate |"));
    let mut listed = BTreeMap::new();
    for row in rows {
        let mut cells = row.split('|').skip(1).map(|cell| cell.split(',').map(str::trim));
        let (Some(crates), Some(namers)) = (cells.next(), cells.next()) else { continue };
        let namers: BTreeSet<_> = namers.map(str::to_owned).collect();
        listed.extend(crates.map(|name| (name.to_owned(), namers.clone())));
    }
    let named = namers_of_outer_crates();
    let mut findings = Findings::default();
    for name in named.keys().chain(listed.keys()).collect::<BTreeSet<_>>() {
        let [said, want] = [&listed, &named].map(|table| table.get(name));
        findings.require(said == want, || {
            format!("docs/decisions/dependencies.md: `{name}` has {said:?}, manifests {want:?}")
        });
    }
    findings.fail_if_any();
}

#[test]
fn the_readme_promises_what_the_checks_run() {
    let mut findings = Findings::default();
    for (path, text) in [("README.md", read("README.md")), (".ci/run", read(".ci/run"))] {
        for command in PROMISED {
            findings.require(text.contains(command), || format!("`{path}` lacks `{command}`"));
        }
    }
    findings.fail_if_any();
}

#[test]
fn links_resolve_from_their_document() {
    assert_eq!(normalize("docs/decisions", "../style.md"), "docs/style.md");
    assert_eq!(normalize("", "./docs//a.md"), "docs/a.md");
}
