//! ONNX bytes to a verified [`Graph`].
//!
//! Phases: decode, check that the file hangs together, load constants, then one walk over the nodes in
//! topological order that asks tract for each output's shape and converts the node. Every node that
//! cannot run is collected. The batch axis is dropped on the way: shapes are found with a concrete batch
//! and axis 0 must stay it everywhere.

use std::collections::BTreeMap;

use nvcim_ir::diag::{Diagnostic, Kind, Result, Warned};
use nvcim_ir::graph::{self, Graph};
use nvcim_ir::op::Op;
use tract_onnx::prelude::{Datum, Tensor, tract_ndarray};

use crate::analyse::{self, Analyser, Fact};
use crate::attributes;
use crate::builder::Builder;
use crate::decode::{self, Model};
use crate::network_input::{self, NetworkInput};
use crate::ops;
use crate::proto::NodeProto;
use crate::refusal::Refusal;
use crate::site::{Activation, Constant, Converted, Site, Value};
use crate::survey::{Fate, Survey, SurveyedNode};
use crate::tensor_data::{self, ExternalData};
use crate::validate::{self, Layout};

/// Reads an ONNX file as a graph whose node and tensor names are the file's.
///
/// # Errors
/// [`Kind::BadInput`] for a damaged or contradictory file; [`Kind::Unsupported`] for each node that
/// cannot run here, with a hint.
pub fn import_model(bytes: &[u8], external: &dyn ExternalData) -> Result<Warned<Graph>> {
    let imported = import_file(bytes, external)?;
    match imported.graph {
        Some(graph) => Ok(graph),
        None => Err(imported.problems),
    }
}

/// Tells for every node of an ONNX file what becomes of it.
///
/// # Errors
/// [`Kind::BadInput`] for a damaged or contradictory file; what cannot run is in the survey instead.
pub fn survey_model(bytes: &[u8], external: &dyn ExternalData) -> Result<Survey> {
    let imported = import_file(bytes, external)?;
    if imported.problems.iter().any(|problem| problem.kind == Kind::BadInput) {
        return Err(imported.problems);
    }
    Ok(Survey { nodes: imported.nodes, graph: imported.graph })
}

/// What the walk over a sound file gave.
struct Imported {
    /// Every node, in file order.
    nodes: Vec<SurveyedNode>,
    /// The graph, unless there are problems.
    graph: Option<Warned<Graph>>,
    /// What stands in the way, first causes only.
    problems: Vec<Diagnostic>,
}

fn import_file(bytes: &[u8], external: &dyn ExternalData) -> Result<Imported> {
    let model = decode::decode_model(bytes)?;
    let layout = validate::check_graph(&model.graph)?;
    let constants = load_constants(&model, external)?;
    let mut first = None;
    for batch in network_input::candidate_batches(&model) {
        let input = network_input::read_input(&model, batch)?;
        let imported = Importer::new(&model, &layout, external, &constants, input).run();
        if imported.problems.is_empty() {
            return Ok(imported);
        }
        first.get_or_insert(imported);
    }
    first.ok_or_else(|| Diagnostic::internal("model", "has no batch to try").into())
}

