//! An image's conductances and mapping in the formats of other tools.
//!
//! Every format writes the targets that the image holds; with a die, those that can say it also write
//! what the die's cells then are at the time of use. Conductances are in siemens, currents normalised as
//! everywhere: one cell at `g_max` under a full-scale drive carries 1.

mod csv;
mod manifest;
mod mem;
mod npz;
mod onnx;
mod spice;

use std::collections::BTreeSet;

use ndarray::Array2;
use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::die::program_net;
use nvcim_chip::effects::Effect;
use nvcim_chip::record::DieRecord;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, TileId};
use nvcim_ir::programmed::{ProgrammedTile, ScaledReadout, Targets};
use nvcim_ir::tiled::{Readout, Terminal};
use nvcim_sim::conditions::Conditions;
use nvcim_sim::die::{SimDie, TrueCells};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// NumPy arrays with a JSON manifest.
    Npz,
    /// One table per tile and polarity, with tables of the mapping.
    Csv,
    /// One hexadecimal memory image per array, as Verilog's `$readmemh` reads.
    Mem,
    /// One ngspice netlist per array.
    Spice,
    /// The network that the conductances compute, in floating point.
    Onnx,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 5] =
        [Format::Npz, Format::Csv, Format::Mem, Format::Spice, Format::Onnx];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Npz => "npz",
            Format::Csv => "csv",
            Format::Mem => "mem",
            Format::Spice => "spice",
            Format::Onnx => "onnx",
        }
    }

    /// The format of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// The die whose cells are exported, and under which conditions.
#[derive(Debug, Clone, Copy)]
pub struct OnDie<'a> {
    /// The die.
    pub record: &'a DieRecord,
    /// Effects and time of use.
    pub conditions: Conditions,
}

/// Takes a file: its name inside the folder, and its bytes.
pub type Sink<'a> = dyn FnMut(&str, Vec<u8>) -> Result<()> + 'a;

/// Exports an image, and with a die what becomes of it there; `sink` gets file by file.
///
/// # Errors
/// A die that the image does not fit, something that the format cannot say, and what `sink` reports.
pub fn export_image(
    image: &Image,
    die: Option<OnDie<'_>>,
    format: Format,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut deployed = Deployed::new(image, die)?;
    match format {
        Format::Npz => npz::write(&mut deployed, sink),
        Format::Csv => csv::write(&mut deployed, sink),
        Format::Mem => mem::write(&deployed, sink),
        Format::Spice => spice::write(&mut deployed, sink),
        Format::Onnx => onnx::write(&mut deployed, sink),
    }
}

/// Both cells of every pair of a tile, in siemens, `[matrix rows, matrix columns]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pairs {
    pub(crate) plus: Array2<f32>,
    pub(crate) minus: Array2<f32>,
}

/// A conversion's column on a die.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sense {
    gain: f32,
    /// In LSB of the nominal range.
    offset_lsb: f32,
}

/// An image, and the die that it is programmed on if there is one.
pub(crate) struct Deployed<'a> {
    image: &'a Image,
    die: Option<(OnDie<'a>, SimDie)>,
}

impl<'a> Deployed<'a> {
    pub(crate) fn new(image: &'a Image, die: Option<OnDie<'a>>) -> Result<Self> {
        let Some(on) = die else { return Ok(Self { image, die: None }) };
        crate::simulate::check_stamp(image, on.record)?;
        nvcim_sim::check::check_record(&image.chip, on.record)?;
        let mut sim = SimDie::new(&image.chip, on.record, on.conditions);
        program_net(&mut sim, &image.net, &image.chip.cell)?;
        Ok(Self { image, die: Some((on, sim)) })
    }

