//! The operator inside a step record: one tag for every operator, then its attributes.

use bincode::{BorrowDecode, Encode};
use nvcim_ir::op::{Binary, Op, Reduction, SliceAxis, Unary, Window};
use nvcim_ir::program::{Lowering, StepOp};

use crate::items::Items;
use crate::stored::{Result, load_id, load_size, load_sizes, store_id, store_size, store_sizes};

/// An operator. The tag is the variant's place in this list: new ones go to the end.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) enum StoredOp {
    Input,
    Const { value: u32 },
    Conv { weight: u32, bias: Option<u32>, window: StoredWindow, groups: u32 },
    Dense { weight: u32, bias: Option<u32>, transposed: bool },
    BatchNorm { scale: u32, bias: u32, mean: u32, var: u32, epsilon: f32 },
    Relu,
    Clip { lo: f32, hi: f32 },
    Sigmoid,
    Tanh,
    LeakyRelu { alpha: f32 },
    HardSwish,
    Add,
    Sub,
    Mul,
    Div,
    Softmax { axis: u32 },
    LogSoftmax { axis: u32 },
    MaxPool { window: StoredWindow },
    AveragePool { window: StoredWindow, count_pad: bool },
    GlobalAveragePool,
    ReduceMean { axes: Items<u32> },
    Reshape,
    Transpose { perm: Items<u32> },
    Concat { axis: u32 },
    Slice { axes: Items<StoredSliceAxis> },
    Pad { before: Items<u32>, after: Items<u32>, value: f32 },
    MatrixDense { layer: u32 },
    MatrixConv { layer: u32, window: StoredWindow },
    Abs,
    Sqrt,
    Exp,
    Log,
    Erf,
    Sin,
    Cos,
    Floor,
    Ceil,
    Round,
    Sign,
    Softplus,
    Gelu,
    GeluTanh,
    Elu { alpha: f32, gamma: f32, width: f32 },
    Min,
    Max,
    Pow,
    Select,
    MatMul,
    ReduceSum { axes: Items<u32> },
    ReduceMax { axes: Items<u32> },
    ReduceMin { axes: Items<u32> },
    ReduceProd { axes: Items<u32> },
    Normalize { axes: Items<u32>, epsilon: f32, centred: bool },
    Expand,
    Gather { axis: u32, indices: Items<u32> },
    Equal,
    Greater,
    GreaterOrEqual,
    ArgMax { axis: u32, last: bool },
    CumSum { axis: u32, exclusive: bool, reverse: bool },
    Lookup { table: u32 },
}

/// A window over `[height, width]`.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredWindow {
    kernel: [u32; 2],
    strides: [u32; 2],
    dilations: [u32; 2],
    pads_begin: [u32; 2],
    pads_end: [u32; 2],
}

/// One axis of a slice.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredSliceAxis {
    start: u32,
    step: i64,
    len: u32,
}

impl StoredOp {
    pub(crate) fn store(op: &StepOp) -> Result<Self> {
        match op {
            StepOp::Digital(op) => Self::store_digital(op),
            StepOp::Matrix { layer, lowering: Lowering::Dense } => {
                Ok(Self::MatrixDense { layer: store_id(*layer) })
            }
            StepOp::Matrix { layer, lowering: Lowering::Conv(window) } => Ok(Self::MatrixConv {
                layer: store_id(*layer),
                window: StoredWindow::store(window)?,
            }),
        }
    }

