//! One operator on its operands: the dispatch that both executors share.

use ndarray::IxDyn;
use nvcim_ir::graph::Constant;
use nvcim_ir::ids::{ConstId, IdVec};
use nvcim_ir::op::Op;

use crate::batch_norm::{Statistics, batch_norm};
use crate::tensor::{Operand, Tensor, batched, copy_standard};
use crate::{binary, conv, dense, layout, mat_mul, normalize, pool, reduce, scan, softmax, unary};

/// What operators without operands read.
pub(crate) struct Sources<'a> {
    /// The network's input, `[samples, shape...]`.
    pub(crate) input: &'a Tensor,
    /// The constants.
    pub(crate) consts: &'a IdVec<ConstId, Constant>,
}

impl Sources<'_> {
    /// Applies `op` to `operands`, in slot order, to samples of `shape`. A constant is repeated for
    /// every sample.
    pub(crate) fn apply(&self, op: &Op, operands: Vec<Operand<'_>>, shape: &[usize]) -> Tensor {
        let mut operands = operands.into_iter();
        let mut next = || operands.next().expect("the verifier has counted the operands");
        let constant = |id: &ConstId| &self.consts[*id];
        match op {
            Op::Input => copy_standard(&self.input.view()),
            Op::Const(id) => self.repeat(constant(id), shape),
            Op::Conv { weight, bias, window, groups } => {
                let bias = bias.as_ref().map(constant);
                conv::conv(&next(), constant(weight), bias, window, *groups, shape)
            }
            Op::Dense { weight, bias, transposed } => {
                let bias = bias.as_ref().map(constant);
                dense::dense(&next(), constant(weight), bias, *transposed, shape)
            }
            Op::BatchNorm { scale, bias, mean, var, epsilon } => {
                let [scale, bias, mean, var] = [scale, bias, mean, var].map(constant);
                batch_norm(next(), Statistics { scale, bias, mean, var, epsilon: *epsilon })
            }
            Op::Unary(function) => unary::unary(*function, next()),
            Op::Binary(function) => binary::binary(*function, next(), next(), shape),
            Op::Select => binary::select(&next(), &next(), &next(), shape),
            Op::MatMul => mat_mul::mat_mul(&next(), &next(), shape),
            Op::Softmax { axis } => softmax::softmax(next(), *axis),
            Op::LogSoftmax { axis } => softmax::log_softmax(next(), *axis),
            Op::MaxPool { window } => pool::max_pool(&next(), window, shape),
            Op::AveragePool { window, count_pad } => {
                pool::average_pool(&next(), window, *count_pad, shape)
            }
            Op::GlobalAveragePool => reduce::global_average_pool(&next(), shape),
            Op::Reduce { reduction, axes } => reduce::reduce(next(), *reduction, axes, shape),
            Op::Normalize { axes, epsilon, centred } => {
                normalize::normalize(next(), axes, *epsilon, *centred)
            }
            Op::Reshape => layout::reshape(next(), shape),
            Op::Transpose { perm } => layout::transpose(&next(), perm),
            Op::Concat { axis } => layout::concat(operands.as_slice(), *axis, shape),
            Op::Expand => binary::expand(&next(), shape),
            Op::ArgMax { axis, last } => scan::arg_max(&next(), *axis, *last, shape),
            Op::CumSum { axis, exclusive, reverse } => {
                scan::cum_sum(&next(), *axis, *exclusive, *reverse)
            }
            Op::Gather { axis, indices } => layout::gather(&next(), *axis, indices),
            Op::Lookup { table } => layout::lookup(&next(), constant(table), shape),
            Op::Slice { axes } => layout::slice(&next(), axes),
            Op::Pad { before, after: _, value } => layout::pad(&next(), before, *value, shape),
        }
    }

    /// A constant as a tensor of as many samples as the input has.
    fn repeat(&self, constant: &Constant, shape: &[usize]) -> Tensor {
        let full: IxDyn = batched(self.input.shape()[0], shape);
        let repeated = constant.value.broadcast(full);
        copy_standard(&repeated.expect("a batch axis in front always broadcasts"))
    }
}
