//! Rules on manifests: who may depend on whom, and which outer crate stays behind which wall.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use toml::{Table, Value};

use crate::tree::Findings;

/// One crate of the house.
pub(crate) struct Floor {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its floor; development dependencies may reach sideways, never up.
    pub(crate) level: u32,
    /// The crates of the house that it may name. The list is the architecture.
    pub(crate) inner: &'static [&'static str],
    /// The outer crates that it alone may name.
    pub(crate) walled: &'static [&'static str],
}

/// The house, from the ground up; `docs/architecture.md` holds the same table for people.
pub(crate) const FLOORS: &[Floor] = &[
    Floor { name: "nvcim-ir", level: 1, inner: &[], walled: &["petgraph"] },
    Floor { name: "nvcim-chip", level: 1, inner: &["nvcim-ir"], walled: &[] },
    Floor { name: "nvcim-lp", level: 1, inner: &[], walled: &["good_lp"] },
    Floor { name: "nvcim-ops", level: 2, inner: &["nvcim-ir"], walled: &[] },
    Floor { name: "nvcim-onnx", level: 2, inner: &["nvcim-ir"], walled: &["tract-onnx", "prost"] },
    Floor {
        name: "nvcim-image",
        level: 2,
        inner: &["nvcim-ir", "nvcim-chip"],
        walled: &["bincode"],
    },
    Floor {
        name: "nvcim-map",
        level: 3,
        inner: &["nvcim-ir", "nvcim-ops", "nvcim-chip", "nvcim-lp"],
        walled: &[],
    },
    Floor {
        name: "nvcim-correct",
        level: 3,
        inner: &["nvcim-ir", "nvcim-ops", "nvcim-chip", "nvcim-lp"],
        walled: &[],
    },
    Floor {
        name: "nvcim-sim",
        level: 3,
        inner: &["nvcim-ir", "nvcim-ops", "nvcim-chip", "nvcim-image"],
        walled: &[],
    },
    Floor {
        name: "nvcim-train",
        level: 3,
        inner: &["nvcim-ir", "nvcim-ops", "nvcim-chip"],
        walled: &["burn-autodiff", "burn-backend", "burn-flex"],
    },
    Floor {
        name: "nvcim",
        level: 4,
        inner: &[
            "nvcim-ir",
            "nvcim-ops",
            "nvcim-chip",
            "nvcim-onnx",
            "nvcim-image",
            "nvcim-map",
            "nvcim-correct",
            "nvcim-sim",
            "nvcim-train",
        ],
        walled: &[],
    },
    Floor {
        name: "nvcim-cli",
        level: 6,
        inner: &["nvcim"],
        walled: &["clap", "clap_complete", "indicatif", "miette"],
    },
];

/// The cargo features that the whole workspace may have.
const FEATURES: &[&str] = &["default", "train", "cuda"];

/// What every manifest takes from the workspace.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license"];

/// The manifest of every folder in `crates/`, by folder name.
fn read_manifests() -> BTreeMap<String, Table> {
    let crates = nvcim_tests::repository().join("crates");
    let folders = fs::read_dir(crates).expect("the repository has a folder `crates`");
    folders
        .map(|entry| {
            let folder = entry.expect("the folder was just opened").path();
            let name = folder.file_name().expect("entries have names").to_string_lossy();
            let text = fs::read_to_string(folder.join("Cargo.toml"))
                .unwrap_or_else(|error| panic!("`crates/{name}/Cargo.toml`: {error}"));
            (name.into_owned(), text.parse().expect("cargo has read this manifest"))
        })
        .collect()
}

/// Who names each outer crate, in any kind of dependency table; members by their short names.
pub(crate) fn namers_of_outer_crates() -> BTreeMap<String, BTreeSet<String>> {
    let path = nvcim_tests::repository().join("tests/Cargo.toml");
    let tests = fs::read_to_string(path).expect("this package has a manifest");
    let mut manifests = read_manifests();
    manifests.insert("tests".to_owned(), tests.parse().expect("cargo has read this manifest"));
    let mut res: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, manifest) in &manifests {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for outer in dependencies(manifest, kind) {
                if !outer.starts_with("nvcim") {
                    res.entry(outer).or_default().insert(short_name(name));
                }
            }
        }
    }
    res
}

