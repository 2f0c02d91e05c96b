//! A simulated die: programs, reads and converts as a bench would, on one draw of a chip.
//!
//! The measured part of a die (stuck cells, column gain and offset) comes from its record. The hidden
//! rest (programming error, drift) is drawn here, keyed by the record's seed, so that a net compiled for
//! the die and an image simulated on it meet the same cells. Noise is keyed by the run.

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayView2};
use nvcim_chip::describe::{Chip, NegativeInputs, PairAxis};
use nvcim_chip::die::{Conversion, Die};
use nvcim_chip::effects::Effect;
use nvcim_chip::effects::read::Correlation;
use nvcim_chip::random::Stream;
use nvcim_chip::real::Real;
use nvcim_chip::record::{ArrayRecord, DieRecord};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, Id, IdVec};
use nvcim_ops::run_program::{Columns, Nth};
use rayon::prelude::*;

use crate::answer::Answer;
use crate::cells::{ArrayCells, Writer};
use crate::circuits::{Levels, draw_gain_age};
use crate::conditions::Conditions;
use crate::drive::{Coding, Driver, Drives, Part};
use crate::kernel::{Currents, Kernel, Scratch};
use crate::network::Network;
use crate::noise::{Block, Purpose, place};
use crate::periphery::{Periphery, Sense};
use crate::prepared::{Asked, Prepared, Ready};
use crate::tap::{Tap, tap_lines};
use crate::wired::Wired;

/// The largest array that is simulated: 340 MB.
const MAX_CELLS: usize = 1 << 24;

/// A simulated die.
#[derive(Debug, Clone)]
pub struct SimDie {
    setup: Setup,
    /// Made when first touched: most networks use few arrays of a chip.
    arrays: IdVec<ArrayId, Option<ArrayCells>>,
    /// Drawn as converters are used.
    levels: Levels,
    /// What measurements asked for last, dropped whenever a cell is programmed: nothing else that it is made
    /// of ever changes.
    prepared: Prepared,
    /// Measurements so far; each draws its own noise.
    calls: u64,
}

/// All cells of an array as they are, `[word lines, bit lines]` each.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueCells {
    /// Conductances at the time of use in siemens, with noise that is frozen into them.
    pub conductances: Array2<f64>,
    /// Standard deviations of one read in siemens, where reads differ; else 0.
    pub read_sds: Array2<f64>,
}

/// What is given of a die, and never changes.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) chip: Chip,
    record: DieRecord,
    pub(crate) conditions: Conditions,
    pub(crate) die_seed: u64,
    pub(crate) periphery: Periphery,
    pub(crate) answer: Answer,
}

impl SimDie {
    /// A die with nothing programmed yet: every cell at `g_min`, or stuck.
    ///
    /// The record must fit the chip, see [`crate::check::check_record`]. A record without a seed is that
    /// of a real die: the run's seed draws its hidden part.
    pub fn new(chip: &Chip, record: &DieRecord, conditions: Conditions) -> Self {
        let die_seed = record.seed.unwrap_or(conditions.run_seed);
        let periphery = Periphery::new(chip, die_seed, &conditions);
        let answer = Answer::new(chip, conditions.effects);
        let (chip, record) = (chip.clone(), record.clone());
        Self {
            arrays: record.arrays.iter().map(|_| None).collect(),
            setup: Setup { chip, record, conditions, die_seed, periphery, answer },
            levels: Levels::default(),
            prepared: Prepared::default(),
            calls: 0,
        }
    }

    /// The drivers of the die.
    pub(crate) fn driver<T: Real>(&self) -> Driver<T> {
        Driver::new(&self.setup.periphery)
    }

    /// Touches arrays and works out what their drives see, all of them at a time.
    ///
    /// # Errors
    /// An array that the die does not have, or a time of use that its devices are not known at.
    pub(crate) fn look_at(&mut self, arrays: &BTreeSet<ArrayId>) -> Result<()> {
        for &array in arrays {
            self.setup.touch(&mut self.arrays, array)?;
        }
        let mut touched: Vec<_> = self.arrays.iter_mut().flatten().collect();
        touched.par_iter_mut().for_each(|cells| cells.look(&self.setup.answer));
        Ok(())
    }

