//! One ONNX node with everything its conversion may ask: operands, attributes, output shape, builder.

use ndarray::ArrayD;
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::Op;
use tract_onnx::prelude::{Datum, DatumType};

use crate::builder::Builder;
use crate::data::{Data, Floats, name_type};
use crate::proto::NodeProto;
use crate::refusal::Refusal;

/// What a tensor's name stands for while the graph is built.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// The same for every input.
    Constant(Constant),
    /// A tensor of the graph.
    Activation(Activation),
    /// Nothing is known, for this reason.
    Unknown(String),
}

/// A constant with the name that it shall have in the graph.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    /// The initialiser that holds these very elements in this order, else the tensor's own name.
    pub(crate) name: String,
    /// The value as in the file, with a batch axis if the file gives it one.
    pub(crate) value: Data,
}

/// A tensor that depends on the network's input.
#[derive(Debug, Clone)]
pub(crate) struct Activation {
    /// The node that makes it.
    pub(crate) id: NodeId,
    /// The shape of one sample.
    pub(crate) shape: Vec<usize>,
    /// The type of its elements.
    pub(crate) datum: DatumType,
}

/// How a node was imported.
#[derive(Debug, Clone)]
pub(crate) enum Converted {
    /// It became this node of the graph.
    Kept(NodeId),
    /// It does nothing: its output is this operand.
    Alias(Activation),
    /// Its outputs became these nodes, in their order.
    Several(Vec<NodeId>),
    /// It became many nodes, for the steps of a sequence.
    Unrolled {
        /// Those that make its outputs, in their order.
        outputs: Vec<NodeId>,
        /// The first that multiplies by each of its matrices.
        matrices: Vec<NodeId>,
        /// The steps.
        n_steps: usize,
        /// Units of the cell.
        hidden: usize,
    },
}

/// One node to convert.
pub(crate) struct Site<'a> {
    /// The node as in the file.
    pub(crate) node: &'a NodeProto,
    /// What the graph and messages call it.
    pub(crate) label: &'a str,
    /// The version of the standard operators.
    pub(crate) opset: i64,
    /// The batch that shapes were found with.
    pub(crate) batch: usize,
    /// How many leading axes of every tensor are the batch: 1, or 0 where the whole tensor is the sample.
    pub(crate) lead: usize,
    /// Whether the node made is not yet what the file calls its output.
    pub(crate) inner: bool,
    /// The operands, `None` where one is left out.
    pub(crate) operands: &'a [Option<Value>],
    /// The whole shape of the output, batch axis included.
    pub(crate) output: &'a [usize],
    /// Whether that shape is a guess, so that nothing may be built on it.
    pub(crate) guessed: bool,
    /// Where the result goes.
    pub(crate) builder: &'a mut Builder,
}

type Result<T> = std::result::Result<T, Refusal>;

