//! The weight and bias of a Conv or Dense, scaled along its outputs or its inputs.

use ndarray::{ArcArray, IxDyn};
use nvcim_ir::graph::{Constant, Graph};
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::Op;

use super::affine::Channels;

/// Which side of a matrix an affine map stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `scale (W^T x + b) + shift`.
    Outputs,
    /// `W^T (scale x + shift) + b`.
    Inputs,
}

/// A weight and bias to be given to a matrix node.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    weight: Constant,
    bias: Option<Constant>,
}

/// How a stored weight lies in memory: `[outer, middle, taps]`, of which two axes are ends of the matrix.
#[derive(Debug, Clone, Copy)]
struct Layout {
    middle: usize,
    taps: usize,
    ends: Ends,
}

/// Which axes of a stored weight are outputs, and which are inputs.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// `[m, c / groups, taps]` of a convolution, and `[m, k, 1]`: `m / groups` filters read one group of inputs.
    OutputsFirst { filters_per_group: usize },
    /// `[k, m, 1]`.
    InputsFirst,
}

/// The entries of channels that the weights of one outer index meet.
enum Entries<'c> {
    /// One for all.
    One(f64),
    /// One for each middle index.
    Each(&'c [f64]),
}

impl Layout {
    fn entries(self, outer: usize, side: Side, channels: &[f64]) -> Entries<'_> {
        match (self.ends, side) {
            (Ends::OutputsFirst { .. }, Side::Outputs) | (Ends::InputsFirst, Side::Inputs) => {
                Entries::One(channels[outer])
            }
            (Ends::OutputsFirst { filters_per_group }, Side::Inputs) => {
                Entries::Each(&channels[outer / filters_per_group * self.middle..][..self.middle])
            }
            (Ends::InputsFirst, Side::Outputs) => Entries::Each(channels),
        }
    }

    /// The weights, each times the entry of its channel.
    fn scale(self, weights: &[f32], side: Side, scale: &[f64]) -> Vec<f32> {
        let times = |(weight, scale): (&f32, &f64)| (f64::from(*weight) * scale) as f32;
        let mut scaled = Vec::with_capacity(weights.len());
        for (outer, row) in weights.chunks(self.middle * self.taps).enumerate() {
            match self.entries(outer, side, scale) {
                Entries::One(scale) => {
                    scaled.extend(row.iter().map(|weight| times((weight, &scale))))
                }
                Entries::Each(scale) if self.taps == 1 => {
                    scaled.extend(row.iter().zip(scale).map(times));
                }
                Entries::Each(scale) => {
                    for (taps, scale) in row.chunks(self.taps).zip(scale) {
                        scaled.extend(taps.iter().map(|weight| times((weight, scale))));
                    }
                }
            }
        }
        scaled
    }

    /// Adds what the weights make of `shift` on their inputs to their outputs' `bias`.
    fn add_shift(self, weights: &[f32], shift: &[f64], bias: &mut [f64]) {
        for (outer, row) in weights.chunks(self.middle * self.taps).enumerate() {
            match (self.ends, self.entries(outer, Side::Inputs, shift)) {
                (Ends::OutputsFirst { .. }, Entries::Each(shift)) => {
                    for (taps, shift) in row.chunks(self.taps).zip(shift) {
                        for weight in taps {
                            bias[outer] += f64::from(*weight) * shift;
                        }
                    }
                }
                (_, Entries::One(shift)) => {
                    for (bias, weight) in bias.iter_mut().zip(row) {
                        *bias += f64::from(*weight) * shift;
                    }
                }
                (Ends::InputsFirst, Entries::Each(_)) => {
                    unreachable!("one input's weights meet one entry of the inputs")
                }
            }
        }
    }
}

/// The axis along which a matrix node's operand (`Inputs`) or result (`Outputs`) has its channels.
///
/// `None` for a node that is no matrix. `shape` is the operand's or the result's.
pub(super) fn channel_axis(op: &Op, shape: &[usize]) -> Option<usize> {
    match op {
        Op::Conv { .. } => Some(0),
        Op::Dense { .. } => shape.len().checked_sub(1),
        _ => None,
    }
}

