//! The way back of folding: from matrices that have changed to the constants that they were made of.
//!
//! Folding is linear in the weights, and takes every element of a matrix from one element of a constant, times a
//! factor of the nodes folded in. So nothing of it has to be undone step by step: the factors are read off by
//! folding the same graph with weights of one number per layer, and a bias, affine in the constant that holds it,
//! is brought home by folding again and moving the constant by what is missing.
//!
//! A bias lives in the matrix's own constant, or in that of a norm or a sum folded into it. Where there is none,
//! it cannot change.

use std::collections::BTreeMap;

use ndarray::{ArcArray, ArrayD, IxDyn};
use nvcim_chip::describe::Depthwise;
use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};
use nvcim_ir::graph::Graph;
use nvcim_ir::ids::{ConstId, Id, IdVec, LayerId, NodeId};
use nvcim_ir::op::{Binary, Op};
use nvcim_ir::tiled::MatrixLayer;

use crate::fold::{Folded, fold_graph};
use crate::lower::{Lowered, lower_graph};

/// Rounds in which biases come home: each leaves the rounding of one fold.
const ROUNDS: usize = 4;

/// How far what comes out may lie from what is wanted, relative to the largest of its layer: a few roundings.
const TOLERANCE: f32 = 4e-6;

/// What is smaller than this counts as this large.
const LEAST: f32 = 1e-3;

/// Where the weights and biases of a graph's matrices live.
#[derive(Debug, Clone)]
pub struct Homes {
    of: IdVec<LayerId, Home>,
    /// Where depthwise convolutions run: digital ones are no matrices.
    depthwise: Depthwise,
}

/// The constants of one layer.
#[derive(Debug, Clone, Copy)]
struct Home {
    weight: ConstId,
    bias: Option<ConstId>,
}

impl Homes {
    /// Whether a layer's bias can change.
    pub fn holds_bias(&self, layer: LayerId) -> bool {
        self.of.get(layer).is_some_and(|home| home.bias.is_some())
    }
}

/// Finds the constants that the layers of a verified graph are made of.
///
/// # Errors
/// Every layer whose weights also belong to something else, so that they cannot change for it alone.
pub fn find_homes(graph: &Graph, depthwise: Depthwise) -> Result<Homes> {
    let (folded, lowered) = lower(graph, depthwise);
    let users = count_users(graph);
    let names = count_names(graph);
    let mut homes: IdVec<LayerId, Option<Home>> = lowered.layers.iter().map(|_| None).collect();
    let mut problems = Vec::new();
    for (&node, &layer) in &lowered.layer_of {
        let (Op::Conv { weight, bias, .. } | Op::Dense { weight, bias, .. }) = graph.node(node).op
        else {
            let message = "is no matrix in the file";
            problems.push(Diagnostic::internal(place(&lowered, layer), message));
            continue;
        };
        let is_alone = |id: &ConstId| users[*id] == 1 && names[&graph.consts[*id].name] == 1;
        if !is_alone(&weight) {
            let name = &graph.consts[weight].name;
            let message = format!("shares its weights `{name}` with another node");
            let hint = "export the network with a constant of its own for each layer";
            problems.push(Diagnostic::unsupported(place(&lowered, layer), message).hint(hint));
            continue;
        }
        if homes[layer].is_some() {
            let message = "has the weights of another layer, value for value";
            let hint = "train from weights that differ, as drawn at random";
            let place = format!("node `{}`", graph.node(node).name);
            problems.push(Diagnostic::unsupported(place, message).hint(hint));
            continue;
        }
        let n_cols = lowered.layers[layer].shape().n_cols;
        let fits = |id: &ConstId| is_alone(id) && graph.consts[*id].value.len() == n_cols;
        let bias = bias.or_else(|| find_bias(graph, &folded, node, &fits)).filter(fits);
        homes[layer] = Some(Home { weight, bias });
    }
    fail_if_any(problems)?;
    let of = homes.iter().map(|it| it.expect("every layer is a node's")).collect();
    Ok(Homes { of, depthwise })
}