    /// Prepares conversions over `n_rows` drives of the cells that the die's arrays now have.
    ///
    /// # Errors
    /// An array that the die does not have.
    pub(crate) fn prepare<T: Real>(
        &mut self,
        taps: &[Tap<'_>],
        n_rows: usize,
    ) -> Result<Kernel<T>> {
        let (currents, network) = self.wire(taps, n_rows)?;
        let senses = self.senses(taps);
        Ok(Kernel::new(&self.setup.periphery, &currents, &senses).with_network(network))
    }

    /// What conversions see of the cells, whatever their ranges.
    fn wire(&mut self, taps: &[Tap<'_>], n_rows: usize) -> Result<(Currents, Option<Network>)> {
        self.look_at(&taps.iter().flat_map(|tap| &tap.terms).map(|term| term.array).collect())?;
        let wiring = Wired::new(&self.setup, &self.arrays, taps, n_rows);
        Ok((wiring.currents(), wiring.network()))
    }

    /// The way of currents to codes.
    fn senses(&mut self, taps: &[Tap<'_>]) -> Vec<Sense> {
        taps.iter().map(|tap| self.setup.sense(&mut self.levels, tap)).collect()
    }

    /// Checks and prepares what a measurement asks for, with what is kept of the last measurements.
    fn prepare_call(&mut self, asked: Asked) -> Result<Ready> {
        let kept = match self.prepared.take(&asked) {
            Some(kept) if kept.asked == asked => return Ok(kept),
            kept => kept,
        };
        let taps = tap_lines(asked.array, &asked.rows, &asked.conversions);
        for term in taps.iter().flat_map(|tap| &tap.terms) {
            self.setup.check_lines(term.array, &asked.rows, &[term.col])?;
        }
        let (currents, network) = match kept {
            Some(Ready { currents, kernel, .. }) => (currents, kernel.into_network()),
            None => self.wire(&taps, asked.rows.len())?,
        };
        let senses = self.senses(&taps);
        let kernel = Kernel::new(&self.setup.periphery, &currents, &senses).with_network(network);
        Ok(Ready { asked, currents, kernel })
    }

    /// What the cells of an array are at the time of use: what no bench, only a simulation can say.
    ///
    /// # Errors
    /// An array that the die does not have.
    pub fn true_cells(&mut self, array: ArrayId) -> Result<TrueCells> {
        let cells = self.setup.touch(&mut self.arrays, array)?;
        let conductances = cells.conductances();
        let read_sds = Array2::from_shape_fn(conductances.dim(), |(row, col)| {
            cells.read_sd(row as u32, col as u32)
        });
        Ok(TrueCells { conductances, read_sds })
    }

    fn count_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls - 1
    }
}

impl Setup {
    /// The cells of an array, as long as what is known of them reaches to the time of use.
    fn touch<'a>(
        &self,
        arrays: &'a mut IdVec<ArrayId, Option<ArrayCells>>,
        array: ArrayId,
    ) -> Result<&'a mut ArrayCells> {
        let Self { chip, record, conditions, .. } = self;
        let Some(measured) = record.arrays.get(array) else {
            let message = format!("has {} arrays, but {array} is used", record.arrays.len());
            let hint = "sample or import the die with every array of the chip";
            let place = format!("die `{}`", record.name);
            return Err(Diagnostic::bad_input(place, message).hint(hint).into());
        };
        conditions.check_time(chip)?;
        let (n_rows, n_cols) = (chip.arrays.n_rows, chip.arrays.n_cols);
        if n_rows.saturating_mul(n_cols) > MAX_CELLS {
            let message = format!(
                "has arrays of {n_rows}x{n_cols}, at most {MAX_CELLS} cells can be simulated"
            );
            let hint = "describe the chip with more and smaller arrays";
            let place = format!("chip `{}`", chip.name);
            return Err(Diagnostic::unsupported(place, message).hint(hint).into());
        }
        Ok(arrays[array].get_or_insert_with(|| {
            let cells = ArrayCells::new(chip, measured, conditions);
            match self.frozen_noise() {
                Some(stream) => cells.with_frozen_noise(stream, array.index() as u32),
                None => cells,
            }
        }))
    }

