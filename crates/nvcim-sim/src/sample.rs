//! Draws one die of a chip: the part that a lab could measure.

use std::collections::BTreeMap;

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::Effect;
use nvcim_chip::effects::stuck::Clusters;
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

/// Cells that stick on their own, under clusters, under dead lines: where several speak of one cell, the
/// later one holds.
fn sample_stuck(chip: &Chip, seed: u64, array: u32) -> Vec<StuckCell> {
    let Some(model) = chip.effects.stuck else { return Vec::new() };
    let stream = Stream::new(0, seed, Effect::Stuck);
    let (n_rows, n_cols) = (chip.arrays.n_rows as u32, chip.arrays.n_cols as u32);
    let mut stuck = BTreeMap::new();
    for (row, col) in (0..n_rows).flat_map(|row| (0..n_cols).map(move |col| (row, col))) {
        if let Some(g) = model.decide(stream.uniform([array, row, col, 0]), &chip.cell) {
            stuck.insert((row, col), g);
        }
    }
    if model.clusters.density > 0.0 {
        sample_clusters(chip, &model.clusters, &stream, array, &mut stuck);
    }
    let dead_row = |row: &u32| stream.uniform([array, *row, NO_LINE, 0]) < model.dead_rows;
    for row in (0..n_rows).filter(dead_row) {
        stuck.extend((0..n_cols).map(|col| ((row, col), 0.0)));
    }
    let dead_col = |col: &u32| stream.uniform([array, NO_LINE, *col, 0]) < model.dead_cols;
    for col in (0..n_cols).filter(dead_col) {
        stuck.extend((0..n_rows).map(|row| ((row, col), 0.0)));
    }
    stuck.into_iter().map(|((row, col), g)| StuckCell { row, col, g: g as f32 }).collect()
}

/// Stands for a line in the place of a draw about the other axis alone; no array has so many.
const NO_LINE: u32 = u32::MAX;

/// Draws each cell's chance to be the centre of a cluster, and the cells of those that are. The draws of
/// a centre: whether it is one, how many cells it has, where these stick, then two places a cell.
fn sample_clusters(
    chip: &Chip,
    model: &Clusters,
    stream: &Stream,
    array: u32,
    stuck: &mut BTreeMap<(u32, u32), f64>,
) {
    let (n_rows, n_cols) = (chip.arrays.n_rows as u32, chip.arrays.n_cols as u32);
    for (row, col) in (0..n_rows).flat_map(|row| (0..n_cols).map(move |col| (row, col))) {
        let uniform = |k| stream.uniform([array, row, col, k]);
        if uniform(1) >= model.density {
            continue;
        }
        let g = model.decide_level(uniform(3), &chip.cell);
        for cell in 0..model.decide_size(uniform(2)) {
            let z = |axis| stream.normal([array, row, col, 4 + 2 * cell + axis]);
            let place =
                model.decide_line(row, z(0), n_rows).zip(model.decide_line(col, z(1), n_cols));
            stuck.extend(place.map(|place| (place, g)));
        }
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
