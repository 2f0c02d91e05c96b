//! ONNX bytes to a verified [`Graph`].
//!
//! Phases: decode, check that the file hangs together, load constants, then one walk over the nodes in
//! topological order that asks tract for each output's shape and converts the node. Every node that
//! cannot run is collected. The batch axis is dropped on the way: shapes are found with a concrete batch
//! and axis 0 must stay it everywhere. A file that does not keep it there is walked once more with every tensor
//! whole: where its lengths are fixed, or where its samples stay apart all the same.

use std::collections::BTreeMap;

use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::graph::Graph;

use crate::apart;
use crate::constants;
use crate::decode::{self, Model};
use crate::network_input::{self, Batching, NetworkInput};
use crate::site::Value;
use crate::survey::Survey;
use crate::tensor_data::ExternalData;
use crate::validate::{self, Layout};
use crate::walk::{Imported, Walk};

/// Reads an ONNX file as a graph whose node and tensor names are the file's.
///
/// # Errors
/// [`nvcim_ir::diag::Kind::BadInput`] for a damaged or contradictory file; [`nvcim_ir::diag::Kind::Unsupported`] for each node that
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
/// [`nvcim_ir::diag::Kind::BadInput`] for a damaged or contradictory file; what cannot run is in the survey instead.
pub fn survey_model(bytes: &[u8], external: &dyn ExternalData) -> Result<Survey> {
    let imported = import_file(bytes, external)?;
    if imported.is_broken() {
        return Err(imported.problems);
    }
    Ok(Survey { nodes: imported.nodes, graph: imported.graph })
}

pub(crate) fn import_file(bytes: &[u8], external: &dyn ExternalData) -> Result<Imported> {
    let model = decode::decode_model(bytes)?;
    let layout = validate::check_graph(&model.graph)?;
    let initializers = constants::load_initializers(&model, &layout, external)?;
    let mut best = None;
    for batching in network_input::candidates(&model) {
        let input = network_input::read_input(&model, batching)?;
        let warning = warn_whole(&input);
        let mut imported = Walk::new(&model, &layout, external, &initializers, input).run();
        if let Some(graph) = &mut imported.graph {
            graph.warnings.extend(warning);
            return Ok(imported);
        }
        // What mixes the samples of an open batch would only hide it with a batch of 1.
        if network_input::fixed_batch(&model).is_none() && !imported.is_broken() {
            if imported.is_about_samples()
                && let Some(whole) = import_whole(&model, &layout, external, &initializers)?
            {
                return Ok(whole);
            }
            return Ok(imported);
        }
        // Shapes that fit one batch only look broken with every other, and time is no batch.
        let burden = |it: &Imported| (it.takes_batch_for_time(), it.is_broken(), it.problems.len());
        if best.as_ref().is_none_or(|best| burden(&imported) < burden(best)) {
            best = Some(imported);
        }
    }
    best.ok_or_else(|| Diagnostic::internal("model", "has no batch to try").into())
}

/// Reads a file whose batch is open and does not stay axis 0 for a batch of 1, where samples stay apart all the same.
fn import_whole(
    model: &Model<'_>,
    layout: &Layout,
    external: &dyn ExternalData,
    initializers: &BTreeMap<String, Value>,
) -> Result<Option<Imported>> {
    let many = network_input::read_input(model, network_input::many(model))?;
    if !apart::are_samples_apart(model, layout, external, initializers, &many) {
        return Ok(None);
    }
    let one = network_input::read_input(model, Batching::Whole)?;
    let imported = Walk::new(model, layout, external, initializers, one).run();
    Ok(imported.graph.is_some().then_some(imported))
}

