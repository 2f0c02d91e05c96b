//! Unrolled nodes against the definition of their operators, evaluated in double precision straight from the
//! formulas of the standard's operator page, and against the float reference.

use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Axis, IxDyn, s};
use nvcim_ir::diag::Kind;
use nvcim_ir::graph::Graph;
use nvcim_ops::run_graph::run_graph;

use crate::testing::{TestModel, float, floats, int, string, strings};

/// Rounding of f32 over a few steps, relative to the largest output.
const CLOSE: f64 = 1e-5;

/// A node to test. Sequences have five steps of three features, cells four units.
#[derive(Debug, Clone)]
struct Case {
    op: &'static str,
    direction: &'static str,
    /// Batch, before or behind time; `None` for an open one in front.
    batch: Option<usize>,
    biases: bool,
    states: bool,
    peepholes: bool,
    linear_before_reset: bool,
    input_forget: bool,
    clip: Option<f64>,
    /// Names with the parameters that they have, for all directions.
    functions: Vec<(&'static str, Vec<f64>)>,
}

const STEPS: usize = 5;
const FEATURES: usize = 3;
const UNITS: usize = 4;

fn case(op: &'static str) -> Case {
    Case {
        op,
        direction: "forward",
        batch: Some(2),
        biases: true,
        states: false,
        peepholes: false,
        linear_before_reset: false,
        input_forget: false,
        clip: None,
        functions: Vec::new(),
    }
}

impl Case {
    fn n_gates(&self) -> usize {
        match self.op {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        }
    }

    fn n_directions(&self) -> usize {
        if self.direction == "bidirectional" { 2 } else { 1 }
    }

    fn model(&self) -> TestModel {
        let [gates, n] = [self.n_gates() * UNITS, self.n_directions()].map(|it| it as i64);
        let (steps, features, units) = (STEPS as i64, FEATURES as i64, UNITS as i64);
        let (input, state) = match self.batch {
            Some(batch) => ([steps, batch as i64, features], [n, batch as i64, units]),
            None => ([0, steps, features], [1, n, units]),
        };
        let mut attributes = vec![int("hidden_size", units), string("direction", self.direction)];
        let flags = [
            ("layout", self.batch.is_none()),
            ("linear_before_reset", self.linear_before_reset),
            ("input_forget", self.input_forget),
        ];
        attributes.extend(flags.iter().filter(|it| it.1).map(|it| int(it.0, 1)));
        attributes.extend(self.clip.map(|clip| float("clip", clip as f32)));
        if !self.functions.is_empty() {
            let names: Vec<_> = self.functions.iter().map(|it| it.0).collect();
            let parameter = |at: usize| -> Vec<f32> {
                let all = self.functions.iter();
                all.filter_map(|it| it.1.get(at)).map(|it| *it as f32).collect()
            };
            attributes.push(strings("activations", &names));
            attributes.push(floats("activation_alpha", &parameter(0)));
            attributes.push(floats("activation_beta", &parameter(1)));
        }
        let mut model = TestModel::new(14, &input)
            .weight("w", &[n, gates, features])
            .weight("r", &[n, gates, units]);
        let mut inputs = "x w r".to_owned();
        let optional = [
            ("b", self.biases, vec![n, 2 * gates]),
            ("lens", false, vec![]),
            ("h", self.states, state.to_vec()),
            ("c", self.states && self.op == "LSTM", state.to_vec()),
            ("p", self.peepholes, vec![n, 3 * units]),
        ];
        for (name, there, dims) in optional {
            if there {
                model = model.weight(name, &dims);
            }
            inputs += if there { " " } else { " -" };
            inputs += if there { name } else { "" };
        }
        let inputs = inputs.trim_end_matches([' ', '-']);
        match self.op {
            "LSTM" => {
                let model = model.node(self.op, inputs, "y yh yc", &attributes);
                model.output("y").output("yh").output("yc")
            }
            _ => model.node(self.op, inputs, "y yh", &attributes).output("y").output("yh"),
        }
    }