    /// The draws of read noise that never changes, where there is any: part of what the die is, whatever
    /// the run.
    fn frozen_noise(&self) -> Option<Stream> {
        let read = self.chip.effects.read.filter(|_| self.conditions.effects.has(Effect::Read));
        read.filter(|noise| noise.correlation == Correlation::Frozen)?;
        Some(Stream::new(0, self.die_seed, Effect::Read))
    }

    /// The draws of read noise that comes and goes, where there is any.
    fn read_noise(&self) -> Option<Stream> {
        self.periphery.read.map(|(_, stream)| stream)
    }

    /// The sense stage and converter of a conversion, at the time of use.
    ///
    /// A gain is what was measured times what became of it since, rounded once to f32.
    fn sense(&self, levels: &mut Levels, tap: &Tap<'_>) -> Sense {
        let Self { chip, conditions, die_seed, .. } = self;
        let &Tap { array, line, range, .. } = tap;
        let has = |effect| conditions.effects.has(effect);
        let converter = chip.circuits.adc.converter_of(line);
        let record = self.record.arrays.get(array);
        let measured = |effect, pick: fn(&ArrayRecord) -> &[f32]| {
            let record = record.filter(|_| self.conditions.effects.has(effect))?;
            pick(record).get(line as usize).copied()
        };
        let gain = measured(Effect::ColumnGain, |it| &it.column_gain).unwrap_or(1.0);
        let age = if has(Effect::ColumnGain) {
            draw_gain_age(chip, *die_seed, array, converter, conditions.at_s)
        } else {
            1.0
        };
        let mut draw_levels = || levels.of_line(chip, *die_seed, array, line);
        Sense {
            gain: (f64::from(gain) * age) as f32,
            offset_lsb: measured(Effect::ColumnOffset, |it| &it.column_offset_lsb).unwrap_or(0.0),
            range: [range.lo, range.hi].map(f64::from),
            levels: if has(Effect::Adc) { draw_levels() } else { None },
        }
    }

    /// Checks that lines lie inside the chip's arrays.
    fn check_lines(&self, array: ArrayId, rows: &[u32], cols: &[u32]) -> Result<()> {
        let size = &self.chip.arrays;
        for (kind, lines, limit) in [("word", rows, size.n_rows), ("bit", cols, size.n_cols)] {
            if let Some(line) = lines.iter().find(|line| **line as usize >= limit) {
                return refuse(array, format!("has {limit} {kind} lines, number {line} is used"));
            }
        }
        Ok(())
    }

    /// Checks that there is a drive for every row, and drivers for every sign.
    fn check_drives(
        &self,
        array: ArrayId,
        rows: &[u32],
        drives: ArrayView2<'_, f32>,
    ) -> Result<()> {
        if drives.ncols() != rows.len() {
            return refuse(
                array,
                format!("gets {} drives for {} rows", drives.ncols(), rows.len()),
            );
        }
        let both_ways = self.chip.dac.negative == NegativeInputs::SignMagnitude
            || self.chip.arrays.pairs == PairAxis::Rows;
        if !both_ways && drives.iter().any(|drive| *drive < 0.0) {
            return refuse(array, "is driven below 0 by drivers of one polarity".into());
        }
        Ok(())
    }
}

/// A caller asks for what no verified net has.
fn refuse(array: ArrayId, message: String) -> Result<()> {
    Err(Diagnostic::internal(array.to_string(), message).into())
}

impl Die for SimDie {
    fn program(
        &mut self,
        array: ArrayId,
        rows: &[u32],
        cols: &[u32],
        targets: ArrayView2<'_, f32>,
    ) -> Result<()> {
        let Self { setup, arrays, prepared, .. } = self;
        setup.check_lines(array, rows, cols)?;
        let dim = (rows.len(), cols.len());
        if targets.dim() != dim {
            return refuse(array, format!("gets {:?} targets for {dim:?} cells", targets.dim()));
        }
        let Conditions { effects, at_s, .. } = setup.conditions;
        let number = array.index() as u32;
        let writer = Writer::new(&setup.chip, effects, at_s, setup.die_seed, number);
        prepared.clear();
        setup.touch(arrays, array)?.program(&writer, rows, cols, targets);
        Ok(())
    }

