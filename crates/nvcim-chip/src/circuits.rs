//! The circuits round the arrays as they are built: what `[dac]` and `[adc]` say beyond resolution and range.
//!
//! [`crate::describe::Dac`] and [`crate::describe::Adc`] say what a converter is to do; this says how it
//! does it, who shares it, and how its steps and levels stray. The defaults are perfect circuits. The
//! formulas stand in `effects/adc_linearity.rs` and `effects/driver_errors.rs`.

use crate::file::name_of;
use crate::reader::{Section, to_number};
use crate::writer::Writer;

/// The converters as built.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Circuits {
    /// The input converters.
    pub dac: DacCircuit,
    /// The output converters.
    pub adc: AdcCircuit,
}

/// How word line drivers stray from even steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DacCircuit {
    /// Standard deviation of a driver's gain round 1; one draw per word line of a die.
    pub gain_sd: f64,
    /// Standard deviation of a driver's offset in steps of the DAC; one draw per word line of a die.
    pub offset_sd_steps: f64,
    /// How far each drive lies from its place, in steps of the DAC, common to all drivers: one entry per
    /// code from rest to full scale, the first 0; empty for even steps.
    pub inl_steps: Vec<f64>,
}

/// How a converter finds its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdcKind {
    /// By rounding; its levels lie where they should, or where a table says.
    #[default]
    Ideal,
    /// By successive approximation: bit by bit against a ladder of binary capacitors.
    Sar,
    /// By counting until a ramp passes the input.
    Ramp,
}

/// How output converters stray from even levels, and who shares them.
#[derive(Debug, Clone, PartialEq)]
pub struct AdcCircuit {
    /// How a code is found.
    pub kind: AdcKind,
    /// Neighbouring bit lines that take turns at one converter, at least 1.
    pub shared_by: u32,
    /// Standard deviation of a unit capacitor as a share of itself; 0 unless `kind` is
    /// [`AdcKind::Sar`].
    pub capacitor_sd: f64,
    /// What all converters of the design have in common.
    pub inl_lsb: AdcInl,
}

impl Default for AdcCircuit {
    fn default() -> Self {
        Self { kind: AdcKind::Ideal, shared_by: 1, capacitor_sd: 0.0, inl_lsb: AdcInl::Bow(0.0) }
    }
}

/// Integral nonlinearity that all converters of a design have in common, in LSB of the range that is set.
#[derive(Debug, Clone, PartialEq)]
pub enum AdcInl {
    /// The most that a quadratic ramp departs from a straight one, in mid range.
    Bow(f64),
    /// How far the transition up to each code lies from its place: one entry per code, of which the first
    /// belongs to no transition and is 0.
    Table(Vec<f64>),
}

const KINDS: &[(&str, AdcKind)] =
    &[("ideal", AdcKind::Ideal), ("sar", AdcKind::Sar), ("ramp", AdcKind::Ramp)];

/// The most that a level can be shifted, in LSB or steps: the most codes that a converter has.
const MAX_SHIFT: f64 = 65_536.0;
/// Unit capacitors stay positive for every draw, which is at most 6.8.
const MAX_CAPACITOR_SD: f64 = 0.1;

impl DacCircuit {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            gain_sd: section.number_or("gain_sd", 0.0, 0.0..=1.0),
            offset_sd_steps: section.number_or("offset_sd_steps", 0.0, 0.0..=MAX_SHIFT),
            inl_steps: read_shifts(section, "inl_steps"),
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let Self { gain_sd, offset_sd_steps, inl_steps } = self;
        out.value("gain_sd", gain_sd);
        out.value("offset_sd_steps", offset_sd_steps);
        out.value("inl_steps", inl_steps);
    }
}

impl AdcCircuit {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            kind: section.choice("kind", Some(AdcKind::Ideal), KINDS),
            shared_by: section.optional_integer("shared_by", 1..=65_536).unwrap_or(1) as u32,
            capacitor_sd: section.number_or("capacitor_sd", 0.0, 0.0..=MAX_CAPACITOR_SD),
            inl_lsb: if section.has_list("inl_lsb") {
                AdcInl::Table(read_shifts(section, "inl_lsb"))
            } else {
                AdcInl::Bow(section.number_or("inl_lsb", 0.0, -MAX_SHIFT..=MAX_SHIFT))
            },
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let Self { kind, shared_by, capacitor_sd, inl_lsb } = self;
        out.text("kind", name_of(KINDS, kind));
        out.value("shared_by", shared_by);
        out.value("capacitor_sd", capacitor_sd);
        match inl_lsb {
            AdcInl::Bow(peak) => out.value("inl_lsb", peak),
            AdcInl::Table(shifts) => out.value("inl_lsb", shifts),
        }
    }

    /// The converter of a physical bit line, counted from 0 in its array.
    ///
    /// Neighbours share, the last ones of an array perhaps fewer. Conversions through one converter
    /// follow each other: they share its errors and never meet in time.
    pub fn converter_of(&self, line: u32) -> u32 {
        line / self.shared_by
    }
}

fn read_shifts(section: &mut Section<'_>, key: &str) -> Vec<f64> {
    let wanted = format!("a number from {:?} to {MAX_SHIFT:?}", -MAX_SHIFT);
    section.list(key, &wanted, |entry| {
        to_number(entry).filter(|shift| (-MAX_SHIFT..=MAX_SHIFT).contains(shift))
    })
}

