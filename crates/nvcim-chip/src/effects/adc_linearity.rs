//! ADC linearity: where the levels of one converter lie, and the code that it settles on.
//!
//! Notation: b bits, N = 2^b - 1 transitions. x is the exact code, what an unlimited converter would
//! answer before rounding (`crate::effects::adc`). T_k, 1 <= k <= N, is the lowest x that gives at least
//! code k: k - 1/2 in a perfect converter. `INL_k = T_k - (k - 1/2)` and
//! `DNL_k = T_(k+1) - T_k - 1`, both in LSB of the range that is set, since both ends of the ladder or
//! ramp follow the range; definitions of IEEE Std 1241, doi 10.1109/IEEESTD.2011.5692956. Gain and offset
//! are no part of it: they are the column's (`column_gain`, `column_offset`), so ladders keep their ends.
//!
//! Every kind of converter reduces to its sorted T, a [`CodeTable`]:
//! * Table: `T_k = k - 1/2 + shift_k`, as given.
//! * Ramp: the ramp passes `k - 1/2 + 4 bow u (1 - u)` at its tick k, `u = (k - 1/2) / N`; mid range is the
//!   transition to code 2^(b-1), which moves by the whole bow. The counter stops at the first tick past x,
//!   so T_k is the highest level up to tick k.
//! * SAR: capacitors of 2^k units, k = 0 to b - 1, each unit with a relative error of its own and standard
//!   deviation s, hence `C_k = 2^k + e_k 2^(k/2) s` with e_k standard normal. The trial of code c compares
//!   x with `L_c = N (sum of C_k over the bits k of c) / (sum of all C_k) - 1/2`, a table's shift added.
//!   Charge redistribution: J. L. McCreary and P. R. Gray, IEEE J. Solid-State Circuits 10 (1975) 371,
//!   doi 10.1109/JSSC.1975.1050629. To first order the DNL at mid code has the standard deviation
//!   `s sqrt(N - 1/N)`: 2^(b-1) units come in as N - 2^(b-1) go out, over a sum that is kept.
//!
//! A SAR asks L_c only where its earlier answers left c open: between the nearest codes c' < c < c'' with
//! more trailing zeros. So it answers at least c exactly from `T_c = clip(L_c, T_c', T_c'')` on, which is
//! sorted whatever the capacitors are. Levels out of order show as missing codes, T_c = T_(c+1).
//!
//! Cost: O(N) per table; one comparison or two per conversion, and one more per LSB of INL.

use crate::circuits::{AdcCircuit, AdcInl, AdcKind};
use crate::describe::Adc;

/// The transition levels of one converter.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeTable {
    /// T_1 to T_N in exact codes, sorted.
    transitions: Vec<f64>,
}

impl CodeTable {
    /// The code for an exact code: how many transitions lie at or below it, 0 to the highest code.
    ///
    /// Takes exact codes of either precision; transitions are compared in the higher one.
    #[inline]
    pub fn settle(&self, exact_code: impl Into<f64>) -> u32 {
        let exact_code = exact_code.into();
        let top = self.transitions.len();
        // The code of a perfect converter, then as many steps as the levels are off. The conversion to an
        // index clips, and takes what is not a number for 0.
        let mut code = ((exact_code + 0.5) as usize).min(top);
        while code < top && self.transitions[code] <= exact_code {
            code += 1;
        }
        while code > 0 && self.transitions[code - 1] > exact_code {
            code -= 1;
        }
        code as u32
    }

    /// The levels T_1 to T_N, in exact codes, in order.
    pub fn transitions(&self) -> &[f64] {
        &self.transitions
    }

    /// Integral nonlinearity of each transition, in LSB.
    pub fn inl(&self) -> impl ExactSizeIterator<Item = f64> {
        self.transitions.iter().enumerate().map(|(at, level)| level - (at as f64 + 0.5))
    }

    /// Differential nonlinearity of each code from 1 to N - 1, in LSB; -1 where a code is missing.
    pub fn dnl(&self) -> impl ExactSizeIterator<Item = f64> {
        self.transitions.windows(2).map(|pair| pair[1] - pair[0] - 1.0)
    }
}