impl Site<'_> {
    /// The operand in `slot`, if it is there.
    pub(crate) fn operand(&self, slot: usize) -> Option<&Value> {
        self.operands.get(slot)?.as_ref()
    }

    /// The operand in `slot`, which must be float data computed from the network's input.
    pub(crate) fn activation(&self, slot: usize) -> Result<Activation> {
        let activation = self.elements(slot)?;
        if activation.datum == f32::datum_type() {
            return Ok(activation);
        }
        Err(Refusal::unsupported(
            format!(
                "computes with `{}` of type {}, must be float",
                self.node.input[slot],
                name_type(activation.datum)
            ),
            "export the network in 32-bit floats, or with DequantizeLinear before it computes",
        ))
    }

    /// The operand in `slot`, computed from the network's input, for a node that does not compute with its
    /// elements: floats, or integers that floats can hold.
    pub(crate) fn elements(&self, slot: usize) -> Result<Activation> {
        match self.operand(slot) {
            Some(Value::Activation(activation)) => {
                if is_held_in_floats(activation.datum) {
                    return Ok(activation.clone());
                }
                Err(Refusal::unsupported(
                    format!(
                        "reads `{}` of type {}, must be {HELD}",
                        self.node.input[slot],
                        name_type(activation.datum)
                    ),
                    "export the network in 32-bit floats",
                ))
            }
            Some(_) => Err(Refusal::unsupported(
                format!(
                    "takes constant `{}` where the network's data belongs",
                    self.node.input[slot]
                ),
                "exchange the operands where that is the same, else compute this part outside the network",
            )),
            None => Err(Refusal::lacks_operand(slot)),
        }
    }

    /// The operand in `slot` if it is there; it must be a constant.
    pub(crate) fn optional_constant(&self, slot: usize) -> Result<Option<&Constant>> {
        match self.operand(slot) {
            None => Ok(None),
            Some(Value::Constant(constant)) => Ok(Some(constant)),
            Some(_) => Err(Refusal::unsupported(
                format!(
                    "takes `{}`, which is computed from the network's input, must be constant",
                    self.node.input[slot]
                ),
                "export the network with a constant there: only constants are known when a chip is programmed",
            )),
        }
    }

    /// The operand in `slot`, which must be a constant.
    pub(crate) fn constant(&self, slot: usize) -> Result<&Constant> {
        self.optional_constant(slot)?.ok_or_else(|| Refusal::lacks_operand(slot))
    }

    /// The integers in `slot`, if the operand is there.
    pub(crate) fn ints(&self, slot: usize) -> Result<Option<Vec<i64>>> {
        let Some(constant) = self.optional_constant(slot)? else { return Ok(None) };
        constant.value.ints().map(Some).ok_or_else(|| wrong_kind(constant, "an integer type"))
    }

    /// The single number in `slot`, if the operand is there.
    pub(crate) fn scalar(&self, slot: usize) -> Result<Option<f32>> {
        let Some(constant) = self.optional_constant(slot)? else { return Ok(None) };
        let values = numbers_of(constant)?;
        match (values.len(), values.first()) {
            (1, Some(&value)) => Ok(Some(value)),
            (count, _) => Err(Refusal::broken(format!(
                "has {count} numbers in `{}`, must have 1",
                constant.name
            ))),
        }
    }

    /// Per-channel numbers in `slot`, put into the graph as `[channels]`.
    pub(crate) fn vector(&mut self, slot: usize) -> Result<ConstId> {
        let constant = self.constant(slot)?.clone();
        let value = to_floats(&constant)?;
        let flat = reshape(value, &[constant.value.len()])?;
        Ok(self.builder.constant(&constant.name, flat))
    }

    /// The operand in `slot` as a tensor of the graph; a constant becomes one, without its batch axis.
    ///
    /// `rank` is the whole rank of the tensors that it meets, batch axis included.
    pub(crate) fn tensor(&mut self, slot: usize, rank: usize) -> Result<NodeId> {
        let constant = match self.operand(slot) {
            Some(Value::Constant(constant)) => constant.clone(),
            _ => return Ok(self.activation(slot)?.id),
        };
        let value = self.strip_batch(&constant.name, to_floats(&constant)?, rank)?;
        Ok(self.constant_tensor(&constant.name, value))
    }

    /// A number as a tensor of the graph.
    pub(crate) fn number(&mut self, value: f32) -> NodeId {
        let tensor = ArrayD::from_elem(ndarray::IxDyn(&[]), value);
        self.constant_tensor(&format!("number {value}"), tensor)
    }

    /// A tensor of the graph with this constant value.
    pub(crate) fn constant_tensor(&mut self, name: &str, value: impl Into<Floats>) -> NodeId {
        let id = self.builder.constant(name, value);
        self.builder.constant_node(id)
    }

    /// A constant that meets tensors of the whole `rank`, without the batch axis.
    pub(crate) fn strip_batch(&self, name: &str, value: Floats, rank: usize) -> Result<Floats> {
        if self.lead == 0 || value.ndim() < rank {
            return Ok(value);
        }
        let lead = value.shape().first().copied().unwrap_or(0);
        let first = || value.clone().index_axis_move(ndarray::Axis(0), 0);
        if value.ndim() == rank && (lead == 1 || lead == self.batch) && lead > 0 {
            let sample = first();
            if value.outer_iter().all(|other| other == sample) {
                return Ok(sample);
            }
        }
        Err(Refusal::mixes_samples(format!(
            "gives the samples of a batch different constants: `{name}` has shape {:?}",
            value.shape()
        )))
    }

    /// The shape of one sample of the output; an error if axis 0 is not the batch.
    pub(crate) fn sample_output(&self) -> Result<Vec<usize>> {
        match self.output.split_first() {
            _ if self.guessed => Err(Refusal::mixes_samples("makes a tensor of unknown shape")),
            _ if self.lead == 0 => Ok(self.output.to_vec()),
            Some((&batch, sample)) if batch == self.batch => Ok(sample.to_vec()),
            _ => Err(Refusal::mixes_samples(format!(
                "tried with a batch of {}, makes a tensor of shape {:?}, whose axis 0 is not the batch",
                self.batch, self.output
            ))),
        }
    }

    /// `axis` of a tensor of the whole `rank`, without the batch axis; an error for the batch itself.
    pub(crate) fn sample_axis(&self, axis: i64, rank: usize) -> Result<usize> {
        match whole_axis(axis, rank)? {
            axis if self.lead == 0 => Ok(axis),
            0 => Err(Refusal::mixes_samples("works along axis 0, the batch")),
            axis => Ok(axis - 1),
        }
    }

    /// The graph's node for this ONNX node.
    pub(crate) fn keep(&mut self, op: Op, operands: &[NodeId], shape: &[usize]) -> Converted {
        if self.inner {
            return Converted::Kept(self.help(op, operands, shape));
        }
        let tensor = &self.node.output[0];
        Converted::Kept(self.builder.add(self.label, tensor, op, operands, shape))
    }

    /// The graph's node for one output of several.
    pub(crate) fn keep_output(
        &mut self,
        slot: usize,
        op: Op,
        operands: &[NodeId],
        shape: &[usize],
    ) -> NodeId {
        match self.node.output[slot].as_str() {
            "" => self.help(op, operands, shape),
            tensor => self.builder.add(self.label, tensor, op, operands, shape),
        }
    }

    /// A further node that this ONNX node needs.
    pub(crate) fn help(&mut self, op: Op, operands: &[NodeId], shape: &[usize]) -> NodeId {
        let names = (self.label, self.made());
        self.builder.add_helper(names, op, operands, shape)
    }
}

