//! The places at which noise is drawn: what keeps any two draws of a run apart.
//!
//! Draws of one stream are named by `[unit, serial, serial with use, slice and purpose]` and a running number
//! inside. An inference draws per sample, a measurement per call; the purpose keeps the two apart, so that
//! the noise of a calibration never returns in the run that it corrects.

use nvcim_chip::random::Stream;
use nvcim_ops::run_program::Columns;

use crate::room::take_slice;

/// What a draw is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A conversion of the running image; the unit is a tile and pass, the serial a sample.
    Inference,
    /// A conversion asked for through the bench interface; the unit is an array, the serial a call.
    Mvm,
    /// A read-back; the unit is an array, the serial a call.
    Read,
    /// What a die is, under the run seed 0; the unit is an array, the serial a line or converter. Apart
    /// from the others, so that no run with the seed 0 meets the die's own draws as noise.
    Die,
}

/// The place of draws: all but the running number.
pub(crate) fn place(purpose: Purpose, unit: u32, serial: u64) -> [u32; 3] {
    // No run comes near 2^38 samples or calls: the highest bits are free.
    [unit, serial as u32, (serial >> 32) as u32 | (purpose as u32) << 30]
}

/// Columns whose draws are brought together, as far as samples come whole: as many as fill a cache line.
const COLUMNS_AT_ONCE: usize = 16;

/// A matrix of draws, one place per sample and slice.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// What the draws are for.
    pub purpose: Purpose,
    /// Names draws of conversions: twice a tile plus the pass, or an array.
    pub unit: u32,
    /// Names draws of cells, which hold for all passes: a tile, or an array.
    pub cells: u32,
    /// Whose the columns are; samples are the serials.
    pub columns: Columns,
}

impl Block {
    /// Draws for `n_lines` lines of as many samples and slices as `z` has room for, from the slice
    /// `first_slice` on.
    ///
    /// Layout: `[lines, slices, samples, positions]`, `n_columns` being samples times positions. A
    /// sample's draws depend on nothing but the sample, the slice and the use of the layer; inside they
    /// count positions within lines.
    pub(crate) fn fill(
        &self,
        stream: &Stream,
        first_slice: usize,
        n_columns: usize,
        n_lines: usize,
        z: &mut [f32],
        room: &mut Vec<f32>,
    ) {
        let Columns { first_sample, per_sample, layer_use: _ } = self.columns;
        let line_len = z.len() / n_lines;
        let sample_len = n_lines * per_sample;
        if line_len == per_sample {
            return stream.fill_normals(self.place(first_sample, first_slice), z);
        }
        let n_samples = (COLUMNS_AT_ONCE / per_sample).max(1);
        let room = take_slice(room, n_samples * sample_len);
        for (slice, start) in (first_slice..).zip((0..line_len).step_by(n_columns)) {
            for group in (0..n_columns).step_by(n_samples * per_sample) {
                let len = (n_columns - group).min(n_samples * per_sample);
                let serial = first_sample + (group / per_sample) as u64;
                let samples = room.chunks_exact_mut(sample_len).take(len / per_sample);
                for (serial, draws) in (serial..).zip(samples) {
                    stream.fill_normals(self.place(serial, slice), draws);
                }
                for (line, z) in z.chunks_exact_mut(line_len).enumerate() {
                    let z = &mut z[start + group..][..len];
                    bring_together(room, sample_len, line, per_sample, z);
                }
            }
        }
    }

    /// The place of a sample's draws for a slice and a use of the layer; there are at most 16 slices and 2^20
    /// uses.
    fn place(&self, serial: u64, slice: usize) -> [u32; 3] {
        let [unit, low, high] = place(self.purpose, self.unit, serial);
        [unit, low, high | (slice as u32) << 26 | self.columns.layer_use.number << 6]
    }
}

/// Gathers one line's draws of several samples, `[samples, lines, positions]`, to `z`, `[samples,
/// positions]`.
fn bring_together(room: &[f32], sample_len: usize, line: usize, per_sample: usize, z: &mut [f32]) {
    if per_sample == 1 {
        let draws = room[line..].iter().step_by(sample_len);
        z.iter_mut().zip(draws).for_each(|(z, draw)| *z = *draw);
        return;
    }
    for (z, draws) in z.chunks_exact_mut(per_sample).zip(room.chunks_exact(sample_len)) {
        z.copy_from_slice(&draws[line * per_sample..][..per_sample]);
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::effects::Effect;
    use nvcim_chip::random::Stream;
    use nvcim_ops::run_program::{Columns, Nth};

    use super::{Block, Purpose, place};

    #[test]
    fn places_differ_in_every_part() {
        let places = [
            place(Purpose::Inference, 0, 0),
            place(Purpose::Mvm, 0, 0),
            place(Purpose::Read, 0, 0),
            place(Purpose::Die, 0, 0),
            place(Purpose::Inference, 1, 0),
            place(Purpose::Inference, 0, 1),
            place(Purpose::Inference, 0, 1 << 32),
        ];
        for (index, place) in places.iter().enumerate() {
            assert!(!places[..index].contains(place), "{place:?}");
        }
    }

    /// Draws of `samples` for two lines of `n_slices` slices, `[lines, slices, samples, positions]`.
    fn draws(samples: std::ops::Range<u64>, per_sample: usize, n_slices: usize) -> Vec<f32> {
        let columns = Columns { first_sample: samples.start, per_sample, layer_use: Nth::ONLY };
        let block = Block { purpose: Purpose::Inference, unit: 5, cells: 2, columns };
        let n_columns = (samples.end - samples.start) as usize * per_sample;
        let mut z = vec![0.0; 2 * n_slices * n_columns];
        block.fill(&Stream::new(1, 2, Effect::Read), 0, n_columns, 2, &mut z, &mut Vec::new());
        z
    }

    #[test]
    fn a_sample_draws_the_same_in_any_batch() {
        for (per_sample, n_slices) in [(1, 1), (1, 3), (3, 1), (3, 3), (40, 2)] {
            let whole = draws(10..50, per_sample, n_slices);
            for sample in 10..50 {
                let alone = draws(sample..sample + 1, per_sample, n_slices);
                for (line, alone) in alone.chunks(per_sample).enumerate() {
                    let at = (line * 40 + (sample - 10) as usize) * per_sample;
                    assert_eq!(
                        whole[at..at + per_sample],
                        *alone,
                        "{per_sample} {n_slices} {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_use_of_a_layer_has_draws_of_its_own() {
        let place = |number, slice| {
            let columns =
                Columns { first_sample: 0, per_sample: 1, layer_use: Nth { number, of: 1 << 20 } };
            let block = Block { purpose: Purpose::Inference, unit: 5, cells: 2, columns };
            block.place((1 << 38) - 1, slice)
        };
        let places = [place(0, 0), place(1, 0), place((1 << 20) - 1, 0), place(0, 1), place(0, 15)];
        for (index, place) in places.iter().enumerate() {
            assert!(!places[..index].contains(place), "{place:?}");
        }
    }

    #[test]
    fn no_draw_returns() {
        let mut all: Vec<_> = draws(10..50, 3, 4).iter().map(|z| z.to_bits()).collect();
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n);
    }
}
