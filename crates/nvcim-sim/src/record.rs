//! What converters were given and what they answered, kept for other programs to check.
//!
//! A recorder hangs on the room that conversions work in ([`crate::kernel::Scratch`]): without one,
//! nothing is kept and nothing is computed. Slices are kept apart, and calls joined in their order, so
//! that a record does not show how a run was split.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use nvcim_chip::real::Real;
use nvcim_ir::ids::{Id, TileId};
use nvcim_ops::run_program::Columns;

use crate::drive::SliceGroup;
use crate::noise::Block;

/// Which conversions of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The tile.
    pub tile: TileId,
    /// 0, or 1 for the second of two passes.
    pub pass: u32,
    /// The slice of bit-serial inputs that are converted one by one; else 0.
    pub slice: u32,
}

/// All conversions at one place; columns are those of the layer's products, by sample, then use of the layer,
/// then position.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversions<T = f32> {
    /// What the word lines of the tile's rows were driven with, in drive units, `[rows, columns]`.
    pub drives: Array2<T>,
    /// What the converters answered, `[conversions, columns]`.
    pub codes: Array2<T>,
    /// The standard normal draws of noise that is new for every conversion, `[conversions, columns]`;
    /// without lines where there is no such noise.
    pub draws: Array2<f32>,
}

/// The conversions of one product at one place, `[lines, columns]` each.
#[derive(Debug)]
struct Call<T> {
    columns: Columns,
    drives: Array2<T>,
    codes: Array2<T>,
    draws: Array2<f32>,
}

/// Keeps conversions.
#[derive(Debug, Default)]
pub struct Recorder<T = f32> {
    calls: BTreeMap<Place, Vec<Call<T>>>,
}

impl<T: Real> Recorder<T> {
    /// Keeps the conversions of a group of slices, `[conversions, slices, columns]`; `draws` is laid out
    /// as `codes`, or empty.
    pub(crate) fn keep(
        &mut self,
        block: Block,
        group: &SliceGroup<'_, T>,
        n_columns: usize,
        codes: &[T],
        draws: &[f32],
    ) {
        let width = group.driven.ncols();
        for (slice, start) in (group.first as u32..).zip((0..width).step_by(n_columns)) {
            let tile = TileId::new(block.unit as usize / 2);
            let place = Place { tile, pass: block.unit % 2, slice };
            let slice = ndarray::s![.., start..start + n_columns];
            self.calls.entry(place).or_default().push(Call {
                columns: block.columns,
                drives: group.driven.slice(slice).as_standard_layout().into_owned(),
                codes: lines(codes, width).slice(slice).to_owned(),
                draws: lines(draws, width)
                    .slice_axis(Axis(1), (start..start + n_columns).into())
                    .to_owned(),
            });
        }
    }

    /// Numbers kept so far.
    pub fn count_numbers(&self) -> usize {
        let count = |call: &Call<T>| call.drives.len() + call.codes.len() + call.draws.len();
        self.calls.values().flatten().map(count).sum()
    }

    /// What was kept, place by place.
    pub fn into_conversions(self) -> BTreeMap<Place, Conversions<T>> {
        let join = |(place, calls): (Place, Vec<Call<T>>)| {
            let conversions = Conversions {
                drives: join_calls(calls.iter().map(|call| (call.columns, call.drives.view()))),
                codes: join_calls(calls.iter().map(|call| (call.columns, call.codes.view()))),
                draws: join_calls(calls.iter().map(|call| (call.columns, call.draws.view()))),
            };
            (place, conversions)
        };
        self.calls.into_iter().map(join).collect()
    }
}

/// A slice as lines of `width` numbers; no line where it is empty.
fn lines<N>(numbers: &[N], width: usize) -> ArrayView2<'_, N> {
    let n_lines = numbers.len() / width.max(1);
    ArrayView2::from_shape((n_lines, width), numbers).expect("rooms hold whole lines")
}

