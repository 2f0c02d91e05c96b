//! Under which conditions a die is used: effects, time and the seed of noise.

use nvcim_chip::effects::EffectSet;

/// Under which conditions a die is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// The effects that act; those that the chip does not describe are absent anyway.
    pub effects: EffectSet,
    /// Seconds from the reference read after programming to the time of use; not negative.
    pub at_s: f64,
    /// Keys the noise of this run, and the hidden part of a die that has no seed of its own.
    pub run_seed: u64,
}
