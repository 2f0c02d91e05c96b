//! The chip description: validated data, in SI units.
//!
//! `crate::file` reads and writes it as TOML; nothing here can be built from unchecked input.

use nvcim_ir::tiled::{AdcRange, ArraySize};

use crate::circuits::Circuits;
use crate::effects::{Effect, Model, effect_list};
use crate::reader::Section;
use crate::unit_costs::UnitCosts;

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
    /// How cells hold weights.
    pub weights: Weights,
    /// The input converters.
    pub dac: Dac,
    /// The output converters.
    pub adc: Adc,
    /// The corrections that the chip has room for.
    pub holds: Holds,
    /// What makes real dies differ from the ideal one.
    pub effects: Effects,
    /// How both converters are built: who shares them, and how they stray from even steps.
    pub circuits: Circuits,
    /// What its work takes in time and energy, as far as that is known; no part of its identity.
    pub cost: UnitCosts,
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
    /// The most word lines driven at once; `None` for all of them. Taller tiles are read in parts.
    pub max_active_rows: Option<usize>,
    /// How freely tiles may share an array; `None` where the file does not say.
    pub pack: Option<Pack>,
    /// Where depthwise convolutions run.
    pub depthwise: Depthwise,
}

/// Where depthwise convolutions run, those with a filter of its own for each input channel.
///
/// On arrays they are blocks on a diagonal with unused cells all round them; digitally they take a product
/// for every tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depthwise {
    /// On arrays, as every other matrix.
    #[default]
    Arrays,
    /// In the digital program.
    Digital,
}

/// How freely tiles may share an array, each way less strict than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pack {
    /// Not at all: a tile has its array to itself.
    None,
    /// Tiles of an array use lines of their own, so that any of them may run at any time; those that are
    /// driven alike share word lines.
    Concurrent,
    /// Tiles of an array use cells of their own, and take turns on its lines.
    Dense,
}

impl Pack {
    /// Every way with its name, in files and on the command line.
    pub const NAMES: &[(&str, Self)] =
        &[("none", Self::None), ("concurrent", Self::Concurrent), ("dense", Self::Dense)];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Concurrent => "concurrent",
            Self::Dense => "dense",
        }
    }
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
    /// On the same lines of two arrays, which are driven alike.
    Arrays,
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

/// How cells hold weights; see [`crate::coding`].
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// What stands for the sign.
    pub sign: SignCoding,
    /// Width of the digits that slices hold, 1 to 8; `None` where all slices hold the same share.
    pub bits_per_slice: Option<u32>,
    /// Bits of a weight held in digits: of its magnitude for pairs, of all of it for an offset. `None` for
    /// as many as the slices have.
    pub bits: Option<u32>,
    /// The worth of each slice in relation to the others, least significant first; 1 for digits. At least
    /// one slice, each worth more than 0.
    pub significance: Vec<f64>,
}

/// What stands for the sign of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignCoding {
    /// Two cells, one of which counts negatively.
    Pairs,
    /// One cell; half the range is taken off as a digital sum of the drives.
    OffsetDigital,
    /// One cell; half the range is taken off as the result of a reference column.
    OffsetColumn,
}

impl Weights {
    /// One pair per weight.
    pub fn pairs() -> Self {
        let sign = SignCoding::Pairs;
        Self { sign, bits_per_slice: None, bits: None, significance: vec![1.0] }
    }

    /// Bits of a weight that is held in digits, at most 32; 0 where it is not.
    pub fn total_bits(&self) -> u32 {
        let room = self.bits_per_slice.unwrap_or(0) * self.significance.len() as u32;
        self.bits.unwrap_or(room).min(room)
    }

    /// Physical cells that one weight takes.
    pub fn cells_per_weight(&self) -> usize {
        let sides = if self.sign == SignCoding::Pairs { 2 } else { 1 };
        sides * self.significance.len()
    }
}

/// The input converters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dac {
    /// Resolution of the magnitude in bits, 1 to 16.
    pub bits: u32,
    /// What carries the value.
    pub coding: InputDrive,
    /// How negative inputs are driven.
    pub negative: NegativeInputs,
    /// Standard deviation of a pulse's length in steps; 0 unless the drive is pulse-width.
    pub jitter_sd_steps: f64,
}

