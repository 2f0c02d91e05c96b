//! Probing a tile on a die: the drives and conversions of one tile as physical lines.

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayView2, Axis, ShapeBuilder, concatenate, s};
use nvcim_chip::describe::{Chip, NegativeInputs};
use nvcim_chip::die::{Conversion, Die};
use nvcim_chip::effects::dac::split_passes;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::ArrayId;
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_ir::tiled::{AdcRange, Readout, Terminal, Wiring};

/// Codes of every pass over a tile, each `[vectors, readouts]`.
pub(crate) struct Codes {
    /// One entry per pass: two where negative inputs take a pass of their own.
    pub(crate) passes: Vec<Array2<f32>>,
}

/// Drives a tile with `drives` (`[vectors, tile rows]`, -1 to 1) and converts under `ranges`.
pub(crate) fn probe_tile(
    die: &mut dyn Die,
    chip: &Chip,
    tile: &ProgrammedTile,
    signed: bool,
    ranges: &[AdcRange],
    drives: ArrayView2<'_, f32>,
) -> Result<Codes> {
    let two_pass = signed && chip.dac.negative == NegativeInputs::TwoPass;
    if !two_pass {
        return Ok(Codes { passes: vec![probe_pass(die, tile, ranges, drives)?] });
    }
    let parts = split_passes(drives);
    let passes = parts.iter().map(|part| probe_pass(die, tile, ranges, part.view()));
    Ok(Codes { passes: passes.collect::<Result<_>>()? })
}

/// One pass: what is read from the same rows is read at once.
fn probe_pass(
    die: &mut dyn Die,
    tile: &ProgrammedTile,
    ranges: &[AdcRange],
    drives: ArrayView2<'_, f32>,
) -> Result<Array2<f32>> {
    // Whoever asks goes through codes readout by readout.
    let mut codes = Array2::zeros((drives.nrows(), tile.readouts.len()).f());
    let together = |readout: &Readout| {
        (converting_array(tile, readout.terminal), readout.rows.start, readout.rows.end)
    };
    let calls: BTreeSet<_> = tile.readouts.iter().map(|it| together(&it.readout)).collect();
    for call in calls {
        let here = |&at: &usize| together(&tile.readouts[at].readout) == call;
        let readouts: Vec<usize> = (0..tile.readouts.len()).filter(here).collect();
        let (array, start, end) = (call.0, call.1 as usize, call.2 as usize);
        let conversions: Vec<_> =
            readouts.iter().map(|&at| conversion_of(tile, at, ranges[at])).collect();
        let drives = drives.slice(s![.., start..end]);
        let plus_rows = &tile.wiring.plus_rows[start..end];
        let got = match opposite_rows(&tile.wiring) {
            None => die.mvm(array, plus_rows, drives, &conversions)?,
            Some(minus_rows) => {
                let rows = [plus_rows, &minus_rows[start..end]].concat();
                let both = concatenate(Axis(1), &[drives, drives.mapv(|x| -x).view()])
                    .expect("both halves have the same vectors");
                die.mvm(array, &rows, both.view(), &conversions)?
            }
        };
        for (&at, got) in readouts.iter().zip(got.columns()) {
            codes.column_mut(at).assign(&got);
        }
    }
    Ok(codes)
}

/// The word lines that are driven with the opposite sign: those of negative cells on the positive ones'
/// bit lines.
fn opposite_rows(wiring: &Wiring) -> Option<&[u32]> {
    let shared = wiring.is_paired() && wiring.plus_cols == wiring.minus_cols;
    (shared && wiring.minus_array.is_none()).then_some(&wiring.minus_rows[..])
}

impl Codes {
    /// The dequantised normalised current that the controller works with, `[vectors, readouts]`.
    pub(crate) fn into_currents(self, chip: &Chip, ranges: &[AdcRange]) -> Array2<f32> {
        let mut passes = self.passes.into_iter().map(|codes| dequantize(codes, chip, ranges));
        let first = passes.next().expect("a probe has at least one pass");
        passes.fold(first, |sum, pass| sum - pass)
    }
}

/// Turns codes `[vectors, readouts]` back into normalised currents.
fn dequantize(codes: Array2<f32>, chip: &Chip, ranges: &[AdcRange]) -> Array2<f32> {
    let mut currents = codes;
    for (mut column, range) in currents.columns_mut().into_iter().zip(ranges) {
        let step = (range.hi - range.lo) / chip.adc.max_code() as f32;
        column.mapv_inplace(|code| range.lo + code * step);
    }
    currents
}

/// The array whose converter is used.
fn converting_array(tile: &ProgrammedTile, terminal: Terminal) -> ArrayId {
    match terminal {
        Terminal::Pair | Terminal::Plus => tile.array,
        Terminal::Minus => tile.wiring.minus_array(tile.array),
    }
}

fn conversion_of(tile: &ProgrammedTile, at: usize, range: AdcRange) -> Conversion {
    let wiring = &tile.wiring;
    let Readout { col, slice, terminal, .. } = tile.readouts[at].readout;
    let lane = wiring.lane(col, slice);
    match terminal {
        // Pairs on rows share their bit line, which has subtracted already.
        Terminal::Pair => Conversion {
            col: wiring.plus_cols[lane],
            minus: opposite_rows(wiring)
                .is_none()
                .then(|| (wiring.minus_array(tile.array), wiring.minus_cols[lane])),
            range,
        },
        Terminal::Plus => Conversion { col: wiring.plus_cols[lane], minus: None, range },
        Terminal::Minus => Conversion { col: wiring.minus_cols[lane], minus: None, range },
    }
}
