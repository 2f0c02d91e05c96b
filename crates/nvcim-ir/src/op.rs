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
    /// A square kernel with steps and padding that are the same along both axes and on all sides, undilated.
    pub const fn square(kernel: usize, stride: usize, pad: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            strides: [stride; 2],
            dilations: [1; 2],
            pads_begin: [pad; 2],
            pads_end: [pad; 2],
        }
    }

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
    /// `|x|`.
    Abs,
    /// The square root.
    Sqrt,
    /// `exp(x)`.
    Exp,
    /// The natural logarithm.
    Log,
    /// The error function, `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `x`.
    Erf,
    /// The sine of an angle in radians.
    Sin,
    /// The cosine of an angle in radians.
    Cos,
    /// The largest integer not above `x`.
    Floor,
    /// The smallest integer not below `x`.
    Ceil,
    /// The nearest integer, the even one of two.
    Round,
    /// -1, 0 or 1.
    Sign,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x (1 + erf(x / sqrt(2))) / 2`.
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// `gamma x` where positive, `gamma alpha (exp(x / width) - 1)` elsewhere: ELU, SELU and CELU.
    Elu {
        /// Depth of the negative side.
        alpha: f32,
        /// Scale of both sides.
        gamma: f32,
        /// Where the negative side levels off.
        width: f32,
    },
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
    /// The smaller of both.
    Min,
    /// The larger of both.
    Max,
    /// `a` to the power of `b`.
    Pow,
    /// 1 where `a = b`, else 0.
    Equal,
    /// 1 where `a > b`, else 0.
    Greater,
    /// 1 where `a >= b`, else 0.
    GreaterOrEqual,
}

/// What becomes of the elements along the axes that a reduction takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their product.
    Prod,
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
    /// The second operand where the first is not 0, the third elsewhere; broadcast as ONNX does.
    Select,
    /// Product of the matrices in the last two axes, `[.., m, k]` by `[.., k, n]`; the axes before
    /// broadcast.
    MatMul,
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
    /// One element for all along some axes; the output shape says whether they stay with length 1.
    Reduce {
        /// What is made of the elements.
        reduction: Reduction,
        /// The axes taken away, ascending.
        axes: Vec<usize>,
    },
    /// `(x - mean) / sqrt(var + epsilon)` with mean and variance over some axes of the sample itself;
    /// not centred, `x / sqrt(mean(x^2) + epsilon)`.
    Normalize {
        /// The axes of the statistics, ascending.
        axes: Vec<usize>,
        /// Added under the root.
        epsilon: f32,
        /// Whether the mean is taken off first.
        centred: bool,
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
    /// Repeats axes of length 1, and the whole tensor along further axes in front, to the output's shape.
    Expand,
    /// The number of the largest element along an axis; the output shape says whether the axis stays with
    /// length 1.
    ArgMax {
        /// The axis.
        axis: usize,
        /// Whether the last of several largest elements counts, instead of the first.
        last: bool,
    },
    /// Sums of all elements up to each along an axis.
    CumSum {
        /// The axis.
        axis: usize,
        /// Whether an element is left out of its own sum.
        exclusive: bool,
        /// Whether sums start at the end of the axis.
        reverse: bool,
    },
    /// Takes elements along one axis by number, in any order and as often as named.
    Gather {
        /// The axis.
        axis: usize,
        /// The elements taken.
        indices: Vec<usize>,
    },
    /// Takes entries of a constant table by the numbers that its operand holds, counted from the table's end where
    /// negative: the axes of an entry come behind those of the operand. What is no number of an entry takes one of
    /// NaN.
    Lookup {
        /// The entries, along axis 0.
        table: ConstId,
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

impl Unary {
    /// The function's name in text forms and messages.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Relu => "relu",
            Unary::Clip { .. } => "clip",
            Unary::Sigmoid => "sigmoid",
            Unary::Tanh => "tanh",
            Unary::LeakyRelu { .. } => "leaky_relu",
            Unary::HardSwish => "hard_swish",
            Unary::Abs => "abs",
            Unary::Sqrt => "sqrt",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Erf => "erf",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
            Unary::Round => "round",
            Unary::Sign => "sign",
            Unary::Softplus => "softplus",
            Unary::Gelu => "gelu",
            Unary::GeluTanh => "gelu_tanh",
            Unary::Elu { .. } => "elu",
        }
    }
}

impl Binary {
    /// The function's name in text forms and messages.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Min => "min",
            Binary::Max => "max",
            Binary::Pow => "pow",
            Binary::Equal => "equal",
            Binary::Greater => "greater",
            Binary::GreaterOrEqual => "greater_or_equal",
        }
    }
}

impl Reduction {
    /// The operator's name in text forms and messages.
    pub fn name(self) -> &'static str {
        match self {
            Reduction::Mean => "reduce_mean",
            Reduction::Sum => "reduce_sum",
            Reduction::Max => "reduce_max",
            Reduction::Min => "reduce_min",
            Reduction::Prod => "reduce_prod",
        }
    }
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
            Op::Unary(unary) => unary.name(),
            Op::Binary(binary) => binary.name(),
            Op::Select => "select",
            Op::MatMul => "mat_mul",
            Op::Softmax { .. } => "softmax",
            Op::LogSoftmax { .. } => "log_softmax",
            Op::MaxPool { .. } => "max_pool",
            Op::AveragePool { .. } => "average_pool",
            Op::GlobalAveragePool => "global_average_pool",
            Op::Reduce { reduction, .. } => reduction.name(),
            Op::Normalize { .. } => "normalize",
            Op::Reshape => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Concat { .. } => "concat",
            Op::Expand => "expand",
            Op::ArgMax { .. } => "arg_max",
            Op::CumSum { .. } => "cum_sum",
            Op::Gather { .. } => "gather",
            Op::Lookup { .. } => "lookup",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
        }
    }

    /// How many operands the operator takes: at least, at most.
    pub fn arity(&self) -> (usize, usize) {
        match self {
            Op::Input | Op::Const(_) => (0, 0),
            Op::Binary(_) | Op::MatMul => (2, 2),
            Op::Select => (3, 3),
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
            | Op::Reduce { .. }
            | Op::Normalize { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Expand
            | Op::ArgMax { .. }
            | Op::CumSum { .. }
            | Op::Gather { .. }
            | Op::Lookup { .. }
            | Op::Slice { .. }
            | Op::Pad { .. } => (1, 1),
        }
    }

    /// The constants that the operator uses, in the order of its fields.
    pub fn consts(&self) -> Vec<ConstId> {
        self.clone().consts_mut().into_iter().map(|id| *id).collect()
    }

    /// The constants that the operator uses, to be exchanged for those of another list.
    pub fn consts_mut(&mut self) -> Vec<&mut ConstId> {
        match self {
            Op::Const(value) | Op::Lookup { table: value } => vec![value],
            Op::Conv { weight, bias, .. } | Op::Dense { weight, bias, .. } => {
                std::iter::once(weight).chain(bias).collect()
            }
            Op::BatchNorm { scale, bias, mean, var, epsilon: _ } => {
                vec![scale, bias, mean, var]
            }
            Op::Input
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::MatMul
            | Op::Softmax { .. }
            | Op::LogSoftmax { .. }
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::Reduce { .. }
            | Op::Normalize { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Concat { .. }
            | Op::Expand
            | Op::ArgMax { .. }
            | Op::CumSum { .. }
            | Op::Gather { .. }
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
            Op::Unary(Unary::Elu { alpha, gamma, width }) => {
                write!(f, " alpha={alpha} gamma={gamma} width={width}")
            }
            Op::Softmax { axis } | Op::LogSoftmax { axis } | Op::Concat { axis } => {
                write!(f, " axis={axis}")
            }
            Op::MaxPool { window } => write!(f, " {window}"),
            Op::AveragePool { window, count_pad } => {
                write!(f, " {window}")?;
                if *count_pad { f.write_str(" count_pad") } else { Ok(()) }
            }
            Op::Reduce { reduction: _, axes } => write!(f, " axes={axes:?}"),
            Op::Normalize { axes, epsilon, centred } => {
                write!(f, " axes={axes:?} eps={epsilon}")?;
                if *centred { f.write_str(" centred") } else { Ok(()) }
            }
            Op::ArgMax { axis, last } => {
                write!(f, " axis={axis}{}", if *last { " last" } else { "" })
            }
            Op::CumSum { axis, exclusive, reverse } => {
                write!(f, " axis={axis}")?;
                f.write_str(if *exclusive { " exclusive" } else { "" })?;
                f.write_str(if *reverse { " reverse" } else { "" })
            }
            Op::Gather { axis, indices } => write!(f, " axis={axis} indices={indices:?}"),
            Op::Lookup { table } => write!(f, " table={table}"),
            Op::Transpose { perm } => write!(f, " perm={perm:?}"),
            Op::Slice { axes } => axes
                .iter()
                .try_for_each(|axis| write!(f, " {}+{}x{}", axis.start, axis.step, axis.len)),
            Op::Pad { before, after, value } => {
                write!(f, " before={before:?} after={after:?} value={value}")
            }
            Op::Input
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Select
            | Op::MatMul
            | Op::GlobalAveragePool
            | Op::Reshape
            | Op::Expand => Ok(()),
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
