//! A digital program with its matrices as an ONNX file: what a chip computes, for tools that know no chip.
//!
//! Every step becomes the operator that it stands for, under its own names; a matrix on arrays becomes
//! the convolution or product that it was lowered from. Samples have no batch axis in a program, so one is
//! put in front of every shape and every axis moves up by one.

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayD, ArrayView2};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::graph::Constant;
use nvcim_ir::ids::{ConstId, IdVec, LayerId, StepId};
use nvcim_ir::op::{Binary, Op, Reduction, SliceAxis, Unary, Window};
use nvcim_ir::program::{Lowering, Program, Step, StepOp};
use prost::Message;

use crate::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, FLOAT, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};

/// The operator set of the files written: the first one with every operator that a program may hold.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;
/// `TensorProto.DataType` of 64-bit integers.
const INT64: i32 = 7;
/// `TensorProto.DataType` of truth values.
const BOOL: usize = 9;

/// A matrix layer in floating point: `z = W^T x + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// `[rows, cols]`.
    pub weights: Array2<f32>,
    /// `[cols]`.
    pub bias: Vec<f32>,
}

/// An ONNX file that computes a verified program with these matrices.
///
/// # Errors
/// [`nvcim_ir::diag::Kind::Unsupported`] for a step that the operator set cannot say.
pub fn emit_program(program: &Program, matrices: &IdVec<LayerId, Matrix>) -> Result<Vec<u8>> {
    let mut emitter = Emitter {
        program,
        matrices,
        graph: GraphProto { name: "nvcim".into(), ..GraphProto::default() },
        tensors: IdVec::new(),
        taken: BTreeSet::new(),
    };
    for (_, step) in program.steps.iter_enumerated() {
        let name = emitter.fresh(&step.tensor);
        emitter.tensors.push(name);
    }
    for (id, step) in program.steps.iter_enumerated() {
        emitter.step(id, step).map_err(|message| {
            let hint = "export to npz and run the program of its manifest";
            Diagnostic::unsupported(format!("{id} `{}`", step.name), message).hint(hint)
        })?;
    }
    for &output in &program.outputs {
        let value = declare(&emitter.tensors[output], &program.steps[output].shape);
        emitter.graph.output.push(value);
    }
    let opset = OperatorSetIdProto { domain: String::new(), version: OPSET };
    let graph = Some(emitter.graph);
    Ok(ModelProto { ir_version: IR_VERSION, graph, opset_import: vec![opset] }.encode_to_vec())
}

struct Emitter<'a> {
    program: &'a Program,
    matrices: &'a IdVec<LayerId, Matrix>,
    graph: GraphProto,
    /// The tensor that each step makes.
    tensors: IdVec<StepId, String>,
    taken: BTreeSet<String>,
}

type Emitted = std::result::Result<(), String>;

