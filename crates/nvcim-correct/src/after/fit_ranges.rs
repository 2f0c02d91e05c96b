//! Ranges of a layer's conversions: found by search, shared where the chip shares them, narrowed where steps are
//! coarse.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Accumulate, BitSerial, InputDrive, RangePer};
use nvcim_chip::effects::dac;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::TileId;
use nvcim_ir::tiled::AdcRange;

use super::{Bench, Probe, ranges_of, some_of};
use crate::affine::unsaid;
use crate::coarse::has_coarse_converters;
use crate::plan::Correction;
use crate::ranges::{
    MAX_ROUNDS, SHRINKS, close_in, is_inside, is_settled, join, shrink, stagger, widen,
};

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
        if has_coarse_converters(&self.known.chip.adc) && self.plan.has(Correction::Bias) {
            self.narrow(tiles, probes, &mut found, per)?;
        }
        let mut changed = 0;
        for (&id, ranges) in tiles.iter().zip(&found) {
            let tile = &mut self.programmed.tiles[id];
            for (scaled, range) in tile.readouts.iter_mut().zip(ranges) {
                changed += usize::from(scaled.readout.range != *range);
                scaled.readout.range = *range;
            }
        }
        if per == RangePer::Column && self.plan.has(Correction::Bias) {
            self.stagger(tiles);
        }
        Ok(changed)
    }

    /// Shifts the ranges of copies against each other.
    fn stagger(&mut self, tiles: &[TileId]) {
        let chip = self.known.chip;
        let n_slices = WeightCode::new(chip).n_slices();
        let apart = self.plan.shifts_over_arrays(chip);
        for copies in self.group_copies(tiles) {
            for (piece, &at) in copies.iter().enumerate() {
                let place = if apart { (piece, copies.len()) } else { (0, 1) };
                stagger(&mut self.programmed.tiles[tiles[at]], place, n_slices, chip);
            }
        }
    }

    /// Narrows ranges until what is lost by clipping would be more than what finer steps gain.
    fn narrow(
        &mut self,
        tiles: &[TileId],
        probes: &[Probe],
        found: &mut [Vec<AdcRange>],
        per: RangePer,
    ) -> Result<()> {
        let groups = groups(found, per);
        let mut best = vec![(f64::INFINITY, 1.0_f32); groups.len()];
        let mut centres: Vec<Vec<f32>> = Vec::new();
        for (&id, (probe, ranges)) in tiles.iter().zip(probes.iter().zip(found.iter())) {
            let currents = self.measure(id, probe.some_drives(), probe.signed, ranges)?;
            let mean = currents.mean_axis(Axis(0)).map_or(Vec::new(), |mean| mean.to_vec());
            centres.push(mean);
        }
        for factor in SHRINKS {
            let mut errors: Vec<Vec<f64>> = Vec::new();
            for (at, (&id, probe)) in tiles.iter().zip(probes).enumerate() {
                let ranges: Vec<_> = found[at]
                    .iter()
                    .zip(&centres[at])
                    .map(|(range, &centre)| shrink(*range, centre, factor))
                    .collect();
                let currents = self.measure(id, probe.some_drives(), probe.signed, &ranges)?;
                let scales =
                    self.programmed.tiles[id].readouts.iter().map(|it| f64::from(it.scale));
                let expected = some_of(&probe.expected);
                let columns = expected.columns().into_iter().zip(currents.columns());
                let lost = columns.zip(scales).map(|((p, y), scale)| scale * scale * unsaid(p, y));
                errors.push(lost.collect());
            }
            for (group, best) in groups.iter().zip(&mut best) {
                let error: f64 = group.iter().map(|&(tile, at)| errors[tile][at]).sum();
                if error < best.0 {
                    *best = (error, factor);
                }
            }
        }
        for (group, (_, factor)) in groups.into_iter().zip(best) {
            let mean: f32 =
                group.iter().map(|&(tile, at)| centres[tile][at]).sum::<f32>() / group.len() as f32;
            for (tile, at) in group {
                found[tile][at] = shrink(found[tile][at], mean, factor);
            }
        }
        Ok(())
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
fn groups(ranges: &[Vec<AdcRange>], per: RangePer) -> Vec<Vec<(usize, usize)>> {
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
