//! Ranges of a layer's conversions: found by search, shared where the chip shares them, shifted between copies.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate};
use nvcim_chip::describe::{Accumulate, BitSerial, InputDrive, RangePer};
use nvcim_chip::effects::dac;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::TileId;
use nvcim_ir::tiled::AdcRange;

use super::{Bench, Probe, ranges_of, some_of};
use crate::plan::Correction;
use crate::ranges::{MAX_ROUNDS, close_in, is_inside, is_settled, join, shift, shifts_of, widen};

impl Bench<'_> {
    /// Sets the ranges of a layer's tiles; answers how many changed.
    pub(super) fn fit_ranges(&mut self, tiles: &[TileId], probes: &[Probe]) -> Result<usize> {
        let per = self.known.chip.adc.range_per;
        let mut found = Vec::new();
        for (&id, probe) in tiles.iter().zip(probes) {
            found.push(self.search_ranges(id, probe)?);
        }
        for group in groups(&found, per) {
            let all = group.iter().map(|&(tile, at)| found[tile][at]).reduce(join);
            for (tile, at) in group {
                found[tile][at] = all.expect("a group has a member");
            }
        }
        let shifts = self.shifts(tiles);
        if self.plan.narrows_ranges(self.known.chip) {
            self.narrow(tiles, probes, &mut found, &shifts)?;
        }
        let mut changed = 0;
        for ((&id, ranges), shifts) in tiles.iter().zip(&found).zip(&shifts) {
            let readouts = self.programmed.tiles[id].readouts.iter_mut();
            for (scaled, (range, share)) in readouts.zip(ranges.iter().zip(shifts)) {
                changed += usize::from(scaled.readout.range != *range);
                scaled.readout.range = shift(*range, *share, self.known.chip);
            }
        }
        Ok(changed)
    }

    /// By how many steps the range of every conversion is shifted, so that copies round apart; by none where ranges
    /// are shared.
    fn shifts(&self, tiles: &[TileId]) -> Vec<Vec<f32>> {
        let chip = self.known.chip;
        let n_readouts = |id: &TileId| self.programmed.tiles[*id].readouts.len();
        let mut shifts: Vec<_> = tiles.iter().map(|id| vec![0.0; n_readouts(id)]).collect();
        if chip.adc.range_per != RangePer::Column || !self.plan.has(Correction::Bias) {
            return shifts;
        }
        let apart = self.plan.shifts_over_arrays(chip);
        for copies in self.group_copies(tiles) {
            for (piece, &at) in copies.iter().enumerate() {
                let place = if apart { (piece, copies.len()) } else { (0, 1) };
                shifts[at] = shifts_of(&self.programmed.tiles[tiles[at]], place, chip);
            }
        }
        shifts
    }

    /// Ranges that hold all that is converted of a tile.
    ///
    /// Where slices of inputs are converted one by one, a code is their weighted sum and does not say that
    /// one of them clipped. So the digits of the vectors are driven as vectors of their own: all slices of
    /// such a drive have the same digit, and its code is theirs. Where the last slice is a shorter one no
    /// drive does that, and the observed ranges stay.
    ///
    /// Some of the vectors come near; all of them then start from there, with some room.
    fn search_ranges(&mut self, id: TileId, probe: &Probe) -> Result<Vec<AdcRange>> {
        let mut ranges = ranges_of(&self.programmed.tiles[id]);
        let chip = self.known.chip;
        if let InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate }) = chip.dac.coding
            && accumulate == Accumulate::Digital
            && !chip.dac.bits.is_multiple_of(bits_per_slice)
        {
            return Ok(ranges);
        }
        let digits = dac::drives_converted(&chip.dac, probe.drives.view());
        let digits: Vec<_> = digits.iter().map(|digits| digits.view()).collect();
        let drives = match &digits[..] {
            [_] => probe.drives.clone(),
            digits => concatenate(Axis(0), digits).expect("all slices have the vectors' shape"),
        };
        if digits.len() == 1 {
            ranges = expected_ranges(&probe.expected, &ranges);
        }
        let found = self.search(id, (some_of(&drives), probe.signed), ranges, is_settled)?;
        let with_room = found.into_iter().map(widen).collect();
        self.search(id, (drives.view(), probe.signed), with_room, is_inside)
    }

    /// Rounds of probing under ranges and closing in on what was seen, until that is `enough` for every
    /// readout.
    fn search(
        &mut self,
        id: TileId,
        (drives, signed): (ArrayView2<'_, f32>, bool),
        mut ranges: Vec<AdcRange>,
        enough: fn(AdcRange, AdcRange) -> bool,
    ) -> Result<Vec<AdcRange>> {
        for _ in 0..MAX_ROUNDS {
            let codes = self.probe(id, drives, signed, &ranges)?;
            let next = close_in(&codes, &ranges, self.known.chip);
            let settled = ranges.iter().zip(&next).all(|(old, new)| enough(*old, *new));
            ranges = next;
            if settled {
                break;
            }
        }
        Ok(ranges)
    }
}

/// The readouts, by tile and place in it, that share one range.
pub(super) fn groups(ranges: &[Vec<AdcRange>], per: RangePer) -> Vec<Vec<(usize, usize)>> {
    let mut groups: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
    for (tile, ranges) in ranges.iter().enumerate() {
        for at in 0..ranges.len() {
            let group = match per {
                RangePer::Column => (tile, at),
                RangePer::Tile => (tile, 0),
                RangePer::Layer => (0, 0),
            };
            groups.entry(group).or_default().push((tile, at));
        }
    }
    groups.into_values().collect()
}

/// Ranges round the currents expected, `[vectors, readouts]`, with some room; the present ones where none
/// are.
fn expected_ranges(expected: &Array2<f32>, ranges: &[AdcRange]) -> Vec<AdcRange> {
    let around = |(column, range): (ArrayView1<'_, f32>, &AdcRange)| {
        let lo = column.iter().copied().fold(f32::INFINITY, f32::min);
        let hi = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let room = 0.1 * (hi - lo);
        if room > 0.0 { AdcRange { lo: lo - room, hi: hi + room } } else { *range }
    };
    expected.columns().into_iter().zip(ranges).map(around).collect()
}
