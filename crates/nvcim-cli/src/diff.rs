//! `nvcim diff A B`: two images side by side.

use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::diff::diff_images;
use serde_json::json;

use crate::files::open_image;
use crate::terminal::{Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// One image.
    a: PathBuf,
    /// The other image.
    b: PathBuf,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let a = open_image(&args.a, None, false, terminal)?;
    let b = open_image(&args.b, None, false, terminal)?;
    let diff = diff_images(&a, &b);
    let document = json!({
        "schema": "nvcim.diff/1",
        "same_chip": diff.same_chip,
        "same_model": diff.same_model,
        "same_program": diff.same_program,
        "tiles_moved": diff.tiles_moved,
        "readouts_changed": diff.readouts_changed,
        "cells_changed": diff.cells_changed,
        "arrays_touched": diff.arrays_touched,
    });
    terminal.print(&document, || {
        let same = |same: bool| if same { "same" } else { "different" };
        format!(
            "chip      {}\nmodel     {}\nprogram   {}\ntiles     {} moved\nreadouts  {} changed\n\
             cells     {} changed\narrays    {} touched",
            same(diff.same_chip),
            same(diff.same_model),
            same(diff.same_program),
            diff.tiles_moved,
            diff.readouts_changed,
            diff.cells_changed,
            diff.arrays_touched,
        )
    });
    Ok(ExitCode::SUCCESS)
}
