//! The digital program round the matrices: straight-line steps in execution order.
//!
//! A step is either a digital operator or one matrix layer on arrays. What the chip's controller runs,
//! and therefore what the image stores, is exactly this.

use std::collections::BTreeSet;
use std::fmt;

use crate::diag::{Diagnostic, Result, fail_if_any};
use crate::graph::{self, Constant};
use crate::ids::{ConstId, Id, IdVec, LayerId, StepId};
use crate::op::{Op, Window};
use crate::shape;

/// How a step's operand becomes the input vectors of a matrix layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lowering {
    /// Every row along the last axis is one input vector.
    Dense,
    /// im2col: every window position of `[c, h, w]` is one input vector of `c kh kw` values, channel
    /// first, then kernel row, then kernel column; output vectors become `[m, oh, ow]`.
    Conv(Window),
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq)]
pub enum StepOp {
    /// A digital operator; never [`Op::Conv`] or [`Op::Dense`] that a layer stands for.
    Digital(Op),
    /// A matrix product on arrays.
    Matrix {
        /// The layer.
        layer: LayerId,
        /// How its input vectors are made.
        lowering: Lowering,
    },
}

/// One step and the tensor that it makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The name of the ONNX node that this step stands for.
    pub name: String,
    /// The ONNX tensor whose value this step makes; verification compares by it.
    pub tensor: String,
    /// What is computed.
    pub op: StepOp,
    /// The steps whose tensors are the operands, in slot order; all earlier than this one.
    pub operands: Vec<StepId>,
    /// The shape of one sample of the result.
    pub shape: Vec<usize>,
}

/// A digital program: steps in execution order, constants, outputs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// The steps; the first one is the input.
    pub steps: IdVec<StepId, Step>,
    /// The constants that digital steps use.
    pub consts: IdVec<ConstId, Constant>,
    /// The steps whose tensors are the network's outputs.
    pub outputs: Vec<StepId>,
}

/// The size of a matrix layer, as a program needs it to check its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerShape {
    /// Length of an input vector.
    pub n_rows: usize,
    /// Length of an output vector.
    pub n_cols: usize,
}

/// Checks a program; executors rely on every rule.
///
/// 1. The first step is the input, and no other is.
/// 2. Operands are earlier steps, in a number that suits the operator.
/// 3. Constants and layers named exist, constants are finite (an operand may hold infinities), and each
///    layer is used by exactly one step.
/// 4. Every shape follows from the operands' shapes and the layer's size.
/// 5. There is at least one output, and outputs are steps.
pub fn verify_program(program: &Program, layers: &IdVec<LayerId, LayerShape>) -> Result<()> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for (id, step) in program.steps.iter_enumerated() {
        if let Err(message) = check_step(program, layers, &mut used, id, step) {
            problems.push(Diagnostic::bad_input(format!("{id} `{}`", step.name), message));
        }
    }
    let strays = program.outputs.iter().filter(|id| program.steps.get(**id).is_none()).count();
    if program.outputs.is_empty() || strays > 0 {
        problems.push(Diagnostic::bad_input("program", "has no output, or one that is no step"));
    }
    if used.len() != layers.len() {
        let message = format!("uses {} of {} layers", used.len(), layers.len());
        problems.push(Diagnostic::bad_input("program", message));
    }
    fail_if_any(problems)
}

/// For every layer the first one that is driven by the same vectors: those that read the same tensor the same
/// way. The program must verify with as many layers.
pub fn find_shared_drives(program: &Program, n_layers: usize) -> IdVec<LayerId, LayerId> {
    let mut shared: IdVec<LayerId, LayerId> = (0..n_layers).map(LayerId::new).collect();
    let mut firsts: Vec<(StepId, &Lowering, LayerId)> = Vec::new();
    for step in &program.steps {
        let StepOp::Matrix { layer, lowering } = &step.op else { continue };
        let source = step.operands[0];
        match firsts.iter().find(|(of, by, _)| (*of, *by) == (source, lowering)) {
            Some((_, _, first)) => shared[*layer] = *first,
            None => firsts.push((source, lowering, *layer)),
        }
    }
    shared
}

