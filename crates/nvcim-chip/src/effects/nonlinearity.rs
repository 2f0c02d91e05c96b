//! Nonlinearity of the sense stage: a current that is compressed and then limited.
//!
//! `y' = clip(y / (1 + n |y|), -limit, limit)` on the network's current y, read noise included, before the
//! column's gain and offset. With n = 0.01 a current of 10 cells reads 9 % low; |y'| stays below 1/n.
//! The first factor stands for a virtual ground of finite gain or a cascode that runs out of headroom as
//! the current grows; the limit is the rail of the sense amplifier or a bit-line clamp. An illustrative
//! form of one parameter: odd, and linear for small currents; a real stage is fitted over its range.

use crate::effects::Model;
use crate::reader::Section;
use crate::real::Real;
use crate::writer::Writer;

/// Compression and saturation of every sense stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nonlinearity {
    /// n: compression per normalised current, 0 for none.
    pub s_curve_per_cell: f64,
    /// The largest current that passes, either way, in normalised current; `None` without limit.
    pub saturation_cells: Option<f64>,
}

/// The curve of a sense stage in the type that currents are computed in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve<T> {
    per_cell: T,
    limit: T,
}

impl<T: Real> Curve<T> {
    /// What the sense stage passes on of the normalised current `y`.
    #[inline]
    pub fn apply(&self, y: T) -> T {
        self.compress(y).clamp(-self.limit, self.limit)
    }

    #[inline]
    fn compress(&self, y: T) -> T {
        y / (T::ONE + self.per_cell * y.abs())
    }
}

/// `saturation_cells` where nothing limits the current.
const UNLIMITED: &str = "unlimited";

impl Model for Nonlinearity {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            s_curve_per_cell: section.number_or("s_curve_per_cell", 0.0, 0.0..=1e3),
            saturation_cells: section.number_or_word(
                "saturation_cells",
                1e-6..=65_536.0,
                UNLIMITED,
            ),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { s_curve_per_cell, saturation_cells } = self;
        out.value("s_curve_per_cell", s_curve_per_cell);
        match saturation_cells {
            Some(limit) => out.value("saturation_cells", limit),
            None => out.text("saturation_cells", UNLIMITED),
        }
    }
}

impl Nonlinearity {
    /// Whether every current passes as it is.
    pub fn is_linear(&self) -> bool {
        self.s_curve_per_cell == 0.0 && self.saturation_cells.is_none()
    }

    /// The curve, with n and limit rounded to `T`.
    pub fn curve<T: Real>(&self) -> Curve<T> {
        let limit = self.saturation_cells.unwrap_or(f64::INFINITY);
        Curve { per_cell: T::from_f64(self.s_curve_per_cell), limit: T::from_f64(limit) }
    }

    /// What the sense stage passes on of the normalised current `y`.
    pub fn apply(&self, y: f64) -> f64 {
        self.curve().apply(y)
    }

    /// Whether the sense stage limits the normalised current `y`.
    pub fn saturates(&self, y: f64) -> bool {
        let curve = self.curve::<f64>();
        curve.compress(y).abs() > curve.limit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Nonlinearity;

    #[test]
    fn large_currents_are_compressed_then_limited() {
        let stage = Nonlinearity { s_curve_per_cell: 0.25, saturation_cells: Some(1.5) };
        // 1 / 1.25, 2 / 1.5 and 4 / 2, of which the last is limited.
        assert_eq!([1.0, -4.0, 4.0].map(|y| stage.apply(y)), [0.8, -1.5, 1.5]);
        assert!((stage.apply(2.0) - 4.0 / 3.0).abs() < 1e-15);
        // The limit is met at 1.5 / (1 - 0.25 x 1.5) = 2.4.
        assert_eq!([2.3, 2.5, -4.0].map(|y| stage.saturates(y)), [false, true, true]);
    }

    proptest! {
        #[test]
        fn the_curve_is_odd_rises_and_never_amplifies(
            n in 0.0f64..10.0,
            limit in proptest::option::of(0.1f64..100.0),
            y in -1e3f64..1e3,
            more in 0.0f64..10.0,
        ) {
            let stage = Nonlinearity { s_curve_per_cell: n, saturation_cells: limit };
            prop_assert_eq!(stage.apply(-y), -stage.apply(y));
            prop_assert!(stage.apply(y).abs() <= y.abs());
            prop_assert!(stage.apply(y + more) >= stage.apply(y) - 1e-12);
            let straight = Nonlinearity { s_curve_per_cell: 0.0, saturation_cells: None };
            prop_assert_eq!(straight.apply(y), y);
            prop_assert!(straight.is_linear() && !stage.is_linear());
        }
    }
}
