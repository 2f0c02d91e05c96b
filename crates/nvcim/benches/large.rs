//! How long one core takes from the file of a large network to its place on arrays.
//!
//! `cargo bench --workspace --bench large` prints a table of CPU times, the best of some turns: importing the
//! file; then, for each way of packing, a sketch of its mapping (folding, lowering, cutting, packing, placing),
//! the costs of a sample, and copies of layers on four times the arrays. Arrays are 512x512 cells of 8 bits in
//! pairs on columns, as many as needed; MobileNetV2 comes a second time with its depthwise layers digital. Limits to keep, packed or not: ResNet-18 50 ms; ResNet-50, MobileNetV2
//! and ViT-tiny 100 ms; VGG-16 and BERT-base 300 ms.
//!
//! `tests/large/make_networks.py` writes the networks into `target/large-networks`; names or parts of names behind
//! `--` choose some of them.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::time::Duration;

use cpu_time::ThreadTime;
use nvcim::cost::count_costs;
use nvcim::describe::{Chip, Depthwise, Pack};
use nvcim::diag::Diagnostic;
use nvcim::model::Model;
use nvcim::presets::find_preset;
use nvcim::replicate::{Objective, plan_replication};
use nvcim_ir::graph::Graph;
use nvcim_map::map_graph::{MapOptions, sketch_graph};

/// Networks by the names of their files, with the limit of everything after the import in ms and the place of
/// depthwise layers.
const NETWORKS: [(&str, u64, Depthwise); 7] = [
    ("resnet-18", 50, Depthwise::Arrays),
    ("resnet-50", 100, Depthwise::Arrays),
    ("mobilenet-v2", 100, Depthwise::Arrays),
    ("mobilenet-v2", 100, Depthwise::Digital),
    ("vit-tiny", 100, Depthwise::Arrays),
    ("vgg-16", 300, Depthwise::Arrays),
    ("bert-base", 300, Depthwise::Arrays),
];

/// Turns of each time.
const TURNS: usize = 5;

fn main() -> Result<(), Vec<Diagnostic>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.expect("a machine that runs this has room for one more thread").install(print_times)
}

fn print_times() -> Result<(), Vec<Diagnostic>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/large-networks");
    println!("CPU time on one core in ms, the best of {TURNS} turns\n");
    println!(
        "| network | weights, million | import | none | concurrent | dense | limit | arrays |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    // Cargo itself passes `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|it| name.contains(it));
    for (name, limit, depthwise) in NETWORKS.into_iter().filter(|it| wanted(it.0)) {
        let file = folder.join(format!("{name}.onnx"));
        if !file.is_file() {
            println!("| {name} | no {} | | | | | | |", file.display());
            continue;
        }
        let model = Model::open(&file)?;
        let (graph, import) = best(|| model.import().map(|it| it.output))?;
        let mut times = Vec::new();
        let mut arrays = Vec::new();
        for (_, pack) in Pack::NAMES {
            let (needed, spent) = best(|| plan(&graph, &chip(depthwise), *pack))?;
            times.push(format!("{:.1}", millis(spent)));
            arrays.push(needed.to_string());
        }
        println!(
            "| {name}{} | {:.1} | {:.1} | {} | {limit} | {} |",
            if depthwise == Depthwise::Digital { ", depthwise digital" } else { "" },
            count_weights(&graph) as f64 / 1e6,
            millis(import),
            times.join(" | "),
            arrays.join(", "),
        );
    }
    Ok(())
}

/// Everything that `nvcim check --replicate` does with a graph; the arrays needed.
fn plan(graph: &Graph, chip: &Chip, pack: Pack) -> Result<usize, Vec<Diagnostic>> {
    let options = MapOptions { pack: Some(pack), ..MapOptions::default() };
    let sketch = sketch_graph(graph, chip, &options)?;
    let needed = sketch.outline.arrays_needed;
    let cost = count_costs(&sketch.net, chip);
    for objective in [Objective::Throughput, Objective::Latency] {
        plan_replication(&cost, 4 * needed, objective)?;
    }
    Ok(needed)
}

/// As many arrays of 512x512 cells as needed, and any way of packing.
fn chip(depthwise: Depthwise) -> Chip {
    let mut chip = find_preset("pcm-hermes").expect("the preset is built in");
    (chip.arrays.n_rows, chip.arrays.n_cols) = (512, 512);
    (chip.arrays.count, chip.arrays.pack) = (None, Some(Pack::Dense));
    chip.arrays.depthwise = depthwise;
    chip
}

fn count_weights(graph: &Graph) -> usize {
    graph.consts.iter().map(|constant| constant.value.len()).sum()
}

/// What `run` gives, and the least CPU time that it took on this thread.
fn best<T>(
    mut run: impl FnMut() -> Result<T, Vec<Diagnostic>>,
) -> Result<(T, Duration), Vec<Diagnostic>> {
    let mut least = Duration::MAX;
    let mut last = None;
    for _ in 0..TURNS {
        drop(last);
        let start = ThreadTime::now();
        let made = run()?;
        least = least.min(start.elapsed());
        last = Some(made);
    }
    Ok((last.expect("there is at least one turn"), least))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
