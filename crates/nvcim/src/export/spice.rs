//! One ngspice netlist per array, `a0.sp`, whose operating point is one pass of a product.
//!
//! Convention: cell `(m, n)` joins word-line node `w<m>_<n>` to bit-line node `b<m>_<n>`. Word line `m`
//! is driven at its left end by the source `vw<m>` through driver and one wire segment; segments follow
//! between neighbouring cells, and its right end is open. Bit line `n` has a segment between neighbouring
//! cells and one behind the last cell, then the sense stage, which holds it at 0 V: the current of the
//! source `vs<n>` is the column's. The top of a bit line is open. A chip without wire resistance has one
//! node per line. Cells of conductance 0 are left out. Word lines that no tile uses are held at 0 V.
//!
//! Word lines in use are driven with 1 V, a full-scale drive: a column then carries the sum of its
//! conductances, in amperes. The second word line of a pair on rows is driven with -1 V. Change the
//! `.param` lines, `d<m>` in volts, for another input.

use std::fmt::Write;

use ndarray::ArrayView2;
use nvcim_chip::describe::{PairAxis, Topology};
use nvcim_chip::effects::Effect;
use nvcim_chip::network::Wires;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::ArrayId;
use nvcim_sim::die::SimDie;

use crate::export::{Deployed, OnDie, Sink};

/// The wires of passive arrays; `None` where lines do not resist. Those of a gated array are left out: its
/// cells are no resistors, and the netlist stands for the product alone.
fn wires_of(deployed: &Deployed<'_>) -> Option<Wires> {
    let chip = deployed.chip();
    let acts = |(on, _): &(OnDie<'_>, SimDie)| on.conditions.effects.has(Effect::IrDrop);
    let passive = chip.arrays.topology == Topology::Passive;
    let left_out = deployed.die.as_ref().is_some_and(|die| !acts(die));
    let ir_drop = chip.effects.ir_drop.filter(|_| passive && !left_out)?;
    Some(ir_drop.wires)
}

pub(super) fn write(deployed: &mut Deployed<'_>, sink: &mut Sink<'_>) -> Result<()> {
    let wires = wires_of(deployed);
    for array in deployed.arrays() {
        let cells = deployed.array(array)?;
        let drives = drives_of(deployed, array, cells.nrows());
        let what = match &deployed.die {
            Some((on, _)) => format!("die {:?}", on.record.name),
            None => "targets".to_owned(),
        };
        let title = format!("{array} of chip {:?}, {what}", deployed.chip().name);
        let text = write_netlist(&title, cells.view(), &drives, wires);
        sink(&format!("{array}.sp"), text.into_bytes())?;
    }
    Ok(())
}

/// The volts of every word line: 1 where a tile's inputs are driven, -1 at the second line of pairs on
/// rows, 0 elsewhere.
fn drives_of(deployed: &Deployed<'_>, array: ArrayId, n_rows: usize) -> Vec<f64> {
    let mut drives = vec![0.0; n_rows];
    let of_minus = match deployed.chip().arrays.pairs {
        PairAxis::Rows => -1.0,
        PairAxis::Columns | PairAxis::Arrays => 1.0,
    };
    for tile in &deployed.image.net.tiles {
        let [plus, minus] = tile.wiring.sides(tile.array);
        for ((on, rows, _), volts) in [(minus, of_minus), (plus, 1.0)] {
            for &row in rows.iter().filter(|_| on == array) {
                drives[row as usize] = volts;
            }
        }
    }
    drives
}

/// Adds a line; writing to memory cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        writeln!($text, $($format)*).expect("a String takes any text")
    };
}

fn write_netlist(
    title: &str,
    cells: ArrayView2<'_, f64>,
    drives: &[f64],
    wires: Option<Wires>,
) -> String {
    let mut text = format!("* {title}\n");
    line!(text, "* operating point with `ngspice -b`; vs<n> carries the current of bit line n");
    for (row, volts) in drives.iter().enumerate() {
        line!(text, ".param d{row}={volts:?}");
    }
    for row in 0..drives.len() {
        line!(text, "vw{row} in{row} 0 dc {{d{row}}}");
    }
    match wires {
        Some(wires) => write_wired(&mut text, cells, wires),
        None => write_lumped(&mut text, cells),
    }
    line!(text, ".control\nset numdgt=12\nop");
    for col in 0..cells.ncols() {
        line!(text, "print i(vs{col})");
    }
    line!(text, ".endc\n.end");
    text
}

