//! Hardware-aware training of a model: the file in, the same file with better weights out.
//!
//! The network is imported and mapped as for compiling; what is trained are the matrices as they lie on the chip,
//! and what they learn is brought home to the constants of the file. Everything else of the file stays as it is,
//! byte for byte.

mod checkpoint;

use ndarray::Axis;
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::EffectSet;
use nvcim_chip::file::write_chip;
use nvcim_chip::record::DieRecord;
use nvcim_correct::plan::Plan;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::graph::Graph;
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::programmed::ProgrammedNet;
use nvcim_ir::tiled::{MatrixLayer, TiledNet};
use nvcim_map::calibrate::calibrate_again;
use nvcim_map::map_graph::map_graph_with;
use nvcim_map::unfold::{Homes, find_homes, unfold_layers};
use nvcim_onnx::write::replace_initializers;
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;
use nvcim_train::ground::Ground;
use nvcim_train::train::{Coach, Lessons, State, Trained, train};

use crate::data::Dataset;
use crate::model::{Imported, Model};
use crate::pipeline::{
    CALIBRATION_IMAGES, CompileOptions, compile_imported, hash_die, hash_tensor,
};
use crate::simulate::{DieChoice, count_correct, load_image, resolve_die};

pub use nvcim_train::train::{Epoch, TrainOptions};

/// What a training needs besides model, chip and data.
#[derive(Debug, Clone)]
pub struct TrainTask<'a> {
    /// The effects and the time that are trained for, and the seed of batches, dies and noise.
    pub conditions: Conditions,
    /// The die that is trained for; none for any die of the chip.
    pub die: Option<&'a DieRecord>,
    /// Whether the network is going to be corrected on its die.
    pub corrected: bool,
    /// Images at the end of the data that are held out; 0 for no validation.
    pub held_out: usize,
    /// Dies that the held-out images are run on after every epoch.
    pub dies: u64,
    /// The training itself.
    pub options: TrainOptions,
    /// A checkpoint to go on from.
    pub resume: Option<&'a [u8]>,
}

/// Those who hear of a training.
pub trait Audience {
    /// Stores a checkpoint.
    ///
    /// # Errors
    /// Whatever keeps it from being stored; training ends with it.
    fn store(&mut self, checkpoint: &[u8]) -> Result<()>;

    /// Hears of every step: images, number of the epoch from 0, its mean loss so far, and its share of right
    /// images in percent.
    fn hear(&mut self, images: usize, epoch: usize, loss: f64, accuracy: f64);

    /// Hears of every epoch that is over.
    fn hear_epoch(&mut self, number: usize, epoch: &Epoch);
}

/// A trained model.
#[derive(Debug, Clone)]
pub struct TrainedModel {
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// What became of each epoch.
    pub epochs: Vec<Epoch>,
    /// Images of one epoch.
    pub images: usize,
}

/// Seed of the first die that held-out images run on: far from those that anybody tests with.
const FIRST_DIE: u64 = 1 << 40;

