//! Column gain: every sense stage and converter multiplies by its own factor.

use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian gain error round 1, one draw per bit line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnGain {
    /// Standard deviation of the gain.
    pub sd: f64,
}

impl Model for ColumnGain {
    fn read(section: &mut Section<'_>) -> Self {
        Self { sd: section.number("sd", 0.0..=1.0) }
    }

    fn write(&self, out: &mut Writer) {
        let Self { sd } = self;
        out.value("sd", sd);
    }
}

impl ColumnGain {
    /// The factor that a standard normal draw `z` stands for.
    pub fn factor(&self, z: f64) -> f64 {
        1.0 + self.sd * z
    }
}

#[cfg(test)]
mod tests {
    use super::ColumnGain;

    #[test]
    fn gains_lie_round_one() {
        assert_eq!(ColumnGain { sd: 0.25 }.factor(-2.0), 0.5);
        assert_eq!(ColumnGain { sd: 0.0 }.factor(3.0), 1.0);
    }
}
