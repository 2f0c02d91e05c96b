//! The walk over a graph's nodes in topological order that makes the [`Graph`] and every node's fate.

use std::collections::BTreeMap;

use nvcim_ir::diag::{Diagnostic, Kind, Warned};
use nvcim_ir::graph::{self, Graph};
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::Op;
use tract_onnx::prelude::{Datum, DatumType};

use crate::analyse::{self, Analyser, Fact};
use crate::builder::Builder;
use crate::constants;
use crate::data::name_type;
use crate::decode::{self, Model};
use crate::network_input::{self, Batching, NetworkInput};
use crate::ops;
use crate::proto::NodeProto;
use crate::refusal::Refusal;
use crate::site::{Activation, Constant, Converted, HELD, Site, Value, is_held_in_floats};
use crate::survey::{Fate, SurveyedNode};
use crate::tensor_data::ExternalData;
use crate::validate::Layout;

/// The most elements that all constants computed from others may have together.
const MAX_FOLDED: usize = 1 << 26;

/// What the walk over a sound file gave.
pub(crate) struct Imported {
    /// Every node, in file order.
    pub(crate) nodes: Vec<SurveyedNode>,
    /// The graph, unless there are problems.
    pub(crate) graph: Option<Warned<Graph>>,
    /// What stands in the way, first causes only.
    pub(crate) problems: Vec<Diagnostic>,
    /// How samples lie in the file's tensors.
    pub(crate) batching: Batching,
    /// The nodes that were unrolled, by their first outputs.
    pub(crate) sequences: BTreeMap<String, Sequence>,
}

/// What a recurrent node runs over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence {
    /// Steps.
    pub(crate) n_steps: usize,
    /// Units of the cell.
    pub(crate) hidden: usize,
}

impl Imported {
    /// Whether the file is at fault, and not only beyond what can run here.
    pub(crate) fn is_broken(&self) -> bool {
        self.problems.iter().any(|problem| problem.kind == Kind::BadInput)
    }

    /// Whether nothing stands in the way but that axis 0 is not the batch everywhere.
    pub(crate) fn is_about_samples(&self) -> bool {
        self.problems.iter().all(|problem| {
            problem.message == ops::BATCH_AS_TIME || Refusal::hints_at_samples(&problem.hints)
        })
    }

    /// Whether a recurrent node was refused because its time lies where the batch was looked for.
    pub(crate) fn takes_batch_for_time(&self) -> bool {
        self.problems.iter().any(|problem| problem.message == ops::BATCH_AS_TIME)
    }
}

/// The walk over the nodes.
pub(crate) struct Walk<'m> {
    model: &'m Model<'m>,
    layout: &'m Layout,
    external: &'m dyn ExternalData,
    analyser: Analyser,
    batch: usize,
    batching: Batching,
    values: BTreeMap<String, Value>,
    builder: Builder,
    fates: BTreeMap<usize, Fate>,
    problems: Vec<Diagnostic>,
    /// Elements of all constants computed so far.
    folded: usize,
    /// The nodes that were unrolled, by their first outputs.
    sequences: BTreeMap<String, Sequence>,
}

/// What became of one node: its fate, and the value of its first output.
type Outcome = (Fate, Value);

impl<'m> Walk<'m> {
    /// A walk over a file that hangs together, its constants loaded.
    pub(crate) fn new(
        model: &'m Model<'m>,
        layout: &'m Layout,
        external: &'m dyn ExternalData,
        constants: &BTreeMap<String, Value>,
        input: NetworkInput,
    ) -> Self {
        let outputs = model.graph.node.iter().flat_map(|node| node.output.iter().cloned());
        let mut builder = Builder::new(outputs.chain([input.name.clone()]));
        let mut values = constants.clone();
        let batching = input.batching;
        let value = match &input.problem {
            Some(problem) if input.shape.is_empty() => Value::Unknown(problem.message.clone()),
            _ => {
                let sample = batching.sample_of(&input.shape);
                let id = builder.add(&input.name, &input.name, Op::Input, &[], sample);
                let shape = input.shape.get(batching.lead()..).unwrap_or_default().to_vec();
                let names = (input.name.as_str(), input.name.as_str());
                let id = if shape == sample {
                    id
                } else {
                    builder.add_helper(names, Op::Reshape, &[id], &shape)
                };
                Value::Activation(Activation { id, shape, datum: input.datum })
            }
        };
        values.insert(input.name.clone(), value);
        Self {
            model,
            layout,
            external,
            analyser: Analyser::new(
                model.opset,
                network_input::fixed_batch(model).is_none() && batching.lead() == 1,
            ),
            batch: input.shape.first().copied().unwrap_or(1),
            batching,
            values,
            builder,
            fates: BTreeMap::new(),
            problems: input.problem.into_iter().collect(),
            folded: 0,
            sequences: BTreeMap::new(),
        }
    }

