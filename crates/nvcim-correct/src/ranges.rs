//! ADC ranges from clipped codes: widen until nothing clips, then close in on what was seen.
//!
//! A lab never sees a current, only codes; a code at either end says that the range was too narrow but
//! not by how much, and codes that keep to a few values say little of where they are. So the search widens
//! by a factor while an end clips, closes in on the extremes that it measured otherwise, and ends when
//! what it measured fills the range.

use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::Chip;
use nvcim_ir::programmed::{ProgrammedTile, ScaledReadout};
use nvcim_ir::tiled::AdcRange;

use crate::coarse::shift_of;
use crate::probe::Codes;

/// Factor by which a clipped range grows about its centre.
const GROWTH: f32 = 1.5;

/// Widths that are tried for a coarse converter, as shares of the one that holds everything.
pub(crate) const SHRINKS: [f32; 6] = [1.0, 0.85, 0.72, 0.6, 0.5, 0.4];

/// Most rounds of growth: `1.5^12 = 130` times the calibrated range.
pub(crate) const MAX_ROUNDS: usize = 12;

/// The share of a range that currents must fill for it to be good enough.
const FILLED: f32 = 0.75;

/// Room at either end, as a share of a range, for what has not been seen yet.
const ROOM: f32 = 0.1;

/// The narrowest step as a share of the currents that it counts: finer ones are lost in the rounding of f32.
const LEAST_SHARE: f32 = 1.0 / (1 << 20) as f32;

/// The narrowest step about no current at all, in full cells.
const LEAST_STEP: f32 = 1.0 / (1 << 30) as f32;

/// The next ranges to try: wider where a code lies at an end, otherwise the ones that just hold every code
/// seen, one step wider on either side. A current that never changes would be closed in on until nothing is left.
pub(crate) fn close_in(codes: &Codes, ranges: &[AdcRange], chip: &Chip) -> Vec<AdcRange> {
    let max_code = chip.adc.max_code() as f32;
    let close = |(readout, range): (usize, &AdcRange)| {
        let step = (range.hi - range.lo) / max_code;
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for pass in &codes.passes {
            for &code in pass.column(readout) {
                (low, high) = (low.min(code), high.max(code));
            }
        }
        if low > high {
            return *range;
        }
        if low <= 0.0 || high >= max_code {
            let (centre, half) = ((range.hi + range.lo) / 2.0, (range.hi - range.lo) / 2.0);
            return AdcRange { lo: centre - half * GROWTH, hi: centre + half * GROWTH };
        }
        let (lo, hi) = (range.lo + (low - 1.0) * step, range.lo + (high + 1.0) * step);
        let least = max_code * LEAST_STEP.max(LEAST_SHARE * lo.abs().max(hi.abs()));
        let short = (least - (hi - lo)).max(0.0);
        AdcRange { lo: lo - short / 2.0, hi: hi + short / 2.0 }
    };
    ranges.iter().enumerate().map(close).collect()
}

/// Whether a search can end with the second range after the first: nothing clipped in it, and it was filled.
pub(crate) fn is_settled(old: AdcRange, new: AdcRange) -> bool {
    let (old, new) = (old.hi - old.lo, new.hi - new.lo);
    new <= old && new >= FILLED * old
}

/// Whether nothing clipped under the first range, which closed in to the second.
pub(crate) fn is_inside(old: AdcRange, new: AdcRange) -> bool {
    new.hi - new.lo <= old.hi - old.lo
}

/// A range with room for what has not been seen yet.
pub(crate) fn widen(range: AdcRange) -> AdcRange {
    let room = ROOM * (range.hi - range.lo);
    AdcRange { lo: range.lo - room, hi: range.hi + room }
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

/// By how many steps the ranges of a column's copies are shifted against each other, so that copies with one current do
/// not all round it the same way: together they have the steps of a finer converter. The tile is `piece` of as many with
/// the same weights; one entry per readout.
pub(crate) fn shifts_of(
    tile: &ProgrammedTile,
    (piece, n_pieces): (usize, usize),
    chip: &Chip,
) -> Vec<f32> {
    let n_slices = WeightCode::new(chip).n_slices();
    let copies = tile.wiring.n_slices as usize / n_slices * n_pieces;
    let of_readout = |scaled: &ScaledReadout| {
        let copy = scaled.readout.slice as usize / n_slices * n_pieces + piece;
        shift_of(copy, copies)
    };
    tile.readouts.iter().map(of_readout).collect()
}

/// A range shifted by `share` of its step.
pub(crate) fn shift(range: AdcRange, share: f32, chip: &Chip) -> AdcRange {
    let shift = (range.hi - range.lo) / chip.adc.max_code() as f32 * share;
    AdcRange { lo: range.lo + shift, hi: range.hi + shift }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use nvcim_chip::presets::find_preset;
    use nvcim_ir::tiled::AdcRange;

    use super::{MAX_ROUNDS, close_in};
    use crate::probe::Codes;

    /// The ranges of one conversion, round by round, that always sees `current`.
    fn search(current: f32, first: AdcRange) -> Vec<AdcRange> {
        let chip = find_preset("ideal").unwrap();
        let max_code = chip.adc.max_code() as f32;
        let mut ranges = vec![first];
        for _ in 0..3 * MAX_ROUNDS {
            let range = ranges[ranges.len() - 1];
            let code = (current - range.lo) / (range.hi - range.lo) * max_code;
            let code = code.round().clamp(0.0, max_code);
            let codes = Codes { passes: vec![Array2::from_elem((4, 1), code)] };
            ranges.extend(close_in(&codes, &[range], &chip));
        }
        ranges
    }

    #[test]
    fn a_current_that_never_changes_keeps_a_range() {
        for current in [0.0, 1e-3, -0.99999994, 100.0] {
            for range in search(current, AdcRange { lo: -128.0, hi: 160.0 }) {
                assert!(range.lo < range.hi, "{current}: {range:?}");
                assert!((range.lo..=range.hi).contains(&current), "{current}: {range:?}");
            }
        }
    }
}
