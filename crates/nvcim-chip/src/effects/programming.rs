//! Programming error: how far a cell ends from its target.

/// Gaussian error of each cell, independent of its state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Programming {
    /// Standard deviation as a share of `g_max - g_min`.
    pub sd_of_range: f64,
}
