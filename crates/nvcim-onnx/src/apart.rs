//! Whether the samples of a batch stay apart in a file that does not keep the batch on axis 0.
//!
//! Exporters move it: recurrent layers and attention put time in front of the batch, or merge it with the axis of
//! heads for a while. Such a file is imported for a batch of 1, which is right for every batch if no sample ever meets
//! another. That is proved here: shapes are found with a batch of many, and samples are followed from tensor to
//! tensor. A node of which nothing is known ends the proof, and the file is refused as it was.

mod place;

use std::collections::BTreeMap;

use tract_onnx::prelude::Datum;

use crate::analyse::{Analyser, Fact};
use crate::constants;
use crate::decode::{self, Model};
use crate::network_input::NetworkInput;
use crate::ops;
use crate::proto::NodeProto;
use crate::recurrent::{Cell, Settings};
use crate::site::Value;
use crate::tensor_data::ExternalData;
use crate::validate::Layout;
use place::{Followed, Place};

/// A tensor, and where samples lie in it; a constant has none.
#[derive(Debug, Clone)]
struct Seen {
    fact: Fact,
    place: Option<Place>,
}

impl Seen {
    fn is_constant(&self) -> bool {
        matches!(self.fact, Fact::Constant(_))
    }

    fn shape(&self) -> &[usize] {
        match &self.fact {
            Fact::Constant(value) => value.shape(),
            Fact::Varying { shape, .. } => shape,
        }
    }
}

/// Whether every output holds the samples of the input on axis 0 and none depends on another; `input` has a batch of
/// many on its axis 0.
pub(crate) fn are_samples_apart(
    model: &Model<'_>,
    layout: &Layout,
    external: &dyn ExternalData,
    initializers: &BTreeMap<String, Value>,
    input: &NetworkInput,
) -> bool {
    let constants = initializers.iter().filter_map(|(name, value)| match value {
        Value::Constant(it) => {
            Some((name.clone(), Seen { fact: Fact::Constant(it.value.clone()), place: None }))
        }
        Value::Activation(_) | Value::Unknown(_) => None,
    });
    let mut values: BTreeMap<String, Seen> = constants.collect();
    let fact = Fact::Varying { shape: input.shape.clone(), datum: input.datum };
    values.insert(input.name.clone(), Seen { fact, place: Some(Place::FRONT) });
    let analyser = Analyser::new(model.opset, false);
    let samples = input.shape.first().copied().unwrap_or(1);
    let mut walk = Walk { model, external, analyser, samples, values };
    let live = layout.order.iter().filter(|&&at| layout.live[at]);
    let followed = live.map(|&at| &model.graph.node[at]).all(|node| walk.follow(node).is_some());
    let in_front = |name: &String| {
        walk.values.get(name).is_some_and(|it| {
            it.place == Some(Place::FRONT) && it.shape().first() == Some(&samples)
        })
    };
    followed && model.graph.output.iter().all(|output| in_front(&output.name))
}

struct Walk<'m> {
    model: &'m Model<'m>,
    external: &'m dyn ExternalData,
    analyser: Analyser,
    samples: usize,
    values: BTreeMap<String, Seen>,
}

