//! Temperature: what a cell conducts at another temperature than it was programmed at.
//!
//! Forms, `T` the temperature of use, `T_ref` that of programming:
//! * linear: `g (1 + c (T - T_ref))`, clipped at 0
//! * subthreshold: a floating gate below threshold, `I = I0 exp((Vg - Vt) / (m kT/q))`. With `w = g / g_max`,
//!   `w(T) = w^(T_ref / T) exp(-d (T - T_ref) / (m kT/q))`, temperatures in kelvin, `d` the change of the
//!   threshold voltage per kelvin. Where a reference cell of the same kind sets the gate voltage, `d`
//!   cancels and is given as 0; the power stays: programmed ratios scale as `w^(T_ref / T)`.
//!   For both: X. Guo et al., "Temperature-insensitive analog vector-by-matrix multiplier based on 55 nm
//!   NOR flash memory cells", CICC 2017, doi 10.1109/CICC.2017.7993628.

use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::effects::draws::Draw;
use crate::effects::subthreshold::{Subthreshold, kelvin, read_celsius};
use crate::reader::Section;
use crate::writer::Writer;

/// Temperature dependence of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// Temperature of use, in degrees Celsius.
    pub celsius: f64,
    /// The law.
    pub law: TemperatureLaw,
}

/// How a conductance follows temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TemperatureLaw {
    /// In proportion to the difference.
    Linear {
        /// Relative change per kelvin.
        per_kelvin: f64,
        /// Temperature of programming, in degrees Celsius.
        reference_celsius: f64,
    },
    /// A transistor below threshold.
    Subthreshold {
        /// The slope, and the temperature of programming.
        swing: Subthreshold,
        /// Change of the threshold voltage in volts per kelvin.
        vt_v_per_kelvin: f64,
    },
}

const FORMS: &[&str] = &["linear", "subthreshold"];

impl Model for Temperature {
    fn read(section: &mut Section<'_>) -> Self {
        let law = match section.word("form", FORMS) {
            "subthreshold" => TemperatureLaw::Subthreshold {
                swing: Subthreshold::read(section),
                vt_v_per_kelvin: section.number("vt_volts_per_kelvin", -0.1..=0.1),
            },
            _ => TemperatureLaw::Linear {
                per_kelvin: section.number("relative_per_kelvin", -1.0..=1.0),
                reference_celsius: read_celsius(section, "reference_celsius"),
            },
        };
        Self { celsius: read_celsius(section, "temperature_celsius"), law }
    }

    fn write(&self, out: &mut Writer) {
        let Self { celsius, law } = self;
        match law {
            TemperatureLaw::Linear { per_kelvin, reference_celsius } => {
                out.value("relative_per_kelvin", per_kelvin);
                out.value("reference_celsius", reference_celsius);
            }
            TemperatureLaw::Subthreshold { swing, vt_v_per_kelvin } => {
                out.text("form", "subthreshold");
                swing.write(out);
                out.value("vt_volts_per_kelvin", vt_v_per_kelvin);
            }
        }
        out.value("temperature_celsius", celsius);
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }
}

impl CellEffect for Temperature {
    fn draws(&self) -> &'static [Draw] {
        &[]
    }

    fn apply(&self, g: f64, _z: &[f64], state: &CellState) -> f64 {
        match &self.law {
            TemperatureLaw::Linear { per_kelvin, reference_celsius } => {
                g * (1.0 + per_kelvin * (self.celsius - reference_celsius)).max(0.0)
            }
            TemperatureLaw::Subthreshold { swing, vt_v_per_kelvin } => {
                let (reference, used) = (kelvin(swing.reference_celsius), kelvin(self.celsius));
                let g_max = state.cell.g_max;
                let ratio = libm::pow((g / g_max).max(0.0), reference / used);
                let shift = vt_v_per_kelvin * (used - reference);
                g_max * ratio * libm::exp(-shift / swing.volts_at(self.celsius))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Temperature, TemperatureLaw};
    use crate::effects::conductance::CellEffect;
    use crate::effects::subthreshold::Subthreshold;
    use crate::testing::state_at;

    #[test]
    fn a_linear_cell_follows_its_coefficient_down_to_nothing() {
        let law = TemperatureLaw::Linear { per_kelvin: -0.01, reference_celsius: 25.0 };
        let at = |celsius| Temperature { celsius, law }.apply(2.0, &[], &state_at(2.0, 0.0));
        assert!((at(75.0) - 1.0).abs() < 1e-12);
        assert_eq!((at(25.0), at(225.0)), (2.0, 0.0));
    }

    #[test]
    fn a_programmed_ratio_is_raised_to_the_ratio_of_temperatures() {
        let swing = Subthreshold { slope_factor: 1.5, reference_celsius: 26.85 };
        let law = |vt_v_per_kelvin| TemperatureLaw::Subthreshold { swing, vt_v_per_kelvin };
        let at = |d, g| {
            let temperature = Temperature { celsius: 126.85, law: law(d) };
            temperature.apply(g, &[], &state_at(g, 0.0))
        };
        // 300 K over 400 K; g_max is 100 uS and stays where it is.
        assert!((at(0.0, 1e-6) / (100e-6 * libm::pow(0.01, 0.75)) - 1.0).abs() < 1e-12);
        assert!((at(0.0, 100e-6) / 100e-6 - 1.0).abs() < 1e-12);
        assert_eq!(at(0.0, 0.0), 0.0);
        // A threshold 0.1 V lower, over m kT/q at 400 K.
        let gain = libm::exp(0.1 / (1.5 * 8.617_333e-5 * 400.0));
        assert!((at(-1e-3, 1e-6) / at(0.0, 1e-6) / gain - 1.0).abs() < 1e-6);
    }
}
