//! The closed set of operators, on the shapes of single samples.
//!
//! Weights are constants of the owning graph or program, named by [`ConstId`]; every other operand is a
//! tensor. All axes, permutations and shapes leave the batch axis out: axis 0 of a sample is axis 1 of
//! the ONNX tensor. Spatial operators work on `[channels, height, width]`; a 1-D operator is imported
//! with height 1.

use std::fmt;

use crate::ids::ConstId;

/// A spatial window: how a kernel walks over `[height, width]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Kernel height and width, in taps.
    pub kernel: [usize; 2],
    /// Step of the kernel, at least 1.
    pub strides: [usize; 2],
    /// Distance between taps, at least 1.
    pub dilations: [usize; 2],
    /// Padding before the first row and column (top, left).
    pub pads_begin: [usize; 2],
    /// Padding after the last row and column (bottom, right).
    pub pads_end: [usize; 2],
}

impl Window {
    /// The kernel's extent along `axis` (0 height, 1 width), dilation included; `None` on overflow.
    pub fn extent(&self, axis: usize) -> Option<usize> {
        (self.kernel[axis].checked_sub(1)?).checked_mul(self.dilations[axis])?.checked_add(1)
    }

    /// Output positions along `axis` for an input of `len`, rounding down as convolution does.
    ///
    /// `None` when the kernel is larger than the padded input, a stride is 0, or a sum overflows.
    pub fn positions(&self, axis: usize, len: usize) -> Option<usize> {
        let padded = len.checked_add(self.pads_begin[axis])?.checked_add(self.pads_end[axis])?;
        Some(padded.checked_sub(self.extent(axis)?)?.checked_div(self.strides[axis])? + 1)
    }
}

/// An element-wise function of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, lo), hi)`; an absent bound is an infinity.
    Clip {
        /// Lower bound.
        lo: f32,
        /// Upper bound.
        hi: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
    /// `x` where positive, `alpha x` elsewhere.
    LeakyRelu {
        /// Slope of the negative side.
        alpha: f32,
    },
    /// `x max(0, min(1, x / 6 + 1/2))`.
    HardSwish,
}

/// An element-wise function of two tensors, broadcast as ONNX does within a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`.
    Div,
}

/// One axis of a slice: `len` elements from `start`, each `step` after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceAxis {
    /// First element taken.
    pub start: usize,
    /// Signed distance between elements, not 0.
    pub step: isize,
    /// Elements taken, at least 1.
    pub len: usize,
}

/// What a node or a digital step computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The network's input; no operand.
    Input,
    /// A constant that takes part as a tensor, the same for every sample; no operand.
    Const(ConstId),
    /// Convolution of `[c, h, w]` with weight `[m, c / groups, kh, kw]` and bias `[m]`.
    Conv {
        /// Weight, `[m, c / groups, kh, kw]`.
        weight: ConstId,
        /// Bias, `[m]`.
        bias: Option<ConstId>,
        /// How the kernel walks.
        window: Window,
        /// Number of channel groups.
        groups: usize,
    },
    /// `x W + b` over the last axis of `x`; all other axes of the sample are rows.
    Dense {
        /// Weight, `[k, m]`, or `[m, k]` where `transposed`.
        weight: ConstId,
        /// Bias, `[m]`.
        bias: Option<ConstId>,
        /// Whether the weight is stored output-major, as Gemm's `transB` says.
        transposed: bool,
    },
    /// `scale (x - mean) / sqrt(var + epsilon) + bias` per channel (axis 0 of the sample).
    BatchNorm {
        /// Per-channel scale.
        scale: ConstId,
        /// Per-channel bias.
        bias: ConstId,
        /// Per-channel running mean.
        mean: ConstId,
        /// Per-channel running variance.
        var: ConstId,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Element-wise function of one tensor.
    Unary(Unary),
    /// Element-wise function of two tensors.
    Binary(Binary),
    /// Softmax over one axis.
    Softmax {
        /// The axis whose elements sum to 1.
        axis: usize,
    },
    /// Logarithm of softmax over one axis.
    LogSoftmax {
        /// The axis of the softmax.
        axis: usize,
    },
    /// Largest element of each window; padding never wins.
    MaxPool {
        /// How the window walks; the output shape says whether it rounds up.
        window: Window,
    },
    /// Mean of each window.
    AveragePool {
        /// How the window walks; the output shape says whether it rounds up.
        window: Window,
        /// Whether padding counts as zeros in the mean. Cells beyond the padding never count.
        count_pad: bool,
    },
    /// Mean over the spatial axes: `[c, h, w]` to `[c, 1, 1]`.
    GlobalAveragePool,
    /// Mean over some axes; the output shape says whether they stay with length 1.
    ReduceMean {
        /// The axes averaged over, ascending.
        axes: Vec<usize>,
    },
    /// The same elements in row-major order under the output's shape.
    Reshape,
    /// Axis `i` of the output is axis `perm[i]` of the input.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    },
    /// Joins tensors along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Takes a strided part of every axis.
    Slice {
        /// One entry per axis of the input.
        axes: Vec<SliceAxis>,
    },
    /// Surrounds the tensor with a constant.
    Pad {
        /// Elements put before, per axis.
        before: Vec<usize>,
        /// Elements put after, per axis.
        after: Vec<usize>,
        /// The constant.
        value: f32,
    },
}

