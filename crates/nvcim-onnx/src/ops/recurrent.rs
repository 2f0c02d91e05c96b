//! `LSTM`, `GRU` and `RNN`, unrolled over a sequence of known length.
//!
//! The products with the inputs of all steps are one matrix product over the sequence. The product with the
//! state is one node per step, all of the same weights, which mapping makes one layer. Gates are element-wise
//! and digital. What the standard calls time is an axis of every tensor here, of length 1 where a step is meant:
//! a state has the shape of the input with one element of time, and as many features as the cell has units.
//!
//! Formulas are those of the standard's operator page, <https://onnx.ai/onnx/operators/>; `cells.rs` has them.

mod cells;
#[cfg(test)]
mod tests;

use ndarray::{Axis, Slice};
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::{Binary, Op, SliceAxis, Unary};

use crate::data::Floats;
use crate::recurrent::{Cell, Direction, Function, Settings};
use crate::refusal::Refusal;
use crate::site::{self, Activation, Constant, Converted, Site, Value};

/// The longest sequence that is unrolled; each of its elements becomes some twenty steps of a program.
const MAX_STEPS: usize = 2048;

/// Converts a recurrent node: outputs are the states of all steps, the last state, and an LSTM's last cell.
pub(crate) fn convert_recurrent(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let cell = Cell::of(&site.node.op_type).ok_or_else(|| Refusal::broken("is not recurrent"))?;
    let settings = Settings::read(cell, site.node)?;
    let x = site.activation(0)?;
    let time = find_time(&site, &settings, &x)?;
    let n_steps = x.shape[time];
    let n_outputs = if cell == Cell::Lstm { 3 } else { 2 };
    if site.node.output.len() > n_outputs {
        return Err(Refusal::broken(format!("has {} outputs", site.node.output.len())));
    }
    check_lengths(&site, n_steps)?;
    let weights = Weights::read(&mut site, &settings, &x)?;
    let mut unrolled = Vec::new();
    for (number, &direction) in settings.directions.iter().enumerate() {
        let start = [5, 6].map(|slot| initial_state(&mut site, slot, time, number));
        let [hidden, memory] = start;
        let unroll = Unroll {
            site: &mut site,
            settings: &settings,
            functions: &settings.functions[number],
            weights: &weights[number],
            direction,
            time,
            shape: state_shape(&x.shape, time, weights[number].hidden),
            step: 0,
            matrices: Vec::new(),
        };
        unrolled.push(unroll.run(&x, State { hidden: hidden?, memory: memory? })?);
    }
    let matrices = unrolled.iter().flat_map(|it| it.matrices.iter().copied()).collect();
    let outputs = join_outputs(&mut site, &unrolled, time);
    let hidden = weights[0].hidden;
    Ok(Converted::Unrolled { outputs, matrices, n_steps, hidden })
}

/// The axis of time in a sample of the input.
fn find_time(site: &Site<'_>, settings: &Settings, x: &Activation) -> Result<usize, Refusal> {
    if x.shape.len() + site.lead != 3 {
        return Err(Refusal::broken(format!(
            "reads a tensor of {} axes, must have 3: time, batch and features",
            x.shape.len() + site.lead
        )));
    }
    match (settings.batch_first, site.lead) {
        (true, lead) => Ok(1 - lead),
        (false, 0) => Ok(0),
        (false, _) => Err(Refusal::unsupported(
            super::BATCH_AS_TIME,
            "export the network for a fixed batch of 1, or with `layout` 1, where the batch comes first",
        )),
    }
}

/// Refuses sequences that are too long, or of lengths of their own.
fn check_lengths(site: &Site<'_>, n_steps: usize) -> Result<(), Refusal> {
    if n_steps > MAX_STEPS {
        return Err(Refusal::unsupported(
            format!("runs over {n_steps} steps, of which at most {MAX_STEPS} are unrolled"),
            "export the network for a shorter sequence, and run a longer one in parts",
        ));
    }
    match site.ints(4)? {
        Some(lengths) if lengths.iter().any(|&len| usize::try_from(len) != Ok(n_steps)) => {
            Err(Refusal::unsupported(
                format!("stops sequences after {lengths:?} of {n_steps} steps"),
                "leave out `sequence_lens`, and export the network for the length that it runs on",
            ))
        }
        _ => Ok(()),
    }
}

