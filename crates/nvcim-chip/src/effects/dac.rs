//! DAC: input quantisation and clipping.
//!
//! Sign and magnitude: `bits` bits of magnitude, the sign by a second pass or a driver of either
//! polarity, so that 0 and both ends of the scale are exact.

use ndarray::{Array2, ArrayView2};

use crate::describe::Dac;
use crate::real::Real;

/// The number of steps from rest to full scale, exact in either type.
pub fn drive_steps<T: Real>(bits: u32) -> T {
    T::from_f64(f64::from((1u32 << bits) - 1))
}

/// The whole number of steps nearest to `x` full scales, negative for negative `x`; halfway, the even
/// one. Beyond full scale the driver clips.
#[inline]
pub fn drive_code<T: Real>(x: T, steps: T) -> T {
    (x.clamp(-T::ONE, T::ONE) * steps).round_half_even()
}

/// [`drive_code`] with `shift` steps, within half of one, added to the size before it is rounded: rest stays
/// rest, full scale full scale.
#[inline]
pub fn shifted_drive_code<T: Real>(x: T, steps: T, shift: T) -> T {
    let size = x.abs().clamp(T::ZERO, T::ONE) * steps + shift;
    size.round_half_even().clamp(T::ZERO, steps).copysign(x)
}

/// The drive that a converter of `bits` bits, 1 to 16, makes of `x`, both in full scales.
pub fn quantize_drive(x: f32, bits: u32) -> f32 {
    let steps: f32 = drive_steps(bits);
    drive_code(x, steps) / steps
}

/// [`quantize_drive`] with a shift, in steps, as [`shifted_drive_code`] has it.
pub fn quantize_shifted(x: f32, bits: u32, shift: f32) -> f32 {
    let steps: f32 = drive_steps(bits);
    shifted_drive_code(x, steps, shift) / steps
}

/// What two passes drive of signed drives: their positive parts, and the sizes of their negative ones.
pub fn split_passes(drives: ArrayView2<'_, f32>) -> [Array2<f32>; 2] {
    [drives.mapv(|drive| drive.max(0.0)), drives.mapv(|drive| (-drive).max(0.0))]
}

/// What word lines get at a time while `drive`, in full scales, is driven by `dac`: the drive as the
/// converter makes it, or each slice of it where they are converted one by one, the lowest first.
pub fn drives_converted(dac: &Dac, drive: ArrayView2<'_, f32>) -> Vec<Array2<f32>> {
    let Some(bits_per_slice) = dac.converted_slices() else {
        return vec![drive.mapv(|x| quantize_drive(x, dac.bits))];
    };
    let codes = drive.mapv(|x| drive_code(x, drive_steps(dac.bits)));
    let slices = 0..dac.bits.div_ceil(bits_per_slice);
    slices.map(|slice| codes.mapv(|code| slice_drive(code, slice, bits_per_slice))).collect()
}

/// What slice `slice`, the lowest is 0, drives of a whole number of steps: its digit, of `bits_per_slice`
/// bits, in full scales of a slice, with the sign of the code.
pub fn slice_drive(code: f32, slice: u32, bits_per_slice: u32) -> f32 {
    // Codes have at most 16 bits, which f32 and u32 hold exactly.
    let top = (1u32 << bits_per_slice) - 1;
    let digit = (code.abs() as u32 >> (slice * bits_per_slice)) & top;
    (digit as f32 / top as f32).copysign(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{drive_code, quantize_drive, quantize_shifted, slice_drive};

    #[test]
    fn two_bits_make_seven_drives() {
        let drives: Vec<f32> = (-8..=8).map(|x| quantize_drive(x as f32 / 6.0, 2) * 3.0).collect();
        let codes =
            [-3, -3, -3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3, 3, 3].map(|code| code as f32);
        assert_eq!(drives, codes);
    }

    #[test]
    fn both_ends_and_rest_are_exact() {
        for bits in 1..=16 {
            assert_eq!(
                [-2.0, -1.0, 0.0, 1.0].map(|x| quantize_drive(x, bits)),
                [-1.0, -1.0, 0.0, 1.0]
            );
        }
    }

    #[test]
    fn shifts_move_what_lies_between_and_nothing_else() {
        for shift in [-0.49, -0.25, 0.0, 0.25, 0.49] {
            assert_eq!(
                [-2.0, -1.0, 0.0, 1.0].map(|x| quantize_shifted(x, 2, shift)),
                [-1.0, -1.0, 0.0, 1.0]
            );
        }
        // Together, four that round at four places have four times as many steps.
        let shifts = [-0.375, -0.125, 0.125, 0.375];
        for step in 0..=12 {
            let x = step as f32 / 12.0;
            let sum: f32 = shifts.iter().map(|&shift| quantize_shifted(x, 2, shift)).sum();
            assert!((sum / 4.0 - x).abs() < 1e-6, "{x} {sum}");
            assert_eq!(shifts.map(|it| quantize_shifted(-x, 2, it)).iter().sum::<f32>(), -sum);
        }
    }

    #[test]
    fn slices_weigh_up_to_their_code() {
        for (bits, bits_per_slice) in [(8, 1), (8, 3), (16, 5), (4, 4)] {
            for code in 0..1u32 << bits {
                let digits = (0..u32::div_ceil(bits, bits_per_slice)).map(|slice| {
                    let drive = slice_drive(-(code as f32), slice, bits_per_slice);
                    assert!((-1.0..=0.0).contains(&drive));
                    let top = (1u32 << bits_per_slice) - 1;
                    ((-drive * top as f32) as u32) << (slice * bits_per_slice)
                });
                assert_eq!(digits.sum::<u32>(), code, "{bits} {bits_per_slice}");
            }
        }
    }

    proptest! {
        #[test]
        fn quantising_is_odd_settles_and_errs_by_half_a_step(x in -1.0f32..=1.0, bits in 1u32..=16) {
            let steps: f32 = super::drive_steps(bits);
            let drive = quantize_drive(x, bits);
            prop_assert_eq!(quantize_drive(drive, bits), drive);
            prop_assert_eq!(quantize_drive(-x, bits), -drive);
            prop_assert_eq!(drive_code(x, steps).fract(), 0.0);
            prop_assert!((drive - x).abs() * steps <= 0.5 + 0.01, "{} {}", x, drive);
        }
    }
}
