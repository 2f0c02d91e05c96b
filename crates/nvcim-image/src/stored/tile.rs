//! The tile records: what one rectangle of a matrix is to be on its array.

use std::ops::Range;

use bincode::{BorrowDecode, Encode};
use ndarray::Array2;
use nvcim_ir::programmed::{ProgrammedTile, ScaledReadout, Targets};
use nvcim_ir::tiled::{AdcRange, Readout, RowSpan, Terminal, Wiring};

use crate::items::Items;
use crate::stored::{Result, load_id, load_size, store_id, store_size};

/// Levels of a cell that fit one byte.
const BYTE_LEVELS: u32 = 1 << 8;

/// The least number of levels that takes two bytes.
const LEAST_WORD_LEVELS: u32 = BYTE_LEVELS + 1;

/// A tile.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredTile {
    layer: u32,
    array: u32,
    rows: StoredRange,
    cols: StoredRange,
    plus_rows: Items<u32>,
    minus_rows: Items<u32>,
    plus_cols: Items<u32>,
    minus_cols: Items<u32>,
    n_slices: u32,
    minus_array: Option<u32>,
    targets: StoredTargets,
    readouts: Items<StoredReadout>,
    drive_sum: Items<f32>,
    drive_shift: f32,
}

/// From `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
struct StoredRange {
    start: u32,
    end: u32,
}

/// Targets, row by row. The chip's number of levels says which form: up to 256 in bytes.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
enum StoredTargets {
    ByteLevels { plus: Items<u8>, minus: Items<u8> },
    WordLevels { plus: Items<u16>, minus: Items<u16> },
    Siemens { plus: Items<f32>, minus: Items<f32> },
}

/// A conversion and what its result is worth.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
struct StoredReadout {
    col: u32,
    slice: u32,
    rows: StoredRange,
    terminal: StoredTerminal,
    lo: f32,
    hi: f32,
    scale: f32,
    shift: f32,
}

/// What is converted.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
enum StoredTerminal {
    Pair,
    Plus,
    Minus,
}

impl StoredTile {
    /// Stores a verified tile of a chip whose cells have `n_levels` levels.
    pub(crate) fn store(tile: &ProgrammedTile, n_levels: Option<u32>) -> Result<Self> {
        let ProgrammedTile {
            layer,
            array,
            rows,
            cols,
            wiring: Wiring { n_slices, plus_rows, minus_rows, plus_cols, minus_cols, minus_array },
            targets,
            readouts,
            drive_sum,
            drive_shift,
        } = tile;
        let wires = |wires: &[u32]| wires.iter().copied().collect();
        Ok(Self {
            layer: store_id(*layer),
            array: store_id(*array),
            rows: StoredRange::store(rows)?,
            cols: StoredRange::store(cols)?,
            plus_rows: wires(plus_rows),
            minus_rows: wires(minus_rows),
            plus_cols: wires(plus_cols),
            minus_cols: wires(minus_cols),
            n_slices: *n_slices,
            minus_array: minus_array.map(store_id),
            targets: StoredTargets::store(targets, n_levels),
            readouts: readouts.iter().map(StoredReadout::store).collect(),
            drive_sum: drive_sum.iter().copied().collect(),
            drive_shift: *drive_shift,
        })
    }

    /// Loads a tile of a chip whose cells have `n_levels` levels.
    pub(crate) fn load(self, n_levels: Option<u32>) -> Result<ProgrammedTile> {
        let Self {
            layer,
            array,
            rows,
            cols,
            plus_rows: Items(plus_rows),
            minus_rows: Items(minus_rows),
            plus_cols: Items(plus_cols),
            minus_cols: Items(minus_cols),
            n_slices,
            minus_array,
            targets,
            readouts,
            drive_sum: Items(drive_sum),
            drive_shift,
        } = self;
        let (rows, cols) = (rows.load(), cols.load());
        let n_lanes = [plus_cols.len(), minus_cols.len()];
        Ok(ProgrammedTile {
            layer: load_id(layer),
            array: load_id(array),
            targets: targets.load(rows.len(), n_lanes, n_levels)?,
            rows,
            cols,
            wiring: Wiring {
                n_slices,
                plus_rows,
                minus_rows,
                plus_cols,
                minus_cols,
                minus_array: minus_array.map(load_id),
            },
            drive_sum,
            drive_shift,
            readouts: readouts.0.into_iter().map(StoredReadout::load).collect(),
        })
    }
}

