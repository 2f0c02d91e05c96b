//! Tables: `t0_plus.csv` and `t0_minus.csv` per tile, and `layers.csv`, `biases.csv`, `mapping.csv`,
//! `readouts.csv` for what ties them together.
//!
//! A tile's table has a line per row of the tile and a value in siemens per column. With a die there are
//! `t0_plus_programmed.csv` and `t0_minus_programmed.csv` beside it. Numbers have the shortest digits
//! that read back the same.

use std::fmt::Write;

use ndarray::Array2;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{Id, TileId};

use crate::export::{Deployed, Pairs, Sense, Sink, bit_line, terminal_name};

pub(super) fn write(deployed: &mut Deployed<'_>, sink: &mut Sink<'_>) -> Result<()> {
    for index in 0..deployed.image.net.tiles.len() {
        let id = TileId::new(index);
        let mut pairs = vec![("", deployed.targets(id))];
        pairs.extend(deployed.programmed(id)?.map(|programmed| ("_programmed", programmed)));
        for (suffix, Pairs { plus, minus }) in pairs {
            sink(&format!("{id}_plus{suffix}.csv"), table(&plus))?;
            sink(&format!("{id}_minus{suffix}.csv"), table(&minus))?;
        }
    }
    sink("layers.csv", layers(deployed).into_bytes())?;
    sink("biases.csv", biases(deployed).into_bytes())?;
    sink("mapping.csv", mapping(deployed).into_bytes())?;
    sink("readouts.csv", readouts(deployed).into_bytes())
}

fn table(values: &Array2<f32>) -> Vec<u8> {
    let line = |row: ndarray::ArrayView1<'_, f32>| {
        row.iter().map(|value| format!("{value:e}")).collect::<Vec<_>>().join(",") + "\n"
    };
    values.outer_iter().map(line).collect::<String>().into_bytes()
}

/// Adds a line; writing to memory cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        writeln!($text, $($format)*).expect("a String takes any text")
    };
}

fn layers(deployed: &Deployed<'_>) -> String {
    let mut text = "layer,name,rows,cols,full_scale,signed\n".to_owned();
    for (id, layer) in deployed.image.net.layers.iter_enumerated() {
        let (rows, cols) = (layer.shape.n_rows, layer.shape.n_cols);
        let (name, input) = (quote(&layer.name), layer.input);
        line!(text, "{id},{name},{rows},{cols},{:e},{}", input.full_scale, input.signed);
    }
    text
}

fn biases(deployed: &Deployed<'_>) -> String {
    let mut text = "layer,col,bias\n".to_owned();
    for (id, layer) in deployed.image.net.layers.iter_enumerated() {
        for (col, bias) in layer.bias.iter().enumerate() {
            line!(text, "{id},{col},{bias:e}");
        }
    }
    text
}

/// One line per row and per column of every tile: the matrix's row or column, and its physical lines.
fn mapping(deployed: &Deployed<'_>) -> String {
    let mut text = "tile,layer,array,axis,index,matrix_index,plus_line,minus_line\n".to_owned();
    for (id, tile) in deployed.image.net.tiles.iter_enumerated() {
        let (layer, array, wiring) = (tile.layer, tile.array, &tile.wiring);
        let axes = [
            ("row", tile.rows.start, &wiring.plus_rows, &wiring.minus_rows),
            ("col", tile.cols.start, &wiring.plus_cols, &wiring.minus_cols),
        ];
        for (axis, first, plus, minus) in axes {
            for (index, (plus, minus)) in plus.iter().zip(minus).enumerate() {
                line!(text, "{id},{layer},{array},{axis},{index},{},{plus},{minus}", first + index);
            }
        }
    }
    text
}

fn readouts(deployed: &Deployed<'_>) -> String {
    let on_die = if deployed.die.is_some() { ",gain,offset_lsb" } else { "" };
    let mut text =
        format!("tile,conversion,col,matrix_col,terminal,bit_line,lo,hi,scale,shift{on_die}\n");
    for (id, tile) in deployed.image.net.tiles.iter_enumerated() {
        let senses = deployed.senses(id);
        for (conversion, scaled) in tile.readouts.iter().enumerate() {
            let (readout, scale, shift) = (scaled.readout, scaled.scale, scaled.shift);
            let (col, terminal, range) = (readout.col, readout.terminal, readout.range);
            let line = bit_line(tile, col, terminal);
            let matrix_col = tile.cols.start + col as usize;
            let on_die = senses.as_ref().map_or_else(String::new, |senses| {
                let Sense { gain, offset_lsb } = senses[conversion];
                format!(",{gain:e},{offset_lsb:e}")
            });
            let terminal = terminal_name(terminal);
            let (lo, hi) = (range.lo, range.hi);
            line!(
                text,
                "{id},{conversion},{col},{matrix_col},{terminal},{line},{lo:e},{hi:e},{scale:e},\
                 {shift:e}{on_die}"
            );
        }
    }
    text
}

/// A text as a field: quoted, quotes doubled.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
