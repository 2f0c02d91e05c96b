//! ADC ranges from clipped codes: widen until nothing clips, then close in on what was seen.
//!
//! A lab never sees a current, only codes; a code at either end says that the range was too narrow but
//! not by how much. So the search widens by a factor until the ends stay free, and only then trusts the
//! extremes that it measured.

use nvcim_chip::describe::Chip;
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_ir::tiled::AdcRange;

use crate::probe::Codes;

/// Factor by which a clipped range grows about its centre.
const GROWTH: f32 = 1.5;

/// Widths that are tried for a coarse converter, as shares of the one that holds everything.
pub(crate) const SHRINKS: [f32; 6] = [1.0, 0.85, 0.72, 0.6, 0.5, 0.4];

/// Most rounds of growth: `1.5^12 = 130` times the calibrated range.
pub(crate) const MAX_ROUNDS: usize = 12;

/// The next ranges to try, or `None` where no readout clipped.
pub(crate) fn widen_clipped(
    codes: &Codes,
    ranges: &[AdcRange],
    chip: &Chip,
) -> Option<Vec<AdcRange>> {
    let max_code = chip.adc.max_code() as f32;
    let clipped = |readout: usize| {
        codes
            .passes
            .iter()
            .any(|pass| pass.column(readout).iter().any(|&code| code <= 0.0 || code >= max_code))
    };
    let mut any = false;
    let mut next = ranges.to_vec();
    for (readout, range) in next.iter_mut().enumerate() {
        if clipped(readout) {
            any = true;
            let (centre, half) = ((range.hi + range.lo) / 2.0, (range.hi - range.lo) / 2.0);
            *range = AdcRange { lo: centre - half * GROWTH, hi: centre + half * GROWTH };
        }
    }
    any.then_some(next)
}

/// The ranges that just hold every code seen, one LSB wider on either side.
pub(crate) fn close_in(codes: &Codes, ranges: &[AdcRange], chip: &Chip) -> Vec<AdcRange> {
    let max_code = chip.adc.max_code() as f32;
    let close = |(readout, range): (usize, &AdcRange)| {
        let lsb = (range.hi - range.lo) / max_code;
        let seen = codes.passes.iter().flat_map(|pass| pass.column(readout).to_vec());
        let (low, high) = seen.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), code| {
            (lo.min(code), hi.max(code))
        });
        if low > high {
            return *range;
        }
        let closer =
            AdcRange { lo: range.lo + (low - 1.0) * lsb, hi: range.lo + (high + 1.0) * lsb };
        // A search that ended while still clipping keeps what it reached.
        AdcRange { lo: closer.lo.max(range.lo), hi: closer.hi.min(range.hi) }
    };
    ranges.iter().enumerate().map(close).collect()
}

/// The smallest range that holds both.
pub(crate) fn join(a: AdcRange, b: AdcRange) -> AdcRange {
    AdcRange { lo: a.lo.min(b.lo), hi: a.hi.max(b.hi) }
}

/// A range narrowed about a current inside it.
pub(crate) fn shrink(range: AdcRange, centre: f32, factor: f32) -> AdcRange {
    let centre = centre.clamp(range.lo, range.hi);
    AdcRange {
        lo: centre - factor * (centre - range.lo),
        hi: centre + factor * (range.hi - centre),
    }
}

/// Shifts the ranges of a column's copies against each other by shares of a step, so that copies with one
/// current do not all round it the same way: together they have the steps of a finer converter.
pub(crate) fn stagger(tile: &mut ProgrammedTile, n_slices: usize, chip: &Chip) {
    let copies = tile.wiring.n_slices as usize / n_slices;
    for scaled in &mut tile.readouts {
        let copy = scaled.readout.slice as usize / n_slices;
        let range = &mut scaled.readout.range;
        let step = (range.hi - range.lo) / chip.adc.max_code() as f32;
        let shift = step * ((copy as f32 + 0.5) / copies as f32 - 0.5);
        *range = AdcRange { lo: range.lo + shift, hi: range.hi + shift };
    }
}
