//! Word line drivers on the tape: inputs become drives, drives come in passes and slices.
//!
//! The same converters as on the chip, by the functions of `nvcim_chip::effects::dac`; of what strays from even
//! steps only the jitter of pulses is seen here.

use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use nvcim_chip::describe::{Chip, NegativeInputs};
use nvcim_chip::effects::dac::{drive_code, drive_steps, slice_drive, split_passes};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::random::Stream;
use nvcim_ir::tiled::InputCoding;

use crate::convert::Key;

/// How a layer's inputs are driven in one step.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    /// The input value that drives a word line fully.
    pub(crate) full_scale: f32,
    /// Steps from rest to full scale; `None` for drives that are neither rounded nor clipped.
    steps: Option<f32>,
    /// Whether positive and negative parts are driven one after the other.
    two_passes: bool,
    /// Bits of a slice and number of slices, where slices are converted one by one.
    slices: Option<(u32, u32)>,
    /// Standard deviation of a pulse's length in full scales, with its draws.
    jitter: Option<(f32, Stream)>,
}

/// Drives that are converted at a time, `[rows, columns]` in full scales, and what their result counts.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// The drives.
    pub(crate) drives: CowArray<'a, f32, Ix2>,
    /// What a current of 1 counts in the layer's current.
    pub(crate) counts: f32,
}

impl Drive {
    /// The drivers of a chip under some of its effects; `strength` scales their noise.
    pub(crate) fn new(
        chip: &Chip,
        input: InputCoding,
        effects: EffectSet,
        die_seed: u64,
        strength: f64,
    ) -> Self {
        let rounds = effects.has(Effect::Dac);
        let steps: f32 = drive_steps(chip.dac.bits);
        let width = chip.dac.converted_slices().filter(|_| rounds);
        let jitter = rounds.then_some(chip.dac.jitter_sd_steps).filter(|sd| *sd > 0.0);
        Self {
            full_scale: input.full_scale,
            steps: rounds.then_some(steps),
            two_passes: input.signed && chip.dac.negative == NegativeInputs::TwoPass,
            slices: width.map(|width| (width, chip.dac.bits.div_ceil(width))),
            jitter: jitter.map(|sd| {
                let sd = (sd * strength) as f32 / steps;
                (sd, Stream::new(0, die_seed, Effect::Dac))
            }),
        }
    }

    /// Whether an input lies beyond what can be driven.
    pub(crate) fn clips(&self, x: f32) -> bool {
        self.steps.is_some() && x.abs() > self.full_scale
    }

    /// What word lines get of inputs, all slices and passes together, in full scales, but for the jitter of
    /// pulses.
    pub(crate) fn round(&self, x: &[f32]) -> Vec<f32> {
        let per_input = 1.0 / self.full_scale;
        match self.steps {
            Some(steps) => x.iter().map(|x| drive_code(x * per_input, steps) / steps).collect(),
            None => x.iter().map(|x| x * per_input).collect(),
        }
    }

    /// The same drives, `[rows, columns]`, as pulses of uneven length; `None` where lengths are even.
    pub(crate) fn jitter(&self, drives: ArrayView2<'_, f32>, key: Key) -> Option<Array2<f32>> {
        let (sd, stream) = self.jitter?;
        let mut z = vec![0.0; drives.len()];
        stream.fill_normals(key.place(0), &mut z);
        // A word line at rest sends no pulse.
        let lengthen = |(drive, z): (&f32, f32)| if *drive == 0.0 { 0.0 } else { drive + sd * z };
        let uneven = drives.iter().zip(z).map(lengthen).collect();
        Some(Array2::from_shape_vec(drives.dim(), uneven).expect("one length per drive"))
    }

    /// The passes and slices of drives, in the order of their conversions.
    pub(crate) fn parts<'a>(&self, drives: ArrayView2<'a, f32>) -> Vec<Part<'a>> {
        let slices = match (self.slices, self.steps) {
            (Some((width, count)), Some(steps)) => {
                let max = |bits: u32| ((1u64 << bits) - 1) as f32;
                let slice = |slice: u32| Part {
                    drives: drives.mapv(|x| slice_drive(drive_code(x, steps), slice, width)).into(),
                    counts: (1u64 << (width * slice)) as f32 * max(width) / steps,
                };
                (0..count).map(slice).collect()
            }
            _ => vec![Part { drives: drives.into(), counts: 1.0 }],
        };
        if !self.two_passes {
            return slices;
        }
        let passes = slices.into_iter().flat_map(|Part { drives, counts }| {
            let [positive, negative] = split_passes(drives.view()).map(CowArray::from);
            [Part { drives: positive, counts }, Part { drives: negative, counts: -counts }]
        });
        passes.collect()
    }
}
