//! What must hold between the keys of a chip file, each rule with its name.

use nvcim_ir::diag::Diagnostic;

use crate::describe::{Chip, InputDrive, PairAxis, Subtract, Topology};
use crate::effects::ir_drop::{IrDropMethod, SourceLines};
use crate::reader::Section;

/// A rule between keys.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The name that messages and documents call it by.
    pub name: &'static str,
    /// The dotted keys it is about; problems are said to sit at the last.
    pub keys: &'static [&'static str],
    /// What to do about a broken rule.
    pub remedy: &'static str,
    /// What is wrong and the limit, if the rule is broken.
    broken: fn(&Chip) -> Option<String>,
}

/// The most cells of one array, and of a chip whose arrays are counted.
const MAX_CELLS: (usize, usize) = (1 << 24, 1 << 28);

/// Every rule between keys. Limits of single keys are checked where these are read.
pub const CHECKS: &[Check] = &[
    Check {
        name: "cell-range",
        keys: &["cell.g_min_siemens", "cell.g_max_siemens"],
        remedy: "give the highest programmable conductance, above the lowest",
        broken: |chip| {
            let (g_min, g_max) = (chip.cell.g_min, chip.cell.g_max);
            (g_max <= g_min)
                .then(|| format!("is {g_max:?}, must be above `g_min_siemens` {g_min:?}"))
        },
    },
    Check {
        name: "adc-range",
        keys: &["adc.lo_cells", "adc.hi_cells"],
        remedy: "give a range from the lowest to the highest current, 0 included",
        broken: |chip| {
            let (lo, hi) = (chip.adc.nominal.lo, chip.adc.nominal.hi);
            let fits = lo < hi && lo <= 0.0 && hi >= 0.0;
            (!fits)
                .then(|| format!("is {hi:?} above `lo_cells` {lo:?}, must be a range that holds 0"))
        },
    },
    Check {
        name: "array-size",
        keys: &["arrays.count", "arrays.rows", "arrays.columns"],
        remedy: "describe one array of the chip, not the whole memory",
        broken: |chip| {
            let cells = chip.arrays.n_rows * chip.arrays.n_cols;
            let all = cells.saturating_mul(chip.arrays.count.unwrap_or(1));
            let (of_array, of_chip) = MAX_CELLS;
            let fits = cells <= of_array && all <= of_chip;
            (!fits).then(|| {
                format!("makes {cells} cells an array and {all} a chip, at most {of_array} and {of_chip}")
            })
        },
    },
    Check {
        name: "free-rows",
        keys: &["arrays.rows", "arrays.spare_rows", "arrays.reserved_rows"],
        remedy: "leave word lines for weights, two of them where pairs sit on rows",
        broken: |chip| {
            let arrays = &chip.arrays;
            let taken = arrays.spare_rows + arrays.reserved_rows;
            let needed = if arrays.pairs == PairAxis::Rows { 2 } else { 1 };
            (arrays.n_rows < taken + needed).then(|| {
                format!("and spare rows take {taken} of {} rows, {needed} must stay", arrays.n_rows)
            })
        },
    },
    Check {
        name: "free-columns",
        keys: &["arrays.columns", "arrays.spare_columns", "arrays.reserved_columns"],
        remedy: "leave bit lines for weights, two of them where pairs sit on columns",
        broken: |chip| {
            let arrays = &chip.arrays;
            let taken = arrays.spare_cols + arrays.reserved_cols;
            let needed = if arrays.pairs == PairAxis::Columns { 2 } else { 1 };
            (arrays.n_cols < taken + needed).then(|| {
                format!(
                    "and spare columns take {taken} of {} columns, {needed} must stay",
                    arrays.n_cols
                )
            })
        },
    },
    Check {
        name: "gated-drive",
        keys: &["arrays.topology", "dac.drive"],
        remedy: "drive gates with `pulse-width`: the current is exponential in a gate's voltage",
        broken: |chip| {
            let gated = chip.arrays.topology == Topology::Gated;
            let amplitude = chip.dac.coding == InputDrive::Amplitude;
            (gated && amplitude).then(|| "is `amplitude` on a `gated` array".into())
        },
    },
    Check {
        name: "pairs-subtract",
        keys: &["arrays.pairs", "arrays.subtract"],
        remedy: "choose `analog`: the currents of a pair on rows meet on their bit line",
        broken: |chip| {
            let rows = chip.arrays.pairs == PairAxis::Rows;
            let digital = chip.arrays.subtract == Subtract::Digital;
            (rows && digital).then(|| "is `digital`, but pairs sit on `rows`".into())
        },
    },
    Check {
        name: "stuck-share",
        keys: &["effects.stuck.stuck_gmin", "effects.stuck.stuck_gmax"],
        remedy: "give shares of all cells",
        broken: |chip| {
            let sum = chip.effects.stuck.map_or(0.0, |stuck| stuck.stuck_gmin + stuck.stuck_gmax);
            (sum > 1.0).then(|| format!("and `stuck_gmin` sum to {sum}, at most 1"))
        },
    },
    Check {
        name: "gated-wires",
        keys: &["arrays.topology", "effects.ir_drop"],
        remedy: "give gated arrays `bit_line_volts`, and leave it and what follows it away on passive ones",
        broken: |chip| {
            let (lines, topology) = (chip.effects.ir_drop?.gated, chip.arrays.topology);
            match (topology, lines) {
                (Topology::Passive, Some(_)) => {
                    Some("has keys of a `gated` array on a `passive` one".into())
                }
                (Topology::Gated, None) => Some("lacks `bit_line_volts` on a `gated` array".into()),
                _ => None,
            }
        },
    },
    Check {
        name: "gate-current",
        keys: &["arrays.topology", "effects.ir_drop.driver_ohm", "effects.ir_drop.word_line_ohm"],
        remedy: "set both to 0: gates carry no current",
        broken: |chip| {
            let wires = chip.effects.ir_drop?.wires;
            let (word_line, driver) = (wires.word_line_ohm, wires.driver_ohm);
            let gated = chip.arrays.topology == Topology::Gated;
            (gated && (word_line > 0.0 || driver > 0.0))
                .then(|| format!("is {word_line:?} and `driver_ohm` {driver:?} on a `gated` array"))
        },
    },
    Check {
        name: "source-lines",
        keys: &["effects.ir_drop.source_line_ohm", "effects.ir_drop.source_lines"],
        remedy: "set `source_line_ohm` to 0, or describe source lines that run `along-bit-lines`",
        broken: |chip| {
            let lines = chip.effects.ir_drop?.gated?;
            let across = lines.source_lines == SourceLines::AcrossBitLines;
            (across && lines.source_line_ohm > 0.0).then(|| {
                "is `across-bit-lines` with resistance, which couples all columns of an array"
                    .into()
            })
        },
    },
    Check {
        name: "gated-method",
        keys: &["arrays.topology", "effects.ir_drop.method"],
        remedy: "choose `exact`: columns of a gated array are independent, and exact is fast",
        broken: |chip| {
            let gated = chip.arrays.topology == Topology::Gated;
            let fast = chip.effects.ir_drop?.method == IrDropMethod::Fast;
            (gated && fast).then(|| "is `fast` on a `gated` array".into())
        },
    },
];

impl Check {
    /// Reports to `root` if `chip` breaks the rule.
    pub(crate) fn run(&self, chip: &Chip, root: &Section<'_>) {
        if let Some(message) = (self.broken)(chip) {
            root.report_across(self.keys, |at| {
                Diagnostic::bad_input(at, format!("{message} (check `{}`)", self.name))
                    .hint(self.remedy)
            });
        }
    }
}
