//! Recurrent layers, and elements that are counted and compared.

use super::{Case, case};
use crate::proto::AttributeProto;
use crate::testing::{TestModel, float, int, string, strings};

/// Four units on three features.
fn open(input: &[i64], directions: i64) -> TestModel {
    let model = TestModel::new(14, input).weight("w", &[directions, 4, 3]);
    model.weight("r", &[directions, 4, 4])
}

fn rnn(input: &[i64], attributes: &[AttributeProto]) -> TestModel {
    open(input, 1).node("RNN", "x w r", "y", attributes).output("y")
}

pub(super) fn cases() -> Vec<Case> {
    let fits = [5, 2, 3];
    let both = string("direction", "bidirectional");
    vec![
        case("a sequence whose time is the batch", rnn(&[0, 2, 3], &[])),
        case("a sequence that is too long", rnn(&[5000, 1, 3], &[])),
        case("a sequence without a batch", rnn(&[5, 3], &[])),
        case("sequences of several lengths", {
            let model = open(&fits, 1).ints("lens", &[5, 3]);
            model.node("RNN", "x w r - lens", "y", &[]).output("y")
        }),
        case("a direction that is none", rnn(&fits, &[string("direction", "up")])),
        case("other units than weights have", rnn(&fits, &[int("hidden_size", 3)])),
        case("fewer units than none", rnn(&fits, &[int("hidden_size", -1)])),
        case("a clip below 0", rnn(&fits, &[float("clip", -1.0)])),
        case("weights for other features", rnn(&[5, 2, 4], &[])),
        case("functions for two directions", {
            rnn(&fits, &[strings("activations", &["Tanh", "Tanh"])])
        }),
        case("a function that is none", rnn(&fits, &[strings("activations", &["Cube"])])),
        case("weights that are computed", {
            let model = open(&fits, 1).node("Relu", "x", "z", &[]);
            model.node("RNN", "x w z", "y", &[]).output("y")
        }),
        case("an output that only an LSTM has", {
            open(&fits, 1).node("RNN", "x w r", "y yh yc", &[]).output("y")
        }),
        case("one first state for two directions", {
            let model = open(&fits, 2).weight("h", &[1, 2, 4]);
            model.node("RNN", "x w r - - h", "y", &[both]).output("y")
        }),
        case("a number that floats do not hold", {
            let model = TestModel::new(14, &[0, 4]).ints("c", &[(1 << 24) + 1]);
            let model = model.node("ArgMax", "x", "a", &[int("axis", 1)]);
            let model = model.node("Equal", "a c", "e", &[]);
            model.node("Cast", "e", "y", &[int("to", 1)]).output("y")
        }),
    ]
}