    fn store_digital(op: &Op) -> Result<Self> {
        Ok(match op {
            Op::Input => Self::Input,
            Op::Const(value) => Self::Const { value: store_id(*value) },
            Op::Conv { weight, bias, window, groups } => Self::Conv {
                weight: store_id(*weight),
                bias: bias.map(store_id),
                window: StoredWindow::store(window)?,
                groups: store_size(*groups)?,
            },
            Op::Dense { weight, bias, transposed } => Self::Dense {
                weight: store_id(*weight),
                bias: bias.map(store_id),
                transposed: *transposed,
            },
            Op::BatchNorm { scale, bias, mean, var, epsilon } => Self::BatchNorm {
                scale: store_id(*scale),
                bias: store_id(*bias),
                mean: store_id(*mean),
                var: store_id(*var),
                epsilon: *epsilon,
            },
            Op::Unary(unary) => Self::store_unary(*unary),
            Op::Binary(binary) => Self::store_binary(*binary),
            Op::Select => Self::Select,
            Op::MatMul => Self::MatMul,
            Op::Softmax { axis } => Self::Softmax { axis: store_size(*axis)? },
            Op::LogSoftmax { axis } => Self::LogSoftmax { axis: store_size(*axis)? },
            Op::MaxPool { window } => Self::MaxPool { window: StoredWindow::store(window)? },
            Op::AveragePool { window, count_pad } => {
                Self::AveragePool { window: StoredWindow::store(window)?, count_pad: *count_pad }
            }
            Op::GlobalAveragePool => Self::GlobalAveragePool,
            Op::Reduce { reduction, axes } => Self::store_reduction(*reduction, axes)?,
            Op::Normalize { axes, epsilon, centred } => {
                let axes = store_sizes(axes)?;
                Self::Normalize { axes, epsilon: *epsilon, centred: *centred }
            }
            Op::Reshape => Self::Reshape,
            Op::Transpose { perm } => Self::Transpose { perm: store_sizes(perm)? },
            Op::Concat { axis } => Self::Concat { axis: store_size(*axis)? },
            Op::Expand => Self::Expand,
            Op::Gather { axis, indices } => {
                Self::Gather { axis: store_size(*axis)?, indices: store_sizes(indices)? }
            }
            Op::ArgMax { axis, last } => Self::ArgMax { axis: store_size(*axis)?, last: *last },
            Op::CumSum { axis, exclusive, reverse } => {
                let axis = store_size(*axis)?;
                Self::CumSum { axis, exclusive: *exclusive, reverse: *reverse }
            }
            Op::Lookup { table } => Self::Lookup { table: store_id(*table) },
            Op::Slice { axes } => Self::Slice {
                axes: axes.iter().map(StoredSliceAxis::store).collect::<Result<_>>()?,
            },
            Op::Pad { before, after, value } => Self::Pad {
                before: store_sizes(before)?,
                after: store_sizes(after)?,
                value: *value,
            },
        })
    }

    fn store_unary(unary: Unary) -> Self {
        match unary {
            Unary::Relu => Self::Relu,
            Unary::Clip { lo, hi } => Self::Clip { lo, hi },
            Unary::Sigmoid => Self::Sigmoid,
            Unary::Tanh => Self::Tanh,
            Unary::LeakyRelu { alpha } => Self::LeakyRelu { alpha },
            Unary::HardSwish => Self::HardSwish,
            Unary::Abs => Self::Abs,
            Unary::Sqrt => Self::Sqrt,
            Unary::Exp => Self::Exp,
            Unary::Log => Self::Log,
            Unary::Erf => Self::Erf,
            Unary::Sin => Self::Sin,
            Unary::Cos => Self::Cos,
            Unary::Floor => Self::Floor,
            Unary::Ceil => Self::Ceil,
            Unary::Round => Self::Round,
            Unary::Sign => Self::Sign,
            Unary::Softplus => Self::Softplus,
            Unary::Gelu => Self::Gelu,
            Unary::GeluTanh => Self::GeluTanh,
            Unary::Elu { alpha, gamma, width } => Self::Elu { alpha, gamma, width },
        }
    }