#[cfg(test)]
mod tests {
    use super::{AdcCircuit, AdcInl, AdcKind, Circuits, DacCircuit};
    use crate::file::{parse_chip, write_chip};
    use crate::testing::plain_chip;

    /// What the plain chip's file, with `line` added to `table`, gets wrong.
    fn problems(table: &str, line: &str) -> Vec<String> {
        // Defaults are left out, so that a line never repeats a key.
        let defaults = ["kind", "shared_by", "capacitor_sd", "inl_lsb", "gain_sd", "inl_steps"]
            .into_iter()
            .chain(["drive", "coding"].into_iter().filter(|key| line.contains(key)));
        let text = write_chip(&plain_chip());
        let (head, tables) = text.split_once("[arrays]").unwrap();
        let kept = tables
            .lines()
            .filter(|line| defaults.clone().all(|key| !line.starts_with(&format!("{key} = "))));
        let tables = kept.collect::<Vec<_>>().join("\n");
        let text = format!("{head}[arrays]{tables}\n")
            .replace(&format!("[{table}]\n"), &format!("[{table}]\n{line}\n"));
        let problems = parse_chip(&text, "").expect_err(&text);
        problems.iter().map(|problem| format!("{}: {}", problem.at, problem.message)).collect()
    }

    #[test]
    fn neighbours_share_a_converter() {
        let circuit = AdcCircuit { shared_by: 4, ..AdcCircuit::default() };
        let converters: Vec<_> = (0..10).map(|line| circuit.converter_of(line)).collect();
        assert_eq!(converters, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
        assert_eq!(AdcCircuit::default().converter_of(7), 7);
    }

    #[test]
    fn circuits_survive_the_canonical_form() {
        let mut chip = plain_chip();
        (chip.dac.bits, chip.adc.bits) = (2, 2);
        chip.circuits = Circuits {
            dac: DacCircuit {
                gain_sd: 0.01,
                offset_sd_steps: 0.5,
                inl_steps: vec![0.0, 0.25, -0.125, 0.0],
            },
            adc: AdcCircuit {
                kind: AdcKind::Sar,
                shared_by: 8,
                capacitor_sd: 0.02,
                inl_lsb: AdcInl::Table(vec![0.0, 0.5, -0.5, 0.1]),
            },
        };
        assert_eq!(parse_chip(&write_chip(&chip), "").unwrap().output, chip);
        chip.circuits.adc = AdcCircuit {
            kind: AdcKind::Ramp,
            inl_lsb: AdcInl::Bow(-0.75),
            ..AdcCircuit::default()
        };
        assert_eq!(parse_chip(&write_chip(&chip), "").unwrap().output, chip);
    }

    #[test]
    fn what_contradicts_is_refused() {
        let cases = [
            ("adc", "shared_by = 0", "`adc.shared_by`: is 0, must be 1 to 65536"),
            ("adc", "shared_by = 9", "`adc.shared_by`: is 9, the arrays have 8 columns"),
            ("adc", "capacitor_sd = 0.01", "`adc.capacitor_sd`: is 0.01, but `kind` is not `sar`"),
            ("adc", "inl_lsb = 0.5", "`adc.inl_lsb`: is 0.5, but `kind` is not `ramp`"),
            ("adc", "inl_lsb = true", "`adc.inl_lsb`: is `true` or `false`, must be a number"),
            ("adc", "inl_lsb = [0, 1]", "`adc.inl_lsb`: has 2 shifts, must have 256, one per code"),
            (
                "dac",
                "inl_steps = [0]",
                "`dac.inl_steps`: has 1 shifts, must have 256, one per code",
            ),
            (
                "dac",
                "drive = \"bit-serial\"\ninl_steps = [INL]",
                "`dac.inl_steps`: has shifts per code, but `drive` is `bit-serial`",
            ),
            (
                "adc",
                "coding = \"sign-magnitude\"\nkind = \"sar\"",
                "`adc.kind`: is `sar`, whose ladder has a code more",
            ),
            ("dac", "gain_sd = -1", "`dac.gain_sd`: is -1.0, must be 0.0 to 1.0"),
        ];
        for (table, line, expected) in cases {
            let zeros = vec!["0"; 256].join(", ");
            let found = problems(table, &line.replace("INL", &zeros));
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert!(found[0].contains(expected), "{line}: {found:?}");
        }
    }

    #[test]
    fn tables_start_at_zero_and_keep_levels_in_order() {
        let table = |key: &str, low: [f64; 3]| {
            let shifts: Vec<_> = low.into_iter().chain([0.0; 253]).collect();
            problems(
                key,
                &format!("inl_{} = {shifts:?}", if key == "adc" { "lsb" } else { "steps" }),
            )
        };
        assert!(table("adc", [0.1, 0.0, 0.0])[0].contains("starts with 0.1, must start with 0"));
        assert!(table("dac", [0.1, 0.0, 0.0])[0].contains("starts with 0.1, must start with 0"));
        let found = table("adc", [0.0, 1.5, 0.25]);
        assert!(
            found[0].contains("puts the transition to code 2 below that to code 1"),
            "{found:?}"
        );
    }
}