/// The constants, by name, with which the graph folds and lowers to `layers`.
///
/// # Errors
/// Layers of another graph; a layer that no constants make, by name.
pub fn unfold_layers(
    graph: &Graph,
    homes: &Homes,
    layers: &IdVec<LayerId, MatrixLayer>,
) -> Result<BTreeMap<String, ArrayD<f32>>> {
    let lower = |graph: &Graph| lower(graph, homes.depthwise).1;
    let Homes { of: homes, .. } = homes;
    let mut graph = graph.clone();
    let factors = probe_factors(&graph, homes, layers, &lower)?;
    for ((id, layer), factors) in layers.iter_enumerated().zip(factors.iter()) {
        give_weights(&mut graph, homes[id].weight, layer, factors);
    }
    let slopes = probe_slopes(&graph, homes, &lower);
    for _ in 0..ROUNDS {
        let lowered = lower(&graph);
        for (id, layer) in layers.iter_enumerated() {
            let Some(home) = homes[id].bias else { continue };
            let missing = layer.bias.iter().zip(&lowered.layers[id].bias);
            let missing = missing.map(|(want, got)| f64::from(*want) - f64::from(*got));
            let steps: Vec<f64> = missing
                .zip(&slopes[id])
                .map(|(missing, slope)| if *slope == 0.0 { 0.0 } else { missing / slope })
                .collect();
            move_const(&mut graph, home, &steps);
        }
    }
    // A bias may be a small difference of a constant and what is folded in: it rounds as these do.
    let addend = |(home, slopes): (&Home, &Vec<f64>)| {
        let values = home.bias.map(|id| graph.consts[id].value.iter().zip(slopes));
        values.into_iter().flatten().fold(LEAST, |most, (it, k)| most.max((it * *k as f32).abs()))
    };
    let addends = homes.iter().zip(&slopes).map(addend).collect();
    check(&lower(&graph), layers, &addends)?;
    let consts = homes.iter().flat_map(|home| std::iter::once(home.weight).chain(home.bias));
    let named = consts.map(|id| {
        let constant = &graph.consts[id];
        (constant.name.clone(), constant.value.to_owned())
    });
    Ok(named.collect())
}

fn lower(graph: &Graph, depthwise: Depthwise) -> (Folded, Lowered) {
    let folded = fold_graph(graph);
    let lowered = lower_graph(&folded.graph, depthwise);
    (folded, lowered)
}

fn place(lowered: &Lowered, layer: LayerId) -> String {
    format!("layer `{}`", lowered.layers[layer].name)
}

/// How many nodes use each constant.
fn count_users(graph: &Graph) -> IdVec<ConstId, usize> {
    let mut users: IdVec<ConstId, usize> = graph.consts.iter().map(|_| 0).collect();
    for id in graph.ids() {
        for used in graph.node(id).op.consts() {
            users[used] += 1;
        }
    }
    users
}

/// How many constants carry each name: one initialiser may have become several.
fn count_names(graph: &Graph) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for constant in &graph.consts {
        *names.entry(constant.name.clone()).or_insert(0) += 1;
    }
    names
}

/// A constant that is added behind the matrix `node`, in a node folded into it.
fn find_bias(
    graph: &Graph,
    folded: &Folded,
    node: NodeId,
    fits: &dyn Fn(&ConstId) -> bool,
) -> Option<ConstId> {
    // What is folded in from in front, a norm of the inputs for one, moves the bias by what the weights make of it.
    let is_folded = |id: &NodeId| folded.into.get(id) == Some(&node);
    let behind =
        std::iter::successors(Some(node), |&id| graph.users(id).into_iter().find(is_folded));
    let added = |id: NodeId| match &graph.node(id).op {
        Op::BatchNorm { bias, .. } => Some(*bias),
        Op::Binary(Binary::Add | Binary::Sub) => {
            let operands = graph.operands(id);
            operands.iter().find_map(|&operand| match graph.node(operand).op {
                Op::Const(value) => Some(value),
                _ => None,
            })
        }
        _ => None,
    };
    behind.filter_map(added).find(fits)
}