    /// Converts every node and connects the outputs.
    pub(crate) fn run(mut self) -> Imported {
        for &at in &self.layout.order {
            let node = &self.model.graph.node[at];
            let (fate, value) = self.import_node(at, node);
            self.fates.insert(at, fate);
            if let Some(output) = node.output.first().filter(|output| !output.is_empty()) {
                self.values.insert(output.clone(), value);
            }
            for output in node.output.iter().skip(1).filter(|output| !output.is_empty()) {
                let why = format!("is a further output of node `{}`", self.layout.labels[at]);
                self.values.entry(output.clone()).or_insert_with(|| unknown(&why));
            }
        }
        self.connect_outputs();
        let nodes = self.model.graph.node.iter().zip(&self.layout.labels).zip(self.fates);
        let nodes = nodes
            .map(|((node, label), (_, fate))| SurveyedNode {
                name: label.clone(),
                op_type: node.op_type.clone(),
                fate,
            })
            .collect();
        if self.problems.is_empty()
            && let Err(problems) = graph::verify_graph(&self.builder.graph)
        {
            let hint = "correct it where the network is trained or made, and export the file again";
            self.problems = problems.into_iter().map(|problem| problem.hint(hint)).collect();
        }
        let sound = self.problems.is_empty();
        let graph = sound.then(|| Warned::clean(self.builder.graph));
        let Self { problems, batching, sequences, .. } = self;
        Imported { nodes, graph, problems, batching, sequences }
    }

    fn import_node(&mut self, at: usize, node: &NodeProto) -> Outcome {
        let label = &self.layout.labels[at];
        if !self.layout.live[at] {
            let why = "is not needed by any output";
            return (Fate::Folded { into: "nothing: no output reads it".into() }, unknown(why));
        }
        let unknown_input = node.input.iter().find_map(|name| match self.values.get(name) {
            Some(Value::Unknown(why)) => Some(format!("reads `{name}`, which {why}")),
            _ => None,
        });
        if let Some(reason) = unknown_input {
            let hint = "settle the node that makes it first".into();
            let value = unknown(&format!("depends on node `{label}`, whose shape is unknown"));
            return (Fate::Unsupported { reason, hint }, value);
        }
        self.convert_node(node, label).unwrap_or_else(|(refusal, value)| {
            // A tensor of a type that cannot be held has been refused where it is made.
            let held = |value: &Value| match value {
                Value::Activation(it) => is_held_in_floats(it.datum),
                Value::Constant(_) | Value::Unknown(_) => true,
            };
            let operands = node.input.iter().filter_map(|name| self.values.get(name));
            if self.problems.is_empty() || operands.into_iter().all(held) {
                self.problems.push(refusal.clone().at(label, &node.op_type));
            }
            let (reason, hint) = refusal.explain();
            (Fate::Unsupported { reason, hint }, *value)
        })
    }