/// Says that a longer axis 0 is no batch, for whoever exported a batch by mistake.
fn warn_whole(input: &NetworkInput) -> Option<Diagnostic> {
    let NetworkInput { name, shape, batching, .. } = input;
    let whole = *batching == Batching::Whole && batching.sample_of(shape) == shape.as_slice();
    (whole && shape.len() > 1).then(|| {
        let message = format!("has no batch axis: a sample is a whole tensor of shape {shape:?}");
        Diagnostic::unsupported(format!("input `{name}`"), message)
            .hint("if axis 0 is meant as a batch, export the network with a batch of 1")
    })
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
            tiny_lenet().node("Acos", "add", "e", &[]).output("e").node("Relu", "e", "r", &[]);
        let survey = survey_model(&model.bytes(), &NoExternalData).unwrap();
        assert!(survey.graph.is_none());
        assert_eq!(survey.nodes.len(), model.graph.node.len());
        let fate = |name: &str| &survey.nodes.iter().find(|node| node.name == name).unwrap().fate;
        assert!(matches!(fate("conv"), Fate::Kept(_)));
        assert_eq!(*fate("shape"), Fate::Constant);
        assert_eq!(*fate("dropout"), Fate::Folded { into: "fc1".into() });
        assert!(matches!(fate("e"), Fate::Unsupported { reason, .. } if reason.contains("`Acos`")));
        assert!(matches!(fate("r"), Fate::Folded { into } if into.contains("nothing")));
    }

    #[test]
    fn all_unsupported_nodes_are_reported_and_their_heirs_are_not() {
        let model = TestModel::new(13, &[0, 4])
            .node("Mod", "x x", "a", &[int("fmod", 1)])
            .node("Relu", "a", "b", &[])
            .node("Mod", "b b", "c", &[int("fmod", 1)])
            .node("NonZero", "c", "d", &[])
            .node("Relu", "d", "y", &[])
            .output("y");
        let problems = model.import().unwrap_err();
        let at: Vec<_> = problems.iter().map(|problem| problem.at.as_str()).collect();
        assert_eq!(at, ["node `a` (Mod)", "node `c` (Mod)", "node `d` (NonZero)"]);
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
        model("ReduceMean", &[]).refuse(Kind::Unsupported, "axis 0, the batch");
        model("Flatten", &[int("axis", 0)]).refuse(Kind::Unsupported, "axis 0 is not the batch");
        model("Flatten", &[int("axis", 2)]).refuse(Kind::Unsupported, "axis 0 is not the batch");
    }

    #[test]
    fn tensors_of_one_sequence_are_whole() {
        // Attention over a sequence, whose batch of 1 wanders from axis 0 to 1 and back.
        let model = TestModel::new(13, &[1, 5, 4])
            .weight("w", &[4, 4])
            .node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])])
            .node("MatMul", "t w", "q", &[])
            .node("Softmax", "q", "p", &[int("axis", 0)])
            .node("Transpose", "p", "y", &[ints("perm", &[1, 0, 2])])
            .output("y");
        let graph = model.agree();
        assert_eq!(graph.node(graph.outputs[0]).shape, [5, 4]);
        let time_first = TestModel::new(13, &[5, 1, 4]);
        let time_first = time_first.node("ReduceMax", "x", "y", &[ints("axes", &[0])]).output("y");
        assert_eq!(time_first.agree().to_string().lines().count(), 4);
    }

    #[test]
    fn a_convolution_takes_its_batch_off_a_whole_tensor() {
        let model = TestModel::new(13, &[1, 2, 5, 5])
            .weight("w", &[3, 2, 2, 2])
            .node("Conv", "x w", "c", &[])
            .node("Transpose", "c", "t", &[ints("perm", &[1, 0, 2, 3])])
            .node("ReduceMean", "t", "y", &[ints("axes", &[3]), int("keepdims", 0)])
            .output("y");
        model.agree();
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
        let mut model = TestModel::new(13, &[0, 4])
            .node("Relu", "x", "y", &[])
            .node("Unheard", "x", "unused", &[])
            .weight("text", &[1])
            .output("y");
        // Text cannot be read, but nobody reads it.
        model.graph.initializer[0].data_type = 8;
        assert_eq!(model.agree().len(), 2);
        model.node("Add", "y text", "z", &[]).output("z").refuse(Kind::Unsupported, "type string");
    }

    #[test]
    fn a_constant_that_meets_many_tensors_becomes_one_node() {
        let model = TestModel::new(13, &[0, 4])
            .weight("c", &[4])
            .node("Mul", "x c", "a", &[])
            .node("Add", "a c", "b", &[])
            .node("Sub", "c b", "y", &[])
            .output("y");
        assert_eq!(model.agree().len(), 5);
    }

    #[test]
    fn wrong_attribute_types_and_sizes_are_broken_files() {
        let conv = |attribute| {
            TestModel::new(13, &[0, 2, 4, 4])
                .weight("w", &[3, 2, 3, 3])
                .node("Conv", "x w", "y", &[attribute])
                .output("y")
        };
        conv(string("strides", "2")).refuse(Kind::BadInput, "must have a list of integers");
        conv(ints("strides", &[0, 1])).refuse(Kind::BadInput, "at least 1");
        conv(ints("pads", &[-1, 0, 0, 0])).refuse(Kind::BadInput, "at least 0");
        conv(int("group", 0)).refuse(Kind::BadInput, "has `group` 0");
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
