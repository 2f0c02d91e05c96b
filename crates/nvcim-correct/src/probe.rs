//! Probing a tile on a die: the drives and conversions of one tile as physical lines.

use ndarray::{Array2, ArrayView2, Axis, concatenate};
use nvcim_chip::describe::{Chip, NegativeInputs, PairAxis};
use nvcim_chip::die::{Conversion, Die};
use nvcim_ir::diag::Result;
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_ir::tiled::{AdcRange, Terminal};

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
    let conversions = conversions_of(tile, ranges);
    let two_pass = signed && chip.dac.negative == NegativeInputs::TwoPass;
    let parts = if two_pass {
        vec![drives.mapv(|x| x.max(0.0)), drives.mapv(|x| (-x).max(0.0))]
    } else {
        vec![drives.to_owned()]
    };
    let passes = parts.iter().map(|part| match chip.arrays.pairs {
        PairAxis::Columns => die.mvm(tile.array, &tile.wiring.plus_rows, part.view(), &conversions),
        PairAxis::Rows => {
            let rows = [&tile.wiring.plus_rows[..], &tile.wiring.minus_rows].concat();
            let opposite = part.mapv(|x| -x);
            let both = concatenate(Axis(1), &[part.view(), opposite.view()])
                .expect("both halves have the same vectors");
            die.mvm(tile.array, &rows, both.view(), &conversions)
        }
    });
    Ok(Codes { passes: passes.collect::<Result<_>>()? })
}

impl Codes {
    /// The dequantised normalised current that the controller works with, `[vectors, readouts]`.
    pub(crate) fn currents(&self, chip: &Chip, ranges: &[AdcRange]) -> Array2<f32> {
        let mut passes = self.passes.iter().map(|codes| dequantize(codes, chip, ranges));
        let first = passes.next().expect("a probe has at least one pass");
        passes.fold(first, |sum, pass| sum - pass)
    }
}

/// Turns codes `[vectors, readouts]` back into normalised currents.
pub(crate) fn dequantize(codes: &Array2<f32>, chip: &Chip, ranges: &[AdcRange]) -> Array2<f32> {
    let mut currents = codes.clone();
    for (mut column, range) in currents.columns_mut().into_iter().zip(ranges) {
        let step = (range.hi - range.lo) / chip.adc.max_code() as f32;
        column.mapv_inplace(|code| range.lo + code * step);
    }
    currents
}

fn conversions_of(tile: &ProgrammedTile, ranges: &[AdcRange]) -> Vec<Conversion> {
    let wiring = &tile.wiring;
    let conversion = |(scaled, &range): (&nvcim_ir::programmed::ScaledReadout, &AdcRange)| {
        let col = scaled.readout.col as usize;
        let (plus, minus) = (wiring.plus_cols[col], wiring.minus_cols[col]);
        match scaled.readout.terminal {
            // Pairs on rows share their bit line, which has subtracted already.
            Terminal::Pair => {
                Conversion { col: plus, minus_col: (minus != plus).then_some(minus), range }
            }
            Terminal::Plus => Conversion { col: plus, minus_col: None, range },
            Terminal::Minus => Conversion { col: minus, minus_col: None, range },
        }
    };
    tile.readouts.iter().zip(ranges).map(conversion).collect()
}
