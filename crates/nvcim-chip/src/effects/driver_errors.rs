//! DAC errors: word line drivers whose gain, offset and steps are not those of the design.
//!
//! The driver of word line i makes of the code c, a whole number of steps, negative where it drives the
//! other way, the drive `gain_i (c + sign(c) INL_|c| + offset_i)` in steps. INL is a table of the design,
//! 0 at rest; gain and offset are drawn once per word line of a die, `1 + sd z` and `sd z'`. No lab reads
//! them off one by one, so they stand in no die file: the die's seed draws them.
//!
//! A matrix product meets them in three places: INL changes drives, gain scales the cells of its word
//! line, and offset adds a constant current, `sum_i offset_i gain_i g_i` over the rows of the tile. Rows at
//! rest are held by a switch, not by a driver, and have no offset. Two passes have the same offset and
//! cancel it; one pass does not.
//!
//! Validity: small errors of a settled voltage, or of a pulse's edges. A pulse cannot be shorter than
//! nothing, so for pulse widths a negative offset overstates what happens at the lowest codes.

use crate::circuits::DacCircuit;
use crate::real::Real;

/// The errors of an array's word line drivers.
#[derive(Debug, Clone, PartialEq)]
pub struct DriverErrors {
    /// Gain and offset in steps of the DAC, per physical word line.
    drivers: Vec<(f64, f64)>,
}

impl DacCircuit {
    /// Whether word lines have drivers that differ.
    pub fn drivers_differ(&self) -> bool {
        self.gain_sd > 0.0 || self.offset_sd_steps > 0.0
    }

    /// The errors of the drivers whose standard normal draws for gain and offset are `z`, one pair per
    /// physical word line.
    pub fn driver_errors(&self, z: impl Iterator<Item = [f64; 2]>) -> DriverErrors {
        let driver =
            |[gain, offset]: [f64; 2]| (1.0 + self.gain_sd * gain, self.offset_sd_steps * offset);
        DriverErrors { drivers: z.map(driver).collect() }
    }
}

/// The drive in steps that a design makes of `code`, a whole number of steps of either sign, where
/// `shifts` has an entry per code ([`DacCircuit::inl_steps`]); `code` itself where it has none.
#[inline]
pub fn uneven_steps<T: Real>(shifts: &[T], code: T) -> T {
    match shifts.get(code.abs().to_f64() as usize) {
        Some(&shift) if code < T::ZERO => code - shift,
        Some(&shift) => code + shift,
        None => code,
    }
}

impl DriverErrors {
    /// What the driver of a word line multiplies every drive by.
    ///
    /// # Panics
    /// If the array has no such word line.
    pub fn gain(&self, row: u32) -> f64 {
        self.drivers[row as usize].0
    }

    /// What the driver of a word line adds to a drive of either sign before its gain, in DAC steps.
    ///
    /// # Panics
    /// If the array has no such word line.
    pub fn offset_steps(&self, row: u32) -> f64 {
        self.drivers[row as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::uneven_steps;
    use crate::circuits::DacCircuit;

    #[test]
    fn steps_follow_the_table_with_either_sign() {
        let shifts = [0.0, 0.25, -0.5, 0.0];
        let codes = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0];
        assert_eq!(
            codes.map(|code| uneven_steps(&shifts, code)),
            [-3.0, -1.5, -1.25, 0.0, 1.25, 1.5, 3.0]
        );
        assert_eq!(uneven_steps(&[], 200.0f32), 200.0);
    }

    #[test]
    fn drivers_err_by_their_draws() {
        let circuit = DacCircuit { gain_sd: 0.1, offset_sd_steps: 2.0, ..DacCircuit::default() };
        let errors = circuit.driver_errors([[1.0, 0.5], [-2.0, -0.25]].into_iter());
        assert_eq!([0, 1].map(|row| errors.gain(row)), [1.1, 0.8]);
        assert_eq!([0, 1].map(|row| errors.offset_steps(row)), [1.0, -0.5]);
    }

    #[test]
    fn only_spreads_make_drivers_differ() {
        assert!(!DacCircuit::default().drivers_differ());
        assert!(DacCircuit { offset_sd_steps: 0.1, ..DacCircuit::default() }.drivers_differ());
        let even = DacCircuit::default().driver_errors([[3.0, -3.0]].into_iter());
        assert_eq!((even.gain(0), even.offset_steps(0)), (1.0, 0.0));
    }
}
