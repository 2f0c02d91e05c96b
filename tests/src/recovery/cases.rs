//! The cases of the recovery table: a chip, the times of correction and use, and what is asked of them.
//!
//! Strengths of effects and limits are fixed here, before any result is seen.

use nvcim::chips::open_chip;
use nvcim::describe::Chip;
use nvcim::diag::Result;
use nvcim::presets::find_preset;

use crate::recovery::networks::Family;
use crate::repository;

/// Seconds of a Julian year, as drift models count it.
const YEAR_S: f64 = 3.155_76e7;

/// One chip, at its times.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// How the table calls it.
    pub name: &'static str,
    chip: CaseChip,
    /// Seconds after programming at which the die is measured and corrected.
    pub corrected_at_s: f64,
    /// Seconds after programming at which it is used.
    pub used_at_s: f64,
    lenet: Limit,
    resnet: Limit,
}

#[derive(Debug, Clone, Copy)]
enum CaseChip {
    Preset(&'static str),
    /// A file of `tests/recovery`, without its ending.
    File(&'static str),
}

/// What is asked of a correction; it is enough to keep one of the two bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Least recovery from naive in percent.
    pub recovery: Option<f64>,
    /// Most points lost to the float network.
    pub points: Option<f64>,
}

/// What must be reached, and what would be better still.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// What must be reached.
    pub must: Bounds,
    /// What would be better still.
    pub stretch: Option<Bounds>,
}

const fn recover(percent: f64) -> Limit {
    Limit { must: Bounds { recovery: Some(percent), points: None }, stretch: None }
}

const fn lose(points: f64) -> Limit {
    Limit { must: Bounds { recovery: None, points: Some(points) }, stretch: None }
}

const fn recover_or_lose(percent: f64, points: f64) -> Limit {
    Limit { must: Bounds { recovery: Some(percent), points: Some(points) }, stretch: None }
}

impl Limit {
    const fn better(self, stretch: Limit) -> Self {
        Self { must: self.must, stretch: Some(stretch.must) }
    }
}

impl Case {
    /// A case of a file of its own name, corrected and used right after programming.
    const fn fresh(name: &'static str, lenet: Limit, resnet: Limit) -> Self {
        let chip = CaseChip::File(name);
        Self { name, chip, corrected_at_s: 0.0, used_at_s: 0.0, lenet, resnet }
    }

    /// A chip corrected at the time of use.
    const fn aged(
        name: &'static str,
        chip: CaseChip,
        at_s: f64,
        lenet: Limit,
        resnet: Limit,
    ) -> Self {
        Self { name, chip, corrected_at_s: at_s, used_at_s: at_s, lenet, resnet }
    }

    /// Reads the chip.
    ///
    /// # Errors
    /// A chip file that is missing or broken.
    pub fn open_chip(&self) -> Result<Chip> {
        match self.chip {
            CaseChip::Preset(name) => find_preset(name),
            CaseChip::File(name) => {
                let path = repository().join(format!("tests/recovery/{name}.toml"));
                Ok(open_chip(&path.display().to_string())?.output)
            }
        }
    }

    /// What is asked of networks of this family.
    pub fn limit(&self, family: Family) -> Limit {
        match family {
            Family::LeNet => self.lenet,
            Family::ResNet => self.resnet,
        }
    }
}