/// A crate's name as tables give it: without `nvcim-`.
pub(crate) fn short_name(name: &str) -> String {
    name.strip_prefix("nvcim-").unwrap_or(name).to_owned()
}

/// The packages named by one kind of dependency table, platform-specific ones included.
fn dependencies(manifest: &Table, kind: &str) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let platforms = targets.into_iter().flat_map(|targets| targets.values());
    let tables = platforms.filter_map(Value::as_table).chain([manifest]);
    let entries = tables.filter_map(|table| table.get(kind)?.as_table()).flatten();
    entries
        .map(|(key, value)| match value.get("package").and_then(Value::as_str) {
            Some(renamed) => renamed.to_owned(),
            None => key.clone(),
        })
        .collect()
}

fn floor_of(name: &str) -> Option<&'static Floor> {
    FLOORS.iter().find(|floor| floor.name == name)
}

#[test]
fn every_crate_has_a_floor() {
    let folders: Vec<_> = read_manifests().into_keys().collect();
    let mut listed: Vec<_> = FLOORS.iter().map(|floor| floor.name).collect();
    listed.sort_unstable();
    assert_eq!(folders, listed, "a crate came or went: say so in FLOORS and docs/architecture.md");
}

#[test]
fn crates_stand_on_lower_floors() {
    let mut findings = Findings::default();
    for (name, manifest) in read_manifests() {
        let Some(floor) = floor_of(&name) else { continue };
        for kind in ["dependencies", "build-dependencies"] {
            for inner in dependencies(&manifest, kind).iter().filter(|it| it.starts_with("nvcim")) {
                findings.require(floor.inner.contains(&inner.as_str()), || {
                    format!("`{name}` may not depend on `{inner}`")
                });
            }
        }
        for inner in dependencies(&manifest, "dev-dependencies") {
            let above = floor_of(&inner).is_some_and(|other| other.level > floor.level);
            findings.require(!above && inner != "nvcim-tests", || {
                format!("`{name}` may not reach up to `{inner}`, not even in tests")
            });
        }
    }
    findings.fail_if_any();
}

#[test]
fn outer_crates_stay_behind_their_walls() {
    let mut findings = Findings::default();
    let manifests = read_manifests();
    for floor in FLOORS {
        for walled in floor.walled {
            let own = dependencies(&manifests[floor.name], "dependencies");
            findings.require(own.contains(*walled), || {
                format!("`{}` no longer names `{walled}`: drop the wall", floor.name)
            });
        }
    }
    for (name, manifest) in &manifests {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for outer in dependencies(manifest, kind) {
                let owner = FLOORS.iter().find(|floor| floor.walled.contains(&outer.as_str()));
                findings.require(owner.is_none_or(|owner| owner.name == name), || {
                    format!(
                        "`{outer}` stays behind `{}`: `{name}` may not name it",
                        owner.map_or("", |it| it.name)
                    )
                });
            }
        }
    }
    findings.fail_if_any();
}

#[test]
fn manifests_follow_the_workspace() {
    let mut findings = Findings::default();
    for (name, manifest) in read_manifests() {
        let package = manifest["package"].as_table().expect("a member has a package");
        for key in INHERITED {
            let inherits = package.get(*key).and_then(|value| value.get("workspace"));
            findings.require(inherits.and_then(Value::as_bool) == Some(true), || {
                format!("`{name}` must say `{key}.workspace = true`")
            });
        }
        findings.require(package.contains_key("description"), || {
            format!("`{name}` has no description")
        });
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        findings.require(lints.and_then(Value::as_bool) == Some(true), || {
            format!("`{name}` must take the workspace's lints")
        });
        let features = manifest.get("features").and_then(Value::as_table);
        for feature in features.into_iter().flat_map(Table::keys) {
            findings.require(FEATURES.contains(&feature.as_str()), || {
                format!("`{name}` adds feature `{feature}`; the workspace has {FEATURES:?}")
            });
        }
    }
    findings.fail_if_any();
}