fn check_step(
    program: &Program,
    layers: &IdVec<LayerId, LayerShape>,
    used: &mut BTreeSet<LayerId>,
    id: StepId,
    step: &Step,
) -> std::result::Result<(), String> {
    if let Some(operand) = step.operands.iter().find(|operand| **operand >= id) {
        return Err(format!("reads {operand}, which is not an earlier step"));
    }
    if (id.index() == 0) != (step.op == StepOp::Digital(Op::Input)) {
        return Err("the input must be the first step, and only that".into());
    }
    let shapes: Vec<_> =
        step.operands.iter().map(|id| program.steps[*id].shape.as_slice()).collect();
    match &step.op {
        StepOp::Digital(op) => {
            let (least, most) = op.arity();
            if !(least..=most).contains(&shapes.len()) {
                return Err(format!("`{}` cannot take {} operands", op.name(), shapes.len()));
            }
            graph::check_consts(op, &program.consts)?;
            shape::check_shape(op, &shapes, |id| program.consts[id].value.shape(), &step.shape)
        }
        StepOp::Matrix { layer, lowering } => {
            let size = layers.get(*layer).ok_or_else(|| format!("{layer} does not exist"))?;
            if !used.insert(*layer) {
                return Err(format!("{layer} is used by two steps"));
            }
            let [operand] = shapes[..] else {
                return Err(format!("a matrix step takes 1 operand, not {}", shapes.len()));
            };
            check_lowering(*size, lowering, operand, &step.shape)
        }
    }
}

fn check_lowering(
    size: LayerShape,
    lowering: &Lowering,
    operand: &[usize],
    output: &[usize],
) -> std::result::Result<(), String> {
    shape::count_elements(output).ok_or_else(|| format!("has too large a shape {output:?}"))?;
    if let (Lowering::Conv(_), [_, positions @ ..]) = (lowering, output) {
        shape::check_columns(&[&[size.n_rows], positions].concat())?;
    }
    let good = match (lowering, operand, output) {
        (Lowering::Dense, [front @ .., rows], [out_front @ .., cols]) => {
            (*rows, *cols) == (size.n_rows, size.n_cols) && front == out_front
        }
        (Lowering::Conv(window), [channels, height, width], [filters, out_h, out_w]) => {
            let taps = window.kernel[0].checked_mul(window.kernel[1]);
            let rows = taps.and_then(|taps| taps.checked_mul(*channels));
            (rows, *filters) == (Some(size.n_rows), size.n_cols)
                && window.positions(0, *height) == Some(*out_h)
                && window.positions(1, *width) == Some(*out_w)
        }
        _ => false,
    };
    if good {
        return Ok(());
    }
    let LayerShape { n_rows, n_cols } = size;
    Err(format!("a {n_rows}x{n_cols} matrix cannot turn {operand:?} into {output:?}"))
}

/// The text form: one line per step, `s3 [16, 10, 10] = matrix l1 conv k=5x5 s=1x1 (s2)  # "name"`.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, step) in self.steps.iter_enumerated() {
            write!(f, "{id} {:?} = ", step.shape)?;
            match &step.op {
                StepOp::Digital(op) => write!(f, "{op}")?,
                StepOp::Matrix { layer, lowering: Lowering::Dense } => write!(f, "matrix {layer}")?,
                StepOp::Matrix { layer, lowering: Lowering::Conv(window) } => {
                    write!(f, "matrix {layer} conv {window}")?;
                }
            }
            let operands: Vec<_> = step.operands.iter().map(StepId::to_string).collect();
            writeln!(f, " ({})  # {:?}", operands.join(", "), step.name)?;
        }
        let outputs: Vec<_> = self.outputs.iter().map(StepId::to_string).collect();
        writeln!(f, "return {}", outputs.join(", "))
    }
}
