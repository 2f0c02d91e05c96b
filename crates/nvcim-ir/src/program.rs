//! The digital program round the matrices: straight-line steps in execution order.
//!
//! A step is either a digital operator or one matrix layer on arrays. What the chip's controller runs,
//! and therefore what the image stores, is exactly this.

use std::collections::BTreeMap;
use std::fmt;

use crate::diag::{Diagnostic, Result, fail_if_any};
use crate::graph::{Constant, Numbers};
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

/// One use of a matrix layer: a step that multiplies by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerUse {
    /// The layer.
    pub layer: LayerId,
    /// The step.
    pub step: StepId,
    /// Which of the layer's uses it is, from 0 in the order of the program.
    pub number: u32,
    /// How many uses the layer has.
    pub n_uses: u32,
    /// Input vectors that it makes of one sample.
    pub n_positions: usize,
    /// Input vectors that the layer's earlier uses make of the same sample.
    pub first_position: usize,
}

/// The most steps that may use one layer: what the places at which noise is drawn can tell apart.
pub const MAX_USES: usize = 1 << 20;

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
///    layer is used by at least one step and at most [`MAX_USES`].
/// 4. Every shape follows from the operands' shapes and the layer's size.
/// 5. There is at least one output, and outputs are steps.
pub fn verify_program(program: &Program, layers: &IdVec<LayerId, LayerShape>) -> Result<()> {
    let mut problems = Vec::new();
    let numbers = Numbers::new(&program.consts);
    for (id, step) in program.steps.iter_enumerated() {
        if let Err(message) = check_step(program, layers, &numbers, (id, step)) {
            problems.push(Diagnostic::bad_input(format!("{id} `{}`", step.name), message));
        }
    }
    let strays = program.outputs.iter().filter(|id| program.steps.get(**id).is_none()).count();
    if program.outputs.is_empty() || strays > 0 {
        problems.push(Diagnostic::bad_input("program", "has no output, or one that is no step"));
    }
    let mut uses: IdVec<LayerId, usize> = layers.iter().map(|_| 0).collect();
    for step in &program.steps {
        if let StepOp::Matrix { layer, .. } = step.op
            && layers.get(layer).is_some()
        {
            uses[layer] += 1;
        }
    }
    let used = uses.iter().filter(|&&uses| uses > 0).count();
    if used != layers.len() {
        let message = format!("uses {used} of {} layers", layers.len());
        problems.push(Diagnostic::bad_input("program", message));
    }
    if let Some((layer, uses)) = uses.iter_enumerated().find(|(_, uses)| **uses > MAX_USES) {
        let message = format!("uses {layer} in {uses} steps, at most {MAX_USES} may share a layer");
        problems.push(Diagnostic::bad_input("program", message));
    }
    fail_if_any(problems)
}

/// The uses of all layers, in the order of a verified program.
pub fn list_uses(program: &Program) -> Vec<LayerUse> {
    // The number and the first position of the next use.
    let mut next: BTreeMap<LayerId, (u32, usize)> = BTreeMap::new();
    let mut uses = Vec::new();
    for (step, it) in program.steps.iter_enumerated() {
        let StepOp::Matrix { layer, lowering } = &it.op else { continue };
        let positions = match (lowering, &it.shape[..]) {
            (Lowering::Dense, [front @ .., _cols]) => front,
            (Lowering::Conv(_), [_filters, positions @ ..]) => positions,
            (_, []) => &[],
        };
        let n_positions = positions.iter().product();
        let next = next.entry(*layer).or_default();
        let (number, first_position) = *next;
        uses.push(LayerUse { layer: *layer, step, number, n_uses: 0, n_positions, first_position });
        *next = (number + 1, first_position + n_positions);
    }
    for it in &mut uses {
        it.n_uses = next[&it.layer].0;
    }
    uses
}

/// All uses of each layer, in the order of a verified program with as many layers.
pub fn group_uses(program: &Program, n_layers: usize) -> IdVec<LayerId, Vec<LayerUse>> {
    let mut groups: IdVec<LayerId, Vec<LayerUse>> = (0..n_layers).map(|_| Vec::new()).collect();
    for it in list_uses(program) {
        groups[it.layer].push(it);
    }
    groups
}