    /// Compares the imported graph with the definition and with the reference.
    #[track_caller]
    fn check(&self) -> Graph {
        let model = self.model();
        let graph = model.agree();
        let samples = 2;
        let shape: Vec<usize> = [&[samples], graph.node(graph.input()).shape.as_slice()].concat();
        let count: usize = shape.iter().product();
        let x = (0..count).map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let x = ArrayD::from_shape_vec(IxDyn(&shape), x).unwrap();
        let got = run_graph(&graph, &x, &mut |_, _| {});
        for (sample, x) in x.outer_iter().enumerate() {
            let x = x.mapv(f64::from);
            let x = match self.batch {
                Some(_) => x,
                // One sample is a batch of one, which stands behind time in the definition.
                None => x.insert_axis(Axis(1)),
            };
            let x = x.into_dimensionality().unwrap();
            let want = Definition { case: self, model: &model }.run(&x);
            for (want, got) in want.iter().zip(&got) {
                let got = got.index_axis(Axis(0), sample);
                let want = match self.batch {
                    Some(_) => want.clone(),
                    None => want.index_axis(Axis(want.ndim() - 2), 0).to_owned(),
                };
                // A sample is handed out without an axis of 1 in front.
                let shape = match want.shape() {
                    [1, rest @ ..] => rest,
                    shape => shape,
                };
                assert!(got.shape() == want.shape() || got.shape() == shape, "{self:?}");
                let scale = want.iter().fold(1e-3f64, |most, it| most.max(it.abs()));
                let errors = want.iter().zip(got.iter()).map(|(a, b)| (a - f64::from(*b)).abs());
                let worst = errors.fold(0.0, f64::max);
                assert!(worst <= CLOSE * scale, "off by {worst} of {scale}: {self:?}");
            }
        }
        graph
    }
}

/// The operators as the standard defines them.
struct Definition<'a> {
    case: &'a Case,
    model: &'a TestModel,
}

impl Definition<'_> {
    /// An initialiser as rows; zeros where it is left out.
    fn read(&self, name: &str, dims: [usize; 3]) -> Array3<f64> {
        let tensor = self.model.graph.initializer.iter().find(|it| it.name == name);
        let values = tensor.map(|it| it.float_data.iter().map(|it| f64::from(*it)).collect());
        let count = dims.iter().product();
        Array3::from_shape_vec(dims, values.unwrap_or(vec![0.0; count])).unwrap()
    }

    fn function(&self, at: usize, x: f64) -> f64 {
        let x = self.case.clip.map_or(x, |clip| x.clamp(-clip, clip));
        let default = match self.case.op {
            "LSTM" if at.is_multiple_of(3) => "Sigmoid",
            "GRU" if at.is_multiple_of(2) => "Sigmoid",
            _ => "Tanh",
        };
        let (name, p) = match self.case.functions.get(at) {
            Some((name, parameters)) => (*name, &parameters[..]),
            None => (default, &[][..]),
        };
        match name {
            "Affine" => p[0] * x + p[1],
            "Elu" => {
                if x < 0.0 {
                    p[0] * (libm::exp(x) - 1.0)
                } else {
                    x
                }
            }
            "HardSigmoid" => (p[0] * x + p[1]).clamp(0.0, 1.0),
            "LeakyRelu" => {
                if x < 0.0 {
                    p[0] * x
                } else {
                    x
                }
            }
            "Relu" => x.max(0.0),
            "ScaledTanh" => p[0] * libm::tanh(p[1] * x),
            "Sigmoid" => 1.0 / (1.0 + libm::exp(-x)),
            "Softplus" => libm::log(1.0 + libm::exp(x)),
            "Softsign" => x / (1.0 + x.abs()),
            "Tanh" => libm::tanh(x),
            "ThresholdedRelu" => {
                if x > p[0] {
                    x
                } else {
                    0.0
                }
            }
            other => panic!("{other}"),
        }
    }

    /// `y`, `[steps, directions, batch, units]`, and the last states, `[directions, batch, units]`.
    fn run(&self, x: &Array3<f64>) -> Vec<ArrayD<f64>> {
        let (n, batch) = (self.case.n_directions(), x.len_of(Axis(1)));
        let mut y = Array4::zeros((STEPS, n, batch, UNITS));
        let (mut last, mut cells) =
            (Array3::zeros((n, batch, UNITS)), Array3::zeros((n, batch, UNITS)));
        let state = match self.case.batch {
            Some(_) => |it: Array3<f64>| it,
            None => |it: Array3<f64>| it.permuted_axes([1, 0, 2]),
        };
        let dims = match self.case.batch {
            Some(_) => [n, batch, UNITS],
            None => [batch, n, UNITS],
        };
        let (start_h, start_c) = (state(self.read("h", dims)), state(self.read("c", dims)));
        for direction in 0..n {
            let backwards = self.case.direction == "reverse" || direction == 1;
            for sample in 0..batch {
                let mut h = start_h.slice(s![direction, sample, ..]).to_owned();
                let mut c = start_c.slice(s![direction, sample, ..]).to_owned();
                for at in 0..STEPS {
                    let time = if backwards { STEPS - 1 - at } else { at };
                    let x = x.slice(s![time, sample, ..]).to_owned();
                    (h, c) = self.step(direction, &x, &h, &c);
                    y.slice_mut(s![time, direction, sample, ..]).assign(&h);
                }
                last.slice_mut(s![direction, sample, ..]).assign(&h);
                cells.slice_mut(s![direction, sample, ..]).assign(&c);
            }
        }
        let mut outputs = vec![y.into_dyn(), last.into_dyn()];
        if self.case.op == "LSTM" {
            outputs.push(cells.into_dyn());
        }
        outputs
    }

    fn step(
        &self,
        direction: usize,
        x: &Array1<f64>,
        h: &Array1<f64>,
        c: &Array1<f64>,
    ) -> (Array1<f64>, Array1<f64>) {
        let (n, rows) = (self.case.n_directions(), self.case.n_gates() * UNITS);
        let of = |all: Array3<f64>| all.index_axis_move(Axis(0), direction);
        let w: Array2<f64> = of(self.read("w", [n, rows, FEATURES]));
        let r: Array2<f64> = of(self.read("r", [n, rows, UNITS]));
        let b: Array2<f64> = of(self.read("b", [n, 2, rows]));
        let p: Array2<f64> = of(self.read("p", [n, 3, UNITS]));
        // Gate by gate: W x + b_w, and R h + b_r.
        let gate = |at: usize| s![at * UNITS..(at + 1) * UNITS];
        let part =
            |m: &Array2<f64>, at: usize| m.slice(s![at * UNITS..(at + 1) * UNITS, ..]).to_owned();
        let wx = |at: usize| part(&w, at).dot(x) + b.row(0).slice(gate(at));
        let rh = |at: usize, h: &Array1<f64>| part(&r, at).dot(h) + b.row(1).slice(gate(at));
        let per_direction = match self.case.op {
            "LSTM" => 3,
            "GRU" => 2,
            _ => 1,
        };
        let function = |at: usize, z: Array1<f64>| {
            z.mapv(|z| self.function(per_direction * direction + at, z))
        };
        match self.case.op {
            "LSTM" => {
                let i = function(0, wx(0) + rh(0, h) + &p.row(0) * c);
                let f = match self.case.input_forget {
                    true => i.mapv(|i| 1.0 - i),
                    false => function(0, wx(2) + rh(2, h) + &p.row(2) * c),
                };
                let candidate = function(1, wx(3) + rh(3, h));
                let new = f * c + &i * candidate;
                let o = function(0, wx(1) + rh(1, h) + &p.row(1) * &new);
                (o * function(2, new.clone()), new)
            }
            "GRU" => {
                let z = function(0, wx(0) + rh(0, h));
                let r = function(0, wx(1) + rh(1, h));
                let candidate = match self.case.linear_before_reset {
                    true => wx(2) + &r * rh(2, h),
                    false => wx(2) + rh(2, &(&r * h)),
                };
                let candidate = function(1, candidate);
                let new = z.mapv(|z| 1.0 - z) * candidate + &z * h;
                (new.clone(), new)
            }
            _ => {
                let new = function(0, wx(0) + rh(0, h));
                (new.clone(), new)
            }
        }
    }
}

