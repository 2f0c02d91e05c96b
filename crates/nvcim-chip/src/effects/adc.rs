//! ADC: output quantisation and clipping.
//!
//! `code = clip(rint((gain y + offset - lo) / D), 0, 2^b - 1)` and back `y = lo + D code`, with
//! `D = (hi - lo) / (2^b - 1)`. Gain and offset are the column's own errors, not corrections.

use nvcim_ir::tiled::AdcRange;

use crate::describe::Adc;
use crate::effects::round_half_even;

/// One column's way from current to code and back, for one range; currents are normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transfer {
    /// Codes per unit of current, gain included.
    scale: f32,
    /// The code of no current, before rounding and clipping.
    shift: f32,
    max_code: f32,
    lo: f32,
    step: f32,
}

impl Transfer {
    /// The transfer of a converter set to `range`, with a column's `gain` (1 for a perfect one) and
    /// `offset_lsb` in LSB of the nominal range.
    pub fn new(adc: &Adc, range: AdcRange, gain: f32, offset_lsb: f32) -> Self {
        let lo = f64::from(range.lo);
        let step = (f64::from(range.hi) - lo) / f64::from(adc.max_code());
        let offset = f64::from(offset_lsb) * adc.nominal_lsb();
        Self {
            scale: (f64::from(gain) / step) as f32,
            shift: ((offset - lo) / step) as f32,
            max_code: adc.max_code() as f32,
            lo: range.lo,
            step: step as f32,
        }
    }

    /// What an unlimited converter would answer: the code before rounding and clipping.
    #[inline]
    pub fn exact_code(&self, y: f32) -> f32 {
        self.scale * y + self.shift
    }

    /// The code that a converter settles on for an exact code: a whole number from 0 to the highest code.
    #[inline]
    pub fn settle(&self, exact_code: f32) -> f32 {
        // Clipping first gives the same codes, since both ends are whole, and bounds what is rounded.
        round_half_even(exact_code.clamp(0.0, self.max_code))
    }

    /// The code of the current `y`: a whole number from 0 to the highest code.
    #[inline]
    pub fn code(&self, y: f32) -> f32 {
        self.settle(self.exact_code(y))
    }

    /// Whether the current `y` lies outside the range, so that its code is clipped.
    pub fn clips(&self, y: f32) -> bool {
        let code = self.exact_code(y);
        code < 0.0 || code > self.max_code
    }

    /// The normalised current that a code stands for.
    #[inline]
    pub fn value(&self, code: f32) -> f32 {
        self.lo + self.step * code
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::tiled::AdcRange;
    use proptest::prelude::*;

    use super::Transfer;
    use crate::describe::{Adc, RangePer};

    const WIDE: AdcRange = AdcRange { lo: -8.0, hi: 8.0 };

    fn adc(bits: u32) -> Adc {
        Adc { bits, nominal: WIDE, range_per: RangePer::Tile }
    }

    #[test]
    fn codes_run_from_end_to_end_and_clip_beyond() {
        let transfer = Transfer::new(&adc(4), AdcRange { lo: -1.0, hi: 2.0 }, 1.0, 0.0);
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
            let transfer = Transfer::new(&adc(8), range, 1.0, 3.0);
            transfer.value(transfer.exact_code(0.0))
        };
        let offset = 3.0 * adc(8).nominal_lsb() as f32;
        assert!((value(WIDE) - offset).abs() < 1e-5);
        assert!((value(narrow) - offset).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn a_perfect_column_errs_by_half_a_step(y in -8.0f32..=8.0, bits in 1u32..=16) {
            let transfer = Transfer::new(&adc(bits), WIDE, 1.0, 0.0);
            let code = transfer.code(y);
            prop_assert_eq!(code.fract(), 0.0);
            let step = 16.0 / adc(bits).max_code() as f32;
            prop_assert!((transfer.value(code) - y).abs() <= 0.5 * step + 2e-6);
        }

        #[test]
        fn gain_acts_before_offset(y in -1.0f32..=1.0, gain in 0.5f32..=1.5, offset in -4.0f32..=4.0) {
            let transfer = Transfer::new(&adc(8), WIDE, gain, offset);
            let expected = gain * y + offset * adc(8).nominal_lsb() as f32;
            prop_assert!((transfer.value(transfer.exact_code(y)) - expected).abs() < 1e-5);
        }
    }
}
