//! `nvcim check MODEL`: where every node runs, and whether the model fits.

use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::check::{Checked, Where, check_model};
use nvcim::model::Model;
use serde_json::json;

use crate::files::open_chip;
use crate::terminal::{Failure, Terminal, to_json};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// ONNX file.
    model: PathBuf,
    /// Preset's name or TOML file.
    #[arg(long, default_value = "ideal")]
    chip: String,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let chip = open_chip(&args.chip, terminal)?;
    let checked = check_model(&Model::open(&args.model)?, &chip)?;
    terminal.warn(&checked.remarks);
    let nodes: Vec<_> = checked
        .nodes
        .iter()
        .map(|node| {
            json!({
                "name": node.name, "op": node.op, "place": node.place.name(),
                "reason": node.reason, "hint": node.hint,
            })
        })
        .collect();
    let document = json!({
        "schema": "nvcim.check/1",
        "chip": chip.name,
        "nodes": nodes,
        "fits": checked.fits,
        "arrays_needed": checked.arrays_needed,
        "arrays_bound": checked.arrays_bound,
        "arrays_available": chip.arrays.count,
        "cells": checked.cells,
        "remarks": checked.remarks.iter().map(to_json).collect::<Vec<_>>(),
    });
    terminal.print(&document, || describe(&checked, &chip.name));
    Ok(if checked.fits { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn describe(checked: &Checked, chip: &str) -> String {
    let width = |pick: fn(&nvcim::check::CheckedNode) -> usize| {
        checked.nodes.iter().map(pick).max().unwrap_or(0)
    };
    // Exporters write names of any length; a longer one pushes its own line only.
    let (names, ops) = (width(|node| node.name.len()).min(40), width(|node| node.op.len()));
    let mut text = String::new();
    for node in &checked.nodes {
        let (name, op, place) = (&node.name, &node.op, node.place.name());
        text += &format!("{name:<names$}  {op:<ops$}  {place:<11}  {}\n", node.reason);
        if !node.hint.is_empty() {
            text += &format!("{:names$}  {:ops$}  {:11}  hint: {}\n", "", "", "", node.hint);
        }
    }
    let unsupported = checked.nodes.iter().filter(|node| node.place == Where::Unsupported).count();
    text += "\n";
    text += &match (unsupported, checked.arrays_needed) {
        (0, Some(needed)) if checked.fits => format!("fits `{chip}`: {needed} arrays"),
        (0, Some(needed)) => format!("does not fit `{chip}`: needs {needed} arrays"),
        _ => format!("cannot be compiled: {unsupported} unsupported nodes"),
    };
    text
}
