//! How a weight is held by cells: pairs or an offset, one cell or several slices of different worth.
//!
//! Notation: `w` is a weight over the magnitude that takes the whole range, -1 to 1; a cell's share is
//! `u = (g - g_min) / (g_max - g_min)`. A weight is held by slices `k`, least significant first:
//!
//! ```text
//! pairs    w = sum_k f_k (u+_k - u-_k)
//! offset   w = sum_k f_k u_k - z
//! ```
//!
//! * *Shared* slices (`significance`) all hold the same share: `f_k = s_k / sum s`, doubled for an offset,
//!   whose `z` is 1. Equal factors average the errors of the cells.
//! * *Digits* (`bits_per_slice = b`) hold whole numbers from 0 to `2^b - 1` of a weight that is rounded to
//!   `bits` bits: `f_k = 2^(b k) (2^b - 1) / N`. For pairs the bits are those of the magnitude and
//!   `N = 2^bits - 1`; for an offset `N = 2^(bits-1) - 1` and `z = 2^(bits-1) / N`, so that no weight at all
//!   is a whole number of levels. Dividing by the range really used keeps the gain at 1.
//!
//! Significance factors of several devices for one weight: I. Boybat et al., Nat. Commun. 9 (2018) 2514;
//! slices of bits: A. Shafiee et al., ISCA 2016, doi 10.1145/3007787.3001139; offset and differential coding
//! compared: T. P. Xiao et al., IEEE Circuits Syst. Mag. 22 (2022), doi 10.1109/MCAS.2022.3214409.

use crate::describe::{Cell, Chip, SignCoding, Weights};

/// How a chip's cells hold weights.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightCode {
    cell: Cell,
    sign: SignCoding,
    /// Worth of a full share of each slice, in weights that take the whole range.
    factors: Vec<f64>,
    /// Weight without any share, negated; 0 for pairs.
    zero: f64,
    digits: Option<Digits>,
}

/// Whole numbers in slices of equal width.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Digits {
    bits_per_slice: u32,
    /// Steps from 0 to the largest weight.
    steps: f64,
    /// The whole number that stands for 0.
    zero: f64,
}

impl WeightCode {
    /// The coding of a chip's description.
    pub fn new(chip: &Chip) -> Self {
        let Weights { sign, bits_per_slice, ref significance, .. } = chip.weights;
        let paired = sign == SignCoding::Pairs;
        match bits_per_slice {
            None => {
                let total: f64 = significance.iter().sum();
                let width = if paired { 1.0 } else { 2.0 };
                Self {
                    cell: chip.cell,
                    sign,
                    factors: significance.iter().map(|s| width * s / total).collect(),
                    zero: if paired { 0.0 } else { 1.0 },
                    digits: None,
                }
            }
            Some(width) => {
                let bits = chip.weights.total_bits();
                let power = |exponent: u32| libm::exp2(f64::from(exponent));
                let (steps, zero) = if paired {
                    (power(bits) - 1.0, 0.0)
                } else {
                    (power(bits - 1) - 1.0, power(bits - 1))
                };
                let factor = |slice| power(width * slice as u32) * (power(width) - 1.0) / steps;
                Self {
                    cell: chip.cell,
                    sign,
                    factors: (0..significance.len()).map(factor).collect(),
                    zero: zero / steps,
                    digits: Some(Digits { bits_per_slice: width, steps, zero }),
                }
            }
        }
    }

    /// Steps between 0 and the largest weight, all of the same size; `None` where cells hold anything between.
    pub fn n_steps(&self) -> Option<f64> {
        let of_cell = || self.cell.n_levels.map(|levels| f64::from(levels.max(2) - 1));
        self.digits.map_or_else(of_cell, |digits| Some(digits.steps))
    }

    /// The number of slices.
    pub fn n_slices(&self) -> usize {
        self.factors.len()
    }

    /// Whether every weight has a negative cell beside its positive one.
    pub fn is_paired(&self) -> bool {
        self.sign == SignCoding::Pairs
    }

    /// Whether a column of cells stands for the offset.
    pub fn has_reference(&self) -> bool {
        self.sign == SignCoding::OffsetColumn
    }

    /// The worth of a full share of each slice, as a share of the largest weight.
    pub fn factors(&self) -> &[f64] {
        &self.factors
    }

    /// What is to be taken off a column's weights, in the largest weight: 0 for pairs.
    pub fn zero(&self) -> f64 {
        self.zero
    }

    /// What an offset adds to every output per unit of summed drives, in units of `worth`, the output that a
    /// share of 1 makes under a full-scale drive, with cells like `cell`.
    pub fn offset_per_drive(&self, worth: f64, cell: &Cell) -> f64 {
        let of_slice = |factor: &f64| factor * cell.g_min / cell.range();
        let at_rest: f64 = self.factors.iter().map(of_slice).sum();
        (at_rest + self.zero) * worth
    }