/// Trains a model on a chip.
///
/// # Errors
/// Whatever a stage reports: a model that does not map to the chip or whose weights cannot be brought home, data
/// that does not suit, a checkpoint of another training, numbers that leave the range of f32.
pub fn train_model(
    model: &Model,
    chip: &Chip,
    data: &Dataset,
    task: &TrainTask<'_>,
    audience: &mut dyn Audience,
) -> Result<Warned<TrainedModel>> {
    let imported = model.load()?;
    let mut warnings = imported.warnings.clone();
    let graph = &imported.graph;
    let images = data.batch(0..data.len(), imported.input_shape())?;
    let labels = read_labels(data)?;
    let n_images = count_lessons(data.len(), task)?;
    let numbers: Vec<usize> = (0..data.len()).collect();
    let lessons = images.select(Axis(0), &numbers[..n_images]);
    let held_out = images.select(Axis(0), &numbers[n_images..]);
    drop(images);
    let calibration =
        lessons.slice_axis(Axis(0), (0..n_images.min(CALIBRATION_IMAGES)).into()).to_owned();

    let homes = find_homes(graph, chip.arrays.depthwise)?;
    let mapped =
        map_graph_with(graph, chip, Some(&calibration), &Default::default())?.unload(&mut warnings);
    check_homes(graph, &homes, &mapped.net)?;
    warnings.extend(task.conditions.check_time(chip)?);
    let biases: IdVec<LayerId, bool> =
        mapped.net.layers.ids().map(|layer| homes.holds_bias(layer)).collect();
    let stamp = stamp_task(&imported, chip, &lessons, labels.as_deref(), task);
    let state = task.resume.map(|bytes| checkpoint::decode(bytes, &stamp)).transpose()?;
    let labels = labels.as_deref();
    let pupil = Lessons {
        images: &lessons,
        labels: labels.map(|labels| &labels[..n_images]),
        biases: &biases,
    };
    let mut school = School {
        model,
        chip,
        task,
        untrained: &imported,
        homes: &homes,
        calibration: &calibration,
        held_out: &held_out,
        answers: labels.map(|labels| &labels[n_images..]),
        stamp,
        audience,
        n_told: state.as_ref().map_or(0, |state| state.epochs.len()),
    };
    let copies = task.corrected.then(|| school.count_copies()).transpose()?;
    let Conditions { effects, at_s, .. } = task.conditions;
    let ground = Ground { chip, effects, at_s, die: task.die, corrected: copies.as_ref() };
    warnings.extend(ground.warn_of_unseen());
    let trained = train(mapped.net, &ground, pupil, &task.options, state, &mut school)?;
    let Trained { parameters, epochs } = trained;
    school.tell(&epochs);
    let mut layers = nvcim_map::map_graph::lower_only(graph, chip)?.layers;
    for (layer, [weights, bias]) in layers.iter_mut().zip(parameters.iter()) {
        fill_layer(layer, weights, bias);
    }
    let bytes = write_back(model, graph, &homes, &layers)?;
    let output = TrainedModel { bytes, epochs, images: n_images };
    Ok(Warned { output, warnings })
}

fn fill_layer(layer: &mut MatrixLayer, weights: &[f32], bias: &[f32]) {
    let dim = layer.blocks.dim();
    layer.blocks = ndarray::ArcArray::from_shape_vec(dim, weights.to_vec())
        .expect("training keeps the number of weights");
    layer.bias = bias.to_vec();
}

/// The model's file with the constants that make `layers`.
fn write_back(
    model: &Model,
    graph: &Graph,
    homes: &Homes,
    layers: &IdVec<LayerId, MatrixLayer>,
) -> Result<Vec<u8>> {
    replace_initializers(&model.bytes, &unfold_layers(graph, homes, layers)?)
}

/// Makes sure, before hours are spent, that what is learnt can be brought home.
fn check_homes(graph: &Graph, homes: &Homes, net: &TiledNet) -> Result<()> {
    let mut layers = net.layers.clone();
    for layer in layers.iter_mut() {
        let dim = layer.blocks.dim();
        let moved = layer.blocks.iter().zip(0..).map(|(w, at)| w * (1.0 + 0.01 * (at % 7) as f32));
        layer.blocks = ndarray::ArcArray::from_shape_vec(dim, moved.collect())
            .expect("as many weights as before");
    }
    unfold_layers(graph, homes, &layers).map(|_| ())
}

fn read_labels(data: &Dataset) -> Result<Option<Vec<usize>>> {
    let Some(labels) = data.labels(0..data.len()) else { return Ok(None) };
    let read = |label: &i64| usize::try_from(*label);
    let labels: std::result::Result<Vec<usize>, _> = labels.iter().map(read).collect();
    labels.map(Some).map_err(|_| {
        Diagnostic::bad_input("training data", "has a label below 0")
            .hint("number the classes from 0 on")
            .into()
    })
}

/// Images to learn from: all but those held out.
fn count_lessons(n: usize, task: &TrainTask<'_>) -> Result<usize> {
    match n.checked_sub(task.held_out) {
        Some(left) if left > 0 => Ok(left),
        _ => {
            let message = format!("holds {n} images, of which {} are held out", task.held_out);
            let hint = "hold out fewer with `--hold-out N`, or give more images";
            Err(Diagnostic::bad_input("training data", message).hint(hint).into())
        }
    }
}

