//! Every non-ideality, one file each: its parameters, its bounds, its formula with source, its test.

use std::fmt;

pub mod adc;
pub mod column_gain;
pub mod column_offset;
pub mod dac;
pub mod drift;
pub mod output_noise;
pub mod programming;
pub mod read;
pub mod stuck;

/// The effects by name, in the order in which the signal meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Effect {
    /// Error of each programmed cell.
    Programming,
    /// Conductance lost over time.
    Drift,
    /// Temperature dependence of cells.
    Temperature,
    /// Conductance disturbed by reads.
    Disturb,
    /// Cells that cannot be programmed.
    Stuck,
    /// Random telegraph noise.
    Rtn,
    /// Input quantisation.
    Dac,
    /// Nonlinear cells.
    Iv,
    /// Voltage lost along wires.
    IrDrop,
    /// Leakage of unselected cells.
    Leakage,
    /// Noise of each read.
    Read,
    /// Saturation of the sense stage.
    Nonlinearity,
    /// Gain error per column.
    ColumnGain,
    /// Offset per column.
    ColumnOffset,
    /// Noise of each column's output.
    OutputNoise,
    /// Output quantisation.
    Adc,
}

impl Effect {
    /// Every effect, in the order in which the signal meets them.
    pub const ALL: [Effect; 16] = [
        Effect::Programming,
        Effect::Drift,
        Effect::Temperature,
        Effect::Disturb,
        Effect::Stuck,
        Effect::Rtn,
        Effect::Dac,
        Effect::Iv,
        Effect::IrDrop,
        Effect::Leakage,
        Effect::Read,
        Effect::Nonlinearity,
        Effect::ColumnGain,
        Effect::ColumnOffset,
        Effect::OutputNoise,
        Effect::Adc,
    ];

    /// The name on the command line and in chip files.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Programming => "programming",
            Effect::Drift => "drift",
            Effect::Temperature => "temperature",
            Effect::Disturb => "disturb",
            Effect::Stuck => "stuck",
            Effect::Rtn => "rtn",
            Effect::Dac => "dac",
            Effect::Iv => "iv",
            Effect::IrDrop => "ir_drop",
            Effect::Leakage => "leakage",
            Effect::Read => "read",
            Effect::Nonlinearity => "nonlinearity",
            Effect::ColumnGain => "column_gain",
            Effect::ColumnOffset => "column_offset",
            Effect::OutputNoise => "output_noise",
            Effect::Adc => "adc",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectSet(u16);

impl EffectSet {
    /// No effect, converters included.
    pub const NONE: Self = Self(0);
    /// Every effect that the chip describes.
    pub const ALL: Self = Self(u16::MAX);

    /// Whether the set holds `effect`.
    pub fn has(self, effect: Effect) -> bool {
        self.0 & (1 << effect as u8) != 0
    }

    /// The set with `effect`.
    #[must_use]
    pub fn with(self, effect: Effect) -> Self {
        Self(self.0 | 1 << effect as u8)
    }

    /// The set without `effect`.
    #[must_use]
    pub fn without(self, effect: Effect) -> Self {
        Self(self.0 & !(1 << effect as u8))
    }
}
