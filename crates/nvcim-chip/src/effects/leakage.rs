//! Leakage: what cells carry whose transistor is off.
//!
//! Every cell that is not driven still carries the share l of its conductance g. With drives x from 0 to 1
//! the current of a bit line is that of these drives on the cells' conductances:
//!
//! | rows | driven by pulse width | driven by amplitude |
//! |---|---|---|
//! | of the tile | `(1 - l) x + l`: off for `1 - x` of the window | `x`: selected all along |
//! | every other row of the array | `l` | `l` |
//!
//! So weights shrink by a factor, and a constant comes in that depends on all cells of the column, weights
//! of other tiles included, and moves as they drift.
//!
//! Validity: arrays with a transistor in each cell, NOR flash (`gated`) and 1T1R, whose off current is
//! proportional to what is stored and whose bit line stays at its read voltage. In a crossbar without
//! transistors rows at rest are held at the bit line's voltage and carry nothing: its sneak currents are
//! those of `ir_drop`. Drives of pulse width must be positive, because an off cell conducts one way.

use crate::describe::InputDrive;
use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Off current of unselected cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leakage {
    /// l: the share of its conductance that an unselected cell still shows, 0 to 1.
    pub share_of_g: f64,
}

/// What leakage does to a bit line's current: `weight_scale y + constant`, y the current without it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leak {
    /// The factor on the tile's weights.
    pub weight_scale: f64,
    /// What comes on top, in the unit of the column sums given.
    pub constant: f64,
}

impl Model for Leakage {
    fn read(section: &mut Section<'_>) -> Self {
        Self { share_of_g: section.number("share_of_g", 0.0..=1.0) }
    }

    fn write(&self, out: &mut Writer) {
        let Self { share_of_g } = self;
        out.value("share_of_g", share_of_g);
    }
}

impl Leakage {
    /// The leak of a column whose conductances sum to `tile_sum` over the rows of the tile and to
    /// `array_sum` over every word line of the array, used or not. Where two bit lines are subtracted,
    /// sums are differences. Divided by `g_max`, sums make the constant a normalised current.
    pub fn leak(&self, drive: InputDrive, tile_sum: f64, array_sum: f64) -> Leak {
        let l = self.share_of_g;
        // A row driven by amplitude is selected throughout; pulses leave it off for the rest of the window.
        if drive == InputDrive::Amplitude {
            Leak { weight_scale: 1.0, constant: l * (array_sum - tile_sum) }
        } else {
            Leak { weight_scale: 1.0 - l, constant: l * array_sum }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Leakage;
    use crate::describe::InputDrive;

    proptest! {
        /// The two numbers against the table above, cell by cell.
        #[test]
        fn scale_and_constant_are_the_drives_of_all_cells(
            l in 0.0f64..1.0,
            cells in proptest::collection::vec((0.0f64..1.0, 0.0f64..1.0), 2..20),
            used in 1usize..20,
        ) {
            let used = used.min(cells.len());
            let (tile, others) = cells.split_at(used);
            let sum = |cells: &[(f64, f64)]| cells.iter().map(|(g, _)| g).sum::<f64>();
            let ideal: f64 = tile.iter().map(|(g, x)| g * x).sum();
            for drive in [InputDrive::PulseWidth, InputDrive::Amplitude] {
                let pulsed = drive == InputDrive::PulseWidth;
                let row = |x: f64| if pulsed { (1.0 - l) * x + l } else { x };
                let leaky: f64 = tile.iter().map(|&(g, x)| g * row(x)).sum();
                let expected = leaky + l * sum(others);
                let leak = Leakage { share_of_g: l }.leak(drive, sum(tile), sum(&cells));
                let found = leak.weight_scale * ideal + leak.constant;
                prop_assert!((found - expected).abs() < 1e-12, "{} {}", found, expected);
            }
        }
    }

    #[test]
    fn without_leakage_nothing_changes() {
        let leak = Leakage { share_of_g: 0.0 }.leak(InputDrive::PulseWidth, 3.0, 5.0);
        assert_eq!((leak.weight_scale, leak.constant), (1.0, 0.0));
    }
}
