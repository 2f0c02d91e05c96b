//! What a chip's work takes: times and energies of its parts, as the tables under `[cost]` give them.
//!
//! Nothing here changes a result, so that a chip's identity leaves it out (`crate::file::hash_chip`). Each
//! table is optional, and so is what `nvcim-map` can say with it: counts of operations need none.

use std::ops::RangeInclusive;

use crate::reader::Section;
use crate::writer::Writer;

/// A second and a joule are far above any single step of a chip, so that a wrong unit is noticed.
const UNIT_STEP: RangeInclusive<f64> = 0.0..=1.0;

/// Times and energies of a chip; none of them unless its file says so.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UnitCosts {
    /// Times of a running chip.
    pub time: Option<TimeCost>,
    /// Energies of a running chip.
    pub energy: Option<EnergyCost>,
    /// What writing weights takes.
    pub programming: Option<ProgrammingCost>,
}

/// Times of the steps of a running chip, in seconds; each at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeCost {
    /// All word lines of an array driven once, with settling or integration: one slice of bit-serial inputs.
    pub drive_s: f64,
    /// One conversion. Lines that share a converter are converted one after the other.
    pub conversion_s: f64,
    /// The digital side's time for one element that a digital step makes.
    pub element_s: f64,
}

/// Energies of the steps of a running chip, in joules; each at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyCost {
    /// An array that takes part in one drive: its currents, sense stages and control.
    pub activation_j: f64,
    /// One word line driven once.
    pub drive_j: f64,
    /// One conversion.
    pub conversion_j: f64,
    /// Scaling one converted result and adding it up.
    pub mac_j: f64,
    /// One element that a digital step makes.
    pub element_j: f64,
}

/// What writing the cells of a chip takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProgrammingCost {
    /// Pulses until a cell holds its target, on average.
    pub pulses_per_cell: f64,
    /// One pulse with the read that verifies it, in seconds.
    pub pulse_s: f64,
    /// One pulse with the read that verifies it, in joules.
    pub pulse_j: f64,
    /// Cells of the chip that take a pulse at the same time, at least 1.
    pub cells_at_once: u64,
}

