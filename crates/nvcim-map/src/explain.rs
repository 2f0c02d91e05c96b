//! Where each node of the imported graph ends up, and why, in words for `check`.

use nvcim_ir::graph::Graph;
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::op::{Binary, Op, Reduction, Unary};
use nvcim_ir::tiled::MatrixLayer;

use crate::fold::Folded;
use crate::lower::Lowered;
use crate::map_graph::{NodePlace, Place};
use crate::pack::Placed;

/// The place of every node of `graph`, in the order of their ids.
pub fn explain_places(
    graph: &Graph,
    folded: &Folded,
    lowered: &Lowered,
    placed: &[Placed],
) -> Vec<NodePlace> {
    let mut uses: IdVec<LayerId, usize> = lowered.layers.iter().map(|_| 0).collect();
    for layer in lowered.layer_of.values() {
        uses[*layer] += 1;
    }
    let explain = |node| {
        let place = if let Some(into) = folded.into.get(&node) {
            Place::Folded { into: graph.node(*into).name.clone() }
        } else if let Some(&layer) = lowered.layer_of.get(&node) {
            let tiles = placed.iter().filter(|it| it.cut.layer == layer).count();
            let mut reason = explain_matrix(&lowered.layers[layer], tiles);
            let owner = &lowered.layers[layer].name;
            if *owner != graph.node(node).name {
                reason += &format!(", those of `{owner}`, whose weights are the same");
            } else if uses[layer] > 1 {
                reason += &format!(", in {} steps", uses[layer]);
            }
            Place::Analog { layer, reason }
        } else if lowered.live.contains(&node) {
            Place::Digital { reason: explain_digital(&graph.node(node).op).into() }
        } else {
            Place::Digital { reason: "no output depends on it, so it is left out".into() }
        };
        NodePlace { node, name: graph.node(node).name.clone(), place }
    };
    graph.ids().map(explain).collect()
}

fn explain_matrix(layer: &MatrixLayer, tiles: usize) -> String {
    let (groups, rows, cols) = layer.blocks.dim();
    let what = if groups == 1 {
        format!("{rows}x{cols} matrix")
    } else {
        format!("{groups} blocks of {rows}x{cols}")
    };
    format!("{what} on {tiles} tile{}", if tiles == 1 { "" } else { "s" })
}

const SUM: &str = "a mean or sum without weights, cheaper to add up digitally";

fn explain_digital(op: &Op) -> &'static str {
    match op {
        Op::Input => "the network's input",
        Op::Const(_) => "a constant operand",
        Op::Conv { .. } => {
            "a depthwise convolution, which `arrays.depthwise` of the chip keeps off its arrays"
        }
        Op::Dense { .. } => "a matrix",
        Op::BatchNorm { .. } => "no matrix beside it can take its scale and shift in",
        Op::Unary(Unary::Relu | Unary::Clip { .. } | Unary::LeakyRelu { .. }) => {
            "element-wise, on converted outputs"
        }
        Op::Unary(_) => "element-wise and not linear, on converted outputs",
        Op::Binary(
            Binary::Min
            | Binary::Max
            | Binary::Pow
            | Binary::Equal
            | Binary::Greater
            | Binary::GreaterOrEqual,
        ) => "element-wise and not linear, on two tensors",
        Op::Select => "chooses between two tensors, computes nothing",
        Op::MatMul => "both operands change with every input, and cells hold one for good",
        Op::Binary(_) => "element-wise on two tensors, or on a constant that no matrix can take in",
        Op::Softmax { .. } | Op::LogSoftmax { .. } => "exponentials and a sum over an axis",
        Op::MaxPool { .. } => "the largest of a window is not linear",
        Op::AveragePool { .. } | Op::GlobalAveragePool => SUM,
        Op::Reduce { reduction: Reduction::Mean | Reduction::Sum, .. } => SUM,
        Op::CumSum { .. } => SUM,
        Op::ArgMax { .. } => "the place of the largest of an axis is not linear",
        Op::Reduce { .. } => "the product, largest or smallest of an axis is not linear",
        Op::Normalize { .. } => "divides by a deviation that changes with every input",
        Op::Reshape
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Expand
        | Op::Gather { .. }
        | Op::Lookup { .. }
        | Op::Slice { .. }
        | Op::Pad { .. } => "moves values, computes nothing",
    }
}
