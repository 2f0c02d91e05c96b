//! Drift: conductance lost over time by a power law.

/// Power-law drift `g(t0 + tau) = g ((t0 + tau) / t0)^-nu`, `nu = |N(mean, sd)|` once per cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Mean of the exponent.
    pub nu_mean: f64,
    /// Standard deviation of the exponent.
    pub nu_sd: f64,
    /// Time from programming to the reference read, in seconds.
    pub t0_s: f64,
}
