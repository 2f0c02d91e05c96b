//! The cells of one array: what was programmed where, and what current sees of it.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::conductance::CellChain;
use nvcim_chip::effects::read::ReadNoise;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::random::Stream;
use nvcim_chip::record::ArrayRecord;

/// The cells of one array.
#[derive(Debug, Clone)]
pub(crate) struct ArrayCells {
    /// Conductances at the time of use, in siemens, `[word lines, bit lines]`.
    conductances: Array2<f64>,
    /// How often each cell has been programmed.
    writes: Array2<u32>,
    /// Cells that hold one conductance whatever is programmed.
    stuck: BTreeMap<(u32, u32), f64>,
    /// Read noise that never changes, with its draws and the array that names them.
    frozen: Option<(ReadNoise, Stream, u32)>,
}

impl ArrayCells {
    /// Cells as they come: at `g_min`, or stuck where the record says so and the effect acts.
    pub(crate) fn new(chip: &Chip, record: &ArrayRecord, effects: EffectSet) -> Self {
        let dim = (chip.arrays.n_rows, chip.arrays.n_cols);
        let mut conductances = Array2::from_elem(dim, chip.cell.g_min);
        let mut stuck = BTreeMap::new();
        for cell in record.stuck.iter().filter(|_| effects.has(Effect::Stuck)) {
            // A record that fits the chip names no cell outside.
            if let Some(g) = conductances.get_mut((cell.row as usize, cell.col as usize)) {
                *g = f64::from(cell.g);
                stuck.insert((cell.row, cell.col), *g);
            }
        }
        Self { conductances, writes: Array2::zeros(dim), stuck, frozen: None }
    }

    /// The same cells, seen through read noise that holds for the life of the die: every read and every
    /// product finds the same error.
    pub(crate) fn with_frozen_noise(self, noise: ReadNoise, stream: Stream, array: u32) -> Self {
        Self { frozen: Some((noise, stream, array)), ..self }
    }

    /// Programs the cells at the crossings of `rows` and `cols`, all inside, to `targets`.
    pub(crate) fn program(
        &mut self,
        writer: &Writer<'_>,
        rows: &[u32],
        cols: &[u32],
        targets: ArrayView2<'_, f32>,
    ) {
        let mut draws = Vec::with_capacity(writer.streams.len());
        for (&row, targets) in rows.iter().zip(targets.outer_iter()) {
            for (&col, &target) in cols.iter().zip(targets) {
                let at = (row as usize, col as usize);
                let write = self.writes[at];
                self.writes[at] += 1;
                if self.stuck.contains_key(&(row, col)) {
                    continue;
                }
                draws.clear();
                draws.extend(writer.draws(row, col, write));
                let target = f64::from(target);
                self.conductances[at] = writer.chain.conductance(target, &draws, None);
            }
        }
    }

    /// The conductance of a cell inside, in siemens, with what noise is frozen into it.
    pub(crate) fn conductance(&self, row: u32, col: u32) -> f64 {
        let g = self.conductances[(row as usize, col as usize)];
        self.frozen.map_or(g, |(noise, stream, array)| {
            g + noise.sd(g) * stream.normal([array, row, col, 0])
        })
    }
}

/// What happens to cells of one array that are programmed: the chain of effects with its draws.
pub(crate) struct Writer<'a> {
    chain: CellChain<'a>,
    streams: Vec<(Effect, Stream)>,
    array: u32,
}

impl<'a> Writer<'a> {
    /// The effects of `set` on cells of `array` of the die that `die_seed` draws, `at_s` seconds on.
    pub(crate) fn new(
        chip: &'a Chip,
        set: EffectSet,
        at_s: f64,
        die_seed: u64,
        array: u32,
    ) -> Self {
        let chain = CellChain::new(chip, set, at_s);
        // What a die is does not depend on the run, hence the run seed 0.
        let streams =
            chain.effects().map(|effect| (effect, Stream::new(0, die_seed, effect))).collect();
        Self { chain, streams, array }
    }

