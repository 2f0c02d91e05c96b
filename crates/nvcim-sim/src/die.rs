//! A simulated die: programs, reads and converts as a bench would, on one draw of a chip.
//!
//! The measured part of a die (stuck cells, column gain and offset) comes from its record. The hidden
//! rest (programming error, drift) is drawn here, keyed by the record's seed, so that a net compiled for
//! the die and an image simulated on it meet the same cells. Noise is keyed by the run.

use ndarray::{Array2, ArrayView2};
use nvcim_chip::describe::{Chip, NegativeInputs, PairAxis};
use nvcim_chip::die::{Conversion, Die};
use nvcim_chip::effects::Effect;
use nvcim_chip::record::DieRecord;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, Id, IdVec};
use nvcim_ir::tiled::AdcRange;
use nvcim_ops::run_program::Columns;

use crate::cells::{ArrayCells, Writer};
use crate::conditions::Conditions;
use crate::drive::{Part, take_like};
use crate::kernel::{Kernel, Periphery, Scratch, Sense};
use crate::noise::{Block, Purpose, place};

/// The largest array that is simulated: 200 MB.
const MAX_CELLS: usize = 1 << 24;

/// A simulated die.
#[derive(Debug, Clone)]
pub struct SimDie {
    chip: Chip,
    record: DieRecord,
    conditions: Conditions,
    periphery: Periphery,
    /// Made when first touched: most networks use few arrays of a chip.
    arrays: IdVec<ArrayId, Option<ArrayCells>>,
    /// Measurements so far; each draws its own noise.
    calls: u64,
}

impl SimDie {
    /// A die with nothing programmed yet: every cell at `g_min`, or stuck.
    ///
    /// The record must fit the chip, see [`crate::check::check_record`]. A record without a seed is that
    /// of a real die: the run's seed draws its hidden part.
    pub fn new(chip: &Chip, record: &DieRecord, conditions: Conditions) -> Self {
        let die_seed = record.seed.unwrap_or(conditions.run_seed);
        Self {
            periphery: Periphery::new(chip, die_seed, &conditions),
            chip: chip.clone(),
            arrays: record.arrays.iter().map(|_| None).collect(),
            record: record.clone(),
            conditions,
            calls: 0,
        }
    }

    pub(crate) fn periphery(&self) -> &Periphery {
        &self.periphery
    }

    /// The cells of an array.
    ///
    /// # Errors
    /// An array that the die does not have.
    pub(crate) fn cells(&mut self, array: ArrayId) -> Result<&ArrayCells> {
        Ok(self.cells_mut(array)?)
    }

    /// The sense stage of a bit line, set to `range`.
    pub(crate) fn sense(&self, array: ArrayId, col: u32, range: AdcRange) -> Sense {
        let record = self.record.arrays.get(array);
        let measured = |effect, pick: fn(&nvcim_chip::record::ArrayRecord) -> &[f32]| {
            let record = record.filter(|_| self.conditions.effects.has(effect))?;
            pick(record).get(col as usize).copied()
        };
        Sense {
            gain: measured(Effect::ColumnGain, |it| &it.column_gain).unwrap_or(1.0),
            offset_lsb: measured(Effect::ColumnOffset, |it| &it.column_offset_lsb).unwrap_or(0.0),
            range,
        }
    }

    fn cells_mut(&mut self, array: ArrayId) -> Result<&mut ArrayCells> {
        let Self { chip, record, conditions, arrays, .. } = self;
        let Some(measured) = record.arrays.get(array) else {
            let message = format!("has {} arrays, but {array} is used", record.arrays.len());
            let hint = "sample or import the die with every array of the chip";
            let place = format!("die `{}`", record.name);
            return Err(Diagnostic::bad_input(place, message).hint(hint).into());
        };
        let (n_rows, n_cols) = (chip.arrays.n_rows, chip.arrays.n_cols);
        if n_rows.saturating_mul(n_cols) > MAX_CELLS {
            let message =
                format!("arrays of {n_rows}x{n_cols} cells, at most {MAX_CELLS} can be simulated");
            let hint = "split the array in the chip file";
            let place = format!("chip `{}`", chip.name);
            return Err(Diagnostic::unsupported(place, message).hint(hint).into());
        }
        Ok(arrays[array].get_or_insert_with(|| ArrayCells::new(chip, measured, conditions.effects)))
    }