    /// The node's outcome, or why it is refused and what is known of its output all the same.
    fn convert_node(
        &mut self,
        node: &NodeProto,
        label: &str,
    ) -> std::result::Result<Outcome, (Refusal, Box<Value>)> {
        let blind = |refusal| {
            let value = unknown(&format!("is made by refused node `{label}`"));
            (refusal, Box::new(value))
        };
        self.check_outputs(node).map_err(blind)?;
        let runs = ops::find_converter(&node.op_type);
        if !decode::is_standard(&node.domain) {
            return Err(blind(Refusal::unsupported(
                format!("is operator `{}` of foreign domain `{}`", node.op_type, node.domain),
                "export with standard ONNX operators only, before a runtime's optimiser has rewritten them",
            )));
        }
        let operands = self.operands(node);
        match node.op_type.as_str() {
            "Constant" => {
                let constant = constants::read_constant(node, self.external).map_err(blind)?;
                return Ok((Fate::Constant, Value::Constant(constant)));
            }
            "Shape" => {
                let shape = self.shape_of(operands.first()).map_err(blind)?;
                let constant = constants::read_shape(node, &shape).map_err(blind)?;
                return Ok((Fate::Constant, Value::Constant(constant)));
            }
            _ if runs.is_some() || analyse::is_known(&node.op_type) => {}
            _ => return Err(blind(ops::refuse_operator(&node.op_type))),
        }
        let facts: Vec<_> =
            operands.iter().map(|operand| Some(self.fact(operand.as_ref()?))).collect();
        if ops::has_several_outputs(&node.op_type)
            && operands.iter().flatten().all(|operand| matches!(operand, Value::Constant(_)))
        {
            return self.fold_several(node, &facts).map_err(blind);
        }
        let judge = || self.judge_without_output(node, label, &operands, &facts);
        let inferred = if ops::is_recurrent(&node.op_type) {
            // tract does not know all of these operators' outputs; what they are follows from the conversion.
            Fact::Varying { shape: Vec::new(), datum: f32::datum_type() }
        } else {
            self.analyser.infer(node, &facts, 0, judge).map_err(blind)?
        };
        let (output, datum) = match inferred {
            Fact::Constant(value) => {
                self.folded = self.folded.saturating_add(value.len());
                if self.folded > MAX_FOLDED {
                    return Err(blind(Refusal::unsupported(
                        format!("brings computed constants to more than {MAX_FOLDED} elements"),
                        "let the exporter fold constants, so that the file holds their values",
                    )));
                }
                let name = constants::name_folded(node, &operands, &value);
                return Ok((Fate::Constant, Value::Constant(Constant { name, value })));
            }
            Fact::Varying { shape, datum } => (shape, datum),
        };
        let site = Site {
            node,
            label,
            opset: self.model.opset,
            batch: self.batch,
            lead: self.batching.lead(),
            inner: false,
            operands: &operands,
            output: &output,
            guessed: false,
            builder: &mut self.builder,
        };
        let converted = match runs {
            Some(converter) => ops::convert(converter, site),
            None => Err(ops::refuse_operator(&node.op_type)),
        };
        let sample = output.get(self.batching.lead()..).unwrap_or_default().to_vec();
        let converted = converted.and_then(|converted| match sample.contains(&0) {
            true => Err(Refusal::unsupported(
                format!("makes an empty tensor: a sample has shape {sample:?}"),
                "export the network with windows, slices and scales that fit into their input",
            )),
            false => Ok(converted),
        });
        match converted {
            Ok(Converted::Alias(activation)) => {
                let into = self.builder.graph.node(activation.id).name.clone();
                Ok((Fate::Folded { into }, Value::Activation(activation)))
            }
            Ok(Converted::Several(ids)) => {
                let first = ids.first().ok_or_else(|| blind(Refusal::broken("has no output")))?;
                Ok((Fate::Kept(*first), self.name_outputs(node, &ids, datum)))
            }
            Ok(Converted::Unrolled { outputs, matrices, n_steps, hidden }) => {
                let made = node.output.iter().find(|output| !output.is_empty());
                self.sequences
                    .extend(made.map(|made| (made.clone(), Sequence { n_steps, hidden })));
                let value = self.name_outputs(node, &outputs, datum);
                Ok((Fate::Unrolled { matrices, n_steps }, value))
            }
            Ok(Converted::Kept(id)) => {
                let made = Activation { id, shape: sample, datum };
                Ok((Fate::Kept(id), Value::Activation(made)))
            }
            Err(refusal)
                if !ops::is_recurrent(&node.op_type)
                    && (self.batching.lead() == 0 || output.first() == Some(&self.batch)) =>
            {
                // Stands in for the tensor so that later nodes can be judged; never handed out.
                let id = self.builder.add(label, &node.output[0], Op::Input, &[], &sample);
                let value = Value::Activation(Activation { id, shape: sample, datum });
                Err((refusal, Box::new(value)))
            }
            Err(refusal) => Err(blind(refusal)),
        }
    }

    /// Notes the values of a node's further outputs; the value of the first.
    fn name_outputs(&mut self, node: &NodeProto, ids: &[NodeId], datum: DatumType) -> Value {
        let graph = &self.builder.graph;
        let made = |id: &NodeId| {
            let shape = graph.node(*id).shape.clone();
            Value::Activation(Activation { id: *id, shape, datum })
        };
        let mut values = ids.iter().map(made);
        let first = values.next().unwrap_or_else(|| unknown("is made by a node without outputs"));
        let further = node.output.iter().skip(1).zip(values);
        let named = further.filter(|(output, _)| !output.is_empty());
        self.values.extend(named.map(|(output, value)| (output.clone(), value)));
        first
    }

