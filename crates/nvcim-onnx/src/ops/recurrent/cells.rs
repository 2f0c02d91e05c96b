//! One step of each cell, for a state that may be 0.
//!
//! With `z` the products of the step's input, biases included, by gates; `h` and `c` the state and the memory of
//! the step before; `R` the matrix on states, `P` peepholes; products with peepholes and between gates are
//! element by element:
//!
//! ```text
//! LSTM  i = f(z_i + R_i h + P_i c)    q = f(z_f + R_f h + P_f c), or 1 - i    c' = q c + i g(z_c + R_c h)
//!       o = f(z_o + R_o h + P_o c')   h' = o k(c')                            with k the cell's third function
//! GRU   u = f(z_z + R_z h)   r = f(z_r + R_r h)   n = g(z_h + R_h (r h)), or g(z_h + r (R_h h + b_h))
//!       h' = (1 - u) n + u h
//! RNN   h' = f(z + R h)
//! ```

use nvcim_ir::ids::NodeId;
use nvcim_ir::op::Binary;

use super::{State, Unroll};

impl Unroll<'_, '_> {
    pub(super) fn step_lstm(&mut self, z: NodeId, before: State) -> State<NodeId> {
        let z = self.add_state(z, before.hidden);
        let [input, output, forget, candidate] = [0, 1, 2, 3].map(|gate| self.gate(z, gate));
        let (f, g, k) = (self.functions[0], self.functions[1], self.functions[2]);
        let input = self.peep(input, 0, before.memory);
        let input = self.activate(f, input);
        let candidate = self.activate(g, candidate);
        let new = self.combine(Binary::Mul, input, candidate);
        let memory = match before.memory {
            None => new,
            Some(memory) => {
                let forget = if self.settings.input_forget {
                    self.complement(input)
                } else {
                    let forget = self.peep(forget, 2, Some(memory));
                    self.activate(f, forget)
                };
                let old = self.combine(Binary::Mul, forget, memory);
                self.combine(Binary::Add, old, new)
            }
        };
        let output = self.peep(output, 1, Some(memory));
        let output = self.activate(f, output);
        let shown = self.activate(k, memory);
        let hidden = self.combine(Binary::Mul, output, shown);
        State { hidden, memory: Some(memory) }
    }

    pub(super) fn step_gru(&mut self, z: NodeId, before: State) -> State<NodeId> {
        let (f, g) = (self.functions[0], self.functions[1]);
        let [mut update, mut reset, mut candidate] = [0, 1, 2].map(|gate| self.gate(z, gate));
        let hidden = self.weights.hidden;
        let before = before.hidden;
        let resets_product = self.weights.state.len() == 1;
        // What the state adds to the candidate, where the reset gate acts on the product.
        let mut product = None;
        if let Some(before) = before {
            let rows = if resets_product { 3 } else { 2 } * hidden;
            let products = self.multiply((0, rows), before);
            let [of_update, of_reset] = [0, 1].map(|gate| self.gate(products, gate));
            update = self.combine(Binary::Add, update, of_update);
            reset = self.combine(Binary::Add, reset, of_reset);
            product = resets_product.then(|| self.gate(products, 2));
        } else if let Some(bias) = self.weights.reset_bias {
            product = Some(self.site.builder.constant_node(bias));
        }
        let update = self.activate(f, update);
        if let Some(product) = product {
            let reset = self.activate(f, reset);
            let kept = self.combine(Binary::Mul, reset, product);
            candidate = self.combine(Binary::Add, candidate, kept);
        } else if let (Some(before), false) = (before, resets_product) {
            let reset = self.activate(f, reset);
            let kept = self.combine(Binary::Mul, reset, before);
            let product = self.multiply((1, hidden), kept);
            candidate = self.combine(Binary::Add, candidate, product);
        }
        let candidate = self.activate(g, candidate);
        let rest = self.complement(update);
        let mut state = self.combine(Binary::Mul, rest, candidate);
        if let Some(before) = before {
            let old = self.combine(Binary::Mul, update, before);
            state = self.combine(Binary::Add, state, old);
        }
        State { hidden: state, memory: None }
    }

    pub(super) fn step_rnn(&mut self, z: NodeId, before: State) -> State<NodeId> {
        let z = self.add_state(z, before.hidden);
        let z = self.gate(z, 0);
        State { hidden: self.activate(self.functions[0], z), memory: None }
    }

    /// The products of inputs and of the state, where there is one, for all gates together.
    fn add_state(&mut self, z: NodeId, state: Option<NodeId>) -> NodeId {
        let Some(state) = state else { return z };
        let rows = self.settings.cell.n_gates() * self.weights.hidden;
        let product = self.multiply((0, rows), state);
        self.add_gates(z, product, rows)
    }

    /// A gate's input with what it sees of the memory, where it looks and there is any.
    fn peep(&mut self, gate: NodeId, number: usize, memory: Option<NodeId>) -> NodeId {
        let (Some(peepholes), Some(memory)) = (self.weights.peepholes, memory) else { return gate };
        let weight = self.site.builder.constant_node(peepholes[number]);
        let seen = self.combine(Binary::Mul, memory, weight);
        self.combine(Binary::Add, gate, seen)
    }
}
