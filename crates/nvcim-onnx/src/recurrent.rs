//! What a recurrent node of ONNX says: its cell, its directions, and the functions of its gates.
//!
//! One reading serves the import, which unrolls the node into the graph, and the float reference, for which it
//! is spelled out in other ONNX operators.

use crate::attributes;
use crate::proto::NodeProto;
use crate::refusal::Refusal;

type Result<T> = std::result::Result<T, Refusal>;

/// A recurrent operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// `LSTM`, gates `i o f c`, functions `f g h`.
    Lstm,
    /// `GRU`, gates `z r h`, functions `f g`.
    Gru,
    /// `RNN`, one gate, function `f`.
    Rnn,
}

/// Which way a sequence is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From its first element on.
    Forward,
    /// From its last element back.
    Reverse,
}

/// An element-wise function of a gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    /// `alpha x + beta`.
    Affine { alpha: f32, beta: f32 },
    /// `x` where positive, `alpha (exp(x) - 1)` elsewhere.
    Elu { alpha: f32 },
    /// `min(max(alpha x + beta, 0), 1)`.
    HardSigmoid { alpha: f32, beta: f32 },
    /// `x` where positive, `alpha x` elsewhere.
    LeakyRelu { alpha: f32 },
    /// `max(x, 0)`.
    Relu,
    /// `alpha tanh(beta x)`.
    ScaledTanh { alpha: f32, beta: f32 },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `tanh(x)`.
    Tanh,
    /// `x` above `alpha`, 0 elsewhere.
    ThresholdedRelu { alpha: f32 },
}

/// The attributes of a recurrent node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The operator.
    pub(crate) cell: Cell,
    /// The length of a state, where the node says so.
    pub(crate) hidden: Option<usize>,
    /// The directions, in the order of weights and outputs.
    pub(crate) directions: Vec<Direction>,
    /// The functions of each direction.
    pub(crate) functions: Vec<Vec<Function>>,
    /// What inputs of functions are clipped to, on either side of 0.
    pub(crate) clip: Option<f32>,
    /// Whether the batch is the first axis of inputs and outputs, and time the second.
    pub(crate) batch_first: bool,
    /// Whether a GRU's reset gate acts on the product with the state, instead of on the state.
    pub(crate) linear_before_reset: bool,
    /// Whether an LSTM's forget gate is one minus its input gate.
    pub(crate) input_forget: bool,
}

impl Cell {
    /// The cell of an operator, if it is recurrent.
    pub(crate) fn of(op_type: &str) -> Option<Self> {
        match op_type {
            "LSTM" => Some(Self::Lstm),
            "GRU" => Some(Self::Gru),
            "RNN" => Some(Self::Rnn),
            _ => None,
        }
    }

    /// Matrices that lie one above the other in each weight.
    pub(crate) fn n_gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
            Self::Rnn => 1,
        }
    }

    /// The functions where the node names none.
    fn default_functions(self) -> &'static [Function] {
        match self {
            Self::Lstm => &[Function::Sigmoid, Function::Tanh, Function::Tanh],
            Self::Gru => &[Function::Sigmoid, Function::Tanh],
            Self::Rnn => &[Function::Tanh],
        }
    }
}

impl Direction {
    /// The name in nodes that stand for the direction.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
        }
    }

    /// The numbers of a sequence's elements, in the order in which they are read.
    pub(crate) fn order(self, len: usize) -> Vec<usize> {
        match self {
            Self::Forward => (0..len).collect(),
            Self::Reverse => (0..len).rev().collect(),
        }
    }
}

impl Settings {
    /// Reads the attributes of a recurrent node.
    ///
    /// # Errors
    /// Values that the standard does not know.
    pub(crate) fn read(cell: Cell, node: &NodeProto) -> Result<Self> {
        let directions = match attributes::string(node, "direction", "forward")?.as_str() {
            "forward" => vec![Direction::Forward],
            "reverse" => vec![Direction::Reverse],
            "bidirectional" => vec![Direction::Forward, Direction::Reverse],
            other => return Err(Refusal::broken(format!("has unknown `direction` `{other}`"))),
        };
        let hidden = match attributes::int(node, "hidden_size", 0)? {
            0 => None,
            hidden => Some(usize::try_from(hidden).map_err(|_| {
                Refusal::broken(format!("has states of length {hidden} as `hidden_size`"))
            })?),
        };
        let clip = match attributes::float(node, "clip", 0.0)? {
            _ if !attributes::has(node, "clip") => None,
            clip if clip > 0.0 => Some(clip),
            clip => return Err(Refusal::broken(format!("has `clip` {clip}, must be positive"))),
        };
        let flag = |name| attributes::int(node, name, 0).map(|set| set != 0);
        Ok(Self {
            cell,
            hidden,
            functions: read_functions(cell, node, directions.len())?,
            directions,
            clip,
            batch_first: flag("layout")?,
            linear_before_reset: flag("linear_before_reset")?,
            input_forget: flag("input_forget")?,
        })
    }
}

fn read_functions(cell: Cell, node: &NodeProto, n_directions: usize) -> Result<Vec<Vec<Function>>> {
    let per_direction = cell.default_functions().len();
    let Some(names) = attributes::strings(node, "activations")? else {
        return Ok(vec![cell.default_functions().to_vec(); n_directions]);
    };
    if names.len() != per_direction * n_directions {
        return Err(Refusal::broken(format!(
            "names {} functions in `activations`, must name {}",
            names.len(),
            per_direction * n_directions
        )));
    }
    // Each function that has a parameter takes the next one of the list.
    let mut alphas = attributes::floats(node, "activation_alpha")?.unwrap_or_default().iter();
    let mut betas = attributes::floats(node, "activation_beta")?.unwrap_or_default().iter();
    let mut alpha = |default| alphas.next().copied().unwrap_or(default);
    let mut beta = |default| betas.next().copied().unwrap_or(default);
    let mut read = |name: &String| {
        Ok(match name.to_ascii_lowercase().as_str() {
            "affine" => Function::Affine { alpha: alpha(1.0), beta: beta(0.0) },
            "elu" => Function::Elu { alpha: alpha(1.0) },
            "hardsigmoid" => Function::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
            "leakyrelu" => Function::LeakyRelu { alpha: alpha(0.01) },
            "relu" => Function::Relu,
            "scaledtanh" => Function::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) },
            "sigmoid" => Function::Sigmoid,
            "softplus" => Function::Softplus,
            "softsign" => Function::Softsign,
            "tanh" => Function::Tanh,
            "thresholdedrelu" => Function::ThresholdedRelu { alpha: alpha(1.0) },
            _ => return Err(Refusal::broken(format!("has unknown function `{name}`"))),
        })
    };
    let functions = names.iter().map(&mut read).collect::<Result<Vec<_>>>()?;
    Ok(functions.chunks(per_direction).map(<[Function]>::to_vec).collect())
}
