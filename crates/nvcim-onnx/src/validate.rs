//! Whether a decoded graph hangs together, before any of its tensors is looked at.

use std::collections::{BTreeMap, BTreeSet};

use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};

use crate::attributes;
use crate::decode;
use crate::proto::{GraphProto, NodeProto};
use crate::refusal::{broken_file, name_node};

/// How a sound graph is to be walked.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The nodes, each after those that feed it; file order where that allows.
    pub(crate) order: Vec<usize>,
    /// What messages call each node, in file order; no two are the same.
    pub(crate) labels: Vec<String>,
    /// Whether an output of the network needs the node, in file order.
    pub(crate) live: Vec<bool>,
    /// How often each tensor is read, by nodes and as an output.
    pub(crate) reads: BTreeMap<String, usize>,
}

/// Checks a graph; the import relies on every rule.
///
/// 1. There is a node and an output.
/// 2. Every tensor is defined once: as an initialiser, an input or a node's output. (Old files list
///    initialisers among the inputs too.)
/// 3. Every tensor read is defined, and no tensor depends on itself.
/// 4. Strides, dilations, kernels and groups are positive, pads are not negative.
/// 5. No node has two attributes of one name or an attribute that only a function's body may have, and
///    attributes of standard operators have their types.
pub(crate) fn check_graph(graph: &GraphProto) -> Result<Layout> {
    let labels = label_nodes(graph);
    let mut problems = Vec::new();
    if graph.node.is_empty() {
        problems.push(broken_file("graph", "is empty: it has no node"));
    }
    if graph.output.is_empty() {
        problems.push(broken_file("graph", "has no output"));
    }
    let makers = check_definitions(graph, &labels, &mut problems);
    for (node, label) in graph.node.iter().zip(&labels) {
        if let Err(message) = check_attributes(node) {
            problems.push(broken_file(name_node(label, &node.op_type), message));
        }
    }
    fail_if_any(problems)?;
    let order = sort_nodes(graph, &makers, &labels)?;
    let live = find_live(graph, &makers);
    Ok(Layout { order, labels, live, reads: count_reads(graph) })
}

/// What defines a tensor: a node, or `None` for inputs and initialisers.
type Makers<'g> = BTreeMap<&'g str, Option<usize>>;

/// The file's name of each node where it is given and unique, else the name of its first output.
fn label_nodes(graph: &GraphProto) -> Vec<String> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &graph.node {
        *uses.entry(&node.name).or_default() += 1;
    }
    let label = |(at, node): (usize, &NodeProto)| match node.output.iter().find(|o| !o.is_empty()) {
        _ if !node.name.is_empty() && uses[node.name.as_str()] == 1 => node.name.clone(),
        Some(output) => output.clone(),
        None => format!("{} number {at}", node.op_type),
    };
    graph.node.iter().enumerate().map(label).collect()
}

fn check_definitions<'g>(
    graph: &'g GraphProto,
    labels: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Makers<'g> {
    let mut makers = Makers::new();
    let mut report = |name: &str, message: &str| {
        problems.push(broken_file(format!("tensor `{name}`"), message));
    };
    for tensor in &graph.initializer {
        match tensor.name.as_str() {
            "" => report("", "is an initialiser, must have a name"),
            name if makers.insert(name, None).is_some() => {
                report(name, "is the name of two initialisers, must be that of one");
            }
            _ => {}
        }
    }
    let mut inputs = BTreeSet::new();
    for input in &graph.input {
        makers.insert(&input.name, None);
        match input.name.as_str() {
            "" => report("", "is an input of the network, must have a name"),
            name if !inputs.insert(name) => {
                report(name, "is the name of two inputs, must be that of one");
            }
            _ => {}
        }
    }
    for (at, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            let label = &labels[at];
            match makers.insert(output, Some(at)) {
                None => {}
                Some(None) => {
                    report(
                        output,
                        &format!("is made by node `{label}`, but is an input or initialiser"),
                    );
                }
                Some(Some(other)) => {
                    let other = &labels[other];
                    report(output, &format!("is made by node `{other}` and by node `{label}`"));
                }
            }
        }
    }
    for (node, label) in graph.node.iter().zip(labels) {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            if !makers.contains_key(input.as_str()) {
                report(input, &format!("is read by node `{label}`, but nothing makes it"));
            }
        }
    }
    for output in &graph.output {
        if !makers.contains_key(output.name.as_str()) {
            report(&output.name, "is an output of the network, but nothing makes it");
        }
    }
    makers
}

