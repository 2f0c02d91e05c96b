//! Column offset: every sense stage and converter adds its own constant.

use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian offset, one draw per converter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnOffset {
    /// Standard deviation in LSB of the nominal ADC range.
    pub sd_lsb: f64,
}

impl Model for ColumnOffset {
    fn read(section: &mut Section<'_>) -> Self {
        Self { sd_lsb: section.number("sd_lsb", 0.0..=65_536.0) }
    }

    fn write(&self, out: &mut Writer) {
        let Self { sd_lsb } = self;
        out.value("sd_lsb", sd_lsb);
    }
}

impl ColumnOffset {
    /// The offset in LSB of the nominal range that a standard normal draw `z` stands for.
    ///
    /// The unit does not follow the configured range: a narrower one does not shrink a physical offset.
    pub fn lsb(&self, z: f64) -> f64 {
        self.sd_lsb * z
    }
}

#[cfg(test)]
mod tests {
    use super::ColumnOffset;

    #[test]
    fn offsets_lie_round_zero() {
        assert_eq!(ColumnOffset { sd_lsb: 2.0 }.lsb(-1.5), -3.0);
    }
}