    /// The shares that stand for `w`, one per slice; negative ones are for the negative cell.
    pub fn shares(&self, w: f64) -> impl Iterator<Item = f64> + '_ {
        let w = w.clamp(-1.0, 1.0);
        let whole = self.digits.map(|digits| (w * digits.steps).round_ties_even() + digits.zero);
        (0..self.factors.len()).map(move |slice| match (self.digits, whole) {
            (Some(digits), Some(whole)) => digits.digit(whole, slice),
            _ if self.is_paired() => w,
            _ => (w + 1.0) / 2.0,
        })
    }

    /// The conductances in siemens that stand for `w`, (positive, negative) per slice, all reachable. The
    /// negative one means nothing where weights are offset-coded.
    pub fn encode(&self, w: f64) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.shares(w).map(|share| self.cell.pair_for(share))
    }

    /// The weight that conductances stand for, given as (positive, negative) per slice.
    pub fn decode(&self, cells: impl Iterator<Item = (f64, f64)>) -> f64 {
        let share = |(plus, minus): (f64, f64)| {
            let rest = if self.is_paired() { minus } else { self.cell.g_min };
            (plus - rest) / self.cell.range()
        };
        self.factors.iter().zip(cells).map(|(factor, cells)| factor * share(cells)).sum::<f64>()
            - self.zero
    }
}

impl Digits {
    /// Slice `slice` of a whole number, as a share with the number's sign.
    fn digit(&self, whole: f64, slice: usize) -> f64 {
        let width = self.bits_per_slice;
        let largest = (1u64 << width) - 1;
        // At most 32 bits, see `Weights::total_bits`.
        let digit = (whole.abs() as u64) >> (width * slice as u32) & largest;
        (digit as f64 / largest as f64).copysign(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::WeightCode;
    use crate::describe::{Cell, Chip, SignCoding, Weights};
    use crate::testing::plain_chip;

    fn chip(sign: SignCoding, bits_per_slice: Option<u32>, significance: &[f64]) -> Chip {
        let mut chip = plain_chip();
        chip.cell = Cell { g_min: 1e-6, g_max: 101e-6, n_levels: None };
        let significance = significance.to_vec();
        chip.weights = Weights { sign, bits_per_slice, bits: None, significance };
        chip
    }

    fn there_and_back(code: &WeightCode, w: f64) -> f64 {
        code.decode(code.encode(w))
    }

    #[test]
    fn one_pair_is_the_plain_pair() {
        let chip = chip(SignCoding::Pairs, None, &[1.0]);
        let code = WeightCode::new(&chip);
        assert_eq!(code.encode(-0.25).collect::<Vec<_>>(), [chip.cell.pair_for(-0.25)]);
        assert_eq!((code.factors(), code.zero()), (&[1.0][..], 0.0));
    }

    #[test]
    fn digits_split_a_whole_number() {
        let code = WeightCode::new(&chip(SignCoding::Pairs, Some(4), &[1.0; 2]));
        // -0.4 x 255 = -102 = -(6 x 16 + 6).
        let shares: Vec<_> = code.shares(-0.4).collect();
        assert_eq!(shares, [-6.0 / 15.0, -6.0 / 15.0]);
        assert!((there_and_back(&code, -0.4) + 102.0 / 255.0).abs() < 1e-12);
    }

    #[test]
    fn an_offset_puts_zero_on_a_level() {
        for sign in [SignCoding::OffsetDigital, SignCoding::OffsetColumn] {
            let code = WeightCode::new(&chip(sign, Some(4), &[1.0]));
            assert_eq!(code.shares(0.0).collect::<Vec<_>>(), [8.0 / 15.0]);
            assert_eq!(code.shares(-1.0).collect::<Vec<_>>(), [1.0 / 15.0]);
            assert_eq!(code.shares(1.0).collect::<Vec<_>>(), [1.0]);
            assert!(there_and_back(&code, 0.0).abs() < 1e-12);
        }
    }

    #[test]
    fn significance_shares_one_weight() {
        let code = WeightCode::new(&chip(SignCoding::OffsetDigital, None, &[1.0, 3.0]));
        assert_eq!(code.factors(), [0.5, 1.5]);
        assert_eq!(code.shares(0.5).collect::<Vec<_>>(), [0.75, 0.75]);
    }

    proptest! {
        #[test]
        fn a_weight_comes_back_within_half_a_step(
            w in -1.0..=1.0f64,
            slices in 1usize..4,
            width in 2u32..6,
            sign in prop::sample::select(vec![
                SignCoding::Pairs, SignCoding::OffsetDigital, SignCoding::OffsetColumn,
            ]),
        ) {
            let ones = vec![1.0; slices];
            let whole = WeightCode::new(&chip(sign, None, &ones));
            prop_assert!((there_and_back(&whole, w) - w).abs() < 1e-12);
            let digits = WeightCode::new(&chip(sign, Some(width), &ones));
            let bits = width * slices as u32 - u32::from(sign != SignCoding::Pairs);
            let step = 1.0 / (libm::exp2(f64::from(bits)) - 1.0);
            prop_assert!((there_and_back(&digits, w) - w).abs() <= step / 2.0 + 1e-9);
            prop_assert!(digits.shares(w).all(|share| (-1.0..=1.0).contains(&share)));
        }
    }
}