    fn read(&mut self, array: ArrayId, rows: &[u32], cols: &[u32]) -> Result<Array2<f32>> {
        self.setup.check_lines(array, rows, cols)?;
        let call = self.count_call();
        let noise = self.setup.read_noise();
        let cells = self.setup.touch(&mut self.arrays, array)?;
        let mut z = vec![0.0; rows.len() * cols.len()];
        if let Some(stream) = noise {
            stream.fill_normals(place(Purpose::Read, array.index() as u32, call), &mut z);
        }
        Ok(Array2::from_shape_fn((rows.len(), cols.len()), |(row, col)| {
            let g = cells.conductance(rows[row], cols[col]);
            let sd = cells.read_sd(rows[row], cols[col]);
            (g + sd * f64::from(z[row * cols.len() + col])) as f32
        }))
    }

    fn mvm(
        &mut self,
        array: ArrayId,
        rows: &[u32],
        drives: ArrayView2<'_, f32>,
        conversions: &[Conversion],
    ) -> Result<Array2<f32>> {
        self.setup.check_drives(array, rows, drives)?;
        let asked = Asked { array, rows: rows.to_vec(), conversions: conversions.to_vec() };
        let ready = self.prepare_call(asked)?;
        let columns = Columns {
            first_sample: self.count_call(),
            per_sample: drives.nrows(),
            layer_use: Nth::ONLY,
        };
        let number = array.index() as u32;
        let block = Block { purpose: Purpose::Mvm, unit: number, cells: number, columns };
        let mut driven = Drives::default();
        driven.fill(&self.driver(), &[Part::Whole], Coding::plain(1.0), drives.t(), block);
        let mut codes = vec![0.0; conversions.len() * drives.nrows()];
        let drive = driven.pass(0, 0..rows.len());
        ready.kernel.convert(&drive, block, &mut codes, &mut Scratch::default());
        self.prepared.keep(ready);
        let codes = Array2::from_shape_vec((conversions.len(), drives.nrows()), codes);
        Ok(codes.expect("one code per conversion and vector").reversed_axes())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use nvcim_chip::describe::{Chip, NegativeInputs};
    use nvcim_chip::die::{Conversion, Die};
    use nvcim_chip::effects::fit::Fit;
    use nvcim_chip::effects::programming::Programming;
    use nvcim_chip::effects::read::{Correlation, ReadForm, ReadNoise};
    use nvcim_chip::effects::{Effect, EffectSet};
    use nvcim_ir::ids::{ArrayId, Id};
    use nvcim_ir::tiled::AdcRange;

    use super::SimDie;
    use crate::conditions::Conditions;
    use crate::sample::sample_die;
    use crate::testing::{fresh, plain_chip};

    const ROWS: [u32; 2] = [5, 1];
    const COLS: [u32; 2] = [2, 7];

    fn array(index: usize) -> ArrayId {
        ArrayId::new(index)
    }

    fn die(chip: &Chip, effects: EffectSet) -> SimDie {
        SimDie::new(chip, &sample_die(chip, 0, 2), fresh(effects))
    }

    fn noisy_chip() -> Chip {
        let mut chip = plain_chip();
        chip.effects.programming = Some(Programming::Range { sd_of_range: 0.05 });
        chip.effects.read = Some(ReadNoise::share(0.02));
        chip
    }

    fn program(die: &mut SimDie, siemens: f32) {
        let targets = Array2::from_elem((2, 2), siemens);
        die.program(array(1), &ROWS, &COLS, targets.view()).unwrap();
    }

    #[test]
    fn what_is_programmed_is_read() {
        let mut die = die(&plain_chip(), EffectSet::ALL);
        die.program(array(1), &ROWS, &COLS, array![[1e-5, 2e-5], [3e-5, 4e-5]].view()).unwrap();
        let read = die.read(array(1), &[1, 0, 5], &[7, 2]).unwrap();
        assert_eq!(read, array![[4e-5, 3e-5], [0.0, 0.0], [2e-5, 1e-5]]);
        assert_eq!(die.read(array(0), &ROWS, &COLS).unwrap(), Array2::<f32>::zeros((2, 2)));
    }

    #[test]
    fn reads_scatter_round_the_programmed_cell() {
        let chip = noisy_chip();
        let mut noisy = die(&chip, EffectSet::ALL);
        let mut quiet = die(&chip, EffectSet::ALL.without(Effect::Read));
        program(&mut noisy, 5e-5);
        program(&mut quiet, 5e-5);
        let truth = quiet.read(array(1), &ROWS, &COLS).unwrap();
        let mut sum = Array2::<f32>::zeros((2, 2));
        let mut last = sum.clone();
        for _ in 0..400 {
            let read = noisy.read(array(1), &ROWS, &COLS).unwrap();
            assert_ne!(read, last);
            sum += &read;
            last = read;
        }
        // Four standard errors of a mean of 400 reads with a spread of 2 %: 0.4 %.
        let errors = (sum / 400.0 - &truth) / &truth;
        assert!(errors.iter().all(|error| error.abs() < 0.004), "{errors}");
        assert!(truth.iter().all(|g| *g != 5e-5), "{truth}");
    }

    /// Read-backs against the normal distribution, by the largest distance between both distribution
    /// functions: times the root of their number it passes 1.95 once in a thousand.
    #[test]
    fn reads_are_normal_with_the_stated_spread() {
        let mut chip = noisy_chip();
        let sd_us = Fit::Saturating { a: 2.0, b: 50.0 };
        chip.effects.read =
            Some(ReadNoise { form: ReadForm::Fit { sd_us }, ..ReadNoise::share(0.0) });
        let mut noisy = die(&chip, EffectSet::ALL);
        let mut quiet = die(&chip, EffectSet::ALL.without(Effect::Read));
        program(&mut noisy, 5e-5);
        program(&mut quiet, 5e-5);
        let truth = f64::from(quiet.read(array(1), &[5], &[2]).unwrap()[(0, 0)]);
        let sd = 2e-6 * (1.0 - libm::exp(-truth / 50e-6));
        let mut z: Vec<f64> = (0..2000)
            .map(|_| (f64::from(noisy.read(array(1), &[5], &[2]).unwrap()[(0, 0)]) - truth) / sd)
            .collect();
        z.sort_unstable_by(f64::total_cmp);
        let n = z.len() as f64;
        let distance = z.iter().enumerate().fold(0.0f64, |largest, (at, z)| {
            let expected = 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
            largest.max((expected - (at as f64 + 0.5) / n).abs() + 0.5 / n)
        });
        assert!(distance * n.sqrt() < 1.95, "{}", distance * n.sqrt());
    }

    #[test]
    fn only_dies_without_a_seed_depend_on_the_runs_seed() {
        let chip = noisy_chip();
        let read = |seed, run_seed| {
            let mut record = sample_die(&chip, 0, 2);
            record.seed = seed;
            let effects = EffectSet::ALL.without(Effect::Read);
            let mut die = SimDie::new(&chip, &record, Conditions { run_seed, ..fresh(effects) });
            program(&mut die, 5e-5);
            die.read(array(1), &ROWS, &COLS).unwrap()
        };
        assert_eq!(read(Some(4), 1), read(Some(4), 2));
        assert_ne!(read(Some(4), 1), read(Some(5), 1));
        assert_ne!(read(None, 1), read(None, 2));
    }

    #[test]
    fn conversions_answer_with_codes() {
        let mut die = die(&plain_chip(), EffectSet::ALL);
        die.program(array(1), &ROWS, &COLS, array![[1e-4, 0.0], [0.0, 5e-5]].view()).unwrap();
        let range = AdcRange { lo: -1.0, hi: 1.0 };
        let conversions = [
            Conversion { col: 2, minus: Some((array(1), 7)), range },
            Conversion { col: 7, minus: None, range },
        ];
        let drives = array![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let codes = die.mvm(array(1), &ROWS, drives.view(), &conversions).unwrap();
        // 127.5 goes to the even code; 0.5 stands 3/4 up the range.
        assert_eq!(codes, array![[128.0, 128.0], [255.0, 128.0], [64.0, 191.0]]);
    }

    #[test]
    fn a_conversion_sees_what_was_programmed_last() {
        let mut die = die(&plain_chip(), EffectSet::ALL);
        let range = AdcRange { lo: 0.0, hi: 1.0 };
        let both = |minus| [Conversion { col: 2, minus, range }];
        let mut codes_at = |siemens, minus: Option<(ArrayId, u32)>| {
            program(&mut die, siemens);
            let mut measure = || {
                die.mvm(array(1), &ROWS, array![[1.0, 0.0]].view(), &both(minus)).unwrap()[(0, 0)]
            };
            let first = measure();
            assert_eq!(measure(), first);
            first
        };
        // Shares of 1e-4 of 255 codes, on the second write as on the first.
        assert_eq!([2e-5, 6e-5, 2e-5].map(|g| codes_at(g, None)), [51.0, 153.0, 51.0]);
        // The bit line that is subtracted lies in an array of its own, and is programmed there.
        let minus = Some((array(0), 7));
        assert_eq!(codes_at(6e-5, minus), 153.0);
        die.program(array(0), &ROWS, &COLS, Array2::from_elem((2, 2), 2e-5).view()).unwrap();
        let codes = die.mvm(array(1), &ROWS, array![[1.0, 0.0]].view(), &both(minus)).unwrap();
        assert_eq!(codes, array![[102.0]]);
    }

    #[test]
    fn each_call_draws_its_own_noise() {
        let chip = noisy_chip();
        let mut die = die(&chip, EffectSet::ALL.without(Effect::Adc));
        program(&mut die, 5e-5);
        let conversion = Conversion { col: 2, minus: None, range: AdcRange { lo: 0.0, hi: 1.0 } };
        let drives = Array2::ones((3, 2));
        let mut measure = || die.mvm(array(1), &ROWS, drives.view(), &[conversion]).unwrap();
        let (first, second) = (measure(), measure());
        assert_ne!(first, second);
        assert_ne!(first[(0, 0)], first[(1, 0)]);
    }

    #[test]
    fn frozen_noise_is_the_dies_own_and_every_read_finds_it() {
        let mut chip = plain_chip();
        let frozen = ReadNoise { correlation: Correlation::Frozen, ..ReadNoise::share(0.02) };
        chip.effects.read = Some(frozen);
        let read = |die_number, run_seed| {
            let record = sample_die(&chip, die_number, 2);
            let conditions = Conditions { run_seed, ..fresh(EffectSet::ALL.without(Effect::Adc)) };
            let mut die = SimDie::new(&chip, &record, conditions);
            program(&mut die, 5e-5);
            let cells = die.read(array(1), &ROWS, &COLS).unwrap();
            assert_eq!(die.read(array(1), &ROWS, &COLS).unwrap(), cells);
            // A product over single rows sees the very cells that were read.
            let range = AdcRange { lo: 0.0, hi: 1.0 };
            let conversions = COLS.map(|col| Conversion { col, minus: None, range });
            let codes = die.mvm(array(1), &ROWS, Array2::eye(2).view(), &conversions).unwrap();
            let seen = codes.mapv(|code| code / 255.0 * 1e-4);
            assert!(seen.iter().zip(&cells).all(|(a, b)| (a / b - 1.0).abs() < 1e-5));
            cells
        };
        assert_ne!(read(0, 1)[(0, 0)], 5e-5);
        assert_eq!(read(0, 1), read(0, 2));
        assert_ne!(read(0, 1), read(1, 1));
    }

    #[test]
    fn what_the_die_lacks_is_refused() {
        let mut chip = plain_chip();
        let range = AdcRange { lo: 0.0, hi: 1.0 };
        let conversion = Conversion { col: 2, minus: None, range };
        let mut plain = die(&chip, EffectSet::ALL);
        let ones = Array2::ones((1, 2));
        let refusal = plain.read(array(2), &ROWS, &COLS).unwrap_err();
        assert!(refusal[0].message.contains("2 arrays, but a2"), "{}", refusal[0]);
        assert!(plain.read(array(0), &[8], &COLS).is_err());
        assert!(plain.program(array(0), &ROWS, &COLS, ones.view()).is_err());
        assert!(plain.mvm(array(0), &[1], ones.view(), &[conversion]).is_err());
        let negative = array![[-0.5, 0.5]];
        assert!(plain.mvm(array(0), &ROWS, negative.view(), &[conversion]).is_err());
        chip.dac.negative = NegativeInputs::SignMagnitude;
        let mut either = die(&chip, EffectSet::ALL);
        assert!(either.mvm(array(0), &ROWS, negative.view(), &[conversion]).is_ok());
        (chip.arrays.n_rows, chip.arrays.n_cols) = (1 << 16, 1 << 16);
        assert!(
            SimDie::new(&chip, &plain.setup.record, fresh(EffectSet::ALL))
                .read(array(0), &ROWS, &COLS)
                .is_err()
        );
    }
}