/// The shape of a state: that of the input with one element of time and one feature for each unit.
fn state_shape(input: &[usize], time: usize, hidden: usize) -> Vec<usize> {
    let mut shape = input.to_vec();
    shape[time] = 1;
    shape[input.len() - 1] = hidden;
    shape
}

/// What a direction starts with; nothing where that is 0.
fn initial_state(
    site: &mut Site<'_>,
    slot: usize,
    time: usize,
    number: usize,
) -> Result<Option<NodeId>, Refusal> {
    let all = match site.operand(slot) {
        None => return Ok(None),
        Some(Value::Constant(constant)) => {
            let zero = constant.value.numbers().is_some_and(|it| it.iter().all(|&it| it == 0.0));
            if zero {
                return Ok(None);
            }
            site.tensor(slot, 3)?
        }
        Some(_) => site.activation(slot)?.id,
    };
    let shape = site.builder.graph.node(all).shape.clone();
    // Directions stand where the input has time.
    if shape.get(time).is_none_or(|&directions| number >= directions) {
        return Err(Refusal::broken(format!(
            "starts direction {number} from a state of shape {shape:?}"
        )));
    }
    Ok(Some(slice(site, all, time, number, 1)))
}

/// `len` elements of a tensor along an axis, from `start`.
fn slice(site: &mut Site<'_>, x: NodeId, axis: usize, start: usize, len: usize) -> NodeId {
    let mut shape = site.builder.graph.node(x).shape.clone();
    if shape[axis] == len {
        return x;
    }
    let mut axes: Vec<_> = shape.iter().map(|&len| SliceAxis { start: 0, step: 1, len }).collect();
    axes[axis] = SliceAxis { start, step: 1, len };
    shape[axis] = len;
    let of = site.builder.graph.node(x);
    let names = (format!("{}/slice", of.name), format!("{}/{axis}/{start}", of.tensor));
    site.builder.add_unique((&names.0, &names.1), Op::Slice { axes }, &[x], &shape)
}

/// The outputs that the node names: all states, `[time, directions, ...]` with directions behind time; the last
/// states, and the last cells, with directions in the place of time.
fn join_outputs(site: &mut Site<'_>, unrolled: &[Unrolled], time: usize) -> Vec<NodeId> {
    let mut outputs = Vec::new();
    for slot in 0..site.node.output.len() {
        let parts: Vec<NodeId> = match slot {
            0 => unrolled.iter().map(|it| join_states(site, &it.states, time)).collect(),
            1 => unrolled.iter().map(|it| it.last.hidden).collect(),
            _ => unrolled.iter().map(|it| it.last.memory.unwrap_or(it.last.hidden)).collect(),
        };
        let axis = if slot == 0 { time + 1 } else { time };
        let mut shape = site.builder.graph.node(parts[0]).shape.clone();
        shape[axis] = parts.len();
        outputs.push(site.keep_output(slot, Op::Concat { axis }, &parts, &shape));
    }
    outputs
}

/// The states of one direction in the order of time, with an axis of 1 behind time.
fn join_states(site: &mut Site<'_>, states: &[NodeId], time: usize) -> NodeId {
    let mut shape = site.builder.graph.node(states[0]).shape.clone();
    shape[time] = states.len();
    let joined = site.help(Op::Concat { axis: time }, states, &shape);
    shape.insert(time + 1, 1);
    site.help(Op::Reshape, &[joined], &shape)
}

