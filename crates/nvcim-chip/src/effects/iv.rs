//! Nonlinear cells: current as a function of conductance and voltage.
//!
//! `I = g V + N2(g) V^2 + N3(g) V^3` for `V >= 0`, odd in `V`, with `N2` and `N3` polynomials in
//! `log10 g`, `g` in siemens: the form that the simulator CrossSim (Sandia National Laboratories) fits to the
//! HfO2 cells of V. Milo et al., IRPS 2021, doi 10.1109/IRPS46558.2021.9405119.
//!
//! Polynomials say nothing beyond the conductances that they were fitted to. There a cell has the shape
//! of the nearest fitted one, in proportion: with `c` the fitted conductance nearest to `g`,
//! `I = g (V + N2(c) / c V^2 + N3(c) / c V^3)`. Above the voltage limit the curve goes on along its tangent.

use crate::effects::Model;
use crate::effects::fit::Polynomial;
use crate::network::cell_law::Cubic;
use crate::reader::Section;
use crate::writer::Writer;

/// A nonlinear cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Iv {
    /// `N2` in amperes per squared volt.
    pub n2: Polynomial,
    /// `N3` in amperes per cubed volt.
    pub n3: Polynomial,
    /// The voltage of a full-scale drive.
    pub full_scale: f64,
    /// The highest voltage that the curve holds for.
    pub v_max: f64,
    /// The conductances that the polynomials were fitted to, lowest and highest, in siemens.
    pub fitted: (f64, f64),
}

impl Iv {
    /// The current in amperes of a cell with conductance `g`, in siemens and at least 0, at `v` volts.
    pub fn current(&self, g: f64, v: f64) -> f64 {
        self.cubic(g).current_and_slope(v, self.v_max).0
    }

    /// The derivative of the current by the voltage, in siemens.
    pub fn slope(&self, g: f64, v: f64) -> f64 {
        self.cubic(g).current_and_slope(v, self.v_max).1
    }

    /// The coefficients of a cell with conductance `g`, in siemens and at least 0.
    pub fn cubic(&self, g: f64) -> Cubic {
        let (a2, a3) = self.shape(g);
        Cubic { g, n2: g * a2, n3: g * a3 }
    }

    /// `N2 / g` and `N3 / g` at the fitted conductance nearest to `g`.
    fn shape(&self, g: f64) -> (f64, f64) {
        let fitted = g.max(self.fitted.0).min(self.fitted.1);
        let log_g = libm::log10(fitted);
        (self.n2.at(log_g) / fitted, self.n3.at(log_g) / fitted)
    }
}

impl Model for Iv {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            n2: Polynomial::read(section, "n2_amperes_per_volt2"),
            n3: Polynomial::read(section, "n3_amperes_per_volt3"),
            full_scale: section.number("full_scale_volts", 1e-3..=100.0),
            v_max: section.number("v_max_volts", 1e-3..=100.0),
            fitted: (
                section.number("fitted_from_siemens", 1e-15..=1.0),
                section.number("fitted_to_siemens", 1e-15..=1.0),
            ),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { n2, n3, full_scale, v_max, fitted } = self;
        out.value("n2_amperes_per_volt2", n2.coefficients());
        out.value("n3_amperes_per_volt3", n3.coefficients());
        out.value("full_scale_volts", full_scale);
        out.value("v_max_volts", v_max);
        out.value("fitted_from_siemens", fitted.0);
        out.value("fitted_to_siemens", fitted.1);
    }
}

#[cfg(test)]
mod tests {
    use super::Iv;
    use crate::effects::fit::Polynomial;

    /// `N2 = 2 (log10 g + 5) x 1e-6` and `N3 = 1e-6`, fitted from 10 to 100 uS.
    fn iv() -> Iv {
        Iv {
            n2: Polynomial::new(&[1e-5, 2e-6]),
            n3: Polynomial::new(&[1e-6]),
            full_scale: 0.5,
            v_max: 0.5,
            fitted: (1e-5, 1e-4),
        }
    }

    #[test]
    fn currents_are_odd_cubics_inside_the_limits() {
        let expected = 1e-4 * 0.2 + 2e-6 * 0.04 + 1e-6 * 0.008;
        assert!((iv().current(1e-4, 0.2) - expected).abs() < 1e-18);
        assert_eq!(iv().current(1e-4, -0.2), -iv().current(1e-4, 0.2));
        assert_eq!(iv().current(1e-4, 0.0), 0.0);
    }

    #[test]
    fn beyond_the_fit_cells_scale_and_beyond_the_voltage_they_go_straight() {
        assert!((iv().current(1e-6, 0.3) / iv().current(1e-5, 0.3) - 0.1).abs() < 1e-12);
        assert_eq!(iv().current(0.0, 0.3), 0.0);
        let (end, slope) = (iv().current(1e-4, 0.5), iv().slope(1e-4, 0.5));
        assert!((iv().current(1e-4, 0.9) - (end + 0.4 * slope)).abs() < 1e-18);
        assert_eq!(iv().slope(1e-4, 7.0), slope);
    }

    #[test]
    fn the_slope_is_the_derivative() {
        for g in [1e-7, 3e-5, 1e-4, 2e-4] {
            for v in [-0.8, -0.3, 0.0, 0.1, 0.45, 0.7] {
                let h = 1e-5;
                let secant = (iv().current(g, v + h) - iv().current(g, v - h)) / (2.0 * h);
                assert!((secant / iv().slope(g, v) - 1.0).abs() < 1e-6, "{g} {v}");
            }
        }
    }
}
