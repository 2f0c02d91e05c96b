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

use ndarray::Array2;
use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::die::{Die, program_net};
use nvcim_chip::effects::Effect;
use nvcim_chip::record::DieRecord;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, TileId};
use nvcim_ir::programmed::{ProgrammedTile, Targets};
use nvcim_ir::tiled::Terminal;
use nvcim_sim::conditions::Conditions;
use nvcim_sim::die::SimDie;

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
struct Pairs {
    plus: Array2<f32>,
    minus: Array2<f32>,
}

/// A conversion's column on a die.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sense {
    gain: f32,
    /// In LSB of the nominal range.
    offset_lsb: f32,
}

/// An image, and the die that it is programmed on if there is one.
struct Deployed<'a> {
    image: &'a Image,
    die: Option<(OnDie<'a>, SimDie)>,
}

impl<'a> Deployed<'a> {
    fn new(image: &'a Image, die: Option<OnDie<'a>>) -> Result<Self> {
        let Some(on) = die else { return Ok(Self { image, die: None }) };
        crate::simulate::check_stamp(image, on.record)?;
        nvcim_sim::check::check_record(&image.chip, on.record)?;
        // What is exported are the cells themselves, not one noisy reading of them.
        let effects = on.conditions.effects.without(Effect::Read);
        let conditions = Conditions { effects, ..on.conditions };
        let mut sim = SimDie::new(&image.chip, on.record, conditions);
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
    fn targets(&self, id: TileId) -> Pairs {
        let cell = &self.chip().cell;
        match &self.tile(id).targets {
            Targets::Levels { plus, minus } => {
                Pairs { plus: siemens(plus, cell), minus: siemens(minus, cell) }
            }
            Targets::Siemens { plus, minus } => Pairs { plus: plus.clone(), minus: minus.clone() },
        }
    }

    /// What a tile's cells are on the die at the time of use; `None` without a die.
    fn programmed(&mut self, id: TileId) -> Result<Option<Pairs>> {
        let ProgrammedTile { array, wiring, .. } = self.tile(id);
        let Some((_, sim)) = &mut self.die else { return Ok(None) };
        Ok(Some(Pairs {
            plus: sim.read(*array, &wiring.plus_rows, &wiring.plus_cols)?,
            minus: sim.read(*array, &wiring.minus_rows, &wiring.minus_cols)?,
        }))
    }

    /// What a tile's cells are as far as is known: on the die, or else the targets.
    fn actual(&mut self, id: TileId) -> Result<Pairs> {
        Ok(self.programmed(id)?.unwrap_or_else(|| self.targets(id)))
    }

    /// The columns of a tile's conversions on the die, in their order; `None` without a die.
    fn senses(&self, id: TileId) -> Option<Vec<Sense>> {
        let (on, _) = self.die.as_ref()?;
        let tile = self.tile(id);
        let array = on.record.arrays.get(tile.array)?;
        let acts = |effect| on.conditions.effects.has(effect);
        let pick =
            |values: &[f32], line: usize, perfect| values.get(line).copied().unwrap_or(perfect);
        let sense = |line: u32| Sense {
            gain: match acts(Effect::ColumnGain) {
                true => pick(&array.column_gain, line as usize, 1.0),
                false => 1.0,
            },
            offset_lsb: match acts(Effect::ColumnOffset) {
                true => pick(&array.column_offset_lsb, line as usize, 0.0),
                false => 0.0,
            },
        };
        Some(
            tile.readouts
                .iter()
                .map(|it| sense(bit_line(tile, it.readout.col, it.readout.terminal)))
                .collect(),
        )
    }

    /// All cells of an array, `[word lines, bit lines]`: unused ones at `g_min`, or as the die has them.
    fn array(&mut self, array: ArrayId) -> Result<Array2<f32>> {
        let size = &self.chip().arrays;
        let (rows, cols) = (size.n_rows as u32, size.n_cols as u32);
        if let Some((_, sim)) = &mut self.die {
            let (rows, cols): (Vec<_>, Vec<_>) = ((0..rows).collect(), (0..cols).collect());
            return sim.read(array, &rows, &cols);
        }
        let rest = self.chip().cell.g_min as f32;
        let mut cells = Array2::from_elem((size.n_rows, size.n_cols), rest);
        for (id, tile) in self.image.net.tiles.iter_enumerated().filter(|(_, it)| it.array == array)
        {
            let Pairs { plus, minus } = self.targets(id);
            let wiring = &tile.wiring;
            place(&mut cells, (&wiring.plus_rows, &wiring.plus_cols), &plus);
            place(&mut cells, (&wiring.minus_rows, &wiring.minus_cols), &minus);
        }
        Ok(cells)
    }

    /// The arrays in use, ascending.
    fn arrays(&self) -> Vec<ArrayId> {
        let mut arrays: Vec<_> = self.image.net.tiles.iter().map(|tile| tile.array).collect();
        arrays.sort_unstable();
        arrays.dedup();
        arrays
    }
}

fn siemens(levels: &Array2<u16>, cell: &Cell) -> Array2<f32> {
    levels.mapv(|level| cell.siemens_of(level) as f32)
}

/// Puts values at the crossings of word lines and bit lines.
fn place<T: Copy>(cells: &mut Array2<T>, (rows, cols): (&[u32], &[u32]), values: &Array2<T>) {
    for (&row, values) in rows.iter().zip(values.outer_iter()) {
        for (&col, &value) in cols.iter().zip(values) {
            cells[(row as usize, col as usize)] = value;
        }
    }
}

/// The bit line whose converter reads a column of a tile.
fn bit_line(tile: &ProgrammedTile, col: u32, terminal: Terminal) -> u32 {
    let lines = match terminal {
        Terminal::Pair | Terminal::Plus => &tile.wiring.plus_cols,
        Terminal::Minus => &tile.wiring.minus_cols,
    };
    lines[col as usize]
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
