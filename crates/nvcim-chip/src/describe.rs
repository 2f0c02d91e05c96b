//! The chip description: validated data, in SI units.
//!
//! `crate::file` reads and writes it as TOML; nothing here can be built from unchecked input.

use nvcim_ir::tiled::{AdcRange, ArraySize};

use crate::effects::{Effect, Model, effect_list};
use crate::reader::Section;

/// A chip design: everything that all its dies share.
#[derive(Debug, Clone, PartialEq)]
pub struct Chip {
    /// Short name, as presets are called by.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// The arrays.
    pub arrays: Arrays,
    /// The cells.
    pub cell: Cell,
    /// The input converters.
    pub dac: Dac,
    /// The output converters.
    pub adc: Adc,
    /// The corrections that the chip has room for.
    pub holds: Holds,
    /// What makes real dies differ from the ideal one.
    pub effects: Effects,
    /// Where numbers come from: dotted key of the chip file and its source, sorted by key.
    pub sources: Vec<(String, String)>,
}

/// The arrays of a chip, all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrays {
    /// How many there are; `None` for as many as a network needs.
    pub count: Option<usize>,
    /// Physical word lines of one array, spare and reserved ones included.
    pub n_rows: usize,
    /// Physical bit lines of one array, spare and reserved ones included.
    pub n_cols: usize,
    /// Word lines kept free for corrections that move rows.
    pub spare_rows: usize,
    /// Bit lines kept free for corrections that move columns.
    pub spare_cols: usize,
    /// Last word lines, never used for weights.
    pub reserved_rows: usize,
    /// Last bit lines, never used for weights.
    pub reserved_cols: usize,
    /// How current flows.
    pub topology: Topology,
    /// Where the two cells of a pair sit.
    pub pairs: PairAxis,
    /// Where the two currents of a pair are subtracted.
    pub subtract: Subtract,
}

/// How current flows through an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Word line and bit line both carry current (RRAM, PCM).
    Passive,
    /// Inputs sit on gates and carry none (NOR flash).
    Gated,
}

/// Where the two cells of a differential pair sit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairAxis {
    /// On neighbouring bit lines, driven by the same word line.
    Columns,
    /// On neighbouring word lines of the same bit line, the second driven with the opposite sign.
    Rows,
}

/// Where the two currents of a pair are subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtract {
    /// Before the converter: one conversion, one offset, one noise per pair.
    Analog,
    /// After two conversions, each of which covers the common mode too.
    Digital,
}

/// A memory cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Lowest programmable conductance in siemens, at least 0.
    pub g_min: f64,
    /// Highest programmable conductance in siemens, above `g_min`.
    pub g_max: f64,
    /// Evenly spaced levels from `g_min` to `g_max`, at least 2; `None` for a continuous range.
    pub n_levels: Option<u32>,
}

/// The input converters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dac {
    /// Resolution of the magnitude in bits, 1 to 16.
    pub bits: u32,
    /// What carries the value.
    pub coding: InputDrive,
    /// How negative inputs are driven.
    pub negative: NegativeInputs,
}

/// What carries an input value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputDrive {
    /// A voltage; refused on gated arrays, whose current is exponential in the gate voltage.
    Amplitude,
    /// The length of a pulse.
    PulseWidth,
}

/// How negative inputs are driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegativeInputs {
    /// Positive and negative parts one after the other: two conversions, two noise draws.
    TwoPass,
    /// Drivers of either polarity: one conversion.
    SignMagnitude,
}

/// The output converters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adc {
    /// Resolution in bits, 1 to 16.
    pub bits: u32,
    /// The range the converter was designed for, in normalised current (one cell at `g_max` under a
    /// full-scale drive = 1). Offsets and output noise are given in LSB of this range.
    pub nominal: AdcRange,
    /// What shares one range setting.
    pub range_per: RangePer,
}

impl Adc {
    /// The highest code.
    pub fn max_code(&self) -> u32 {
        (1 << self.bits) - 1
    }

    /// One step of the nominal range, in normalised current.
    pub fn nominal_lsb(&self) -> f64 {
        f64::from(self.nominal.hi - self.nominal.lo) / f64::from(self.max_code())
    }
}

/// What shares one ADC range setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangePer {
    /// Every column has its own.
    Column,
    /// All columns of a tile share one.
    Tile,
    /// All tiles of a layer share one.
    Layer,
}

/// The corrections that a chip has room for beyond cell targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// A digital gain and offset per conversion.
    pub column_affine: bool,
    /// ADC ranges chosen for the die, rather than once for the design.
    pub ranges: bool,
    /// Rows placed freely in an array.
    pub rows: bool,
    /// A sign per column.
    pub column_signs: bool,
}

macro_rules! define_effects {
    ($($(#[$doc:meta])* $effect:ident $name:literal $({ $file:ident: $model:ident })?)*) => {
        /// What makes real dies differ from the ideal one; `None` where an effect is absent.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Effects {
            $($(
                #[doc = concat!("The effect `", $name, "`.")]
                pub $file: Option<crate::effects::$file::$model>,
            )?)*
        }

        impl Effects {
            /// Reads the table of each effect that the file gives.
            pub(crate) fn read(section: &mut Section<'_>) -> Self {
                Self { $($($file: section.optional_section($name, Model::read),)?)* }
            }

            /// The effects present, in the order in which the signal meets them.
            pub(crate) fn models(&self) -> Vec<(Effect, &dyn Model)> {
                let mut models: Vec<(Effect, &dyn Model)> = Vec::new();
                $($(if let Some(model) = &self.$file {
                    models.push((Effect::$effect, model));
                })?)*
                models
            }
        }
    };
}
effect_list!(define_effects);

impl Chip {
    /// The physical size of the arrays, for verifiers.
    pub fn array_size(&self) -> ArraySize {
        let Arrays { count, n_rows, n_cols, .. } = self.arrays;
        ArraySize { n_rows, n_cols, count }
    }

    /// Whether the description calls for an effect; converters are always described.
    pub fn describes(&self, effect: Effect) -> bool {
        matches!(effect, Effect::Dac | Effect::Adc)
            || self.effects.models().iter().any(|(present, _)| *present == effect)
    }
}