/// The weights of one direction, as the graph holds them.
struct Weights {
    /// Units of the cell.
    hidden: usize,
    /// On inputs, `[gates units, features]`.
    input: ConstId,
    /// Added to products with inputs, `[gates units]`.
    input_bias: Option<ConstId>,
    /// On states: one matrix, or two where a GRU's last gate reads another state.
    state: Vec<ConstId>,
    /// Added to products with states, `[gates units]`, where a GRU resets them.
    state_bias: Option<ConstId>,
    /// The part of `state_bias` that the last gate gets, `[units]`.
    reset_bias: Option<ConstId>,
    /// On an LSTM's memory, `[units]` each, for gates `i o f`.
    peepholes: Option<[ConstId; 3]>,
}

impl Weights {
    /// Those of every direction.
    fn read(
        site: &mut Site<'_>,
        settings: &Settings,
        x: &Activation,
    ) -> Result<Vec<Self>, Refusal> {
        let Settings { cell, directions, .. } = settings;
        let (inputs, states) = (site.constant(1)?.clone(), site.constant(2)?.clone());
        let hidden = states.value.shape().last().copied().unwrap_or(0);
        let features = x.shape.last().copied().unwrap_or(0);
        let (n, rows) = (directions.len(), cell.n_gates() * hidden);
        let stated = settings.hidden.unwrap_or(hidden);
        if stated != hidden || hidden == 0 {
            return Err(Refusal::broken(format!(
                "has `hidden_size` {stated}, but weights of shape {:?} on its state",
                states.value.shape()
            )));
        }
        check_shape(&inputs, &[n, rows, features])?;
        check_shape(&states, &[n, rows, hidden])?;
        let biases = site.optional_constant(3)?.cloned();
        let peepholes = match cell {
            Cell::Lstm => site.optional_constant(7)?.cloned(),
            Cell::Gru | Cell::Rnn => None,
        };
        biases.iter().try_for_each(|it| check_shape(it, &[n, 2 * rows]))?;
        peepholes.iter().try_for_each(|it| check_shape(it, &[n, 3 * hidden]))?;
        let resets = settings.linear_before_reset && *cell == Cell::Gru;
        let mut weights = Vec::new();
        for (number, direction) in directions.iter().enumerate() {
            let mut part =
                |constant: &Constant, what: &str, rows: Slice| -> Result<ConstId, Refusal> {
                    let whole = site::to_floats(constant)?.index_axis_move(Axis(0), number);
                    let name = name_part(&constant.name, n, *direction, what);
                    Ok(site.builder.constant(&name, take(whole, rows)))
                };
            let all = Slice::from(..);
            let state = match cell {
                Cell::Gru if !resets => vec![
                    part(&states, "gates", Slice::from(..2 * hidden as isize))?,
                    part(&states, "state", Slice::from(2 * hidden as isize..))?,
                ],
                _ => vec![part(&states, "", all)?],
            };
            let peepholes = match &peepholes {
                Some(all) => {
                    let gate = |at: usize| Slice::from(at * hidden..(at + 1) * hidden);
                    Some([
                        part(all, "i", gate(0))?,
                        part(all, "o", gate(1))?,
                        part(all, "f", gate(2))?,
                    ])
                }
                None => None,
            };
            let input = part(&inputs, "", all)?;
            let mut it = Self {
                hidden,
                input,
                input_bias: None,
                state,
                state_bias: None,
                reset_bias: None,
                peepholes,
            };
            if let Some(biases) = &biases {
                let whole = site::to_floats(biases)?.index_axis_move(Axis(0), number);
                let mut name = |what: &str| name_part(&biases.name, n, *direction, what);
                it.add_biases(site, &whole, resets, &mut name);
            }
            weights.push(it);
        }
        Ok(weights)
    }

