//! Draws one die of a chip: the part that a lab could measure.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::die_draws::DieDraws;
use nvcim_chip::file::hash_chip;
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
    let (n_rows, n_cols) = (chip.arrays.n_rows as u32, chip.arrays.n_cols as u32);
    let draws = DieDraws::new(chip, seed);
    // An effect that the chip does not describe answers for no column.
    let columns = |of: &dyn Fn(u32) -> Option<f64>| {
        (0..n_cols).filter_map(|col| of(col).map(|value| value as f32)).collect()
    };
    let stuck = draws.stuck(array).map(|map| {
        let cells = (0..n_rows).flat_map(|row| (0..n_cols).map(move |col| (row, col)));
        let stuck = cells
            .filter_map(|(row, col)| map.of(row, col).map(|g| StuckCell { row, col, g: g as f32 }));
        stuck.collect()
    });
    ArrayRecord {
        stuck: stuck.unwrap_or_default(),
        column_gain: columns(&|col| draws.column_gain(array, col)),
        column_offset_lsb: columns(&|col| draws.column_offset_lsb(array, col)),
        read_back: None,
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::effects::column_gain::ColumnGain;
    use nvcim_chip::effects::column_offset::ColumnOffset;
    use nvcim_chip::effects::stuck::{Clusters, Stuck};
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
        chip.effects.stuck = Some(Stuck { stuck_gmin: 0.02, stuck_gmax: 0.05, ..Stuck::default() });
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
    fn dead_lines_are_dead_from_end_to_end() {
        let mut chip = plain_chip();
        (chip.arrays.n_rows, chip.arrays.n_cols) = (400, 500);
        chip.effects.stuck = Some(Stuck { dead_rows: 0.1, dead_cols: 0.2, ..Stuck::default() });
        let die = sample_die(&chip, 1, 1);
        let dead = &die.arrays[ArrayId::new(0)].stuck;
        assert!(dead.iter().all(|cell| cell.g == 0.0));
        let rows =
            (0..400).filter(|row| dead.iter().filter(|cell| cell.row == *row).count() == 500);
        let cols =
            (0..500).filter(|col| dead.iter().filter(|cell| cell.col == *col).count() == 400);
        let (rows, cols) = (rows.count(), cols.count());
        // Four standard errors: 24 of 40 rows, 36 of 100 columns.
        assert!(rows.abs_diff(40) < 24 && cols.abs_diff(100) < 36, "{rows} {cols}");
        assert_eq!(dead.len(), rows * 500 + cols * 400 - rows * cols);
    }

    /// Mean number of stuck cells and, per quadrat, its variance over its mean: 1 for cells that stick on
    /// their own, 1 + size for clusters that are small against a quadrat.
    fn quadrat_counts(stuck: Stuck) -> (f64, f64) {
        const SIDE: u32 = 50;
        let mut chip = plain_chip();
        (chip.arrays.n_rows, chip.arrays.n_cols) = (1000, 1000);
        chip.effects.stuck = Some(stuck);
        let die = sample_die(&chip, 1, 1);
        let mut counts = vec![0.0f64; 400];
        for cell in &die.arrays[ArrayId::new(0)].stuck {
            counts[(cell.row / SIDE * 20 + cell.col / SIDE) as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 400.0;
        let variance = counts.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 399.0;
        (mean, variance / mean)
    }

    #[test]
    fn clusters_gather_what_is_scattered_otherwise() {
        let clusters = Clusters { density: 0.002, size: 8.0, spread_cells: 3.0, at_gmax: 0.5 };
        let (mean, index) = quadrat_counts(Stuck { clusters, ..Stuck::default() });
        // Expected: 0.002 x 2500 cells x 8 = 40 less what falls outside or twice, some 6 %; the mean of
        // 400 quadrats has a standard error of sqrt(40 x 9 / 400) = 0.95. The index, 9 less what leaves
        // its quadrat, has one of 9 sqrt(2 / 399) = 0.64.
        assert!((33.0..42.0).contains(&mean), "{mean}");
        assert!((4.5..10.5).contains(&index), "{index}");
        let alone = Stuck { stuck_gmin: 0.016, ..Stuck::default() };
        let (mean, index) = quadrat_counts(alone);
        // Four standard errors: 4 sqrt(40 / 400) of the mean, 4 sqrt(2 / 399) of the index.
        assert!((mean - 40.0).abs() < 1.27 && (index - 0.984).abs() < 0.29, "{mean} {index}");
    }

    #[test]
    fn a_cluster_sticks_at_one_level_and_the_levels_have_their_shares() {
        let mut chip = plain_chip();
        (chip.arrays.n_rows, chip.arrays.n_cols) = (1000, 1000);
        let clusters = Clusters { density: 0.001, size: 4.0, spread_cells: 0.5, at_gmax: 0.3 };
        chip.effects.stuck = Some(Stuck { clusters, ..Stuck::default() });
        let die = sample_die(&chip, 2, 1);
        let stuck = &die.arrays[ArrayId::new(0)].stuck;
        let high = stuck.iter().filter(|cell| cell.g == chip.cell.g_max as f32).count() as f64;
        let share = high / stuck.len() as f64;
        // Some 1000 clusters, each counted about as often as it has cells: four standard errors of a
        // share, 4 sqrt(0.21 / 1000 x 1.25).
        assert!((share - 0.3).abs() < 0.065, "{share}");
    }

    #[test]
    fn dies_differ_by_seed_and_grow_at_the_end() {
        let mut chip = plain_chip();
        chip.effects.stuck = Some(Stuck { stuck_gmin: 0.3, stuck_gmax: 0.3, ..Stuck::default() });
        chip.effects.column_gain = Some(ColumnGain { sd: 0.05, ..ColumnGain::default() });
        let (small, large) = (sample_die(&chip, 1, 2), sample_die(&chip, 1, 3));
        assert!(small.arrays.iter().eq(large.arrays.iter().take(2)));
        assert_ne!(small.arrays[ArrayId::new(0)], small.arrays[ArrayId::new(1)]);
        assert_ne!(small.arrays, sample_die(&chip, 2, 2).arrays);
    }
}