fn check_attributes(node: &NodeProto) -> std::result::Result<(), String> {
    let mut names = BTreeSet::new();
    for attribute in &node.attribute {
        let name = &attribute.name;
        if !names.insert(name) {
            return Err(format!("has attribute `{name}` twice"));
        }
        if !attribute.ref_attr_name.is_empty() {
            return Err(format!("has attribute `{name}` without a value of its own"));
        }
        if decode::is_standard(&node.domain)
            && let Some(kind) = attributes::known_type(&node.op_type, name)
        {
            attributes::check_type(attribute, kind)?;
        }
        let least = match name.as_str() {
            "kernel_shape" | "strides" | "dilations" => 1,
            "pads" if node.op_type != "Pad" => 0,
            _ => continue,
        };
        if let Some(value) = attribute.ints.iter().find(|&&value| value < least) {
            return Err(format!("has {value} in `{name}`, must have at least {least}"));
        }
    }
    let group = node.attribute.iter().find(|attribute| attribute.name == "group");
    match group.filter(|group| group.i < 1) {
        Some(group) => Err(format!("has `group` {}, must be at least 1", group.i)),
        None => Ok(()),
    }
}

/// Kahn's algorithm; the smallest index that is ready comes first.
fn sort_nodes(graph: &GraphProto, makers: &Makers<'_>, labels: &[String]) -> Result<Vec<usize>> {
    let mut waits_for = vec![BTreeSet::new(); graph.node.len()];
    let mut feeds = vec![BTreeSet::new(); graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        for maker in node.input.iter().filter_map(|input| *makers.get(input.as_str())?) {
            waits_for[at].insert(maker);
            feeds[maker].insert(at);
        }
    }
    let mut ready: BTreeSet<usize> =
        (0..graph.node.len()).filter(|&at| waits_for[at].is_empty()).collect();
    let mut order = Vec::with_capacity(graph.node.len());
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for &user in &feeds[at] {
            waits_for[user].remove(&at);
            if waits_for[user].is_empty() {
                ready.insert(user);
            }
        }
    }
    match waits_for.iter().position(|makers| !makers.is_empty()) {
        None => Ok(order),
        Some(at) => {
            let at = name_node(&labels[at], &graph.node[at].op_type);
            Err(broken_file(at, "is part of a cycle, or fed by one").into())
        }
    }
}

fn find_live(graph: &GraphProto, makers: &Makers<'_>) -> Vec<bool> {
    let mut live = vec![false; graph.node.len()];
    let mut pending: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    while let Some(name) = pending.pop() {
        if let Some(Some(at)) = makers.get(name)
            && !std::mem::replace(&mut live[*at], true)
        {
            pending.extend(graph.node[*at].input.iter().map(String::as_str));
        }
    }
    live
}

fn count_reads(graph: &GraphProto) -> BTreeMap<String, usize> {
    let mut reads = BTreeMap::new();
    let inputs = graph.node.iter().flat_map(|node| &node.input);
    for name in inputs.chain(graph.output.iter().map(|output| &output.name)) {
        *reads.entry(name.clone()).or_default() += 1;
    }
    reads
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, tiny_lenet};

    fn relu() -> TestModel {
        TestModel::new(13, &[0, 4]).node("Relu", "x", "y", &[]).output("y")
    }

    #[test]
    fn each_rule_is_checked() {
        relu().agree();
        let empty = TestModel::new(13, &[0, 4]).output("x");
        empty.refuse(Kind::BadInput, "it has no node");
        TestModel::new(13, &[0, 4]).node("Relu", "x", "y", &[]).refuse(Kind::BadInput, "no output");
        relu()
            .node("Relu", "x", "y", &[])
            .refuse(Kind::BadInput, "`y`: is made by node `y` and by node");
        relu().weight("w", &[1]).weight("w", &[1]).refuse(Kind::BadInput, "two initialisers");
        relu().node("Relu", "nothing", "z", &[]).refuse(Kind::BadInput, "nothing makes it");
        relu().output("nothing").refuse(Kind::BadInput, "nothing makes it");
        relu()
            .node("Add", "x b", "a", &[])
            .node("Relu", "a", "b", &[])
            .refuse(Kind::BadInput, "cycle");
        relu().node("Relu", "self", "self", &[]).refuse(Kind::BadInput, "cycle");
    }

    #[test]
    fn nodes_may_come_in_any_order() {
        let mut model = tiny_lenet();
        model.graph.node.reverse();
        model.agree();
    }

    #[test]
    fn nodes_of_one_name_are_told_apart_by_their_outputs() {
        let mut model = relu().node("Tanh", "y", "z", &[]).output("z");
        for node in &mut model.graph.node {
            node.name = "same".into();
        }
        let graph = model.agree();
        let names: Vec<_> = graph.ids().map(|id| graph.node(id).name.clone()).collect();
        assert_eq!(names, ["x", "y", "z"]);
    }
}