    /// The cell's standard normal draw for each effect of the chain, on its `write`-th programming.
    fn draws(&self, row: u32, col: u32, write: u32) -> impl Iterator<Item = f64> {
        self.streams.iter().map(move |(effect, stream)| {
            // How fast a cell drifts is the cell's own; where it ends differs from write to write.
            let draw = if *effect == Effect::Drift { 0 } else { write };
            stream.normal([self.array, row, col, draw])
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use nvcim_chip::describe::{Cell, Chip};
    use nvcim_chip::effects::drift::Drift;
    use nvcim_chip::effects::programming::Programming;
    use nvcim_chip::effects::{Effect, EffectSet};
    use nvcim_chip::record::{ArrayRecord, StuckCell};

    use super::{ArrayCells, Writer};
    use crate::testing::plain_chip;

    const ALL: EffectSet = EffectSet::ALL;

    fn programmed(chip: &Chip, set: EffectSet, at_s: f64, die: u64) -> Vec<f64> {
        let (n_rows, n_cols) = (chip.arrays.n_rows as u32, chip.arrays.n_cols as u32);
        let mut cells = ArrayCells::new(chip, &ArrayRecord::default(), set);
        let lines: (Vec<_>, Vec<_>) = ((0..n_rows).collect(), (0..n_cols).collect());
        let targets = Array2::from_elem((n_rows as usize, n_cols as usize), 50e-6);
        let writer = Writer::new(chip, set, at_s, die, 0);
        cells.program(&writer, &lines.0, &lines.1, targets.view());
        cells.conductances.into_iter().collect()
    }

    fn large_chip() -> Chip {
        let mut chip = plain_chip();
        (chip.arrays.n_rows, chip.arrays.n_cols) = (100, 200);
        chip.cell = Cell { g_min: 0.0, g_max: 100e-6, n_levels: None };
        chip.effects.programming = Some(Programming { sd_of_range: 0.03 });
        chip.effects.drift = Some(Drift { nu_mean: 0.05, nu_sd: 0.01, t0_s: 20.0 });
        chip
    }

    fn mean_and_sd(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn programming_errors_have_the_stated_spread() {
        let (mean, sd) = mean_and_sd(&programmed(&large_chip(), ALL, 0.0, 1));
        // Four standard errors over 20 000 cells: 2.8 % of the spread for the mean, 2 % for itself.
        assert!((mean - 50e-6).abs() < 0.028 * 3e-6, "{mean}");
        assert!((sd / 3e-6 - 1.0).abs() < 0.02, "{sd}");
    }

    #[test]
    fn drift_follows_its_power_law() {
        let set = ALL.without(Effect::Programming);
        let year = 3.155_76e7;
        let drifted = programmed(&large_chip(), set, year, 1);
        // The exponents back from the conductances: mean 0.05 and spread 0.01.
        let decades = libm::log1p(year / 20.0);
        let exponents: Vec<_> =
            drifted.iter().map(|g| -libm::log(g / f64::from(50e-6f32)) / decades).collect();
        let (mean, sd) = mean_and_sd(&exponents);
        assert!((mean - 0.05).abs() < 0.028 * 0.01, "{mean}");
        assert!((sd / 0.01 - 1.0).abs() < 0.02, "{sd}");
    }

    #[test]
    fn the_hidden_part_is_the_dies_own() {
        let chip = large_chip();
        assert_eq!(programmed(&chip, ALL, 1.0, 1), programmed(&chip, ALL, 1.0, 1));
        assert_ne!(programmed(&chip, ALL, 1.0, 1), programmed(&chip, ALL, 1.0, 2));
    }

    #[test]
    fn a_second_write_errs_anew_and_drifts_alike() {
        let write_twice = |set, at_s| {
            let chip = large_chip();
            let mut cells = ArrayCells::new(&chip, &ArrayRecord::default(), set);
            let writer = Writer::new(&chip, set, at_s, 1, 0);
            let targets = array![[50e-6f32]];
            let mut write = || {
                cells.program(&writer, &[3], &[4], targets.view());
                cells.conductance(3, 4)
            };
            (write(), write())
        };
        let (first, second) = write_twice(ALL.without(Effect::Drift), 0.0);
        assert_ne!(first, second);
        let (first, second) = write_twice(ALL.without(Effect::Programming), 1e6);
        assert_eq!(first, second);
    }

    #[test]
    fn cells_rest_at_g_min_and_stuck_ones_where_they_stick() {
        let mut chip = plain_chip();
        chip.effects.programming = Some(Programming { sd_of_range: 0.03 });
        let stuck = vec![StuckCell { row: 1, col: 2, g: 3e-4 }];
        let record = ArrayRecord { stuck, ..ArrayRecord::default() };
        let mut cells = ArrayCells::new(&chip, &record, ALL);
        assert_eq!(cells.conductance(0, 0), chip.cell.g_min);
        let writer = Writer::new(&chip, ALL, 0.0, 0, 0);
        cells.program(&writer, &[1], &[1, 2], array![[5e-5, 5e-5]].view());
        assert_ne!(cells.conductance(1, 1), chip.cell.g_min);
        assert_eq!(cells.conductance(1, 2), f64::from(3e-4f32));
        let healed = ArrayCells::new(&chip, &record, ALL.without(Effect::Stuck));
        assert_eq!(healed.conductance(1, 2), chip.cell.g_min);
    }
}
