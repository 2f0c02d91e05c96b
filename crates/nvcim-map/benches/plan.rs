//! How long one core takes from a graph to a plan: a sketch of the mapping, costs and copies of a network with 100 layers.
//!
//! `cargo bench -p nvcim-map --bench plan` prints what is planned, then the times. The limit of the whole is
//! 20 ms.

use divan::Bencher;
use ndarray::{ArcArray, IxDyn};
use nvcim_chip::describe::Chip;
use nvcim_chip::presets::find_preset;
use nvcim_ir::graph::{Constant, Graph, Node};
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::{Binary, Op, Unary, Window};
use nvcim_ir::tiled::TiledNet;
use nvcim_map::cost::{NetCost, count_costs};
use nvcim_map::map_graph::{MapOptions, sketch_graph};
use nvcim_map::replicate::{Objective, Replication, plan_replication};

/// Arrays to plan with: several times what the network needs.
const ARRAYS: usize = 4000;

fn main() {
    print_plans();
    divan::main();
}

#[expect(clippy::print_stdout, reason = "the plans are what people run this for")]
fn print_plans() {
    let chip = chip();
    let cost = count_costs(&sketch_net(&network(), &chip), &chip);
    println!("{} layers on {} arrays", cost.layers.len(), cost.arrays());
    for objective in [Objective::Throughput, Objective::Latency] {
        let plan = plan(&cost, objective);
        let Replication { interval, latency, latency_bound, arrays, .. } = plan;
        println!(
            "{objective:?} on {ARRAYS}: {arrays} arrays, interval {:.1} us instead of {:.1}, \
             latency {:.1} us instead of {:.1}, at least {:.1}",
            1e6 * interval,
            1e6 * cost.interval(cost.clock()),
            1e6 * latency,
            1e6 * cost.latency(cost.clock()),
            1e6 * latency_bound,
        );
    }
}

#[divan::bench]
fn all(bencher: Bencher<'_, '_>) {
    let (graph, chip) = (network(), chip());
    bencher.bench(|| {
        let cost = count_costs(&sketch_net(&graph, &chip), &chip);
        [Objective::Throughput, Objective::Latency].map(|it| plan(&cost, it))
    });
}

#[divan::bench]
fn sketch(bencher: Bencher<'_, '_>) {
    let (graph, chip) = (network(), chip());
    bencher.bench(|| sketch_net(&graph, &chip));
}

#[divan::bench]
fn costs(bencher: Bencher<'_, '_>) {
    let chip = chip();
    let net = sketch_net(&network(), &chip);
    bencher.bench(|| count_costs(&net, &chip));
}

#[divan::bench(args = [Objective::Throughput, Objective::Latency])]
fn copies(bencher: Bencher<'_, '_>, objective: Objective) {
    let chip = chip();
    let cost = count_costs(&sketch_net(&network(), &chip), &chip);
    bencher.bench(|| plan(&cost, objective));
}

/// As many arrays of 256x256 as needed.
fn chip() -> Chip {
    let mut chip = find_preset("pcm-hermes").expect("the preset is built in");
    chip.arrays.count = None;
    chip
}

fn sketch_net(graph: &Graph, chip: &Chip) -> TiledNet {
    sketch_graph(graph, chip, &MapOptions::default()).expect("the arrays have room").net
}

fn plan(cost: &NetCost, objective: Objective) -> Replication {
    plan_replication(cost, ARRAYS, objective).expect("there are enough arrays")
}

/// 98 convolutions of 3x3 in three parts of 16, 32 and 64 channels with residuals, as in a ResNet for images
/// of 32x32, and two dense layers.
fn network() -> Graph {
    let mut net = Net { graph: Graph::default() };
    let mut x = net.add(Op::Input, &[], &[3, 32, 32]);
    for (channels, size) in [(16, 32), (32, 16), (64, 8)] {
        x = net.conv(x, channels, size);
        for _ in 0..(if channels == 16 { 16 } else { 15 }) {
            let first = net.conv(x, channels, size);
            let second = net.conv(first, channels, size);
            x = net.add(Op::Binary(Binary::Add), &[x, second], &[channels, size, size]);
        }
    }
    x = net.conv(x, 64, 8);
    x = net.conv(x, 64, 8);
    x = net.conv(x, 64, 8);
    x = net.add(Op::Reshape, &[x], &[4096]);
    x = net.dense(x, 64);
    x = net.dense(x, 10);
    net.graph.outputs = vec![x];
    net.graph
}

struct Net {
    graph: Graph,
}

impl Net {
    fn add(&mut self, op: Op, operands: &[NodeId], shape: &[usize]) -> NodeId {
        let name = format!("{}{}", op.name(), self.graph.len());
        let node = Node { tensor: name.clone(), name, op, shape: shape.to_vec() };
        self.graph.add_node(node, operands)
    }

    fn weights(&mut self, shape: &[usize]) -> ConstId {
        let count: usize = shape.iter().product();
        // Spread evenly between -0.1 and 0.1.
        let value = |at: usize| ((at * 7919 % 2003) as f32 / 1001.0 - 1.0) / 10.0;
        let value = ArcArray::from_shape_vec(IxDyn(shape), (0..count).map(value).collect());
        let name = format!("const{}", self.graph.consts.len());
        self.graph.consts.push(Constant { name, value: value.expect("one value each") })
    }

    /// A convolution of 3x3 and its ReLU; the stride follows from the sizes.
    fn conv(&mut self, x: NodeId, channels: usize, size: usize) -> NodeId {
        let (from, old) = (self.graph.node(x).shape[0], self.graph.node(x).shape[1]);
        let window = Window {
            kernel: [3; 2],
            strides: [old / size; 2],
            dilations: [1; 2],
            pads_begin: [1; 2],
            pads_end: [1; 2],
        };
        let weight = self.weights(&[channels, from, 3, 3]);
        let op = Op::Conv { weight, bias: None, window, groups: 1 };
        let shape = [channels, size, size];
        let conv = self.add(op, &[x], &shape);
        self.add(Op::Unary(Unary::Relu), &[conv], &shape)
    }

    fn dense(&mut self, x: NodeId, outputs: usize) -> NodeId {
        let weight = self.weights(&[self.graph.node(x).shape[0], outputs]);
        self.add(Op::Dense { weight, bias: None, transposed: false }, &[x], &[outputs])
    }
}
