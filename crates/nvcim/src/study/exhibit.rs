//! A look into one die: layers, converters, cells and mistakes, without corrections and with them.
//!
//! What is drawn is worked out here, where network and images are, and kept beside the results; a report needs
//! nothing else.

use ndarray::Axis;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::record::DieRecord;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::Id;
use nvcim_ops::run_program::run_program;
use serde::{Deserialize, Serialize};

use crate::campaign::{DieOutcome, Outcome};
use crate::data::Dataset;
use crate::export::{Deployed, OnDie, Pairs};
use crate::pipeline::Compiled;
use crate::report::{Page, write_anatomy};
use crate::simulate::{classify, load_image, run_data};
use crate::study::Study;
use crate::study::cell::{Cell, unlabelled};
use crate::study::method::Method;
use crate::verify::{LayerCheck, compare_layers};

/// Bins of a histogram over the range of a converter and half as much on either side.
pub const BINS: usize = 80;

/// Bins of conductances, along targets and along what was programmed.
pub const CELL_BINS: usize = 40;

/// Images whose conversions are counted.
const IMAGES_CONVERTED: usize = 8;

/// One die of one network on one chip. Pairs are of the naive mapping and of the corrected one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exhibit {
    /// The key that the agenda asks for.
    pub key: String,
    /// Name of the network.
    pub network: String,
    /// Name of the chip.
    pub chip: String,
    /// Seed of the die.
    pub die: u64,
    /// Test images.
    pub images: usize,
    /// Accuracies in percent.
    pub accuracy: [f64; 2],
    /// The matrix layers, in program order.
    pub layers: Vec<LayerView>,
    /// Images by class and by answer.
    pub confusion: [Vec<Vec<u32>>; 2],
    /// What cells were told and what they became, of the corrected image.
    pub cells: CellView,
    /// Sections of the report on the corrected image: chip floor, one array, corrections, layers.
    pub anatomy: String,
}

/// One matrix layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerView {
    /// Name of its ONNX node.
    pub name: String,
    /// Signal-to-noise ratio in dB, fed with the float network's inputs.
    pub snr_single_db: [f64; 2],
    /// Signal-to-noise ratio in dB, fed with the image's own inputs.
    pub snr_entire_db: [f64; 2],
    /// Share of conversions that clip, in percent.
    pub clipped_percent: [f64; 2],
    /// What converters are given, in [`BINS`] bins from half a range below the range to half a range above; what
    /// lies beyond counts in the outermost.
    pub conversions: [Vec<u64>; 2],
}

/// Cells by target and by what was programmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellView {
    /// Lowest and highest conductance of the cells, in siemens.
    pub range_siemens: (f64, f64),
    /// Number of cells by target and by conductance at the time of use, in [`CELL_BINS`] bins each over the
    /// range; what lies beyond counts in the outermost.
    pub counts: Vec<Vec<u32>>,
    /// Root mean square of the difference, as a share of the range in percent.
    pub rms_percent: f64,
}

impl Study {
    /// Looks into the die that the study names; `None` where it names none.
    ///
    /// # Errors
    /// Whatever compilation or simulation reports.
    pub fn look(&self) -> Result<Option<Exhibit>> {
        let Some(asked) = &self.agenda.exhibit else { return Ok(None) };
        let item = &self.agenda.cells[asked.cell];
        let place = self.cell(asked.cell, false);
        let naive = place.compile_naive()?.output;
        let die = place.draw_die(&naive.image, asked.die);
        let corrected = place.compile_for(&die, Method::Corrected.plan())?.output;
        let [before, after] = [&naive, &corrected].map(|it| View::new(&place, it, &die));
        let (before, after) = (before?, after?);
        let layers = before.layers.iter().zip(&after.layers);
        let counts = before.conversions.into_iter().zip(after.conversions);
        let layers = layers.zip(counts).map(|((before, after), counts)| LayerView {
            name: before.name.clone(),
            snr_single_db: [before.snr_single_db, after.snr_single_db],
            snr_entire_db: [before.snr_entire_db, after.snr_entire_db],
            clipped_percent: [100.0 * before.clip_fraction, 100.0 * after.clip_fraction],
            conversions: counts.into(),
        });
        let accuracy = [before.accuracy, after.accuracy];
        Ok(Some(Exhibit {
            key: asked.key.clone(),
            network: self.agenda.networks[item.network].name.clone(),
            chip: self.agenda.chips[item.chip].name.clone(),
            die: asked.die,
            images: place.data.len(),
            accuracy,
            layers: layers.collect(),
            confusion: [before.confusion, after.confusion],
            cells: view_cells(&place, &corrected.image, &die)?,
            anatomy: self.describe_anatomy(&place, (naive, corrected), accuracy),
        }))
    }