fn load_constants(model: &Model, external: &dyn ExternalData) -> Result<BTreeMap<String, Value>> {
    let mut problems = Vec::new();
    let mut constants = BTreeMap::new();
    for proto in &model.graph.initializer {
        match tensor_data::load_tensor(proto, external) {
            Ok(value) => {
                let constant = Constant { name: proto.name.clone(), value };
                constants.insert(proto.name.clone(), Value::Constant(constant));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !model.graph.sparse_initializer.is_empty() {
        problems.push(
            Diagnostic::unsupported("graph", "has sparse initialisers")
                .hint("export dense initialisers"),
        );
    }
    if problems.is_empty() { Ok(constants) } else { Err(problems) }
}

/// The walk over the nodes.
struct Importer<'m> {
    model: &'m Model,
    layout: &'m Layout,
    external: &'m dyn ExternalData,
    analyser: Analyser,
    batch: usize,
    values: BTreeMap<String, Value>,
    builder: Builder,
    fates: BTreeMap<usize, Fate>,
    problems: Vec<Diagnostic>,
}

/// What became of one node: its fate, and the value of its first output.
type Outcome = (Fate, Value);

impl<'m> Importer<'m> {
    fn new(
        model: &'m Model,
        layout: &'m Layout,
        external: &'m dyn ExternalData,
        constants: &BTreeMap<String, Value>,
        input: NetworkInput,
    ) -> Self {
        let outputs = model.graph.node.iter().flat_map(|node| node.output.iter().cloned());
        let mut builder = Builder::new(outputs.chain([input.name.clone()]));
        let mut values = constants.clone();
        let sample = input.shape.get(1..).unwrap_or_default();
        let value = match &input.problem {
            Some(problem) if input.shape.is_empty() => Value::Unknown(problem.message.clone()),
            _ => Value::Activation(Activation {
                id: builder.add(&input.name, &input.name, Op::Input, &[], sample),
                shape: sample.to_vec(),
                datum: input.datum,
            }),
        };
        values.insert(input.name.clone(), value);
        Self {
            model,
            layout,
            external,
            analyser: Analyser::new(model.opset),
            batch: input.shape.first().copied().unwrap_or(1),
            values,
            builder,
            fates: BTreeMap::new(),
            problems: input.problem.into_iter().collect(),
        }
    }

    fn run(mut self) -> Imported {
        for &at in &self.layout.order {
            let node = &self.model.graph.node[at];
            let (fate, value) = self.import_node(at, node);
            self.fates.insert(at, fate);
            if let Some(output) = node.output.first() {
                self.values.insert(output.clone(), value);
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
            self.problems = problems;
        }
        let sound = self.problems.is_empty();
        let graph = sound.then(|| Warned::clean(self.builder.graph));
        Imported { nodes, graph, problems: self.problems }
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
            self.problems.push(refusal.clone().at(label));
            let fate = match refusal {
                Refusal::Unsupported { reason, hint } => Fate::Unsupported { reason, hint },
                Refusal::Broken(reason) => Fate::Unsupported { reason, hint: String::new() },
            };
            (fate, value)
        })
    }

    /// The node's outcome, or why it is refused and what is known of its output all the same.
    fn convert_node(
        &mut self,
        node: &NodeProto,
        label: &str,
    ) -> std::result::Result<Outcome, (Refusal, Value)> {
        let blind = |refusal| (refusal, unknown(&format!("is made by refused node `{label}`")));
        self.check_outputs(node).map_err(blind)?;
        let runs = ops::find_converter(&node.op_type);
        if !decode::is_standard(&node.domain) {
            return Err(blind(Refusal::unsupported(
                format!("is operator `{}` of foreign domain `{}`", node.op_type, node.domain),
                "export with standard ONNX operators only",
            )));
        }
        let operands = self.operands(node);
        match node.op_type.as_str() {
            "Constant" => return self.read_constant(node).map_err(blind),
            "Shape" => return self.read_shape(node, &operands).map_err(blind),
            _ if runs.is_some() || analyse::is_known(&node.op_type) => {}
            _ => return Err(blind(ops::refuse_operator(&node.op_type))),
        }
        let facts: Vec<_> =
            operands.iter().map(|operand| Some(self.fact(operand.as_ref()?))).collect();
        let (output, datum) = match self.analyser.infer(node, &facts).map_err(blind)? {
            Fact::Constant(value) => {
                let name = constant_name(node, &operands, &value);
                return Ok((Fate::Constant, Value::Constant(Constant { name, value })));
            }
            Fact::Varying { shape, datum } => (shape, datum),
        };
        let site = Site {
            node,
            label,
            opset: self.model.opset,
            batch: self.batch,
            operands: &operands,
            output: &output,
            builder: &mut self.builder,
        };
        let converted = match runs {
            Some(convert) => convert(site),
            None => Err(ops::refuse_operator(&node.op_type)),
        };
        let sample = output.get(1..).unwrap_or_default().to_vec();
        match converted {
            Ok(Converted::Alias(activation)) => {
                let into = self.builder.graph.node(activation.id).name.clone();
                Ok((Fate::Folded { into }, Value::Activation(activation)))
            }
            Ok(Converted::Kept(id)) => {
                let made = Activation { id, shape: sample, datum };
                Ok((Fate::Kept(id), Value::Activation(made)))
            }
            Err(refusal) if output.first() == Some(&self.batch) => {
                // Stands in for the tensor so that later nodes can be judged; never handed out.
                let id = self.builder.add(label, &node.output[0], Op::Input, &[], &sample);
                Err((refusal, Value::Activation(Activation { id, shape: sample, datum })))
            }
            Err(refusal) => Err(blind(refusal)),
        }
    }

    /// Refuses a node whose second or later outputs are read.
    fn check_outputs(&self, node: &NodeProto) -> std::result::Result<(), Refusal> {
        if node.output.first().is_none_or(String::is_empty) {
            return Err(Refusal::broken("has no output"));
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
            Value::Activation(activation) => Fact::Varying {
                shape: std::iter::once(self.batch).chain(activation.shape.clone()).collect(),
                datum: activation.datum,
            },
            Value::Unknown(_) => unreachable!("nodes that read unknown tensors are not converted"),
        }
    }

    fn read_constant(&self, node: &NodeProto) -> std::result::Result<Outcome, Refusal> {
        let value: Tensor = if let Some(proto) = attributes::tensor(node, "value")? {
            let value = tensor_data::load_tensor(proto, self.external)
                .map_err(|problem| Refusal::broken(problem.message))?;
            (*value).clone()
        } else if attributes::has(node, "value_int") {
            tract_ndarray::arr0(attributes::int(node, "value_int", 0)?).into_dyn().into()
        } else if attributes::has(node, "value_float") {
            tract_ndarray::arr0(attributes::float(node, "value_float", 0.0)?).into_dyn().into()
        } else if let Some(ints) = attributes::ints(node, "value_ints")? {
            tract_ndarray::arr1(ints).into_dyn().into()
        } else if let Some(floats) = attributes::floats(node, "value_floats")? {
            tract_ndarray::arr1(floats).into_dyn().into()
        } else {
            return Err(Refusal::unsupported(
                "has no value that can be read: text and sparse constants cannot",
                "export the constant as a dense tensor",
            ));
        };
        let constant = Constant { name: node.output[0].clone(), value: value.into() };
        Ok((Fate::Constant, Value::Constant(constant)))
    }

    fn read_shape(
        &self,
        node: &NodeProto,
        operands: &[Option<Value>],
    ) -> std::result::Result<Outcome, Refusal> {
        let Some(Some(operand)) = operands.first() else {
            return Err(Refusal::broken("lacks operand 0"));
        };
        let shape = match self.fact(operand) {
            Fact::Constant(value) => value.shape().to_vec(),
            Fact::Varying { shape, .. } => shape,
        };
        let rank = shape.len() as i64;
        let place = |name, default| {
            let at = attributes::int(node, name, default)?;
            let from_start = if at < 0 { at.saturating_add(rank) } else { at };
            Ok(from_start.clamp(0, rank) as usize)
        };
        let (start, end) = (place("start", 0)?, place("end", rank)?);
        let lengths: Vec<i64> =
            shape.get(start..end).unwrap_or_default().iter().map(|&len| len as i64).collect();
        let value: Tensor = tract_ndarray::arr1(&lengths).into_dyn().into();
        let constant = Constant { name: node.output[0].clone(), value: value.into() };
        Ok((Fate::Constant, Value::Constant(constant)))
    }

    fn connect_outputs(&mut self) {
        for output in &self.model.graph.output {
            let at = format!("output `{}`", output.name);
            match self.values.get(&output.name) {
                Some(Value::Activation(Activation { id, datum, .. })) => {
                    if *datum == f32::datum_type() {
                        self.builder.graph.outputs.push(*id);
                    } else {
                        self.problems.push(
                            Diagnostic::unsupported(at, format!("has element type {datum:?}"))
                                .hint("export the network in 32-bit floats"),
                        );
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

/// The initialiser's name where a computed constant is nothing but that initialiser under another
/// shape, so that trained weights find their way back into the file; else the tensor's own.
fn constant_name(node: &NodeProto, operands: &[Option<Value>], value: &Tensor) -> String {
    let reshapes = matches!(
        node.op_type.as_str(),
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Dropout" | "Cast"
    );
    match operands.first() {
        Some(Some(Value::Constant(source)))
            if reshapes && source.value.datum_type() == value.datum_type() =>
        {
            source.name.clone()
        }
        _ => node.output[0].clone(),
    }
}
