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

use crate::export::{Deployed, Pairs, Sense, Sink, converter_of, terminal_name};

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

/// One line per row and per lane of every tile: the matrix's row, or its column and slice, and the physical
/// lines. A reference column follows the matrix's; weights without negative cells have no line for them.
fn mapping(deployed: &Deployed<'_>) -> String {
    let mut text =
        "tile,layer,array,minus_array,axis,index,matrix_index,slice,plus_line,minus_line\n"
            .to_owned();
    for (id, tile) in deployed.image.net.tiles.iter_enumerated() {
        let (layer, array, wiring) = (tile.layer, tile.array, &tile.wiring);
        let minus_array = wiring.minus_array(array);
        let n_slices = wiring.n_slices as usize;
        let axes = [
            ("row", tile.rows.start, 1, &wiring.plus_rows, &wiring.minus_rows),
            ("col", tile.cols.start, n_slices, &wiring.plus_cols, &wiring.minus_cols),
        ];
        for (axis, first, n_slices, plus, minus) in axes {
            for (index, plus) in plus.iter().enumerate() {
                let (matrix_index, slice) = (first + index / n_slices, index % n_slices);
                let minus = minus.get(index).map(u32::to_string).unwrap_or_default();
                line!(
                    text,
                    "{id},{layer},{array},{minus_array},{axis},{index},{matrix_index},{slice},{plus},{minus}"
                );
            }
        }
    }
    text
}

fn readouts(deployed: &Deployed<'_>) -> String {
    let on_die = if deployed.die.is_some() { ",gain,offset_lsb" } else { "" };
    let mut text = format!(
        "tile,conversion,col,slice,matrix_col,rows_start,rows_end,terminal,bit_line,lo,hi,scale,shift{on_die}\n"
    );
    for (id, tile) in deployed.image.net.tiles.iter_enumerated() {
        let senses = deployed.senses(id);
        for (conversion, scaled) in tile.readouts.iter().enumerate() {
            let (readout, scale, shift) = (scaled.readout, scaled.scale, scaled.shift);
            let (col, terminal, range) = (readout.col, readout.terminal, readout.range);
            let (_, line) = converter_of(tile, &readout);
            let (slice, rows) = (readout.slice, readout.rows);
            let matrix_col = tile.cols.start + col as usize;
            let on_die = senses.as_ref().map_or_else(String::new, |senses| {
                let Sense { gain, offset_lsb } = senses[conversion];
                format!(",{gain:e},{offset_lsb:e}")
            });
            let terminal = terminal_name(terminal);
            let (lo, hi) = (range.lo, range.hi);
            line!(
                text,
                "{id},{conversion},{col},{slice},{matrix_col},{},{},{terminal},{line},{lo:e},{hi:e},\
                 {scale:e},{shift:e}{on_die}",
                rows.start,
                rows.end,
            );
        }
    }
    text
}

/// A text as a field: quoted, quotes doubled.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