impl Op {
    /// The operator's name in text forms and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Const(_) => "const",
            Op::Conv { .. } => "conv",
            Op::Dense { .. } => "dense",
            Op::BatchNorm { .. } => "batch_norm",
            Op::Unary(Unary::Relu) => "relu",
            Op::Unary(Unary::Clip { .. }) => "clip",
            Op::Unary(Unary::Sigmoid) => "sigmoid",
            Op::Unary(Unary::Tanh) => "tanh",
            Op::Unary(Unary::LeakyRelu { .. }) => "leaky_relu",
            Op::Unary(Unary::HardSwish) => "hard_swish",
            Op::Binary(Binary::Add) => "add",
            Op::Binary(Binary::Sub) => "sub",
            Op::Binary(Binary::Mul) => "mul",
            Op::Binary(Binary::Div) => "div",
            Op::Softmax { .. } => "softmax",
            Op::LogSoftmax { .. } => "log_softmax",
            Op::MaxPool { .. } => "max_pool",
            Op::AveragePool { .. } => "average_pool",
            Op::GlobalAveragePool => "global_average_pool",
            Op::ReduceMean { .. } => "reduce_mean",
            Op::Reshape => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Concat { .. } => "concat",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
        }
    }

    /// How many operands the operator takes: at least, at most.
    pub fn arity(&self) -> (usize, usize) {
        match self {
            Op::Input | Op::Const(_) => (0, 0),
            Op::Binary(_) => (2, 2),
            Op::Concat { .. } => (1, usize::MAX),
            Op::Conv { .. }
            | Op::Dense { .. }
            | Op::BatchNorm { .. }
            | Op::Unary(_)
            | Op::Softmax { .. }
            | Op::LogSoftmax { .. }
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::ReduceMean { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Pad { .. } => (1, 1),
        }
    }

    /// The constants that the operator uses, in the order of its fields.
    pub fn consts(&self) -> Vec<ConstId> {
        match self {
            Op::Const(value) => vec![*value],
            Op::Conv { weight, bias, .. } | Op::Dense { weight, bias, .. } => {
                std::iter::once(*weight).chain(*bias).collect()
            }
            Op::BatchNorm { scale, bias, mean, var, epsilon: _ } => {
                vec![*scale, *bias, *mean, *var]
            }
            Op::Input
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Softmax { .. }
            | Op::LogSoftmax { .. }
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::ReduceMean { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. } => Vec::new(),
        }
    }
}

/// Prints the operator with its attributes, as text forms show it: `conv w=c0 b=c1 k=5x5 s=1x1 p=2,2,2,2`.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Op::Const(value) => write!(f, " {value}"),
            Op::Conv { weight, bias, window, groups } => {
                write!(f, " w={weight}")?;
                bias.map_or(Ok(()), |bias| write!(f, " b={bias}"))?;
                write!(f, " {window}")?;
                if *groups == 1 { Ok(()) } else { write!(f, " groups={groups}") }
            }
            Op::Dense { weight, bias, transposed } => {
                write!(f, " w={weight}")?;
                if *transposed {
                    f.write_str("^T")?;
                }
                bias.map_or(Ok(()), |bias| write!(f, " b={bias}"))
            }
            Op::BatchNorm { scale, bias, mean, var, epsilon } => {
                write!(f, " scale={scale} b={bias} mean={mean} var={var} eps={epsilon}")
            }
            Op::Unary(Unary::Clip { lo, hi }) => write!(f, " {lo}..{hi}"),
            Op::Unary(Unary::LeakyRelu { alpha }) => write!(f, " alpha={alpha}"),
            Op::Softmax { axis } | Op::LogSoftmax { axis } | Op::Concat { axis } => {
                write!(f, " axis={axis}")
            }
            Op::MaxPool { window } => write!(f, " {window}"),
            Op::AveragePool { window, count_pad } => {
                write!(f, " {window}")?;
                if *count_pad { f.write_str(" count_pad") } else { Ok(()) }
            }
            Op::ReduceMean { axes } => write!(f, " axes={axes:?}"),
            Op::Transpose { perm } => write!(f, " perm={perm:?}"),
            Op::Slice { axes } => axes
                .iter()
                .try_for_each(|axis| write!(f, " {}+{}x{}", axis.start, axis.step, axis.len)),
            Op::Pad { before, after, value } => {
                write!(f, " before={before:?} after={after:?} value={value}")
            }
            Op::Input | Op::Unary(_) | Op::Binary(_) | Op::GlobalAveragePool | Op::Reshape => {
                Ok(())
            }
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { kernel, strides, dilations, pads_begin, pads_end } = self;
        write!(f, "k={}x{} s={}x{}", kernel[0], kernel[1], strides[0], strides[1])?;
        if *dilations != [1, 1] {
            write!(f, " d={}x{}", dilations[0], dilations[1])?;
        }
        if (*pads_begin, *pads_end) != ([0, 0], [0, 0]) {
            let ([top, left], [bottom, right]) = (pads_begin, pads_end);
            write!(f, " p={top},{left},{bottom},{right}")?;
        }
        Ok(())
    }
}