/// A hash of all that a training's result depends on.
fn stamp_task(
    model: &Imported,
    chip: &Chip,
    lessons: &Tensor,
    labels: Option<&[usize]>,
    task: &TrainTask<'_>,
) -> [u8; 32] {
    let TrainTask { conditions, die, corrected, held_out, dies, options, resume: _ } = task;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&model.hash);
    hasher.update(write_chip(chip).as_bytes());
    hasher.update(&hash_tensor(lessons));
    let labels = labels.unwrap_or_default().iter().flat_map(|it| it.to_le_bytes());
    hasher.update(&labels.collect::<Vec<u8>>());
    hasher.update(&die.map_or([0; 32], hash_die));
    // The text form of options names each of them, whatever is added.
    let text = format!(
        "{} {conditions:?} {corrected} {held_out} {dies} {options:?}",
        env!("CARGO_PKG_VERSION")
    );
    hasher.update(text.as_bytes());
    hasher.finalize().into()
}

/// What training asks of the stages around it.
struct School<'a> {
    model: &'a Model,
    chip: &'a Chip,
    task: &'a TrainTask<'a>,
    /// The model before training.
    untrained: &'a Imported,
    homes: &'a Homes,
    calibration: &'a Tensor,
    held_out: &'a Tensor,
    /// The classes of the held-out images.
    answers: Option<&'a [usize]>,
    stamp: [u8; 32],
    audience: &'a mut dyn Audience,
    /// Epochs that the audience knows of.
    n_told: usize,
}

impl School<'_> {
    fn tell(&mut self, epochs: &[Epoch]) {
        for (number, epoch) in epochs.iter().enumerate().skip(self.n_told) {
            self.audience.hear_epoch(number, epoch);
        }
        self.n_told = epochs.len();
    }

    /// How held-out images are compiled for, on any die.
    fn naive_options(&self) -> CompileOptions<'_> {
        CompileOptions {
            calibration: Some(self.calibration),
            conditions: self.task.conditions,
            ..CompileOptions::default()
        }
    }

    /// The die that is trained for, or else that of `seed`.
    fn find_die(&self, naive: &Image, seed: u64) -> DieRecord {
        match self.task.die {
            Some(die) => die.clone(),
            None => resolve_die(naive, DieChoice::Seed(seed)),
        }
    }

    /// The model with every correction for a die.
    fn correct(&self, model: &Imported, die: &DieRecord) -> Result<Image> {
        let options = CompileOptions { die: Some(die), plan: Plan::FULL, ..self.naive_options() };
        Ok(compile_imported(model.clone(), self.chip, &options)?.output.image)
    }

    /// Conversions of each layer of the untrained model on a corrected die, for each one of its naive mapping.
    fn count_copies(&self) -> Result<IdVec<LayerId, f64>> {
        let (model, options) = (self.untrained, self.naive_options());
        let naive = compile_imported(model.clone(), self.chip, &options)?.output.image;
        let corrected = self.correct(model, &self.find_die(&naive, FIRST_DIE))?;
        let count = |net: &ProgrammedNet| {
            let mut counts: IdVec<LayerId, usize> = net.layers.iter().map(|_| 0).collect();
            net.tiles.iter().for_each(|tile| counts[tile.layer] += tile.readouts.len());
            counts
        };
        let (many, once) = (count(&corrected.net), count(&naive.net));
        Ok(many.iter().zip(&once).map(|(&many, &once)| many as f64 / once.max(1) as f64).collect())
    }

    /// Share of right answers on one die, in percent; `naive` is the model's image for any die.
    fn try_die(&self, model: &Imported, naive: &Image, seed: u64, answers: &[i64]) -> Result<f64> {
        let record = self.find_die(naive, seed);
        let corrected = self.task.corrected.then(|| self.correct(model, &record)).transpose()?;
        let conditions = self.task.conditions;
        let machine = load_image(corrected.as_ref().unwrap_or(naive), &record, conditions)?;
        let run = machine.run(self.held_out, 0);
        let outputs = run.outputs.into_iter().next().expect("a verified program has an output");
        Ok(100.0 * count_correct(&outputs, answers) as f64 / answers.len() as f64)
    }
}

