//! Random telegraph noise: a trap that is now empty, now full, and changes the conductance with it.
//!
//! A share of the cells has a trap. It is a stationary two-state Markov process: full with the chance
//! `occupancy`, and its state at `tau` is the one at 0 unless the trap was renewed in between, which it
//! was not with the chance `exp(-rate tau)`, so that the states at 0 and `tau` correlate by
//! `exp(-rate tau)`. A full trap leaves `g (1 - amplitude)`. The state is that of the time of use and
//! holds for the whole run. Source: M. J. Kirton and M. J. Uren, Adv. Phys. 38 (1989) 367,
//! doi 10.1080/00018738900101122.

use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::effects::draws::{Draw, Scope};
use crate::reader::Section;
use crate::writer::Writer;

/// Two-state noise of some cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rtn {
    /// Share of cells with a trap.
    pub cells_share: f64,
    /// Share of time that a trap is full.
    pub occupancy: f64,
    /// Rate at which the state is forgotten, the sum of the rates of capture and emission, in hertz.
    pub rate_hz: f64,
    /// Share of the conductance that a full trap takes away.
    pub amplitude_of_g: f64,
}

impl Rtn {
    /// Whether a trap is full `tau_s` seconds after the reference read, from three uniform draws: its
    /// state at first, when it is renewed, and the state after that.
    pub fn is_full(&self, [first, renewal, second]: [f64; 3], tau_s: f64) -> bool {
        let kept = renewal < libm::exp(-self.rate_hz * tau_s);
        (if kept { first } else { second }) < self.occupancy
    }
}

impl Model for Rtn {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            cells_share: section.number("cells_share", 0.0..=1.0),
            occupancy: section.number("occupancy", 0.0..=1.0),
            rate_hz: section.number("rate_hz", 0.0..=1e12),
            amplitude_of_g: section.number("amplitude_of_g", 0.0..=1.0),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { cells_share, occupancy, rate_hz, amplitude_of_g } = self;
        out.value("cells_share", cells_share);
        out.value("occupancy", occupancy);
        out.value("rate_hz", rate_hz);
        out.value("amplitude_of_g", amplitude_of_g);
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }
}

impl CellEffect for Rtn {
    fn draws(&self) -> &'static [Draw] {
        &[Draw::Uniform(Scope::Cell); 4]
    }

    fn apply(&self, g: f64, z: &[f64], state: &CellState) -> f64 {
        let &[trap, first, renewal, second] = z else { return g };
        let full = trap < self.cells_share && self.is_full([first, renewal, second], state.at_s);
        if full { g * (1.0 - self.amplitude_of_g) } else { g }
    }
}

#[cfg(test)]
mod tests {
    use super::Rtn;
    use crate::effects::conductance::CellEffect;
    use crate::testing::state_at;

    #[test]
    fn only_full_traps_take_their_share() {
        let rtn = Rtn { cells_share: 0.5, occupancy: 0.3, rate_hz: 1.0, amplitude_of_g: 0.1 };
        let at = |z: [f64; 4], tau| rtn.apply(1.0, &z, &state_at(1.0, tau));
        assert_eq!(at([0.6, 0.1, 0.5, 0.1], 0.0), 1.0);
        assert_eq!(at([0.4, 0.1, 0.5, 0.9], 0.0), 0.9);
        // Half of the traps have forgotten their state after ln 2 seconds.
        assert_eq!((at([0.4, 0.1, 0.5, 0.9], 0.69), at([0.4, 0.1, 0.5, 0.9], 0.70)), (0.9, 1.0));
    }
}