impl UnitCosts {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            time: section.optional_section("time", |it| TimeCost {
                drive_s: it.number("drive_seconds", UNIT_STEP),
                conversion_s: it.number("conversion_seconds", UNIT_STEP),
                element_s: it.number_or("element_seconds", 0.0, UNIT_STEP),
            }),
            energy: section.optional_section("energy", |it| EnergyCost {
                activation_j: it.number("activation_joules", UNIT_STEP),
                drive_j: it.number("drive_joules", UNIT_STEP),
                conversion_j: it.number("conversion_joules", UNIT_STEP),
                mac_j: it.number_or("mac_joules", 0.0, UNIT_STEP),
                element_j: it.number_or("element_joules", 0.0, UNIT_STEP),
            }),
            programming: section.optional_section("programming", |it| ProgrammingCost {
                pulses_per_cell: it.number("pulses_per_cell", 1.0..=1e6),
                pulse_s: it.number("pulse_seconds", UNIT_STEP),
                pulse_j: it.number_or("pulse_joules", 0.0, UNIT_STEP),
                cells_at_once: it.optional_integer("cells_at_once", 1..=1 << 28).unwrap_or(1),
            }),
        }
    }

    /// Writes the tables that are there.
    pub(crate) fn write(&self, out: &mut Writer) {
        let Self { time, energy, programming } = self;
        if let Some(TimeCost { drive_s, conversion_s, element_s }) = time {
            out.section("cost.time");
            out.value("drive_seconds", drive_s);
            out.value("conversion_seconds", conversion_s);
            out.value("element_seconds", element_s);
        }
        if let Some(EnergyCost { activation_j, drive_j, conversion_j, mac_j, element_j }) = energy {
            out.section("cost.energy");
            out.value("activation_joules", activation_j);
            out.value("drive_joules", drive_j);
            out.value("conversion_joules", conversion_j);
            out.value("mac_joules", mac_j);
            out.value("element_joules", element_j);
        }
        if let Some(ProgrammingCost { pulses_per_cell, pulse_s, pulse_j, cells_at_once }) =
            programming
        {
            out.section("cost.programming");
            out.value("pulses_per_cell", pulses_per_cell);
            out.value("pulse_seconds", pulse_s);
            out.value("pulse_joules", pulse_j);
            out.value("cells_at_once", cells_at_once);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::UnitCosts;
    use crate::describe::Chip;
    use crate::file::{hash_chip, parse_chip, write_chip};
    use crate::testing::plain_chip;

    const TIME: &str = "[cost.time]\ndrive_seconds = 1e-7\nconversion_seconds = 2e-8\n";
    const ENERGY: &str = "[cost.energy]\nactivation_joules = 1e-10\ndrive_joules = 1e-13\n\
                          conversion_joules = 2e-12\n";
    const PROGRAMMING: &str = "[cost.programming]\npulses_per_cell = 8\npulse_seconds = 1e-6\n";

    fn with(tables: &str) -> Result<Chip, String> {
        let text = format!("{}\n{tables}", write_chip(&plain_chip()));
        let parsed = parse_chip(&text, "").map_err(|problems| {
            let lines = problems.iter().map(|it| format!("{}: {}", it.at, it.message));
            lines.collect::<Vec<_>>().join("\n")
        });
        parsed.map(|chip| chip.output)
    }

    #[test]
    fn tables_stand_alone_and_survive_the_canonical_form() {
        for tables in [TIME, ENERGY, PROGRAMMING, &[TIME, ENERGY, PROGRAMMING].concat()] {
            let chip = with(tables).unwrap();
            assert_ne!(chip.cost, UnitCosts::default(), "{tables}");
            assert_eq!(parse_chip(&write_chip(&chip), "").unwrap().output, chip);
        }
        let cost = with(&[TIME, PROGRAMMING].concat()).unwrap().cost;
        assert_eq!(cost.time.unwrap().element_s, 0.0);
        assert_eq!(cost.programming.unwrap().cells_at_once, 1);
        assert_eq!(cost.energy, None);
    }

    #[test]
    fn a_chip_without_costs_is_written_without_them() {
        assert!(!write_chip(&plain_chip()).contains("cost"));
        assert_eq!(with("[cost]\n").unwrap(), plain_chip());
    }

    #[test]
    fn costs_are_no_part_of_a_chips_identity() {
        let source = "[sources]\n\"cost.time\" = \"x\"\n";
        let chip = with(&[TIME, source].concat()).unwrap();
        assert_eq!(hash_chip(&chip), hash_chip(&plain_chip()));
        assert_ne!(hash_chip(&with("[sources]\n\"cell\" = \"x\"\n").unwrap()), hash_chip(&chip));
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let negative = with(&TIME.replace("1e-7", "-1e-7")).unwrap_err();
        assert!(negative.contains("`cost.time.drive_seconds`: is -1e-7, must be 0.0 to 1.0"));
        let nanoseconds = with(&TIME.replace("1e-7", "100")).unwrap_err();
        assert!(nanoseconds.contains("is 100.0, must be 0.0 to 1.0"), "{nanoseconds}");
        let missing = with("[cost.energy]\ndrive_joules = 0\n").unwrap_err();
        assert!(missing.contains("`cost.energy.conversion_joules`: is missing"), "{missing}");
        let pulses = with(&PROGRAMMING.replace("= 8", "= 0.5")).unwrap_err();
        assert!(pulses.contains("must be 1.0 to 1000000.0"), "{pulses}");
        let none = with(&format!("{PROGRAMMING}cells_at_once = 0\n")).unwrap_err();
        assert!(none.contains("`cost.programming.cells_at_once`: is 0, must be 1 to"), "{none}");
    }
}
