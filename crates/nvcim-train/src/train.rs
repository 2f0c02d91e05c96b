//! The training loop: draw a die, run a batch forth and back, step, and now and then look up.
//!
//! Of every batch the samples are cut into chunks of `CHUNK`, whose gradients are summed in order, so that
//! results do not depend on who computes them. A *look-up* sets converter ranges anew on calibration images,
//! and is the only moment at which training can be stored and taken up again: then its whole state is the
//! parameters, what the optimiser remembers of them, and numbers of steps.

use std::sync::Arc;

use ndarray::{ArcArray, Axis};
use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;
use nvcim_ir::diag::{Diagnostic, Kind, Result};
use nvcim_ir::ids::{Id, IdVec, LayerId};
use nvcim_ir::tiled::{MatrixLayer, TiledNet};
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::run_program::run_program;
use nvcim_ops::tensor::Tensor;
use rayon::prelude::*;

use crate::batches::{Augment, Batches};
use crate::draw::{Drawer, InputMoments, Wires};
use crate::ground::Ground;
use crate::loss::Target;
use crate::matrix::SeenLayer;
use crate::moments::look_at_inputs;
use crate::network::{Network, Scored, Shared};
use crate::optimizer::{Descent, Memory};

/// Samples of a chunk.
const CHUNK: usize = 16;
/// Images from which the moments of inputs are taken.
const MOMENT_IMAGES: usize = 64;

/// Settings of training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Passes over the images.
    pub epochs: u32,
    /// Images of a step.
    pub batch: usize,
    /// The optimiser.
    pub descent: Descent,
    /// How strong the chip's effects are, 1 as they are; reached after [`TrainOptions::ramp`].
    pub strength: f64,
    /// Share of the steps over which the strength rises evenly from 0.
    pub ramp: f64,
    /// Share of weights that each step takes as 0.
    pub drop_connect: f64,
    /// Largest weight of a layer, in standard deviations of what it starts with; `None` for no limit.
    pub clip_sd: Option<f64>,
    /// Whether weights start from random numbers instead of the network's.
    pub from_scratch: bool,
    /// Share of the loss that is distance from the untrained float network, 0 to 1; 1 needs no labels.
    pub distill: f32,
    /// What scores are divided by before they are compared with the untrained network's.
    pub temperature: f32,
    /// Whether batches hold as many images of every class.
    pub balanced: bool,
    /// How images are varied.
    pub augment: Augment,
    /// Steps from one look-up to the next.
    pub look_up_every: u64,
    /// Steps after which what wires take is worked out anew.
    pub wires_every: u64,
    /// Epochs without a better validation after which training stops; `None` for never.
    pub patience: Option<u32>,
    /// Draws batches, dies and noise.
    pub seed: u64,
}

/// What training learns from.
#[derive(Debug, Clone, Copy)]
pub struct Lessons<'a> {
    /// Images, `[n, sample shape...]`.
    pub images: &'a Tensor,
    /// The class of each; `None` where only the untrained network says what is right.
    pub labels: Option<&'a [usize]>,
    /// Whether each layer's bias may change.
    pub biases: &'a IdVec<LayerId, bool>,
}

/// What became of one epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Mean loss of its images, on the dies of its steps.
    pub loss: f64,
    /// Share of its images that were right on those dies, in percent; 0 without labels.
    pub accuracy: f64,
    /// What validation said after it, in percent.
    pub validation: Option<f64>,
}

/// Parameters: weights of every layer as `[groups, rows, columns]` in a row, and its bias.
pub type Parameters = IdVec<LayerId, [Vec<f32>; 2]>;

/// Everything that training needs to be taken up at a look-up.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// The parameters.
    pub parameters: Parameters,
    /// What the optimiser remembers of them.
    pub memories: IdVec<LayerId, [Memory; 2]>,
    /// The largest weight of each layer; infinite without a limit.
    pub limits: IdVec<LayerId, f32>,
    /// Sum of losses and images right since the epoch began.
    pub running: (f64, u64),
    /// The epochs behind.
    pub epochs: Vec<Epoch>,
    /// The best validation, and the parameters that reached it.
    pub best: Option<(f64, Parameters)>,
}