impl Walk<'_> {
    /// Notes what a node makes; nothing where samples may meet in it, or nothing is known of it.
    fn follow(&mut self, node: &NodeProto) -> Option<()> {
        if !decode::is_standard(&node.domain) {
            return None;
        }
        let mut operands = Vec::new();
        for name in &node.input {
            operands.push(if name.is_empty() {
                None
            } else {
                Some(self.values.get(name)?.clone())
            });
        }
        let is_constant = operands.iter().flatten().all(Seen::is_constant);
        let made = match node.op_type.as_str() {
            "Constant" => {
                let value = constants::read_constant(node, self.external).ok()?.value;
                vec![Seen { fact: Fact::Constant(value), place: None }]
            }
            "Shape" => {
                let value =
                    constants::read_shape(node, operands.first()?.as_ref()?.shape()).ok()?;
                vec![Seen { fact: Fact::Constant(value.value), place: None }]
            }
            op_type if ops::is_recurrent(op_type) && !is_constant => recur(node, &operands)?,
            op_type => {
                let slots = if ops::has_several_outputs(op_type) { node.output.len() } else { 1 };
                let made = (0..slots).map(|slot| self.make(node, &operands, slot));
                made.collect::<Option<Vec<Seen>>>()?
            }
        };
        let named = node.output.iter().cloned().zip(made).filter(|(name, _)| !name.is_empty());
        self.values.extend(named);
        Some(())
    }

    /// What a node makes as its output in `slot`.
    fn make(&self, node: &NodeProto, operands: &[Option<Seen>], slot: usize) -> Option<Seen> {
        let facts: Vec<Option<Fact>> =
            operands.iter().map(|it| Some(it.as_ref()?.fact.clone())).collect();
        let fact = self.analyser.infer(node, &facts, slot, || None).ok()?;
        let place = match &fact {
            Fact::Constant(_) => None,
            Fact::Varying { shape, .. } => {
                let (opset, samples) = (self.model.opset, self.samples);
                let followed = Followed { node, opset, operands, output: shape, samples };
                Some(followed.place()?)
            }
        };
        Some(Seen { fact, place })
    }
}