    fn store_binary(binary: Binary) -> Self {
        match binary {
            Binary::Add => Self::Add,
            Binary::Sub => Self::Sub,
            Binary::Mul => Self::Mul,
            Binary::Div => Self::Div,
            Binary::Min => Self::Min,
            Binary::Max => Self::Max,
            Binary::Pow => Self::Pow,
            Binary::Equal => Self::Equal,
            Binary::Greater => Self::Greater,
            Binary::GreaterOrEqual => Self::GreaterOrEqual,
        }
    }

    fn store_reduction(reduction: Reduction, axes: &[usize]) -> Result<Self> {
        let axes = store_sizes(axes)?;
        Ok(match reduction {
            Reduction::Mean => Self::ReduceMean { axes },
            Reduction::Sum => Self::ReduceSum { axes },
            Reduction::Max => Self::ReduceMax { axes },
            Reduction::Min => Self::ReduceMin { axes },
            Reduction::Prod => Self::ReduceProd { axes },
        })
    }

    pub(crate) fn load(self) -> Result<StepOp> {
        Ok(StepOp::Digital(match self {
            Self::MatrixDense { layer } => {
                return Ok(StepOp::Matrix { layer: load_id(layer), lowering: Lowering::Dense });
            }
            Self::MatrixConv { layer, window } => {
                let lowering = Lowering::Conv(window.load());
                return Ok(StepOp::Matrix { layer: load_id(layer), lowering });
            }
            Self::Input => Op::Input,
            Self::Const { value } => Op::Const(load_id(value)),
            Self::Conv { weight, bias, window, groups } => Op::Conv {
                weight: load_id(weight),
                bias: bias.map(load_id),
                window: window.load(),
                groups: load_size(groups),
            },
            Self::Dense { weight, bias, transposed } => {
                Op::Dense { weight: load_id(weight), bias: bias.map(load_id), transposed }
            }
            Self::BatchNorm { scale, bias, mean, var, epsilon } => Op::BatchNorm {
                scale: load_id(scale),
                bias: load_id(bias),
                mean: load_id(mean),
                var: load_id(var),
                epsilon,
            },
            Self::Relu => Op::Unary(Unary::Relu),
            Self::Clip { lo, hi } => Op::Unary(Unary::Clip { lo, hi }),
            Self::Sigmoid => Op::Unary(Unary::Sigmoid),
            Self::Tanh => Op::Unary(Unary::Tanh),
            Self::LeakyRelu { alpha } => Op::Unary(Unary::LeakyRelu { alpha }),
            Self::HardSwish => Op::Unary(Unary::HardSwish),
            Self::Abs => Op::Unary(Unary::Abs),
            Self::Sqrt => Op::Unary(Unary::Sqrt),
            Self::Exp => Op::Unary(Unary::Exp),
            Self::Log => Op::Unary(Unary::Log),
            Self::Erf => Op::Unary(Unary::Erf),
            Self::Sin => Op::Unary(Unary::Sin),
            Self::Cos => Op::Unary(Unary::Cos),
            Self::Floor => Op::Unary(Unary::Floor),
            Self::Ceil => Op::Unary(Unary::Ceil),
            Self::Round => Op::Unary(Unary::Round),
            Self::Sign => Op::Unary(Unary::Sign),
            Self::Softplus => Op::Unary(Unary::Softplus),
            Self::Gelu => Op::Unary(Unary::Gelu),
            Self::GeluTanh => Op::Unary(Unary::GeluTanh),
            Self::Elu { alpha, gamma, width } => Op::Unary(Unary::Elu { alpha, gamma, width }),
            Self::Add => Op::Binary(Binary::Add),
            Self::Sub => Op::Binary(Binary::Sub),
            Self::Mul => Op::Binary(Binary::Mul),
            Self::Div => Op::Binary(Binary::Div),
            Self::Min => Op::Binary(Binary::Min),
            Self::Max => Op::Binary(Binary::Max),
            Self::Pow => Op::Binary(Binary::Pow),
            Self::Equal => Op::Binary(Binary::Equal),
            Self::Greater => Op::Binary(Binary::Greater),
            Self::GreaterOrEqual => Op::Binary(Binary::GreaterOrEqual),
            Self::ArgMax { axis, last } => Op::ArgMax { axis: load_size(axis), last },
            Self::CumSum { axis, exclusive, reverse } => {
                Op::CumSum { axis: load_size(axis), exclusive, reverse }
            }
            Self::Lookup { table } => Op::Lookup { table: load_id(table) },
            Self::Select => Op::Select,
            Self::MatMul => Op::MatMul,
            Self::Softmax { axis } => Op::Softmax { axis: load_size(axis) },
            Self::LogSoftmax { axis } => Op::LogSoftmax { axis: load_size(axis) },
            Self::MaxPool { window } => Op::MaxPool { window: window.load() },
            Self::AveragePool { window, count_pad } => {
                Op::AveragePool { window: window.load(), count_pad }
            }
            Self::GlobalAveragePool => Op::GlobalAveragePool,
            Self::ReduceMean { axes } => load_reduction(Reduction::Mean, axes),
            Self::ReduceSum { axes } => load_reduction(Reduction::Sum, axes),
            Self::ReduceMax { axes } => load_reduction(Reduction::Max, axes),
            Self::ReduceMin { axes } => load_reduction(Reduction::Min, axes),
            Self::ReduceProd { axes } => load_reduction(Reduction::Prod, axes),
            Self::Normalize { axes, epsilon, centred } => {
                Op::Normalize { axes: load_sizes(axes), epsilon, centred }
            }
            Self::Reshape => Op::Reshape,
            Self::Transpose { perm } => Op::Transpose { perm: load_sizes(perm) },
            Self::Concat { axis } => Op::Concat { axis: load_size(axis) },
            Self::Expand => Op::Expand,
            Self::Gather { axis, indices } => {
                Op::Gather { axis: load_size(axis), indices: load_sizes(indices) }
            }
            Self::Slice { axes } => Op::Slice {
                axes: axes.0.into_iter().map(StoredSliceAxis::load).collect::<Result<_>>()?,
            },
            Self::Pad { before, after, value } => {
                Op::Pad { before: load_sizes(before), after: load_sizes(after), value }
            }
        }))
    }
}

