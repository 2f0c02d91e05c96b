//! The places at which noise is drawn: what keeps any two draws of a run apart.
//!
//! Draws of one stream are named by `[unit, serial, serial and purpose]` and a running number inside. An
//! inference draws per sample, a measurement per call; the purpose keeps the two apart, so that the
//! noise of a calibration never returns in the run that it corrects.

use nvcim_chip::random::Stream;
use nvcim_ops::run_program::Columns;

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
    // No run comes near 2^62 samples or calls: the two highest bits are free, for four purposes.
    [unit, serial as u32, (serial >> 32) as u32 | (purpose as u32) << 30]
}

/// A matrix of draws, `[conversions, columns]`, one place per sample.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// What the draws are for.
    pub purpose: Purpose,
    /// A tile and pass, or an array; see [`Purpose`].
    pub unit: u32,
    /// Whose the columns are; samples are the serials.
    pub columns: Columns,
}

impl Block {
    /// Draws for `n_conversions` conversions of as many samples as `z` has room for.
    ///
    /// Layout: `[samples, conversions, positions]`. A sample's draws depend on nothing but the sample.
    pub fn fill(&self, stream: &Stream, n_conversions: usize, z: &mut [f32]) {
        let Columns { first_sample, per_sample } = self.columns;
        let samples = z.chunks_exact_mut(n_conversions * per_sample);
        for (serial, z) in (first_sample..).zip(samples) {
            stream.fill_normals(place(self.purpose, self.unit, serial), z);
        }
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::effects::Effect;
    use nvcim_chip::random::Stream;
    use nvcim_ops::run_program::Columns;

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

    #[test]
    fn a_sample_draws_the_same_in_any_batch() {
        let stream = Stream::new(1, 2, Effect::Read);
        let block = |first_sample| Block {
            purpose: Purpose::Inference,
            unit: 5,
            columns: Columns { first_sample, per_sample: 3 },
        };
        let (mut whole, mut last) = ([0.0; 4 * 6], [0.0; 6]);
        block(10).fill(&stream, 2, &mut whole);
        block(13).fill(&stream, 2, &mut last);
        assert_eq!(whole[18..], last);
    }
}