impl Coach for School<'_> {
    fn look_up(&mut self, net: TiledNet) -> Result<TiledNet> {
        calibrate_again(net, self.chip, self.calibration)
    }

    fn validate(&mut self, net: &TiledNet) -> Result<Option<f64>> {
        let Some(answers) = self.answers.filter(|answers| !answers.is_empty()) else {
            return Ok(None);
        };
        let answers: Vec<i64> = answers.iter().map(|&answer| answer as i64).collect();
        let bytes = write_back(self.model, &self.untrained.graph, self.homes, &net.layers)?;
        let model = self.model.with_bytes(bytes).load()?;
        let naive = compile_imported(model.clone(), self.chip, &self.naive_options())?.output.image;
        let n_dies = if self.task.die.is_some() || self.task.conditions.effects == EffectSet::NONE {
            1
        } else {
            self.task.dies.max(1)
        };
        let tried: Result<Vec<f64>> = (0..n_dies)
            .map(|die| self.try_die(&model, &naive, FIRST_DIE + die, &answers))
            .collect();
        Ok(Some(tried?.iter().sum::<f64>() / n_dies as f64))
    }

    fn store(&mut self, state: &State) -> Result<()> {
        self.tell(&state.epochs);
        self.audience.store(&checkpoint::encode(state, &self.stamp))
    }

    fn hear(&mut self, images: usize, epoch: usize, loss: f64, accuracy: f64) {
        self.audience.hear(images, epoch, loss, accuracy);
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::presets::find_preset;
    use nvcim_ir::diag::{Diagnostic, Result};
    use nvcim_map::map_graph::lower_only;
    use nvcim_map::unfold::find_homes;
    use nvcim_train::batches::Augment;
    use nvcim_train::optimizer::{Descent, Method};

    use super::{Audience, Epoch, TrainOptions, TrainTask, TrainedModel, train_model, write_back};
    use crate::data::{Dataset, Preprocess};
    use crate::demo;
    use crate::model::Model;
    use crate::simulate::ideal_conditions;

    /// Keeps checkpoints, and refuses the one of this number.
    #[derive(Default)]
    struct Keeper {
        checkpoints: Vec<Vec<u8>>,
        refuses: Option<usize>,
        epochs: usize,
    }

    impl Audience for Keeper {
        fn store(&mut self, checkpoint: &[u8]) -> Result<()> {
            self.checkpoints.push(checkpoint.to_vec());
            match self.refuses {
                Some(number) if self.checkpoints.len() == number => {
                    Err(Diagnostic::bad_input("checkpoint", "no room").into())
                }
                _ => Ok(()),
            }
        }

        fn hear(&mut self, _images: usize, _epoch: usize, _loss: f64, _accuracy: f64) {}

        fn hear_epoch(&mut self, _number: usize, _epoch: &Epoch) {
            self.epochs += 1;
        }
    }

    fn options() -> TrainOptions {
        TrainOptions {
            epochs: 2,
            batch: 50,
            descent: Descent {
                method: Method::AdamW,
                rate: 1e-3,
                warm_up: 0.05,
                last_rate: 0.01,
                weight_decay: 0.0,
                gradient_limit: Some(5.0),
            },
            strength: 1.0,
            ramp: 0.2,
            drop_connect: 0.0,
            clip_sd: Some(3.0),
            from_scratch: false,
            distill: 0.0,
            temperature: 1.0,
            balanced: false,
            augment: Augment::default(),
            look_up_every: 3,
            wires_every: 3,
            patience: None,
            seed: 3,
        }
    }

    fn digits(limit: usize) -> Dataset {
        let preprocess = Preprocess { limit: Some(limit), ..Preprocess::default() };
        Dataset::open("digits:train", preprocess).unwrap()
    }

    fn train(effects: bool, keeper: &mut Keeper, resume: Option<&[u8]>) -> Result<TrainedModel> {
        train_holding(50, effects, keeper, resume)
    }

    fn train_holding(
        held_out: usize,
        effects: bool,
        keeper: &mut Keeper,
        resume: Option<&[u8]>,
    ) -> Result<TrainedModel> {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let chip = find_preset("stress-b").unwrap();
        let conditions = if effects {
            crate::pipeline::CompileOptions::default().conditions
        } else {
            ideal_conditions()
        };
        let task = TrainTask {
            conditions,
            die: None,
            corrected: false,
            held_out,
            dies: 2,
            options: options(),
            resume,
        };
        train_model(&model, &chip, &digits(350), &task, keeper).map(|warned| warned.output)
    }

    #[test]
    fn only_weights_of_the_file_change() {
        let mut keeper = Keeper::default();
        let trained = train(true, &mut keeper, None).unwrap();
        assert_eq!((trained.images, trained.epochs.len(), keeper.epochs), (300, 2, 2));
        assert!(trained.epochs.iter().all(|epoch| epoch.validation.is_some()));
        assert_eq!(trained.bytes.len(), demo::MODEL.1.len());
        let changed = trained.bytes.iter().zip(demo::MODEL.1).filter(|(a, b)| a != b).count();
        assert!(changed > 1000, "{changed} bytes have changed");
        let import = |bytes: &[u8]| Model::from_bytes("m", bytes).import().unwrap().output;
        let (before, after) = (import(demo::MODEL.1), import(&trained.bytes));
        let names = |graph: &nvcim_ir::graph::Graph| {
            graph.ids().map(|id| graph.node(id).clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&before), names(&after));
    }

    #[test]
    fn nothing_need_be_held_out() {
        let trained = train_holding(0, false, &mut Keeper::default(), None).unwrap();
        assert_eq!(trained.images, 350);
        assert!(trained.epochs.iter().all(|epoch| epoch.validation.is_none()));
        let problems = train_holding(350, false, &mut Keeper::default(), None).unwrap_err();
        assert!(problems[0].message.contains("350 are held out"), "{problems:?}");
    }

    #[test]
    fn a_training_that_was_stopped_makes_the_same_file() {
        let mut whole = Keeper::default();
        let want = train(true, &mut whole, None).unwrap();
        let mut stopped = Keeper { refuses: Some(4), ..Keeper::default() };
        let problems = train(true, &mut stopped, None).unwrap_err();
        assert_eq!(problems[0].message, "no room");
        assert_eq!(stopped.checkpoints, whole.checkpoints[..4]);
        let mut rest = Keeper::default();
        let got = train(true, &mut rest, stopped.checkpoints.last().map(Vec::as_slice)).unwrap();
        assert_eq!(got.bytes, want.bytes);
        assert_eq!(got.epochs, want.epochs);
        let other = train(false, &mut Keeper::default(), Some(&whole.checkpoints[0])).unwrap_err();
        assert_eq!(other[0].message, "belongs to another training");
    }

    /// What is written gives, when it is imported again, the matrices that were written.
    #[test]
    fn matrices_survive_the_file() {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let chip = find_preset("ideal").unwrap();
        let graph = model.import().unwrap().output;
        let mut layers = lower_only(&graph, &chip).unwrap().layers;
        for layer in layers.iter_mut() {
            let moved = layer.blocks.iter().enumerate();
            let moved = moved.map(|(at, w)| w * (1.0 + 0.1 * (at % 5) as f32)).collect();
            layer.blocks = ndarray::ArcArray::from_shape_vec(layer.blocks.dim(), moved).unwrap();
            layer.bias.iter_mut().for_each(|bias| *bias += 0.125);
        }
        let homes = find_homes(&graph, chip.arrays.depthwise).unwrap();
        let bytes = write_back(&model, &graph, &homes, &layers).unwrap();
        let again = model.with_bytes(bytes).import().unwrap().output;
        let read = lower_only(&again, &chip).unwrap().layers;
        for (want, got) in layers.iter().zip(&read) {
            let pairs = want.blocks.iter().zip(&got.blocks).chain(want.bias.iter().zip(&got.bias));
            for (want, got) in pairs {
                assert!((want - got).abs() <= 1e-6 * want.abs().max(0.1), "{want} {got}");
            }
        }
    }
}