    /// Biases of inputs and states are added up, but for a gate that resets its product with the state.
    fn add_biases(
        &mut self,
        site: &mut Site<'_>,
        whole: &Floats,
        resets: bool,
        name: &mut dyn FnMut(&str) -> String,
    ) {
        let rows = whole.len() / 2;
        let mut input = take(whole.clone(), Slice::from(..rows));
        let mut state = take(whole.clone(), Slice::from(rows..));
        let apart = if resets { rows - self.hidden } else { rows };
        for at in 0..apart {
            input[at] += state[at];
            state[at] = 0.0;
        }
        self.input_bias = Some(site.builder.constant(&name("input"), input));
        if resets {
            let last = take(state.clone(), Slice::from(apart..));
            self.state_bias = Some(site.builder.constant(&name("state"), state));
            self.reset_bias = Some(site.builder.constant(&name("reset"), last));
        }
    }
}

/// The name of a part of a constant: its own where the part is all of it.
fn name_part(name: &str, n_directions: usize, direction: Direction, what: &str) -> String {
    let mut parts = vec![name];
    if n_directions > 1 {
        parts.push(direction.name());
    }
    if !what.is_empty() {
        parts.push(what);
    }
    parts.join("/")
}

/// Rows of a constant, of the same memory.
fn take(mut whole: Floats, rows: Slice) -> Floats {
    whole.slice_axis_inplace(Axis(0), rows);
    whole
}

fn check_shape(constant: &Constant, want: &[usize]) -> Result<(), Refusal> {
    if constant.value.shape() == want {
        return Ok(());
    }
    let (name, shape) = (&constant.name, constant.value.shape());
    Err(Refusal::broken(format!("has `{name}` of shape {shape:?}, must be {want:?}")))
}

/// What a step hands to the next; nothing is 0.
#[derive(Debug, Clone, Copy)]
struct State<N = Option<NodeId>> {
    /// The state, which is also the output of a step.
    hidden: N,
    /// An LSTM's cell.
    memory: Option<NodeId>,
}

/// What became of one direction.
struct Unrolled {
    /// The states, in the order of time.
    states: Vec<NodeId>,
    /// The last in the order of the direction.
    last: State<NodeId>,
    /// The first use of every matrix.
    matrices: Vec<NodeId>,
}

/// One direction of a node on its way into the graph.
struct Unroll<'s, 'a> {
    site: &'s mut Site<'a>,
    settings: &'s Settings,
    functions: &'s [Function],
    weights: &'s Weights,
    direction: Direction,
    time: usize,
    /// The shape of a state.
    shape: Vec<usize>,
    /// The element of time at work.
    step: usize,
    /// The first use of every matrix so far.
    matrices: Vec<NodeId>,
}

impl Unroll<'_, '_> {
    fn run(mut self, x: &Activation, start: State) -> Result<Unrolled, Refusal> {
        let n_steps = x.shape[self.time];
        let op = Op::Dense {
            weight: self.weights.input,
            bias: self.weights.input_bias,
            transposed: true,
        };
        let mut products = x.shape.clone();
        products[x.shape.len() - 1] = self.settings.cell.n_gates() * self.weights.hidden;
        let input = self.add("input", op, &[x.id], &products);
        self.matrices = vec![input];
        let mut states = vec![None; n_steps];
        let mut state = start;
        let mut last = None;
        for step in self.direction.order(n_steps) {
            self.step = step;
            let z = slice(self.site, input, self.time, step, 1);
            let made = match self.settings.cell {
                Cell::Lstm => self.step_lstm(z, state),
                Cell::Gru => self.step_gru(z, state),
                Cell::Rnn => self.step_rnn(z, state),
            };
            states[step] = Some(made.hidden);
            state = State { hidden: Some(made.hidden), memory: made.memory };
            last = Some(made);
        }
        let states = states.into_iter().flatten().collect();
        let last = last.ok_or_else(|| Refusal::broken("runs over a sequence of no elements"))?;
        Ok(Unrolled { states, last, matrices: self.matrices })
    }

    /// A node named after the direction and the step.
    fn add(&mut self, what: &str, op: Op, operands: &[NodeId], shape: &[usize]) -> NodeId {
        let (label, made) = (self.site.label, self.site.made());
        let (direction, step) = (self.direction.name(), self.step);
        let name = format!("{label}/{direction}/{what}");
        // With the step in it, no name is taken by another.
        let tensor = format!("{made}/{direction}/{step}/{what}");
        self.site.builder.add_unique((&name, &tensor), op, operands, shape)
    }