impl Emitter<'_> {
    fn step(&mut self, id: StepId, step: &Step) -> Emitted {
        match &step.op {
            StepOp::Digital(op) => self.digital(id, step, op),
            StepOp::Matrix { layer, lowering } => {
                let Matrix { weights, bias } = &self.matrices[*layer];
                match lowering {
                    Lowering::Dense => self.dense(id, step, weights.view(), Some(bias)),
                    Lowering::Conv(window) => {
                        // Matrix rows are channels, then kernel rows, then kernel columns.
                        let channels = self.operand_shape(step, 0)[0];
                        let [height, width] = window.kernel;
                        let filters = weights.ncols();
                        let kernel = weights.t().as_standard_layout().into_owned();
                        let shape = vec![filters, channels, height, width];
                        let kernel =
                            kernel.into_shape_with_order(shape).map_err(|it| it.to_string())?;
                        self.conv(id, step, &kernel, Some(bias), window, 1)
                    }
                }
            }
        }
    }

    fn digital(&mut self, id: StepId, step: &Step, op: &Op) -> Emitted {
        let program = self.program;
        let value = |id: ConstId| &program.consts[id].value;
        match op {
            Op::Input => {
                let input = declare(&self.tensors[id], &step.shape);
                self.graph.input.push(input);
            }
            Op::Const(constant) => {
                let tensor = float_tensor(&self.tensors[id], &value(*constant).to_owned());
                self.graph.initializer.push(tensor);
            }
            Op::Conv { weight, bias, window, groups } => {
                let bias = bias.map(|id| value(id).iter().copied().collect::<Vec<_>>());
                let kernel = value(*weight).to_owned();
                self.conv(id, step, &kernel, bias.as_ref(), window, *groups)?;
            }
            Op::Dense { weight, bias, transposed } => {
                let weights = value(*weight).to_owned().into_dimensionality::<ndarray::Ix2>();
                let weights = weights.map_err(|error| error.to_string())?;
                let weights = if *transposed { weights.reversed_axes() } else { weights };
                let bias = bias.map(|id| value(id).iter().copied().collect::<Vec<_>>());
                self.dense(id, step, weights.view(), bias.as_ref())?;
            }
            Op::BatchNorm { scale, bias, mean, var, epsilon } => {
                let mut operands = self.operands(step)?;
                for constant in [scale, bias, mean, var] {
                    let Constant { name, value } = &program.consts[*constant];
                    operands.push(self.floats(name, &value.to_owned()));
                }
                self.node(
                    id,
                    step,
                    "BatchNormalization",
                    operands,
                    vec![float("epsilon", *epsilon)],
                );
            }
            Op::Unary(unary) => self.unary(id, step, *unary)?,
            Op::Binary(binary) => self.binary(id, step, *binary)?,
            Op::Select => {
                let mut operands = self.aligned(step)?;
                let condition = self.fresh(&format!("{}/condition", step.tensor));
                let to_bool = vec![int("to", BOOL)];
                self.named(&condition, &condition, "Cast", vec![operands[0].clone()], to_bool);
                operands[0] = condition;
                self.node(id, step, "Where", operands, vec![]);
            }
            Op::MatMul => {
                let operands = self.aligned(step)?;
                self.node(id, step, "MatMul", operands, vec![]);
            }
            Op::Softmax { axis } => self.plain(id, step, "Softmax", vec![int("axis", axis + 1)])?,
            Op::LogSoftmax { axis } => {
                self.plain(id, step, "LogSoftmax", vec![int("axis", axis + 1)])?;
            }
            Op::MaxPool { window } => {
                let attributes = pool_attributes(window, &self.operand_shape(step, 0), step, true)?;
                self.plain(id, step, "MaxPool", attributes)?;
            }
            Op::AveragePool { window, count_pad } => {
                let operand = self.operand_shape(step, 0);
                let mut attributes = pool_attributes(window, &operand, step, false)?;
                attributes.push(int("count_include_pad", usize::from(*count_pad)));
                self.plain(id, step, "AveragePool", attributes)?;
            }
            Op::GlobalAveragePool => self.plain(id, step, "GlobalAveragePool", vec![])?,
            Op::Reduce { reduction, axes } => {
                let keep = step.shape.len() == self.operand_shape(step, 0).len();
                let mut operands = self.operands(step)?;
                operands.push(self.whole_axes(step, axes));
                let keep = vec![int("keepdims", usize::from(keep))];
                self.node(id, step, name_reduction(*reduction), operands, keep);
            }
            Op::Normalize { axes, epsilon, centred } => {
                self.normalize(id, step, axes, *epsilon, *centred)?;
            }
            Op::Reshape => {
                let operand = self.operands(step)?.remove(0);
                let shape = self.shape_tensor(&step.tensor, &step.shape);
                self.node(id, step, "Reshape", vec![operand, shape], vec![]);
            }
            Op::Transpose { perm } => {
                let perm = std::iter::once(0).chain(perm.iter().map(|axis| *axis as i64 + 1));
                self.plain(id, step, "Transpose", vec![ints("perm", perm)])?;
            }
            Op::Concat { axis } => self.plain(id, step, "Concat", vec![int("axis", axis + 1)])?,
            Op::Expand => {
                let operand = self.aligned(step)?.remove(0);
                let shape = step.shape.iter().map(|len| *len as i64);
                let shape: Vec<_> = std::iter::once(1).chain(shape).collect();
                let shape = self.integers(&step.tensor, &shape);
                self.node(id, step, "Expand", vec![operand, shape], vec![]);
            }
            Op::ArgMax { axis, last } => {
                let keep = step.shape.len() == self.operand_shape(step, 0).len();
                let attributes = vec![
                    int("axis", axis + 1),
                    int("keepdims", usize::from(keep)),
                    int("select_last_index", usize::from(*last)),
                ];
                let operands = self.operands(step)?;
                self.as_floats(id, step, "ArgMax", operands, attributes)?;
            }
            Op::CumSum { axis, exclusive, reverse } => {
                let mut operands = self.operands(step)?;
                operands.push(self.integers(&step.tensor, &[*axis as i64 + 1]));
                let flag = |name, set: &bool| int(name, usize::from(*set));
                let attributes = vec![flag("exclusive", exclusive), flag("reverse", reverse)];
                self.node(id, step, "CumSum", operands, attributes);
            }
            Op::Gather { axis, indices } => {
                let mut operands = self.operands(step)?;
                let indices: Vec<_> = indices.iter().map(|index| *index as i64).collect();
                operands.push(self.integers(&step.tensor, &indices));
                self.node(id, step, "Gather", operands, vec![int("axis", axis + 1)]);
            }
            Op::Lookup { table } => {
                let numbers = self.fresh(&format!("{}/numbers", step.tensor));
                let operands = self.operands(step)?;
                self.named(&numbers, &numbers, "Cast", operands, vec![int("to", INT64 as usize)]);
                let Constant { name, value } = &program.consts[*table];
                let table = self.floats(name, &value.to_owned());
                self.node(id, step, "Gather", vec![table, numbers], vec![int("axis", 0)]);
            }
            Op::Slice { axes } => self.slice(id, step, axes)?,
            Op::Pad { before, after, value } => {
                let mut operands = self.operands(step)?;
                let side = |side: &[usize]| {
                    std::iter::once(0).chain(side.iter().map(|it| *it as i64)).collect::<Vec<_>>()
                };
                let pads = [side(before), side(after)].concat();
                operands.push(self.integers(&step.tensor, &pads));
                operands.push(self.scalar(&step.tensor, *value));
                self.node(id, step, "Pad", operands, vec![]);
            }
        }
        Ok(())
    }

    fn dense(
        &mut self,
        id: StepId,
        step: &Step,
        weights: ArrayView2<'_, f32>,
        bias: Option<&Vec<f32>>,
    ) -> Emitted {
        let mut operands = self.operands(step)?;
        operands
            .push(self.floats(&format!("{}/weight", step.name), &weights.to_owned().into_dyn()));
        let Some(bias) = bias else {
            self.node(id, step, "MatMul", operands, vec![]);
            return Ok(());
        };
        if step.shape.len() == 1 {
            operands.push(self.vector(&format!("{}/bias", step.name), bias));
            self.node(id, step, "Gemm", operands, vec![]);
            return Ok(());
        }
        let product = self.fresh(&format!("{}/product", step.tensor));
        self.named(&product, &format!("{}/product", step.name), "MatMul", operands, vec![]);
        let bias = self.vector(&format!("{}/bias", step.name), bias);
        self.node(id, step, "Add", vec![product, bias], vec![]);
        Ok(())
    }

    fn conv(
        &mut self,
        id: StepId,
        step: &Step,
        kernel: &ArrayD<f32>,
        bias: Option<&Vec<f32>>,
        window: &Window,
        groups: usize,
    ) -> Emitted {
        let mut operands = self.operands(step)?;
        operands.push(self.floats(&format!("{}/weight", step.name), kernel));
        if let Some(bias) = bias {
            operands.push(self.vector(&format!("{}/bias", step.name), bias));
        }
        let mut attributes = window_attributes(window);
        attributes.push(int("group", groups));
        self.node(id, step, "Conv", operands, attributes);
        Ok(())
    }

    fn unary(&mut self, id: StepId, step: &Step, unary: Unary) -> Emitted {
        let (op_type, attributes) = match unary {
            Unary::Clip { lo, hi } => {
                let mut operands = self.operands(step)?;
                for bound in [lo, hi] {
                    // An operand without a name is an absent bound.
                    let finite = bound.is_finite().then(|| self.scalar(&step.tensor, bound));
                    operands.push(finite.unwrap_or_default());
                }
                self.node(id, step, "Clip", operands, vec![]);
                return Ok(());
            }
            Unary::LeakyRelu { alpha } => ("LeakyRelu", vec![float("alpha", alpha)]),
            Unary::Elu { alpha, gamma, width } => {
                let alpha_attribute = float("alpha", alpha);
                match () {
                    () if (gamma, width) == (1.0, 1.0) => ("Elu", vec![alpha_attribute]),
                    () if width == 1.0 => ("Selu", vec![alpha_attribute, float("gamma", gamma)]),
                    () if gamma == 1.0 && alpha == width => ("Celu", vec![alpha_attribute]),
                    () => return Err("bends as no operator of the set does".to_owned()),
                }
            }
            Unary::GeluTanh => ("Gelu", vec![text("approximate", "tanh")]),
            Unary::Relu => ("Relu", vec![]),
            Unary::Sigmoid => ("Sigmoid", vec![]),
            Unary::Tanh => ("Tanh", vec![]),
            Unary::HardSwish => ("HardSwish", vec![]),
            Unary::Abs => ("Abs", vec![]),
            Unary::Sqrt => ("Sqrt", vec![]),
            Unary::Exp => ("Exp", vec![]),
            Unary::Log => ("Log", vec![]),
            Unary::Erf => ("Erf", vec![]),
            Unary::Sin => ("Sin", vec![]),
            Unary::Cos => ("Cos", vec![]),
            Unary::Floor => ("Floor", vec![]),
            Unary::Ceil => ("Ceil", vec![]),
            Unary::Round => ("Round", vec![]),
            Unary::Sign => ("Sign", vec![]),
            Unary::Softplus => ("Softplus", vec![]),
            Unary::Gelu => ("Gelu", vec![]),
        };
        self.plain(id, step, op_type, attributes)
    }

    fn binary(&mut self, id: StepId, step: &Step, binary: Binary) -> Emitted {
        let operands = self.aligned(step)?;
        let op = match binary {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div => "Div",
            Binary::Min => "Min",
            Binary::Max => "Max",
            Binary::Pow => "Pow",
            Binary::Equal => return self.as_floats(id, step, "Equal", operands, vec![]),
            Binary::Greater => return self.as_floats(id, step, "Greater", operands, vec![]),
            Binary::GreaterOrEqual => {
                return self.as_floats(id, step, "GreaterOrEqual", operands, vec![]);
            }
        };
        self.node(id, step, op, operands, vec![]);
        Ok(())
    }

    /// An operator whose truth values or integers become floats.
    fn as_floats(
        &mut self,
        id: StepId,
        step: &Step,
        op_type: &str,
        operands: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> Emitted {
        let made = self.fresh(&format!("{}/made", step.tensor));
        self.named(&made, &made, op_type, operands, attributes);
        self.node(id, step, "Cast", vec![made], vec![int("to", FLOAT as usize)]);
        Ok(())
    }

    /// The operands of a broadcasting operator.
    ///
    /// Broadcasting aligns last axes; a batch axis in front of a shorter sample would meet another axis.
    fn aligned(&mut self, step: &Step) -> std::result::Result<Vec<String>, String> {
        if step.operands.iter().all(|operand| self.is_constant(*operand)) {
            return Err("computes a constant, which has no batch".to_owned());
        }
        let rank = step.shape.len();
        let mut operands = Vec::new();
        for (slot, &operand) in step.operands.iter().enumerate() {
            let shape = self.operand_shape(step, slot);
            let tensor = self.tensors[operand].clone();
            if self.is_constant(operand) || shape.len() == rank {
                operands.push(tensor);
                continue;
            }
            let full = [vec![1; rank - shape.len()], shape].concat();
            let (wide, shape) = (self.fresh(&tensor), self.shape_tensor(&tensor, &full));
            self.named(&wide, &wide, "Reshape", vec![tensor, shape], vec![]);
            operands.push(wide);
        }
        Ok(operands)
    }

    /// Written out in means and roots, which take statistics over any axes.
    fn normalize(
        &mut self,
        id: StepId,
        step: &Step,
        axes: &[usize],
        epsilon: f32,
        centred: bool,
    ) -> Emitted {
        let mut x = self.operands(step)?.remove(0);
        let helper = |emitter: &mut Self, op_type: &str, operands: &[&str]| {
            let name = emitter.fresh(&format!("{}/{op_type}", step.tensor));
            let operands = operands.iter().map(|&operand| operand.to_owned()).collect();
            emitter.named(&name, &name, op_type, operands, vec![]);
            name
        };
        let axes = self.whole_axes(step, axes);
        if centred {
            let mean = helper(self, "ReduceMean", &[&x, &axes]);
            x = helper(self, "Sub", &[&x, &mean]);
        }
        let squares = helper(self, "Mul", &[&x, &x]);
        let variance = helper(self, "ReduceMean", &[&squares, &axes]);
        let epsilon = self.scalar(&step.tensor, epsilon);
        let raised = helper(self, "Add", &[&variance, &epsilon]);
        let deviation = helper(self, "Sqrt", &[&raised]);
        self.node(id, step, "Div", vec![x, deviation], vec![]);
        Ok(())
    }

    /// Axes of a sample as an operand that counts the batch.
    fn whole_axes(&mut self, step: &Step, axes: &[usize]) -> String {
        let axes: Vec<_> = axes.iter().map(|axis| *axis as i64 + 1).collect();
        self.integers(&step.tensor, &axes)
    }

    fn slice(&mut self, id: StepId, step: &Step, axes: &[SliceAxis]) -> Emitted {
        let shape = self.operand_shape(step, 0);
        let end = |(axis, len): (&SliceAxis, &usize)| {
            let end = axis.start as i64 + axis.step as i64 * axis.len as i64;
            // Behind the first element lies no index: far below counts as that, -1 as the last one.
            if end < 0 { -(*len as i64) - 1 } else { end }
        };
        let lists = [
            axes.iter().map(|axis| axis.start as i64).collect::<Vec<_>>(),
            axes.iter().zip(&shape).map(end).collect(),
            (1..=axes.len() as i64).collect(),
            axes.iter().map(|axis| axis.step as i64).collect(),
        ];
        let mut operands = self.operands(step)?;
        for list in &lists {
            operands.push(self.integers(&step.tensor, list));
        }
        self.node(id, step, "Slice", operands, vec![]);
        Ok(())
    }

    /// A step whose operands are its own and no more.
    fn plain(
        &mut self,
        id: StepId,
        step: &Step,
        op_type: &str,
        attributes: Vec<AttributeProto>,
    ) -> Emitted {
        let operands = self.operands(step)?;
        self.node(id, step, op_type, operands, attributes);
        Ok(())
    }

    fn node(
        &mut self,
        id: StepId,
        step: &Step,
        op_type: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        let output = self.tensors[id].clone();
        self.named(&output, &step.name, op_type, input, attribute);
    }

    fn named(
        &mut self,
        output: &str,
        name: &str,
        op_type: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        self.graph.node.push(NodeProto {
            input,
            output: vec![output.into()],
            name: name.into(),
            op_type: op_type.into(),
            attribute,
            domain: String::new(),
        });
    }

    /// The operands' tensors, which must have a batch axis.
    fn operands(&self, step: &Step) -> std::result::Result<Vec<String>, String> {
        if step.operands.iter().any(|operand| self.is_constant(*operand)) {
            return Err("takes a constant, which has no batch, as an operand".to_owned());
        }
        Ok(step.operands.iter().map(|operand| self.tensors[*operand].clone()).collect())
    }

    fn is_constant(&self, step: StepId) -> bool {
        matches!(self.program.steps[step].op, StepOp::Digital(Op::Const(_)))
    }

    fn operand_shape(&self, step: &Step, slot: usize) -> Vec<usize> {
        self.program.steps[step.operands[slot]].shape.clone()
    }

    fn floats(&mut self, name: &str, value: &ArrayD<f32>) -> String {
        let name = self.fresh(name);
        self.graph.initializer.push(float_tensor(&name, value));
        name
    }

    fn vector(&mut self, name: &str, values: &[f32]) -> String {
        self.floats(name, &ndarray::Array1::from_vec(values.to_vec()).into_dyn())
    }

    fn scalar(&mut self, tensor: &str, value: f32) -> String {
        self.floats(&format!("{tensor}/value"), &ndarray::arr0(value).into_dyn())
    }

    /// A sample's shape behind any number of samples.
    fn shape_tensor(&mut self, tensor: &str, shape: &[usize]) -> String {
        let dims: Vec<_> = std::iter::once(-1).chain(shape.iter().map(|len| *len as i64)).collect();
        self.integers(tensor, &dims)
    }

    fn integers(&mut self, tensor: &str, values: &[i64]) -> String {
        let name = self.fresh(&format!("{tensor}/integers"));
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            dims: vec![values.len() as i64],
            data_type: INT64,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
        name
    }

    /// A tensor name that no other has.
    fn fresh(&mut self, name: &str) -> String {
        let mut name = if name.is_empty() { "tensor".to_owned() } else { name.to_owned() };
        while !self.taken.insert(name.clone()) {
            name.push('\'');
        }
        name
    }
}

