//! What a conversion senses: which cells of which arrays, with which sign, and through which converter.

use std::ops::Range;

use nvcim_chip::die::Conversion;
use nvcim_ir::ids::ArrayId;
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_ir::tiled::{AdcRange, Readout, Terminal};

/// Cells on one bit line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term<'a> {
    pub(crate) array: ArrayId,
    /// The word line of each drive.
    pub(crate) rows: &'a [u32],
    /// The bit line.
    pub(crate) col: u32,
    /// 1, or -1 where the current is subtracted.
    pub(crate) sense: f64,
    /// 1, or -1 where the word lines are driven with the opposite sign.
    pub(crate) drive: f64,
}

impl Term<'_> {
    /// The sign of a drive in the current that is converted.
    pub(crate) fn sign(&self) -> f64 {
        self.sense * self.drive
    }
}

/// One conversion.
#[derive(Debug, Clone)]
pub(crate) struct Tap<'a> {
    /// The cells it sums over; one or two terms.
    pub(crate) terms: Vec<Term<'a>>,
    /// The drives that act; the others are at rest.
    pub(crate) driven: Range<usize>,
    /// The array of its converter.
    pub(crate) array: ArrayId,
    /// The bit line of its converter.
    pub(crate) line: u32,
    pub(crate) range: AdcRange,
}

impl Tap<'_> {
    /// The bit lines whose currents are summed, each once: array, bit line and sign.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (ArrayId, u32, f64)> {
        let line = |term: &Term<'_>| (term.array, term.col, term.sense);
        let mut lines: Vec<_> = self.terms.iter().map(line).collect();
        // The terms of pairs on rows are one bit line.
        lines.dedup();
        lines.into_iter()
    }
}

/// The conversions of a tile, in order.
pub(crate) fn tap_tile(tile: &ProgrammedTile) -> Vec<Tap<'_>> {
    tile.readouts.iter().map(|scaled| tap_readout(tile, scaled.readout)).collect()
}

fn tap_readout(tile: &ProgrammedTile, readout: Readout) -> Tap<'_> {
    let Readout { col, slice, rows, terminal, range } = readout;
    let lane = tile.wiring.lane(col, slice);
    let [plus, minus] = tile.wiring.sides(tile.array);
    let on = |sense, drive, (array, rows, cols): (_, _, &[u32])| Term {
        array,
        rows,
        col: cols[lane],
        sense,
        drive,
    };
    // The second word line of pairs on rows is driven with the opposite sign, and the current subtracts.
    let on_rows = plus.0 == minus.0 && plus.2 == minus.2;
    let of_minus = if on_rows { (1.0, -1.0) } else { (-1.0, 1.0) };
    let terms = match terminal {
        Terminal::Pair => vec![on(1.0, 1.0, plus), on(of_minus.0, of_minus.1, minus)],
        Terminal::Plus => vec![on(1.0, 1.0, plus)],
        // Its scale is negative; the current itself is not.
        Terminal::Minus => vec![on(1.0, 1.0, minus)],
    };
    Tap { array: terms[0].array, line: terms[0].col, terms, driven: rows.range(), range }
}

/// The conversions of a bench's call on `rows` of `array`.
pub(crate) fn tap_lines<'a>(
    array: ArrayId,
    rows: &'a [u32],
    conversions: &[Conversion],
) -> Vec<Tap<'a>> {
    let tap = |&Conversion { col, minus, range }: &Conversion| {
        let plus = Term { array, rows, col, sense: 1.0, drive: 1.0 };
        let minus = minus.map(|(array, col)| Term { array, rows, col, sense: -1.0, drive: 1.0 });
        let terms = std::iter::once(plus).chain(minus).collect();
        Tap { terms, driven: 0..rows.len(), array, line: col, range }
    };
    conversions.iter().map(tap).collect()
}
