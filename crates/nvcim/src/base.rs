//! An image for any die as the base of images for one: what does not depend on the die is taken from it.
//!
//! Its tiles keep their places, its converter calibration saves a pass of calibration images through the network,
//! and tiles that a die does not harm keep its targets, so that a chip which already holds it is reprogrammed only
//! where it must be.

use nvcim_chip::describe::Chip;
use nvcim_chip::file;
use nvcim_image::layout::{Image, Provenance};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_map::calibrate::Calibration;
use nvcim_map::cut::Cut;
use nvcim_map::pack::Placed;
use nvcim_map::place::find_spot;

/// Checks that a base is of the model with this name and hash, and of this chip, and holds the naive mapping; a warning where its ranges were
/// set on other data than `calibration_hash`.
///
/// # Errors
/// A base of another model or chip, or one that was compiled for a die.
pub fn check_base(
    base: &Image,
    (name, hash): (&str, [u8; 32]),
    chip: &Chip,
    calibration_hash: Option<[u8; 32]>,
) -> Result<Option<Diagnostic>> {
    let problem = |message: String, hint: String| {
        Err(Diagnostic::bad_input("--base", message).hint(hint).into())
    };
    let Provenance { model_hash, die, tool_version, .. } = &base.provenance;
    let remedy = "compile one without `--die`, for the same model and chip";
    if !file::is_same_chip(&base.chip, chip) {
        let message = format!("was compiled for chip `{}`, not for this one", base.chip.name);
        return problem(message, remedy.into());
    }
    if *model_hash != hash {
        return problem(format!("was not compiled from `{name}`"), remedy.into());
    }
    if let Some(die) = die {
        let message = format!("was compiled for die `{}`, a base must be for any die", die.name);
        return problem(message, remedy.into());
    }
    if tool_version != env!("CARGO_PKG_VERSION") {
        let message = format!("was compiled by version {tool_version}, which may map otherwise");
        return problem(message, "compile it anew with this version".into());
    }
    let differs =
        calibration_hash.is_some() && calibration_hash != base.provenance.calibration_hash;
    let message = "converter ranges are those of the base, which were not set on these images";
    let hint = "compile the base with the same `--calib` and data options";
    Ok(differs.then(|| Diagnostic::bad_input("--calib", message).hint(hint)))
}

/// Where an image for any die has its tiles.
pub fn places_of(base: &Image) -> Vec<Placed> {
    let place = |tile: &ProgrammedTile| Placed {
        cut: Cut { layer: tile.layer, rows: tile.rows.clone(), cols: tile.cols.clone() },
        spot: find_spot(tile.array, &tile.wiring, &base.chip),
    };
    base.net.tiles.iter().map(place).collect()
}

/// The converter calibration that an image for any die holds.
pub fn calibration_of(base: &Image) -> Calibration {
    let readouts = base.net.tiles.iter().map(|tile| {
        let readouts = tile.readouts.iter();
        readouts.map(|scaled| scaled.readout).collect()
    });
    Calibration {
        inputs: base.net.layers.iter().map(|layer| layer.input).collect(),
        readouts: readouts.collect(),
    }
}