/// The outputs of a recurrent node: the states of all steps, and the last ones.
fn recur(node: &NodeProto, operands: &[Option<Seen>]) -> Option<Vec<Seen>> {
    let x = operands.first()?.as_ref()?;
    let settings = Settings::read(Cell::of(&node.op_type)?, node).ok()?;
    let &[first, second, _] = x.shape() else { return None };
    let hidden = operands.get(2)?.as_ref()?.shape().get(2).copied()?;
    let (n_steps, batch, axis) =
        if settings.batch_first { (second, first, 0) } else { (first, second, 1) };
    if x.place != Some(Place::of_axis(axis)) {
        return None;
    }
    // States to start from must be the same for every sample.
    let start = operands.iter().skip(5).take(2).flatten();
    let mut same = start.map(|it| it.is_constant() && place::is_even(&it.fact, axis));
    if !same.all(|it| it) {
        return None;
    }
    let n_ways = settings.directions.len();
    let seen = |shape: Vec<usize>, axis| Seen {
        fact: Fact::Varying { shape, datum: f32::datum_type() },
        place: Some(Place::of_axis(axis)),
    };
    let (all, last) = if settings.batch_first {
        (seen(vec![batch, n_steps, n_ways, hidden], 0), seen(vec![batch, n_ways, hidden], 0))
    } else {
        (seen(vec![n_steps, n_ways, batch, hidden], 2), seen(vec![n_ways, batch, hidden], 1))
    };
    Some(vec![all, last.clone(), last])
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, int, ints};

    /// Attention as PyTorch exports it: parts are taken off an axis in front of the batch.
    #[test]
    fn a_batch_that_waits_behind_another_axis_comes_back() {
        let part = |model: TestModel, name: &str, at: i64| {
            let number = format!("{name}/at");
            let operands = format!("turned {number}");
            model.scalar(&number, at).node("Gather", &operands, name, &[int("axis", 0)])
        };
        let model = TestModel::new(17, &[0, 5, 8])
            .weight("w", &[8, 24])
            .ints("apart", &[0, 5, 3, 2, 4])
            .ints("joined", &[0, 5, 8])
            .node("MatMul", "x w", "flat", &[])
            .node("Reshape", "flat apart", "split", &[])
            .node("Transpose", "split", "turned", &[ints("perm", &[2, 0, 3, 1, 4])]);
        let model = part(part(part(model, "q", 0), "k", 1), "v", 2)
            .node("Transpose", "k", "kt", &[ints("perm", &[0, 1, 3, 2])])
            .node("MatMul", "q kt", "scores", &[])
            .node("Softmax", "scores", "p", &[int("axis", -1)])
            .node("MatMul", "p v", "mixed", &[])
            .node("Transpose", "mixed", "back", &[ints("perm", &[0, 2, 1, 3])])
            .node("Reshape", "back joined", "y", &[])
            .output("y");
        model.agree();
    }

    /// Attention over time first, whose batch and heads are one axis for a while.
    #[test]
    fn a_batch_may_be_part_of_an_axis() {
        let heads = |softmax: i64| {
            TestModel::new(17, &[0, 5, 8])
                .weight("w", &[8, 8])
                .ints("apart", &[5, -1, 4])
                .ints("joined", &[5, -1, 8])
                .node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])])
                .node("MatMul", "t w", "q", &[])
                .node("Reshape", "q apart", "split", &[])
                .node("Transpose", "split", "h", &[ints("perm", &[1, 0, 2])])
                .node("Transpose", "h", "ht", &[ints("perm", &[0, 2, 1])])
                .node("MatMul", "h ht", "scores", &[])
                .node("Softmax", "scores", "p", &[int("axis", softmax)])
                .node("MatMul", "p h", "mixed", &[])
                .node("Transpose", "mixed", "back", &[ints("perm", &[1, 0, 2])])
                .node("Reshape", "back joined", "z", &[])
                .node("Transpose", "z", "y", &[ints("perm", &[1, 0, 2])])
                .output("y")
        };
        heads(-1).agree();
        // Along heads samples meet.
        heads(0).refuse(Kind::Unsupported, "moves the batch");
    }

    #[test]
    fn time_may_stand_in_front_of_a_batch() {
        let model = |reset: &str| {
            TestModel::new(14, &[0, 4, 3])
                .weight("w", &[1, 8, 3])
                .weight("r", &[1, 8, 2])
                .ints("joined", &[4, -1, 2])
                .node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])])
                .node("LSTM", "t w r", "s", &[int("hidden_size", 2)])
                .node("Transpose", "s", "turned", &[ints("perm", &[0, 2, 1, 3])])
                .node("Reshape", "turned joined", "z", &[])
                .node(reset, "z", "u", &[ints("axes", &[0]), int("keepdims", 0)])
                .output("u")
        };
        model("ReduceMax").agree();
        let mut mixed = model("ReduceMax");
        mixed.graph.node.last_mut().unwrap().attribute = vec![ints("axes", &[1])];
        assert!(mixed.import().is_err());
    }

    #[test]
    fn a_token_of_every_sample_joins_the_others() {
        let model = |axis| {
            TestModel::new(13, &[0, 4, 3])
                .weight("token", &[1, 1, 3])
                .ints("zero", &[0])
                .ints("one", &[1])
                .ints("rest", &[1, 3])
                .node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])])
                .node("Shape", "x", "shape", &[])
                .node("Gather", "shape zero", "n", &[int("axis", 0)])
                .node("Concat", "n rest", "target", &[int("axis", 0)])
                .node("Expand", "token target", "tokens", &[])
                .node("Transpose", "tokens", "tt", &[ints("perm", &[1, 0, 2])])
                .node("Concat", "t tt", "c", &[int("axis", axis)])
                .node("Transpose", "c", "y", &[ints("perm", &[1, 0, 2])])
                .output("y")
        };
        model(0).agree();
        assert!(model(1).import().is_err());
    }

    #[test]
    fn samples_that_meet_are_found_out() {
        let turned = |op: &str, operands: &str, attributes: &[_]| {
            TestModel::new(13, &[0, 4, 3])
                .weight("c", &[4, 1, 3])
                .weight("m", &[2, 4])
                .ints("first", &[0])
                .node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])])
                .node(op, operands, "z", attributes)
                .node("Transpose", "z", "y", &[ints("perm", &[1, 0, 2])])
                .output("y")
        };
        turned("Softmax", "t", &[int("axis", 0)]).agree();
        turned("Softmax", "t", &[int("axis", 2)]).agree();
        turned("Add", "t c", &[]).agree();
        turned("Gather", "t first", &[int("axis", 0)]).agree();
        let refuse = |op: &str, operands: &str, attributes: &[_]| {
            turned(op, operands, attributes).refuse(Kind::Unsupported, "moves the batch");
        };
        refuse("Softmax", "t", &[int("axis", 1)]);
        refuse("Gather", "t first", &[int("axis", 1)]);
        refuse("Concat", "t t", &[int("axis", 1)]);
        refuse("ReduceMean", "t", &[ints("axes", &[1])]);
        refuse("CumSum", "t first", &[]);
    }
}
