//! The methods that a study compares, a closed list.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::Effect;
use nvcim_correct::plan::Plan;
use serde::{Deserialize, Serialize};

/// What is done for a network on a die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Nominal weights and ranges; nothing known of the die.
    Naive,
    /// Pairs as close to their weights as stuck cells let them.
    Closest,
    /// Closest pairs, converter ranges, gain and offset: what a lab does by hand.
    Lab,
    /// The same on rows and columns chosen against the fault map.
    Rows,
    /// Every correction that the chip can hold.
    Corrected,
    /// The naive mapping of a network trained for the chip.
    Trained,
    /// Every correction, on the network trained for the chip.
    Both,
}

impl Method {
    /// Every method, weakest first.
    pub const ALL: [Self; 7] = [
        Self::Naive,
        Self::Closest,
        Self::Lab,
        Self::Rows,
        Self::Corrected,
        Self::Trained,
        Self::Both,
    ];

    /// The name in study files, results and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Closest => "closest",
            Self::Lab => "lab",
            Self::Rows => "rows",
            Self::Corrected => "corrected",
            Self::Trained => "trained",
            Self::Both => "both",
        }
    }

    /// The method of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The corrections that run.
    pub fn plan(self) -> Plan {
        match self {
            Self::Naive | Self::Trained => Plan::NONE,
            Self::Closest => Plan::CLOSEST,
            Self::Lab => Plan::LAB,
            Self::Rows => Plan::ROWS,
            Self::Corrected | Self::Both => Plan::FULL,
        }
    }

    /// The first method that makes the same image for every die of a chip. Without stuck cells weights are as close as can be
    /// in naive pairs, and no row has anything to keep away from.
    pub fn on_chip(self, chip: &Chip) -> Self {
        match self {
            Self::Closest if !chip.describes(Effect::Stuck) => Self::Naive,
            Self::Rows if !chip.describes(Effect::Stuck) => Self::Lab,
            other => other,
        }
    }

    /// Whether the network is one that was trained for the chip.
    pub fn is_trained(self) -> bool {
        matches!(self, Self::Trained | Self::Both)
    }

    /// Whether the method does more than a lab does by hand, so that a share of what `lab` lost says something.
    pub fn is_beyond_lab(self) -> bool {
        matches!(self, Self::Rows | Self::Corrected | Self::Trained | Self::Both)
    }
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn names_and_stored_names_are_the_same() {
        for method in Method::ALL {
            assert_eq!(Method::find(method.name()), Some(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        }
        assert_eq!(Method::find("full"), None);
    }
}
