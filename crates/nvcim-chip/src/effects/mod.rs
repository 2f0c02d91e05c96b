//! Every non-ideality, one file each: its parameters, its bounds, its formula with source, its test.

use std::fmt;

use crate::reader::Section;
use crate::writer::Writer;

pub mod adc;
pub mod adc_linearity;
pub mod column_gain;
pub mod column_offset;
pub mod conductance;
pub mod dac;
pub mod die_draws;
pub mod disturb;
pub mod draws;
pub mod drift;
pub mod driver_errors;
pub mod fit;
pub mod gradient;
pub mod ir_drop;
pub mod iv;
pub mod leakage;
pub mod measured;
pub mod nonlinearity;
pub mod output_noise;
pub mod programming;
pub mod read;
pub mod rtn;
mod series;
pub mod stuck;
pub mod subthreshold;
pub mod temperature;

/// The one list of effects, in the order in which the signal meets them: variant, name on the command
/// line and in chip files, and `{ file: Model }` where a chip file can describe it.
///
/// A new non-ideality is a file beside this one that implements [`Model`], its `mod` line above and its
/// line here. The enum, the chip description and the chip file follow from the list.
macro_rules! effect_list {
    ($with:ident) => {
        $with! {
            /// Error of each programmed cell.
            Programming "programming" { programming: Programming }
            /// Smooth variation over dies and arrays.
            Gradient "gradient" { gradient: Gradient }
            /// A measured table in place of programming error and drift.
            Measured "measured" { measured: Measured }
            /// Conductance lost over time.
            Drift "drift" { drift: Drift }
            /// Temperature dependence of cells.
            Temperature "temperature" { temperature: Temperature }
            /// Conductance disturbed by reads.
            Disturb "disturb" { disturb: Disturb }
            /// Cells that cannot be programmed.
            Stuck "stuck" { stuck: Stuck }
            /// Random telegraph noise.
            Rtn "rtn" { rtn: Rtn }
            /// Input quantisation; described with the input converters.
            Dac "dac"
            /// Nonlinear cells.
            Iv "iv" { iv: Iv }
            /// Voltage lost along wires.
            IrDrop "ir_drop" { ir_drop: IrDrop }
            /// Leakage of unselected cells.
            Leakage "leakage" { leakage: Leakage }
            /// Noise of each read.
            Read "read" { read: ReadNoise }
            /// Saturation of the sense stage.
            Nonlinearity "nonlinearity" { nonlinearity: Nonlinearity }
            /// Gain error of each column's sense stage and converter.
            ColumnGain "column_gain" { column_gain: ColumnGain }
            /// Offset of each column's sense stage and converter.
            ColumnOffset "column_offset" { column_offset: ColumnOffset }
            /// Noise added to each column's output.
            OutputNoise "output_noise" { output_noise: OutputNoise }
            /// Output quantisation; described with the output converters.
            Adc "adc"
        }
    };
}
pub(crate) use effect_list;

macro_rules! define_effect {
    ($($(#[$doc:meta])* $effect:ident $name:literal $({ $file:ident: $model:ident })?)*) => {
        /// The effects by name, in the order in which the signal meets them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Effect {
            $($(#[$doc])* $effect,)*
        }

        impl Effect {
            /// Every effect, in the order in which the signal meets them.
            pub const ALL: [Effect; [$($name),*].len()] = [$(Effect::$effect),*];

            /// The name on the command line and in chip files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Effect::$effect => $name,)*
                }
            }
        }
    };
}
effect_list!(define_effect);

impl Effect {
    /// The effect of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.name() == name)
    }

    /// Whether something of the effect is drawn; of the others all is known from the chip's description. What
    /// converters as they are built draw is not part of `dac` and `adc`.
    pub fn is_drawn(self) -> bool {
        match self {
            Self::Temperature
            | Self::Disturb
            | Self::Dac
            | Self::Iv
            | Self::IrDrop
            | Self::Leakage
            | Self::Nonlinearity
            | Self::Adc => false,
            Self::Programming
            | Self::Gradient
            | Self::Measured
            | Self::Drift
            | Self::Stuck
            | Self::Rtn
            | Self::Read
            | Self::ColumnGain
            | Self::ColumnOffset
            | Self::OutputNoise => true,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a chip file describes of one effect: the keys of its table.
pub(crate) trait Model {
    /// Reads the effect's table, each key with its limits.
    fn read(section: &mut Section<'_>) -> Self
    where
        Self: Sized;

    /// Writes every key of the table.
    fn write(&self, out: &mut Writer);

    /// The model as it acts on single cells, if it does.
    fn on_cells(&self) -> Option<&dyn conductance::CellEffect> {
        None
    }

    /// The last time that the effect's data speak of, in seconds after the reference read; `None` where
    /// its law holds for any time.
    fn last_at_s(&self) -> Option<f64> {
        None
    }
}

/// A set of effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectSet(u32);

impl EffectSet {
    /// No effect, converters included.
    pub const NONE: Self = Self(0);
    /// Every effect that the chip describes.
    pub const ALL: Self = Self(u32::MAX);

    /// Whether the set holds `effect`.
    pub fn has(self, effect: Effect) -> bool {
        self.0 & (1 << effect as u8) != 0
    }

    /// The set with `effect`.
    #[must_use]
    pub const fn with(self, effect: Effect) -> Self {
        Self(self.0 | 1 << effect as u8)
    }

    /// The set without `effect`.
    #[must_use]
    pub const fn without(self, effect: Effect) -> Self {
        Self(self.0 & !(1 << effect as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::{Effect, EffectSet};
    use crate::presets::{PRESETS, find_preset};

    #[test]
    fn effects_that_draw_for_cells_say_so() {
        for (name, _) in PRESETS {
            let chip = find_preset(name).unwrap();
            for (effect, model) in chip.effects.models() {
                let draws = model.on_cells().is_some_and(|model| !model.draws().is_empty());
                assert!(effect.is_drawn() || !draws, "{name}: {effect}");
            }
        }
    }

    #[test]
    fn names_find_their_effects() {
        for effect in Effect::ALL {
            assert_eq!(Effect::find(effect.name()), Some(effect));
        }
        assert_eq!(Effect::find("gravity"), None);
    }

    #[test]
    fn sets_hold_what_they_are_given() {
        let set = EffectSet::NONE.with(Effect::Read).with(Effect::Adc).without(Effect::Read);
        let held: Vec<_> = Effect::ALL.into_iter().filter(|&effect| set.has(effect)).collect();
        assert_eq!(held, [Effect::Adc]);
        assert!(Effect::ALL.iter().all(|&effect| EffectSet::ALL.has(effect)));
    }
}
