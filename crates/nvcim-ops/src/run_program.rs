//! The executor of a digital program, with its matrix layers on whatever multiplies.

use ndarray::{ArrayView2, ArrayViewMut2};
use nvcim_ir::ids::{LayerId, StepId};
use nvcim_ir::op::Window;
use nvcim_ir::program::{self, Lowering, Program, StepOp};

use crate::apply::Sources;
use crate::dense::{rows, rows_mut};
use crate::im2col::{convolve_samples, lower_samples};
use crate::store::Store;
use crate::tensor::{Operand, Tensor, count_samples, zeros};

/// Whose input vectors the columns of a product are.
///
/// Column `c` belongs to sample `first_sample + c / per_sample`, position `c % per_sample` of this use of the
/// layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// The sample of the first column, counted over the whole run.
    pub first_sample: u64,
    /// Columns per sample.
    pub per_sample: usize,
    /// Which of the layer's uses this is.
    pub layer_use: Nth,
}

/// One of the uses of a layer by a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nth {
    /// Its number, from 0 in the order of the program.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl Nth {
    /// The only use.
    pub const ONLY: Self = Self { number: 0, of: 1 };
}

/// What multiplies by the matrix layers: exact floats, a simulated die, or an observer round either.
pub trait MatrixEngine {
    /// Meets the input vectors of a layer's step before the first of them is multiplied: all samples at
    /// once, for those that set themselves up by what they are going to see. A layer that several steps use
    /// is met at each.
    fn meet(&mut self, _layer: LayerId, _inputs: &LayerInputs<'_>) {}

    /// Overwrites `out`, `[n_cols, columns]`, with `W^T x + bias` for `x`, `[n_rows, columns]`.
    ///
    /// Either view may be transposed in memory. The result of a column must depend on nothing but its
    /// values, its sample, the use and its position, or the split of a batch would show.
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    );
}

/// Overwrites every row of `out`, `[n_cols, columns]`, with its bias: what products are then added to.
pub fn fill_bias(out: &mut ArrayViewMut2<'_, f32>, bias: &[f32]) {
    for (mut row, &bias) in out.outer_iter_mut().zip(bias) {
        row.fill(bias);
    }
}

/// The input vectors of one layer's step, all samples of a run.
#[derive(Debug)]
pub struct LayerInputs<'a> {
    operand: &'a Operand<'a>,
    lowering: &'a Lowering,
    shape: &'a [usize],
    first_sample: u64,
    layer_use: Nth,
}

impl LayerInputs<'_> {
    /// Shows every vector once, in the pieces and the order in which they are going to be multiplied:
    /// `[n_rows, columns]`.
    pub fn for_each(&self, mut see: impl FnMut(Columns, ArrayView2<'_, f32>)) {
        let Self { operand, lowering, shape, first_sample, layer_use } = *self;
        match lowering {
            Lowering::Dense => {
                let per_sample = shape[..shape.len() - 1].iter().product();
                let columns = Columns { first_sample, per_sample, layer_use };
                see(columns, rows(operand).reversed_axes());
            }
            Lowering::Conv(window) => lower_samples(operand, window, &shape[1..], |sample, x| {
                let first_sample = first_sample + sample as u64;
                see(Columns { first_sample, per_sample: x.ncols(), layer_use }, x);
            }),
        }
    }
}

/// Runs a verified program on `input`, `[samples, input shape...]`, and returns its outputs in order.
///
/// `first_sample` numbers the first sample of `input` in the whole run. `visit` sees every step's
/// tensor, `[samples, shape...]`, once and right after it is made; a tensor is dropped after its last
/// use. Convolutions multiply sample by sample, dense layers all samples at once.
///
/// # Panics
///
/// If `input` does not have the shape of the program's input behind a batch axis.
pub fn run_program(
    program: &Program,
    input: &Tensor,
    first_sample: u64,
    engine: &mut dyn MatrixEngine,
    visit: &mut dyn FnMut(StepId, &Tensor),
) -> Vec<Tensor> {
    let want = program.steps.iter().next().map(|step| step.shape.as_slice());
    assert_eq!(input.shape().get(1..), want, "a sample has the input's shape");
    let reads = program.steps.iter().flat_map(|step| &step.operands).chain(&program.outputs);
    let mut store = Store::new(reads.copied());
    let sources = Sources { input, consts: &program.consts };
    let mut uses = program::list_uses(program).into_iter();
    for (id, step) in program.steps.iter_enumerated() {
        let operands = store.take(&step.operands);
        let tensor = match &step.op {
            StepOp::Digital(op) => sources.apply(op, operands, &step.shape),
            StepOp::Matrix { layer, lowering } => {
                let (operand, shape) = (&operands[0], &step.shape[..]);
                let this = uses.next().expect("every matrix step is a use");
                let layer_use = Nth { number: this.number, of: this.n_uses };
                let inputs = LayerInputs { operand, lowering, shape, first_sample, layer_use };
                engine.meet(*layer, &inputs);
                let product =
                    Product { layer: *layer, first_sample, layer_use, engine: &mut *engine };
                match lowering {
                    Lowering::Dense => product.over_rows(&operands[0], &step.shape),
                    Lowering::Conv(window) => {
                        product.over_windows(&operands[0], window, &step.shape)
                    }
                }
            }
        };
        store.drop_spent(&step.operands);
        visit(id, &tensor);
        store.put(id, tensor);
    }
    store.take_outputs(&program.outputs)
}

/// One matrix step: a layer and what multiplies by it.
struct Product<'a> {
    layer: LayerId,
    first_sample: u64,
    layer_use: Nth,
    engine: &'a mut dyn MatrixEngine,
}

impl Product<'_> {
    /// Multiplies every row along the last axis of `x`, all samples in one product.
    fn over_rows(self, x: &Operand<'_>, shape: &[usize]) -> Tensor {
        let mut res = zeros(count_samples(x), shape);
        let per_sample = shape[..shape.len() - 1].iter().product();
        let Self { first_sample, layer_use, .. } = self;
        let columns = Columns { first_sample, per_sample, layer_use };
        let (x, out) = (rows(x).reversed_axes(), rows_mut(&mut res).reversed_axes());
        self.engine.multiply(self.layer, columns, x, out);
        res
    }

    /// Multiplies every window position of `x`, sample by sample.
    fn over_windows(self, x: &Operand<'_>, window: &Window, shape: &[usize]) -> Tensor {
        convolve_samples(x, window, shape, |sample, x, out| {
            let first_sample = self.first_sample + sample as u64;
            let layer_use = self.layer_use;
            let columns = Columns { first_sample, per_sample: x.ncols(), layer_use };
            self.engine.multiply(self.layer, columns, x, out);
        })
    }
}
