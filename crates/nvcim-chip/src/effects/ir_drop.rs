//! IR drop: voltage lost along wires, drivers and sense stages.
//!
//! The file holds what a chip file says of them; `crate::network` computes the currents. Word lines and
//! drivers carry current in passive arrays only, source lines exist in gated ones only.

use crate::effects::Model;
use crate::file::name_of;
use crate::network::Wires;
use crate::network::gated::GatedWires;
use crate::reader::Section;
use crate::writer::Writer;

/// Resistances of an array's wires, and how to compute what they do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IrDrop {
    /// Word lines, bit lines, drivers and sense stages; on a gated array without the first and third.
    pub wires: Wires,
    /// How currents of a passive array are computed.
    pub method: IrDropMethod,
    /// What a gated array has besides; `None` on a passive one.
    pub gated: Option<GatedLines>,
}

/// How currents of a passive array are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrDropMethod {
    /// Kirchhoff's laws, solved exactly.
    Exact,
    /// Word lines and bit lines one after the other.
    Fast,
}

/// What carries current in a gated array besides bit lines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatedLines {
    /// What the sense stage holds bit lines at, in volts.
    pub bit_line_volts: f64,
    /// One segment of a source line in ohm; 0 where sources are at ground.
    pub source_line_ohm: f64,
    /// Where source lines run.
    pub source_lines: SourceLines,
    /// How a cell's current grows with the voltage between drain and source, per volt.
    pub output_conductance_per_volt: f64,
    /// The rise of a source that lowers its cell's current by a factor e, in volts.
    pub subthreshold_volts: f64,
}

/// Where source lines run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceLines {
    /// One along each bit line, so that columns are independent.
    AlongBitLines,
    /// Across the bit lines, so that all columns would have to be solved together: refused.
    AcrossBitLines,
}

const METHODS: &[(&str, IrDropMethod)] =
    &[("exact", IrDropMethod::Exact), ("fast", IrDropMethod::Fast)];
const SOURCE_LINES: &[(&str, SourceLines)] = &[
    ("along-bit-lines", SourceLines::AlongBitLines),
    ("across-bit-lines", SourceLines::AcrossBitLines),
];

/// Ohm; far above any wire or driver, so that a wrong unit is noticed.
const MAX_OHM: f64 = 1e6;

/// Volts: `m kT/q` with `m = 1.5` at 300 K.
const SUBTHRESHOLD_VOLTS: f64 = 0.039;

impl Model for IrDrop {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            wires: Wires {
                word_line_ohm: section.number("word_line_ohm", 0.0..=MAX_OHM),
                bit_line_ohm: section.number("bit_line_ohm", 0.0..=MAX_OHM),
                driver_ohm: section.number("driver_ohm", 0.0..=MAX_OHM),
                sense_ohm: section.number("sense_ohm", 0.0..=MAX_OHM),
            },
            method: section.choice("method", Some(IrDropMethod::Exact), METHODS),
            gated: read_gated(section),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { wires, method, gated } = self;
        let Wires { word_line_ohm, bit_line_ohm, driver_ohm, sense_ohm } = wires;
        out.value("word_line_ohm", word_line_ohm);
        out.value("bit_line_ohm", bit_line_ohm);
        out.value("driver_ohm", driver_ohm);
        out.value("sense_ohm", sense_ohm);
        out.text("method", name_of(METHODS, method));
        if let Some(lines) = gated {
            let GatedLines {
                bit_line_volts,
                source_line_ohm,
                source_lines,
                output_conductance_per_volt,
                subthreshold_volts,
            } = lines;
            out.value("bit_line_volts", bit_line_volts);
            out.value("source_line_ohm", source_line_ohm);
            out.text("source_lines", name_of(SOURCE_LINES, source_lines));
            out.value("output_conductance_per_volt", output_conductance_per_volt);
            out.value("subthreshold_volts", subthreshold_volts);
        }
    }
}

/// The keys of gated arrays; any of them asks for the one without a default.
fn read_gated(section: &mut Section<'_>) -> Option<GatedLines> {
    const KEYS: [&str; 5] = [
        "bit_line_volts",
        "source_line_ohm",
        "source_lines",
        "output_conductance_per_volt",
        "subthreshold_volts",
    ];
    if !section.keys().any(|key| KEYS.contains(&key)) {
        return None;
    }
    Some(GatedLines {
        bit_line_volts: section.number("bit_line_volts", 1e-3..=100.0),
        source_line_ohm: section.number_or("source_line_ohm", 0.0, 0.0..=MAX_OHM),
        source_lines: section.choice(
            "source_lines",
            Some(SourceLines::AlongBitLines),
            SOURCE_LINES,
        ),
        output_conductance_per_volt: section.number_or(
            "output_conductance_per_volt",
            0.0,
            0.0..=100.0,
        ),
        subthreshold_volts: section.number_or(
            "subthreshold_volts",
            SUBTHRESHOLD_VOLTS,
            1e-3..=10.0,
        ),
    })
}