/// Lines without resistance: one node each, the driver's and the sense stage's.
fn write_lumped(text: &mut String, cells: ArrayView2<'_, f64>) {
    for ((row, col), g) in cells.indexed_iter().filter(|(_, g)| **g > 0.0) {
        line!(text, "rc{row}_{col} in{row} b{col} {:e}", ohms(*g));
    }
    for col in 0..cells.ncols() {
        line!(text, "vs{col} b{col} 0 dc 0");
    }
}

fn write_wired(text: &mut String, cells: ArrayView2<'_, f64>, wires: Wires) {
    let (n_rows, n_cols) = cells.dim();
    let Wires { word_line_ohm, bit_line_ohm, driver_ohm, sense_ohm } = wires;
    for row in 0..n_rows {
        let node = |col: usize| format!("w{row}_{col}");
        let driver = format!("in{row}");
        add_segment(text, &node(0), (&driver, &node(0)), driver_ohm + word_line_ohm);
        for col in 1..n_cols {
            add_segment(text, &node(col), (&node(col - 1), &node(col)), word_line_ohm);
        }
    }
    for ((row, col), g) in cells.indexed_iter().filter(|(_, g)| **g > 0.0) {
        line!(text, "rc{row}_{col} w{row}_{col} b{row}_{col} {:e}", ohms(*g));
    }
    for col in 0..n_cols {
        for row in 1..n_rows {
            let node = |row: usize| format!("b{row}_{col}");
            add_segment(text, &node(row), (&node(row - 1), &node(row)), bit_line_ohm);
        }
        let (last, end) = (format!("b{}_{col}", n_rows - 1), format!("b{n_rows}_{col}"));
        add_segment(text, &end, (&last, &format!("s{col}")), bit_line_ohm + sense_ohm);
        line!(text, "vs{col} s{col} 0 dc 0");
    }
}

/// A wire segment; one of no resistance is a source of 0 V, since simulators refuse resistors of 0 ohms.
fn add_segment(text: &mut String, name: &str, (from, to): (&str, &str), ohms: f64) {
    if ohms > 0.0 {
        line!(text, "r{name} {from} {to} {ohms:e}");
    } else {
        line!(text, "vz{name} {from} {to} dc 0");
    }
}

