//! Column offset: every sense stage and converter adds its own constant.

/// Gaussian offset, one draw per bit line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnOffset {
    /// Standard deviation in LSB of the nominal ADC range.
    pub sd_lsb: f64,
}