/// What every element of a layer's matrix is of its constant's element, by folding weights of one number.
fn probe_factors(
    graph: &Graph,
    homes: &IdVec<LayerId, Home>,
    layers: &IdVec<LayerId, MatrixLayer>,
    lower: &dyn Fn(&Graph) -> Lowered,
) -> Result<IdVec<LayerId, Vec<f64>>> {
    let mut probe = graph.clone();
    // A number of its own for every layer, so that no two matrices become alike.
    let number = |id: LayerId| 1.0 + (id.index() + 1) as f32 / 4096.0;
    for (id, home) in homes.iter_enumerated() {
        let value = &mut probe.consts[home.weight].value;
        *value = ArcArray::from_elem(value.raw_dim(), number(id));
    }
    let lowered = lower(&probe);
    let fits = lowered.layers.len() == layers.len()
        && lowered.layers.iter().zip(layers).all(|(a, b)| a.blocks.dim() == b.blocks.dim());
    if !fits {
        let message = "are not those that this network folds to";
        return Err(Diagnostic::internal("trained layers", message).into());
    }
    let factors = lowered.layers.iter_enumerated().map(|(id, layer)| {
        layer.blocks.iter().map(|w| f64::from(*w) / f64::from(number(id))).collect()
    });
    Ok(factors.collect())
}

/// Gives a constant the elements that make the layer's matrix; where a factor is 0 it stays as it is.
///
/// A matrix is its constant turned round, so the elements are put back by turning their numbers round alike.
fn give_weights(graph: &mut Graph, home: ConstId, layer: &MatrixLayer, factors: &[f64]) {
    let old = &graph.consts[home].value;
    let mut new: Vec<f32> = old.iter().copied().collect();
    let places = places_of(old.shape(), layer.blocks.dim(), graph, home);
    for ((&at, weight), factor) in places.iter().zip(layer.blocks.iter()).zip(factors) {
        if *factor != 0.0 {
            new[at] = (f64::from(*weight) / factor) as f32;
        }
    }
    let shape = IxDyn(old.shape());
    graph.consts[home].value =
        ArcArray::from_shape_vec(shape, new).expect("as many elements as before");
}

/// For every element of a matrix, `[groups, rows, columns]` in row-major order, the number of the constant's
/// element that it comes from.
fn places_of(
    shape: &[usize],
    (groups, rows, cols): (usize, usize, usize),
    graph: &Graph,
    home: ConstId,
) -> Vec<usize> {
    // Convolutions store `[m, c / groups kh kw]`, dense layers `[k, m]`, or `[m, k]` where transposed.
    let stores_rows = graph.ids().any(|id| {
        matches!(graph.node(id).op, Op::Dense { weight, transposed: false, .. } if weight == home)
    });
    debug_assert_eq!(shape.iter().product::<usize>(), groups * rows * cols);
    let mut places = Vec::with_capacity(groups * rows * cols);
    for group in 0..groups {
        for row in 0..rows {
            for col in 0..cols {
                places.push(match stores_rows {
                    true => row * cols + col,
                    false => (group * cols + col) * rows + row,
                });
            }
        }
    }
    places
}

/// How each bias moves with the constant that holds it.
fn probe_slopes(
    graph: &Graph,
    homes: &IdVec<LayerId, Home>,
    lower: &dyn Fn(&Graph) -> Lowered,
) -> IdVec<LayerId, Vec<f64>> {
    let biases = |number: f32| {
        let mut probe = graph.clone();
        for home in homes.iter().filter_map(|home| home.bias) {
            let value = &mut probe.consts[home].value;
            *value = ArcArray::from_elem(value.raw_dim(), number);
        }
        lower(&probe).layers
    };
    let (low, high) = (biases(0.0), biases(1.0));
    let slope = |(low, high): (&MatrixLayer, &MatrixLayer)| {
        let pairs = low.bias.iter().zip(&high.bias);
        pairs.map(|(low, high)| f64::from(*high) - f64::from(*low)).collect()
    };
    low.iter().zip(&high).map(slope).collect()
}

fn move_const(graph: &mut Graph, home: ConstId, steps: &[f64]) {
    let old = &graph.consts[home].value;
    let new = old.iter().zip(steps).map(|(old, step)| (f64::from(*old) + step) as f32).collect();
    let shape = IxDyn(old.shape());
    graph.consts[home].value = ArcArray::from_shape_vec(shape, new).expect("one step per element");
}

