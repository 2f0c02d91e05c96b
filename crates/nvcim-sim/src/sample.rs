//! Draws one die of a chip: the part that a lab could measure.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::Effect;
use nvcim_chip::file::hash_chip;
use nvcim_chip::random::Stream;
use nvcim_chip::record::{ArrayRecord, DieRecord, StuckCell};
use nvcim_ir::ids::IdVec;

/// Draws die number `seed` of `chip` with `n_arrays` arrays.
///
/// Every draw is keyed by the die, the effect and the place, so a die with more arrays begins with the
/// same ones. An effect that the chip does not describe leaves its part of the record empty.
pub fn sample_die(chip: &Chip, seed: u64, n_arrays: usize) -> DieRecord {
    let arrays: IdVec<_, _> = (0..n_arrays as u32).map(|at| sample_array(chip, seed, at)).collect();
    DieRecord {
        name: format!("{}-{seed}", chip.name),
        seed: Some(seed),
        chip_hash: hash_chip(chip),
        arrays,
    }
}

fn sample_array(chip: &Chip, seed: u64, array: u32) -> ArrayRecord {
    let n_cols = chip.arrays.n_cols as u32;
    // What a die is does not depend on the run, hence the run seed 0. Bit lines that share a converter
    // share its draw.
    let draw_columns = |effect, value: &dyn Fn(f64) -> f64| {
        let stream = Stream::new(0, seed, effect);
        let converters = (0..n_cols).map(|col| chip.circuits.adc.converter_of(col));
        converters.map(|at| value(stream.normal([array, 0, at, 0])) as f32).collect()
    };
    let effects = &chip.effects;
    ArrayRecord {
        stuck: sample_stuck(chip, seed, array),
        column_gain: effects
            .column_gain
            .map_or_else(Vec::new, |gain| draw_columns(Effect::ColumnGain, &|z| gain.factor(z))),
        column_offset_lsb: effects
            .column_offset
            .map_or_else(Vec::new, |offset| draw_columns(Effect::ColumnOffset, &|z| offset.lsb(z))),
        read_back: None,
    }
}

fn sample_stuck(chip: &Chip, seed: u64, array: u32) -> Vec<StuckCell> {
    let Some(model) = chip.effects.stuck else { return Vec::new() };
    let stream = Stream::new(0, seed, Effect::Stuck);
    let mut stuck = Vec::new();
    for row in 0..chip.arrays.n_rows as u32 {
        for col in 0..chip.arrays.n_cols as u32 {
            let uniform = stream.uniform([array, row, col, 0]);
            if let Some(g) = model.decide(uniform, &chip.cell) {
                stuck.push(StuckCell { row, col, g: g as f32 });
            }
        }
    }
    stuck
}

#[cfg(test)]
mod tests {
    use nvcim_chip::effects::column_gain::ColumnGain;
    use nvcim_chip::effects::column_offset::ColumnOffset;
    use nvcim_chip::effects::stuck::Stuck;
    use nvcim_ir::ids::{ArrayId, Id};

    use super::sample_die;
    use crate::testing::{KOLMOGOROV_BOUND, kolmogorov, plain_chip};

    #[test]
    fn a_chip_without_effects_has_perfect_dies() {
        let die = sample_die(&plain_chip(), 3, 2);
        assert_eq!((die.seed, die.arrays.len()), (Some(3), 2));
        assert!(die.arrays.iter().all(|array| *array == Default::default()));
    }

    #[test]
    fn shares_and_spreads_are_those_of_the_chip() {
        let mut chip = plain_chip();
        (chip.arrays.n_rows, chip.arrays.n_cols) = (100, 1000);
        chip.effects.stuck = Some(Stuck { stuck_gmin: 0.02, stuck_gmax: 0.05 });
        chip.effects.column_gain = Some(ColumnGain { sd: 0.05, ..ColumnGain::default() });
        chip.effects.column_offset = Some(ColumnOffset { sd_lsb: 2.0 });
        let die = sample_die(&chip, 1, 1);
        let array = &die.arrays[ArrayId::new(0)];
        let low = array.stuck.iter().filter(|cell| cell.g == chip.cell.g_min as f32).count();
        let high = array.stuck.iter().filter(|cell| cell.g == chip.cell.g_max as f32).count();
        // Four standard errors of the shares of 100 000 cells: 177 and 276 cells.
        assert!(low.abs_diff(2000) < 177 && high.abs_diff(5000) < 276, "{low} {high}");
        assert_eq!(low + high, array.stuck.len());
        assert!(array.stuck.is_sorted_by_key(|cell| (cell.row, cell.col)));
        let spread = |values: &[f32], mean: f32| {
            let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>();
            (squares / values.len() as f32).sqrt()
        };
        // Four standard errors of a spread from 1000 draws: 9 %.
        assert!((spread(&array.column_gain, 1.0) / 0.05 - 1.0).abs() < 0.09);
        assert!((spread(&array.column_offset_lsb, 0.0) / 2.0 - 1.0).abs() < 0.09);
    }

    #[test]
    fn columns_err_by_the_normal_distribution() {
        let mut chip = plain_chip();
        chip.arrays.n_cols = 4096;
        chip.effects.column_gain = Some(ColumnGain { sd: 0.05, ..ColumnGain::default() });
        chip.effects.column_offset = Some(ColumnOffset { sd_lsb: 2.0 });
        let die = sample_die(&chip, 2, 1);
        let array = &die.arrays[ArrayId::new(0)];
        assert!(kolmogorov(&array.column_gain, 1.0, 0.05) < KOLMOGOROV_BOUND);
        assert!(kolmogorov(&array.column_offset_lsb, 0.0, 2.0) < KOLMOGOROV_BOUND);
    }

    #[test]
    fn columns_of_one_converter_have_its_errors() {
        let mut chip = plain_chip();
        (chip.arrays.n_cols, chip.circuits.adc.shared_by) = (10, 4);
        chip.effects.column_gain = Some(ColumnGain { sd: 0.05, ..ColumnGain::default() });
        chip.effects.column_offset = Some(ColumnOffset { sd_lsb: 2.0 });
        let die = sample_die(&chip, 1, 1);
        let array = &die.arrays[ArrayId::new(0)];
        for errors in [&array.column_gain, &array.column_offset_lsb] {
            let runs: Vec<_> =
                errors.chunk_by(|left, right| left == right).map(<[_]>::len).collect();
            assert_eq!(runs, [4, 4, 2]);
        }
        // The first converter errs as it would alone.
        chip.circuits.adc.shared_by = 1;
        let alone = sample_die(&chip, 1, 1);
        assert_eq!(
            alone.arrays[ArrayId::new(0)].column_gain[..3].to_vec(),
            [0, 4, 8].map(|col| array.column_gain[col])
        );
    }

    #[test]
    fn dies_differ_by_seed_and_grow_at_the_end() {
        let mut chip = plain_chip();
        chip.effects.stuck = Some(Stuck { stuck_gmin: 0.3, stuck_gmax: 0.3 });
        chip.effects.column_gain = Some(ColumnGain { sd: 0.05, ..ColumnGain::default() });
        let (small, large) = (sample_die(&chip, 1, 2), sample_die(&chip, 1, 3));
        assert!(small.arrays.iter().eq(large.arrays.iter().take(2)));
        assert_ne!(small.arrays[ArrayId::new(0)], small.arrays[ArrayId::new(1)]);
        assert_ne!(small.arrays, sample_die(&chip, 2, 2).arrays);
    }
}
