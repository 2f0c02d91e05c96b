//! Holds `docs/chip-format.md` and `docs/die-format.md` to the code: examples load, no key is left out.

use std::path::Path;

use nvcim_ir::diag::Diagnostic;
use nvcim_ir::ids::{ArrayId, Id};

use crate::checks::CHECKS;
use crate::describe::{Accumulate, BitSerial, Chip, Depthwise, InputDrive, Pack, Topology};
use crate::die_file::{parse_die, write_die};
use crate::effects::Effect;
use crate::effects::ir_drop::{GatedLines, IrDrop, IrDropMethod, SourceLines};
use crate::file::{hash_chip, parse_chip, write_chip};
use crate::network::Wires;
use crate::presets::PRESETS;
use crate::testing::plain_chip;

fn read_page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The one example of a page.
fn example(page: &str) -> &str {
    let (_, rest) = page.split_once("```toml\n").expect("the page has an example");
    rest.split_once("```").expect("the example ends").0
}

#[test]
fn the_chip_page_has_an_example_that_loads() {
    let parsed = parse_chip(example(&read_page("chip-format.md")), "docs/chip-format.md").unwrap();
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
}

/// Chips that between them have every effect in every form.
fn chips_of_every_form() -> Vec<Chip> {
    let page = read_page("chip-format.md");
    let mut texts = vec![example(&page), include_str!("../tests/chips/nor-floating-gate.toml")];
    texts.extend(PRESETS.iter().map(|(_, text)| *text));
    let mut chips: Vec<_> = texts.iter().map(|text| parse_chip(text, "").unwrap().output).collect();
    let base = write_chip(&plain_chip());
    chips.extend(
        OTHER_FORMS
            .iter()
            .map(|tables| parse_chip(&format!("{base}\n{tables}"), tables).unwrap().output),
    );
    let mut bit_serial = plain_chip();
    bit_serial.dac.coding =
        InputDrive::BitSerial(BitSerial { bits_per_slice: 2, accumulate: Accumulate::Analog });
    bit_serial.holds.tile_gain = true;
    bit_serial.holds.copies = Some(2);
    chips.push(bit_serial);
    let mut gated = plain_chip();
    gated.arrays.topology = Topology::Gated;
    gated.arrays.pack = Some(Pack::Concurrent);
    gated.arrays.depthwise = Depthwise::Digital;
    gated.effects.ir_drop = Some(IrDrop {
        wires: Wires::IDEAL,
        method: IrDropMethod::Exact,
        gated: Some(GatedLines {
            bit_line_volts: 0.5,
            source_line_ohm: 0.0,
            source_lines: SourceLines::AlongBitLines,
            output_conductance_per_volt: 0.0,
            subthreshold_volts: 0.039,
        }),
    });
    chips.push(gated);
    chips
}

/// Forms that neither the example nor a preset has.
const OTHER_FORMS: &[&str] = &[
    "[cost.time]\ndrive_seconds = 0\nconversion_seconds = 0\n[cost.energy]\nactivation_joules = 0\n\
     drive_joules = 0\nconversion_joules = 0\n[cost.programming]\npulses_per_cell = 1\n\
     pulse_seconds = 0",
    "[effects.programming]\nform = \"share\"\nsd_of_g = 0.1",
    "[effects.programming]\nform = \"lognormal\"\nsd_of_log = 0.1\n[effects.temperature]\n\
     relative_per_kelvin = 1e-3\nreference_celsius = 25\ntemperature_celsius = 85",
    "[effects.measured]\ntimes_seconds = [1, 60]\ntargets_siemens = [0, 1e-4]\n\
     mean_siemens = [[0, 1e-4], [0, 9e-5]]\nsd_siemens = [[0, 1e-6], [0, 2e-6]]",
];

#[test]
fn the_chip_page_lists_every_key() {
    let page = read_page("chip-format.md");
    for chip in chips_of_every_form() {
        let mut table = String::new();
        for line in write_chip(&chip).lines().filter(|line| !line.starts_with('"')) {
            if line.starts_with('[') {
                line.clone_into(&mut table);
            } else if let Some((key, value)) = line.split_once(" = ") {
                let effect = format!("| `{table}` `{key}` |");
                let row = format!("| `{key}` |");
                let wanted = if table.starts_with("[effects.") { effect } else { row };
                assert!(page.contains(&wanted), "no row {wanted}");
                assert!(key != "form" || page.contains(&format!("`{value}`")), "{table} {value}");
            }
        }
    }
}

#[test]
fn the_chip_page_lists_every_kind_of_fit() {
    let page = read_page("chip-format.md");
    let chips = chips_of_every_form();
    let texts: Vec<_> = chips.iter().map(write_chip).collect();
    for key in ["polynomial", "polynomial_of_microsiemens", "log", "below", "power", "saturating"] {
        assert!(page.contains(&format!("{key} = ")), "{key}");
        assert!(texts.iter().any(|text| text.contains(&format!(" {key} = "))), "no chip has {key}");
    }
}

/// What [`the_chip_page_lists_every_key`] sees is everything.
#[test]
fn the_chips_of_every_form_have_every_effect() {
    let chips = chips_of_every_form();
    let base = write_chip(&plain_chip());
    for effect in Effect::ALL {
        let described = chips.iter().any(|chip| chip.describes(effect));
        let text = format!("{base}\n[effects.{effect}]\n");
        let unknown = |problem: &Diagnostic| problem.message == "is not a known key";
        let has_keys = !parse_chip(&text, "").is_err_and(|problems| problems.iter().any(unknown));
        assert!(described || !has_keys, "{effect}");
    }
}

#[test]
fn the_chip_page_lists_every_check() {
    let page = read_page("chip-format.md");
    for check in CHECKS {
        assert!(page.contains(&format!("\n| `{}` |", check.name)), "{}", check.name);
    }
}

#[test]
fn the_die_page_has_an_example_for_the_chip_example() {
    let chip = parse_chip(example(&read_page("chip-format.md")), "").unwrap().output;
    let page = read_page("die-format.md");
    let die = parse_die(example(&page), "docs/die-format.md", &chip).unwrap();
    assert_eq!(die.chip_hash, hash_chip(&chip));
    assert_eq!(die.arrays.len(), 8);
    // One bad row, two bad columns, then five letters of which none sits on a bad line.
    assert_eq!(die.arrays[ArrayId::new(0)].stuck.len(), 128 + 2 * 127 + 5);
    assert_eq!(die.arrays[ArrayId::new(5)].stuck.len(), 1);
    assert_eq!(parse_die(&write_die(&die), "", &chip).unwrap(), die);
}