fn ohms(siemens: f64) -> f64 {
    1.0 / siemens
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{Array2, array};

    use super::{Wires, write_netlist};

    const WIRES: Wires =
        Wires { word_line_ohm: 2.0, bit_line_ohm: 3.0, driver_ohm: 50.0, sense_ohm: 20.0 };

    /// A circuit of resistors and sources, read back from a netlist.
    #[derive(Default)]
    struct Circuit {
        nodes: BTreeMap<String, usize>,
        resistors: Vec<(usize, usize, f64)>,
        sources: Vec<(String, usize, usize, f64)>,
    }

    impl Circuit {
        fn read(netlist: &str) -> Self {
            let mut circuit = Self::default();
            circuit.nodes.insert("0".into(), 0);
            let mut params = BTreeMap::new();
            for line in netlist.lines().take_while(|line| !line.starts_with(".control")) {
                let words: Vec<_> = line.split_whitespace().collect();
                match words[..] {
                    [".param", definition] => {
                        let (name, value) = definition.split_once('=').unwrap();
                        params.insert(format!("{{{name}}}"), value.parse::<f64>().unwrap());
                    }
                    [name, from, to, ohms] if name.starts_with('r') => {
                        let (from, to) = (circuit.node(from), circuit.node(to));
                        circuit.resistors.push((from, to, ohms.parse().unwrap()));
                    }
                    [name, from, to, "dc", volts] if name.starts_with('v') => {
                        let (from, to) = (circuit.node(from), circuit.node(to));
                        let volts =
                            params.get(volts).copied().unwrap_or_else(|| volts.parse().unwrap());
                        circuit.sources.push((name.into(), from, to, volts));
                    }
                    _ => assert!(line.starts_with('*'), "{line}"),
                }
            }
            circuit
        }

        fn node(&mut self, name: &str) -> usize {
            let next = self.nodes.len();
            *self.nodes.entry(name.into()).or_insert(next)
        }

        /// The current into each source's first end, by modified nodal analysis.
        fn currents(&self) -> BTreeMap<String, f64> {
            let (n, m) = (self.nodes.len(), self.sources.len());
            let mut a = Array2::<f64>::zeros((n + m, n + m));
            let mut b = vec![0.0; n + m];
            for &(from, to, ohms) in &self.resistors {
                let g = 1.0 / ohms;
                a[(from, from)] += g;
                a[(to, to)] += g;
                a[(from, to)] -= g;
                a[(to, from)] -= g;
            }
            for (index, (_, from, to, volts)) in self.sources.iter().enumerate() {
                for (node, sign) in [(*from, 1.0), (*to, -1.0)] {
                    a[(node, n + index)] += sign;
                    a[(n + index, node)] += sign;
                }
                b[n + index] = *volts;
            }
            // Ground is node 0: its equation says so instead of balancing currents.
            a.row_mut(0).fill(0.0);
            a[(0, 0)] = 1.0;
            let x = solve(a, b);
            self.sources.iter().zip(&x[n..]).map(|((name, ..), &i)| (name.clone(), i)).collect()
        }
    }

    /// Gaussian elimination with row pivots.
    fn solve(mut a: Array2<f64>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for col in 0..n {
            let pivot =
                (col..n).max_by(|&i, &j| a[(i, col)].abs().total_cmp(&a[(j, col)].abs())).unwrap();
            assert!(a[(pivot, col)].abs() > 1e-15, "a node hangs in the air");
            for k in 0..n {
                a.swap((col, k), (pivot, k));
            }
            b.swap(col, pivot);
            for row in col + 1..n {
                let factor = a[(row, col)] / a[(col, col)];
                for k in col..n {
                    a[(row, k)] -= factor * a[(col, k)];
                }
                b[row] -= factor * b[col];
            }
        }
        for row in (0..n).rev() {
            let known: f64 = (row + 1..n).map(|k| a[(row, k)] * b[k]).sum();
            b[row] = (b[row] - known) / a[(row, row)];
        }
        b
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-12), "{a} is not {b}");
    }

    #[test]
    fn without_wires_a_column_carries_its_sum() {
        let cells = array![[1e-4, 0.0], [5e-5, 2e-5], [1e-5, 1e-5]];
        let circuit = Circuit::read(&write_netlist("test", cells.view(), &[1.0, -1.0, 0.0], None));
        let currents = circuit.currents();
        close(currents["vs0"], 1e-4 - 5e-5);
        close(currents["vs1"], -2e-5);
    }

    #[test]
    fn one_cell_sees_every_resistance_of_its_way() {
        let cells = array![[1e-3]];
        let circuit = Circuit::read(&write_netlist("test", cells.view(), &[1.0], Some(WIRES)));
        let ohms = 50.0 + 2.0 + 1.0 / 1e-3 + 3.0 + 20.0;
        close(circuit.currents()["vs0"], 1.0 / ohms);
    }

    /// A ladder solved by hand: two cells on one word line, each bit line with its own way to ground.
    #[test]
    fn segments_lie_between_neighbours() {
        let cells = array![[1e-3, 1e-3]];
        let circuit = Circuit::read(&write_netlist("test", cells.view(), &[1.0], Some(WIRES)));
        let leg = 1.0 / 1e-3 + 3.0 + 20.0;
        let far = 2.0 + leg;
        let total = 1.0 / (52.0 + leg * far / (leg + far));
        let currents = circuit.currents();
        close(currents["vs0"], total * far / (leg + far));
        close(currents["vs1"], total * leg / (leg + far));
    }

    #[test]
    fn a_wire_of_no_resistance_is_no_resistor() {
        let wires =
            Wires { word_line_ohm: 0.0, bit_line_ohm: 0.0, driver_ohm: 0.0, sense_ohm: 0.0 };
        let cells = array![[1e-3, 0.0], [2e-3, 1e-3]];
        let netlist = write_netlist("test", cells.view(), &[1.0, 1.0], Some(wires));
        let currents = Circuit::read(&netlist).currents();
        close(currents["vs0"], 1e-3 + 2e-3);
        close(currents["vs1"], 1e-3);
    }
}