/// What training asks of those around it.
pub trait Coach {
    /// The net with its converter ranges set anew for its layers as they are.
    ///
    /// # Errors
    /// Whatever keeps ranges from being set; training ends with it.
    fn look_up(&mut self, net: TiledNet) -> Result<TiledNet>;

    /// How good the net is with its matrices as they are, in percent; `None` without an opinion. Its converter
    /// ranges are those of the last look-up.
    ///
    /// # Errors
    /// Whatever keeps it from being judged; training ends with it.
    fn validate(&mut self, net: &TiledNet) -> Result<Option<f64>>;

    /// Stores a state, before its step is done.
    ///
    /// # Errors
    /// Whatever keeps it from being stored; training ends with it.
    fn store(&mut self, state: &State) -> Result<()>;

    /// Hears of every step: images of the batch, epochs behind, mean loss and share of right images of this
    /// epoch so far.
    fn hear(&mut self, images: usize, epoch: usize, loss: f64, accuracy: f64);
}

/// What training made.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The parameters: those of the best validation, or the last ones where there was none.
    pub parameters: Parameters,
    /// The epochs.
    pub epochs: Vec<Epoch>,
}

/// Trains a net on its chip, from the start or from `state`.
///
/// # Errors
/// A network that no gradient gets through; options that contradict the lessons; a loss, layer or gradient that
/// is no number, by name; whatever `coach` reports.
pub fn train(
    net: TiledNet,
    ground: &Ground<'_>,
    lessons: Lessons<'_>,
    options: &TrainOptions,
    state: Option<State>,
    coach: &mut dyn Coach,
) -> Result<Trained> {
    let network = Network::plan(&net)?;
    check(&network, lessons, options)?;
    let labels = lessons.labels.filter(|_| options.balanced);
    let n_images = lessons.images.shape()[0];
    let batches =
        Batches::new(options.seed, n_images, options.batch.min(n_images), labels, options.augment);
    let state = state.unwrap_or_else(|| begin(&net, lessons, options));
    let teacher = (options.distill > 0.0).then(|| net.layers.clone());
    let drawer = Drawer::new(ground, &net);
    let mut course = Course {
        network,
        ground,
        lessons,
        options,
        batches,
        drawer,
        teacher,
        net,
        state,
        moments: IdVec::new(),
        wires: None,
    };
    course.fill_net();
    course.run(coach)
}

fn check(network: &Network, lessons: Lessons<'_>, options: &TrainOptions) -> Result<()> {
    let refuse = |at: &str, message: String, hint: &str| {
        Err(Diagnostic::bad_input(at, message).hint(hint).into())
    };
    let n_classes = network.n_classes();
    let Some(labels) = lessons.labels else {
        if options.distill < 1.0 {
            let message = "has no labels, and a loss that needs them".to_owned();
            return refuse(
                "training data",
                message,
                "give labels, or learn from the network: `--distill 1`",
            );
        }
        if options.from_scratch {
            let message = "starts from nothing and learns from a network alone".to_owned();
            return refuse("--from-scratch", message, "give labels, or leave `--from-scratch` out");
        }
        return Ok(());
    };
    if let Some(label) = labels.iter().find(|label| **label >= n_classes) {
        let message = format!("has label {label}, the network has {n_classes} scores");
        return refuse("training data", message, "give labels from 0 on, one for each score");
    }
    Ok(())
}

