//! Drift: conductance lost over time by a power law.

use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::reader::Section;
use crate::writer::Writer;

/// Power-law drift `g(t0 + tau) = g ((t0 + tau) / t0)^-nu`, `nu = |N(mean, sd)|` once per cell.
///
/// The form is that of phase-change memory: M. Le Gallo and A. Sebastian, "An overview of phase-change
/// memory device physics", J. Phys. D 53 (2020) 213002.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Mean of the exponent.
    pub nu_mean: f64,
    /// Standard deviation of the exponent.
    pub nu_sd: f64,
    /// Time from programming to the reference read, in seconds.
    pub t0_s: f64,
}

impl Drift {
    /// The exponent that a standard normal draw `z` stands for.
    pub fn exponent(&self, z: f64) -> f64 {
        (self.nu_mean + self.nu_sd * z).abs()
    }

    /// The share of conductance left `tau_s` seconds after the reference read; 1 at 0.
    pub fn share_left(&self, nu: f64, tau_s: f64) -> f64 {
        libm::exp(-nu * libm::log1p(tau_s / self.t0_s))
    }
}

impl Model for Drift {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            nu_mean: section.number("nu_mean", 0.0..=1.0),
            nu_sd: section.number("nu_sd", 0.0..=1.0),
            t0_s: section.number("t0_seconds", 1e-9..=1e9),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { nu_mean, nu_sd, t0_s } = self;
        out.value("nu_mean", nu_mean);
        out.value("nu_sd", nu_sd);
        out.value("t0_seconds", t0_s);
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }
}

impl CellEffect for Drift {
    fn apply(&self, g: f64, z: f64, state: &CellState) -> f64 {
        if state.at_s <= 0.0 { g } else { g * self.share_left(self.exponent(z), state.at_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::Drift;

    const DRIFT: Drift = Drift { nu_mean: 0.05, nu_sd: 0.01, t0_s: 20.0 };

    #[test]
    fn a_year_costs_half_at_an_exponent_of_a_twentieth() {
        // (1 + 3.15576e7 / 20)^-0.05 = 0.4900.
        let left = DRIFT.share_left(0.05, 3.155_76e7);
        assert!((left - 0.4900).abs() < 5e-4, "{left}");
        assert_eq!(DRIFT.share_left(0.05, 0.0), 1.0);
    }

    #[test]
    fn exponents_are_never_negative() {
        assert!((DRIFT.exponent(1.0) - 0.06).abs() < 1e-15);
        assert!((DRIFT.exponent(-6.0) - 0.01).abs() < 1e-15);
    }
}