/// For every layer the first one that is driven by the same vectors: those that read the same tensors the same
/// way in all their uses. The program must verify with as many layers.
pub fn find_shared_drives(program: &Program, n_layers: usize) -> IdVec<LayerId, LayerId> {
    let mut drives: IdVec<LayerId, Vec<(StepId, &Lowering)>> =
        (0..n_layers).map(|_| Vec::new()).collect();
    let mut order: Vec<LayerId> = Vec::new();
    for step in &program.steps {
        if let StepOp::Matrix { layer, lowering } = &step.op {
            if drives[*layer].is_empty() {
                order.push(*layer);
            }
            drives[*layer].push((step.operands[0], lowering));
        }
    }
    let mut shared: IdVec<LayerId, LayerId> = (0..n_layers).map(LayerId::new).collect();
    let mut firsts: Vec<LayerId> = Vec::new();
    for layer in order {
        match firsts.iter().find(|first| drives[**first] == drives[layer]) {
            Some(first) => shared[layer] = *first,
            None => firsts.push(layer),
        }
    }
    shared
}

fn check_step(
    program: &Program,
    layers: &IdVec<LayerId, LayerShape>,
    numbers: &Numbers<'_>,
    (id, step): (StepId, &Step),
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
            numbers.check(op)?;
            shape::check_shape(op, &shapes, |id| program.consts[id].value.shape(), &step.shape)
        }
        StepOp::Matrix { layer, lowering } => {
            let size = layers.get(*layer).ok_or_else(|| format!("{layer} does not exist"))?;
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

#[cfg(test)]
mod tests {
    use super::{
        LayerShape, LayerUse, Lowering, Program, Step, StepOp, find_shared_drives, list_uses,
        verify_program,
    };
    use crate::ids::{Id, IdVec, LayerId, StepId};
    use crate::op::{Op, Unary};

    /// `[2, 3]` through square layers: step by step the layer, or a tanh, and the step read.
    fn program(steps: &[(Option<usize>, usize)]) -> Program {
        let step = |op, operands: &[usize]| Step {
            name: "step".into(),
            tensor: "step".into(),
            op,
            operands: operands.iter().map(|&id| StepId::new(id)).collect(),
            shape: vec![2, 3],
        };
        let matrix = |&(layer, from): &(Option<usize>, usize)| match layer {
            Some(layer) => {
                let (layer, lowering) = (LayerId::new(layer), Lowering::Dense);
                step(StepOp::Matrix { layer, lowering }, &[from])
            }
            None => step(StepOp::Digital(Op::Unary(Unary::Tanh)), &[from]),
        };
        let input = step(StepOp::Digital(Op::Input), &[]);
        Program {
            steps: std::iter::once(input).chain(steps.iter().map(matrix)).collect(),
            outputs: vec![StepId::new(steps.len())],
            ..Program::default()
        }
    }

    #[test]
    fn a_layer_may_be_used_by_several_steps_but_not_by_none() {
        let program = program(&[(Some(0), 0), (None, 1), (Some(0), 2), (Some(1), 3)]);
        let square: IdVec<LayerId, _> =
            [LayerShape { n_rows: 3, n_cols: 3 }; 2].into_iter().collect();
        verify_program(&program, &square).unwrap();
        let one_more = square.iter().copied().chain(square.iter().copied().take(1)).collect();
        let problems = verify_program(&program, &one_more).unwrap_err();
        assert_eq!(problems[0].message, "uses 2 of 3 layers");
        let place =
            |it: &LayerUse| (it.layer.index(), it.step.index(), it.number, it.first_position);
        let uses = list_uses(&program);
        assert_eq!(
            uses.iter().map(place).collect::<Vec<_>>(),
            [(0, 1, 0, 0), (0, 3, 1, 2), (1, 4, 0, 0)]
        );
        assert!(uses.iter().all(|it| it.n_positions == 2));
        assert_eq!(uses.iter().map(|it| it.n_uses).collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn layers_share_drives_where_all_their_uses_do() {
        let shared = |steps: &[(Option<usize>, usize)]| {
            let shared = find_shared_drives(&program(steps), 2);
            shared.iter().map(|layer| layer.index()).collect::<Vec<_>>()
        };
        assert_eq!(shared(&[(Some(0), 0), (Some(1), 0)]), [0, 0]);
        assert_eq!(shared(&[(Some(1), 0), (Some(0), 0)]), [1, 1]);
        assert_eq!(shared(&[(Some(0), 0), (Some(1), 0), (Some(0), 1)]), [0, 1]);
        let both = [(Some(0), 0), (Some(1), 0), (None, 1), (Some(0), 3), (Some(1), 3)];
        assert_eq!(shared(&both), [0, 0]);
    }
}
