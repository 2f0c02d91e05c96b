//! What must hold between the keys of a chip file, each rule with its name.

use nvcim_ir::diag::Diagnostic;

use crate::circuits::{AdcCircuit, AdcInl, AdcKind};
use crate::describe::{Chip, InputDrive, NegativeInputs, PairAxis, Subtract, Topology};
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
        name: "adc-sharing",
        keys: &["arrays.columns", "adc.shared_by"],
        remedy: "give the number of bit lines that take turns at one converter",
        broken: |chip| {
            let (shared_by, n_cols) = (chip.circuits.adc.shared_by, chip.arrays.n_cols);
            (shared_by as usize > n_cols)
                .then(|| format!("is {shared_by}, the arrays have {n_cols} columns"))
        },
    },
    Check {
        name: "adc-capacitors",
        keys: &["adc.kind", "adc.capacitor_sd"],
        remedy: "choose the kind `sar`: no other compares with a ladder of capacitors",
        broken: |chip| {
            let AdcCircuit { kind, capacitor_sd, .. } = chip.circuits.adc;
            (kind != AdcKind::Sar && capacitor_sd > 0.0)
                .then(|| format!("is {capacitor_sd:?}, but `kind` is not `sar`"))
        },
    },
    Check {
        name: "adc-bow",
        keys: &["adc.kind", "adc.inl_lsb"],
        remedy: "choose the kind `ramp`, or give a list with one shift per code",
        broken: |chip| match chip.circuits.adc {
            AdcCircuit { kind, inl_lsb: AdcInl::Bow(peak), .. }
                if kind != AdcKind::Ramp && peak != 0.0 =>
            {
                Some(format!("is {peak:?}, but `kind` is not `ramp`"))
            }
            _ => None,
        },
    },
    Check {
        name: "adc-inl",
        keys: &["adc.bits", "adc.inl_lsb"],
        remedy: "give one shift per code, the first 0, that keep the transitions in order",
        broken: |chip| match &chip.circuits.adc.inl_lsb {
            AdcInl::Bow(_) => None,
            AdcInl::Table(shifts) => {
                misfit(shifts, chip.adc.max_code()).or_else(|| out_of_order(shifts))
            }
        },
    },
    Check {
        name: "dac-inl",
        keys: &["dac.bits", "dac.inl_steps"],
        remedy: "give one shift per code from rest to full scale, the first 0",
        broken: |chip| {
            let shifts = &chip.circuits.dac.inl_steps;
            if shifts.is_empty() { None } else { misfit(shifts, (1 << chip.dac.bits) - 1) }
        },
    },
    Check {
        name: "leakage-sign",
        keys: &["arrays.pairs", "dac.drive", "dac.negative", "effects.leakage.share_of_g"],
        remedy: "put pairs on `columns`, and drive pulses of both signs by `two-pass`",
        broken: |chip| {
            chip.effects.leakage?;
            let both_ways = chip.arrays.pairs == PairAxis::Rows
                || (chip.dac.coding != InputDrive::Amplitude
                    && chip.dac.negative == NegativeInputs::SignMagnitude);
            both_ways
                .then(|| "is given for cells driven both ways, off cells conduct one way".into())
        },
    },
];

/// What is wrong with a table of shifts for the codes from 0 to `max_code`.
fn misfit(shifts: &[f64], max_code: u32) -> Option<String> {
    let n_codes = max_code as usize + 1;
    if shifts.len() != n_codes {
        return Some(format!("has {} shifts, must have {n_codes}, one per code", shifts.len()));
    }
    (shifts[0] != 0.0).then(|| format!("starts with {:?}, must start with 0", shifts[0]))
}

/// The first code whose transition lies below that to the code before it.
fn out_of_order(shifts: &[f64]) -> Option<String> {
    let transitions = shifts.iter().enumerate().map(|(code, shift)| code as f64 + shift).skip(1);
    let falls = transitions.clone().zip(transitions.skip(1)).position(|(low, high)| high < low)?;
    let code = falls + 2;
    Some(format!("puts the transition to code {code} below that to code {}", code - 1))
}

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
