//! The weight and bias of a Conv or Dense, scaled along its outputs or its inputs.

use ndarray::{ArcArray, ArrayD, IxDyn};
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

/// Where each element of a stored weight sits in its matrix.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// `[m, c / groups, taps]`.
    Conv { filters: usize, per_group: usize, taps: usize, groups: usize },
    /// `[k, m]`.
    RowMajor { n_cols: usize },
    /// `[m, k]`.
    ColumnMajor { n_rows: usize },
}

impl Layout {
    /// The output and the input that the weight at row-major place `at` joins.
    fn ends(self, at: usize) -> (usize, usize) {
        match self {
            Layout::Conv { filters, per_group, taps, groups } => {
                let output = at / (per_group * taps);
                let group = output / (filters / groups);
                (output, group * per_group + at / taps % per_group)
            }
            Layout::RowMajor { n_cols } => (at % n_cols, at / n_cols),
            Layout::ColumnMajor { n_rows } => (at / n_rows, at % n_rows),
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
    let (weight_id, bias_id, layout) = match node.op {
        Op::Conv { weight, bias, groups, .. } => {
            let dims = graph.consts[weight].value.shape();
            let (filters, per_group, taps) = (dims[0], dims[1], dims[2] * dims[3]);
            (weight, bias, Layout::Conv { filters, per_group, taps, groups })
        }
        Op::Dense { weight, bias, transposed } => {
            let dims = graph.consts[weight].value.shape();
            let layout = if transposed {
                Layout::ColumnMajor { n_rows: dims[1] }
            } else {
                Layout::RowMajor { n_cols: dims[1] }
            };
            (weight, bias, layout)
        }
        _ => return None,
    };
    let old = &graph.consts[weight_id];
    let n_outputs = node.shape[channel_axis(&node.op, &node.shape)?];
    let mut bias = read_bias(graph, bias_id, n_outputs);
    let mut weight: Vec<f64> = old.value.iter().map(|&value| f64::from(value)).collect();
    match side {
        Side::Outputs => {
            for (bias, (scale, shift)) in bias.iter_mut().zip(by.scale.iter().zip(&by.shift)) {
                *bias = *bias * scale + shift;
            }
            for (at, weight) in weight.iter_mut().enumerate() {
                *weight *= by.scale[layout.ends(at).0];
            }
        }
        Side::Inputs => {
            for (at, weight) in weight.iter_mut().enumerate() {
                let (output, input) = layout.ends(at);
                bias[output] += *weight * by.shift[input];
                *weight *= by.scale[input];
            }
        }
    }
    let keeps_none = bias_id.is_none() && bias.iter().all(|&bias| bias == 0.0);
    let bias_name =
        bias_id.map_or_else(|| format!("{}.bias", node.name), |id| graph.consts[id].name.clone());
    Some(Weights {
        weight: store(old.name.clone(), weight, old.value.shape())?,
        bias: if keeps_none { None } else { Some(store(bias_name, bias, &[n_outputs])?) },
    })
}

fn read_bias(graph: &Graph, bias: Option<ConstId>, n_outputs: usize) -> Vec<f64> {
    bias.map_or_else(
        || vec![0.0; n_outputs],
        |id| graph.consts[id].value.iter().map(|&value| f64::from(value)).collect(),
    )
}

/// The values in f32, unless one is not finite there.
fn store(name: String, values: Vec<f64>, shape: &[usize]) -> Option<Constant> {
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    let finite = values.iter().all(|value| value.is_finite());
    let value = ArrayD::from_shape_vec(IxDyn(shape), values).expect("the shape is unchanged");
    finite.then(|| Constant { name, value: ArcArray::from(value) })
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
