//! `nvcim check MODEL`: where every node runs, whether the model fits, what a sample costs.

use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::check::{Checked, Where, check_model};
use nvcim::cost::NetCost;
use nvcim::describe::{Chip, Pack};
use nvcim::model::Model;
use nvcim::replicate::{Objective, Replication, plan_replication};
use serde_json::json;

use crate::args::{parse_count, parse_pack};
use crate::cost;
use crate::files::open_chip;
use crate::terminal::{Failure, Terminal, to_json};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// ONNX file.
    model: PathBuf,
    /// Preset's name or TOML file.
    #[arg(long, default_value = "ideal")]
    chip: String,
    /// Plan copies of layers: for the shortest interval between samples, or for the latency of one.
    #[arg(long, value_name = "WHAT")]
    replicate: Option<Replicate>,
    /// Arrays to plan copies on, those of the network included [default: the chip's].
    #[arg(long, value_name = "N", requires = "replicate", value_parser = parse_count)]
    arrays: Option<usize>,
    /// How tiles share arrays [default: as the chip file says, else none].
    ///
    /// none, a tile has its array to itself; concurrent, tiles use lines of their own and may run at any time;
    /// dense, tiles use cells of their own and take turns.
    #[arg(long, value_name = "WAY", value_parser = parse_pack)]
    pack: Option<Pack>,
}

/// What copies are to shorten.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Replicate {
    /// The interval between samples, exactly, with no more copies than it takes.
    Throughput,
    /// The time from a sample's input to its output.
    Latency,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let chip = open_chip(&args.chip, terminal)?;
    let n_arrays = args.arrays.or(chip.arrays.count);
    if args.replicate.is_some() && n_arrays.is_none() {
        let message = format!("chip `{}` has as many arrays as needed", chip.name);
        return Err(Failure::usage_hint("--replicate", &message, "say how many with `--arrays N`"));
    }
    let checked = check_model(&Model::open(&args.model)?, &chip, args.pack)?;
    terminal.warn(&checked.remarks);
    let plan = plan_copies(args, &checked, n_arrays)?;
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
        "cell_utilisation": utilisation(&checked, &chip),
        "cost": checked.cost.as_ref().map(cost::to_json),
        "replication": plan.as_ref().map(|(plan, cost)| cost::replication_to_json(plan, cost)),
        "remarks": checked.remarks.iter().map(to_json).collect::<Vec<_>>(),
    });
    terminal.print(&document, || {
        let copies = plan.as_ref().map(|(plan, cost)| cost::describe_replication(plan, cost));
        let costs = checked.cost.as_ref().map(cost::describe);
        let parts = [Some(describe(&checked, &chip)), costs, copies];
        let parts: Vec<_> = parts.iter().flatten().map(|part| part.trim_end()).collect();
        parts.join("\n\n")
    });
    Ok(if checked.fits { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// The copies asked for. Where the network does not fit, and no other number of arrays is given, the check has
/// said so already.
fn plan_copies<'a>(
    args: &Args,
    checked: &'a Checked,
    n_arrays: Option<usize>,
) -> Result<Option<(Replication, &'a NetCost)>, Failure> {
    let (Some(replicate), Some(n_arrays), Some(cost)) = (args.replicate, n_arrays, &checked.cost)
    else {
        return Ok(None);
    };
    if args.arrays.is_none() && !checked.fits {
        return Ok(None);
    }
    let objective = match replicate {
        Replicate::Throughput => Objective::Throughput,
        Replicate::Latency => Objective::Latency,
    };
    Ok(Some((plan_replication(cost, n_arrays, objective)?, cost)))
}

/// Share of the needed arrays' cells that hold weights; 0 where no array is needed.
fn utilisation(checked: &Checked, chip: &Chip) -> Option<f64> {
    let all = checked.arrays_needed? * chip.arrays.n_rows * chip.arrays.n_cols;
    Some(checked.cells? as f64 / all.max(1) as f64)
}

fn describe(checked: &Checked, chip: &Chip) -> String {
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
    let name = &chip.name;
    let in_use = 100.0 * utilisation(checked, chip).unwrap_or(0.0);
    let bound = checked.arrays_bound.unwrap_or(0);
    let counts = format!("(at least {bound}), {in_use:.1} % of their cells in use");
    text += &match (unsupported, checked.arrays_needed) {
        (0, Some(needed)) if checked.fits => format!("fits `{name}`: {needed} arrays {counts}"),
        (0, Some(needed)) => format!("does not fit `{name}`: needs {needed} arrays {counts}"),
        _ => format!("cannot be compiled: {unsupported} unsupported nodes"),
    };
    text
}
