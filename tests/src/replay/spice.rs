//! ngspice finds the currents that the exact network has, on exported tiles of 32 by 16 cells.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libtest_mimic::{Failed, Trial};
use ndarray::Array1;
use nvcim::conditions::Conditions;
use nvcim::demo;
use nvcim::describe::{Chip, InputDrive, PairAxis, Topology};
use nvcim::effects::EffectSet;
use nvcim::effects::ir_drop::{IrDrop, IrDropMethod};
use nvcim::export::{Format, OnDie, export_image};
use nvcim::ids::{ArrayId, Id};
use nvcim::model::Model;
use nvcim::pipeline::{CompileOptions, compile_model};
use nvcim::presets::find_preset;
use nvcim_chip::die::program_net;
use nvcim_chip::network::Wires;
use nvcim_chip::network::passive::transfer_matrix;
use nvcim_sim::die::SimDie;
use nvcim_sim::sample::sample_die;

use crate::{fail, say};

/// Share of a tile's largest current by which two programs may differ.
const TOLERANCE: f64 = 1e-6;

/// Arrays that are compared, of the many that the network takes.
const COMPARED: usize = 3;

/// One test without wires and one with, pairs on columns and on rows.
pub(crate) fn trials() -> Vec<Trial> {
    let resistive =
        Wires { word_line_ohm: 2.0, bit_line_ohm: 3.0, driver_ohm: 40.0, sense_ohm: 25.0 };
    let without_driver = Wires { driver_ohm: 0.0, word_line_ohm: 0.0, ..resistive };
    let cases = [
        ("without_wires", None, PairAxis::Columns),
        ("with_wires", Some(resistive), PairAxis::Columns),
        ("with_ideal_word_lines", Some(without_driver), PairAxis::Columns),
        ("with_pairs_on_rows", Some(resistive), PairAxis::Rows),
    ];
    let trial = |(name, wires, pairs)| {
        Trial::test(format!("ngspice_agrees::{name}"), move || compare(name, wires, pairs))
    };
    cases.into_iter().map(trial).collect()
}

fn small_chip(wires: Option<Wires>, pairs: PairAxis) -> Chip {
    let mut chip = find_preset("nor-flash-lenet").expect("the preset is bundled");
    chip.arrays.count = None;
    (chip.arrays.n_rows, chip.arrays.n_cols) = (32, 16);
    (chip.arrays.topology, chip.arrays.pairs) = (Topology::Passive, pairs);
    (chip.cell.g_min, chip.cell.g_max) = (0.5e-6, 100e-6);
    chip.dac.coding = InputDrive::Amplitude;
    let ir_drop = |wires| IrDrop { wires, method: IrDropMethod::Exact, gated: None };
    chip.effects.ir_drop = wires.map(ir_drop);
    chip
}

fn compare(name: &str, wires: Option<Wires>, pairs: PairAxis) -> Result<(), Failed> {
    let chip = small_chip(wires, pairs);
    let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
    let image =
        compile_model(&model, &chip, &CompileOptions::default()).map_err(fail)?.output.image;
    let die = sample_die(&chip, 5, nvcim::programmed::count_arrays(&image.net));
    let conditions =
        Conditions { effects: EffectSet::ALL, at_s: 0.0, extrapolate: false, run_seed: 0 };
    let mut netlists = Vec::new();
    let mut keep = |_: &str, bytes| {
        netlists.push(bytes);
        Ok(())
    };
    let on_die = OnDie { record: &die, conditions };
    export_image(&image, Some(on_die), Format::Spice, &mut keep).map_err(fail)?;
    let mut sim = SimDie::new(&chip, &die, conditions);
    program_net(&mut sim, &image.net, &chip.cell).map_err(fail)?;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("spice-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut worst: f64 = 0.0;
    for (array, bytes) in netlists.into_iter().enumerate().take(COMPARED) {
        let cells = sim.true_cells(ArrayId::new(array)).map_err(fail)?.conductances;
        let transfer = transfer_matrix(cells.view(), &wires.unwrap_or(Wires::IDEAL));
        let netlist = String::from_utf8(bytes)?;
        let asked = drives(&netlist)?;
        let other: Vec<f64> =
            (0..asked.len()).map(|row| ((row * 37 + 11) % 33) as f64 / 16.0 - 1.0).collect();
        for (netlist, drives) in [(netlist.clone(), asked), (set_drives(&netlist, &other), other)] {
            let want = transfer.dot(&Array1::from_vec(drives));
            let got = run_ngspice(&folder.join("tile.sp"), &netlist)?;
            worst = worst.max(distance(&got, want.as_slice().ok_or("currents lie side by side")?)?);
        }
    }
    say(&format!(
        "    {name}: {COMPARED} arrays of 32x16, largest difference {worst:.1e} of the largest current"
    ));
    if worst > TOLERANCE {
        return Err(format!("{worst:e} is beyond {TOLERANCE:e}, see {}", folder.display()).into());
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The volts that a netlist drives word lines with.
fn drives(netlist: &str) -> Result<Vec<f64>, Failed> {
    let lines = netlist.lines().filter_map(|line| line.strip_prefix(".param d"));
    let volts = lines.map(|line| line.split_once('=').and_then(|it| it.1.parse().ok()));
    let volts: Option<Vec<f64>> = volts.collect();
    volts.filter(|it| it.len() == 32).ok_or_else(|| "a netlist drives 32 word lines".into())
}

/// The netlist with other volts, as its head says that it may be changed.
fn set_drives(netlist: &str, volts: &[f64]) -> String {
    let mut rows = volts.iter().enumerate();
    let line = |line: &str| match line.strip_prefix(".param d") {
        Some(_) => rows
            .next()
            .map_or_else(String::new, |(row, volts)| format!(".param d{row}={volts:?}\n")),
        None => format!("{line}\n"),
    };
    netlist.lines().map(line).collect()
}

/// The currents of the bit lines that ngspice prints, in amperes.
fn run_ngspice(path: &Path, netlist: &str) -> Result<Vec<f64>, Failed> {
    fs::write(path, netlist)?;
    let output = Command::new("ngspice").arg("-b").arg(path).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let current = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        let col: usize = name.strip_prefix("i(vs")?.strip_suffix(')')?.parse().ok()?;
        Some((col, value.trim().parse::<f64>().ok()?))
    };
    let currents: Vec<_> = text.lines().filter_map(current).collect();
    if currents.iter().enumerate().any(|(at, (col, _))| at != *col) || currents.len() != 16 {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ngspice answers `{text}{errors}`").into());
    }
    Ok(currents.into_iter().map(|(_, current)| current).collect())
}

/// The largest difference, as a share of the largest current.
fn distance(got: &[f64], want: &[f64]) -> Result<f64, Failed> {
    let largest = want.iter().fold(0.0f64, |max, y| max.max(y.abs()));
    let worst = got.iter().zip(want).fold(0.0f64, |max, (got, want)| max.max((got - want).abs()));
    if largest > 1e-6 { Ok(worst / largest) } else { Err("no current flows".into()) }
}