impl AdcCircuit {
    /// Whether converters of the design differ from one another in their levels.
    pub fn levels_differ(&self) -> bool {
        self.kind == AdcKind::Sar && self.capacitor_sd > 0.0
    }

    /// The levels of a converter of the resolution of `adc`, whose capacitors drew the standard normal `e`,
    /// one per bit from the smallest; other kinds draw nothing.
    ///
    /// `None` for even levels: the converter rounds, see [`crate::effects::adc::Transfer::settle`].
    pub fn code_table(&self, adc: &Adc, e: &[f64]) -> Option<CodeTable> {
        let even = match &self.inl_lsb {
            AdcInl::Bow(peak) => *peak == 0.0,
            AdcInl::Table(shifts) => shifts.iter().all(|shift| *shift == 0.0),
        };
        if even && !self.levels_differ() {
            return None;
        }
        let transitions = match self.kind {
            AdcKind::Sar => search_levels(&self.ladder(adc.bits, e)),
            AdcKind::Ideal | AdcKind::Ramp => {
                first_passes(self.even_levels(adc.max_code() as usize))
            }
        };
        Some(CodeTable { transitions })
    }

    /// The level of each code from 1 to `top`, with what the design has in common and no draw.
    fn even_levels(&self, top: usize) -> Vec<f64> {
        (1..=top).map(|code| code as f64 - 0.5 + self.shift(code, top)).collect()
    }

    /// What a SAR compares each code from 1 on with.
    fn ladder(&self, bits: u32, e: &[f64]) -> Vec<f64> {
        let sums = add_up_capacitors(&draw_capacitors(bits, self.capacitor_sd, e));
        let top = sums.len() - 1;
        let scale = top as f64 / sums[top];
        (1..=top).map(|code| scale * sums[code] - 0.5 + self.shift(code, top)).collect()
    }

    /// How far the design puts the transition up to `code` of `top`, in LSB.
    fn shift(&self, code: usize, top: usize) -> f64 {
        match &self.inl_lsb {
            AdcInl::Bow(peak) => {
                let u = (code as f64 - 0.5) / top as f64;
                4.0 * peak * u * (1.0 - u)
            }
            // A described table has an entry per code.
            AdcInl::Table(shifts) => shifts.get(code).copied().unwrap_or(0.0),
        }
    }
}

/// Capacitors in units of a perfect unit, from the smallest: `C_k = 2^k + e_k 2^(k/2) sd`.
fn draw_capacitors(bits: u32, sd: f64, e: &[f64]) -> Vec<f64> {
    let draws = e.iter().copied().chain(std::iter::repeat(0.0));
    let sizes = (0..bits).map(|bit| f64::from(1u32 << bit));
    sizes.zip(draws).map(|(size, e)| size + e * size.sqrt() * sd).collect()
}

/// For each code, the sum of the capacitors of its bits.
fn add_up_capacitors(capacitors: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for capacitor in capacitors {
        sums.extend_from_within(..);
        let lower = sums.len() / 2;
        sums[lower..].iter_mut().for_each(|sum| *sum += capacitor);
    }
    sums
}

/// The exact code from which on a bit-by-bit search against `levels`, those of codes 1 to N, answers each
/// code or more.
fn search_levels(levels: &[f64]) -> Vec<f64> {
    let n_codes = levels.len() + 1;
    // Entry c is T_c; entry 0 and the one past the highest code stand for no limit.
    let mut bounds = vec![f64::NEG_INFINITY; n_codes + 1];
    bounds[n_codes] = f64::INFINITY;
    let mut stride = n_codes / 2;
    while stride > 0 {
        for code in (stride..n_codes).step_by(2 * stride) {
            let (low, high) = (bounds[code - stride], bounds[code + stride]);
            bounds[code] = levels[code - 1].max(low).min(high);
        }
        stride /= 2;
    }
    bounds[1..n_codes].to_vec()
}

