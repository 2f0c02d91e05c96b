//! Chip files: TOML read into a [`Chip`] with every problem found, and written in one canonical form.
//!
//! `docs/chip-format.md` specifies the file key by key.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use nvcim_ir::diag::{Result, Warned};
use nvcim_ir::tiled::AdcRange;

use crate::checks;
use crate::circuits::{AdcCircuit, Circuits, DacCircuit};
use crate::describe::{
    Accumulate, Adc, AdcCoding, Arrays, BitSerial, Cell, Chip, Dac, Depthwise, Effects, Holds,
    InputDrive, NegativeInputs, Pack, PairAxis, RangePer, SignCoding, Subtract, Topology, Weights,
};
use crate::reader::{Section, read_file, to_number};
use crate::unit_costs::UnitCosts;
use crate::writer::Writer;

/// More than any chip has room for.
const MOST_COPIES: u64 = 64;

const TOPOLOGIES: &[(&str, Topology)] =
    &[("passive", Topology::Passive), ("gated", Topology::Gated)];
const PAIR_AXES: &[(&str, PairAxis)] =
    &[("columns", PairAxis::Columns), ("rows", PairAxis::Rows), ("arrays", PairAxis::Arrays)];
const SIGN_CODINGS: &[(&str, SignCoding)] = &[
    ("pairs", SignCoding::Pairs),
    ("offset-digital", SignCoding::OffsetDigital),
    ("offset-column", SignCoding::OffsetColumn),
];
const SUBTRACTS: &[(&str, Subtract)] =
    &[("analog", Subtract::Analog), ("digital", Subtract::Digital)];
const DEPTHWISE: &[(&str, Depthwise)] =
    &[("arrays", Depthwise::Arrays), ("digital", Depthwise::Digital)];
const DRIVES: &[(&str, InputDrive)] = &[
    ("amplitude", InputDrive::Amplitude),
    ("pulse-width", InputDrive::PulseWidth),
    ("bit-serial", InputDrive::BitSerial(BIT_BY_BIT)),
];
/// What `bit-serial` means where the file says no more.
const BIT_BY_BIT: BitSerial = BitSerial { bits_per_slice: 1, accumulate: Accumulate::Digital };
const ACCUMULATES: &[(&str, Accumulate)] =
    &[("digital", Accumulate::Digital), ("analog", Accumulate::Analog)];
const NEGATIVES: &[(&str, NegativeInputs)] =
    &[("two-pass", NegativeInputs::TwoPass), ("sign-magnitude", NegativeInputs::SignMagnitude)];
const ADC_CODINGS: &[(&str, AdcCoding)] =
    &[("binary", AdcCoding::Binary), ("sign-magnitude", AdcCoding::SignMagnitude)];
const RANGES_PER: &[(&str, RangePer)] =
    &[("column", RangePer::Column), ("tile", RangePer::Tile), ("layer", RangePer::Layer)];

/// `arrays.count` where a chip has as many arrays as a network needs.
const AS_NEEDED: &str = "as-needed";
/// `arrays.max_active_rows` where all rows may be driven at once.
const ALL_ROWS: &str = "all";
/// `weights.bits_per_slice` where slices hold no digits.
const SHARED: &str = "shared";
/// `weights.bits` where a weight has all the bits of its slices.
const ALL_BITS: &str = "all";
/// Cells or pairs that hold one weight.
const MAX_SLICES: u64 = 16;
/// The worth of a slice in relation to the others.
const SIGNIFICANCE: RangeInclusive<f64> = 1e-6..=1e6;
/// `cell.levels` where a cell has no levels.
const CONTINUOUS: &str = "continuous";

/// Word or bit lines of one array.
const MAX_LINES: u64 = 65_536;
pub(crate) const MAX_ARRAYS: u64 = 65_536;
/// Siemens; far above any memory cell, so that a wrong unit is noticed.
pub(crate) const MAX_SIEMENS: f64 = 1.0;

/// Reads a chip file; `place` is its name in messages.
///
/// # Errors
/// Every problem of the file: invalid TOML, a newer `schema`, unknown keys with a suggestion, values of
/// the wrong type or beyond their limits, and whatever breaks one of [`checks::CHECKS`].
pub fn parse_chip(text: &str, place: &str) -> Result<Warned<Chip>> {
    read_file(text, place, "chip", |root| {
        let chip = read_chip(root);
        for check in checks::CHECKS {
            check.run(&chip, root);
        }
        let keys = list_keys(&chip);
        for (key, _) in &chip.sources {
            if !keys.contains(key) {
                let message = format!("has a source for `{key}`, which is no key of this file");
                root.warn("sources", message);
            }
        }
        Ok(chip)
    })
}

