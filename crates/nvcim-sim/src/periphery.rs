//! What surrounds the arrays of a die: converters and noise, under the conditions of a run.

use std::sync::Arc;

use nvcim_chip::describe::{Accumulate, Adc, BitSerial, Chip, InputDrive};
use nvcim_chip::effects::adc_linearity::CodeTable;
use nvcim_chip::effects::nonlinearity::Nonlinearity;
use nvcim_chip::effects::read::Correlation;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::random::Stream;

use crate::conditions::Conditions;

/// What all conversions of a die have in common.
#[derive(Debug, Clone)]
pub struct Periphery {
    /// Bits of the input converters; `None` for drives that are neither rounded nor clipped.
    pub dac_bits: Option<u32>,
    /// How drives are cut into slices; `None` for drives that come whole.
    pub slicing: Option<Slicing>,
    /// How far the design puts the drive of each code from its place, in steps; empty for even steps, and
    /// for drives in slices.
    pub inl_steps: Vec<f64>,
    /// Standard deviation of each pulse's length in steps.
    pub jitter: Option<(f64, Stream)>,
    /// The sense stages, where they are not linear.
    pub stage: Option<Nonlinearity>,
    /// The output converters.
    pub adc: Adc,
    /// Whether codes are whole and clipped.
    pub rounds: bool,
    /// How long a draw of read noise holds, where reads are noisy and the noise is not frozen into cells.
    pub read: Option<(Correlation, Stream)>,
    /// Standard deviation of what each conversion adds, in normalised current.
    pub output: Option<(f64, Stream)>,
}

impl Periphery {
    /// The converters and the noise of a die that `die_seed` draws.
    ///
    /// Without the effect `dac` there are no bits that could be driven one after the other and no steps
    /// that could jitter or lie unevenly.
    pub fn new(chip: &Chip, die_seed: u64, conditions: &Conditions) -> Self {
        let set: EffectSet = conditions.effects;
        let stream = |effect| Stream::new(conditions.run_seed, die_seed, effect);
        let dac_bits = set.has(Effect::Dac).then_some(chip.dac.bits);
        let serial = match chip.dac.coding {
            InputDrive::BitSerial(serial) => Some(serial),
            InputDrive::Amplitude | InputDrive::PulseWidth => None,
        };
        let jitter = dac_bits.map(|_| chip.dac.jitter_sd_steps).filter(|sd| *sd > 0.0);
        let uneven = dac_bits.is_some()
            && serial.is_none()
            && chip.circuits.dac.inl_steps.iter().any(|shift| *shift != 0.0);
        let stage = chip.effects.nonlinearity.filter(|_| set.has(Effect::Nonlinearity));
        let read = chip.effects.read.filter(|_| set.has(Effect::Read)).map(|it| it.correlation);
        let output = chip.effects.output_noise.filter(|_| set.has(Effect::OutputNoise));
        Self {
            dac_bits,
            slicing: dac_bits.zip(serial).map(|(bits, serial)| Slicing::new(bits, serial)),
            inl_steps: if uneven { chip.circuits.dac.inl_steps.clone() } else { Vec::new() },
            stage: stage.filter(|stage| !stage.is_linear()),
            jitter: jitter.map(|sd| (sd, stream(Effect::Dac))),
            adc: chip.adc,
            rounds: set.has(Effect::Adc),
            read: read
                .filter(|correlation| *correlation != Correlation::Frozen)
                .map(|correlation| (correlation, stream(Effect::Read))),
            output: output.map(|noise| (noise.sd(&chip.adc), stream(Effect::OutputNoise))),
        }
    }

    /// Slices that are converted one by one; 1 for drives that come whole or are added before.
    pub fn n_slices(&self) -> usize {
        self.converted_slices().map_or(1, |slicing| slicing.n_slices as usize)
    }

    /// How drives are cut into slices that are converted one by one.
    pub(crate) fn converted_slices(&self) -> Option<Slicing> {
        self.slicing.filter(|slicing| slicing.accumulate == Accumulate::Digital)
    }

    /// What a drive of 1 stands for, in full scales: a step of the DAC, or of a slice of its bits.
    pub(crate) fn drive_unit(&self) -> f64 {
        match (self.converted_slices(), self.dac_bits) {
            (Some(slicing), _) => 1.0 / max_of_bits(slicing.bits_per_slice),
            (None, Some(bits)) => 1.0 / max_of_bits(bits),
            (None, None) => 1.0,
        }
    }
}

