//! Output noise: thermal noise of the sense stage, new on every conversion.
//!
//! Two independent parts in front of the converter: one given in LSB of the nominal range, as data sheets
//! do, one as a current, as circuits have it. Their variances add. A sense resistor R at temperature T has
//! `sqrt(4 k T B / R)` over the bandwidth B (J. B. Johnson, Phys. Rev. 32 (1928) 97,
//! doi 10.1103/PhysRev.32.97), to be divided by the current of a cell at `g_max` under full drive.

use crate::describe::Adc;
use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian noise added before the converter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OutputNoise {
    /// Standard deviation in LSB of the nominal ADC range.
    pub sd_lsb: f64,
    /// Standard deviation of a part of its own, in normalised current.
    pub current_sd_cells: f64,
}

impl Model for OutputNoise {
    fn read(section: &mut Section<'_>) -> Self {
        let limits = 0.0..=65_536.0;
        Self {
            sd_lsb: section.number_or("sd_lsb", 0.0, limits.clone()),
            current_sd_cells: section.number_or("current_sd_cells", 0.0, limits),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { sd_lsb, current_sd_cells } = self;
        out.value("sd_lsb", sd_lsb);
        out.value("current_sd_cells", current_sd_cells);
    }
}

impl OutputNoise {
    /// The standard deviation of both parts together, in normalised current.
    pub fn sd(&self, adc: &Adc) -> f64 {
        let converter = self.sd_lsb * adc.nominal_lsb();
        (converter * converter + self.current_sd_cells * self.current_sd_cells).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::tiled::AdcRange;

    use super::OutputNoise;
    use crate::describe::Adc;
    use crate::testing::plain_chip;

    #[test]
    fn one_part_is_in_nominal_lsb_and_one_a_current() {
        let nominal = AdcRange { lo: -2.0, hi: 1.0 };
        let adc = Adc { bits: 2, nominal, ..plain_chip().adc };
        let sd = |sd_lsb, current_sd_cells| OutputNoise { sd_lsb, current_sd_cells }.sd(&adc);
        assert_eq!(sd(0.5, 0.0), 0.5);
        assert_eq!(sd(0.0, 0.25), 0.25);
        // Variances add: 3, 4, 5.
        assert_eq!(sd(3.0, 4.0), 5.0);
        assert_eq!(sd(0.0, 0.0), 0.0);
    }
}