/// Writes a chip in the canonical form: every key, defaults included, in one order.
///
/// [`parse_chip`] gives the same chip back, and two chips with the same text are the same.
pub fn write_chip(chip: &Chip) -> String {
    let Chip {
        name,
        description,
        arrays,
        cell,
        weights,
        dac,
        adc,
        holds,
        effects,
        circuits,
        cost,
        sources,
    } = chip;
    let mut out = Writer::new("chip");
    out.text("name", name);
    out.text("description", description);
    write_arrays(&mut out, arrays);
    write_cell(&mut out, cell);
    write_weights(&mut out, weights);
    write_converters(&mut out, dac, adc, circuits);
    write_holds(&mut out, holds);
    for (effect, model) in effects.models() {
        out.section(&format!("effects.{effect}"));
        model.write(&mut out);
    }
    cost.write(&mut out);
    if !sources.is_empty() {
        out.section("sources");
        for (key, source) in sources {
            out.quoted(key, source);
        }
    }
    out.finish()
}

/// BLAKE3 of the canonical form without `[cost]`: what makes a chip the same chip.
///
/// Times and energies, and where they are from, change no result: images and dies outlive better figures.
pub fn hash_chip(chip: &Chip) -> [u8; 32] {
    let of_cost = |key: &str| key.split('.').next() == Some("cost");
    let sources = chip.sources.iter().filter(|(key, _)| !of_cost(key)).cloned().collect();
    let identity = Chip { cost: UnitCosts::default(), sources, ..chip.clone() };
    blake3::hash(write_chip(&identity).as_bytes()).into()
}

/// Whether two descriptions are of the same chip, whatever they say of times and energies.
pub fn is_same_chip(a: &Chip, b: &Chip) -> bool {
    hash_chip(a) == hash_chip(b)
}

/// The dotted keys of a chip's tables and of what stands in them.
pub(crate) fn list_keys(chip: &Chip) -> BTreeSet<String> {
    let described = Chip { sources: Vec::new(), ..chip.clone() };
    let mut keys = BTreeSet::new();
    let mut table = String::new();
    for line in write_chip(&described).lines() {
        if let Some(header) = line.strip_prefix('[') {
            keys.insert(header.trim_end_matches(']').to_owned());
            table = header.replace(']', ".");
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{table}{key}"));
        }
    }
    keys
}

fn read_chip(root: &mut Section<'_>) -> Chip {
    let (name, description) = (root.required_text("name"), root.text("description"));
    let arrays = root.section("arrays", read_arrays);
    let cell = root.section("cell", read_cell);
    let weights = root.optional_section("weights", read_weights).unwrap_or_else(Weights::pairs);
    let (dac, dac_circuit) = root.section("dac", |it| (read_dac(it), DacCircuit::read(it)));
    let (adc, adc_circuit) = root.section("adc", |it| (read_adc(it), AdcCircuit::read(it)));
    Chip {
        name,
        description,
        arrays,
        cell,
        weights,
        dac,
        adc,
        circuits: Circuits { dac: dac_circuit, adc: adc_circuit },
        holds: root.optional_section("holds", read_holds).unwrap_or(Holds::NOTHING),
        effects: root.optional_section("effects", Effects::read).unwrap_or_default(),
        cost: root.optional_section("cost", UnitCosts::read).unwrap_or_default(),
        sources: root.optional_section("sources", read_sources).unwrap_or_default(),
    }
}

fn read_arrays(section: &mut Section<'_>) -> Arrays {
    Arrays {
        count: section
            .integer_or_word("count", 1..=MAX_ARRAYS, AS_NEEDED)
            .map(|count| count as usize),
        n_rows: section.integer("rows", 1..=MAX_LINES) as usize,
        n_cols: section.integer("columns", 1..=MAX_LINES) as usize,
        spare_rows: read_spared(section, "spare_rows"),
        spare_cols: read_spared(section, "spare_columns"),
        reserved_rows: read_spared(section, "reserved_rows"),
        reserved_cols: read_spared(section, "reserved_columns"),
        topology: section.choice("topology", None, TOPOLOGIES),
        pairs: section.choice("pairs", Some(PairAxis::Columns), PAIR_AXES),
        subtract: section.choice("subtract", Some(Subtract::Analog), SUBTRACTS),
        max_active_rows: section
            .integer_or_word("max_active_rows", 1..=MAX_LINES, ALL_ROWS)
            .map(|rows| rows as usize),
        pack: section.has("pack").then(|| section.choice("pack", None, Pack::NAMES)),
        depthwise: section.choice("depthwise", Some(Depthwise::Arrays), DEPTHWISE),
    }
}