impl IrDrop {
    /// The wires of a gated array, for `crate::network::gated`; `None` on a passive one.
    pub fn gated_wires(&self) -> Option<GatedWires> {
        let lines = self.gated?;
        Some(GatedWires {
            bit_line_ohm: self.wires.bit_line_ohm,
            sense_ohm: self.wires.sense_ohm,
            source_line_ohm: lines.source_line_ohm,
            bit_line_volts: lines.bit_line_volts,
            output_conductance_per_volt: lines.output_conductance_per_volt,
            subthreshold_volts: lines.subthreshold_volts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{IrDropMethod, SourceLines};
    use crate::describe::{Chip, InputDrive, Topology};
    use crate::file::{parse_chip, write_chip};
    use crate::testing::plain_chip;

    const WIRES: &str = "[effects.ir_drop]\nword_line_ohm = 0\nbit_line_ohm = 2\ndriver_ohm = 0\n\
                         sense_ohm = 100\n";

    /// A chip of this topology with `table` behind it, or what is wrong with it.
    fn parse(topology: Topology, table: &str) -> Result<Chip, String> {
        let mut chip = plain_chip();
        chip.arrays.topology = topology;
        if topology == Topology::Gated {
            chip.dac.coding = InputDrive::PulseWidth;
        }
        let text = format!("{}\n{WIRES}{table}", write_chip(&chip));
        let parsed = parse_chip(&text, "chip.toml").map_err(|problems| {
            problems.iter().map(|it| format!("{}: {}", it.at, it.message)).collect::<String>()
        })?;
        assert_eq!(parse_chip(&write_chip(&parsed.output), "").unwrap().output, parsed.output);
        Ok(parsed.output)
    }

    #[test]
    fn gated_arrays_have_defaults_for_all_but_the_bit_line() {
        let chip = parse(Topology::Gated, "bit_line_volts = 0.5").unwrap();
        let ir_drop = chip.effects.ir_drop.unwrap();
        let wires = ir_drop.gated_wires().unwrap();
        assert_eq!(ir_drop.method, IrDropMethod::Exact);
        assert_eq!(ir_drop.gated.unwrap().source_lines, SourceLines::AlongBitLines);
        assert_eq!((wires.bit_line_ohm, wires.sense_ohm, wires.source_line_ohm), (2.0, 100.0, 0.0));
        assert_eq!((wires.bit_line_volts, wires.subthreshold_volts), (0.5, 0.039));
        let passive =
            parse(Topology::Passive, "method = \"fast\"").unwrap().effects.ir_drop.unwrap();
        assert_eq!((passive.method, passive.gated_wires()), (IrDropMethod::Fast, None));
    }

    #[test]
    fn keys_of_the_other_topology_are_refused_by_name() {
        let refused = |topology, table, check: &str| {
            let problems = parse(topology, table).unwrap_err();
            assert!(problems.contains(check), "{check} is not in {problems}");
        };
        refused(Topology::Passive, "bit_line_volts = 0.5", "(check `gated-wires`)");
        refused(Topology::Gated, "", "(check `gated-wires`)");
        refused(
            Topology::Gated,
            "source_line_ohm = 1",
            "`effects.ir_drop.bit_line_volts`: is missing",
        );
        refused(Topology::Gated, "bit_line_volts = 1\nmethod = \"fast\"", "(check `gated-method`)");
        let across = "bit_line_volts = 1\nsource_lines = \"across-bit-lines\"";
        assert!(parse(Topology::Gated, across).is_ok());
        let across = format!("{across}\nsource_line_ohm = 1");
        refused(
            Topology::Gated,
            &across,
            "which couples all columns of an array (check `source-lines`)",
        );
    }

    #[test]
    fn gates_carry_no_current() {
        let mut chip = parse(Topology::Gated, "bit_line_volts = 0.5").unwrap();
        chip.effects.ir_drop.as_mut().unwrap().wires.driver_ohm = 3.0;
        let problems = parse_chip(&write_chip(&chip), "").unwrap_err();
        assert!(problems[0].message.contains("(check `gate-current`)"), "{problems:?}");
    }
}
