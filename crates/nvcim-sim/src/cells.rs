//! The cells of one array: what was programmed where, and what current sees of it.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::effects::conductance::CellChain;
use nvcim_chip::effects::draws::{CellDraws, CellPlace};
use nvcim_chip::effects::read::{ReadCell, ReadNoise};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::random::Stream;
use nvcim_chip::record::ArrayRecord;

use crate::answer::Answer;
use crate::conditions::Conditions;

/// The cells of one array.
#[derive(Debug, Clone)]
pub(crate) struct ArrayCells {
    /// Conductances at the time of use, in siemens, `[word lines, bit lines]`.
    conductances: Array2<f64>,
    /// Conductances just after programming, in siemens; read noise may depend on them.
    programmed: Array2<f64>,
    /// How often each cell has been programmed.
    writes: Array2<u32>,
    /// Cells that hold one conductance whatever is programmed.
    stuck: BTreeMap<(u32, u32), f64>,
    noise: Option<ReadNoise>,
    /// The draws of read noise that never changes, and the array that names them.
    frozen: Option<(Stream, u32)>,
    cell: Cell,
    at_s: f64,
    /// What full-scale drives make of bit lines' currents, over their voltage, where it is worked out.
    seen: Option<Array2<f64>>,
}

impl ArrayCells {
    /// Cells as they come: at `g_min`, or stuck where the record says so and the effect acts.
    pub(crate) fn new(chip: &Chip, record: &ArrayRecord, conditions: &Conditions) -> Self {
        let Conditions { effects, at_s, .. } = *conditions;
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
        Self {
            programmed: conductances.clone(),
            conductances,
            writes: Array2::zeros(dim),
            stuck,
            noise: chip.effects.read.filter(|_| effects.has(Effect::Read)),
            frozen: None,
            cell: chip.cell,
            at_s,
            seen: None,
        }
    }

    /// The same cells, seen through read noise that holds for the life of the die: every read and every
    /// product finds the same error.
    pub(crate) fn with_frozen_noise(self, stream: Stream, array: u32) -> Self {
        Self { frozen: Some((stream, array)), ..self }
    }

    /// Programs the cells at the crossings of `rows` and `cols`, all inside, to `targets`.
    pub(crate) fn program(
        &mut self,
        writer: &Writer<'_>,
        rows: &[u32],
        cols: &[u32],
        targets: ArrayView2<'_, f32>,
    ) {
        self.seen = None;
        let (mut written, mut z) = (Vec::with_capacity(cols.len()), Vec::new());
        for (&row, targets) in rows.iter().zip(targets.outer_iter()) {
            written.clear();
            for &col in cols {
                let writes = &mut self.writes[(row as usize, col as usize)];
                written.push((CellPlace { array: writer.array, row, col }, *writes));
                *writes += 1;
            }
            writer.draws.fill_all(&written, &mut z);
            let n_draws = writer.draws.n_draws();
            for (cell, (&(place, _), &target)) in written.iter().zip(targets).enumerate() {
                if self.stuck.contains_key(&(row, place.col)) {
                    continue;
                }
                let z = &z[cell * n_draws..(cell + 1) * n_draws];
                let life = writer.chain.follow(f64::from(target), place, z, None);
                let at = (row as usize, place.col as usize);
                self.programmed[at] = life.programmed;
                self.conductances[at] = life.used;
            }
        }
    }

    /// The conductance of a cell inside, in siemens, with what noise is frozen into it.
    #[inline]
    pub(crate) fn conductance(&self, row: u32, col: u32) -> f64 {
        let g = self.conductances[(row as usize, col as usize)];
        self.frozen.map_or(g, |(stream, array)| {
            (g + self.spread(row, col) * stream.normal([array, row, col, 0])).max(0.0)
        })
    }

    /// All conductances, in siemens, `[word lines, bit lines]`.
    pub(crate) fn conductances(&self) -> Array2<f64> {
        Array2::from_shape_fn(self.conductances.dim(), |(row, col)| {
            self.conductance(row as u32, col as u32)
        })
    }

    /// Works out what drives see, unless it has been since the last programming.
    pub(crate) fn look(&mut self, answer: &Answer) {
        if self.seen.is_none() {
            self.seen = answer.linear(self);
        }
    }

    /// What a full-scale drive of `row` makes of the current of bit line `col`, over its voltage, in
    /// siemens, after [`ArrayCells::look`].
    #[inline]
    pub(crate) fn seen(&self, row: u32, col: u32) -> f64 {
        match &self.seen {
            Some(seen) => seen[(row as usize, col as usize)],
            None => self.conductance(row, col),
        }
    }

    /// The standard deviation of one read of a cell inside, in siemens; 0 where all reads are alike.
    pub(crate) fn read_sd(&self, row: u32, col: u32) -> f64 {
        if self.frozen.is_some() { 0.0 } else { self.spread(row, col) }
    }

    /// The standard deviation of a cell's read noise, in siemens; 0 where there is none.
    fn spread(&self, row: u32, col: u32) -> f64 {
        let at = (row as usize, col as usize);
        let (programmed, g) = (self.programmed[at], self.conductances[at]);
        let read = ReadCell { programmed, g, at_s: self.at_s };
        self.noise.map_or(0.0, |noise| noise.sd(&self.cell, &read))
    }
}

