//! A tiled net on the tape: forth through every step, the loss, and back to the gradients of its matrices.

use std::sync::Arc;

use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};
use nvcim_ir::ids::{Id, IdVec, LayerId, StepId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{Lowering, Program, StepOp};
use nvcim_ir::tiled::TiledNet;
use nvcim_ops::tensor::Tensor;

use crate::convert::Key;
use crate::digital::{self, Plan};
use crate::loss::{Target, loss_of};
use crate::matrix::{self, Leaves, SeenLayer};
use crate::tape::{self, Var};

/// A network planned for the tape.
#[derive(Debug)]
pub(crate) struct Network {
    program: Program,
    plans: IdVec<StepId, StepPlan>,
    /// The step whose tensor is scored.
    logits: StepId,
}

#[derive(Debug)]
enum StepPlan {
    Input,
    Digital(Plan),
    Matrix { layer: LayerId, lowering: Lowering },
}

/// What a chunk of a batch makes.
#[derive(Debug, Clone)]
pub(crate) struct Scored {
    /// The loss, summed over samples.
    pub(crate) loss: f64,
    /// Samples whose largest score is the label's; 0 without labels.
    pub(crate) right: usize,
    /// Gradients of the weights and the bias of each layer, of the sum of losses.
    pub(crate) gradients: IdVec<LayerId, [Vec<f32>; 2]>,
}

impl Network {
    /// Plans a net that has been verified.
    ///
    /// # Errors
    /// Every step that no gradient gets through, by the name of its node.
    pub(crate) fn plan(net: &TiledNet) -> Result<Self> {
        let program = net.program.clone();
        let mut problems = Vec::new();
        let mut plans = IdVec::new();
        for step in &program.steps {
            let from: Vec<&[usize]> =
                step.operands.iter().map(|id| program.steps[*id].shape.as_slice()).collect();
            plans.push(match &step.op {
                StepOp::Digital(Op::Input) => StepPlan::Input,
                StepOp::Matrix { layer, lowering } => {
                    StepPlan::Matrix { layer: *layer, lowering: lowering.clone() }
                }
                StepOp::Digital(op) => {
                    match digital::plan_op(op, &program.consts, &from, &step.shape) {
                        Ok(plan) => StepPlan::Digital(plan),
                        Err(why) => {
                            let place = format!("node `{}`", step.name);
                            let hint = "train the network before this operator is put in";
                            problems.push(Diagnostic::unsupported(place, why).hint(hint));
                            StepPlan::Input
                        }
                    }
                }
            });
        }
        fail_if_any(problems)?;
        let logits = find_logits(&program);
        Ok(Self { program, plans, logits })
    }

    /// Scores of a sample.
    pub(crate) fn n_classes(&self) -> usize {
        self.program.steps[self.logits].shape.iter().product()
    }

    /// The step that is scored.
    pub(crate) fn logits(&self) -> StepId {
        self.logits
    }

    /// Runs `images`, `[samples, shape...]`, forth and back.
    ///
    /// # Errors
    /// The step whose result, or the layer whose gradient, is no number.
    pub(crate) fn score(
        &self,
        layers: &IdVec<LayerId, Arc<SeenLayer>>,
        leaves: &IdVec<LayerId, Shared>,
        images: &Tensor,
        target: &Target,
        chunk: usize,
    ) -> std::result::Result<Scored, String> {
        let leaves: IdVec<LayerId, Leaves> = leaves.iter().map(Shared::leaves).collect();
        let input = tape::constant(images.iter().copied().collect(), images.shape());
        let scores = self.run(layers, &leaves, input, chunk)?;
        let (loss, value, right) = loss_of(scores, target);
        if !value.is_finite() {
            return Err("the loss".to_owned());
        }
        let wanted = leaves.iter().flat_map(|it| [&it.weights, &it.bias]);
        let found = tape::gradients(loss, wanted);
        let mut found = found.into_iter();
        let mut next = || found.next().expect("two gradients for every layer");
        let gradients = leaves.iter().map(|_| [next(), next()]).collect();
        Ok(Scored { loss: value, right, gradients })
    }

    /// The scores of `input`, `[samples, shape...]`.
    pub(crate) fn run(
        &self,
        layers: &IdVec<LayerId, Arc<SeenLayer>>,
        leaves: &IdVec<LayerId, Leaves>,
        input: Var,
        chunk: usize,
    ) -> std::result::Result<Var, String> {
        let n_samples = tape::shape_of(&input)[0];
        let mut made: IdVec<StepId, Var> = IdVec::new();
        for (id, step) in self.program.steps.iter_enumerated() {
            let operands: Vec<&Var> = step.operands.iter().map(|id| &made[*id]).collect();
            let var = match &self.plans[id] {
                StepPlan::Input => input.clone(),
                StepPlan::Digital(plan) => {
                    digital::run_op(plan, &operands, &self.program.consts, n_samples, &step.shape)
                }
                StepPlan::Matrix { layer, lowering } => {
                    // A layer that several steps use draws its noise for each.
                    let key = Key { step: id.index(), chunk, ..Key::default() };
                    let (seen, leaves) = (&layers[*layer], &leaves[*layer]);
                    let var =
                        matrix::multiply(operands[0], leaves, seen, lowering, &step.shape, key);
                    if !tape::is_finite(&var) {
                        return Err(format!("layer `{}`", step.name));
                    }
                    var
                }
            };
            made.push(var);
            if id == self.logits {
                break;
            }
        }
        Ok(made[self.logits].clone())
    }
}

/// Values of a layer's leaves that all chunks of a batch share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    weights: tape::Buffer,
    bias: tape::Buffer,
}

impl Shared {
    pub(crate) fn new(weights: &[f32], bias: &[f32]) -> Self {
        let buffer = |values: &[f32]| tape::Buffer::new(values.to_vec(), &[values.len()]);
        Self { weights: buffer(weights), bias: buffer(bias) }
    }

    pub(crate) fn leaves(&self) -> Leaves {
        Leaves { weights: self.weights.leaf(), bias: self.bias.leaf() }
    }
}

/// The step whose tensor holds scores: the first output, or what a softmax at its end is taken of.
fn find_logits(program: &Program) -> StepId {
    let mut at = program.outputs[0];
    loop {
        let step = &program.steps[at];
        match &step.op {
            StepOp::Digital(Op::Softmax { .. } | Op::LogSoftmax { .. }) => at = step.operands[0],
            // A reshape hides a softmax, but keeps the order of scores.
            StepOp::Digital(Op::Reshape) if ends_in_softmax(program, step.operands[0]) => {
                at = step.operands[0];
            }
            _ => return at,
        }
    }
}

fn ends_in_softmax(program: &Program, at: StepId) -> bool {
    let step = &program.steps[at];
    match &step.op {
        StepOp::Digital(Op::Softmax { .. } | Op::LogSoftmax { .. }) => true,
        StepOp::Digital(Op::Reshape) => ends_in_softmax(program, step.operands[0]),
        _ => false,
    }
}