fn name_reduction(reduction: Reduction) -> &'static str {
    match reduction {
        Reduction::Mean => "ReduceMean",
        Reduction::Sum => "ReduceSum",
        Reduction::Max => "ReduceMax",
        Reduction::Min => "ReduceMin",
        Reduction::Prod => "ReduceProd",
    }
}

fn window_attributes(window: &Window) -> Vec<AttributeProto> {
    let list = |name, values: &[usize]| ints(name, values.iter().map(|it| *it as i64));
    let Window { kernel, strides, dilations, pads_begin, pads_end } = window;
    vec![
        list("kernel_shape", kernel),
        list("strides", strides),
        list("dilations", dilations),
        list("pads", &[*pads_begin, *pads_end].concat()),
    ]
}

fn pool_attributes(
    window: &Window,
    operand: &[usize],
    step: &Step,
    dilates: bool,
) -> std::result::Result<Vec<AttributeProto>, String> {
    let mut attributes = window_attributes(window);
    if !dilates {
        if window.dilations != [1, 1] {
            return Err("averages a dilated window".to_owned());
        }
        attributes.retain(|attribute| attribute.name != "dilations");
    }
    let down =
        |axis: usize| window.positions(axis, operand[1 + axis]) == Some(step.shape[1 + axis]);
    attributes.push(int("ceil_mode", usize::from(!(down(0) && down(1)))));
    Ok(attributes)
}