    /// Sections of an ordinary report about the two images.
    fn describe_anatomy(
        &self,
        place: &Cell<'_>,
        (naive, corrected): (Compiled, Compiled),
        [before, after]: [f64; 2],
    ) -> String {
        let seed = self.agenda.exhibit.as_ref().map_or(0, |asked| asked.die);
        let outcome = Outcome {
            float_accuracy: 0.0,
            ideal_accuracy: 0.0,
            dies: vec![DieOutcome { seed, naive: before, corrected: after }],
            recovery: None,
            naive,
            corrected,
            warnings: Vec::new(),
        };
        write_anatomy(&Page {
            title: &self.agenda.name,
            model: place.model,
            chip: place.chip,
            outcome: &outcome,
            images: place.data.len(),
            command: "",
        })
    }
}

/// One image on the die.
struct View {
    accuracy: f64,
    layers: Vec<LayerCheck>,
    confusion: Vec<Vec<u32>>,
    conversions: Vec<Vec<u64>>,
}

impl View {
    fn new(place: &Cell<'_>, compiled: &Compiled, die: &DieRecord) -> Result<Self> {
        let image = &compiled.image;
        let conditions = place.conditions(EffectSet::ALL, place.used_at_s);
        let machine = load_image(image, die, conditions)?;
        let run = run_data(&machine, place.data, &|_| ())?;
        let labels = place.data.labels(0..place.data.len()).ok_or_else(unlabelled)?;
        let classes = run.outputs.len() / run.outputs.len_of(Axis(0)).max(1);
        let mut confusion = vec![vec![0; classes]; classes];
        for (answer, label) in classify(&run.outputs).zip(labels) {
            let row = usize::try_from(*label).ok().and_then(|label| confusion.get_mut(label));
            if let Some(count) = row.and_then(|row| row.get_mut(answer as usize)) {
                *count += 1;
            }
        }
        let graph = place.model.import()?.output;
        Ok(Self {
            accuracy: run.accuracy.ok_or_else(unlabelled)?,
            layers: compare_layers(image, &machine, &graph, place.data)?,
            confusion,
            conversions: count_conversions(place, image, die)?,
        })
    }
}

/// What the converters of each layer are given, see [`LayerView::conversions`].
fn count_conversions(place: &Cell<'_>, image: &Image, die: &DieRecord) -> Result<Vec<Vec<u64>>> {
    // Without its effect a converter hands on what it is given, in codes of the range that is set.
    let unconverted = EffectSet::ALL.without(Effect::Adc);
    let machine = load_image(image, die, place.conditions(unconverted, place.used_at_s))?;
    let net = &image.net;
    let highest = image.chip.adc.max_code() as f32;
    let mut counts = vec![vec![0; BINS]; net.layers.len()];
    let data: &Dataset = place.data;
    for first in 0..data.len().min(IMAGES_CONVERTED) {
        let input = data.batch(first..first + 1, machine.input_shape())?;
        let mut engine = machine.engine().recording();
        run_program(machine.program(), &input, first as u64, &mut engine, &mut |_, _| ());
        for (at, given) in engine.take_record() {
            let counts = &mut counts[net.tiles[at.tile].layer.index()];
            for code in &given.codes {
                counts[bin_of(f64::from(code / highest) / 2.0 + 0.25, BINS)] += 1;
            }
        }
    }
    Ok(counts)
}

/// The bin of a share of the whole; what lies beyond is in the outermost.
fn bin_of(share: f64, bins: usize) -> usize {
    ((share * bins as f64).floor().max(0.0) as usize).min(bins - 1)
}

fn view_cells(place: &Cell<'_>, image: &Image, die: &DieRecord) -> Result<CellView> {
    let conditions = place.conditions(EffectSet::ALL, place.used_at_s);
    let mut deployed = Deployed::new(image, Some(OnDie { record: die, conditions }))?;
    let cell = &image.chip.cell;
    let share = |g: f32| (f64::from(g) - cell.g_min) / cell.range();
    let mut counts = vec![vec![0; CELL_BINS]; CELL_BINS];
    let (mut squares, mut n) = (0.0, 0usize);
    for tile in image.net.tiles.ids() {
        let missing = || Diagnostic::internal("exhibit", "a die does not show its cells");
        let programmed = deployed.programmed(tile)?.ok_or_else(missing)?;
        let Pairs { plus, minus } = deployed.targets(tile);
        let sides = [(plus, programmed.plus), (minus, programmed.minus)];
        for (target, programmed) in sides {
            for (target, programmed) in target.iter().zip(&programmed) {
                let (target, programmed) = (share(*target), share(*programmed));
                counts[bin_of(target, CELL_BINS)][bin_of(programmed, CELL_BINS)] += 1;
                squares += (programmed - target) * (programmed - target);
                n += 1;
            }
        }
    }
    Ok(CellView {
        range_siemens: (cell.g_min, cell.g_max),
        counts,
        rms_percent: 100.0 * (squares / n.max(1) as f64).sqrt(),
    })
}
