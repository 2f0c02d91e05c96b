//! The current that a cell carries at a voltage.
//!
//! Milo: `I = g V + N2 V^2 + N3 V^3` in siemens, volts and amperes, with `N2` and `N3` cubic and quadratic
//! polynomials of `log10 g`. This is the fit to HfO2 cells that the simulator CrossSim 3.2.0 (Sandia National
//! Laboratories) ships under that name, made from 62.5 to 110 uS and up to 0.5 V.

/// How a cell's current depends on its voltage; `g` is the slope at 0 V.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellLaw {
    /// `I = g V`.
    Ohmic,
    /// Milo's fit for HfO2 cells, continued to negative voltages as an odd function.
    ///
    /// Polynomials say nothing beyond the conductances they were fitted to, and soon give cells whose
    /// current falls with voltage: outside of 62.5 to 110 uS a cell is the nearest of these, scaled. An
    /// open cell stays open.
    Milo,
}

/// The conductances that Milo's polynomials were fitted to, in siemens.
const MILO_RANGE: (f64, f64) = (62.5e-6, 110e-6);

/// The highest voltage of Milo's fit.
const MILO_VOLTS: f64 = 0.5;

/// The current of one cell: `g V + n2 V^2 + n3 V^3` up to a highest voltage, a straight line beyond it, and
/// an odd function of `V`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cubic {
    /// Coefficient of `V`, in siemens.
    pub g: f64,
    /// Coefficient of `V^2`, in ampere per square volt.
    pub n2: f64,
    /// Coefficient of `V^3`, in ampere per cubic volt.
    pub n3: f64,
}

impl CellLaw {
    /// The highest voltage at which the law was fitted; infinite where it holds everywhere.
    pub fn highest_volts(self) -> f64 {
        match self {
            Self::Ohmic => f64::INFINITY,
            Self::Milo => MILO_VOLTS,
        }
    }

    /// Whether cells are as linear as their linearisation.
    pub(super) fn is_linear(self) -> bool {
        match self {
            Self::Ohmic => true,
            Self::Milo => false,
        }
    }

    /// The coefficients of a cell with conductance `g` in siemens.
    pub fn cubic(self, g: f64) -> Cubic {
        match self {
            Self::Ohmic => Cubic { g, n2: 0.0, n3: 0.0 },
            Self::Milo => {
                let nearest = g.clamp(MILO_RANGE.0, MILO_RANGE.1);
                let x = libm::log10(nearest);
                let n2 = ((1.388e-4 * x + 1.541e-3) * x + 5.711e-3) * x + 7.063e-3;
                let n3 = (8.871e-5 * x + 6.7919e-4) * x + 1.2968e-3;
                let scale = g / nearest;
                Cubic { g, n2: n2 * scale, n3: n3 * scale }
            }
        }
    }
}

impl Cubic {
    /// Current in ampere and its slope in siemens at `volts`; beyond `highest` volts on a straight line.
    #[inline]
    pub fn current_and_slope(&self, volts: f64, highest: f64) -> (f64, f64) {
        let Self { g, n2, n3 } = *self;
        let v = volts.abs().min(highest);
        let slope = (3.0 * n3 * v + 2.0 * n2) * v + g;
        let current = ((n3 * v + n2) * v + g) * v + slope * (volts.abs() - v);
        (current.copysign(volts), slope)
    }
}

#[cfg(test)]
mod tests {
    use super::CellLaw;

    /// By hand at 100 uS, where `log10 g` is -4.
    #[test]
    fn milo_agrees_with_the_polynomials_written_out() {
        let (current, slope) = CellLaw::Milo.cubic(1e-4).current_and_slope(0.2, 0.5);
        let n2 = -64.0 * 0.0001388 + 16.0 * 0.001541 - 4.0 * 0.005711 + 0.007063;
        let n3 = 16.0 * 8.871e-5 - 4.0 * 6.7919e-4 + 1.2968e-3;
        assert!((current - (1e-4 * 0.2 + n2 * 0.04 + n3 * 0.008)).abs() < 1e-18, "{current}");
        assert!((slope - (1e-4 + n2 * 0.4 + n3 * 0.12)).abs() < 1e-17, "{slope}");
    }

    #[test]
    fn every_cell_conducts_more_at_more_volts_and_the_reverse_at_reverse() {
        for g in [1e-9, 1e-6, 50e-6, 62.5e-6, 110e-6, 225e-6, 1e-3] {
            let cell = CellLaw::Milo.cubic(g);
            for step in -40..=40 {
                let volts = f64::from(step) / 40.0;
                let (current, slope) = cell.current_and_slope(volts, CellLaw::Milo.highest_volts());
                assert!(slope > 0.2 * g, "{g} S at {volts} V: {slope}");
                assert_eq!(cell.current_and_slope(-volts, 0.5), (-current, slope));
            }
        }
        assert_eq!(CellLaw::Milo.cubic(0.0).current_and_slope(0.3, 0.5), (0.0, 0.0));
    }

    /// The slope is the derivative, on either side of the highest voltage.
    #[test]
    fn slopes_are_derivatives() {
        let cell = CellLaw::Milo.cubic(7e-5);
        for volts in [-0.7, -0.3, 0.1, 0.49, 0.6] {
            let step = 1e-6;
            let at = |volts| cell.current_and_slope(volts, 0.5);
            let difference = (at(volts + step).0 - at(volts - step).0) / (2.0 * step);
            assert!((difference - at(volts).1).abs() < 1e-9 * 7e-5 / step, "{volts}");
        }
    }
}
