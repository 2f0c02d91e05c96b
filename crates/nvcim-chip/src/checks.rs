//! What must hold between the keys of a chip file, each rule with its name.

use nvcim_ir::diag::Diagnostic;

use crate::circuits::{AdcCircuit, AdcInl, AdcKind};
use crate::describe::{
    AdcCoding, BitSerial, Chip, InputDrive, NegativeInputs, PairAxis, SignCoding, Subtract,
    Topology, Weights,
};
use crate::effects::drift::{Drift, Series};
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
            let needed = lines_of_a_weight(chip).0;
            (arrays.n_rows < taken + needed).then(|| {
                format!("and spare rows take {taken} of {} rows, {needed} must stay", arrays.n_rows)
            })
        },
    },
    Check {
        name: "free-columns",
        keys: &["arrays.columns", "arrays.spare_columns", "arrays.reserved_columns"],
        remedy: "leave bit lines for weights: one per slice, two where pairs sit on columns, and a reference column",
        broken: |chip| {
            let arrays = &chip.arrays;
            let taken = arrays.spare_cols + arrays.reserved_cols;
            let needed = lines_of_a_weight(chip).1;
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
        remedy: "drive gates with `pulse-width` or `bit-serial`: the current is exponential in a gate's voltage",
        broken: |chip| {
            let gated = chip.arrays.topology == Topology::Gated;
            let amplitude = chip.dac.coding == InputDrive::Amplitude;
            (gated && amplitude).then(|| "is `amplitude` on a `gated` array".into())
        },
    },
    Check {
        name: "slice-bits",
        keys: &["dac.bits", "dac.bits_per_slice"],
        remedy: "give slices of at most as many bits as the magnitude has",
        broken: |chip| match chip.dac.coding {
            InputDrive::BitSerial(BitSerial { bits_per_slice, .. })
                if bits_per_slice > chip.dac.bits =>
            {
                Some(format!("is {bits_per_slice}, but `bits` is {}", chip.dac.bits))
            }
            _ => None,
        },
    },
    Check {
        name: "pulse-jitter",
        keys: &["dac.drive", "dac.jitter_sd_steps"],
        remedy: "leave the jitter at 0, or choose the drive `pulse-width`",
        broken: |chip| {
            let jitter = chip.dac.jitter_sd_steps;
            let pulses = chip.dac.coding == InputDrive::PulseWidth;
            (jitter > 0.0 && !pulses)
                .then(|| format!("is {jitter:?}, but `drive` is not `pulse-width`"))
        },
    },
    Check {
        name: "adc-codes",
        keys: &["adc.bits", "adc.coding"],
        remedy: "give the converter at least 2 bits, or choose `binary`",
        broken: |chip| {
            let sign = chip.adc.coding == AdcCoding::SignMagnitude;
            (sign && chip.adc.bits < 2)
                .then(|| "is `sign-magnitude`, which leaves 1 bit with a single code".into())
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
        name: "pairs-arrays",
        keys: &["arrays.count", "arrays.pairs"],
        remedy: "describe an even number of arrays, or put pairs on `columns` or `rows`",
        broken: |chip| {
            let odd = chip.arrays.count.is_some_and(|count| count % 2 == 1);
            let apart = chip.arrays.pairs == PairAxis::Arrays;
            (apart && odd).then(|| "is `arrays`, but the chip has an odd number of them".into())
        },
    },
    Check {
        name: "active-rows",
        keys: &["arrays.pairs", "arrays.max_active_rows"],
        remedy: "allow two rows at once where pairs sit on `rows`",
        broken: |chip| {
            let one = chip.arrays.max_active_rows == Some(1);
            let rows = chip.arrays.pairs == PairAxis::Rows;
            (one && rows).then(|| "is 1, but a pair sits on two rows".into())
        },
    },
    Check {
        name: "offset-subtract",
        keys: &["arrays.subtract", "arrays.pairs", "weights.coding"],
        remedy: "leave `pairs` and `subtract` out: a weight is one cell, there is no pair to subtract",
        broken: |chip| {
            let offset = chip.weights.sign != SignCoding::Pairs;
            let plain =
                chip.arrays.pairs == PairAxis::Columns && chip.arrays.subtract == Subtract::Analog;
            (offset && !plain).then(|| "codes an offset, but `arrays` speaks of pairs".into())
        },
    },
    Check {
        name: "slice-digits",
        keys: &["weights.slices", "weights.bits_per_slice", "weights.bits"],
        remedy: "give as many bits as the slices hold, or fewer; an offset takes 2 or more",
        broken: |chip| {
            let Weights { sign, bits_per_slice, bits, significance } = &chip.weights;
            let room = bits_per_slice.unwrap_or(0) * significance.len() as u32;
            let least = if *sign == SignCoding::Pairs { 1 } else { 2 };
            match (bits_per_slice, bits) {
                (None, None) => None,
                (None, Some(bits)) => Some(format!("is {bits}, but slices hold no digits")),
                (Some(_), _) if room > 32 => {
                    Some(format!("and slices make {room} bits of a weight, at most 32"))
                }
                (Some(_), _) if bits.unwrap_or(room) > room || bits.unwrap_or(room) < least => {
                    let bits = bits.unwrap_or(room);
                    Some(format!("are {bits}, must be {least} to {room} here"))
                }
                _ => None,
            }
        },
    },
    Check {
        name: "slice-levels",
        keys: &["cell.levels", "weights.bits_per_slice"],
        remedy: "give the cell as many levels as a digit has values, or `continuous`",
        broken: |chip| {
            let values = 1u32 << chip.weights.bits_per_slice?;
            let levels = chip.cell.n_levels?;
            // Digits fall on levels where the steps between them are whole.
            (!(levels - 1).is_multiple_of(values - 1)).then(|| {
                format!("makes digits of {values} values, which {levels} levels cannot hold evenly")
            })
        },
    },
    Check {
        name: "slice-significance",
        keys: &["weights.bits_per_slice", "weights.significance"],
        remedy: "leave `significance` out: the worth of digits follows from their width",
        broken: |chip| {
            let weighed = chip.weights.significance.iter().any(|&worth| worth != 1.0);
            (chip.weights.bits_per_slice.is_some() && weighed)
                .then(|| "is given for slices that hold digits".into())
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
        name: "adc-ladder",
        keys: &["adc.coding", "adc.kind"],
        remedy: "choose the coding `binary`, or the kind `ideal` with a list `inl_lsb`",
        broken: |chip| {
            let sign = chip.adc.coding == AdcCoding::SignMagnitude;
            let ladder = chip.circuits.adc.kind == AdcKind::Sar;
            (sign && ladder).then(|| {
                "is `sar`, whose ladder has a code more than the coding `sign-magnitude`".into()
            })
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
        name: "dac-inl",
        keys: &["dac.bits", "dac.inl_steps"],
        remedy: "give one shift per code from rest to full scale, the first 0",
        broken: |chip| {
            let shifts = &chip.circuits.dac.inl_steps;
            if shifts.is_empty() { None } else { misfit(shifts, (1 << chip.dac.bits) - 1) }
        },
    },
    Check {
        name: "dac-serial",
        keys: &["dac.drive", "dac.inl_steps"],
        remedy: "leave `inl_steps` out: slices of bits are driven alike whatever the code is",
        broken: |chip| {
            let serial = matches!(chip.dac.coding, InputDrive::BitSerial(_));
            let uneven = !chip.circuits.dac.inl_steps.is_empty();
            (serial && uneven).then(|| "has shifts per code, but `drive` is `bit-serial`".into())
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
    Check {
        name: "gated-sign",
        keys: &["arrays.topology", "arrays.pairs", "dac.negative", "effects.ir_drop"],
        remedy: "drive negative inputs by `two-pass`, and put pairs on `columns` or `arrays`",
        broken: |chip| {
            chip.effects.ir_drop?;
            let both_ways = chip.dac.negative == NegativeInputs::SignMagnitude
                || chip.arrays.pairs == PairAxis::Rows;
            (chip.arrays.topology == Topology::Gated && both_ways).then(|| {
                "is given for a `gated` array driven both ways: a gate is on or off".into()
            })
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
        name: "iv-voltage",
        keys: &["effects.iv.v_max_volts", "effects.iv.full_scale_volts"],
        remedy: "drive cells within the voltages that their curves hold for",
        broken: |chip| {
            let iv = chip.effects.iv?;
            (iv.full_scale > iv.v_max)
                .then(|| format!("is {:?}, above `v_max_volts` {:?}", iv.full_scale, iv.v_max))
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

/// Word lines and bit lines that the smallest tile takes.
fn lines_of_a_weight(chip: &Chip) -> (usize, usize) {
    let slices = chip.weights.significance.len();
    let (pairs, reference) = match chip.weights.sign {
        SignCoding::Pairs => (true, 0),
        SignCoding::OffsetDigital => (false, 0),
        SignCoding::OffsetColumn => (false, slices),
    };
    let on = |axis| if pairs && chip.arrays.pairs == axis { 2 } else { 1 };
    (on(PairAxis::Rows), slices * on(PairAxis::Columns) + reference)
}

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
