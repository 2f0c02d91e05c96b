//! Programming error: how far a cell ends from its target.
//!
//! Forms, `g` the target, `z` standard normal draws that are new on every write:
//! * range: `g + sd_of_range (g_max - g_min) z`, independent of the state
//! * share: `g (1 + sd_of_g z)`
//! * lognormal: `g exp(sd_of_log z)`, whose median is the target
//! * fit: `g + s(g) z`, with the spread `s` a fit over conductance
//! * threshold: a floating gate is verified in small pulses and its threshold voltage ends at
//!   `dVt = sd z1 + overshoot |z2| - detrapping |z3|` from the target: pulses only raise it, so the last
//!   one passes the target, and charge caught in the oxide leaves after the last verify. Below threshold
//!   `g exp(-dVt / (m kT/q))`. The spreads are data of the chip; the law is that of
//!   [`crate::effects::subthreshold`].

use crate::describe::Cell;
use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::effects::draws::{Draw, Scope};
use crate::effects::fit::{Fit, MICRO};
use crate::effects::subthreshold::Subthreshold;
use crate::reader::Section;
use crate::writer::Writer;

/// The error of a programmed cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Programming {
    /// Gaussian, independent of the state.
    Range {
        /// Standard deviation as a share of `g_max - g_min`.
        sd_of_range: f64,
    },
    /// Gaussian, in proportion to the target.
    Share {
        /// Standard deviation as a share of the target.
        sd_of_g: f64,
    },
    /// Lognormal round the target.
    Lognormal {
        /// Standard deviation of the natural logarithm.
        sd_of_log: f64,
    },
    /// Gaussian, with a spread that follows the target.
    Fit {
        /// Standard deviation in microsiemens.
        sd_us: Fit,
    },
    /// A floating gate's threshold voltage.
    Threshold(ThresholdError),
}

/// Where the threshold voltage of a floating gate ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThresholdError {
    /// What a shift does to the conductance.
    pub swing: Subthreshold,
    /// Symmetric spread in volts.
    pub sd_v: f64,
    /// Scale of the half-normal overshoot, in volts.
    pub overshoot_v: f64,
    /// Scale of the half-normal loss after the last verify, in volts.
    pub detrapping_v: f64,
}

const FORMS: &[&str] = &["range", "share", "lognormal", "fit", "threshold"];

impl Programming {
    /// Mean and standard deviation in siemens of a cell told to reach `target`, before the clip at 0.
    pub fn moments(&self, target: f64, cell: &Cell) -> (f64, f64) {
        let factor = |mean: f64, square: f64| {
            (target * mean, target * (square - mean * mean).max(0.0).sqrt())
        };
        match self {
            Self::Range { sd_of_range } => (target, sd_of_range * cell.range()),
            Self::Share { sd_of_g } => (target, sd_of_g * target),
            Self::Lognormal { sd_of_log } => {
                let half = 0.5 * sd_of_log * sd_of_log;
                factor(libm::exp(half), libm::exp(4.0 * half))
            }
            Self::Fit { sd_us } => (target, sd_us.spread_at(target, cell) / MICRO),
            Self::Threshold(error) => factor(error.power_mean(1.0), error.power_mean(2.0)),
        }
    }
}

impl ThresholdError {
    /// The factor on the conductance that three draws make.
    fn factor(&self, [z1, z2, z3]: [f64; 3]) -> f64 {
        let shift = self.sd_v * z1 + self.overshoot_v * z2.abs() - self.detrapping_v * z3.abs();
        libm::exp(-shift / self.swing.volts())
    }

    /// Mean of the factor to the power `p`. For normal `z`, `E exp(a z) = exp(a^2 / 2)` and
    /// `E exp(a |z|) = exp(a^2 / 2) erfc(-a / sqrt 2)`.
    fn power_mean(&self, p: f64) -> f64 {
        let scaled = |volts: f64| p * volts / self.swing.volts();
        let (a, b, c) = (scaled(self.sd_v), -scaled(self.overshoot_v), scaled(self.detrapping_v));
        let one_sided = |x: f64| libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        libm::exp(0.5 * (a * a + b * b + c * c)) * one_sided(b) * one_sided(c)
    }
}

