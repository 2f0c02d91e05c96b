//! Device moments: what simulated cells do, against closed forms worked out here from the published
//! formulas and not by calling the code.
//!
//! Bounds of statistical tests are four standard errors at fixed seeds, those of distribution tests the
//! Kolmogorov-Smirnov distance that chance passes once in a thousand.

mod distributions;
mod moments;
mod normal;
mod sampling;
mod statistics;