impl<'a> Site<'a> {
    /// The first output that the node names.
    pub(crate) fn made(&self) -> &'a str {
        let named = self.node.output.iter().find(|name| !name.is_empty());
        named.map_or(self.label, String::as_str)
    }
}

/// The types of [`is_held_in_floats`], as messages name them.
pub(crate) const HELD: &str = "float, int8, uint8, int32, int64 or bool";

/// The types of [`may_be_fed`], as messages name them.
pub(crate) const FED: &str = "float, int8, uint8, int32 or int64";

/// Whether tensors of a type can be tensors of the graph, whose elements are floats.
pub(crate) fn is_held_in_floats(datum: DatumType) -> bool {
    may_be_fed(datum) || datum == DatumType::Bool
}

/// Whether a network's input may have elements of a type. Of longer integers floats hold those up to 2^24: numbers of
/// words and pixels, which nothing that a network makes of them exceeds.
pub(crate) fn may_be_fed(datum: DatumType) -> bool {
    matches!(
        datum,
        DatumType::F32 | DatumType::I8 | DatumType::U8 | DatumType::I32 | DatumType::I64
    )
}

/// `axis`, counted from the end if negative.
pub(crate) fn whole_axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis.saturating_add_unsigned(rank as u64) } else { axis };
    usize::try_from(from_start).ok().filter(|&axis| axis < rank).ok_or_else(|| {
        let lowest = -(rank as i64);
        Refusal::broken(format!("names axis {axis}, must be from {lowest} to {}", -1 - lowest))
    })
}

/// A constant's values, shared; an error unless they are 32-bit floats.
pub(crate) fn to_floats(constant: &Constant) -> Result<Floats> {
    match &constant.value {
        Data::Floats(floats) => Ok(floats.clone()),
        Data::Other(_) => Err(Refusal::unsupported(
            format!(
                "has `{}` of type {}, must be float",
                constant.name,
                name_type(constant.value.datum_type())
            ),
            "export the network in 32-bit floats",
        )),
    }
}

/// A constant's values as floats; an error where they are no numbers or truth values.
pub(crate) fn numbers_of(constant: &Constant) -> Result<Floats> {
    constant.value.numbers().ok_or_else(|| wrong_kind(constant, "a type of numbers"))
}

fn wrong_kind(constant: &Constant, want: &str) -> Refusal {
    let Constant { name, value } = constant;
    Refusal::broken(format!(
        "has `{name}` of type {}, must be {want}",
        name_type(value.datum_type())
    ))
}

/// The same elements under another shape.
pub(crate) fn reshape(value: Floats, shape: &[usize]) -> Result<Floats> {
    let have = value.shape().to_vec();
    value
        .into_shape_with_order(shape)
        .map_err(|_| Refusal::broken(format!("has a constant of shape {have:?}, not {shape:?}")))
}