/// Puts the columns of a layer's products side by side, `[lines, columns]` each: by sample, then use of the
/// layer, then position, however the products were split.
///
/// # Panics
/// If they have different numbers of lines, or none is there.
pub fn join_calls<'a, N: Clone + 'a>(
    calls: impl Iterator<Item = (Columns, ArrayView2<'a, N>)>,
) -> Array2<N> {
    let mut parts: Vec<((u64, u32), ArrayView2<'a, N>)> = Vec::new();
    for (Columns { first_sample, per_sample, layer_use }, call) in calls {
        if layer_use.of == 1 {
            parts.push(((first_sample, 0), call));
            continue;
        }
        let samples = (0..call.ncols()).step_by(per_sample);
        parts.extend((first_sample..).zip(samples).map(|(sample, start)| {
            let columns = ndarray::s![.., start..start + per_sample];
            ((sample, layer_use.number), call.slice_move(columns))
        }));
    }
    parts.sort_by_key(|(place, _)| *place);
    let views: Vec<_> = parts.iter().map(|(_, part)| part.view()).collect();
    concatenate(Axis(1), &views).expect("products of one matrix have the same lines")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{Array2, Axis, Slice, array};
    use nvcim_chip::describe::{Accumulate, BitSerial, InputDrive};
    use nvcim_chip::effects::EffectSet;
    use nvcim_chip::effects::output_noise::OutputNoise;
    use nvcim_chip::effects::read::ReadNoise;
    use nvcim_ir::ids::{Id, LayerId, TileId};
    use nvcim_ops::run_program::{Columns, MatrixEngine, Nth};

    use super::{Conversions, Place};
    use crate::machine::Machine;
    use crate::sample::sample_die;
    use crate::testing::{dense_image, fresh, plain_chip};

    type Record = BTreeMap<Place, Conversions<f64>>;

    /// Records seven samples of a noisy layer with two passes of four slices, `at_once` a call.
    fn record(at_once: usize, noisy: bool) -> (Record, Array2<f32>) {
        let mut chip = plain_chip();
        chip.dac.coding =
            InputDrive::BitSerial(BitSerial { bits_per_slice: 2, accumulate: Accumulate::Digital });
        if noisy {
            chip.effects.read = Some(ReadNoise::share(0.02));
            chip.effects.output_noise = Some(OutputNoise { sd_lsb: 1.0, ..OutputNoise::default() });
        }
        let image = dense_image(&chip, &array![[0.5, -1.0], [-0.25, 0.75], [1.0, 0.5]], true);
        let conditions = fresh(EffectSet::ALL);
        let machine =
            Machine::<f64>::load_as(&image, &sample_die(&chip, 1, 1), conditions).unwrap();
        let x = Array2::from_shape_fn((3, 7), |(row, col)| (row * 7 + col) as f32 / 10.0 - 1.0);
        let mut out = Array2::zeros((2, 7));
        let mut engine = machine.engine().recording();
        for start in (0..7).step_by(at_once) {
            let part = Slice::from(start..7.min(start + at_once));
            let columns =
                Columns { first_sample: start as u64, per_sample: 1, layer_use: Nth::ONLY };
            let x = x.slice_axis(Axis(1), part);
            engine.multiply(LayerId::new(0), columns, x, out.slice_axis_mut(Axis(1), part));
        }
        let record = engine.take_record();
        assert!(machine.engine().take_record().is_empty());
        (record, x)
    }

    fn place(pass: u32, slice: u32) -> Place {
        Place { tile: TileId::new(0), pass, slice }
    }

    #[test]
    fn slices_of_drives_are_the_digits_of_inputs() {
        let (record, x) = record(7, true);
        assert_eq!(record.len(), 8);
        for pass in 0..2 {
            let sign = if pass == 0 { 1.0 } else { -1.0 };
            let whole = (0..4).fold(Array2::zeros((3, 7)), |sum: Array2<f64>, slice| {
                sum + &record[&place(pass, slice)].drives * f64::from(1 << (2 * slice))
            });
            let code = |x: &f32| (f64::from(*x) * sign).clamp(0.0, 1.0) * 255.0;
            assert_eq!(whole, x.map(code).mapv(f64::round_ties_even));
        }
        let all = record.values();
        assert!(all.clone().all(|it| it.codes.dim() == (2, 7) && it.draws.dim() == (2, 7)));
        let mut draws: Vec<_> =
            all.flat_map(|it| it.draws.iter().map(|draw| draw.to_bits())).collect();
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 8 * 2 * 7, "every conversion has its own draw");
    }

    #[test]
    fn products_of_several_uses_lie_by_sample() {
        // Two samples; the first use has one position, the second two. Numbers say sample, use, position.
        let call = |first_sample, per_sample, number, values: &[f32]| {
            let columns = Columns { first_sample, per_sample, layer_use: Nth { number, of: 2 } };
            (columns, Array2::from_shape_vec((1, values.len()), values.to_vec()).unwrap())
        };
        let want = array![[0.0, 10.0, 11.0, 100.0, 110.0, 111.0]];
        let together = [call(0, 1, 0, &[0.0, 100.0]), call(0, 2, 1, &[10.0, 11.0, 110.0, 111.0])];
        let apart = [
            call(0, 1, 0, &[0.0]),
            call(0, 2, 1, &[10.0, 11.0]),
            call(1, 1, 0, &[100.0]),
            call(1, 2, 1, &[110.0, 111.0]),
        ];
        for calls in [&together[..], &apart] {
            let calls = calls.iter().map(|(columns, values)| (*columns, values.view()));
            assert_eq!(super::join_calls(calls), want);
        }
    }

    #[test]
    fn a_record_does_not_show_how_a_run_was_split() {
        let (whole, _) = record(7, true);
        assert_eq!(whole, record(1, true).0);
        assert_eq!(whole, record(3, true).0);
    }

    #[test]
    fn without_noise_there_are_no_draws() {
        let (quiet, _) = record(7, false);
        assert!(quiet.values().all(|it| it.draws.dim() == (0, 7)));
        assert_ne!(quiet[&place(0, 0)].codes, record(7, true).0[&place(0, 0)].codes);
    }
}