    /// Checks that lines lie inside the chip's arrays.
    fn check_lines(&self, array: ArrayId, rows: &[u32], cols: &[u32]) -> Result<()> {
        let size = &self.chip.arrays;
        for (kind, lines, limit) in [("word", rows, size.n_rows), ("bit", cols, size.n_cols)] {
            if let Some(line) = lines.iter().find(|line| **line as usize >= limit) {
                let message = format!("has {limit} {kind} lines, but number {line} is used");
                return Err(Diagnostic::internal(array.to_string(), message).into());
            }
        }
        Ok(())
    }

    /// Whether drivers can pull a word line either way.
    fn drives_both_ways(&self) -> bool {
        self.chip.dac.negative == NegativeInputs::SignMagnitude
            || self.chip.arrays.pairs == PairAxis::Rows
    }

    fn die_seed(&self) -> u64 {
        self.record.seed.unwrap_or(self.conditions.run_seed)
    }

    fn count_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls - 1
    }
}

impl Die for SimDie {
    fn program(
        &mut self,
        array: ArrayId,
        rows: &[u32],
        cols: &[u32],
        targets: ArrayView2<'_, f32>,
    ) -> Result<()> {
        self.check_lines(array, rows, cols)?;
        if targets.dim() != (rows.len(), cols.len()) {
            let message =
                format!("{:?} targets for {:?} cells", targets.dim(), (rows.len(), cols.len()));
            return Err(Diagnostic::internal(array.to_string(), message).into());
        }
        let Conditions { effects, at_s, .. } = self.conditions;
        let chip = self.chip.clone();
        let writer = Writer::new(&chip, effects, at_s, self.die_seed(), array.index() as u32);
        self.cells_mut(array)?.program(&writer, rows, cols, targets);
        Ok(())
    }

    fn read(&mut self, array: ArrayId, rows: &[u32], cols: &[u32]) -> Result<Array2<f32>> {
        self.check_lines(array, rows, cols)?;
        let noise = self.periphery.read_noise();
        let call = self.count_call();
        let cells = self.cells(array)?;
        let mut z = Array2::zeros((rows.len(), cols.len()));
        if let (Some((_, stream)), Some(z)) = (noise, z.as_slice_mut()) {
            stream.fill_normals(place(Purpose::Read, array.index() as u32, call), z);
        }
        Ok(Array2::from_shape_fn(z.dim(), |at| {
            let g = cells.conductance(rows[at.0], cols[at.1]);
            let sd = noise.map_or(0.0, |(noise, _)| noise.sd(g));
            (g + sd * f64::from(z[at])) as f32
        }))
    }

    fn mvm(
        &mut self,
        array: ArrayId,
        rows: &[u32],
        drives: ArrayView2<'_, f32>,
        conversions: &[Conversion],
    ) -> Result<Array2<f32>> {
        let cols: Vec<_> =
            conversions.iter().flat_map(|it| std::iter::once(it.col).chain(it.minus_col)).collect();
        self.check_lines(array, rows, &cols)?;
        let refuse = |message: String| Diagnostic::internal(array.to_string(), message);
        if drives.ncols() != rows.len() {
            return Err(refuse(format!("{} drives for {} rows", drives.ncols(), rows.len())).into());
        }
        if !self.drives_both_ways() && drives.iter().any(|x| *x < 0.0) {
            let message = "is driven below 0, but its drivers have one polarity".into();
            return Err(refuse(message)
                .hint("drive the negative part in a pass of its own")
                .into());
        }
        let senses: Vec<_> =
            conversions.iter().map(|it| self.sense(array, it.col, it.range)).collect();
        let call = self.count_call();
        let periphery = self.periphery.clone();
        let cells = self.cells(array)?;
        let kernel = Kernel::new(&periphery, &senses, rows.len(), |conversion, row| {
            let Conversion { col, minus_col, .. } = conversions[conversion];
            let at = |col| cells.conductance(rows[row], col);
            (at(col), minus_col.map_or(0.0, at))
        });
        let n_vectors = drives.nrows();
        let block = Block {
            purpose: Purpose::Mvm,
            unit: array.index() as u32,
            columns: Columns { first_sample: call, per_sample: n_vectors },
        };
        let mut codes = Array2::zeros((conversions.len(), n_vectors));
        let mut buffer = Vec::new();
        let mut steps = take_like(&mut buffer, &drives.t());
        periphery.driver.fill(Part::Whole, 1.0, drives.t(), steps.view_mut());
        let room = codes.as_slice_mut().expect("a new matrix is contiguous");
        kernel.convert(steps.view(), block, room, &mut Scratch::default());
        Ok(codes.reversed_axes())
    }
}
