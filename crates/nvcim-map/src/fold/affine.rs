//! Affine nodes: reading `scale x + shift` out of a node, and laying it along an axis.

use nvcim_ir::graph::{Constant, Graph};
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op};

/// `y = scale x + shift`, where the element at row-major place `f` takes entry `(f / inner) % len`.
///
/// Because places count through the tensor in row-major order, a reshape leaves this as it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
    inner: usize,
}

/// An [`Affine`] laid along one axis: one entry per index of that axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Channels {
    /// Factor of each channel.
    pub(super) scale: Vec<f64>,
    /// Added to each channel after scaling.
    pub(super) shift: Vec<f64>,
}

impl Affine {
    /// Whether it does more than scale.
    pub(super) fn shifts(&self) -> bool {
        self.shift.iter().any(|&shift| shift != 0.0)
    }

    /// One entry per index of `axis`, or `None` where two elements of one index differ.
    pub(super) fn along(&self, shape: &[usize], axis: usize) -> Option<Channels> {
        let len = shape[axis];
        let inner: usize = shape[axis + 1..].iter().product();
        let period = self.inner * self.scale.len();
        let entry = |at: usize| match self.scale.len() {
            1 => 0,
            entries => at * inner / self.inner % entries,
        };
        // The entry of place f must follow from (f / inner) % len alone: entries change no faster than
        // the axis does, and repeat whenever the axis does.
        let follows = self.inner.is_multiple_of(inner) && (inner * len).is_multiple_of(period);
        (self.scale.len() == 1 || follows).then(|| Channels {
            scale: (0..len).map(|at| self.scale[entry(at)]).collect(),
            shift: (0..len).map(|at| self.shift[entry(at)]).collect(),
        })
    }
}

/// The constant that a node stands for, if it does.
pub(super) fn const_of(graph: &Graph, id: NodeId) -> Option<&Constant> {
    match graph.node(id).op {
        Op::Const(value) => Some(&graph.consts[value]),
        _ => None,
    }
}

/// What an affine node does to which operand; `None` for every other node.
pub(super) fn read_affine(graph: &Graph, id: NodeId) -> Option<(NodeId, Affine)> {
    let node = graph.node(id);
    let operands = graph.operands(id);
    match node.op {
        Op::BatchNorm { scale, bias, mean, var, epsilon } => {
            let of = |id| graph.consts[id].value.iter().map(|&value| f64::from(value));
            let scale: Vec<f64> =
                of(scale).zip(of(var)).map(|(s, v)| s / (v + f64::from(epsilon)).sqrt()).collect();
            let shift = of(bias).zip(of(mean)).zip(&scale).map(|((b, m), s)| b - m * s).collect();
            Some((operands[0], Affine { scale, shift, inner: node.shape[1..].iter().product() }))
        }
        Op::Binary(op) => {
            let (const_first, tensor, constant) =
                match (const_of(graph, operands[0]), const_of(graph, operands[1])) {
                    (None, Some(constant)) => (false, operands[0], constant),
                    (Some(constant), None) => (true, operands[1], constant),
                    _ => return None,
                };
            // A constant that broadcasts the tensor to a larger shape is no map of its elements.
            if graph.node(tensor).shape != node.shape {
                return None;
            }
            let inner = find_period(&node.shape, constant.value.shape())?;
            let values = constant.value.iter().map(|&value| f64::from(value));
            let (scale, shift) = match (op, const_first) {
                (Binary::Add, _) => values.map(|c| (1.0, c)).unzip(),
                (Binary::Sub, false) => values.map(|c| (1.0, -c)).unzip(),
                (Binary::Sub, true) => values.map(|c| (-1.0, c)).unzip(),
                (Binary::Mul, _) => values.map(|c| (c, 0.0)).unzip(),
                (Binary::Div, false) => values.map(|c| (1.0 / c, 0.0)).unzip(),
                (Binary::Div, true)
                | (
                    Binary::Min
                    | Binary::Max
                    | Binary::Pow
                    | Binary::Equal
                    | Binary::Greater
                    | Binary::GreaterOrEqual,
                    _,
                ) => return None,
            };
            Some((tensor, Affine { scale, shift, inner }))
        }
        _ => None,
    }
}

/// The `inner` under which a constant's elements in row-major order broadcast to `shape`.
///
/// `None` where the axes on which the constant varies are not neighbours, as in `[8, 1, 4]` against
/// `[8, 4, 4]`.
fn find_period(shape: &[usize], constant: &[usize]) -> Option<usize> {
    let missing = shape.len().checked_sub(constant.len())?;
    let varies = |axis: usize| axis >= missing && constant[axis - missing] > 1;
    let Some(first) = (0..shape.len()).find(|&axis| varies(axis)) else {
        return Some(1);
    };
    let end = (first..shape.len()).rfind(|&axis| varies(axis))? + 1;
    let joined = (first..end).all(|axis| varies(axis) || shape[axis] == 1);
    joined.then(|| shape[end..].iter().product())
}

#[cfg(test)]
mod tests {
    use super::{Affine, find_period};

    fn affine(entries: &[f64], inner: usize) -> Affine {
        Affine { scale: entries.to_vec(), shift: vec![0.0; entries.len()], inner }
    }

    #[test]
    fn channels_of_an_image_expand_along_the_flattened_axis() {
        let per_channel = affine(&[2.0, 3.0], 4);
        let channels = per_channel.along(&[2, 2, 2], 0).unwrap();
        assert_eq!(channels.scale, [2.0, 3.0]);
        let flat = per_channel.along(&[8], 0).unwrap();
        assert_eq!(flat.scale, [2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]);
        assert_eq!(per_channel.along(&[2, 4], 1), None);
        assert_eq!(per_channel.along(&[4, 2], 0).unwrap().scale, [2.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn entries_per_element_are_per_channel_only_where_a_channel_is_one_element() {
        let per_element = affine(&[1.0, 2.0, 3.0, 4.0], 1);
        assert_eq!(per_element.along(&[2, 2], 0), None);
        assert_eq!(per_element.along(&[2, 2], 1), None);
        assert_eq!(per_element.along(&[4, 1, 1], 0).unwrap().scale, [1.0, 2.0, 3.0, 4.0]);
        // One row of a batch of rows: every row repeats the same entries.
        assert_eq!(affine(&[1.0, 2.0], 1).along(&[3, 2], 1).unwrap().scale, [1.0, 2.0]);
    }

    #[test]
    fn a_scalar_lies_along_every_axis() {
        let uniform = affine(&[5.0], 1);
        assert_eq!(uniform.along(&[2, 3, 4], 0).unwrap().scale, [5.0; 2]);
        assert_eq!(uniform.along(&[2, 3, 4], 2).unwrap().scale, [5.0; 4]);
    }

    #[test]
    fn periods_follow_the_axes_on_which_a_constant_varies() {
        assert_eq!(find_period(&[8, 4, 4], &[8, 1, 1]), Some(16));
        assert_eq!(find_period(&[8, 4, 4], &[4]), Some(1));
        assert_eq!(find_period(&[8, 4, 4], &[8, 4, 1]), Some(4));
        assert_eq!(find_period(&[8, 4, 4], &[8, 1, 4]), None);
        assert_eq!(find_period(&[8, 1, 4], &[8, 1, 4]), Some(1));
        assert_eq!(find_period(&[8, 4, 4], &[1, 1]), Some(1));
        assert_eq!(find_period(&[4], &[1, 4]), None);
    }
}