/// The state before the first step.
fn begin(net: &TiledNet, lessons: Lessons<'_>, options: &TrainOptions) -> State {
    let stream = Stream::new(options.seed, u64::MAX - 1, Effect::Programming);
    let parameters: Parameters = net
        .layers
        .iter_enumerated()
        .map(|(id, layer)| {
            let weights: Vec<f32> = layer.blocks.iter().copied().collect();
            if !options.from_scratch {
                return [weights, layer.bias.clone()];
            }
            // He et al., arXiv 1502.01852: the spread that keeps rectified signals at their size.
            let sd = (2.0 / layer.blocks.dim().1 as f32).sqrt();
            let mut z = vec![0.0; weights.len()];
            stream.fill_normals([id.index() as u32, 0, 0], &mut z);
            z.iter_mut().for_each(|z| *z *= sd);
            let free = lessons.biases.get(id).is_some_and(|free| *free);
            [z, if free { vec![0.0; layer.bias.len()] } else { layer.bias.clone() }]
        })
        .collect();
    let limit = |[weights, _]: &[Vec<f32>; 2]| {
        options.clip_sd.map_or(f32::INFINITY, |sds| {
            let squares: f64 = weights.iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
            let spread = (squares / weights.len().max(1) as f64).sqrt();
            if spread > 0.0 { (sds * spread) as f32 } else { f32::INFINITY }
        })
    };
    let method = options.descent.method;
    let memory = |of: &[Vec<f32>; 2]| of.each_ref().map(|it| Memory::new(method, it.len()));
    State {
        step: 0,
        memories: parameters.iter().map(memory).collect(),
        limits: parameters.iter().map(limit).collect(),
        parameters,
        running: (0.0, 0),
        epochs: Vec::new(),
        best: None,
    }
}

/// Training under way.
struct Course<'a> {
    network: Network,
    ground: &'a Ground<'a>,
    lessons: Lessons<'a>,
    options: &'a TrainOptions,
    batches: Batches,
    drawer: Drawer<'a>,
    /// The untrained layers, where they are learnt from.
    teacher: Option<IdVec<LayerId, MatrixLayer>>,
    /// The net with the parameters as they are.
    net: TiledNet,
    state: State,
    /// What the inputs of layers are like, where columns are fitted.
    moments: IdVec<LayerId, InputMoments>,
    wires: Option<Wires>,
}

