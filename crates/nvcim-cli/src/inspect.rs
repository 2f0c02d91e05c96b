//! `nvcim inspect FILE`: what a file is, and what it holds; any damage is an error.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::chips::describe_weights;
use nvcim::codec;
use nvcim::inspect::{Contents, hash_contents, inspect_bytes};
use nvcim::layout::Image;
use serde_json::{Value, json};

use crate::files::read_file;
use crate::terminal::{Failure, Terminal, hex};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Image, chip, die, ONNX model or `.npz`.
    file: PathBuf,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let bytes = read_file(&args.file)?;
    let contents = inspect_bytes(&args.file.display().to_string(), &bytes)?;
    let hash = hex(&hash_contents(&contents, &bytes));
    let (details, text) = describe(&contents, &bytes)?;
    let document = json!({
        "schema": "nvcim.inspect/1",
        "file": args.file,
        "kind": contents.kind(),
        "version": contents.version(),
        "hash": hash,
        "bytes": bytes.len(),
        "contents": details,
    });
    terminal.print(&document, || {
        let kind = match &contents {
            // Its version says nothing of how it is read.
            Contents::Onnx(_) => contents.kind().to_owned(),
            other => format!("{} version {}", other.kind(), other.version()),
        };
        format!("{kind}, {} bytes\nhash {hash}\n{text}", bytes.len()).trim_end().to_owned()
    });
    Ok(ExitCode::SUCCESS)
}

fn describe(contents: &Contents, bytes: &[u8]) -> Result<(Value, String), Failure> {
    Ok(match contents {
        Contents::Image(image) => describe_image(image, bytes)?,
        Contents::Chip(chip) => (
            json!({"name": chip.name, "description": chip.description}),
            format!("{}: {}", chip.name, chip.description),
        ),
        Contents::Onnx(counts) => {
            let operators: serde_json::Map<_, _> =
                counts.iter().map(|(op, count)| (op.clone(), json!(count))).collect();
            let text = counts.iter().map(|(op, count)| format!("{count:>5} {op}\n")).collect();
            (json!({"operators": operators}), text)
        }
        Contents::Die | Contents::Npz => (Value::Null, String::new()),
    })
}

fn describe_image(image: &Image, bytes: &[u8]) -> Result<(Value, String), Failure> {
    let sections = codec::list_sections(bytes)?;
    let provenance = &image.provenance;
    let die = provenance.die.as_ref();
    let details = json!({
        "chip": image.chip.name,
        "chip_hash": hex(&nvcim::file::hash_chip(&image.chip)),
        "tool_version": provenance.tool_version,
        "model_hash": hex(&provenance.model_hash),
        "die": die.map(|die| json!({"name": die.name, "seed": die.seed, "hash": hex(&die.hash)})),
        "corrections": provenance.corrections,
        "effects": provenance.effects,
        "at_seconds": provenance.at_s,
        "layers": image.net.layers.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>(),
        "tiles": image.net.tiles.len(),
        "arrays": count_used(image),
        "weights": describe_weights(&image.chip),
        "steps": image.net.program.steps.len(),
        "sections": sections.iter().map(|section| json!({
            "name": section.name, "offset": section.offset, "length": section.length,
        })).collect::<Vec<_>>(),
    });
    let tiles = &image.net.tiles;
    let readouts = tiles.iter().map(|tile| tile.readouts.len()).sum::<usize>();
    let mut text = format!("chip   {}\n", image.chip.name);
    text += &format!("tiles  {} on {} arrays, ", tiles.len(), count_used(image));
    text += &format!("{readouts} readouts; a weight is {}\n", describe_weights(&image.chip));
    text += &match die {
        Some(die) => {
            format!("die    {}, corrected by {}\n", die.name, provenance.corrections.join(", "))
        }
        None => "die    any\n".to_owned(),
    };
    if provenance.at_s > 0.0 {
        text += &format!("at     {} s after programming\n", provenance.at_s);
    }
    text += &format!("model  {}\n\n", hex(&provenance.model_hash));
    for section in &sections {
        text += &format!(
            "{:<12} at {:>9}, {:>9} bytes\n",
            section.name, section.offset, section.length
        );
    }
    text += &format!("\n{}", image.net.program);
    Ok((details, text))
}

/// Arrays with cells in use.
fn count_used(image: &Image) -> usize {
    let sides = image.net.tiles.iter().flat_map(|tile| tile.wiring.sides(tile.array));
    sides.map(|(array, ..)| array).collect::<BTreeSet<_>>().len()
}
