//! Which corrections run: the levels and lists of `--correct`.

use nvcim_chip::describe::Holds;
use nvcim_ir::diag::{Diagnostic, Result, Warned};

/// The corrections to run; what the chip cannot hold is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Choose the closest reachable pair against the die's fault map.
    pub closest: bool,
    /// Set ADC ranges from what the programmed die answers.
    pub ranges: bool,
    /// Fit gain and offset per conversion, always together: an offset alone after drift does harm.
    pub affine: bool,
}

const LEVELS: [&str; 5] = ["none", "closest", "lab", "rows", "full"];

/// Names of single corrections, and whether this version can run them.
const CORRECTIONS: [(&str, bool); 11] = [
    ("closest", true),
    ("rows", false),
    ("pairs", false),
    ("box", false),
    ("scale", true),
    ("offset", true),
    ("bias", false),
    ("ir_drop", false),
    ("ranges", true),
    ("drift", false),
    ("arrays", false),
];

impl Plan {
    /// No correction: the naive mapping.
    pub const NONE: Self = Self { closest: false, ranges: false, affine: false };

    /// Closest pairs, ranges, and gain and offset: what a lab does by hand.
    pub const LAB: Self = Self { closest: true, ranges: true, affine: true };

    /// Reads a level (`none`, `closest`, `lab`, `rows`, `full`) or a list (`+closest,+scale`).
    ///
    /// # Errors
    /// An unknown name, or a correction that this version does not have.
    pub fn parse(text: &str) -> Result<Warned<Self>> {
        match text {
            "none" => Ok(Warned::clean(Self::NONE)),
            "closest" => Ok(Warned::clean(Self { closest: true, ..Self::NONE })),
            "lab" => Ok(Warned::clean(Self::LAB)),
            "rows" | "full" => {
                let message = format!("`{text}` runs the corrections of `lab` in this version");
                let warning = Diagnostic::unsupported("--correct", message);
                Ok(Warned { output: Self::LAB, warnings: vec![warning] })
            }
            list => Self::parse_list(list),
        }
    }

    fn parse_list(list: &str) -> Result<Warned<Self>> {
        let mut plan = Self::NONE;
        let mut problems = Vec::new();
        for entry in list.split(',') {
            match entry.trim().strip_prefix('+') {
                Some("closest") => plan.closest = true,
                Some("ranges") => plan.ranges = true,
                Some("scale" | "offset") => plan.affine = true,
                name => problems.push(explain_unknown(entry, name)),
            }
        }
        if problems.is_empty() { Ok(Warned::clean(plan)) } else { Err(problems) }
    }

    /// The plan without what the chip has no room for.
    #[must_use]
    pub fn limited_to(self, holds: Holds) -> Self {
        Self {
            closest: self.closest,
            ranges: self.ranges && holds.ranges,
            affine: self.affine && holds.column_affine,
        }
    }

    /// Whether anything is to be measured after programming.
    pub fn measures(self) -> bool {
        self.ranges || self.affine
    }

    /// The names of the corrections that run, in the order in which they run.
    pub fn names(self) -> Vec<String> {
        let Self { closest, ranges, affine } = self;
        let names =
            [("closest", closest), ("ranges", ranges), ("scale", affine), ("offset", affine)];
        names.into_iter().filter(|(_, runs)| *runs).map(|(name, _)| name.to_owned()).collect()
    }
}

fn explain_unknown(entry: &str, name: Option<&str>) -> Diagnostic {
    let known = CORRECTIONS.iter().find(|(known, _)| Some(*known) == name);
    let available: Vec<_> = CORRECTIONS
        .iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| format!("+{name}"))
        .collect();
    let message = match known {
        Some((name, _)) => format!("correction `{name}` is not available in this version"),
        None => format!("`{}` is no level and no correction", entry.trim()),
    };
    let hint = format!("use one of {}, or a list of {}", LEVELS.join(", "), available.join(", "));
    Diagnostic::bad_input("--correct", message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn levels_are_cumulative() {
        let closest = Plan::parse("closest").unwrap().output;
        assert_eq!(closest.names(), ["closest"]);
        assert_eq!(
            Plan::parse("lab").unwrap().output.names(),
            ["closest", "ranges", "scale", "offset"]
        );
        let full = Plan::parse("full").unwrap();
        assert_eq!((full.output, full.warnings.len()), (Plan::LAB, 1));
    }

    #[test]
    fn a_list_names_its_corrections_and_every_wrong_entry_is_reported() {
        let plan = Plan::parse("+closest, +scale").unwrap().output;
        assert_eq!(plan, Plan { closest: true, ranges: false, affine: true });
        let problems = Plan::parse("+rows,closest,+clsest").unwrap_err();
        assert_eq!(problems.len(), 3);
        assert!(problems[0].message.contains("not available"));
    }
}
