//! One hexadecimal memory image per array, `a0.mem`, as Verilog's `$readmemh` and cell programmers read.
//!
//! One word per cell, word line by word line, bit lines ascending: the word of word line `r` and bit line
//! `c` has the address `r * columns + c`. A word is the cell's level; of a cell without levels it is a
//! 16-bit code, `round((g - g_min) / (g_max - g_min) * 65535)`. Cells that hold no weight are 0. Lines
//! that begin with `//` are comments. Targets only: what a die makes of them has no code.

use ndarray::Array2;
use nvcim_chip::describe::Cell;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::ArrayId;
use nvcim_ir::programmed::Targets;

use crate::export::{Deployed, Sink, place};

/// The highest code of a cell without levels.
const TOP_CODE: f64 = 65_535.0;

/// Words on one line of the file.
const WORDS_PER_LINE: usize = 16;

pub(super) fn write(deployed: &Deployed<'_>, sink: &mut Sink<'_>) -> Result<()> {
    if deployed.die.is_some() {
        let message = "cannot be said in levels: cells of a die lie between them";
        let hint = "leave the die out for the targets, or export to npz, csv or spice";
        return Err(Diagnostic::unsupported("--die", message).hint(hint).into());
    }
    for array in deployed.arrays() {
        sink(&format!("{array}.mem"), write_array(deployed, array).into_bytes())?;
    }
    Ok(())
}

fn write_array(deployed: &Deployed<'_>, array: ArrayId) -> String {
    let chip = deployed.chip();
    let (rows, cols) = (chip.arrays.n_rows, chip.arrays.n_cols);
    let mut words = Array2::<u16>::zeros((rows, cols));
    for tile in deployed.image.net.tiles.iter() {
        let (plus, minus) = codes(&tile.targets, &chip.cell);
        for (side, values) in tile.wiring.sides(tile.array).into_iter().zip([plus, minus]) {
            place(&mut words, array, side, &values);
        }
    }
    let top = chip.cell.n_levels.map_or(0xffff, |levels| levels.saturating_sub(1).max(1));
    let digits = format!("{top:x}").len();
    let meaning = match chip.cell.n_levels {
        Some(levels) => format!("level, 0 to {}", levels - 1),
        None => "16-bit code of a continuous cell".to_owned(),
    };
    let Cell { g_min, g_max, .. } = chip.cell;
    let mut text = format!(
        "// {array} of chip {:?}: {rows} word lines x {cols} bit lines, word line by word line\n\
         // {meaning}: 0 = {g_min:e} S, {top:x} = {g_max:e} S\n",
        chip.name
    );
    for (row, words) in words.outer_iter().enumerate() {
        text += &format!("@{:x}\n", row * cols);
        let words: Vec<_> = words.iter().map(|word| format!("{word:0digits$x}")).collect();
        for line in words.chunks(WORDS_PER_LINE) {
            text += &line.join(" ");
            text.push('\n');
        }
    }
    text
}

fn codes(targets: &Targets, cell: &Cell) -> (Array2<u16>, Array2<u16>) {
    let code = |g: &f32| {
        let share = (f64::from(*g) - cell.g_min) / cell.range();
        (share * TOP_CODE).round().clamp(0.0, TOP_CODE) as u16
    };
    match targets {
        Targets::Levels { plus, minus } => (plus.clone(), minus.clone()),
        Targets::Siemens { plus, minus } => (plus.map(code), minus.map(code)),
    }
}