impl Model for Programming {
    fn read(section: &mut Section<'_>) -> Self {
        match section.word("form", FORMS) {
            "share" => Self::Share { sd_of_g: section.number("sd_of_g", 0.0..=1.0) },
            "lognormal" => Self::Lognormal { sd_of_log: section.number("sd_of_log", 0.0..=3.0) },
            "fit" => Self::Fit { sd_us: Fit::read(section, "sd_microsiemens", MICRO) },
            "threshold" => Self::Threshold(ThresholdError {
                swing: Subthreshold::read(section),
                sd_v: section.number("sd_volts", 0.0..=1.0),
                overshoot_v: section.number("overshoot_volts", 0.0..=1.0),
                detrapping_v: section.number("detrapping_volts", 0.0..=1.0),
            }),
            _ => Self::Range { sd_of_range: section.number("sd_of_range", 0.0..=1.0) },
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Range { sd_of_range } => out.value("sd_of_range", sd_of_range),
            Self::Share { sd_of_g } => {
                out.text("form", "share");
                out.value("sd_of_g", sd_of_g);
            }
            Self::Lognormal { sd_of_log } => {
                out.text("form", "lognormal");
                out.value("sd_of_log", sd_of_log);
            }
            Self::Fit { sd_us } => {
                out.text("form", "fit");
                sd_us.write(out, "sd_microsiemens");
            }
            Self::Threshold(ThresholdError { swing, sd_v, overshoot_v, detrapping_v }) => {
                out.text("form", "threshold");
                swing.write(out);
                out.value("sd_volts", sd_v);
                out.value("overshoot_volts", overshoot_v);
                out.value("detrapping_volts", detrapping_v);
            }
        }
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }
}

impl CellEffect for Programming {
    fn draws(&self) -> &'static [Draw] {
        const NORMALS: [Draw; 3] = [Draw::Normal(Scope::Write); 3];
        if matches!(self, Self::Threshold(_)) { &NORMALS } else { &NORMALS[..1] }
    }

    fn apply(&self, g: f64, z: &[f64], state: &CellState) -> f64 {
        match (self, z) {
            (Self::Range { sd_of_range }, &[z]) => g + sd_of_range * state.cell.range() * z,
            (Self::Share { sd_of_g }, &[z]) => g + sd_of_g * g * z,
            (Self::Lognormal { sd_of_log }, &[z]) => g * libm::exp(sd_of_log * z),
            (Self::Fit { sd_us }, &[z]) => g + sd_us.spread_at(g, &state.cell) / MICRO * z,
            (Self::Threshold(error), &[z1, z2, z3]) => g * error.factor([z1, z2, z3]),
            // Without its draws an effect does nothing.
            _ => g,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Programming, ThresholdError};
    use crate::effects::conductance::CellEffect;
    use crate::effects::fit::{Fit, Polynomial};
    use crate::effects::subthreshold::Subthreshold;
    use crate::testing::state_at;

    #[test]
    fn errors_follow_their_form() {
        let state = state_at(50e-6, 0.0);
        let sd_us = Fit::PolynomialOfMicrosiemens(Polynomial::new(&[1.0, 0.1]));
        let cases = [
            // The range is 1 to 100 uS.
            (Programming::Range { sd_of_range: 0.03 }, -2.0, 44.06e-6),
            (Programming::Share { sd_of_g: 0.1 }, -2.0, 40e-6),
            (Programming::Lognormal { sd_of_log: std::f64::consts::LN_2 }, 1.0, 100e-6),
            (Programming::Fit { sd_us }, 0.5, 53e-6),
        ];
        for (form, z, expected) in cases {
            let g = form.apply(50e-6, &[z], &state);
            assert!((g - expected).abs() < 1e-15, "{form:?} {g}");
        }
    }

    #[test]
    fn overshoot_lowers_and_detrapping_raises_a_floating_gate() {
        let swing = Subthreshold { slope_factor: 1.5, reference_celsius: 25.0 };
        let still = ThresholdError { swing, sd_v: 0.0, overshoot_v: 0.0, detrapping_v: 0.0 };
        let factor = |error: ThresholdError, sign: f64| {
            let g = Programming::Threshold(error).apply(1.0, &[sign; 3], &state_at(1e-6, 0.0));
            libm::log(g) * swing.volts()
        };
        for sign in [-1.0, 1.0] {
            let over = factor(ThresholdError { overshoot_v: 0.01, ..still }, sign);
            let back = factor(ThresholdError { detrapping_v: 0.01, ..still }, sign);
            let both_ways = factor(ThresholdError { sd_v: 0.01, ..still }, sign);
            assert!((over + 0.01).abs() < 1e-12 && (back - 0.01).abs() < 1e-12);
            assert!((both_ways + 0.01 * sign).abs() < 1e-12);
        }
    }
}
