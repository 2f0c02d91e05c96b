//! Read noise: what differs from one pass to the next.

/// Gaussian noise of each cell's conductance, new on every pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadNoise {
    /// Standard deviation as a share of the cell's conductance.
    pub sd_of_g: f64,
}