impl StoredRange {
    fn store(range: &Range<usize>) -> Result<Self> {
        Ok(Self { start: store_size(range.start)?, end: store_size(range.end)? })
    }

    fn load(self) -> Range<usize> {
        load_size(self.start)..load_size(self.end)
    }
}

impl StoredTargets {
    fn store(targets: &Targets, n_levels: Option<u32>) -> Self {
        match targets {
            Targets::Levels { plus, minus } if n_levels.is_some_and(|it| it <= BYTE_LEVELS) => {
                let narrow = |levels: &Array2<u16>| {
                    let byte =
                        |&level| u8::try_from(level).expect("the verifier knows the highest level");
                    levels.iter().map(byte).collect()
                };
                Self::ByteLevels { plus: narrow(plus), minus: narrow(minus) }
            }
            Targets::Levels { plus, minus } => Self::WordLevels {
                plus: plus.iter().copied().collect(),
                minus: minus.iter().copied().collect(),
            },
            Targets::Siemens { plus, minus } => Self::Siemens {
                plus: plus.iter().copied().collect(),
                minus: minus.iter().copied().collect(),
            },
        }
    }

    fn load(self, n_rows: usize, n_lanes: [usize; 2], n_levels: Option<u32>) -> Result<Targets> {
        let [of_plus, of_minus] = n_lanes.map(|n_lanes| (n_rows, n_lanes));
        match (self, n_levels) {
            (Self::ByteLevels { plus, minus }, Some(..=BYTE_LEVELS)) => {
                let widen = |Items(levels)| Items(Vec::into_iter(levels).map(u16::from).collect());
                Ok(Targets::Levels {
                    plus: load_matrix(widen(plus), of_plus)?,
                    minus: load_matrix(widen(minus), of_minus)?,
                })
            }
            (Self::WordLevels { plus, minus }, Some(LEAST_WORD_LEVELS..)) => Ok(Targets::Levels {
                plus: load_matrix(plus, of_plus)?,
                minus: load_matrix(minus, of_minus)?,
            }),
            (Self::Siemens { plus, minus }, None) => Ok(Targets::Siemens {
                plus: load_matrix(plus, of_plus)?,
                minus: load_matrix(minus, of_minus)?,
            }),
            (_, Some(n_levels)) => {
                Err(format!("stores targets in another form than a cell of {n_levels} levels has"))
            }
            (_, None) => Err("stores levels, but the chip's cells are continuous".into()),
        }
    }
}

fn load_matrix<T>(Items(values): Items<T>, dim: (usize, usize)) -> Result<Array2<T>> {
    let count = values.len();
    Array2::from_shape_vec(dim, values)
        .map_err(|_| format!("has {count} targets for {} rows and {} columns", dim.0, dim.1))
}

impl StoredReadout {
    fn store(readout: &ScaledReadout) -> Self {
        let ScaledReadout {
            readout: Readout { col, slice, rows, terminal, range: AdcRange { lo, hi } },
            scale,
            shift,
        } = *readout;
        let rows = StoredRange { start: rows.start, end: rows.end };
        let terminal = match terminal {
            Terminal::Pair => StoredTerminal::Pair,
            Terminal::Plus => StoredTerminal::Plus,
            Terminal::Minus => StoredTerminal::Minus,
        };
        Self { col, slice, rows, terminal, lo, hi, scale, shift }
    }

    fn load(self) -> ScaledReadout {
        let Self { col, slice, rows, terminal, lo, hi, scale, shift } = self;
        let rows = RowSpan { start: rows.start, end: rows.end };
        let terminal = match terminal {
            StoredTerminal::Pair => Terminal::Pair,
            StoredTerminal::Plus => Terminal::Plus,
            StoredTerminal::Minus => Terminal::Minus,
        };
        ScaledReadout {
            readout: Readout { col, slice, rows, terminal, range: AdcRange { lo, hi } },
            scale,
            shift,
        }
    }
}