/// Lines kept from weights; none unless the file says so.
fn read_spared(section: &mut Section<'_>, key: &str) -> usize {
    section.optional_integer(key, 0..=MAX_LINES).unwrap_or(0) as usize
}

fn write_arrays(out: &mut Writer, arrays: &Arrays) {
    let Arrays {
        count,
        n_rows,
        n_cols,
        spare_rows,
        spare_cols,
        reserved_rows,
        reserved_cols,
        topology,
        pairs,
        subtract,
        max_active_rows,
        pack,
        depthwise,
    } = arrays;
    out.section("arrays");
    match count {
        Some(count) => out.value("count", count),
        None => out.text("count", AS_NEEDED),
    }
    out.value("rows", n_rows);
    out.value("columns", n_cols);
    out.value("spare_rows", spare_rows);
    out.value("spare_columns", spare_cols);
    out.value("reserved_rows", reserved_rows);
    out.value("reserved_columns", reserved_cols);
    out.text("topology", name_of(TOPOLOGIES, topology));
    out.text("pairs", name_of(PAIR_AXES, pairs));
    out.text("subtract", name_of(SUBTRACTS, subtract));
    match max_active_rows {
        Some(rows) => out.value("max_active_rows", rows),
        None => out.text("max_active_rows", ALL_ROWS),
    }
    if let Some(pack) = pack {
        out.text("pack", name_of(Pack::NAMES, pack));
    }
    // Younger than chips with dies of their own, whose hash must not change.
    if *depthwise != Depthwise::Arrays {
        out.text("depthwise", name_of(DEPTHWISE, depthwise));
    }
}

fn read_cell(section: &mut Section<'_>) -> Cell {
    Cell {
        g_min: section.number("g_min_siemens", 0.0..=MAX_SIEMENS),
        g_max: section.number("g_max_siemens", 0.0..=MAX_SIEMENS),
        n_levels: section
            .integer_or_word("levels", 2..=65_536, CONTINUOUS)
            .map(|levels| levels as u32),
    }
}

fn write_cell(out: &mut Writer, cell: &Cell) {
    let Cell { g_min, g_max, n_levels } = cell;
    out.section("cell");
    out.value("g_min_siemens", g_min);
    out.value("g_max_siemens", g_max);
    match n_levels {
        Some(levels) => out.value("levels", levels),
        None => out.text("levels", CONTINUOUS),
    }
}

fn read_weights(section: &mut Section<'_>) -> Weights {
    let sign = section.choice("coding", Some(SignCoding::Pairs), SIGN_CODINGS);
    let slices = section.optional_integer("slices", 1..=MAX_SLICES).unwrap_or(1) as usize;
    let bits_per_slice =
        section.integer_or_word("bits_per_slice", 1..=8, SHARED).map(|bits| bits as u32);
    let bits = section.integer_or_word("bits", 1..=32, ALL_BITS).map(|bits| bits as u32);
    let wanted = format!("a number from {:e} to {:e}", SIGNIFICANCE.start(), SIGNIFICANCE.end());
    let mut significance = section.list("significance", &wanted, |value| {
        to_number(value).filter(|number| SIGNIFICANCE.contains(number))
    });
    if significance.is_empty() {
        significance = vec![1.0; slices];
    } else if significance.len() != slices {
        let message = format!("has {} entries for {slices} slices", significance.len());
        section.report("significance", message);
    }
    Weights { sign, bits_per_slice, bits, significance }
}

fn write_weights(out: &mut Writer, weights: &Weights) {
    let Weights { sign, bits_per_slice, bits, significance } = weights;
    out.section("weights");
    out.text("coding", name_of(SIGN_CODINGS, sign));
    out.value("slices", significance.len());
    match bits_per_slice {
        Some(bits) => out.value("bits_per_slice", bits),
        None => out.text("bits_per_slice", SHARED),
    }
    match bits {
        Some(bits) => out.value("bits", bits),
        None => out.text("bits", ALL_BITS),
    }
    out.value("significance", significance);
}

