//! The wall round burn: variables on its tape, and operators of our own with their own way back.
//!
//! Everything else in this crate sees a [`Var`] and the functions here, or burn's operators on it. Each chunk
//! of a batch has a tape of its own, so that chunks may run on any threads.

use std::fmt::Debug;
use std::sync::Arc;

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend, Shape, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use ndarray::IxDyn;
use nvcim_ops::tensor::Tensor;

/// The backend whose operators record themselves.
pub(crate) type Tape = Autodiff<Flex>;
/// A tensor `[samples, sample shape...]` on a tape.
pub(crate) type Var = FloatTensor<Tape>;

/// A tensor that nothing is learnt of.
pub(crate) fn constant(values: Vec<f32>, shape: &[usize]) -> Var {
    Tape::from_inner(raw(values, shape))
}

/// Values that several tapes share.
#[derive(Debug, Clone)]
pub(crate) struct Buffer(FlexTensor);

impl Buffer {
    /// The values under this shape.
    pub(crate) fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        Self(raw(values, shape))
    }

    /// The same on a new tape, where their gradient is wanted.
    pub(crate) fn leaf(&self) -> Var {
        Tape::float_set_require_grad(Tape::from_inner(self.0.clone()), true)
    }
}

/// Whether every element is a finite number.
pub(crate) fn is_finite(var: &Var) -> bool {
    let tensor = var.primitive().to_contiguous();
    let values = tensor.as_slice::<f32>().expect("all tensors here hold f32");
    values.iter().fold(true, |all, value| all & value.is_finite())
}

/// The lengths of a tensor's axes.
pub(crate) fn shape_of(var: &Var) -> Vec<usize> {
    var.shape().to_vec()
}

/// The elements in row-major order.
pub(crate) fn values_of(var: &Var) -> Vec<f32> {
    elements(var.primitive().clone())
}

/// The tensor as executors move it.
pub(crate) fn tensor_of(var: &Var) -> Tensor {
    Tensor::from_shape_vec(IxDyn(&shape_of(var)), values_of(var)).expect("the shape is its own")
}

/// A tensor that executors made, of which nothing is learnt.
pub(crate) fn constant_of(tensor: &Tensor) -> Var {
    constant(tensor.iter().copied().collect(), tensor.shape())
}

/// The gradients of `wanted`, leaves all, after the way back from `loss`, a single number; zeros where a leaf
/// has no influence.
pub(crate) fn gradients<'a>(loss: Var, wanted: impl IntoIterator<Item = &'a Var>) -> Vec<Vec<f32>> {
    let mut found = Tape::backward(loss);
    let mut take = |leaf: &Var| {
        let gradient = Tape::grad_remove(leaf, &mut found);
        gradient.map_or_else(|| vec![0.0; leaf.shape().num_elements()], elements)
    };
    wanted.into_iter().map(&mut take).collect()
}

/// The way back through an operator of our own with `N` operands.
pub(crate) trait WayBack<const N: usize>: Debug + Send + Sync + 'static {
    /// From the gradient of the result to that of each operand, row-major; what is not `wanted` may be left
    /// empty.
    fn pull(&self, gradient: &[f32], wanted: [bool; N]) -> [Vec<f32>; N];
}

/// Puts the result `values` of an operator of our own on the tape of its operands.
pub(crate) fn record<const N: usize>(
    operands: [&Var; N],
    values: Vec<f32>,
    shape: &[usize],
    back: impl WayBack<N>,
) -> Var {
    let shapes = operands.map(shape_of);
    let guards = operands.map(|operand| operand.node());
    let output = raw(values, shape);
    match Own.prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            prep.finish(State { back: Arc::new(back), shapes: Arc::new(shapes) }, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

/// Any operator of our own.
#[derive(Debug)]
struct Own;

/// What such an operator keeps for the way back.
#[derive(Debug, Clone)]
struct State<const N: usize> {
    back: Arc<dyn WayBack<N>>,
    shapes: Arc<[Vec<usize>; N]>,
}

impl<const N: usize> Backward<Flex, N> for Own {
    type State = State<N>;

    fn backward(
        self,
        ops: Ops<State<N>, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = elements(gradients.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let pulled = ops.state.back.pull(&gradient, wanted);
        let operands = ops.parents.into_iter().zip(pulled).zip(ops.state.shapes.iter());
        for ((parent, pulled), shape) in operands {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, raw(pulled, shape));
            }
        }
    }
}

fn raw(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::from(shape.to_vec())))
}

fn elements(tensor: FlexTensor) -> Vec<f32> {
    let tensor = tensor.to_contiguous();
    tensor.as_slice::<f32>().expect("all tensors here hold f32, this one side by side").to_vec()
}
