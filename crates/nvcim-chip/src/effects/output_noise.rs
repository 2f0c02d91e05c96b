//! Output noise: thermal noise of the sense stage, new on every conversion.

/// Gaussian noise added before the converter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputNoise {
    /// Standard deviation in LSB of the nominal ADC range.
    pub sd_lsb: f64,
}