#[test]
fn every_cell_runs_either_way_and_both_with_the_batch_on_either_side() {
    for op in ["LSTM", "GRU", "RNN"] {
        for direction in ["forward", "reverse", "bidirectional"] {
            for batch in [Some(2), None] {
                Case { direction, batch, ..case(op) }.check();
            }
        }
    }
}

#[test]
fn states_may_begin_elsewhere_and_biases_be_left_out() {
    for op in ["LSTM", "GRU", "RNN"] {
        for batch in [Some(2), None] {
            for (biases, states) in [(true, true), (false, true), (false, false)] {
                Case { direction: "bidirectional", batch, biases, states, ..case(op) }.check();
            }
        }
    }
}

#[test]
fn a_gru_resets_states_or_products() {
    for (biases, states) in [(true, true), (true, false), (false, true), (false, false)] {
        let gru = Case { linear_before_reset: true, biases, states, ..case("GRU") };
        Case { direction: "bidirectional", ..gru }.check();
    }
}

#[test]
fn an_lstm_looks_through_peepholes_and_couples_its_gates() {
    for input_forget in [false, true] {
        for states in [false, true] {
            Case { peepholes: true, input_forget, states, ..case("LSTM") }.check();
        }
    }
    Case { peepholes: true, direction: "bidirectional", ..case("LSTM") }.check();
}

#[test]
fn inputs_of_functions_are_clipped() {
    for op in ["LSTM", "GRU", "RNN"] {
        Case { clip: Some(0.25), states: true, ..case(op) }.check();
    }
}