/// Checks that a graph has been lowered to these layers; `addends` are the largest numbers that biases
/// are made of, `LEAST` at the least.
fn check(
    lowered: &Lowered,
    layers: &IdVec<LayerId, MatrixLayer>,
    addends: &IdVec<LayerId, f32>,
) -> Result<()> {
    let mut problems = Vec::new();
    for (id, want) in layers.iter_enumerated() {
        let got = &lowered.layers[id];
        let mut differ = |what: &str, least: f32, want: &mut dyn Iterator<Item = (f32, f32)>| {
            let pairs: Vec<(f32, f32)> = want.collect();
            let size = pairs.iter().fold(least, |most, (want, _)| most.max(want.abs()));
            let worst = pairs.iter().fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            if worst > TOLERANCE * size {
                let message = format!(
                    "has {what} that no constants of the file make: {worst:e} is left of {size}"
                );
                let hint =
                    "export the network with its norms folded into the layers, and train that";
                problems.push(Diagnostic::unsupported(place(lowered, id), message).hint(hint));
            }
        };
        let weights = want.blocks.iter().copied().zip(got.blocks.iter().copied());
        differ("weights", LEAST, &mut { weights });
        let biases = want.bias.iter().copied().zip(got.bias.iter().copied());
        differ("a bias", addends[id], &mut { biases });
    }
    fail_if_any(problems)
}

#[cfg(test)]
mod tests {
    use ndarray::ArcArray;
    use nvcim_chip::describe::Depthwise;
    use nvcim_ir::graph::Graph;
    use nvcim_ir::ids::{IdVec, LayerId};
    use nvcim_ir::op::{Binary, Op, Unary, Window};
    use nvcim_ir::tiled::MatrixLayer;
    use proptest::prelude::*;

    use super::{find_homes, lower, unfold_layers};
    use crate::testing::{Builder, random_graph, values};

    /// The layers of a graph with every weight, and every bias that can, moved at random.
    fn changed(graph: &Graph, seed: u64) -> IdVec<LayerId, MatrixLayer> {
        let homes = find_homes(graph, Depthwise::Arrays).unwrap();
        let mut layers = lower(graph, Depthwise::Arrays).1.layers;
        let ids: Vec<LayerId> = layers.ids().collect();
        for id in ids {
            let layer = &mut layers[id];
            let moved = layer.blocks.iter().zip(values(seed, layer.blocks.len()));
            let moved = moved.map(|(w, z)| w * (1.0 + 0.5 * z)).collect();
            layer.blocks = ArcArray::from_shape_vec(layer.blocks.dim(), moved).unwrap();
            if homes.holds_bias(id) {
                let z = values(seed + 1, layer.bias.len());
                layer.bias.iter_mut().zip(z).for_each(|(b, z)| *b += z);
            }
        }
        layers
    }

    /// The graph with the constants that unfolding found.
    fn rebuilt(graph: &Graph, layers: &IdVec<LayerId, MatrixLayer>) -> Graph {
        let found =
            unfold_layers(graph, &find_homes(graph, Depthwise::Arrays).unwrap(), layers).unwrap();
        let mut res = graph.clone();
        let ids: Vec<_> = res.consts.ids().collect();
        for id in ids {
            if let Some(value) = found.get(&res.consts[id].name) {
                res.consts[id].value = value.clone().into_shared();
            }
        }
        res
    }

    #[track_caller]
    fn assert_comes_home(graph: &Graph, seed: u64) {
        let want = changed(graph, seed);
        let got = lower(&rebuilt(graph, &want), Depthwise::Arrays).1.layers;
        for (want, got) in want.iter().zip(&got) {
            let size = want.blocks.iter().fold(0.0f32, |most, w| most.max(w.abs()));
            let near = |a: &f32, b: &f32| (a - b).abs() <= 1e-6 * size.max(1.0);
            assert!(want.blocks.iter().zip(&got.blocks).all(|(a, b)| near(a, b)), "{}", want.name);
            let near = |a: &f32, b: &f32| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
            assert!(want.bias.iter().zip(&got.bias).all(|(a, b)| near(a, b)), "{}", want.name);
        }
    }