impl Dac {
    /// Bits of a slice, where slices are converted one by one and there are several.
    pub fn converted_slices(&self) -> Option<u32> {
        match self.coding {
            InputDrive::BitSerial(BitSerial {
                bits_per_slice,
                accumulate: Accumulate::Digital,
            }) => (bits_per_slice < self.bits).then_some(bits_per_slice),
            InputDrive::BitSerial(_) | InputDrive::Amplitude | InputDrive::PulseWidth => None,
        }
    }
}

/// What carries an input value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputDrive {
    /// A voltage; refused on gated arrays, whose current is exponential in the gate voltage.
    Amplitude,
    /// The length of a pulse.
    PulseWidth,
    /// One slice of the magnitude's bits after the other, the lowest first.
    BitSerial(BitSerial),
}

/// Inputs that are driven slice by slice, and how the slices come together again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitSerial {
    /// Bits of one slice, 1 to the resolution of the magnitude; the last slice holds what is left.
    pub bits_per_slice: u32,
    /// Where slices are weighted and added.
    pub accumulate: Accumulate,
}

/// Where the slices of bit-serial inputs are weighted and added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// In logic, after a conversion of every slice.
    Digital,
    /// As charge, before the one conversion.
    Analog,
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
    /// How many codes there are.
    pub coding: AdcCoding,
}

impl Adc {
    /// The highest code.
    pub fn max_code(&self) -> u32 {
        match self.coding {
            AdcCoding::Binary => (1 << self.bits) - 1,
            AdcCoding::SignMagnitude => (1 << self.bits) - 2,
        }
    }

    /// One step of the nominal range, in normalised current.
    pub fn nominal_lsb(&self) -> f64 {
        f64::from(self.nominal.hi - self.nominal.lo) / f64::from(self.max_code())
    }
}

/// How many codes an output converter of `b` bits has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdcCoding {
    /// `2^b`: no code stands for 0 in a range that is symmetric about it.
    Binary,
    /// `2^b - 1`, since plus and minus 0 are one: the middle code of a symmetric range stands for 0.
    SignMagnitude,
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
    /// A digital gain per tile, for refreshing after drift where there is none per conversion.
    pub tile_gain: bool,
    /// The most copies of a tile whose outputs are averaged: each costs conversions, and gains ever less. `None` for
    /// [`USUAL_COPIES`](Self::USUAL_COPIES), and more where cells are noisy.
    pub copies: Option<usize>,
}

impl Holds {
    /// Copies of a tile where a file says nothing of them, unless noise asks for more.
    pub const USUAL_COPIES: usize = 8;

    /// Room for every correction, with gains and offsets per conversion.
    pub const PER_CONVERSION: Self =
        Self { column_affine: true, ranges: true, rows: true, column_signs: true, ..Self::NOTHING };

    /// Room for no correction beyond cell targets: what a chip holds that says nothing of it.
    pub const NOTHING: Self = Self {
        column_affine: false,
        ranges: false,
        rows: false,
        column_signs: false,
        tile_gain: false,
        copies: None,
    };
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

impl Arrays {
    /// Physical arrays that one tile takes.
    pub fn arrays_per_tile(&self) -> usize {
        if self.pairs == PairAxis::Arrays { 2 } else { 1 }
    }

    /// The most rows of a matrix that one conversion sums over, of `n_rows`.
    pub fn rows_at_once(&self, n_rows: usize) -> usize {
        let per_row = if self.pairs == PairAxis::Rows { 2 } else { 1 };
        self.max_active_rows.map_or(n_rows, |most| (most / per_row).clamp(1, n_rows.max(1)))
    }
}

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

    /// Whether nothing is drawn for a die of this chip, nor for its reads: then all dies are the same.
    pub fn dies_are_alike(&self) -> bool {
        let Circuits { dac, adc } = &self.circuits;
        let sds = [self.dac.jitter_sd_steps, dac.gain_sd, dac.offset_sd_steps, adc.capacitor_sd];
        let effects = self.effects.models();
        effects.iter().all(|(effect, _)| !effect.is_drawn()) && sds.iter().all(|sd| *sd == 0.0)
    }
}
