//! Recurrent nodes in operators without a memory, step by step, as the standard's operator page defines them.
//!
//! Nothing here is shared with the import's way of unrolling but the reading of attributes: every product is
//! computed at every step, states that start at 0 are zeros, and weights are cut by operators of the file.

use std::collections::BTreeMap;

use crate::proto::{AttributeProto, AttributeType, FLOAT, GraphProto, NodeProto, TensorProto};
use crate::recurrent::{Cell, Function, Settings};
use crate::walk::Sequence;

/// `TensorProto.DataType` of 64-bit integers.
const INT64: i32 = 7;

/// The graph without recurrent nodes; `None` where it has none.
pub(super) fn spell_out_cells(
    graph: &GraphProto,
    sequences: &BTreeMap<String, Sequence>,
    opset: i64,
) -> Option<GraphProto> {
    let mut spelled = GraphProto { node: Vec::new(), ..graph.clone() };
    let mut found = false;
    for node in &graph.node {
        let made = node.output.iter().find(|output| !output.is_empty());
        let sequence = made.and_then(|made| sequences.get(made));
        let cell = Cell::of(&node.op_type);
        let settings = cell.and_then(|cell| Settings::read(cell, node).ok());
        let (Some(sequence), Some(settings), Some(made)) = (sequence, settings, made) else {
            spelled.node.push(node.clone());
            continue;
        };
        found = true;
        let mut speller = Speller {
            node,
            settings: &settings,
            sequence: *sequence,
            opset,
            prefix: made,
            spelled: &mut spelled,
            count: 0,
        };
        speller.spell();
    }
    found.then_some(spelled)
}

struct Speller<'a> {
    node: &'a NodeProto,
    settings: &'a Settings,
    sequence: Sequence,
    opset: i64,
    /// What all names begin with.
    prefix: &'a str,
    spelled: &'a mut GraphProto,
    count: usize,
}

/// One direction, as names of tensors of `[batch, units]`.
struct Read {
    /// The states in the order of time.
    states: Vec<String>,
    hidden: String,
    memory: String,
}

/// Weights of one direction, by name.
struct Weights {
    /// `[features, gates units]`.
    input: String,
    /// `[units, gates units]`.
    state: String,
    /// `[gates units]` each: of inputs, of states.
    biases: Option<[String; 2]>,
    /// `[units]` each, for gates `i o f`.
    peepholes: Option<[String; 3]>,
}

