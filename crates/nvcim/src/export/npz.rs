//! `tiles.npz` for NumPy, and `manifest.json` for everything that is no array.
//!
//! Per tile `t0`, `t1`, ...: `t0_plus` and `t0_minus` are targets in siemens, `[rows, lanes]` of the tile;
//! `t0_plus_rows`, `t0_minus_rows`, `t0_plus_cols` and `t0_minus_cols` their word and bit lines;
//! `t0_drive_sum` what outputs gain per unit of summed drive; `t0_readout_col`, `t0_readout_slice`,
//! `t0_readout_rows_start`, `t0_readout_rows_end`, `t0_readout_terminal` (0 pair, 1 plus, 2 minus),
//! `t0_readout_lo`, `t0_readout_hi`, `t0_readout_scale` and `t0_readout_shift` its conversions. With a die
//! also `t0_plus_programmed` and `t0_minus_programmed`, the conductances at the time of use, and
//! `t0_readout_gain` and `t0_readout_offset_lsb`, the columns of the conversions; per array
//! `a0_conductances` and `a0_read_sds`, all of its cells in double precision. Per layer `l0_bias`, per
//! constant of the digital program `c0`.

use std::io::Cursor;

use ndarray::{Array, Array1, Dimension};
use ndarray_npy::{NpzWriter, WritableElement};
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{Id, TileId};
use nvcim_ir::programmed::{ProgrammedTile, ScaledReadout};
use nvcim_ir::tiled::Terminal;
use nvcim_sim::die::TrueCells;

use crate::export::manifest::write_manifest;
use crate::export::{Deployed, Pairs, Sense, Sink, failed};

/// An archive under construction.
struct Archive(NpzWriter<Cursor<Vec<u8>>>);

impl Archive {
    fn add<T: WritableElement, D: Dimension>(
        &mut self,
        name: String,
        values: &Array<T, D>,
    ) -> Result<()> {
        self.0.add_array(name, values).map_err(failed)
    }

    fn add_list<T: WritableElement>(
        &mut self,
        name: String,
        values: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        self.add(name, &Array1::from_iter(values))
    }
}

pub(super) fn write(deployed: &mut Deployed<'_>, sink: &mut Sink<'_>) -> Result<()> {
    let mut archive = Archive(NpzWriter::new(Cursor::new(Vec::new())));
    for index in 0..deployed.image.net.tiles.len() {
        let id = TileId::new(index);
        add_tile(&mut archive, id, deployed.tile(id))?;
        let Pairs { plus, minus } = deployed.targets(id);
        archive.add(format!("{id}_plus"), &plus)?;
        archive.add(format!("{id}_minus"), &minus)?;
        if let Some(Pairs { plus, minus }) = deployed.programmed(id)? {
            archive.add(format!("{id}_plus_programmed"), &plus)?;
            archive.add(format!("{id}_minus_programmed"), &minus)?;
        }
        if let Some(senses) = deployed.senses(id) {
            let (gains, offsets): (Vec<_>, Vec<_>) =
                senses.iter().map(|&Sense { gain, offset_lsb }| (gain, offset_lsb)).unzip();
            archive.add_list(format!("{id}_readout_gain"), gains)?;
            archive.add_list(format!("{id}_readout_offset_lsb"), offsets)?;
        }
    }
    for array in deployed.arrays() {
        if let Some(TrueCells { conductances, read_sds }) = deployed.true_cells(array)? {
            archive.add(format!("{array}_conductances"), &conductances)?;
            archive.add(format!("{array}_read_sds"), &read_sds)?;
        }
    }
    let net = &deployed.image.net;
    for (id, layer) in net.layers.iter_enumerated() {
        archive.add_list(format!("{id}_bias"), layer.bias.iter().copied())?;
    }
    for (id, constant) in net.program.consts.iter_enumerated() {
        archive.add(id.to_string(), &constant.value.to_owned())?;
    }
    sink("tiles.npz", archive.0.finish().map_err(failed)?.into_inner())?;
    sink("manifest.json", write_manifest(deployed).into_bytes())
}

fn add_tile(archive: &mut Archive, id: TileId, tile: &ProgrammedTile) -> Result<()> {
    let wiring = &tile.wiring;
    let lines = [
        ("plus_rows", &wiring.plus_rows),
        ("minus_rows", &wiring.minus_rows),
        ("plus_cols", &wiring.plus_cols),
        ("minus_cols", &wiring.minus_cols),
    ];
    for (name, lines) in lines {
        archive.add_list(format!("{id}_{name}"), lines.iter().copied())?;
    }
    archive.add_list(format!("{id}_drive_sum"), tile.drive_sum.iter().copied())?;
    let readouts = || tile.readouts.iter();
    archive.add_list(format!("{id}_readout_col"), readouts().map(|it| it.readout.col))?;
    archive.add_list(format!("{id}_readout_slice"), readouts().map(|it| it.readout.slice))?;
    archive
        .add_list(format!("{id}_readout_rows_start"), readouts().map(|it| it.readout.rows.start))?;
    archive.add_list(format!("{id}_readout_rows_end"), readouts().map(|it| it.readout.rows.end))?;
    let terminal = |it: &ScaledReadout| match it.readout.terminal {
        Terminal::Pair => 0u8,
        Terminal::Plus => 1,
        Terminal::Minus => 2,
    };
    archive.add_list(format!("{id}_readout_terminal"), readouts().map(terminal))?;
    archive.add_list(format!("{id}_readout_lo"), readouts().map(|it| it.readout.range.lo))?;
    archive.add_list(format!("{id}_readout_hi"), readouts().map(|it| it.readout.range.hi))?;
    archive.add_list(format!("{id}_readout_scale"), readouts().map(|it| it.scale))?;
    archive.add_list(format!("{id}_readout_shift"), readouts().map(|it| it.shift))?;
    Ok(())
}
