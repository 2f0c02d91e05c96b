//! Output noise: thermal noise of the sense stage, new on every conversion.

use crate::describe::Adc;
use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian noise added before the converter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputNoise {
    /// Standard deviation in LSB of the nominal ADC range.
    pub sd_lsb: f64,
}

impl Model for OutputNoise {
    fn read(section: &mut Section<'_>) -> Self {
        Self { sd_lsb: section.number("sd_lsb", 0.0..=65_536.0) }
    }

    fn write(&self, out: &mut Writer) {
        let Self { sd_lsb } = self;
        out.value("sd_lsb", sd_lsb);
    }
}

impl OutputNoise {
    /// The standard deviation in normalised current.
    pub fn sd(&self, adc: &Adc) -> f64 {
        self.sd_lsb * adc.nominal_lsb()
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::tiled::AdcRange;

    use super::OutputNoise;
    use crate::describe::{Adc, AdcCoding, RangePer};

    #[test]
    fn the_unit_is_the_nominal_lsb() {
        let nominal = AdcRange { lo: -2.0, hi: 1.0 };
        let adc = Adc { bits: 2, nominal, range_per: RangePer::Tile, coding: AdcCoding::Binary };
        assert_eq!(OutputNoise { sd_lsb: 0.5 }.sd(&adc), 0.5);
    }
}