    #[test]
    fn weights_and_biases_come_home_through_norms_and_sums() {
        for groups in [1, 2, 4] {
            let (mut net, x) = Builder::new(1, &[4, 6, 6]);
            let conv = net.conv(x, 8, groups, Window::square(3, 1, 1));
            let norm = net.batch_norm(conv);
            let act = net.map(Op::Unary(Unary::Relu), &[norm]);
            let flat = net.flatten(act);
            let dense = net.dense(flat, 5, groups == 1);
            let constant = net.operand(&[5]);
            let out = net.map(Op::Binary(Binary::Sub), &[constant, dense]);
            assert_comes_home(&net.finish(&[out]), 7);
        }
    }

    #[test]
    fn a_layer_without_a_constant_to_add_keeps_its_bias() {
        let (mut net, x) = Builder::new(1, &[4]);
        let weight = net.random(&[4, 3], -1.0, 1.0);
        let op = Op::Dense { weight, bias: None, transposed: false };
        let out = net.add(op, &[x], &[3]);
        let graph = net.finish(&[out]);
        let homes = find_homes(&graph, Depthwise::Arrays).unwrap();
        assert!(!homes.holds_bias(nvcim_ir::ids::Id::new(0)));
        let mut layers = lower(&graph, Depthwise::Arrays).1.layers;
        layers.iter_mut().for_each(|layer| layer.bias.fill(1.0));
        let problems = unfold_layers(&graph, &homes, &layers).unwrap_err();
        assert!(problems[0].message.contains("a bias that no constants"), "{problems:?}");
    }

    #[test]
    fn a_norm_in_front_is_no_bias() {
        let (mut net, x) = Builder::new(1, &[3]);
        let norm = net.batch_norm(x);
        let out = net.dense(norm, 3, false);
        let graph = net.finish(&[out]);
        assert_eq!(lower(&graph, Depthwise::Arrays).0.graph.len(), 2, "the norm is folded");
        let homes = find_homes(&graph, Depthwise::Arrays).unwrap();
        assert!(!homes.holds_bias(nvcim_ir::ids::Id::new(0)));
    }

    #[test]
    fn weights_of_two_nodes_are_refused() {
        let (mut net, x) = Builder::new(1, &[4]);
        let weight = net.random(&[4, 4], -1.0, 1.0);
        let op = || Op::Dense { weight, bias: None, transposed: false };
        let first = net.add(op(), &[x], &[4]);
        let second = net.add(op(), &[first], &[4]);
        let problems = find_homes(&net.finish(&[second]), Depthwise::Arrays).unwrap_err();
        assert!(problems[0].message.contains("with another node"), "{problems:?}");
    }

    #[test]
    fn weights_that_are_alike_are_refused() {
        let (mut net, x) = Builder::new(1, &[4]);
        let weights = [0.5, 0.5].map(|w| net.value(&[4, 4], vec![w; 16]));
        let op = |weight| Op::Dense { weight, bias: None, transposed: false };
        let first = net.add(op(weights[0]), &[x], &[4]);
        let second = net.add(op(weights[1]), &[first], &[4]);
        let problems = find_homes(&net.finish(&[second]), Depthwise::Arrays).unwrap_err();
        assert!(problems[0].message.contains("value for value"), "{problems:?}");
    }

    proptest! {
        #[test]
        fn any_graph_comes_home(seed in 0u64..1000, picks in prop::collection::vec(any::<u8>(), 1..8)) {
            let graph = random_graph(seed, &picks);
            let Ok(homes) = find_homes(&graph, Depthwise::Arrays) else { return Ok(()) };
            let layers = changed(&graph, seed);
            match unfold_layers(&graph, &homes, &layers) {
                Ok(_) => assert_comes_home(&graph, seed),
                // A sum in front of a layer that has no bias of its own: what its weights make of it is fixed.
                Err(_) => prop_assert!(layers.ids().any(|id| !homes.holds_bias(id))),
            }
        }
    }
}
