//! Results that repeat: on any number of threads, and where training goes on from a checkpoint.

use ndarray::Axis;
use nvcim_chip::effects::EffectSet;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::TiledNet;
use nvcim_map::calibrate::calibrate_again;
use nvcim_ops::tensor::Tensor;

use super::networks::{chip, map, small_graph, tensor};
use crate::batches::Augment;
use crate::ground::Ground;
use crate::optimizer::{Descent, Method};
use crate::train::{Coach, Lessons, State, TrainOptions, Trained, train};

pub(super) fn options() -> TrainOptions {
    TrainOptions {
        epochs: 3,
        batch: 24,
        descent: Descent {
            method: Method::AdamW,
            rate: 0.01,
            warm_up: 0.1,
            last_rate: 0.01,
            weight_decay: 1e-4,
            gradient_limit: Some(5.0),
        },
        strength: 1.2,
        ramp: 0.3,
        drop_connect: 0.02,
        clip_sd: Some(3.0),
        from_scratch: false,
        distill: 0.3,
        temperature: 2.0,
        balanced: true,
        augment: Augment { shift: 1, flip: true },
        look_up_every: 2,
        wires_every: 3,
        patience: None,
        seed: 7,
    }
}

/// Images of three classes, told apart by which corner is bright.
fn lessons() -> (Tensor, Vec<usize>) {
    let mut images = tensor(8, &[120, 2, 8, 8]).mapv(|x| 0.5 * x);
    let labels: Vec<usize> = (0..120).map(|at| at % 3).collect();
    for (mut image, &label) in images.outer_iter_mut().zip(&labels) {
        let mut corner = image.index_axis_mut(Axis(0), label % 2);
        let rows = if label == 2 { 4..8 } else { 0..4 };
        corner.slice_axis_mut(Axis(0), rows.into()).mapv_inplace(|x| x + 0.8);
    }
    (images, labels)
}

/// Keeps every state, and stops training at one of them.
pub(super) struct Keeper<'a> {
    chip: &'a nvcim_chip::describe::Chip,
    images: Tensor,
    states: Vec<State>,
    stop_at: Option<u64>,
    /// Whether it has no opinion on how good a net is.
    pub(super) is_silent: bool,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(chip: &'a nvcim_chip::describe::Chip, images: Tensor) -> Self {
        Self { chip, images, states: Vec::new(), stop_at: None, is_silent: false }
    }
}

impl Coach for Keeper<'_> {
    fn look_up(&mut self, net: TiledNet) -> Result<TiledNet> {
        calibrate_again(net, self.chip, &self.images)
    }

    fn validate(&mut self, net: &TiledNet) -> Result<Option<f64>> {
        let sum: f32 = net.layers.iter().map(|layer| layer.bias[0]).sum();
        Ok((!self.is_silent).then_some(f64::from(sum)))
    }

    fn store(&mut self, state: &State) -> Result<()> {
        self.states.push(state.clone());
        match self.stop_at {
            Some(step) if step == state.step => Err(Diagnostic::internal("test", "stops").into()),
            _ => Ok(()),
        }
    }

    fn hear(&mut self, _images: usize, _epoch: usize, _loss: f64, _accuracy: f64) {}
}

fn run(
    effects: EffectSet,
    options: &TrainOptions,
    state: Option<State>,
    stop_at: Option<u64>,
) -> (Result<Trained>, Vec<State>) {
    let mut chip = chip("stress-b");
    (chip.arrays.n_rows, chip.arrays.n_cols) = (24, 16);
    let net = map(&small_graph(), &chip);
    let copies: IdVec<LayerId, f64> = net.layers.iter().map(|_| 2.0).collect();
    let ground = Ground { chip: &chip, effects, at_s: 1e6, die: None, corrected: Some(&copies) };
    let (images, labels) = lessons();
    let biases: IdVec<LayerId, bool> = net.layers.iter().map(|_| true).collect();
    let lessons = Lessons { images: &images, labels: Some(&labels), biases: &biases };
    let head = images.slice_axis(Axis(0), (0..16).into()).to_owned();
    let mut keeper = Keeper { stop_at, ..Keeper::new(&chip, head) };
    let trained = train(net, &ground, lessons, options, state, &mut keeper);
    (trained, keeper.states)
}

#[test]
fn the_number_of_threads_does_not_show() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(EffectSet::ALL, &options(), None, None).0.unwrap())
    };
    let one = on(1);
    assert_eq!(one, on(3));
    assert_eq!(one, on(1));
    let (other, _) = run(EffectSet::ALL, &TrainOptions { seed: 8, ..options() }, None, None);
    assert_ne!(one, other.unwrap());
}

#[test]
fn training_goes_on_where_it_was_stopped() {
    let (whole, states) = run(EffectSet::ALL, &options(), None, None);
    let whole = whole.unwrap();
    let steps: Vec<u64> = states.iter().map(|state| state.step).collect();
    assert_eq!(steps, [0, 2, 4, 5, 7, 9, 10, 12, 14]);
    for stop_at in [4, 5, 12] {
        let (stopped, states) = run(EffectSet::ALL, &options(), None, Some(stop_at));
        assert!(stopped.is_err());
        let (resumed, _) = run(EffectSet::ALL, &options(), states.last().cloned(), None);
        assert_eq!(resumed.unwrap(), whole, "{stop_at}");
    }
}

#[test]
fn what_can_be_learnt_is_learnt_without_and_with_the_chip() {
    for (effects, least) in [(EffectSet::NONE, 95.0), (EffectSet::ALL, 80.0)] {
        let options = TrainOptions {
            epochs: 25,
            from_scratch: true,
            distill: 0.0,
            drop_connect: 0.0,
            augment: Augment::default(),
            ..options()
        };
        let (trained, _) = run(effects, &options, None, None);
        let epochs = trained.unwrap().epochs;
        let last = epochs.last().unwrap();
        assert!(epochs[0].accuracy < 75.0 && last.accuracy > least, "{epochs:?}");
        assert!(last.loss < epochs[0].loss);
    }
}

#[test]
fn impatience_stops_and_the_best_is_kept() {
    let options = TrainOptions { epochs: 40, patience: Some(2), ..options() };
    let (trained, states) = run(EffectSet::NONE, &options, None, None);
    let trained = trained.unwrap();
    let validations: Vec<f64> = trained.epochs.iter().filter_map(|it| it.validation).collect();
    let best = validations.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let kept: f32 = trained.parameters.iter().map(|[_, bias]| bias[0]).sum();
    assert_eq!(f64::from(kept), best);
    let reached = validations.iter().position(|it| *it == best).unwrap();
    assert!(validations.len() == 40 || validations.len() == reached + 3, "{validations:?}");
    assert!(!states.is_empty());
}

#[test]
fn numbers_that_overflow_name_their_layer() {
    let mut options = options();
    options.descent = Descent { rate: 1e30, gradient_limit: None, ..options.descent };
    options.clip_sd = None;
    let (stopped, _) = run(EffectSet::NONE, &options, None, None);
    let problem = &stopped.unwrap_err()[0];
    assert!(problem.at.contains("layer `") || problem.at.contains("loss"), "{problem}");
    assert!(problem.message.contains("is no number in step"), "{problem}");
}
