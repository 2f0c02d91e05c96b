//! Ranges of coarse converters, narrowed until what is clipped would be more than what finer steps gain.
//!
//! A range that holds every current spends codes on currents that are rare, and one conversion alone does best where
//! clipping costs as much as rounding. Copies whose ranges are shifted against each other round together as a finer
//! converter does, but clip alike: the more copies, the wider the best range. So widths are judged by what all copies
//! of a column say together.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Axis};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::RangePer;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::TileId;
use nvcim_ir::tiled::AdcRange;

use super::fit_ranges::groups;
use super::{Bench, Probe, some_of};
use crate::affine::{regress, unsaid};
use crate::ranges::{SHRINKS, shift, shrink};

/// A tile's place among those of its layer, and a readout's among those of the tile.
type Place = (usize, usize);

impl Bench<'_> {
    /// Narrows `found`, the ranges of a layer's tiles, which are going to be shifted by `shifts` steps.
    pub(super) fn narrow(
        &mut self,
        tiles: &[TileId],
        probes: &[Probe],
        found: &mut [Vec<AdcRange>],
        shifts: &[Vec<f32>],
    ) -> Result<()> {
        let centres = self.find_centres(tiles, probes, found)?;
        let families = self.families(tiles);
        let mut best = vec![(f64::INFINITY, 1.0_f32); families.len()];
        for factor in SHRINKS {
            let mut answers = Vec::new();
            for (at, (&id, probe)) in tiles.iter().zip(probes).enumerate() {
                let centred = found[at].iter().zip(&centres[at]).zip(&shifts[at]);
                let narrowed = centred.map(|((range, &centre), &share)| {
                    shift(shrink(*range, centre, factor), share, self.known.chip)
                });
                let ranges: Vec<_> = narrowed.collect();
                answers.push(self.measure(id, probe.some_drives(), probe.signed, &ranges)?);
            }
            for (family, best) in families.iter().zip(&mut best) {
                let lost = family.iter().map(|copies| self.lost(copies, tiles, probes, &answers));
                let lost: f64 = lost.sum();
                if lost < best.0 {
                    *best = (lost, factor);
                }
            }
        }
        for (family, (_, factor)) in families.into_iter().zip(best) {
            for (tile, at) in family.into_iter().flatten() {
                found[tile][at] = shrink(found[tile][at], centres[tile][at], factor);
            }
        }
        Ok(())
    }

    /// The current that every range narrows about: the mean, for conversions that share a range that of all of them.
    fn find_centres(
        &mut self,
        tiles: &[TileId],
        probes: &[Probe],
        found: &[Vec<AdcRange>],
    ) -> Result<Vec<Vec<f32>>> {
        let mut centres: Vec<Vec<f32>> = Vec::new();
        for ((&id, probe), ranges) in tiles.iter().zip(probes).zip(found) {
            let currents = self.measure(id, probe.some_drives(), probe.signed, ranges)?;
            let mean = currents.mean_axis(Axis(0));
            centres.push(mean.map_or(Vec::new(), |mean| mean.to_vec()));
        }
        for group in groups(found, self.known.chip.adc.range_per) {
            let sum: f32 = group.iter().map(|&(tile, at)| centres[tile][at]).sum();
            let mean = sum / group.len() as f32;
            group.iter().for_each(|&(tile, at)| centres[tile][at] = mean);
        }
        Ok(centres)
    }

    /// The readouts of a layer that are narrowed alike, each family as lists of copies: readouts that see the same
    /// current but for what is wrong with their cells.
    fn families(&self, tiles: &[TileId]) -> Vec<Vec<Vec<Place>>> {
        let n_slices = WeightCode::new(self.known.chip).n_slices() as u32;
        let mut copies: BTreeMap<_, Vec<Place>> = BTreeMap::new();
        for (place, &id) in tiles.iter().enumerate() {
            let tile = &self.programmed.tiles[id];
            for (at, scaled) in tile.readouts.iter().enumerate() {
                let it = &scaled.readout;
                let of_tile = [tile.rows.start, tile.cols.start];
                let of_readout =
                    [it.col, it.slice % n_slices, it.rows.start, it.rows.end, it.terminal as u32];
                copies.entry((of_tile, of_readout)).or_default().push((place, at));
            }
        }
        let mut families: BTreeMap<_, Vec<Vec<Place>>> = BTreeMap::new();
        for ((of_tile, of_readout), copies) in copies {
            let family = match self.known.chip.adc.range_per {
                RangePer::Column => Some((of_tile, Some(of_readout))),
                RangePer::Tile => Some((of_tile, None)),
                RangePer::Layer => None,
            };
            families.entry(family).or_default().push(copies);
        }
        families.into_values().collect()
    }

    /// The part of the variance of what `copies` should see together that their `answers` do not say, in squares of output
    /// units; gains of columns are mended later and do not count.
    fn lost(
        &self,
        copies: &[Place],
        tiles: &[TileId],
        probes: &[Probe],
        answers: &[Array2<f32>],
    ) -> f64 {
        let n_vectors = answers.first().map_or(0, Array2::nrows);
        let [mut wanted, mut said] = [Array1::zeros(n_vectors), Array1::zeros(n_vectors)];
        for &(tile, at) in copies {
            let scale = self.programmed.tiles[tiles[tile]].readouts[at].scale;
            let expected = some_of(&probes[tile].expected);
            let (p, y) = (expected.column(at), answers[tile].column(at));
            let gain = regress(p, y).map_or(1.0, |[gain, _]| gain as f32);
            wanted.scaled_add(scale, &p);
            said.scaled_add(scale / gain, &y);
        }
        unsaid(wanted.view(), said.view())
    }
}
