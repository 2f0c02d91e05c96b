//! Fits of device data: curves over conductance, as publications give them, held as data of the chip file.
//!
//! Notation: `g` a conductance, `q = g / g_max`, `u` the same conductance in microsiemens. The unit of a
//! fit's value stands in the name of its key.
//! * a number: a constant
//! * `{ polynomial = [c0, c1, ...] }`: `c0 + c1 q + c2 q^2 + ...`
//! * `{ polynomial_of_microsiemens = [c0, c1, ...] }`: the same in `u`
//! * `{ log = [a, b], clip = [lo, hi] }`: `clip(a ln q + b, lo, hi)`
//! * `{ log, clip, below = q1, polynomial }`: the clipped logarithm for `q < q1`, else the polynomial
//! * `{ power = [a, p], cap = c }`: `min(a / q^p, c)`
//! * `{ saturating = [a, b] }`: `a (1 - exp(-u / b))`, `b` in microsiemens

use crate::describe::Cell;
use crate::reader::Section;
use crate::writer::Writer;

/// Microsiemens per siemens.
pub const MICRO: f64 = 1e6;

/// The most coefficients of a polynomial.
pub const MAX_COEFFICIENTS: usize = 8;

/// The largest coefficient of any fit, either way: far beyond any device, so that sums stay finite.
const MAX_COEFFICIENT: f64 = 1e6;

/// A polynomial with its coefficients from the constant up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polynomial {
    coefficients: [f64; MAX_COEFFICIENTS],
    len: usize,
}

impl Polynomial {
    /// The polynomial with these coefficients, from the constant up; those beyond
    /// [`MAX_COEFFICIENTS`] are left out.
    pub fn new(coefficients: &[f64]) -> Self {
        let len = coefficients.len().min(MAX_COEFFICIENTS);
        let mut all = [0.0; MAX_COEFFICIENTS];
        all[..len].copy_from_slice(&coefficients[..len]);
        Self { coefficients: all, len }
    }

    /// The coefficients, from the constant up.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients[..self.len]
    }

    /// The value at `x`, by Horner's rule.
    pub fn at(&self, x: f64) -> f64 {
        self.coefficients().iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
    }

    /// The polynomial under `key`, which must be there.
    pub(crate) fn read(section: &mut Section<'_>, key: &str) -> Self {
        let limits = -MAX_COEFFICIENT..=MAX_COEFFICIENT;
        Self::new(&section.numbers(key, 1..=MAX_COEFFICIENTS, limits))
    }
}

/// `clip(a ln q + b, lo, hi)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClippedLog {
    /// Slope over `ln q`.
    pub a: f64,
    /// Value at `q = 1`, before clipping.
    pub b: f64,
    /// The lowest value.
    pub lo: f64,
    /// The highest value, not below `lo`.
    pub hi: f64,
}

impl ClippedLog {
    fn at(&self, q: f64) -> f64 {
        // The smallest positive number stands for 0, whose logarithm times a slope of 0 is no number.
        let line = self.a * libm::log(q.max(f64::MIN_POSITIVE)) + self.b;
        line.max(self.lo).min(self.hi)
    }

    fn read(section: &mut Section<'_>) -> Self {
        let limits = -MAX_COEFFICIENT..=MAX_COEFFICIENT;
        let log = section.numbers("log", 2..=2, limits.clone());
        let clip = section.numbers("clip", 2..=2, limits);
        let pair =
            |list: &[f64]| if let [first, second] = *list { (first, second) } else { (0.0, 0.0) };
        let ((a, b), (lo, hi)) = (pair(&log), pair(&clip));
        if hi < lo {
            section.report("clip", format!("runs from {lo:?} down to {hi:?}, must run upward"));
        }
        Self { a, b, lo, hi }
    }
}

/// A curve over conductance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fit {
    /// The same for every conductance.
    Constant(f64),
    /// A polynomial in `q`.
    Polynomial(Polynomial),
    /// A polynomial in `u`.
    PolynomialOfMicrosiemens(Polynomial),
    /// A clipped logarithm of `q`.
    ClippedLog(ClippedLog),
    /// A clipped logarithm below a share of `g_max`, a polynomial in `q` from there on.
    Piecewise {
        /// The share from which the polynomial holds.
        below: f64,
        /// Holds below it.
        low: ClippedLog,
        /// Holds from it on.
        high: Polynomial,
    },
    /// `min(a / q^p, cap)`.
    CappedPower {
        /// Value at `q = 1`.
        a: f64,
        /// Exponent, at least 0.
        p: f64,
        /// The highest value.
        cap: f64,
    },
    /// `a (1 - exp(-u / b))`.
    Saturating {
        /// Value far above `b`.
        a: f64,
        /// The conductance in microsiemens at which a share of 1/e is still missing; above 0.
        b: f64,
    },
}

impl Fit {
    /// The value at the conductance `g`, in siemens, of a cell of this kind.
    pub fn at(&self, g: f64, cell: &Cell) -> f64 {
        let q = g / cell.g_max;
        match self {
            Self::Constant(value) => *value,
            Self::Polynomial(polynomial) => polynomial.at(q),
            Self::PolynomialOfMicrosiemens(polynomial) => polynomial.at(g * MICRO),
            Self::ClippedLog(log) => log.at(q),
            Self::Piecewise { below, low, .. } if q < *below => low.at(q),
            Self::Piecewise { high, .. } => high.at(q),
            Self::CappedPower { a, p, cap } => (a / libm::pow(q.max(0.0), *p)).min(*cap),
            Self::Saturating { a, b } => -a * libm::expm1(-g * MICRO / b),
        }
    }

