//! What each stage of the suite does with a case's input, and how its result reads as text.

use std::fmt::Write as _;

use libtest_mimic::Failed;
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::EffectSet;
use nvcim_chip::{die_file, file, presets};
use nvcim_correct::before::correct_before;
use nvcim_correct::known::Known;
use nvcim_correct::plan::Plan;
use nvcim_image::codec;
use nvcim_image::layout::{Image, Provenance};
use nvcim_ir::diag::{Result as Checked, Warned};
use nvcim_ir::graph::{Graph, verify_graph};
use nvcim_map::map_graph::{Mapped, Place, map_graph};
use toml::{Table, Value};

use crate::case::Case;
use crate::network::{parse_network, pseudo_random};

/// Runs the stage that a case's folder names.
///
/// The outer error is a mistake in the case; the inner result is what the code under test says.
pub(crate) fn run_stage(name: &str, case: &mut Case) -> Result<Checked<Warned<String>>, Failed> {
    match name {
        "chip" => Ok(show_chip(&case.input)),
        "die" => {
            let chip = take_chip(case)?;
            Ok(show_die(&case.input, &chip))
        }
        "graph" => {
            let graph = parse_network(&case.input)?;
            Ok(verify_graph(&graph).map(|()| Warned::clean(graph.to_string())))
        }
        "tile" => {
            let set = SetUp::take(case)?;
            Ok(set.map().map(|mapped| show_mapped(&set, mapped)))
        }
        "image" => {
            let set = SetUp::take(case)?;
            if set.n_calibration.is_some() {
                return Err("an image's bytes must not depend on calibration".into());
            }
            let damage = Damage::take(case)?;
            Ok(show_image(&set, &damage))
        }
        _ => Err(format!("there is no stage `{name}`").into()),
    }
}

/// A chip file's text becomes its canonical text.
fn show_chip(text: &str) -> Checked<Warned<String>> {
    let Warned { output, warnings } = file::parse_chip(text, "chip.toml")?;
    Ok(Warned { output: file::write_chip(&output), warnings })
}

/// A die file's text becomes its canonical text; in the input, `CHIP_HASH` stands for the chip's hash.
fn show_die(text: &str, chip: &Chip) -> Checked<Warned<String>> {
    let text = text.replace("CHIP_HASH", &to_hex(&file::hash_chip(chip)));
    let die = die_file::parse_die(&text, "die.toml", chip)?;
    Ok(Warned::clean(die_file::write_die(&die)))
}

fn to_hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The preset that the setting `chip` names, with the value of every dotted key of a chip file that is a
/// setting too: `# arrays.pairs: "rows"`.
fn take_chip(case: &mut Case) -> Result<Chip, Failed> {
    let preset = case.take("chip").ok_or("needs the setting `chip`")?;
    let chip = presets::find_preset(&preset).map_err(|problems| format!("{problems:?}"))?;
    let given = case.take_dotted();
    if given.is_empty() {
        return Ok(chip);
    }
    let mut file: Table = file::write_chip(&chip).parse()?;
    for (key, value) in given {
        let value: Table = format!("value = {value}").parse()?;
        let (table, key) = key.rsplit_once('.').ok_or("only dotted keys were taken")?;
        let mut open = &mut file;
        for name in table.split('.') {
            let entry = open.entry(name).or_insert_with(|| Value::Table(Table::new()));
            open = entry.as_table_mut().ok_or_else(|| format!("`{name}` is no table"))?;
        }
        open.insert(key.to_owned(), value["value"].clone());
    }
    let parsed = file::parse_chip(&file.to_string(), "the case's chip");
    parsed.map(|chip| chip.output).map_err(|problems| format!("{problems:?}").into())
}

/// A network on a chip: settings `chip` (a preset, and dotted keys where not the preset's), `rows` and
/// `columns` (of its arrays) and `calibrate` (images, made up).
struct SetUp {
    graph: Graph,
    chip: Chip,
    n_calibration: Option<usize>,
}

impl SetUp {
    fn take(case: &mut Case) -> Result<Self, Failed> {
        let graph = parse_network(&case.input)?;
        verify_graph(&graph).map_err(|problems| format!("the case's network: {problems:?}"))?;
        let mut chip = take_chip(case)?;
        chip.arrays.n_rows = case.take_number("rows")?.unwrap_or(chip.arrays.n_rows);
        chip.arrays.n_cols = case.take_number("columns")?.unwrap_or(chip.arrays.n_cols);
        Ok(Self { graph, chip, n_calibration: case.take_number("calibrate")? })
    }

