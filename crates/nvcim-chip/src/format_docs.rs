//! Holds `docs/chip-format.md` and `docs/die-format.md` to the code: examples load, no key is left out.

use std::path::Path;

use nvcim_ir::ids::{ArrayId, Id};

use crate::checks::CHECKS;
use crate::describe::{Accumulate, AdcCoding, BitSerial, Chip, InputDrive};
use crate::die_file::{parse_die, write_die};
use crate::effects::ir_drop::{GatedLines, IrDrop, IrDropMethod, SourceLines};
use crate::effects::read::Correlation;
use crate::file::{hash_chip, parse_chip, write_chip};
use crate::network::Wires;
use crate::presets::find_preset;

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
fn the_chip_page_has_an_example_that_loads_and_shows_every_key() {
    let page = read_page("chip-format.md");
    let parsed = parse_chip(example(&page), "docs/chip-format.md").unwrap();
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    let mut table = String::new();
    for line in write_fully(&parsed.output).lines().filter(|line| !line.starts_with('"')) {
        if line.starts_with('[') {
            line.clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once(" = ") {
            let effect = format!("| `{table}` `{key}` |");
            let row = format!("| `{key}` |");
            let wanted = if table.starts_with("[effects.") { effect } else { row };
            assert!(page.contains(&wanted), "no row {wanted}");
        }
    }
}

/// The canonical form of a chip, then of one with the choices that bring keys of their own.
fn write_fully(chip: &Chip) -> String {
    let mut choosy = chip.clone();
    let bit_serial = BitSerial { bits_per_slice: 2, accumulate: Accumulate::Analog };
    choosy.dac.coding = InputDrive::BitSerial(bit_serial);
    choosy.dac.jitter_sd_steps = 0.5;
    choosy.adc.coding = AdcCoding::SignMagnitude;
    if let Some(read) = &mut choosy.effects.read {
        read.correlation = Correlation::Image;
    }
    write_chip(chip) + &write_chip(&choosy)
}

/// The example has every effect, so that the test above sees all of their keys.
#[test]
fn the_chip_example_has_every_effect() {
    let chip = parse_chip(example(&read_page("chip-format.md")), "").unwrap().output;
    let crate::describe::Effects {
        programming,
        drift,
        stuck,
        leakage,
        ir_drop,
        read,
        nonlinearity,
        column_gain,
        column_offset,
        output_noise,
    } = chip.effects;
    let cells = programming.is_some() && drift.is_some() && stuck.is_some() && read.is_some();
    assert!(leakage.is_some() && nonlinearity.is_some());
    assert!(ir_drop.is_some());
    assert!(cells && column_gain.is_some() && column_offset.is_some() && output_noise.is_some());
}

/// The example is a passive chip; keys of gated ones are looked for by themselves.
#[test]
fn the_chip_page_lists_the_wires_of_gated_arrays() {
    let page = read_page("chip-format.md");
    let mut chip = find_preset("nor-flash-lenet").unwrap();
    chip.effects.ir_drop = Some(IrDrop {
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
    let text = write_chip(&chip);
    let (_, table) = text.split_once("[effects.ir_drop]\n").unwrap();
    let keys: Vec<_> = table.lines().map_while(|line| Some(line.split_once(" = ")?.0)).collect();
    assert_eq!(keys.len(), 10);
    for key in keys {
        assert!(page.contains(&format!("\n| `[effects.ir_drop]` `{key}` |")), "{key}");
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