    /// The product of a state with one of the matrices on states.
    fn multiply(&mut self, (number, rows): (usize, usize), state: NodeId) -> NodeId {
        let weight = self.weights.state[number];
        let bias = self.weights.state_bias;
        let mut shape = self.shape.clone();
        shape[self.shape.len() - 1] = rows;
        let what = ["state", "reset state"][number];
        let product =
            self.add(what, Op::Dense { weight, bias, transposed: true }, &[state], &shape);
        if self.matrices.len() <= number + 1 {
            self.matrices.push(product);
        }
        product
    }

    fn combine(&mut self, function: Binary, a: NodeId, b: NodeId) -> NodeId {
        let shape = self.shape.clone();
        self.add(function.name(), Op::Binary(function), &[a, b], &shape)
    }

    /// The sum of two products over all gates, `rows` together.
    fn add_gates(&mut self, a: NodeId, b: NodeId, rows: usize) -> NodeId {
        let mut shape = self.shape.clone();
        shape[self.shape.len() - 1] = rows;
        self.add("add", Op::Binary(Binary::Add), &[a, b], &shape)
    }

    fn map(&mut self, function: Unary, x: NodeId) -> NodeId {
        let shape = self.shape.clone();
        self.add(function.name(), Op::Unary(function), &[x], &shape)
    }

    /// A gate's part of products.
    fn gate(&mut self, products: NodeId, gate: usize) -> NodeId {
        let (last, hidden) = (self.shape.len() - 1, self.weights.hidden);
        slice(self.site, products, last, gate * hidden, hidden)
    }

    /// `1 - x`.
    fn complement(&mut self, x: NodeId) -> NodeId {
        let one = self.site.number(1.0);
        self.combine(Binary::Sub, one, x)
    }

    /// A function of a gate, whose input is clipped first.
    fn activate(&mut self, function: Function, mut x: NodeId) -> NodeId {
        if let Some(clip) = self.settings.clip {
            x = self.map(Unary::Clip { lo: -clip, hi: clip }, x);
        }
        match function {
            Function::Affine { alpha, beta } => self.affine(x, alpha, beta),
            Function::Elu { alpha } => self.map(Unary::Elu { alpha, gamma: 1.0, width: 1.0 }, x),
            Function::HardSigmoid { alpha, beta } => {
                let moved = self.affine(x, alpha, beta);
                self.map(Unary::Clip { lo: 0.0, hi: 1.0 }, moved)
            }
            Function::LeakyRelu { alpha } => self.map(Unary::LeakyRelu { alpha }, x),
            Function::Relu => self.map(Unary::Relu, x),
            Function::ScaledTanh { alpha, beta } => {
                let scaled = self.affine(x, beta, 0.0);
                let tanh = self.map(Unary::Tanh, scaled);
                self.affine(tanh, alpha, 0.0)
            }
            Function::Sigmoid => self.map(Unary::Sigmoid, x),
            Function::Softplus => self.map(Unary::Softplus, x),
            Function::Softsign => {
                let size = self.map(Unary::Abs, x);
                let divisor = self.affine(size, 1.0, 1.0);
                self.combine(Binary::Div, x, divisor)
            }
            Function::Tanh => self.map(Unary::Tanh, x),
            Function::ThresholdedRelu { alpha } => {
                let threshold = self.site.number(alpha);
                let above = self.combine(Binary::Greater, x, threshold);
                self.combine(Binary::Mul, x, above)
            }
        }
    }

    /// `scale x + shift`.
    fn affine(&mut self, mut x: NodeId, scale: f32, shift: f32) -> NodeId {
        if scale != 1.0 {
            let scale = self.site.number(scale);
            x = self.combine(Binary::Mul, x, scale);
        }
        if shift != 0.0 {
            let shift = self.site.number(shift);
            x = self.combine(Binary::Add, x, shift);
        }
        x
    }
}