    fn map(&self) -> Checked<Warned<Mapped>> {
        let input = &self.graph.node(self.graph.input()).shape;
        let images =
            self.n_calibration.map(|n| pseudo_random("images", &[&[n], &input[..]].concat()));
        map_graph(&self.graph, &self.chip, images.as_ref())
    }
}

/// Where every node went, the scales and widest ranges of layers, the program and the tiles.
fn show_mapped(set: &SetUp, mapped: Warned<Mapped>) -> Warned<String> {
    let Warned {
        output: Mapped { net, places, arrays_needed, arrays_bound, cells_used },
        warnings,
    } = mapped;
    let mut text = String::new();
    let mut line =
        |line: String| writeln!(text, "{line}").expect("strings take all that fits memory");
    for place in &places {
        let said = match &place.place {
            Place::Analog { layer, reason } => format!("analog {layer}: {reason}"),
            Place::Digital { reason } => format!("digital: {reason}"),
            Place::Folded { into } => format!("folded into `{into}`"),
        };
        line(format!("`{}` {said}", place.name));
    }
    line(format!("arrays: {arrays_needed} needed, {arrays_bound} bound"));
    line(format!("cells: {cells_used} of `{}`\n", set.chip.name));
    for (id, layer) in net.layers.iter_enumerated() {
        let drive = show_rounded(layer.input.full_scale);
        let mut weights: Vec<_> = layer.ranges.iter().copied().map(show_rounded).collect();
        weights.dedup();
        let weight = weights.join(" ");
        let tiles = net.tiles.iter().filter(|tile| tile.layer == id);
        let ranges = tiles.flat_map(|tile| &tile.readouts).map(|readout| readout.range);
        let (lo, hi) = ranges.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), range| {
            (lo.min(range.lo), hi.max(range.hi))
        });
        let (lo, hi) = (show_rounded(lo), show_rounded(hi));
        line(format!("{id} drives to {drive}, weights to {weight}, converts {lo} to {hi}"));
    }
    line(format!("\n{net}"));
    Warned { output: text, warnings }
}

/// Three digits: what calibration computes may differ in the last bits between processors.
fn show_rounded(value: f32) -> String {
    format!("{value:.2e}")
}

/// What happens to an image's bytes on the way: settings `cut` (bytes kept) and `flip` (bit number).
struct Damage {
    cut: Option<usize>,
    flip: Option<usize>,
}

impl Damage {
    fn take(case: &mut Case) -> Result<Self, Failed> {
        Ok(Self { cut: case.take_number("cut")?, flip: case.take_number("flip")? })
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if let Some(len) = self.cut {
            bytes.truncate(len);
        }
        if let Some(bit) = self.flip {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// The sections of the naive image, and the hash that moves when any byte does.
///
/// Cases go without calibration, so that no byte depends on the processor.
fn show_image(set: &SetUp, damage: &Damage) -> Checked<Warned<String>> {
    let Warned { output: Mapped { net, .. }, warnings } = set.map()?;
    let known =
        Known { chip: &set.chip, die: None, effects: EffectSet::NONE, at_s: 0.0, use_s: None };
    let net = correct_before(&net, &known, None, Plan::NONE)?.net;
    let provenance = Provenance {
        tool_version: "0.0.0".into(),
        model_hash: [7; 32],
        calibration_hash: None,
        die: None,
        corrections: Vec::new(),
        effects: Vec::new(),
        at_s: 0.0,
    };
    let image = Image { chip: set.chip.clone(), net, provenance };
    let mut bytes = codec::encode_image(&image)?;
    damage.apply(&mut bytes);
    let again = codec::decode_image(&bytes)?;
    assert_eq!(again, image, "an image reads back as it was written");
    let mut text = String::new();
    for section in codec::list_sections(&bytes)? {
        writeln!(text, "{section:?}").expect("strings take all that fits memory");
    }
    let hash = to_hex(&codec::hash_image(&bytes));
    writeln!(text, "{} bytes, hash {hash}", bytes.len())
        .expect("strings take all that fits memory");
    Ok(Warned { output: text, warnings })
}
