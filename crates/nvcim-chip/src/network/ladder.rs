//! Many wires side by side, each a ladder of nodes with loads, solved without subtraction.
//!
//! **Notation.** A bank of `n_lanes` lines with `n_nodes` nodes each; quantities are stored node by node,
//! [nodes, lanes], so that one loop runs over all lines at once. Node 0 is at the open end. A line's segment
//! `r[k]` leads from node `k` to the next, the last one to a source that holds `v_end`. Node `k` carries a
//! load `d[k]` to ground and an injected current `c[k]`. In matrix form a line solves
//! `(L + diag(d)) v = c + e / r[last] v_end` with `L` the wire's nodal matrix.
//!
//! **Steps.** What lies above node `k`, itself included, is a conductance `y[k]` with a current source
//! `j[k]`, and what passes a segment is scaled by `t[k]`:
//!
//! ```text
//! t[k] = 1 / (1 + r[k] y[k])    y[k+1] = d[k+1] + t[k] y[k]    j[k+1] = c[k+1] + t[k] j[k]
//! v[k] = t[k] (v[k+1] + r[k] j[k])
//! ```
//!
//! Resistances appear only as factors, so that 0 is as good as any other, and no diagonal of a nodal
//! matrix is formed that could drown the loads. This is Gaussian elimination of a tridiagonal matrix,
//! written with Norton equivalents; cost is `O(nodes)` per line.

/// Wires of equal segments with loads that have been eliminated.
#[derive(Debug, Clone)]
pub(super) struct LadderBank {
    n_nodes: usize,
    n_lanes: usize,
    segment_ohm: f64,
    end_ohm: f64,
    /// `t` [nodes, lanes].
    passed: Vec<f64>,
    /// `y` of each lane at the current node.
    admittance: Vec<f64>,
}

impl LadderBank {
    /// Lines whose last segment, to the source, has `end_ohm`; loads are 0 until given.
    pub(super) fn new(n_nodes: usize, n_lanes: usize, segment_ohm: f64, end_ohm: f64) -> Self {
        let passed = vec![1.0; n_nodes * n_lanes];
        Self { n_nodes, n_lanes, segment_ohm, end_ohm, passed, admittance: vec![0.0; n_lanes] }
    }

    /// Eliminates the loads `d` [nodes, lanes] in siemens, each at least 0.
    pub(super) fn set_loads(&mut self, loads: &[f64]) {
        self.admittance.fill(0.0);
        let lines = self.passed.chunks_exact_mut(self.n_lanes);
        for (node, (passed, loads)) in lines.zip(loads.chunks_exact(self.n_lanes)).enumerate() {
            let last = node + 1 == self.n_nodes;
            let ohm = if last { self.end_ohm } else { self.segment_ohm };
            for ((passed, load), admittance) in
                passed.iter_mut().zip(loads).zip(&mut self.admittance)
            {
                let sum = load + *admittance;
                *passed = (1.0 + ohm * sum).recip();
                *admittance = sum * *passed;
            }
        }
    }

    /// Turns injected currents `c` [nodes, lanes] in ampere into node voltages, every line's source at 0 V.
    pub(super) fn solve(&self, values: &mut [f64]) {
        self.collect(values);
        self.spread(values, |_| 0.0);
    }

    /// Turns injected currents into node voltages, lane `i` with its source at `ends[i]` volts.
    pub(super) fn solve_driven(&self, values: &mut [f64], ends: &[f64]) {
        self.collect(values);
        self.spread(values, |lane| ends[lane]);
    }

    /// From `c` to `j`, towards the source.
    fn collect(&self, values: &mut [f64]) {
        for node in 1..self.n_nodes {
            let (above, here) = values.split_at_mut(node * self.n_lanes);
            let above = &above[(node - 1) * self.n_lanes..];
            let passed = &self.passed[(node - 1) * self.n_lanes..];
            for ((here, above), passed) in here[..self.n_lanes].iter_mut().zip(above).zip(passed) {
                *here += passed * above;
            }
        }
    }

    /// From `j` to `v`, away from the source.
    fn spread(&self, values: &mut [f64], end: impl Fn(usize) -> f64) {
        let last = (self.n_nodes - 1) * self.n_lanes;
        let passed = &self.passed[last..];
        for (lane, (value, passed)) in values[last..].iter_mut().zip(passed).enumerate() {
            *value = passed * (end(lane) + self.end_ohm * *value);
        }
        for node in (0..self.n_nodes - 1).rev() {
            let (here, below) = values.split_at_mut((node + 1) * self.n_lanes);
            let here = &mut here[node * self.n_lanes..];
            let passed = &self.passed[node * self.n_lanes..];
            for ((here, below), passed) in here.iter_mut().zip(&below[..self.n_lanes]).zip(passed) {
                *here = passed * (below + self.segment_ohm * *here);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LadderBank;

    /// Two nodes by hand: 2 ohm between them, 3 ohm to a source of 1 V, loads of 1/4 and 1/6 S.
    #[test]
    fn a_short_ladder_agrees_with_series_and_parallel_resistors() {
        let mut bank = LadderBank::new(2, 1, 2.0, 3.0);
        bank.set_loads(&[0.25, 1.0 / 6.0]);
        let mut volts = [0.0, 0.0];
        bank.solve_driven(&mut volts, &[1.0]);
        // The far node hangs on 2 + 4 ohm, beside 6 ohm: 3 ohm together, so half of the source is left.
        assert!(
            (volts[1] - 0.5).abs() < 1e-15 && (volts[0] - 1.0 / 3.0).abs() < 1e-15,
            "{volts:?}"
        );
    }

    #[test]
    fn injected_currents_flow_to_the_end_through_every_resistor_on_the_way() {
        let bank = LadderBank::new(3, 2, 2.0, 5.0);
        // Lane 0 gets 1 A at the open end, lane 1 at the last node.
        let mut volts = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        bank.solve(&mut volts);
        assert_eq!(volts, [9.0, 5.0, 7.0, 5.0, 5.0, 5.0]);
    }

    #[test]
    fn wires_without_resistance_hold_the_source_everywhere() {
        let mut bank = LadderBank::new(3, 1, 0.0, 0.0);
        bank.set_loads(&[1.0, 2.0, 3.0]);
        let mut volts = [7.0, 8.0, 9.0];
        bank.solve_driven(&mut volts, &[0.25]);
        assert_eq!(volts, [0.25; 3]);
    }
}