fn read_dac(section: &mut Section<'_>) -> Dac {
    Dac {
        bits: section.integer("bits", 1..=16) as u32,
        coding: read_drive(section),
        negative: section.choice("negative", Some(NegativeInputs::TwoPass), NEGATIVES),
        jitter_sd_steps: section.number_or("jitter_sd_steps", 0.0, 0.0..=65_536.0),
    }
}

/// The drive, with the keys that only some drives have.
fn read_drive(section: &mut Section<'_>) -> InputDrive {
    let drive = section.choice("drive", None, DRIVES);
    if let InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate }) = drive {
        return InputDrive::BitSerial(BitSerial {
            bits_per_slice: section
                .optional_integer("bits_per_slice", 1..=16)
                .map_or(bits_per_slice, |bits| bits as u32),
            accumulate: section.choice("accumulate", Some(accumulate), ACCUMULATES),
        });
    }
    for key in ["bits_per_slice", "accumulate"] {
        if section.has(key) {
            section.refuse(key, "is given, but `drive` is not `bit-serial`");
        }
    }
    drive
}

fn read_adc(section: &mut Section<'_>) -> Adc {
    // In currents of one cell at `g_max`; no array has more word lines than this.
    let limits = -65_536.0..=65_536.0;
    Adc {
        bits: section.integer("bits", 1..=16) as u32,
        nominal: AdcRange {
            lo: section.number("lo_cells", limits.clone()) as f32,
            hi: section.number("hi_cells", limits) as f32,
        },
        range_per: section.choice("range_per", Some(RangePer::Tile), RANGES_PER),
        coding: section.choice("coding", Some(AdcCoding::Binary), ADC_CODINGS),
    }
}

fn write_converters(out: &mut Writer, dac: &Dac, adc: &Adc, circuits: &Circuits) {
    let Dac { bits, coding, negative, jitter_sd_steps } = dac;
    out.section("dac");
    out.value("bits", bits);
    match coding {
        InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate }) => {
            out.text("drive", name_of(DRIVES, &InputDrive::BitSerial(BIT_BY_BIT)));
            out.value("bits_per_slice", bits_per_slice);
            out.text("accumulate", name_of(ACCUMULATES, accumulate));
        }
        InputDrive::Amplitude | InputDrive::PulseWidth => {
            out.text("drive", name_of(DRIVES, coding));
        }
    }
    out.text("negative", name_of(NEGATIVES, negative));
    out.value("jitter_sd_steps", jitter_sd_steps);
    circuits.dac.write(out);
    let Adc { bits, nominal: AdcRange { lo, hi }, range_per, coding } = adc;
    out.section("adc");
    out.value("bits", bits);
    out.value("lo_cells", lo);
    out.value("hi_cells", hi);
    out.text("range_per", name_of(RANGES_PER, range_per));
    out.text("coding", name_of(ADC_CODINGS, coding));
    circuits.adc.write(out);
}

fn read_holds(section: &mut Section<'_>) -> Holds {
    Holds {
        column_affine: section.flag_or("column_affine", false),
        ranges: section.flag_or("ranges", false),
        rows: section.flag_or("rows", false),
        column_signs: section.flag_or("column_signs", false),
        tile_gain: section.flag_or("tile_gain", false),
        copies: section.optional_integer("copies", 1..=MOST_COPIES).map(|copies| copies as usize),
    }
}

fn write_holds(out: &mut Writer, holds: &Holds) {
    let Holds { column_affine, ranges, rows, column_signs, tile_gain, copies } = holds;
    out.section("holds");
    out.value("column_affine", column_affine);
    out.value("ranges", ranges);
    out.value("rows", rows);
    out.value("column_signs", column_signs);
    // Younger than the first hashes of chips, which stay as they are without them.
    if *tile_gain {
        out.value("tile_gain", tile_gain);
    }
    if let Some(copies) = copies {
        out.value("copies", copies);
    }
}

fn read_sources(section: &mut Section<'_>) -> Vec<(String, String)> {
    section.keys().map(|key| (key.to_owned(), section.required_text(key))).collect()
}

/// What a file calls `value`; `names` holds every variant.
pub(crate) fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    let named = names.iter().find(|(_, named)| named == value);
    named.expect("every variant stands in its table").0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{hash_chip, parse_chip, write_chip};
    use crate::describe::Topology;
    use crate::presets::find_preset;
    use crate::testing::plain_chip;

    const SMALL: &str = r#"