impl Speller<'_> {
    fn spell(&mut self) {
        let n_directions = self.settings.directions.len();
        let read: Vec<Read> = (0..n_directions).map(|number| self.direction(number)).collect();
        let units = self.sequence.hidden as i64;
        let outputs = self.node.output.clone();
        for (slot, output) in outputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if slot == 0 {
                // Time, directions, batch and units; or batch, time, directions and units.
                let (shape, over_directions, over_time) = match self.settings.batch_first {
                    false => ([1, 1, -1, units], 1, 0),
                    true => ([-1, 1, 1, units], 2, 1),
                };
                let step = |this: &mut Self, step: usize| {
                    let states = read.iter().map(|it| this.shaped(&it.states[step], &shape));
                    let states: Vec<_> = states.collect();
                    this.concat(&states, over_directions, None)
                };
                let steps: Vec<_> = (0..self.sequence.n_steps).map(|at| step(self, at)).collect();
                self.concat(&steps, over_time, Some(output));
                continue;
            }
            let (shape, axis) = match self.settings.batch_first {
                false => ([1, -1, units], 0),
                true => ([-1, 1, units], 1),
            };
            let last = |it: &Read| if slot == 1 { it.hidden.clone() } else { it.memory.clone() };
            let last: Vec<_> =
                read.iter().map(last).map(|name| self.shaped(&name, &shape)).collect();
            self.concat(&last, axis, Some(output));
        }
    }

    fn direction(&mut self, number: usize) -> Read {
        let weights = self.weights(number);
        let time = i64::from(self.settings.batch_first);
        let x = self.operand(0);
        let mut state: Option<[String; 2]> = None;
        let mut states = vec![String::new(); self.sequence.n_steps];
        for step in self.settings.directions[number].order(self.sequence.n_steps) {
            let x = self.take(&x, step, time);
            let product = self.op("MatMul", &[&x, &weights.input]);
            let [hidden, memory] = match state.take() {
                Some(state) => state,
                None => [5, 6].map(|slot| self.start(slot, number, &product)),
            };
            let made = match self.settings.cell {
                Cell::Lstm => self.lstm(number, &weights, &product, &hidden, &memory),
                Cell::Gru => self.gru(number, &weights, &product, &hidden),
                Cell::Rnn => self.rnn(number, &weights, &product, &hidden),
            };
            states[step] = made[0].clone();
            state = Some(made);
        }
        let [hidden, memory] = state.unwrap_or_default();
        Read { states, hidden, memory }
    }

    fn weights(&mut self, number: usize) -> Weights {
        let rows = self.settings.cell.n_gates() * self.sequence.hidden;
        let turned = |this: &mut Self, slot: usize| {
            let weight = this.operand(slot);
            let weight = this.take(&weight, number, 0);
            let perm =
                AttributeProto { ints: vec![1, 0], ..attribute("perm", AttributeType::Ints) };
            this.op_with("Transpose", &[&weight], None, vec![perm])
        };
        let (input, state) = (turned(self, 1), turned(self, 2));
        let biases = self.has(3).then(|| {
            let both = self.operand(3);
            let both = self.take(&both, number, 0);
            [0, rows].map(|start| self.part(&both, start, rows, 0))
        });
        let peepholes = (self.settings.cell == Cell::Lstm && self.has(7)).then(|| {
            let all = self.operand(7);
            let all = self.take(&all, number, 0);
            let hidden = self.sequence.hidden;
            [0, 1, 2].map(|gate| self.part(&all, gate * hidden, hidden, 0))
        });
        Weights { input, state, biases, peepholes }
    }

    /// What a direction starts with; zeros as many as a gate has where the file has nothing.
    fn start(&mut self, slot: usize, number: usize, products: &str) -> String {
        if self.has(slot) {
            let all = self.operand(slot);
            return self.take(&all, number, i64::from(self.settings.batch_first));
        }
        let some = self.gate(products, 0);
        let zero = self.number(0.0);
        self.op("Mul", &[&some, &zero])
    }

    fn lstm(&mut self, number: usize, weights: &Weights, x: &str, h: &str, c: &str) -> [String; 2] {
        let functions = &self.settings.functions[number];
        let (f, g, k) = (functions[0], functions[1], functions[2]);
        let product = self.op("MatMul", &[h, &weights.state]);
        let mut z = self.op("Add", &[x, &product]);
        for bias in weights.biases.iter().flatten() {
            z = self.op("Add", &[&z, bias]);
        }
        let [i, o, q, n] = [0, 1, 2, 3].map(|gate| self.gate(&z, gate));
        let peep = |this: &mut Self, gate: String, number: usize, c: &str| match &weights.peepholes
        {
            Some(weights) => {
                let seen = this.op("Mul", &[&weights[number], c]);
                this.op("Add", &[&gate, &seen])
            }
            None => gate,
        };
        let i = peep(self, i, 0, c);
        let i = self.activate(f, &i);
        let q = if self.settings.input_forget {
            self.complement(&i)
        } else {
            let q = peep(self, q, 2, c);
            self.activate(f, &q)
        };
        let n = self.activate(g, &n);
        let (old, new) = (self.op("Mul", &[&q, c]), self.op("Mul", &[&i, &n]));
        let c = self.op("Add", &[&old, &new]);
        let o = peep(self, o, 1, &c);
        let o = self.activate(f, &o);
        let shown = self.activate(k, &c);
        [self.op("Mul", &[&o, &shown]), c]
    }

    fn gru(&mut self, number: usize, weights: &Weights, x: &str, h: &str) -> [String; 2] {
        let functions = &self.settings.functions[number];
        let (f, g) = (functions[0], functions[1]);
        let mut x = x.to_owned();
        let mut product = self.op("MatMul", &[h, &weights.state]);
        if let Some([of_input, of_state]) = &weights.biases {
            x = self.op("Add", &[&x, of_input]);
            product = self.op("Add", &[&product, of_state]);
        }
        let [u, r] = [0, 1].map(|gate| {
            let (a, b) = (self.gate(&x, gate), self.gate(&product, gate));
            let sum = self.op("Add", &[&a, &b]);
            self.activate(f, &sum)
        });
        let of_state = if self.settings.linear_before_reset {
            let product = self.gate(&product, 2);
            self.op("Mul", &[&r, &product])
        } else {
            let reset = self.op("Mul", &[&r, h]);
            let matrix = self.gate(&weights.state, 2);
            let product = self.op("MatMul", &[&reset, &matrix]);
            match &weights.biases {
                Some([_, bias]) => {
                    let hidden = self.sequence.hidden;
                    let bias = self.part(bias, 2 * hidden, hidden, 0);
                    self.op("Add", &[&product, &bias])
                }
                None => product,
            }
        };
        let of_input = self.gate(&x, 2);
        let n = self.op("Add", &[&of_input, &of_state]);
        let n = self.activate(g, &n);
        let rest = self.complement(&u);
        let (new, old) = (self.op("Mul", &[&rest, &n]), self.op("Mul", &[&u, h]));
        let made = self.op("Add", &[&new, &old]);
        [made.clone(), made]
    }

    fn rnn(&mut self, number: usize, weights: &Weights, x: &str, h: &str) -> [String; 2] {
        let product = self.op("MatMul", &[h, &weights.state]);
        let mut z = self.op("Add", &[x, &product]);
        for bias in weights.biases.iter().flatten() {
            z = self.op("Add", &[&z, bias]);
        }
        let made = self.activate(self.settings.functions[number][0], &z);
        [made.clone(), made]
    }

    fn activate(&mut self, function: Function, x: &str) -> String {
        let mut x = x.to_owned();
        if let Some(clip) = self.settings.clip {
            x = self.clip(&x, -clip, clip);
        }
        let alpha = |alpha| vec![float("alpha", alpha)];
        match function {
            Function::Affine { alpha, beta } => self.affine(&x, alpha, beta),
            Function::Elu { alpha: it } => self.op_with("Elu", &[&x], None, alpha(it)),
            Function::HardSigmoid { alpha, beta } => {
                let moved = self.affine(&x, alpha, beta);
                self.clip(&moved, 0.0, 1.0)
            }
            Function::LeakyRelu { alpha: it } => self.op_with("LeakyRelu", &[&x], None, alpha(it)),
            Function::Relu => self.op("Relu", &[&x]),
            Function::ScaledTanh { alpha, beta } => {
                let scaled = self.affine(&x, beta, 0.0);
                let tanh = self.op("Tanh", &[&scaled]);
                self.affine(&tanh, alpha, 0.0)
            }
            Function::Sigmoid => self.op("Sigmoid", &[&x]),
            Function::Softplus => self.op("Softplus", &[&x]),
            Function::Softsign => {
                let size = self.op("Abs", &[&x]);
                let divisor = self.affine(&size, 1.0, 1.0);
                self.op("Div", &[&x, &divisor])
            }
            Function::Tanh => self.op("Tanh", &[&x]),
            Function::ThresholdedRelu { alpha } => {
                // `x` times 1 above the threshold, 0 elsewhere.
                let below = self.affine(&x, 1.0, -alpha);
                let sign = self.op("Sign", &[&below]);
                let above = self.op("Relu", &[&sign]);
                self.op("Mul", &[&x, &above])
            }
        }
    }

    fn affine(&mut self, x: &str, scale: f32, shift: f32) -> String {
        let (scale, shift) = (self.number(scale), self.number(shift));
        let scaled = self.op("Mul", &[x, &scale]);
        self.op("Add", &[&scaled, &shift])
    }

    fn complement(&mut self, x: &str) -> String {
        let one = self.number(1.0);
        self.op("Sub", &[&one, x])
    }

    fn clip(&mut self, x: &str, lo: f32, hi: f32) -> String {
        if self.opset < 11 {
            return self.op_with("Clip", &[x], None, vec![float("min", lo), float("max", hi)]);
        }
        let (lo, hi) = (self.number(lo), self.number(hi));
        self.op("Clip", &[x, &lo, &hi])
    }

    /// A gate's columns of `[.., gates units]`.
    fn gate(&mut self, x: &str, gate: usize) -> String {
        let hidden = self.sequence.hidden;
        self.part(x, gate * hidden, hidden, 1)
    }

    /// `len` elements along an axis, from `start`.
    fn part(&mut self, x: &str, start: usize, len: usize, axis: i64) -> String {
        let numbers: Vec<i64> = (start..start + len).map(|it| it as i64).collect();
        let indices = self.integers(&numbers, vec![len as i64]);
        self.op_with("Gather", &[x, &indices], None, vec![int("axis", axis)])
    }

    /// One element along an axis, which goes.
    fn take(&mut self, x: &str, number: usize, axis: i64) -> String {
        let index = self.integers(&[number as i64], Vec::new());
        self.op_with("Gather", &[x, &index], None, vec![int("axis", axis)])
    }

    fn shaped(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.integers(shape, vec![shape.len() as i64]);
        self.op("Reshape", &[x, &shape])
    }

    fn concat(&mut self, parts: &[String], axis: i64, output: Option<&str>) -> String {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.op_with("Concat", &parts, output, vec![int("axis", axis)])
    }

    fn has(&self, slot: usize) -> bool {
        self.node.input.get(slot).is_some_and(|name| !name.is_empty())
    }

    fn operand(&self, slot: usize) -> String {
        self.node.input.get(slot).cloned().unwrap_or_default()
    }

    fn op(&mut self, op_type: &str, inputs: &[&str]) -> String {
        self.op_with(op_type, inputs, None, Vec::new())
    }

    fn op_with(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        output: Option<&str>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = output.map_or_else(|| self.fresh(), str::to_owned);
        self.spelled.node.push(NodeProto {
            op_type: op_type.into(),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            attribute,
            ..NodeProto::default()
        });
        output
    }

    fn number(&mut self, value: f32) -> String {
        self.constant(TensorProto {
            data_type: FLOAT,
            float_data: vec![value],
            ..TensorProto::default()
        })
    }

    fn integers(&mut self, values: &[i64], dims: Vec<i64>) -> String {
        let int64_data = values.to_vec();
        self.constant(TensorProto { dims, data_type: INT64, int64_data, ..TensorProto::default() })
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let name = self.fresh();
        self.spelled.initializer.push(TensorProto { name: name.clone(), ..tensor });
        name
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("{}/spelled/{}", self.prefix, self.count)
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..AttributeProto::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..attribute(name, AttributeType::Int) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: value, ..attribute(name, AttributeType::Float) }
}
