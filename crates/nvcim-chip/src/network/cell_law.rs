//! The current that a cell carries at a voltage.

use crate::effects::iv::Iv;

/// How a cell's current depends on its voltage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CellLaw {
    /// `I = g V`.
    Ohmic,
    /// A measured curve.
    Fitted(Iv),
}

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
    pub fn highest_volts(&self) -> f64 {
        match self {
            Self::Ohmic => f64::INFINITY,
            Self::Fitted(iv) => iv.v_max,
        }
    }

    /// Whether cells are as linear as their linearisation.
    pub(super) fn is_linear(&self) -> bool {
        match self {
            Self::Ohmic => true,
            Self::Fitted(_) => false,
        }
    }

    /// The coefficients of a cell with conductance `g` in siemens.
    pub fn cubic(&self, g: f64) -> Cubic {
        match self {
            Self::Ohmic => Cubic { g, n2: 0.0, n3: 0.0 },
            Self::Fitted(iv) => iv.cubic(g),
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
    use crate::presets::find_preset;

    #[test]
    fn an_open_cell_stays_open() {
        let milo = CellLaw::Fitted(find_preset("rram-milo").unwrap().effects.iv.unwrap());
        assert_eq!(milo.cubic(0.0).current_and_slope(0.3, milo.highest_volts()), (0.0, 0.0));
    }

    #[test]
    fn every_cell_conducts_more_at_more_volts_and_the_reverse_at_reverse() {
        let milo = CellLaw::Fitted(find_preset("rram-milo").unwrap().effects.iv.unwrap());
        for g in [1e-9, 1e-6, 50e-6, 62.5e-6, 110e-6, 225e-6, 1e-3] {
            let cell = milo.cubic(g);
            for step in -100..=100 {
                let volts = f64::from(step) / 100.0;
                let (current, slope) = cell.current_and_slope(volts, milo.highest_volts());
                assert!(slope > 0.0, "{g} {volts}");
                assert_eq!(cell.current_and_slope(-volts, milo.highest_volts()).0, -current);
            }
        }
    }
}