#[test]
fn functions_are_named_and_take_their_parameters_in_turn() {
    let lstm = [
        vec![("HardSigmoid", vec![0.3, 0.4]), ("Softsign", vec![]), ("ScaledTanh", vec![1.2, 0.7])],
        vec![("Sigmoid", vec![]), ("Relu", vec![]), ("LeakyRelu", vec![0.2])],
    ];
    Case { functions: lstm.concat(), direction: "bidirectional", ..case("LSTM") }.check();
    for functions in [
        vec![("HardSigmoid", vec![0.2, 0.5]), ("Elu", vec![0.6])],
        vec![("Sigmoid", vec![]), ("ThresholdedRelu", vec![0.15])],
        vec![("Sigmoid", vec![]), ("Affine", vec![0.5, 0.1])],
        vec![("Sigmoid", vec![]), ("Softplus", vec![])],
    ] {
        Case { functions, ..case("GRU") }.check();
    }
}

#[test]
fn one_matrix_stands_for_all_inputs_and_one_for_all_states() {
    let graph = case("LSTM").check();
    let text = graph.to_string();
    let products = text.lines().filter(|line| line.contains("= dense")).collect::<Vec<_>>();
    // The first state is 0, so four products of states follow one of all inputs.
    assert_eq!(products.len(), STEPS, "{text}");
    assert!(products[0].contains("[5, 2, 16]") && products[0].contains("forward/input"));
    assert!(
        products[1..].iter().all(|it| it.contains("[1, 2, 16]") && it.contains("forward/state"))
    );
}

#[test]
fn outputs_may_be_left_out() {
    let model = TestModel::new(14, &[5, 1, 3]).weight("w", &[1, 16, 3]).weight("r", &[1, 16, 4]);
    let last = model.clone().node("LSTM", "x w r", "- yh", &[int("hidden_size", 4)]);
    last.node("Relu", "yh", "z", &[]).output("z").agree();
    let memory = model.node("LSTM", "x w r", "- - yc", &[int("hidden_size", 4)]);
    memory.output("yc").agree();
}

#[test]
fn a_sequence_inside_a_network_agrees() {
    // As exporters write a layer that reads the batch first, for a batch of one.
    let model = TestModel::new(14, &[1, 5, 3])
        .weight("w", &[1, 12, 3])
        .weight("r", &[1, 12, 4])
        .weight("b", &[1, 24])
        .weight("fc", &[4, 2])
        .ints("axes", &[1])
        .node("Transpose", "x", "t", &[crate::testing::ints("perm", &[1, 0, 2])])
        .node("GRU", "t w r b", "y", &[int("hidden_size", 4), int("linear_before_reset", 1)])
        .node("Squeeze", "y axes", "s", &[])
        .node("Transpose", "s", "u", &[crate::testing::ints("perm", &[1, 0, 2])])
        .node("MatMul", "u fc", "z", &[])
        .output("z");
    model.agree();
}

#[test]
fn lengths_of_all_steps_are_taken_and_others_refused() {
    let model = |lens: &[i64]| {
        TestModel::new(14, &[5, 2, 3])
            .weight("w", &[1, 4, 3])
            .weight("r", &[1, 4, 4])
            .ints("lens", lens)
            .node("RNN", "x w r - lens", "y", &[int("hidden_size", 4)])
            .output("y")
    };
    model(&[5, 5]).agree();
    model(&[5, 3]).refuse(Kind::Unsupported, "after [5, 3] of 5 steps");
}

#[test]
fn what_cannot_run_says_so() {
    let model =
        |dims: &[i64]| TestModel::new(14, dims).weight("w", &[1, 4, 3]).weight("r", &[1, 4, 4]);
    let rnn = |model: TestModel, attributes: &[_]| {
        model.node("RNN", "x w r", "y", attributes).output("y")
    };
    rnn(model(&[0, 2, 3]), &[]).refuse(Kind::Unsupported, "reads axis 0 as time");
    rnn(model(&[5000, 1, 3]), &[]).refuse(Kind::Unsupported, "5000 steps");
    rnn(model(&[5, 2, 3]), &[string("direction", "up")]).refuse(Kind::BadInput, "`up`");
    rnn(model(&[5, 2, 3]), &[int("hidden_size", 3)]).refuse(Kind::BadInput, "hidden_size");
    rnn(model(&[5, 2, 3]), &[float("clip", -1.0)]).refuse(Kind::BadInput, "must be positive");
    rnn(model(&[5, 2, 4]), &[]).refuse(Kind::BadInput, "must be [1, 4, 4]");
    let two = [strings("activations", &["Tanh", "Tanh"])];
    rnn(model(&[5, 2, 3]), &two).refuse(Kind::BadInput, "must name 1");
    rnn(model(&[5, 2, 3]), &[strings("activations", &["Cube"])]).refuse(Kind::BadInput, "`Cube`");
    let computed = model(&[5, 2, 3]).node("Relu", "x", "z", &[]);
    let computed = computed.node("RNN", "x w z", "y", &[]).output("y");
    computed.refuse(Kind::Unsupported, "must be constant");
}
