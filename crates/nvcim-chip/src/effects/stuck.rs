//! Stuck cells: a cell that holds one conductance whatever is programmed.

/// Shares of cells stuck at either end of the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stuck {
    /// Share of cells stuck at `g_min`, 0 to 1.
    pub stuck_gmin: f64,
    /// Share of cells stuck at `g_max`, 0 to 1; the sum of both is at most 1.
    pub stuck_gmax: f64,
}