fn load_reduction(reduction: Reduction, axes: Items<u32>) -> Op {
    Op::Reduce { reduction, axes: load_sizes(axes) }
}

impl StoredWindow {
    fn store(window: &Window) -> Result<Self> {
        let Window { kernel, strides, dilations, pads_begin, pads_end } = window;
        Ok(Self {
            kernel: store_pair(*kernel)?,
            strides: store_pair(*strides)?,
            dilations: store_pair(*dilations)?,
            pads_begin: store_pair(*pads_begin)?,
            pads_end: store_pair(*pads_end)?,
        })
    }

    fn load(self) -> Window {
        let Self { kernel, strides, dilations, pads_begin, pads_end } = self;
        Window {
            kernel: kernel.map(load_size),
            strides: strides.map(load_size),
            dilations: dilations.map(load_size),
            pads_begin: pads_begin.map(load_size),
            pads_end: pads_end.map(load_size),
        }
    }
}

fn store_pair([height, width]: [usize; 2]) -> Result<[u32; 2]> {
    Ok([store_size(height)?, store_size(width)?])
}

impl StoredSliceAxis {
    fn store(axis: &SliceAxis) -> Result<Self> {
        let SliceAxis { start, step, len } = *axis;
        let step = i64::try_from(step).map_err(|_| format!("slices in steps of {step}"))?;
        Ok(Self { start: store_size(start)?, step, len: store_size(len)? })
    }

    fn load(self) -> Result<SliceAxis> {
        let Self { start, step, len } = self;
        let step = isize::try_from(step).map_err(|_| format!("slices in steps of {step}"))?;
        Ok(SliceAxis { start: load_size(start), step, len: load_size(len) })
    }
}