/// What happens to cells of one array that are programmed: the chain of effects with its draws.
pub(crate) struct Writer<'a> {
    chain: CellChain<'a>,
    draws: CellDraws,
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
        Self { draws: chain.draws(die_seed), chain, array }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use nvcim_chip::describe::{Cell, Chip};
    use nvcim_chip::effects::drift::{Drift, LogTime};
    use nvcim_chip::effects::fit::Fit;
    use nvcim_chip::effects::programming::Programming;
    use nvcim_chip::effects::read::{ReadForm, ReadNoise};
    use nvcim_chip::effects::{Effect, EffectSet};
    use nvcim_chip::record::{ArrayRecord, StuckCell};

    use super::{ArrayCells, Writer};
    use crate::conditions::Conditions;
    use crate::testing::{fresh, plain_chip};

    const ALL: EffectSet = EffectSet::ALL;

    fn programmed(chip: &Chip, set: EffectSet, at_s: f64, die: u64) -> Vec<f64> {
        let (n_rows, n_cols) = (chip.arrays.n_rows as u32, chip.arrays.n_cols as u32);
        let mut cells = ArrayCells::new(chip, &ArrayRecord::default(), &fresh(set));
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
        chip.effects.programming = Some(Programming::Range { sd_of_range: 0.03 });
        chip.effects.drift = Some(Drift::power(0.05, 0.01, 20.0));
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
            let mut cells = ArrayCells::new(&chip, &ArrayRecord::default(), &fresh(set));
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

    /// How a cell relaxes is drawn with every write, unlike the exponent of a power law.
    #[test]
    fn a_second_write_relaxes_anew_and_two_times_see_one_draw() {
        let mut chip = large_chip();
        chip.effects.drift = Some(Drift::LogTime(LogTime {
            shift_us: 0.0,
            sd_us: 1.0,
            sd_slope_us: 0.5,
            t0_s: 1.0,
        }));
        let set = ALL.without(Effect::Programming);
        let mut cells = ArrayCells::new(&chip, &ArrayRecord::default(), &fresh(set));
        let mut write = |at_s| {
            let writer = Writer::new(&chip, set, at_s, 1, 0);
            cells.program(&writer, &[3], &[4], array![[50e-6f32]].view());
            (cells.conductance(3, 4) - f64::from(50e-6f32)) * 1e6
        };
        let (first, second) = (write(1e3), write(1e3));
        assert_ne!(first, second);
        cells = ArrayCells::new(&chip, &ArrayRecord::default(), &fresh(set));
        let mut write = |at_s| {
            let writer = Writer::new(&chip, set, at_s, 1, 0);
            cells.program(&writer, &[3], &[4], array![[50e-6f32]].view());
            (cells.conductance(3, 4) - f64::from(50e-6f32)) * 1e6
        };
        // The first write again, at a later time: the same draw under a larger spread.
        let spread = |at_s: f64| 1.0 + 0.5 * libm::log1p(at_s);
        let later = write(1e6);
        assert!((later / spread(1e6) - first / spread(1e3)).abs() < 1e-9, "{first} {later}");
    }

    #[test]
    fn read_noise_sees_what_was_programmed_and_when() {
        let mut chip = plain_chip();
        chip.effects.drift = Some(Drift::power(0.05, 0.0, 20.0));
        let form = ReadForm::Flicker { share: Fit::Constant(0.01), t0_s: 20.0, t_read_s: 250e-9 };
        chip.effects.read = Some(ReadNoise { form, ..ReadNoise::share(0.0) });
        let read_sd = |at_s, set| {
            let conditions = Conditions { at_s, ..fresh(set) };
            let mut cells = ArrayCells::new(&chip, &ArrayRecord::default(), &conditions);
            let writer = Writer::new(&chip, set, at_s, 1, 0);
            cells.program(&writer, &[3], &[4], array![[50e-6f32]].view());
            (cells.conductance(3, 4), cells.read_sd(3, 4))
        };
        let (g, sd) = read_sd(1e6, ALL);
        let expected = 0.01 * g * libm::log((1e6 + 20.0 + 250e-9) / 500e-9).sqrt();
        assert!((sd / expected - 1.0).abs() < 1e-12, "{sd} {expected}");
        assert_eq!(read_sd(0.0, ALL).1, 0.0);
        assert_eq!(read_sd(1e6, ALL.without(Effect::Read)).1, 0.0);
    }

    #[test]
    fn cells_rest_at_g_min_and_stuck_ones_where_they_stick() {
        let mut chip = plain_chip();
        chip.effects.programming = Some(Programming::Range { sd_of_range: 0.03 });
        let stuck = vec![StuckCell { row: 1, col: 2, g: 3e-4 }];
        let record = ArrayRecord { stuck, ..ArrayRecord::default() };
        let mut cells = ArrayCells::new(&chip, &record, &fresh(ALL));
        assert_eq!(cells.conductance(0, 0), chip.cell.g_min);
        let writer = Writer::new(&chip, ALL, 0.0, 0, 0);
        cells.program(&writer, &[1], &[1, 2], array![[5e-5, 5e-5]].view());
        assert_ne!(cells.conductance(1, 1), chip.cell.g_min);
        assert_eq!(cells.conductance(1, 2), f64::from(3e-4f32));
        let healed = ArrayCells::new(&chip, &record, &fresh(ALL.without(Effect::Stuck)));
        assert_eq!(healed.conductance(1, 2), chip.cell.g_min);
    }
}
