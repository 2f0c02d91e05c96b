//! Which corrections run: the levels and lists of `--correct`.

use std::fmt;

use nvcim_chip::describe::{Chip, RangePer};
use nvcim_chip::effects::Effect;
use nvcim_ir::diag::{Diagnostic, Result};

use crate::coarse::{has_coarse_converters, has_coarse_drives};

/// The corrections by name, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Correction {
    /// Tiles go to the arrays that harm them least, and copies of them to what is left.
    Arrays,
    /// Full scales of inputs, and where copies round them, follow what coarse drives lose.
    Drives,
    /// Rows, columns and column signs are chosen against the fault map.
    Rows,
    /// Pairs come as close to their weights as stuck cells let them.
    Closest,
    /// Every column takes the whole range of its pairs.
    Pairs,
    /// Cells are told what drifts to what is wanted at the time of use.
    Drift,
    /// Weights make up for each other, by least squares inside what cells can hold.
    Box,
    /// Targets make up for what wires lose.
    IrDrop,
    /// Biases make up for what errors do on the mean.
    Bias,
    /// ADC ranges follow what the programmed die answers.
    Ranges,
    /// Gains per conversion, always together with offsets: an offset alone after drift does harm.
    Scale,
    /// Offsets per conversion, always together with gains.
    Offset,
}

impl Correction {
    /// Every correction, in the order in which they run.
    pub const ALL: [Self; 12] = [
        Self::Arrays,
        Self::Drives,
        Self::Rows,
        Self::Closest,
        Self::Pairs,
        Self::Drift,
        Self::Box,
        Self::IrDrop,
        Self::Bias,
        Self::Ranges,
        Self::Scale,
        Self::Offset,
    ];

    /// The name on the command line and in images.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arrays => "arrays",
            Self::Drives => "drives",
            Self::Rows => "rows",
            Self::Closest => "closest",
            Self::Pairs => "pairs",
            Self::Drift => "drift",
            Self::Box => "box",
            Self::IrDrop => "ir_drop",
            Self::Bias => "bias",
            Self::Ranges => "ranges",
            Self::Scale => "scale",
            Self::Offset => "offset",
        }
    }

    /// The correction of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|correction| correction.name() == name)
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The corrections to run; what the chip cannot hold is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan(u16);

/// Effects after which cells that were told the same differ, or answer reads differently.
const SPREADING: [Effect; 7] = [
    Effect::Programming,
    Effect::Measured,
    Effect::Gradient,
    Effect::Drift,
    Effect::Disturb,
    Effect::Rtn,
    Effect::Read,
];

const LEVELS: [(&str, Plan); 5] = [
    ("none", Plan::NONE),
    ("closest", Plan::CLOSEST),
    ("lab", Plan::LAB),
    ("rows", Plan::ROWS),
    ("full", Plan::FULL),
];

impl Plan {
    /// No correction: the naive mapping.
    pub const NONE: Self = Self(0);

    /// Closest pairs.
    pub const CLOSEST: Self = Self::NONE.with(Correction::Closest);

    /// Closest pairs, ranges, and gain and offset: what a lab does by hand.
    pub const LAB: Self =
        Self::CLOSEST.with(Correction::Ranges).with(Correction::Scale).with(Correction::Offset);

    /// What a lab does by hand, on rows and columns chosen against the fault map.
    pub const ROWS: Self = Self::LAB.with(Correction::Rows);

    /// Everything.
    pub const FULL: Self = Self((1 << Correction::ALL.len()) - 1);

    /// The plan and one correction more.
    #[must_use]
    pub const fn with(self, correction: Correction) -> Self {
        Self(self.0 | 1 << correction as u8)
    }

    /// The plan without a correction.
    #[must_use]
    pub const fn without(self, correction: Correction) -> Self {
        Self(self.0 & !(1 << correction as u8))
    }

    /// Whether a correction is to run.
    pub const fn has(self, correction: Correction) -> bool {
        self.0 & 1 << correction as u8 != 0
    }

    /// Reads a level (`none`, `closest`, `lab`, `rows`, `full`) or a list (`+closest,+scale`); in a list
    /// `-drift` takes a correction out of what stands before it, a level included (`full,-drift`).
    ///
    /// # Errors
    /// An unknown name.
    pub fn parse(text: &str) -> Result<Self> {
        let mut plan = Self::NONE;
        let mut problems = Vec::new();
        for (at, entry) in text.split(',').map(str::trim).enumerate() {
            let level = LEVELS.iter().find(|(name, _)| *name == entry).filter(|_| at == 0);
            let correction = Correction::find(entry.get(1..).unwrap_or_default());
            match (level, entry.chars().next(), correction) {
                (Some((_, level)), _, _) => plan = *level,
                (None, Some('+'), Some(it)) => plan = plan.with(it),
                (None, Some('-'), Some(it)) => plan = plan.without(it),
                _ => problems.push(explain_unknown(entry)),
            }
        }
        if problems.is_empty() { Ok(plan.with_pairs_of_names()) } else { Err(problems) }
    }