schema = 1
kind = "chip"
name = "small"
[arrays]
rows = 4
columns = 8
topology = "passive"
[cell]
g_min_siemens = 0
g_max_siemens = 1e-4
[dac]
bits = 8
drive = "amplitude"
[adc]
bits = 8
lo_cells = -1
hi_cells = 1
"#;

    /// What `text` gets wrong, as `place: message [hint]`.
    fn problems(text: &str) -> Vec<String> {
        let problems = parse_chip(text, "chip.toml").expect_err(text);
        let show = |it: &nvcim_ir::diag::Diagnostic| {
            format!("{}: {} [{}]", it.at, it.message, it.hints.join("; "))
        };
        problems.iter().map(show).collect()
    }

    #[test]
    fn defaults_become_explicit() {
        let parsed = parse_chip(SMALL, "chip.toml").unwrap();
        assert!(parsed.warnings.is_empty());
        let text = write_chip(&parsed.output);
        for line in [
            "count = \"as-needed\"",
            "levels = \"continuous\"",
            "pairs = \"columns\"",
            "negative = \"two-pass\"",
            "range_per = \"tile\"",
            "kind = \"ideal\"",
            "shared_by = 1",
            "inl_steps = []",
            "column_affine = false",
            "spare_rows = 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert_eq!(parse_chip(&text, "").unwrap().output, parsed.output);
    }

    #[test]
    fn an_unknown_key_is_placed_and_explained() {
        let text = SMALL.replace("rows = 4", "rows = 4\nspare_row = 1");
        assert_eq!(
            problems(&text),
            ["chip.toml:7: `arrays.spare_row`: is not a known key [did you mean `spare_rows`?]"]
        );
        let text = SMALL.replace("lo_cells", "colour");
        assert_eq!(
            problems(&text),
            [
                "chip.toml:17: `adc.colour`: is not a known key [known keys here: bits, capacitor_sd, \
                 coding, hi_cells, inl_lsb, kind, lo_cells, range_per, shared_by]",
                "chip.toml:15: `adc.lo_cells`: is missing []"
            ]
        );
    }

    #[test]
    fn a_misspelled_key_is_reported_once() {
        let text = SMALL.replace("g_max_siemens", "g_max");
        assert_eq!(
            problems(&text),
            ["chip.toml:11: `cell.g_max`: is not a known key [did you mean `g_max_siemens`?]"]
        );
    }

    #[test]
    fn every_problem_is_collected() {
        let text = SMALL
            .replace("rows = 4", "rows = 0")
            .replace("columns = 8", "columns = \"many\"")
            .replace("\"passive\"", "\"gated\"")
            .replace("bits = 8", "bits = 17")
            .replace("hi_cells = 1", "hi_cells = nan");
        let found = problems(&text).join("\n");
        for expected in [
            "`arrays.rows`: is 0, must be 1 to 65536",
            "`arrays.columns`: is a text, must be a whole number",
            "`dac.bits`: is 17, must be 1 to 16",
            "`adc.bits`: is 17, must be 1 to 16",
            "`adc.hi_cells`: is not a number, must be a number",
            "`dac.drive`: is `amplitude` on a `gated` array (check `gated-drive`) [drive gates with",
        ] {
            assert!(found.contains(expected), "{expected} is not in\n{found}");
        }
        assert_eq!(found.lines().count(), 6, "{found}");
    }

    #[test]
    fn a_bit_serial_drive_brings_its_keys() {
        let serial = SMALL.replace("\"amplitude\"", "\"bit-serial\"");
        let text = write_chip(&parse_chip(&serial, "").unwrap().output);
        assert!(text.contains("\"bit-serial\"\nbits_per_slice = 1\naccumulate = \"digital\"\n"));
        let sliced = serial.replace("[adc]", "bits_per_slice = 3\naccumulate = \"analog\"\n[adc]");
        let parsed = parse_chip(&sliced, "").unwrap().output;
        assert_eq!(parse_chip(&write_chip(&parsed), "").unwrap().output, parsed);
        let wide = sliced.replace("= 3", "= 9");
        let found = problems(&wide);
        assert!(found[0].contains("is 9, but `bits` is 8 (check `slice-bits`)"), "{found:?}");
        let amplitude = SMALL.replace("[adc]", "accumulate = \"analog\"\n[adc]");
        let found = problems(&amplitude);
        assert!(found[0].contains("`dac.accumulate`: is given, but `drive`"), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_newer_schema_is_refused_before_anything_else() {
        let found = problems("schema = 2\nnew_table = {}");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("chip.toml:1: `schema`: is 2, this version reads up to 1 ["));
        let missing = problems("kind = \"chip\"").join("\n");
        assert!(missing.contains("chip.toml: `schema`: is missing"), "{missing}");
        assert!(problems("schema = 1\nkind = \"die\"")[0].contains("is `die`, must be `chip`"));
    }

    #[test]
    fn broken_toml_names_its_line() {
        let found = problems("schema = 1\nname = \n");
        assert!(found[0].starts_with("chip.toml:2: is not valid TOML"), "{found:?}");
    }

    /// Checks between keys keep silent about stand-ins.
    #[test]
    fn tables_missing_or_of_the_wrong_kind_are_reported_and_no_more() {
        let found = problems("schema = 1\nkind = \"chip\"\nname = 7\narrays = 3");
        assert_eq!(
            found,
            [
                "chip.toml:3: `name`: is a whole number, must be a text []",
                "chip.toml:4: `arrays`: is a whole number, must be a table []",
                "chip.toml: `cell`: is missing []",
                "chip.toml: `dac`: is missing []",
                "chip.toml: `adc`: is missing []",
            ]
        );
    }

    #[test]
    fn a_source_for_nothing_is_a_warning() {
        let text =
            format!("{SMALL}[sources]\n\"cell.g_max_siemens\" = \"x\"\n\"cell.g\" = \"y\"\n");
        let parsed = parse_chip(&text, "chip.toml").unwrap();
        assert_eq!(parsed.warnings.len(), 1);
        assert!(parsed.warnings[0].message.contains("`cell.g`"));
    }

    #[test]
    fn hashes_follow_the_meaning_not_the_layout() {
        let chip = parse_chip(SMALL, "").unwrap().output;
        let spaced = SMALL.replace(" = ", "=").replace("1e-4", "0.0001 # siemens");
        assert_eq!(hash_chip(&parse_chip(&spaced, "").unwrap().output), hash_chip(&chip));
        let other = SMALL.replace("1e-4", "2e-4");
        assert_ne!(hash_chip(&parse_chip(&other, "").unwrap().output), hash_chip(&chip));
    }

    /// Keys that are younger than the first hashes stand in the text only where they say something.
    #[test]
    fn a_gain_per_tile_is_written_where_there_is_one() {
        let without = parse_chip(SMALL, "").unwrap().output;
        let said = |value: &str| format!("{SMALL}[holds]\ntile_gain = {value}\n");
        assert_eq!(parse_chip(&said("false"), "").unwrap().output, without);
        assert!(!write_chip(&without).contains("tile_gain"));
        let with = parse_chip(&said("true"), "").unwrap().output;
        assert!(with.holds.tile_gain && !without.holds.tile_gain);
        assert_eq!(parse_chip(&write_chip(&with), "").unwrap().output, with);
        assert_ne!(hash_chip(&with), hash_chip(&without));
    }

    #[test]
    fn any_text_survives_quoting() {
        let mut chip = find_preset("nor-flash-lenet").unwrap();
        chip.description = "\"quotes\", \\ back\u{7f}slash\tand\nlines \u{1} é".into();
        chip.sources = vec![("cell.\"odd\" \n key".into(), "x".into())];
        assert_eq!(parse_chip(&write_chip(&chip), "").unwrap().output, chip);
    }

    proptest! {
        #[test]
        fn numbers_survive_the_canonical_form(
            g_max in 1e-9..1.0f64,
            hi in 1e-6f32..6e4,
            sd in 0.0..1.0f64,
            count in proptest::option::of(1usize..100),
        ) {
            let mut chip = plain_chip();
            chip.cell.g_min = g_max / 3.0;
            chip.cell.g_max = g_max;
            chip.adc.nominal.hi = hi;
            chip.arrays.count = count;
            chip.arrays.topology = Topology::Passive;
            chip.effects.programming =
                Some(crate::effects::programming::Programming::Range { sd_of_range: sd });
            prop_assert_eq!(&parse_chip(&write_chip(&chip), "").unwrap().output, &chip);
        }

        #[test]
        fn no_text_makes_reading_panic(text in "(schema|kind|arrays|rows|[a-z_.=\\[\\]\"{}0-9 \n-]){0,40}") {
            let _ = parse_chip(&text, "chip.toml");
            let _ = parse_chip(&format!("schema = 1\nkind = \"chip\"\n{text}"), "chip.toml");
        }
    }
}
