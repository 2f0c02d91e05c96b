//! Column gain: every sense stage and converter multiplies by its own factor.
//!
//! The factor `1 + sd z` is what a calibration measures. It then ages: tau seconds after the calibration
//! it is `factor (1 + drift_sd log10(1 + tau / 1 s) z')`, with z' drawn once per converter and known to
//! nobody. References and amplifiers age about evenly per decade of time; the form is illustrative and
//! lets a stale calibration be told from a fresh one.

use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian gain error round 1 and its change with time, one draw of each per converter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ColumnGain {
    /// Standard deviation of the gain.
    pub sd: f64,
    /// Standard deviation of the relative change per decade of time.
    pub drift_sd_per_decade: f64,
}

impl Model for ColumnGain {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            sd: section.number("sd", 0.0..=1.0),
            drift_sd_per_decade: section.number_or("drift_sd_per_decade", 0.0, 0.0..=1.0),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { sd, drift_sd_per_decade } = self;
        out.value("sd", sd);
        out.value("drift_sd_per_decade", drift_sd_per_decade);
    }
}

impl ColumnGain {
    /// The factor that a standard normal draw `z` stands for.
    pub fn factor(&self, z: f64) -> f64 {
        1.0 + self.sd * z
    }

    /// What a measured gain is multiplied by `at_s` seconds after it was measured, for a standard normal
    /// draw `z` of the converter's own; 1 at 0.
    pub fn aged_by(&self, z: f64, at_s: f64) -> f64 {
        1.0 + self.drift_sd_per_decade * libm::log10(1.0 + at_s.max(0.0)) * z
    }
}

#[cfg(test)]
mod tests {
    use super::ColumnGain;

    #[test]
    fn gains_lie_round_one() {
        assert_eq!(ColumnGain { sd: 0.25, ..ColumnGain::default() }.factor(-2.0), 0.5);
        assert_eq!(ColumnGain::default().factor(3.0), 1.0);
    }

    #[test]
    fn gains_age_by_decades() {
        let gain = ColumnGain { sd: 0.0, drift_sd_per_decade: 0.01 };
        assert_eq!(gain.aged_by(2.0, 0.0), 1.0);
        assert!((gain.aged_by(2.0, 999.0) - 1.06).abs() < 1e-12);
        assert!((gain.aged_by(-1.0, 99_999.0) - 0.95).abs() < 1e-12);
        assert_eq!(ColumnGain::default().aged_by(3.0, 1e7), 1.0);
    }
}