/// The weight and bias of node `id` with an affine map on one side taken in.
///
/// `None` where the node is no matrix or a number leaves the range of f32.
pub(super) fn take_in(graph: &Graph, id: NodeId, side: Side, by: &Channels) -> Option<Weights> {
    let node = graph.node(id);
    let (weight_id, bias_id, ends) = match node.op {
        Op::Conv { weight, bias, groups, .. } => {
            let filters = graph.consts[weight].value.shape()[0];
            (weight, bias, Ends::OutputsFirst { filters_per_group: filters / groups })
        }
        Op::Dense { weight, bias, transposed: true } => {
            let n_cols = graph.consts[weight].value.shape()[0];
            (weight, bias, Ends::OutputsFirst { filters_per_group: n_cols })
        }
        Op::Dense { weight, bias, transposed: false } => (weight, bias, Ends::InputsFirst),
        _ => return None,
    };
    let old = &graph.consts[weight_id];
    let dims = old.value.shape();
    let layout = Layout { middle: dims[1], taps: dims[2..].iter().product(), ends };
    let n_outputs = node.shape[channel_axis(&node.op, &node.shape)?];
    let mut bias = read_bias(graph, bias_id, n_outputs);
    let stored = old.value.as_standard_layout();
    let stored = stored.as_slice().expect("the standard layout has no gaps");
    match side {
        Side::Outputs => {
            for (bias, (scale, shift)) in bias.iter_mut().zip(by.scale.iter().zip(&by.shift)) {
                *bias = *bias * scale + shift;
            }
        }
        Side::Inputs if by.shift.iter().any(|&shift| shift != 0.0) => {
            layout.add_shift(stored, &by.shift, &mut bias);
        }
        Side::Inputs => {}
    }
    // Most maps that are not norms only add a bias, and leave the weights to be shared.
    let weight = if by.scale.iter().all(|&scale| scale == 1.0) {
        old.clone()
    } else {
        store(old.name.clone(), layout.scale(stored, side, &by.scale), dims)?
    };
    let keeps_none = bias_id.is_none() && bias.iter().all(|&bias| bias == 0.0);
    let bias_name =
        bias_id.map_or_else(|| format!("{}.bias", node.name), |id| graph.consts[id].name.clone());
    let bias = bias.into_iter().map(|bias| bias as f32).collect();
    Some(Weights {
        weight,
        bias: if keeps_none { None } else { Some(store(bias_name, bias, &[n_outputs])?) },
    })
}

fn read_bias(graph: &Graph, bias: Option<ConstId>, n_outputs: usize) -> Vec<f64> {
    bias.map_or_else(
        || vec![0.0; n_outputs],
        |id| graph.consts[id].value.iter().map(|&value| f64::from(value)).collect(),
    )
}

/// The values under this shape, unless one of them has left the range of f32.
fn store(name: String, values: Vec<f32>, shape: &[usize]) -> Option<Constant> {
    let finite = values.iter().fold(true, |all, value| all & value.is_finite());
    let value = ArcArray::from_shape_vec(IxDyn(shape), values).expect("the shape is unchanged");
    finite.then_some(Constant { name, value })
}

impl Weights {
    /// Gives these to node `id`, from which [`take_in`] made them.
    ///
    /// The old constants stay for other nodes that may share them.
    pub(super) fn give_to(self, graph: &mut Graph, id: NodeId) {
        let new_weight = graph.consts.push(self.weight);
        let new_bias = self.bias.map(|bias| graph.consts.push(bias));
        if let Op::Conv { weight, bias, .. } | Op::Dense { weight, bias, .. } =
            &mut graph.node_mut(id).op
        {
            *weight = new_weight;
            *bias = new_bias;
        }
    }
}
