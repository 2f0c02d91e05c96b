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
    if imported.is_broken() {
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

impl Imported {
    /// Whether the file is at fault, and not only beyond what can run here.
    fn is_broken(&self) -> bool {
        self.problems.iter().any(|problem| problem.kind == Kind::BadInput)
    }
}

fn import_file(bytes: &[u8], external: &dyn ExternalData) -> Result<Imported> {
    let model = decode::decode_model(bytes)?;
    let layout = validate::check_graph(&model.graph)?;
    let constants = load_constants(&model, external)?;
    let mut first = None;
    for batch in network_input::candidate_batches(&model) {
        let input = network_input::read_input(&model, batch)?;
        let imported = Importer::new(&model, &layout, external, &constants, input).run();
        // Shapes that fit one batch only look broken with every other.
        if !imported.is_broken() {
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

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;
    use proptest::prelude::*;

    use super::{import_model, survey_model};
    use crate::survey::Fate;
    use crate::tensor_data::NoExternalData;
    use crate::testing::{TestModel, int, ints, string, tiny_lenet};

    #[test]
    fn a_small_lenet_agrees_with_the_reference() {
        let graph = tiny_lenet().agree();
        let text = graph.to_string();
        assert!(text.contains("[27] = reshape (n3)  # \"flat\""), "{text}");
        assert!(text.contains("dense w=c2^T b=c3"), "{text}");
        assert!(text.contains("c0 [3, 1, 3, 3]  # \"conv.weight\""), "{text}");
    }

    #[test]
    fn a_fixed_batch_is_taken_at_its_word() {
        let fixed = |batch| {
            TestModel::new(13, &[batch, 2, 3])
                .ints("target", &[10, 6])
                .node("Reshape", "x target", "flat", &[])
                .node("Relu", "flat", "y", &[])
                .output("y")
        };
        // The shape in the file leaves the reference no choice but blocks of 10.
        fixed(10).agree();
        fixed(0).refuse(Kind::BadInput, "node `flat`");
        fixed(4).refuse(Kind::BadInput, "node `flat`");
    }

    #[test]
    fn an_open_batch_may_be_open_in_name_only() {
        let model = TestModel::new(13, &[0, 2, 3])
            .ints("target", &[1, 6])
            .node("Reshape", "x target", "y", &[])
            .output("y");
        model.agree();
    }

    #[test]
    fn every_node_has_a_fate() {
        let model =
            tiny_lenet().node("Exp", "add", "e", &[]).output("e").node("Relu", "e", "r", &[]);
        let survey = survey_model(&model.bytes(), &NoExternalData).unwrap();
        assert!(survey.graph.is_none());
        assert_eq!(survey.nodes.len(), model.graph.node.len());
        let fate = |name: &str| &survey.nodes.iter().find(|node| node.name == name).unwrap().fate;
        assert!(matches!(fate("conv"), Fate::Kept(_)));
        assert_eq!(*fate("shape"), Fate::Constant);
        assert_eq!(*fate("dropout"), Fate::Folded { into: "fc1".into() });
        assert!(matches!(fate("e"), Fate::Unsupported { reason, .. } if reason.contains("`Exp`")));
        assert!(matches!(fate("r"), Fate::Folded { into } if into.contains("nothing")));
    }

    #[test]
    fn all_unsupported_nodes_are_reported_and_their_heirs_are_not() {
        let model = TestModel::new(13, &[0, 4])
            .node("Round", "x", "a", &[])
            .node("Relu", "a", "b", &[])
            .node("Exp", "b", "c", &[])
            .node("NonZero", "c", "d", &[])
            .node("Relu", "d", "y", &[])
            .output("y");
        let problems = model.import().unwrap_err();
        let at: Vec<_> = problems.iter().map(|problem| problem.at.as_str()).collect();
        assert_eq!(at, ["node `a`", "node `c`", "node `d`"]);
        assert!(problems.iter().all(|problem| problem.kind == Kind::Unsupported));
        let survey = survey_model(&model.bytes(), &NoExternalData).unwrap();
        let last = &survey.nodes[4].fate;
        assert!(
            matches!(last, Fate::Unsupported { reason, .. } if reason.contains("`d`")),
            "{last:?}"
        );
    }

    #[test]
    fn foreign_domains_and_samples_that_meet_are_refused() {
        let mut model = TestModel::new(13, &[0, 4]).node("Relu", "x", "y", &[]).output("y");
        model.graph.node[0].domain = "com.example".into();
        model.refuse(Kind::Unsupported, "foreign domain `com.example`");

        let model = |op: &str, attributes: &[_]| {
            TestModel::new(13, &[0, 4, 4]).node(op, "x", "y", attributes).output("y")
        };
        model("Transpose", &[ints("perm", &[1, 0, 2])])
            .refuse(Kind::Unsupported, "moves the batch");
        model("Softmax", &[int("axis", 0)]).refuse(Kind::Unsupported, "axis 0, the batch");
        model("ReduceMean", &[]).refuse(Kind::Unsupported, "the batch included");
        model("Flatten", &[int("axis", 0)]).refuse(Kind::Unsupported, "axis 0 is not the batch");
        model("Flatten", &[int("axis", 2)]).refuse(Kind::Unsupported, "axis 0 is not the batch");
    }

    #[test]
    fn a_second_output_may_exist_but_not_be_read() {
        let mut model = TestModel::new(13, &[0, 1, 4, 4]).node(
            "MaxPool",
            "x",
            "y",
            &[ints("kernel_shape", &[2, 2])],
        );
        model.graph.node[0].output.push("indices".into());
        model.clone().output("y").agree();
        model.output("y").output("indices").refuse(Kind::Unsupported, "further output `indices`");
    }

    #[test]
    fn what_no_output_needs_is_not_imported() {
        let model = TestModel::new(13, &[0, 4])
            .node("Relu", "x", "y", &[])
            .node("Exp", "x", "unused", &[])
            .output("y");
        assert_eq!(model.agree().len(), 2);
    }

    #[test]
    fn wrong_attribute_types_and_sizes_are_broken_files() {
        let conv = |attribute| {
            TestModel::new(13, &[0, 2, 4, 4])
                .weight("w", &[3, 2, 3, 3])
                .node("Conv", "x w", "y", &[attribute])
                .output("y")
        };
        conv(string("strides", "2")).refuse(Kind::BadInput, "expected list of ints");
        conv(ints("strides", &[0, 1])).refuse(Kind::BadInput, "at least 1");
        conv(ints("pads", &[-1, 0, 0, 0])).refuse(Kind::BadInput, "at least 0");
        conv(int("group", 0)).refuse(Kind::BadInput, "groups");
        conv(int("group", 2)).refuse(Kind::BadInput, "node `y`");
        conv(ints("kernel_shape", &[3, 2])).refuse(Kind::BadInput, "node `y`");
        conv(ints("strides", &[i64::MAX, i64::MAX])).import().unwrap();
    }

    #[test]
    fn a_constant_may_not_grow_beyond_its_limit() {
        let model = TestModel::new(13, &[0, 4])
            .ints("shape", &[1 << 20, 1 << 20])
            .node("ConstantOfShape", "shape", "huge", &[])
            .node("Add", "x huge", "y", &[])
            .output("y");
        let problems = model.import().unwrap_err();
        assert!(problems[0].to_string().contains("node `huge`"), "{problems:?}");
        let model = TestModel::new(13, &[0, 4])
            .weight("one", &[1, 1])
            .ints("shape", &[1 << 20, 1 << 20])
            .node("Expand", "one shape", "huge", &[])
            .node("Add", "x huge", "y", &[])
            .output("y");
        let problems = model.import().unwrap_err();
        assert!(problems[0].to_string().contains("node `huge`"), "{problems:?}");
    }

    #[test]
    fn every_truncation_is_an_error_or_a_graph() {
        let bytes = tiny_lenet().bytes();
        for length in 0..bytes.len() {
            // A file cut between two fields can still be sound; it must never panic.
            let _ = import_model(&bytes[..length], &NoExternalData);
        }
        assert!(import_model(&bytes[..bytes.len() / 2], &NoExternalData).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn flipped_bits_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..4)) {
            let mut bytes = tiny_lenet().bytes();
            for (at, bit) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            let _ = survey_model(&bytes, &NoExternalData);
        }
    }
}
