//! The numbers that conversions are computed in: f32 for speed, f64 to be checked against other programs.
//!
//! One generic kernel serves both, so that what a check in f64 finds right is what runs in f32. The trait
//! holds the few operations that the kernel needs, each rounded as IEEE 754 says: the same inputs give
//! the same bytes on every machine.

use std::fmt::Debug;
use std::ops::{AddAssign, Neg};

use ndarray::LinalgScalar;

/// A floating-point number that conversions can be computed in.
pub trait Real:
    LinalgScalar + PartialOrd + Neg<Output = Self> + AddAssign + Default + Debug + Send + Sync + Sealed
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// The number nearest to `x`.
    fn from_f64(x: f64) -> Self;

    /// The number as f64, exact.
    fn to_f64(self) -> f64;

    /// The f32 nearest to the number.
    fn to_f32(self) -> f32;

    /// The number that `x` is, or the one nearest to it.
    fn from_real<U: Real>(x: U) -> Self;

    /// The whole number nearest to this one, the even one halfway, within half of what the significand
    /// holds: `2^22` for f32 and `2^51` for f64.
    ///
    /// Adding 1.5 times twice that leaves no bits for fractions, so the sum rounds as every IEEE sum
    /// does; unlike the library call this needs two additions on any machine and vectorises.
    #[must_use]
    fn round_half_even(self) -> Self;

    /// The square root, correctly rounded.
    #[must_use]
    fn sqrt(self) -> Self;

    /// The number without its sign.
    #[must_use]
    fn abs(self) -> Self;

    /// The larger one; the other where one is not a number.
    #[must_use]
    fn max(self, other: Self) -> Self;

    /// The nearest number from `lo` to `hi`.
    ///
    /// # Panics
    /// If `lo` is not at most `hi`.
    #[must_use]
    fn clamp(self, lo: Self, hi: Self) -> Self;

    /// The size of `self` with the sign of `sign`.
    #[must_use]
    fn copysign(self, sign: Self) -> Self;
}

mod sealed {
    /// Keeps [`super::Real`] to the two types whose arithmetic is proven here.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
use sealed::Sealed;

macro_rules! implement_real {
    ($real:ident, $no_fraction:literal) => {
        impl Real for $real {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            #[inline]
            fn from_f64(x: f64) -> Self {
                x as $real
            }

            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            #[inline]
            fn to_f32(self) -> f32 {
                self as f32
            }

            #[inline]
            fn from_real<U: Real>(x: U) -> Self {
                // Widening is exact, so the one rounding is that to this type.
                x.to_f64() as $real
            }

            #[inline]
            fn round_half_even(self) -> Self {
                (self + $no_fraction) - $no_fraction
            }

            #[inline]
            fn sqrt(self) -> Self {
                self.sqrt()
            }

            #[inline]
            fn abs(self) -> Self {
                self.abs()
            }

            #[inline]
            fn max(self, other: Self) -> Self {
                self.max(other)
            }

            #[inline]
            fn clamp(self, lo: Self, hi: Self) -> Self {
                self.clamp(lo, hi)
            }

            #[inline]
            fn copysign(self, sign: Self) -> Self {
                self.copysign(sign)
            }
        }
    };
}
implement_real!(f32, 12_582_912.0);
implement_real!(f64, 6_755_399_441_055_744.0);

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn rounding_agrees_with_the_library_up_to_its_bound() {
        for quarter in -400_000..=400_000 {
            let x = f64::from(quarter) / 4.0;
            assert_eq!(Real::round_half_even(x), x.round_ties_even(), "{x}");
            let x = x as f32;
            assert_eq!(Real::round_half_even(x), x.round_ties_even(), "{x}");
        }
        for x in [4_194_303.5f32, 4_194_304.0, -4_194_303.5, -4_194_304.0] {
            assert_eq!(Real::round_half_even(x), x.round_ties_even(), "{x}");
        }
        for x in [2_251_799_813_685_247.5f64, 2_251_799_813_685_248.0] {
            assert_eq!(Real::round_half_even(x), x.round_ties_even(), "{x}");
            assert_eq!(Real::round_half_even(-x), (-x).round_ties_even(), "{x}");
        }
    }

    #[test]
    fn widths_change_with_one_rounding() {
        let third = 1.0f64 / 3.0;
        assert_eq!(f32::from_real(third), 1.0f32 / 3.0);
        assert_eq!(f64::from_real(1.0f32 / 3.0), f64::from(1.0f32 / 3.0));
        assert_eq!(f32::from_real(f32::MIN_POSITIVE / 4.0), f32::MIN_POSITIVE / 4.0);
    }
}