    fn chip(&self) -> &'a Chip {
        &self.image.chip
    }

    fn tile(&self, id: TileId) -> &'a ProgrammedTile {
        &self.image.net.tiles[id]
    }

    /// What a tile's cells are to be.
    pub(crate) fn targets(&self, id: TileId) -> Pairs {
        let cell = &self.chip().cell;
        match &self.tile(id).targets {
            Targets::Levels { plus, minus } => {
                Pairs { plus: siemens(plus, cell), minus: siemens(minus, cell) }
            }
            Targets::Siemens { plus, minus } => Pairs { plus: plus.clone(), minus: minus.clone() },
        }
    }

    /// What a tile's cells are on the die at the time of use; `None` without a die.
    pub(crate) fn programmed(&mut self, id: TileId) -> Result<Option<Pairs>> {
        let ProgrammedTile { array, wiring, .. } = self.tile(id);
        let [plus, minus] = wiring.sides(*array);
        let Some(plus) = self.cells_at(plus)? else { return Ok(None) };
        Ok(self.cells_at(minus)?.map(|minus| Pairs { plus, minus }))
    }

    /// The die's cells at the crossings of some lines of an array; `None` without a die.
    fn cells_at(
        &mut self,
        (array, rows, cols): (ArrayId, &[u32], &[u32]),
    ) -> Result<Option<Array2<f32>>> {
        Ok(self.true_cells(array)?.map(|TrueCells { conductances, .. }| {
            Array2::from_shape_fn((rows.len(), cols.len()), |(row, col)| {
                conductances[(rows[row] as usize, cols[col] as usize)] as f32
            })
        }))
    }

    /// All cells of an array on the die at the time of use; `None` without a die.
    fn true_cells(&mut self, array: ArrayId) -> Result<Option<TrueCells>> {
        // What is exported are the cells themselves, not one noisy reading of them.
        let cells = self.die.as_mut().map(|(_, sim)| sim.true_cells(array));
        cells.transpose()
    }

    /// What a tile's cells are as far as is known: on the die, or else the targets.
    fn actual(&mut self, id: TileId) -> Result<Pairs> {
        Ok(self.programmed(id)?.unwrap_or_else(|| self.targets(id)))
    }

    /// The columns of a tile's conversions on the die, in their order; `None` without a die.
    fn senses(&self, id: TileId) -> Option<Vec<Sense>> {
        let (on, _) = self.die.as_ref()?;
        let tile = self.tile(id);
        let acts = |effect| on.conditions.effects.has(effect);
        let pick =
            |values: &[f32], line: usize, perfect| values.get(line).copied().unwrap_or(perfect);
        let sense = |scaled: &ScaledReadout| {
            let (array, line) = converter_of(tile, &scaled.readout);
            let array = on.record.arrays.get(array)?;
            Some(Sense {
                gain: match acts(Effect::ColumnGain) {
                    true => pick(&array.column_gain, line as usize, 1.0),
                    false => 1.0,
                },
                offset_lsb: match acts(Effect::ColumnOffset) {
                    true => pick(&array.column_offset_lsb, line as usize, 0.0),
                    false => 0.0,
                },
            })
        };
        tile.readouts.iter().map(sense).collect()
    }

    /// All cells of an array, `[word lines, bit lines]`: unused ones at `g_min`, or as the die has them.
    fn array(&mut self, array: ArrayId) -> Result<Array2<f64>> {
        let size = &self.chip().arrays;
        let dim = (size.n_rows, size.n_cols);
        if let Some(cells) = self.true_cells(array)? {
            return Ok(cells.conductances);
        }
        let rest = self.chip().cell.g_min;
        let mut cells = Array2::from_elem(dim, rest);
        for (id, tile) in self.image.net.tiles.iter_enumerated() {
            let Pairs { plus, minus } = self.targets(id);
            for (side, values) in tile.wiring.sides(tile.array).into_iter().zip([plus, minus]) {
                place(&mut cells, array, side, &values.mapv(f64::from));
            }
        }
        Ok(cells)
    }

    /// The arrays in use, ascending.
    fn arrays(&self) -> Vec<ArrayId> {
        let sides = |tile: &'a ProgrammedTile| tile.wiring.sides(tile.array).map(|side| side.0);
        let arrays: BTreeSet<_> = self.image.net.tiles.iter().flat_map(sides).collect();
        arrays.into_iter().collect()
    }
}

fn siemens(levels: &Array2<u16>, cell: &Cell) -> Array2<f32> {
    levels.mapv(|level| cell.siemens_of(level) as f32)
}

/// Puts values at the crossings of word lines and bit lines of a side, where it lies on `array`.
fn place<T: Copy>(
    cells: &mut Array2<T>,
    array: ArrayId,
    (on, rows, cols): (ArrayId, &[u32], &[u32]),
    values: &Array2<T>,
) {
    if on != array {
        return;
    }
    for (&row, values) in rows.iter().zip(values.outer_iter()) {
        for (&col, &value) in cols.iter().zip(values) {
            cells[(row as usize, col as usize)] = value;
        }
    }
}

/// The array and the bit line whose converter a readout takes.
fn converter_of(tile: &ProgrammedTile, readout: &Readout) -> (ArrayId, u32) {
    let [plus, minus] = tile.wiring.sides(tile.array);
    let (array, _, lines) = match readout.terminal {
        Terminal::Pair | Terminal::Plus => plus,
        Terminal::Minus => minus,
    };
    (array, lines[tile.wiring.lane(readout.col, readout.slice)])
}

fn terminal_name(terminal: Terminal) -> &'static str {
    match terminal {
        Terminal::Pair => "pair",
        Terminal::Plus => "plus",
        Terminal::Minus => "minus",
    }
}

/// A writer of a walled format failed, which memory does not.
fn failed(error: impl std::fmt::Display) -> Vec<Diagnostic> {
    Diagnostic::internal("export", error.to_string()).into()
}