/// The highest level so far, for each level.
fn first_passes(mut levels: Vec<f64>) -> Vec<f64> {
    let mut highest = f64::NEG_INFINITY;
    for level in &mut levels {
        highest = level.max(highest);
        *level = highest;
    }
    levels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AdcCircuit, AdcInl, AdcKind, CodeTable, add_up_capacitors, draw_capacitors};
    use crate::describe::Adc;
    use crate::effects::Effect;
    use crate::random::Stream;
    use crate::testing::plain_chip;

    fn sar(capacitor_sd: f64) -> AdcCircuit {
        AdcCircuit { kind: AdcKind::Sar, capacitor_sd, ..AdcCircuit::default() }
    }

    fn table(circuit: &AdcCircuit, bits: u32, e: &[f64]) -> CodeTable {
        circuit.code_table(&adc(bits), e).expect("the levels are uneven")
    }

    fn adc(bits: u32) -> Adc {
        Adc { bits, ..plain_chip().adc }
    }

    /// The search as the circuit does it: from the highest bit on, a bit stays if x is not below its trial.
    fn search(levels: &[f64], bits: u32, x: f64) -> u32 {
        (0..bits).rev().fold(0, |code, bit| {
            let trial = code | 1 << bit;
            if x >= levels[trial as usize - 1] { trial } else { code }
        })
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn even_levels_need_no_table() {
        let zeros = AdcInl::Table(vec![0.0; 16]);
        for kind in [AdcKind::Ideal, AdcKind::Sar, AdcKind::Ramp] {
            let circuit = AdcCircuit { kind, inl_lsb: zeros.clone(), ..AdcCircuit::default() };
            assert_eq!(circuit.code_table(&adc(4), &[]), None);
        }
        // The same levels by way of the ladder.
        let levels = sar(0.0).ladder(4, &[1.0; 4]);
        assert!((1..16).all(|code| (levels[code - 1] - (code as f64 - 0.5)).abs() < 1e-12));
    }

    #[test]
    fn a_bow_peaks_in_mid_range_and_spares_the_ends() {
        let inl_lsb = AdcInl::Bow(1.5);
        let circuit = AdcCircuit { kind: AdcKind::Ramp, inl_lsb, ..AdcCircuit::default() };
        let inl: Vec<_> = table(&circuit, 8, &[]).inl().collect();
        assert_eq!(inl[127], 1.5);
        assert!(inl.iter().all(|shift| (0.0..=1.5).contains(shift)));
        // 4 x 1.5 u (1 - u) at u = 1/510.
        assert!((inl[0] - 0.011_742).abs() < 1e-6 && (inl[254] - inl[0]).abs() < 1e-9);
    }

    #[test]
    fn a_ramp_that_turns_back_loses_codes() {
        let inl_lsb = AdcInl::Bow(8.0);
        let circuit = AdcCircuit { kind: AdcKind::Ramp, inl_lsb, ..AdcCircuit::default() };
        let table = table(&circuit, 4, &[]);
        assert!(table.transitions().is_sorted());
        assert!(table.dnl().any(|dnl| dnl == -1.0));
        // Past the turn every code is met at once.
        assert_eq!(table.settle(f64::INFINITY), 15);
    }

    #[test]
    fn a_table_moves_each_transition() {
        let inl_lsb = AdcInl::Table(vec![0.0, 0.25, -0.5, 0.0]);
        let circuit = AdcCircuit { inl_lsb, ..AdcCircuit::default() };
        let table = table(&circuit, 2, &[]);
        assert_eq!(table.transitions(), [0.75, 1.0, 2.5]);
        assert_eq!([0.7, 0.75, 0.99, 1.0, 2.4, 9.0].map(|x| table.settle(x)), [0, 1, 1, 2, 2, 3]);
        assert_eq!([0.75f32, 0.5, -3.0].map(|x| table.settle(x)), [1, 0, 0]);
        assert_eq!(table.dnl().collect::<Vec<_>>(), [-0.75, 0.5]);
        assert_eq!(table.settle(f64::NAN), 0);
    }

    /// A largest capacitor that is too small makes the middle level fall below its neighbours.
    #[test]
    fn a_ladder_out_of_order_misses_codes() {
        let e = [0.0, 0.0, 0.0, -5.0];
        let circuit = sar(0.1);
        assert!(!circuit.ladder(4, &e).is_sorted());
        let table = table(&circuit, 4, &e);
        assert!(table.transitions().is_sorted());
        let missing: Vec<_> =
            (1..15).filter(|&code| table.dnl().nth(code - 1) == Some(-1.0)).collect();
        assert!(missing.contains(&7), "{missing:?}");
        let answers = (-20..340).map(|x| table.settle(f64::from(x) * 0.05));
        assert!(answers.clone().is_sorted());
        assert!(answers.clone().all(|code| code != 7), "{:?}", answers.collect::<Vec<_>>());
    }

    #[test]
    fn capacitors_grow_by_powers_and_err_by_their_roots() {
        assert_eq!(draw_capacitors(3, 0.1, &[1.0, 1.0, -1.0]), [1.1, 2.0 + 0.1 * 2f64.sqrt(), 3.8]);
        assert_eq!(add_up_capacitors(&[1.0, 2.0, 4.0]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn the_dnl_at_mid_code_has_the_spread_of_its_units() {
        let (bits, sd, n) = (8, 0.01, 4000);
        let stream = Stream::new(0, 1, Effect::Adc);
        let mut dnl = Vec::new();
        let mut ends = Vec::new();
        for converter in 0..n {
            let e: Vec<_> = (0..bits).map(|bit| stream.normal([0, 0, converter, bit])).collect();
            let levels = sar(sd).ladder(bits, &e);
            dnl.push(levels[127] - levels[126] - 1.0);
            ends.push(levels[254]);
        }
        let (mean, spread) = moments(&dnl);
        let theory = sd * (255.0f64 - 1.0 / 255.0).sqrt();
        // Four standard errors over 4000 converters: 6.3 % of the spread for the mean, 4.5 % for itself.
        assert!(mean.abs() < 0.063 * theory, "{mean}");
        assert!((spread / theory - 1.0).abs() < 0.045, "{spread} {theory}");
        // The ends stay: what a total capacitance does to the gain is the column's.
        assert!(ends.iter().all(|end| (end - 254.5).abs() < 1e-9));
    }

    proptest! {
        #[test]
        fn a_table_answers_as_the_bit_by_bit_search(
            bits in 1u32..=10,
            sd in 1e-6f64..0.1,
            e in proptest::collection::vec(-4.0f64..4.0, 10),
            shifts in proptest::option::of(proptest::collection::vec(-2.0f64..2.0, 1024)),
            share in -0.1f64..1.1,
        ) {
            let inl_lsb = shifts.map_or(AdcInl::Bow(0.0), AdcInl::Table);
            let circuit = AdcCircuit { inl_lsb, ..sar(sd) };
            let levels = circuit.ladder(bits, &e);
            let table = table(&circuit, bits, &e);
            prop_assert!(table.transitions().is_sorted());
            prop_assert_eq!(table.transitions().len(), levels.len());
            let top = levels.len() as f64;
            // Anywhere, and where it is closest: at every level, and just below.
            let places = levels.iter().flat_map(|&level| [level, level.next_down()]);
            for x in places.chain([share * top]) {
                prop_assert_eq!(table.settle(x), search(&levels, bits, x));
                let low = x as f32;
                prop_assert_eq!(table.settle(low), search(&levels, bits, f64::from(low)));
            }
        }

        #[test]
        fn a_table_counts_the_transitions_below(
            mut levels in proptest::collection::vec(-50.0f64..300.0, 255),
            x in -60.0f64..310.0,
        ) {
            levels.sort_by(f64::total_cmp);
            let table = CodeTable { transitions: levels };
            let below = table.transitions().partition_point(|&level| level <= x);
            prop_assert_eq!(table.settle(x) as usize, below);
        }
    }
}