    /// Why a node's converter refuses it whatever its output is, asked where that is unknown.
    ///
    /// The output is guessed to have the first operand's shape, from which a converter learns the number of its axes;
    /// what it says of samples would rest on the rest.
    fn judge_without_output(
        &self,
        node: &NodeProto,
        label: &str,
        operands: &[Option<Value>],
        facts: &[Option<Fact>],
    ) -> Option<Refusal> {
        let converter = ops::find_converter(&node.op_type)?;
        let (1, Some(Some(Fact::Varying { shape, .. }))) = (self.batching.lead(), facts.first())
        else {
            return None;
        };
        let site = Site {
            node,
            label,
            opset: self.model.opset,
            batch: self.batch,
            lead: self.batching.lead(),
            inner: false,
            operands,
            output: shape,
            guessed: true,
            builder: &mut self.builder.clone(),
        };
        ops::convert(converter, site).err().filter(|refusal| !refusal.is_about_samples())
    }

    /// The outputs of a node over constants alone.
    fn fold_several(
        &mut self,
        node: &NodeProto,
        facts: &[Option<Fact>],
    ) -> std::result::Result<Outcome, Refusal> {
        let mut values = Vec::new();
        for (slot, name) in node.output.iter().enumerate() {
            let Fact::Constant(value) = self.analyser.infer(node, facts, slot, || None)? else {
                return Err(Refusal::broken("makes no constant of constants"));
            };
            values.push(Value::Constant(Constant { name: name.clone(), value }));
        }
        let mut outputs = node.output.iter().cloned().zip(values);
        let (_, first) = outputs.next().ok_or_else(|| Refusal::broken("has no output"))?;
        self.values.extend(outputs);
        Ok((Fate::Constant, first))
    }

    /// Refuses a node whose second or later outputs are read.
    fn check_outputs(&self, node: &NodeProto) -> std::result::Result<(), Refusal> {
        let mut named = node.output.iter().map(|output| !output.is_empty());
        let any = ops::is_recurrent(&node.op_type);
        if !(if any { named.any(|it| it) } else { named.next() == Some(true) }) {
            return Err(Refusal::broken("leaves its first output without a name"));
        }
        if ops::has_several_outputs(&node.op_type) && decode::is_standard(&node.domain) {
            return Ok(());
        }
        match node.output[1..].iter().find(|output| self.layout.reads.contains_key(*output)) {
            Some(output) if !output.is_empty() => Err(Refusal::unsupported(
                format!("has a further output `{output}` that is read"),
                "export the network in inference form, with one output per operator",
            )),
            _ => Ok(()),
        }
    }

    fn operands(&self, node: &NodeProto) -> Vec<Option<Value>> {
        node.input.iter().map(|name| self.values.get(name).cloned()).collect()
    }

    fn fact(&self, value: &Value) -> Fact {
        match value {
            Value::Constant(constant) => Fact::Constant(constant.value.clone()),
            Value::Activation(Activation { shape, datum, .. }) => {
                let front: &[usize] = if self.batching.lead() == 1 { &[self.batch] } else { &[] };
                Fact::Varying { shape: [front, shape].concat(), datum: *datum }
            }
            Value::Unknown(_) => unreachable!("nodes that read unknown tensors are not converted"),
        }
    }

    fn shape_of(
        &self,
        operand: Option<&Option<Value>>,
    ) -> std::result::Result<Vec<usize>, Refusal> {
        match operand {
            Some(Some(value)) => Ok(match self.fact(value) {
                Fact::Constant(value) => value.shape().to_vec(),
                Fact::Varying { shape, .. } => shape,
            }),
            _ => Err(Refusal::lacks_operand(0)),
        }
    }

    fn connect_outputs(&mut self) {
        for output in &self.model.graph.output {
            let at = format!("output `{}`", output.name);
            match self.values.get(&output.name) {
                Some(Value::Activation(Activation { id, shape, datum })) => {
                    if is_held_in_floats(*datum) {
                        let names = (output.name.as_str(), output.name.as_str());
                        let id = match (self.batching.lead(), self.batching.sample_of(shape)) {
                            (0, sample) if sample != shape => {
                                self.builder.add_helper(names, Op::Reshape, &[*id], sample)
                            }
                            _ => *id,
                        };
                        self.builder.graph.outputs.push(id);
                    } else if self.problems.is_empty() {
                        let message = format!("has type {}, must be {HELD}", name_type(*datum));
                        let hint = "cut the network before the node that makes it";
                        self.problems.push(Diagnostic::unsupported(at, message).hint(hint));
                    }
                }
                Some(Value::Constant(_)) => self.problems.push(
                    Diagnostic::unsupported(at, "does not depend on the network's input")
                        .hint("export without it"),
                ),
                // Its cause has been reported where it stands.
                Some(Value::Unknown(_)) | None => {}
            }
        }
    }
}

fn unknown(why: &str) -> Value {
    Value::Unknown(why.into())
}
