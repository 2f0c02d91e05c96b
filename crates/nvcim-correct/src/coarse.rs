//! Which circuits are coarse enough for corrections to look at how they round, and where copies round apart.

use nvcim_chip::describe::{Adc, Dac};

/// Drives of up to this many bits are coarse: on finer ones nothing is to be gained that other errors leave to
/// be seen.
const COARSE_DRIVE_BITS: u32 = 4;

/// Converters of at least this many codes need no range narrower than their currents, and tiles with the same
/// weights no ranges that differ from each other's.
const FINE_CODES: u32 = 64;

/// Whether something is to be gained by looking at how inputs are rounded.
pub(crate) fn has_coarse_drives(dac: &Dac) -> bool {
    dac.bits <= COARSE_DRIVE_BITS
}

/// Whether something is to be gained by looking at how currents are rounded.
pub(crate) fn has_coarse_converters(adc: &Adc) -> bool {
    adc.max_code() < FINE_CODES
}

/// By how many steps copy `copy` of `n_copies` rounds elsewhere, so that all of them have the middles of as many
/// equal shares of a step.
pub(crate) fn shift_of(copy: usize, n_copies: usize) -> f32 {
    (copy as f32 + 0.5) / n_copies as f32 - 0.5
}
