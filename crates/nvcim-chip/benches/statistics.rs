//! How long the statistics of a chip's cells take, and a target looked up in them; one day of drift.

use divan::Bencher;
use nvcim_chip::effects::EffectSet;
use nvcim_chip::presets::{PRESETS, find_preset};
use nvcim_chip::statistics::CellStatistics;

const DAY: f64 = 86_400.0;

fn main() {
    divan::main();
}

fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

#[divan::bench(args = names())]
fn build(bencher: Bencher<'_, '_>, name: &str) {
    let chip = find_preset(name).expect("the list of presets names it");
    bencher.bench(|| CellStatistics::new(&chip, EffectSet::ALL, DAY));
}

/// A thousand targets.
#[divan::bench(args = names())]
fn invert(bencher: Bencher<'_, '_>, name: &str) {
    let chip = find_preset(name).expect("the list of presets names it");
    let statistics = CellStatistics::new(&chip, EffectSet::ALL, DAY);
    let wanted = (0..1000).map(|step| chip.cell.g_max * f64::from(step) / 1000.0);
    bencher.bench(|| wanted.clone().map(|it| statistics.target_for(it)).sum::<f64>());
}
