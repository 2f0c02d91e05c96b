//! Two steps of training against PyTorch's numbers, which `tests/training/lenet_steps.py` prints.

use nvcim_chip::effects::EffectSet;
use nvcim_ir::graph::Graph;
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::op::{Op, Unary, Window};
use nvcim_ops::tensor::Tensor;

use super::networks::{Builder, chip, map, tensor};
use super::repeats::{Keeper, options};
use crate::batches::Augment;
use crate::ground::Ground;
use crate::optimizer::{Descent, Method};
use crate::train::{Lessons, TrainOptions, train};

const GOLDEN: &str = include_str!("golden/lenet_steps.txt");
/// f32 against f64 over two steps; Adam divides by square roots of gradients that may be near 0.
const TOLERANCE: f32 = 2e-4;

fn lenet() -> Graph {
    let (mut net, x) = Builder::new(1, &[1, 12, 12]);
    let relu = Op::Unary(Unary::Relu);
    let pool = Op::MaxPool { window: Window::square(2, 2, 0) };
    let conv = net.conv(x, 4, 1, Window::square(5, 1, 2));
    let act = net.add(relu.clone(), &[conv], &[4, 12, 12]);
    let pooled = net.add(pool.clone(), &[act], &[4, 6, 6]);
    let conv = net.conv(pooled, 6, 1, Window::square(3, 1, 0));
    let act = net.add(relu.clone(), &[conv], &[6, 4, 4]);
    let pooled = net.add(pool, &[act], &[6, 2, 2]);
    let flat = net.add(Op::Reshape, &[pooled], &[24]);
    let dense = net.dense(flat, 12);
    let act = net.add(relu, &[dense], &[12]);
    let out = net.dense(act, 5);
    net.finish(out)
}

#[test]
fn two_steps_are_those_of_pytorch() {
    let chip = chip("ideal");
    let net = map(&lenet(), &chip);
    let biases: IdVec<LayerId, bool> = net.layers.iter().map(|_| true).collect();
    let images: Tensor = tensor(40, &[8, 1, 12, 12]);
    let labels: Vec<usize> = (0..8).map(|at| at % 5).collect();
    let ground =
        Ground { chip: &chip, effects: EffectSet::NONE, at_s: 0.0, die: None, corrected: None };
    let blocks: Vec<Vec<&str>> = GOLDEN.lines().map(|line| line.split(' ').collect()).collect();
    for (method, lines) in
        [Method::Sgd { momentum: 0.9 }, Method::AdamW].iter().zip(blocks.chunks(9))
    {
        let options = TrainOptions {
            epochs: 2,
            batch: 8,
            descent: Descent {
                method: *method,
                rate: 0.1,
                warm_up: 0.0,
                last_rate: 1.0,
                weight_decay: 0.01,
                gradient_limit: None,
            },
            drop_connect: 0.0,
            clip_sd: None,
            distill: 0.0,
            balanced: false,
            augment: Augment::default(),
            ..options()
        };
        let lessons = Lessons { images: &images, labels: Some(&labels), biases: &biases };
        let mut keeper = Keeper::new(&chip, images.clone());
        keeper.is_silent = true;
        let trained = train(net.clone(), &ground, lessons, &options, None, &mut keeper).unwrap();
        let number = |text: &&str| text.parse::<f32>().unwrap();
        for (epoch, want) in trained.epochs.iter().zip(&lines[0][1..]) {
            assert!((epoch.loss as f32 - number(want)).abs() < TOLERANCE, "{epoch:?} {want}");
        }
        let parts = trained.parameters.iter().flatten();
        for (line, (got, want)) in parts.zip(&lines[1..]).enumerate() {
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().zip(want.iter().map(number)) {
                assert!((got - want).abs() < TOLERANCE, "{method:?}, line {line}: {got} {want}");
            }
        }
    }
}
