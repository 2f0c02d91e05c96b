//! ADC: output quantisation and clipping.
//!
//! `code = clip(rint((gain y + offset - lo) / D), 0, 2^b - 1)` and back `y = lo + D code`, with
//! `D = (hi - lo) / (2^b - 1)`. Gain and offset are the column's own errors, not corrections.

use nvcim_ir::tiled::AdcRange;

use crate::describe::Adc;
use crate::real::Real;

/// One column's way from current to code and back, for one range; currents are normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transfer<T = f32> {
    /// Codes per unit of current, gain included.
    scale: T,
    /// The code of no current, before rounding and clipping.
    shift: T,
    max_code: T,
    lo: T,
    step: T,
}

impl<T: Real> Transfer<T> {
    /// The transfer of a converter set to `range`, with a column's `gain` (1 for a perfect one) and
    /// `offset_lsb` in LSB of the nominal range.
    pub fn new(adc: &Adc, range: AdcRange, gain: f32, offset_lsb: f32) -> Self {
        Self::between(adc, [range.lo, range.hi].map(f64::from), gain, offset_lsb, 0.0)
    }

    /// The same for a range from `lo` to `hi`, and for a column that carries `current` whatever is
    /// driven, besides what is converted.
    pub fn between(
        adc: &Adc,
        [lo, hi]: [f64; 2],
        gain: f32,
        offset_lsb: f32,
        current: f64,
    ) -> Self {
        let step = (hi - lo) / f64::from(adc.max_code());
        let offset = f64::from(offset_lsb) * adc.nominal_lsb() + f64::from(gain) * current;
        Self {
            scale: T::from_f64(f64::from(gain) / step),
            shift: T::from_f64((offset - lo) / step),
            max_code: T::from_f64(f64::from(adc.max_code())),
            lo: T::from_f64(lo),
            step: T::from_f64(step),
        }
    }

    /// What an unlimited converter would answer: the code before rounding and clipping.
    #[inline]
    pub fn exact_code(&self, y: T) -> T {
        self.scale * y + self.shift
    }

    /// The code that a converter settles on for an exact code: a whole number from 0 to the highest code.
    #[inline]
    pub fn settle(&self, exact_code: T) -> T {
        // Clipping first gives the same codes, since both ends are whole, and bounds what is rounded.
        exact_code.clamp(T::ZERO, self.max_code).round_half_even()
    }

    /// The code of the current `y`: a whole number from 0 to the highest code.
    #[inline]
    pub fn code(&self, y: T) -> T {
        self.settle(self.exact_code(y))
    }

    /// Whether the current `y` lies outside the range, so that its code is clipped.
    pub fn clips(&self, y: T) -> bool {
        let code = self.exact_code(y);
        code < T::ZERO || code > self.max_code
    }

    /// The normalised current that a code stands for.
    #[inline]
    pub fn value(&self, code: T) -> T {
        self.lo + self.step * code
    }

    /// Codes per unit of current, gain included.
    pub fn scale(&self) -> T {
        self.scale
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::tiled::AdcRange;
    use proptest::prelude::*;

    use super::Transfer;
    use crate::describe::{Adc, AdcCoding, RangePer};

    const WIDE: AdcRange = AdcRange { lo: -8.0, hi: 8.0 };

    fn adc(bits: u32) -> Adc {
        Adc { bits, nominal: WIDE, range_per: RangePer::Tile, coding: AdcCoding::Binary }
    }

    #[test]
    fn codes_run_from_end_to_end_and_clip_beyond() {
        let transfer = Transfer::<f32>::new(&adc(4), AdcRange { lo: -1.0, hi: 2.0 }, 1.0, 0.0);
        assert_eq!(
            [-3.0, -1.0, 0.0, 1.95, 9.0].map(|y| transfer.code(y)),
            [0.0, 0.0, 5.0, 15.0, 15.0]
        );
        assert_eq!([-1.1, -0.9, 1.9, 2.1].map(|y| transfer.clips(y)), [true, false, false, true]);
        assert!((transfer.value(15.0) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn an_offset_keeps_its_size_when_the_range_narrows() {
        let narrow = AdcRange { lo: -1.0, hi: 1.0 };
        let value = |range| {
            let transfer = Transfer::<f32>::new(&adc(8), range, 1.0, 3.0);
            transfer.value(transfer.exact_code(0.0))
        };
        let offset = 3.0 * adc(8).nominal_lsb() as f32;
        assert!((value(WIDE) - offset).abs() < 1e-5);
        assert!((value(narrow) - offset).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn a_perfect_column_errs_by_half_a_step(y in -8.0f32..=8.0, bits in 1u32..=16) {
            let transfer = Transfer::<f32>::new(&adc(bits), WIDE, 1.0, 0.0);
            let code = transfer.code(y);
            prop_assert_eq!(code.fract(), 0.0);
            let step = 16.0 / adc(bits).max_code() as f32;
            prop_assert!((transfer.value(code) - y).abs() <= 0.5 * step + 2e-6);
        }

        #[test]
        fn gain_acts_before_offset(y in -1.0f32..=1.0, gain in 0.5f32..=1.5, offset in -4.0f32..=4.0) {
            let transfer = Transfer::<f32>::new(&adc(8), WIDE, gain, offset);
            let expected = gain * y + offset * adc(8).nominal_lsb() as f32;
            prop_assert!((transfer.value(transfer.exact_code(y)) - expected).abs() < 1e-5);
        }
    }
}