fn float_tensor(name: &str, value: &ArrayD<f32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: value.shape().iter().map(|len| *len as i64).collect(),
        data_type: FLOAT,
        raw_data: value.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A float tensor of any number of samples of this shape.
fn declare(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { value: Some(DimensionValue::DimParam("N".into())) };
    let fixed = |len: &usize| DimensionProto { value: Some(DimensionValue::DimValue(*len as i64)) };
    let dim = std::iter::once(batch).chain(shape.iter().map(fixed)).collect();
    let tensor_type = TensorTypeProto { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..AttributeProto::default() }
}

fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: value as i64, ..attribute(name, AttributeType::Int) }
}

fn ints(name: &str, values: impl IntoIterator<Item = i64>) -> AttributeProto {
    AttributeProto { ints: values.into_iter().collect(), ..attribute(name, AttributeType::Ints) }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.into(), ..attribute(name, AttributeType::String) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: value, ..attribute(name, AttributeType::Float) }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use nvcim_ir::graph::Graph;
    use nvcim_ir::ids::{Id, IdVec, StepId};
    use nvcim_ir::program::{Program, Step, StepOp};

    use super::emit_program;
    use crate::reference::FloatReference;
    use crate::tensor_data::NoExternalData;
    use crate::testing::{TestModel, float, int, ints, tiny_lenet};

    /// The graph as a program without any matrix on arrays.
    fn program_of(graph: &Graph) -> Program {
        let order: Vec<_> = graph.ids().collect();
        let place = |id| StepId::new(order.iter().position(|it| *it == id).unwrap());
        let step = |&id: &nvcim_ir::ids::NodeId| {
            let node = graph.node(id);
            Step {
                name: node.name.clone(),
                tensor: node.tensor.clone(),
                op: StepOp::Digital(node.op.clone()),
                operands: graph.operands(id).iter().map(|it| place(*it)).collect(),
                shape: node.shape.clone(),
            }
        };
        Program {
            steps: order.iter().map(step).collect(),
            consts: graph.consts.clone(),
            outputs: graph.outputs.iter().map(|it| place(*it)).collect(),
        }
    }

    /// What is emitted computes in the reference what the model computes there.
    #[track_caller]
    fn agree(model: &TestModel) {
        let graph = model.import().unwrap();
        let emitted = emit_program(&program_of(&graph), &IdVec::new()).unwrap();
        let mut shape = vec![3];
        shape.extend(&graph.node(graph.input()).shape);
        let count: usize = shape.iter().product();
        let x = (0..count).map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let x = ArrayD::from_shape_vec(IxDyn(&shape), x).unwrap();
        let run = |bytes: &[u8]| {
            FloatReference::new(bytes, &NoExternalData)
                .and_then(|reference| reference.run(&x))
                .unwrap_or_else(|problems| panic!("{problems:#?}"))
        };
        for (want, got) in run(&model.bytes()).iter().zip(run(&emitted)) {
            assert_eq!(want.shape(), got.shape());
            let worst = (want - &got).iter().fold(0f32, |most, it| most.max(it.abs()));
            assert!(worst < 1e-4, "off by {worst}\n{graph}");
        }
    }

    #[test]
    fn a_network_is_emitted_whole() {
        agree(&tiny_lenet());
    }

    #[test]
    fn spatial_operators_keep_their_attributes() {
        let pool = [ints("kernel_shape", &[3, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)];
        let padded = [
            ints("kernel_shape", &[2, 2]),
            ints("pads", &[1, 1, 0, 0]),
            int("count_include_pad", 1),
        ];
        agree(
            &TestModel::new(13, &[0, 4, 8, 9])
                .weight("w", &[6, 2, 3, 3])
                .node("Conv", "x w", "c", &[ints("pads", &[1, 0, 1, 2]), int("group", 2)])
                .node("LeakyRelu", "c", "l", &[float("alpha", 0.2)])
                .node("MaxPool", "l", "m", &pool)
                .node("AveragePool", "m", "a", &padded)
                .node("ReduceMean", "a", "r", &[ints("axes", &[2, 3]), int("keepdims", 0)])
                .node("GlobalAveragePool", "a", "g", &[])
                .output("r")
                .output("g"),
        );
    }

    #[test]
    fn shapes_and_axes_make_room_for_the_batch() {
        agree(
            &TestModel::new(13, &[0, 3, 4])
                .weight("k", &[4])
                .ints("starts", &[3])
                .ints("ends", &[-100])
                .ints("axes", &[2])
                .ints("steps", &[-2])
                .ints("pads", &[0, 1, 0, 0, 0, 2])
                .node("Slice", "x starts ends axes steps", "s", &[])
                .node("Pad", "s pads", "p", &[])
                .node("Transpose", "x", "t", &[ints("perm", &[0, 2, 1])])
                .node("Mul", "p k", "b", &[])
                .node("Concat", "b x", "n", &[int("axis", 1)])
                .node("Softmax", "n", "y", &[int("axis", 2)])
                .output("y")
                .output("t"),
        );
    }

    #[test]
    fn later_operators_are_emitted_in_the_same_words() {
        agree(
            &TestModel::new(20, &[0, 3, 4])
                .weight("s", &[4])
                .weight("b", &[4])
                .floats("flags", &[4], &[1.0, 0.0, 1.0, 1.0])
                .floats("low", &[], &[-0.5])
                .ints("picked", &[2, 0])
                .ints("tall", &[1, 3, 5])
                .ints("last", &[2])
                .node("LayerNormalization", "x s b", "n", &[])
                .node("Transpose", "n", "t", &[ints("perm", &[0, 2, 1])])
                .node("MatMul", "n t", "m", &[])
                .node("MatMul", "m n", "p", &[])
                .node("Cast", "flags", "mask", &[int("to", 9)])
                .node("Where", "mask p low", "w", &[])
                .node("Gelu", "w", "g", &[])
                .node("Elu", "g", "e", &[float("alpha", 0.5)])
                .node("Max", "e low", "h", &[])
                .node("Gather", "h picked", "k", &[int("axis", 2)])
                .node("ReduceMax", "k last", "r", &[])
                .node("Expand", "r tall", "y", &[])
                .output("y"),
        );
    }
}
