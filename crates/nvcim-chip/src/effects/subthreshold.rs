//! Transistors below threshold: what a shift of the threshold voltage does to a conductance.
//!
//! `I = I0 exp((Vg - Vt) / (m kT/q))`: a shift `dVt` multiplies a current, and at a fixed read voltage a
//! conductance, by `exp(-dVt / (m kT/q))`. Source: the drift-diffusion theory of the MOS transistor in
//! weak inversion, E. Vittoz and J. Fellrath, IEEE J. Solid-State Circuits 12 (1977) 224,
//! doi 10.1109/JSSC.1977.1050882.

use crate::reader::Section;
use crate::writer::Writer;

/// Boltzmann's constant over the elementary charge, in volts per kelvin; exact in the SI of 2019.
pub const VOLTS_PER_KELVIN: f64 = 1.380_649e-23 / 1.602_176_634e-19;

/// Absolute temperature in kelvin.
pub fn kelvin(celsius: f64) -> f64 {
    celsius + 273.15
}

/// A temperature in degrees Celsius, as chip files may give it.
pub(crate) fn read_celsius(section: &mut Section<'_>, key: &str) -> f64 {
    section.number(key, -200.0..=300.0)
}

/// How steep a transistor is below threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subthreshold {
    /// `m`: how much steeper than `kT/q` the gate voltage must rise, 1 to 10.
    pub slope_factor: f64,
    /// The temperature at which conductances are programmed, in degrees Celsius.
    pub reference_celsius: f64,
}

impl Subthreshold {
    /// `m kT/q` at the reference temperature, in volts.
    pub fn volts(&self) -> f64 {
        self.volts_at(self.reference_celsius)
    }

    /// `m kT/q` at another temperature, in volts.
    pub fn volts_at(&self, celsius: f64) -> f64 {
        self.slope_factor * VOLTS_PER_KELVIN * kelvin(celsius)
    }

    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            slope_factor: section.number("slope_factor", 1.0..=10.0),
            reference_celsius: read_celsius(section, "reference_celsius"),
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let Self { slope_factor, reference_celsius } = self;
        out.value("slope_factor", slope_factor);
        out.value("reference_celsius", reference_celsius);
    }
}

#[cfg(test)]
mod tests {
    use super::Subthreshold;

    #[test]
    fn a_decade_takes_sixty_millivolts_in_a_perfect_transistor() {
        let perfect = Subthreshold { slope_factor: 1.0, reference_celsius: 26.85 };
        // kT/q ln 10 at 300 K.
        assert!((perfect.volts() * std::f64::consts::LN_10 - 0.059_526).abs() < 1e-5);
        assert!((perfect.volts_at(126.85) / perfect.volts() - 400.0 / 300.0).abs() < 1e-12);
    }
}