    /// The value at `g` where it stands for a spread: a fit that dips below 0 counts as 0 there.
    pub fn spread_at(&self, g: f64, cell: &Cell) -> f64 {
        self.at(g, cell).max(0.0)
    }

    /// The fit under `key`: a number from 0 to `most`, or a table.
    pub(crate) fn read(section: &mut Section<'_>, key: &str, most: f64) -> Self {
        if section.is_table(key) {
            section.section(key, Self::read_table)
        } else {
            Self::Constant(section.number(key, 0.0..=most))
        }
    }

    fn read_table(section: &mut Section<'_>) -> Self {
        let limits = 0.0..=MAX_COEFFICIENT;
        if section.has("saturating") {
            return Self::saturating(&section.numbers("saturating", 2..=2, 1e-9..=MAX_COEFFICIENT));
        }
        if section.has("power") {
            let power = section.numbers("power", 2..=2, limits.clone());
            let (a, p) = if let [a, p] = *power { (a, p) } else { (0.0, 0.0) };
            return Self::CappedPower { a, p, cap: section.number("cap", limits) };
        }
        if section.has("polynomial_of_microsiemens") {
            let polynomial = Polynomial::read(section, "polynomial_of_microsiemens");
            return Self::PolynomialOfMicrosiemens(polynomial);
        }
        if !section.has("log") {
            return Self::Polynomial(Polynomial::read(section, "polynomial"));
        }
        let low = ClippedLog::read(section);
        if !section.has("below") {
            return Self::ClippedLog(low);
        }
        let below = section.number("below", 0.0..=1.0);
        Self::Piecewise { below, low, high: Polynomial::read(section, "polynomial") }
    }

    /// The saturating fit of a pair of numbers.
    pub(crate) fn saturating(pair: &[f64]) -> Self {
        // A list of another length has been reported where it was read.
        let (a, b) = if let [a, b] = *pair { (a, b) } else { (0.0, 1.0) };
        Self::Saturating { a, b }
    }

    /// Writes the fit under `key`.
    pub(crate) fn write(&self, out: &mut Writer, key: &str) {
        let log = |it: &ClippedLog| {
            format!("log = [{:?}, {:?}], clip = [{:?}, {:?}]", it.a, it.b, it.lo, it.hi)
        };
        let text = match self {
            Self::Constant(value) => return out.value(key, value),
            Self::Polynomial(it) => format!("polynomial = {:?}", it.coefficients()),
            Self::PolynomialOfMicrosiemens(it) => {
                format!("polynomial_of_microsiemens = {:?}", it.coefficients())
            }
            Self::ClippedLog(it) => log(it),
            Self::Piecewise { below, low, high } => {
                let high = high.coefficients();
                format!("{}, below = {below:?}, polynomial = {high:?}", log(low))
            }
            Self::CappedPower { a, p, cap } => format!("power = [{a:?}, {p:?}], cap = {cap:?}"),
            Self::Saturating { a, b } => format!("saturating = [{a:?}, {b:?}]"),
        };
        out.raw(key, &format!("{{ {text} }}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{ClippedLog, Fit, Polynomial};
    use crate::describe::Cell;

    const CELL: Cell = Cell { g_min: 0.0, g_max: 20e-6, n_levels: None };
    const LOG: ClippedLog = ClippedLog { a: -0.5, b: 0.0, lo: 0.1, hi: 0.6 };

    fn at(fit: Fit, q: f64) -> f64 {
        fit.at(q * CELL.g_max, &CELL)
    }

    #[test]
    fn fits_have_their_values() {
        let polynomial = Polynomial::new(&[1.0, -2.0, 4.0]);
        let cases = [
            (Fit::Constant(3.0), 0.5, 3.0),
            (Fit::Polynomial(polynomial), 0.5, 1.0),
            (Fit::PolynomialOfMicrosiemens(polynomial), 0.5, 381.0),
            (Fit::ClippedLog(LOG), 0.5, 0.5 * std::f64::consts::LN_2),
            (Fit::ClippedLog(LOG), 0.99, 0.1),
            (Fit::ClippedLog(LOG), 0.0, 0.6),
            (Fit::Piecewise { below: 0.5, low: LOG, high: polynomial }, 0.5, 1.0),
            (Fit::Piecewise { below: 0.5, low: LOG, high: polynomial }, 0.1, 0.6),
            (Fit::CappedPower { a: 0.1, p: 2.0, cap: 1.0 }, 0.5, 0.4),
            (Fit::CappedPower { a: 0.1, p: 2.0, cap: 1.0 }, 0.0, 1.0),
            (Fit::Saturating { a: 2.0, b: 10.0 }, 0.5, 2.0 * (1.0 - 1.0 / std::f64::consts::E)),
        ];
        for (fit, q, value) in cases {
            assert!((at(fit, q) - value).abs() < 1e-12, "{fit:?} at {q}: {}", at(fit, q));
        }
    }

    #[test]
    fn a_flat_logarithm_of_nothing_is_its_constant() {
        assert_eq!(at(Fit::ClippedLog(ClippedLog { a: 0.0, b: 0.3, ..LOG }), 0.0), 0.3);
    }

    #[test]
    fn spreads_are_never_negative() {
        let fit = Fit::Polynomial(Polynomial::new(&[-1.0, 1.5]));
        assert_eq!(fit.spread_at(0.0, &CELL), 0.0);
        assert!((fit.spread_at(CELL.g_max, &CELL) - 0.5).abs() < 1e-12);
    }
}