impl Course<'_> {
    fn run(mut self, coach: &mut dyn Coach) -> Result<Trained> {
        let per_epoch = self.batches.per_epoch() as u64;
        let size = self.batches.size();
        let mut order = (u64::MAX, Vec::new());
        let mut since_look_up = 0;
        while self.state.step < self.n_steps() {
            let (epoch, at) = (self.state.step / per_epoch, self.state.step % per_epoch);
            if order.0 != epoch {
                order = (epoch, self.batches.order(epoch as u32));
            }
            if since_look_up == 0 || at == 0 || at % self.options.look_up_every == 0 {
                self.look_up(coach)?;
                since_look_up = 0;
            } else if since_look_up % self.options.wires_every == 0 {
                self.look_at_wires();
            }
            since_look_up += 1;
            let picked = &order.1[at as usize * size..][..size];
            self.step(picked, epoch as u32)?;
            let seen = ((at + 1) * size as u64) as f64;
            let (loss, right) = self.state.running;
            coach.hear(size, epoch as usize, loss / seen, 100.0 * right as f64 / seen);
            if at + 1 == per_epoch && self.end_epoch(coach, seen)? {
                break;
            }
        }
        let State { parameters, epochs, best, .. } = self.state;
        let parameters = best.map_or(parameters, |(_, parameters)| parameters);
        Ok(Trained { parameters, epochs })
    }

    /// Steps of the whole training.
    fn n_steps(&self) -> u64 {
        self.batches.per_epoch() as u64 * u64::from(self.options.epochs)
    }

    /// Closes an epoch; whether training is to stop.
    fn end_epoch(&mut self, coach: &mut dyn Coach, seen: f64) -> Result<bool> {
        let validation = coach.validate(&self.net)?;
        let (loss, right) = std::mem::take(&mut self.state.running);
        let accuracy = 100.0 * right as f64 / seen;
        self.state.epochs.push(Epoch { loss: loss / seen, accuracy, validation });
        let best = self.state.best.as_ref().map_or(f64::NEG_INFINITY, |(best, _)| *best);
        if let Some(validation) = validation.filter(|it| *it > best) {
            self.state.best = Some((validation, self.state.parameters.clone()));
        }
        let best = self.state.best.as_ref().map(|(best, _)| *best);
        let epochs = &self.state.epochs;
        // Of equal ones the first is kept.
        let reached = epochs.iter().position(|epoch| best.is_some() && epoch.validation == best);
        let since = reached.map_or(0, |at| epochs.len() - 1 - at);
        Ok(self.options.patience.is_some_and(|patience| since >= patience.max(1) as usize))
    }

    /// Sets ranges anew and stores the state.
    fn look_up(&mut self, coach: &mut dyn Coach) -> Result<()> {
        coach.store(&self.state)?;
        if self.ground.is_exact() {
            return Ok(());
        }
        self.net = coach.look_up(self.net.clone())?;
        self.moments = if self.ground.corrected.is_some() {
            let images = self.lessons.images;
            let n = images.shape()[0].min(MOMENT_IMAGES);
            let first = images.slice_axis(Axis(0), (0..n).into()).to_owned();
            look_at_inputs(&self.net, &first)
        } else {
            let blank = |layer: &MatrixLayer| {
                let n_rows = layer.shape().n_rows;
                InputMoments { means: vec![0.0; n_rows], variances: vec![1.0; n_rows] }
            };
            self.net.layers.iter().map(blank).collect()
        };
        self.look_at_wires();
        Ok(())
    }

    fn look_at_wires(&mut self) {
        let strength = self.strength();
        self.wires = self.drawer.look_at_wires(&self.net, self.die_seed(), strength);
    }

    /// The seed of this step's die; none that anybody would count up to.
    fn die_seed(&self) -> u64 {
        let mixed = self.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.state.step;
        mixed | 1 << 63
    }

    fn strength(&self) -> f64 {
        let done = self.state.step as f64 / self.n_steps().max(1) as f64;
        let risen = if self.options.ramp > 0.0 { (done / self.options.ramp).min(1.0) } else { 1.0 };
        self.options.strength * risen
    }

    /// One step on the images `picked`.
    fn step(&mut self, picked: &[u32], epoch: u32) -> Result<()> {
        let kept = self.drop_weights();
        let layers = self.see_layers();
        let shared: IdVec<LayerId, Shared> = self
            .state
            .parameters
            .iter()
            .map(|[weights, bias]| Shared::new(weights, bias))
            .collect();
        let chunks: Vec<(usize, &[u32])> = picked.chunks(CHUNK).enumerate().collect();
        let scored: Vec<std::result::Result<Scored, String>> = chunks
            .par_iter()
            .map(|&(chunk, picked)| {
                let images = self.batches.gather(self.lessons.images, picked, epoch);
                let target = self.target(&images, picked, chunk);
                self.network.score(&layers, &shared, &images, &target, chunk)
            })
            .collect();
        let scale = 1.0 / picked.len() as f32;
        let mut total: Parameters = self
            .state
            .parameters
            .iter()
            .map(|it| it.each_ref().map(|it| vec![0.0; it.len()]))
            .collect();
        for scored in scored {
            let Scored { loss, right, gradients } = scored.map_err(|place| self.stop(&place))?;
            self.state.running.0 += loss;
            self.state.running.1 += right as u64;
            for (total, gradients) in total.iter_mut().zip(gradients.iter()) {
                for (total, gradient) in total.iter_mut().zip(gradients) {
                    total.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += scale * g);
                }
            }
        }
        if let Some(kept) = kept {
            for (total, kept) in total.iter_mut().zip(&kept) {
                total[0]
                    .iter_mut()
                    .zip(kept)
                    .filter(|(_, kept)| !**kept)
                    .for_each(|(g, _)| *g = 0.0);
            }
        }
        for (total, free) in total.iter_mut().zip(self.lessons.biases) {
            if !free {
                total[1].fill(0.0);
            }
        }
        self.descend(&total)
    }

    /// Moves the parameters along the gradient of a batch.
    fn descend(&mut self, gradients: &Parameters) -> Result<()> {
        let mut squares = 0.0;
        for (id, gradients) in gradients.iter_enumerated() {
            let sum: f64 = gradients.iter().flatten().map(|g| f64::from(*g) * f64::from(*g)).sum();
            if !sum.is_finite() {
                let place = format!("the gradient of layer `{}`", self.net.layers[id].name);
                return Err(self.stop(&place));
            }
            squares += sum;
        }
        let descent = &self.options.descent;
        let shortened = descent.shorten(squares.sqrt());
        let step = self.state.step;
        let pace = (step, descent.rate_at(step, self.n_steps()), shortened);
        let State { parameters, memories, limits, .. } = &mut self.state;
        let all = parameters.iter_mut().zip(memories.iter_mut()).zip(limits.iter());
        for (((parameters, memories), &limit), gradients) in all.zip(gradients.iter()) {
            let parts = parameters.iter_mut().zip(memories).zip(gradients).zip([true, false]);
            for (((parameters, memory), gradient), decays) in parts {
                descent.step(parameters, gradient, memory, pace, decays);
            }
            parameters[0].iter_mut().for_each(|w| *w = w.clamp(-limit, limit));
        }
        self.state.step += 1;
        self.fill_net();
        Ok(())
    }

    /// Gives the net the parameters, and ranges that hold the weights where a layer has one for all columns.
    fn fill_net(&mut self) {
        for (layer, [weights, bias]) in self.net.layers.iter_mut().zip(self.state.parameters.iter())
        {
            layer.blocks = ArcArray::from_shape_vec(layer.blocks.dim(), weights.clone())
                .expect("as many weights as before");
            layer.bias.clone_from(bias);
            let first = layer.ranges[0];
            if layer.ranges.iter().all(|range| *range == first) {
                let largest = weights.iter().fold(0.0f32, |most, w| most.max(w.abs()));
                layer.ranges.fill(if largest > 0.0 { largest } else { 1.0 });
            }
        }
    }

    /// Takes a share of the net's weights as 0 for this step; which were kept, where any were dropped.
    fn drop_weights(&mut self) -> Option<IdVec<LayerId, Vec<bool>>> {
        let share = self.options.drop_connect;
        if share <= 0.0 {
            return None;
        }
        let stream = Stream::new(self.options.seed, u64::MAX - 2, Effect::Programming);
        let step = self.state.step as u32;
        let kept: IdVec<LayerId, Vec<bool>> = self
            .net
            .layers
            .iter_enumerated()
            .map(|(id, layer)| {
                let keeps =
                    |at: usize| stream.uniform([step, id.index() as u32, 0, at as u32]) >= share;
                (0..layer.blocks.len()).map(keeps).collect()
            })
            .collect();
        for (layer, kept) in self.net.layers.iter_mut().zip(kept.iter()) {
            let weights = layer.blocks.iter_mut().zip(kept);
            weights.filter(|(_, kept)| !**kept).for_each(|(weight, _)| *weight = 0.0);
        }
        Some(kept)
    }

    /// Every layer as this step sees it.
    fn see_layers(&self) -> IdVec<LayerId, Arc<SeenLayer>> {
        let strength = self.strength();
        if self.ground.is_exact() || strength == 0.0 {
            let exact = |layer: &MatrixLayer| {
                let weights = layer.blocks.as_slice().expect("filled in standard order");
                Arc::new(SeenLayer::exact(layer.blocks.dim(), weights, &layer.bias))
            };
            return self.net.layers.iter().map(exact).collect();
        }
        let wires = self.wires.as_ref();
        self.drawer.draw(&self.net, &self.moments, wires, self.die_seed(), strength)
    }

    /// What a chunk's scores are held against.
    fn target(&self, images: &Tensor, picked: &[u32], chunk: usize) -> Target {
        let labels = self.lessons.labels.filter(|_| self.options.distill < 1.0);
        let labels = labels.map(|labels| picked.iter().map(|&at| labels[at as usize]).collect());
        let teacher = self.teacher.as_ref().map(|layers| {
            let mut scores = Vec::new();
            let mut engine = FloatEngine::new(layers);
            let first = (chunk * CHUNK) as u64;
            let logits = self.network.logits();
            run_program(&self.net.program, images, first, &mut engine, &mut |id, tensor| {
                if id == logits {
                    scores.extend(tensor.iter().copied());
                }
            });
            scores
        });
        Target {
            labels,
            teacher,
            share: self.options.distill,
            temperature: self.options.temperature,
            n_classes: self.network.n_classes(),
        }
    }

    /// Why training cannot go on: something at `place` is no number.
    fn stop(&self, place: &str) -> Vec<Diagnostic> {
        let message = format!("is no number in step {}", self.state.step + 1);
        Diagnostic::new(Kind::Infeasible, place, message)
            .hint("lower the rate with `--rate`, or the strength of the effects with `--strength`")
            .into()
    }
}