    /// Gain and offset go together, whichever was named.
    fn with_pairs_of_names(self) -> Self {
        if self.has(Correction::Scale) || self.has(Correction::Offset) {
            self.with(Correction::Scale).with(Correction::Offset)
        } else {
            self
        }
    }

    /// The plan without what the chip has no room for, and without what it has no need of.
    #[must_use]
    pub fn limited_to(self, chip: &Chip) -> Self {
        let holds = chip.holds;
        let mut plan = self;
        if !has_coarse_drives(&chip.dac) {
            plan = plan.without(Correction::Drives);
        }
        if !holds.ranges {
            plan = plan.without(Correction::Ranges);
        }
        if !holds.column_affine {
            plan = plan.without(Correction::Offset).without(Correction::Pairs);
            if !holds.tile_gain {
                plan = plan.without(Correction::Scale).without(Correction::Drift);
            }
        }
        if !(holds.rows || holds.column_signs) {
            plan = plan.without(Correction::Rows);
        }
        plan
    }

    /// Whether ranges are as narrow as what all copies of a tile say together asks for.
    pub fn narrows_ranges(self, chip: &Chip) -> bool {
        has_coarse_converters(&chip.adc)
            && self.has(Correction::Ranges)
            && self.has(Correction::Bias)
    }

    /// Whether ranges are shifted against each other over all copies of a tile, rather than over those of one array.
    pub(crate) fn shifts_over_arrays(self, chip: &Chip) -> bool {
        self.narrows_ranges(chip) && chip.adc.range_per == RangePer::Column
    }

    /// Whether tiles get as many copies as the noise of cells asks for.
    pub fn chooses_copies(self, chip: &Chip) -> bool {
        let errs = SPREADING.iter().any(|effect| chip.describes(*effect));
        self.has(Correction::Arrays) && chip.holds.copies.is_none() && errs
    }

    /// Whether anything is to be measured after programming.
    pub fn measures(self) -> bool {
        self.has(Correction::Ranges) || self.has(Correction::Scale)
    }

    /// Whether anything before programming looks at calibration images.
    pub fn looks_at_images(self) -> bool {
        use Correction::{Arrays, Bias, Box, Drift, Drives, IrDrop, Pairs, Rows};
        [Arrays, Drives, Rows, Pairs, Drift, Box, IrDrop, Bias].into_iter().any(|it| self.has(it))
    }

    /// The corrections that run, in the order in which they run.
    pub fn corrections(self) -> impl Iterator<Item = Correction> {
        Correction::ALL.into_iter().filter(move |it| self.has(*it))
    }

    /// The names of the corrections that run, in the order in which they run.
    pub fn names(self) -> Vec<String> {
        self.corrections().map(|it| it.name().to_owned()).collect()
    }
}

fn explain_unknown(entry: &str) -> Diagnostic {
    let levels: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
    let names: Vec<_> = Correction::ALL.iter().map(|it| format!("+{it}")).collect();
    let message = format!("`{entry}` is no level and no correction");
    let hint = format!("use one of {}, or a list of {}", levels.join(", "), names.join(", "));
    Diagnostic::bad_input("--correct", message).hint(hint)
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::Holds;
    use nvcim_chip::presets::find_preset;

    use super::{Correction, Plan};

    #[test]
    fn levels_are_cumulative() {
        assert_eq!(Plan::parse("closest").unwrap().names(), ["closest"]);
        assert_eq!(Plan::parse("lab").unwrap().names(), ["closest", "ranges", "scale", "offset"]);
        assert_eq!(Plan::parse("rows").unwrap().without(Correction::Rows), Plan::LAB);
        assert_eq!(Plan::parse("full").unwrap().corrections().count(), Correction::ALL.len());
        assert_eq!(Plan::parse("none").unwrap(), Plan::NONE);
    }

    #[test]
    fn a_list_names_its_corrections_and_every_wrong_entry_is_reported() {
        let plan = Plan::parse("+closest, +scale").unwrap();
        assert_eq!(plan.names(), ["closest", "scale", "offset"]);
        assert_eq!(Plan::parse("full,-drift").unwrap(), Plan::FULL.without(Correction::Drift));
        let problems = Plan::parse("+rows,closest,+clsest").unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[1].message.contains("`+clsest` is no level"), "{}", problems[1]);
    }

    #[test]
    fn what_a_chip_cannot_hold_is_left_out() {
        let mut chip = find_preset("ideal").unwrap();
        chip.holds = Holds::NOTHING;
        let limited = Plan::FULL.limited_to(&chip);
        assert_eq!(limited.names(), ["arrays", "closest", "box", "ir_drop", "bias"]);
        assert!(!limited.measures());
        chip.dac.bits = 2;
        assert!(Plan::FULL.limited_to(&chip).has(Correction::Drives));
    }
}