/// How the bits of a drive are cut into slices, the lowest first, and added up again.
///
/// Slice `k` of `K` holds the digit `d_k` of the drive to the base `2^n` and drives `v_k = d_k / (2^n - 1)`
/// of full scale; `sum w_k v_k` is the whole drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slicing {
    /// Bits of the whole drive.
    pub bits: u32,
    /// `n`; the last slice holds what is left.
    pub bits_per_slice: u32,
    /// `K`, at least 1.
    pub n_slices: u32,
    /// Where slices are weighted and added.
    pub accumulate: Accumulate,
}

impl Slicing {
    /// Cuts drives of `bits` bits, 1 to 16.
    pub fn new(bits: u32, BitSerial { bits_per_slice, accumulate }: BitSerial) -> Self {
        Self { bits, bits_per_slice, n_slices: bits.div_ceil(bits_per_slice), accumulate }
    }

    /// `w_0 2^(n K)`: what `sum 2^(n (k - K)) y_k` is multiplied by to be `sum w_k y_k`, with the weights
    /// `w_k = 2^(n k) (2^n - 1) / (2^bits - 1)`.
    pub fn top_weight(&self) -> f64 {
        let base_to_all = f64::from(1u32 << (self.bits_per_slice * self.n_slices));
        max_of_bits(self.bits_per_slice) * base_to_all / max_of_bits(self.bits)
    }

    /// `w_k`: what slice `k` of the drive counts.
    pub fn weight(&self, slice: u32) -> f64 {
        let place = f64::from(1u32 << (self.bits_per_slice * slice));
        max_of_bits(self.bits_per_slice) * place / max_of_bits(self.bits)
    }

    /// The digit of slice `k` of a code, a whole number with its sign.
    pub fn digit(&self, code: f64, slice: u32) -> f64 {
        // Codes have 16 bits at most.
        let digit =
            (code.abs() as u32) >> (self.bits_per_slice * slice) & ((1 << self.bits_per_slice) - 1);
        f64::from(digit).copysign(code)
    }

    /// `W = sum w_k = (2^(n K) - 1) / (2^bits - 1)`: 1 where all slices have the same bits.
    pub fn weight_sum(&self) -> f64 {
        max_of_bits(self.bits_per_slice * self.n_slices) / max_of_bits(self.bits)
    }
}

/// The highest number of `bits` bits, up to 31.
fn max_of_bits(bits: u32) -> f64 {
    f64::from((1u32 << bits) - 1)
}

/// A column's sense stage and converter, set to a range.
#[derive(Debug, Clone)]
pub struct Sense {
    /// 1 for a perfect one.
    pub gain: f32,
    /// In LSB of the nominal range.
    pub offset_lsb: f32,
    /// The lowest and the highest current of the conversion, normalised.
    pub range: [f64; 2],
    /// Where the converter's levels lie; `None` where they lie evenly.
    pub levels: Option<Arc<CodeTable>>,
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::{Accumulate, BitSerial};

    use super::Slicing;

    #[test]
    fn weights_of_slices_sum_to_what_all_ones_make_of_them() {
        for bits in 1..=16 {
            for bits_per_slice in 1..=bits {
                let serial = BitSerial { bits_per_slice, accumulate: Accumulate::Digital };
                let slicing = Slicing::new(bits, serial);
                let base = f64::from(1u32 << bits_per_slice);
                let weight =
                    |k: u32| slicing.top_weight() / base.powi((slicing.n_slices - k) as i32);
                let sum: f64 = (0..slicing.n_slices).map(weight).sum();
                assert!((sum - slicing.weight_sum()).abs() < 1e-12, "{slicing:?}");
                // Digits of the highest drive: all slices full but the last, which holds what is left.
                let digit = |k: u32| f64::from(((1u32 << bits) - 1) >> (k * bits_per_slice)) % base;
                let whole: f64 =
                    (0..slicing.n_slices).map(|k| weight(k) * digit(k) / (base - 1.0)).sum();
                assert!((whole - 1.0).abs() < 1e-12, "{slicing:?}");
            }
        }
    }
}
