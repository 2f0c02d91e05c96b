//! What must hold between the keys of a chip file, each rule with its name.

use nvcim_ir::diag::Diagnostic;

use crate::describe::{Chip, InputDrive, PairAxis, Subtract, Topology};
use crate::effects::drift::{Drift, Series};
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
        name: "drift-times",
        keys: &["effects.drift.t0_seconds", "effects.drift.times_seconds"],
        remedy: "give one spread per time, and times that ascend from after `t0_seconds`",
        broken: |chip| {
            let Some(Drift::Series(Series { times_s, sds_us })) = &chip.effects.drift else {
                return None;
            };
            let (t0_s, later_s) = times_s.split_first()?;
            let (times, spreads) = (later_s.len(), sds_us.len());
            if times != spreads {
                return Some(format!("has {times} times for {spreads} spreads"));
            }
            let ascend = times_s.is_sorted_by(|a, b| a < b);
            (!ascend).then(|| format!("is {later_s:?}, must ascend from above {t0_s:?}"))
        },
    },
    Check {
        name: "fitted-range",
        keys: &["effects.iv.fitted_from_siemens", "effects.iv.fitted_to_siemens"],
        remedy: "give the lowest and the highest conductance that the curves were fitted to",
        broken: |chip| {
            let (from, to) = chip.effects.iv?.fitted;
            (from > to)
                .then(|| format!("is {to:?}, must not be below `fitted_from_siemens` {from:?}"))
        },
    },
    Check {
        name: "measured-shape",
        keys: &[
            "effects.measured.times_seconds",
            "effects.measured.targets_siemens",
            "effects.measured.mean_siemens",
            "effects.measured.sd_siemens",
        ],
        remedy: "give a mean and a spread for every time and target, both ascending",
        broken: |chip| chip.effects.measured.as_ref()?.find_flaw(),
    },
    Check {
        name: "measured-alone",
        keys: &["effects.measured"],
        remedy: "drop `[effects.programming]` and `[effects.drift]`: the table holds both",
        broken: |chip| {
            let effects = &chip.effects;
            let twice = effects.programming.is_some() || effects.drift.is_some();
            (effects.measured.is_some() && twice)
                .then(|| "stands beside a programming error or drift of another form".into())
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
