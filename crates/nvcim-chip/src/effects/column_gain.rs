//! Column gain: every sense stage and converter multiplies by its own factor.

/// Gaussian gain error round 1, one draw per bit line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnGain {
    /// Standard deviation of the gain.
    pub sd: f64,
}