/// Every case, in the order of the table.
pub const CASES: [Case; 13] = [
    Case::fresh("stuck-a", recover(99.5), recover(95.0).better(recover(98.0))),
    Case::fresh("stuck-a-turned", recover(99.5), recover(95.0).better(recover(98.0))),
    Case::fresh("stuck-20", recover(97.0), recover(60.0).better(recover(85.0))),
    Case::fresh("wires-separate", recover(99.5), recover(98.0)),
    Case::fresh("wires-interleaved", recover(99.5), recover(98.0)),
    Case::fresh("adc-4", lose(0.3), lose(3.0).better(lose(1.0))),
    Case::fresh("columns", recover(99.5), recover(98.0)),
    Case::aged(
        "drift-refresh",
        CaseChip::File("drift"),
        YEAR_S,
        recover_or_lose(98.0, 0.3),
        recover(95.0),
    ),
    Case {
        name: "drift-never",
        chip: CaseChip::File("drift"),
        corrected_at_s: 0.0,
        used_at_s: YEAR_S,
        lenet: recover_or_lose(85.0, 0.3),
        resnet: recover(75.0),
    },
    Case::aged(
        "stress-a",
        CaseChip::Preset("stress-a"),
        YEAR_S,
        recover(95.0),
        recover(80.0).better(recover(90.0)),
    ),
    Case::aged(
        "stress-a-turned",
        CaseChip::File("stress-a-turned"),
        YEAR_S,
        recover(95.0),
        recover(80.0).better(recover(90.0)),
    ),
    Case::aged(
        "stress-b",
        CaseChip::Preset("stress-b"),
        YEAR_S,
        recover(99.0),
        recover(95.0).better(recover(98.0)),
    ),
    Case::aged(
        "stress-c",
        CaseChip::Preset("stress-c"),
        10.0 * YEAR_S,
        recover(90.0),
        recover(60.0).better(recover(75.0)),
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nvcim::file::{parse_chip, write_chip};
    use toml::{Table, Value};

    use super::{CASES, CaseChip};
    use crate::repository;

    /// The chip files of the study, by name.
    fn files() -> BTreeSet<&'static str> {
        let name = |chip| match chip {
            CaseChip::File(name) => Some(name),
            CaseChip::Preset(_) => None,
        };
        CASES.iter().filter_map(|case| name(case.chip)).collect()
    }

    fn read(name: &str) -> String {
        let path = repository().join(format!("tests/recovery/{name}.toml"));
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Dotted names of every key with a value.
    fn keys(prefix: &str, table: &Table, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => keys(&name, inner, found),
                _ => drop(found.insert(name)),
            }
        }
    }

    #[test]
    fn every_file_has_a_case_and_opens_on_its_purpose() {
        let folder = std::fs::read_dir(repository().join("tests/recovery")).unwrap();
        let there: BTreeSet<String> =
            folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(there, files().iter().map(|name| format!("{name}.toml")).collect());
        for name in files() {
            let text = read(name);
            assert!(text.starts_with("# ") && text.lines().next().unwrap().len() > 30, "{name}");
            let chip = parse_chip(&text, name).unwrap();
            assert!(chip.warnings.is_empty(), "{name}: {:?}", chip.warnings);
            assert_eq!(chip.output.name, name);
        }
        for case in CASES {
            case.open_chip().unwrap();
        }
    }

    #[test]
    fn every_key_of_the_files_names_its_source() {
        for name in files() {
            let chip = parse_chip(&read(name), name).unwrap().output;
            let canonical: Table = write_chip(&chip).parse().unwrap();
            let mut found = BTreeSet::new();
            keys("", &canonical, &mut found);
            for key in found.iter().filter(|key| key.contains('.') && !key.starts_with("sources."))
            {
                let covers = |source: &str| {
                    key.strip_prefix(source)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                let covered = chip.sources.iter().any(|(source, _)| covers(source));
                assert!(covered, "{name}: {key} has no source");
            }
        }
    }

    /// A case is about one effect: whatever else a file says must be what the others say.
    #[test]
    fn single_effects_share_one_base() {
        let base = |name: &str| {
            let mut table: Table = read(name).parse().unwrap();
            for own in ["name", "description", "effects", "sources"] {
                table.remove(own);
            }
            table
        };
        let stuck = base("stuck-a");
        assert_eq!(base("stuck-a-turned"), stuck);
        assert_eq!(base("stuck-20"), stuck);
        let without = |mut table: Table, part: &str| {
            table.remove(part);
            table
        };
        for (name, part) in [("adc-4", "adc"), ("columns", "adc"), ("drift", "cell")] {
            assert_eq!(without(base(name), part), without(stuck.clone(), part), "{name}");
        }
        for name in ["wires-interleaved", "wires-separate"] {
            let rest = |table: Table| without(without(table, "arrays"), "cell");
            assert_eq!(rest(base(name)), rest(stuck.clone()), "{name}");
        }
    }
}
