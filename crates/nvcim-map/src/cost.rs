//! What one sample costs on a chip, layer by layer: operations counted, and their time and energy where the
//! chip file gives those of single steps.
//!
//! Notation, per layer: `P` *positions*, the input vectors that one sample makes (output pixels of a
//! convolution, rows of a dense layer's input) in all steps that use the layer; `Q` passes, 2 for signed inputs on drivers of one polarity,
//! else 1; `K` slices of bit-serial inputs, 1 for other drives; `C` slices that are converted one by one,
//! `K` or 1; per tile: `A` arrays, 2 where pairs sit on two; `R` parts in which its rows are driven;
//! `W` word lines; `N` conversions of one slice in one pass, all parts together.
//!
//! ```text
//! MVMs         P Q K
//! activations  P Q K sum over tiles of A R      an array that takes part in one drive
//! drives       P Q K sum over tiles of W        a word line driven once
//! conversions  P Q C sum over tiles of N
//! cells        sum over tiles of the cells that hold their weights
//! ```
//!
//! Time. Lines that share a converter wait for each other: a part takes as many *turns*, `n`, as the busiest
//! converter has conversions. Nothing overlaps inside an array: it drives, then converts. One vector keeps
//! a tile's arrays busy for `Q sum over parts of (K drive_s + C n conversion_s)`. A *cycle* is one drive
//! together with the first turn that follows it, if one does, or one further turn: the same vector takes
//! `Q sum over parts of (K - C + C n)` cycles. With a converter for each line, whole rows and no slices that
//! accumulate before conversion, cycles are MVMs, the unit in which replication is usually planned.
//! Tiles on one array take turns; arrays work side by side, so that a layer takes `P` times what its busiest
//! array takes for a vector. A sample's latency is the sum over layers, one after the other, and of the
//! digital steps: `element_s` for each element of their results, and for each product where a convolution is
//! digital. The interval between samples is what the
//! busiest array takes for all layers on it, or the digital side if that takes longer.
//!
//! Energy is the sum of counts times energies of single steps, as in the component tables of A. Shafiee et
//! al., ISCA 2016 (ISAAC), doi 10.1109/ISCA.2016.12, and of X. Peng et al., IEDM 2019 (DNN+NeuroSim), doi
//! 10.1109/IEDM19573.2019.8993491; the figures themselves are the chip file's.
//!
//! Programming: `pulses_per_cell` pulses a cell, `cells_at_once` cells at a time.

use nvcim_chip::circuits::AdcCircuit;
use nvcim_chip::describe::{Accumulate, BitSerial, Chip, Dac, InputDrive, NegativeInputs};
use nvcim_chip::unit_costs::{EnergyCost, ProgrammingCost, TimeCost, UnitCosts};
use nvcim_ir::ids::{ArrayId, IdVec, LayerId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{self, LayerUse, Step, StepOp};
use nvcim_ir::tiled::{InputCoding, MatrixLayer, Terminal, Tile, TiledNet};

/// What one sample costs.
#[derive(Debug, Clone, PartialEq)]
pub struct NetCost {
    /// Layer by layer.
    pub layers: IdVec<LayerId, LayerCost>,
    /// What each array does for one input vector of each layer on it, by array, then layer.
    pub loads: Vec<ArrayLoad>,
    /// Elements that digital steps make: of all results but the input's, constants' and matrices'. One of a
    /// digital convolution counts as often as a filter has weights.
    pub digital_elements: u64,
    /// The chip's times and energies.
    pub unit_costs: UnitCosts,
}

/// What one sample costs in one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerCost {
    /// The name of the ONNX node.
    pub name: String,
    /// Input vectors.
    pub positions: u64,
    /// Those of each step that uses the layer, in the order of the program; their sum is `positions`.
    pub uses: Vec<u64>,
    /// Passes over a vector: one for each polarity that is driven on its own.
    pub passes: u64,
    /// Slices that a vector's bits are driven in.
    pub slices: u64,
    /// Tiles of the layer.
    pub tiles: usize,
    /// Arrays that hold them.
    pub arrays: usize,
    /// Array activations.
    pub activations: u64,
    /// Word lines driven.
    pub drives: u64,
    /// Conversions, each of which is scaled and added up.
    pub conversions: u64,
    /// Cells that hold weights.
    pub cells: u64,
}

/// Steps of an array that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Drives of all word lines.
    pub drives: u64,
    /// Turns of the converters.
    pub turns: u64,
    /// Drives and turns, a drive and the first turn after it taken together.
    pub cycles: u64,
}

/// What an array does for one input vector of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayLoad {
    /// The array.
    pub array: ArrayId,
    /// The layer.
    pub layer: LayerId,
    /// Its steps.
    pub work: Work,
}

/// The unit of time of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clock {
    /// Cycles, where the chip file gives no times.
    Cycles,
    /// Seconds.
    Seconds(TimeCost),
}

/// What programming takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Programming {
    /// Pulses, a mean.
    pub pulses: f64,
    /// Time in seconds.
    pub time_s: f64,
    /// Energy in joules.
    pub energy_j: f64,
}

impl Work {
    /// Both, one after the other.
    fn then(self, other: Self) -> Self {
        Self {
            drives: self.drives + other.drives,
            turns: self.turns + other.turns,
            cycles: self.cycles + other.cycles,
        }
    }
}

impl Clock {
    /// How long some work takes, in the clock's unit.
    pub fn time(self, work: Work) -> f64 {
        match self {
            Clock::Cycles => work.cycles as f64,
            Clock::Seconds(TimeCost { drive_s, conversion_s, .. }) => {
                work.drives as f64 * drive_s + work.turns as f64 * conversion_s
            }
        }
    }

    /// How long the digital side takes for some elements; nothing that is known in cycles.
    pub fn digital_time(self, elements: u64) -> f64 {
        match self {
            Clock::Cycles => 0.0,
            Clock::Seconds(times) => elements as f64 * times.element_s,
        }
    }
}

impl LayerCost {
    /// Products of a vector's slice with the layer's matrix.
    pub fn mvms(&self) -> u64 {
        self.positions * self.passes * self.slices
    }

    /// Energy in joules.
    pub fn energy_j(&self, unit: &EnergyCost) -> f64 {
        self.activations as f64 * unit.activation_j
            + self.drives as f64 * unit.drive_j
            + self.conversions as f64 * (unit.conversion_j + unit.mac_j)
    }

    /// What writing its cells takes.
    pub fn programming(&self, unit: &ProgrammingCost) -> Programming {
        program_cells(self.cells, unit)
    }
}

impl NetCost {
    /// Seconds where the chip gives times, else cycles.
    pub fn clock(&self) -> Clock {
        self.unit_costs.time.map_or(Clock::Cycles, Clock::Seconds)
    }

    /// The sum of a count over layers.
    pub fn sum(&self, count: impl Fn(&LayerCost) -> u64) -> u64 {
        self.layers.iter().map(count).sum()
    }

    /// How long the digital steps of a sample take, in the clock's unit.
    pub fn digital_time(&self, clock: Clock) -> f64 {
        clock.digital_time(self.digital_elements)
    }

    /// How long each layer takes for one vector, in the clock's unit: as long as its busiest array.
    pub fn vector_times(&self, clock: Clock) -> IdVec<LayerId, f64> {
        let mut times: IdVec<LayerId, f64> = self.layers.iter().map(|_| 0.0).collect();
        for load in &self.loads {
            times[load.layer] = times[load.layer].max(clock.time(load.work));
        }
        times
    }

    /// How long each layer takes for one sample, in the clock's unit.
    pub fn layer_latencies(&self, clock: Clock) -> IdVec<LayerId, f64> {
        let times = self.vector_times(clock);
        self.layers.iter().zip(&times).map(|(layer, time)| layer.positions as f64 * time).collect()
    }

    /// How long one sample takes from layer to layer, in the clock's unit.
    pub fn latency(&self, clock: Clock) -> f64 {
        self.layer_latencies(clock).iter().sum::<f64>() + self.digital_time(clock)
    }

    /// The shortest time between samples when all layers work at once, in the clock's unit.
    pub fn interval(&self, clock: Clock) -> f64 {
        let of_array = |loads: &[ArrayLoad]| -> f64 {
            let times = loads
                .iter()
                .map(|load| self.layers[load.layer].positions as f64 * clock.time(load.work));
            times.sum()
        };
        let arrays = self.loads.chunk_by(|a, b| a.array == b.array).map(of_array);
        arrays.fold(self.digital_time(clock), f64::max)
    }

    /// Energy in joules.
    pub fn energy_j(&self, unit: &EnergyCost) -> f64 {
        let layers: f64 = self.layers.iter().map(|layer| layer.energy_j(unit)).sum();
        layers + self.digital_elements as f64 * unit.element_j
    }

    /// What writing all cells takes.
    pub fn programming(&self, unit: &ProgrammingCost) -> Programming {
        program_cells(self.sum(|layer| layer.cells), unit)
    }

    /// Arrays that hold weights.
    pub fn arrays(&self) -> usize {
        self.loads.chunk_by(|a, b| a.array == b.array).count()
    }
}

fn program_cells(cells: u64, unit: &ProgrammingCost) -> Programming {
    let &ProgrammingCost { pulses_per_cell, pulse_s, pulse_j, cells_at_once } = unit;
    let pulses = cells as f64 * pulses_per_cell;
    let time_s = cells.div_ceil(cells_at_once) as f64 * pulses_per_cell * pulse_s;
    Programming { pulses, time_s, energy_j: pulses * pulse_j }
}

/// Counts what one sample costs on a verified net. Several tiles may sit on one array.
pub fn count_costs(net: &TiledNet, chip: &Chip) -> NetCost {
    let mut layers = count_vectors(net, chip);
    let (_, converted) = slices_of(&chip.dac);
    let mut loads = Vec::new();
    let mut counter = TurnCounter::default();
    for tile in &net.tiles {
        let layer = &mut layers[tile.layer];
        let turns = counter.count(tile, &chip.circuits.adc);
        let parts = turns.len() as u64;
        let vectors = layer.positions * layer.passes;
        let arrays = arrays_of(tile);
        layer.tiles += 1;
        layer.activations += vectors * layer.slices * parts * arrays.clone().count() as u64;
        layer.drives += vectors * layer.slices * count_word_lines(tile);
        layer.conversions += vectors * converted * tile.readouts.len() as u64;
        layer.cells += count_cells(tile);
        let turns = layer.passes * converted * turns.iter().sum::<u64>();
        let drives = layer.passes * layer.slices * parts;
        let work =
            Work { drives, turns, cycles: drives + turns - layer.passes * converted * parts };
        loads.extend(arrays.map(|array| ArrayLoad { array, layer: tile.layer, work }));
    }
    let loads = join_loads(loads);
    for load in &loads {
        layers[load.layer].arrays += 1;
    }
    NetCost { layers, loads, digital_elements: count_digital_elements(net), unit_costs: chip.cost }
}

/// Each layer's input vectors and their passes; no tile is counted yet.
fn count_vectors(net: &TiledNet, chip: &Chip) -> IdVec<LayerId, LayerCost> {
    let (slices, _) = slices_of(&chip.dac);
    let start = |layer: &MatrixLayer| LayerCost {
        name: layer.name.clone(),
        positions: 0,
        uses: Vec::new(),
        passes: passes_of(layer.input, chip.dac.negative),
        slices,
        tiles: 0,
        arrays: 0,
        activations: 0,
        drives: 0,
        conversions: 0,
        cells: 0,
    };
    let mut layers: IdVec<LayerId, LayerCost> = net.layers.iter().map(start).collect();
    for LayerUse { layer, n_positions, .. } in program::list_uses(&net.program) {
        layers[layer].positions += n_positions as u64;
        layers[layer].uses.push(n_positions as u64);
    }
    layers
}

fn count_elements(shape: &[usize]) -> u64 {
    shape.iter().map(|&len| len as u64).product()
}

fn count_digital_elements(net: &TiledNet) -> u64 {
    let steps = net.program.steps.iter();
    let count = |step: &Step| match &step.op {
        StepOp::Digital(Op::Input | Op::Const(_)) | StepOp::Matrix { .. } => 0,
        StepOp::Digital(Op::Conv { weight, .. }) => {
            let weights = count_elements(&net.program.consts[*weight].value.shape()[1..]);
            weights * count_elements(&step.shape)
        }
        StepOp::Digital(_) => count_elements(&step.shape),
    };
    steps.map(count).sum()
}

/// Polarities that are driven one after the other.
fn passes_of(input: InputCoding, negative: NegativeInputs) -> u64 {
    if input.signed && negative == NegativeInputs::TwoPass { 2 } else { 1 }
}

/// Slices that are driven, and those that are converted one by one.
fn slices_of(dac: &Dac) -> (u64, u64) {
    match dac.coding {
        InputDrive::Amplitude | InputDrive::PulseWidth => (1, 1),
        InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate }) => {
            let slices = u64::from(dac.bits.div_ceil(bits_per_slice));
            (slices, if accumulate == Accumulate::Digital { slices } else { 1 })
        }
    }
}

/// The array of a tile, and that of its negative cells where they sit on another.
fn arrays_of(tile: &Tile) -> impl Iterator<Item = ArrayId> + Clone {
    std::iter::once(tile.array).chain(tile.wiring.minus_array)
}

/// Word lines of a tile on all its arrays.
fn count_word_lines(tile: &Tile) -> u64 {
    let wiring = &tile.wiring;
    let shared = wiring.minus_array.is_none() && wiring.minus_rows == wiring.plus_rows;
    let minus = if shared { 0 } else { wiring.minus_rows.len() };
    (wiring.plus_rows.len() + minus) as u64
}

fn count_cells(tile: &Tile) -> u64 {
    let sides = tile.wiring.sides(tile.array);
    sides.iter().map(|(_, rows, cols)| rows.len() as u64 * cols.len() as u64).sum()
}

/// One load per array and layer, by array, then layer.
fn join_loads(mut loads: Vec<ArrayLoad>) -> Vec<ArrayLoad> {
    loads.sort_by_key(|load| (load.array, load.layer));
    loads.dedup_by(|next, kept| {
        let same = (next.array, next.layer) == (kept.array, kept.layer);
        if same {
            kept.work = kept.work.then(next.work);
        }
        same
    });
    loads
}

/// Counts turns of converters, in room that is kept from tile to tile.
#[derive(Default)]
struct TurnCounter {
    /// First rows of the parts, ascending.
    parts: Vec<u32>,
    /// Conversions of each converter of both arrays, part after part.
    conversions: Vec<u64>,
    turns: Vec<u64>,
}

impl TurnCounter {
    /// The turns of the busiest converter for each part of a tile's rows, in one pass over one slice.
    fn count(&mut self, tile: &Tile, adc: &AdcCircuit) -> &[u64] {
        let wiring = &tile.wiring;
        self.parts.clear();
        for readout in &tile.readouts {
            if let Err(at) = self.parts.binary_search(&readout.rows.start) {
                self.parts.insert(at, readout.rows.start);
            }
        }
        let lines = || wiring.plus_cols.iter().chain(&wiring.minus_cols).copied();
        let first = adc.converter_of(lines().min().unwrap_or(0));
        let last = adc.converter_of(lines().max().unwrap_or(0));
        let n_converters = (last - first) as usize + 1;
        self.conversions.clear();
        self.conversions.resize(2 * n_converters * self.parts.len(), 0);
        for readout in &tile.readouts {
            let part = self.parts.binary_search(&readout.rows.start).expect("every part was noted");
            let lane = wiring.lane(readout.col, readout.slice);
            // A difference is converted where its positive line ends.
            let (line, array) = match readout.terminal {
                Terminal::Pair | Terminal::Plus => (wiring.plus_cols[lane], 0),
                Terminal::Minus => {
                    (wiring.minus_cols[lane], usize::from(wiring.minus_array.is_some()))
                }
            };
            let converter = (adc.converter_of(line) - first) as usize;
            self.conversions[(2 * part + array) * n_converters + converter] += 1;
        }
        let busiest = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
        self.turns.clear();
        self.turns.extend(self.conversions.chunks(2 * n_converters).map(busiest));
        &self.turns
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::{
        Accumulate, BitSerial, Chip, Depthwise, InputDrive, NegativeInputs, PairAxis, SignCoding,
        Subtract,
    };
    use nvcim_chip::presets::find_preset;
    use nvcim_chip::unit_costs::{EnergyCost, ProgrammingCost, TimeCost};
    use nvcim_ir::graph::Graph;
    use nvcim_ir::ids::{ArrayId, Id, LayerId};
    use nvcim_ir::op::{Op, Unary, Window};
    use nvcim_ir::tiled::TiledNet;

    use super::{Clock, NetCost, Work, count_costs};
    use crate::map_graph::map_graph;
    use crate::replicate::{Objective, plan_replication};
    use crate::testing::{Builder, plain_chip};

    /// Sums of a few products in another order.
    const ROUNDING: f64 = 1e-12;

    fn map(graph: &Graph, chip: &Chip) -> TiledNet {
        map_graph(graph, chip, None).unwrap().output.net
    }

    #[track_caller]
    fn assert_near(got: f64, want: f64) {
        assert!((got - want).abs() <= ROUNDING * want.abs(), "{got} is not {want}");
    }

    /// LeNet-5 on images of 28x28.
    fn lenet() -> Graph {
        let (mut net, x) = Builder::new(5, &[1, 28, 28]);
        let mut x = net.conv(x, 6, 1, Window::square(5, 1, 2));
        x = net.map(Op::Unary(Unary::Relu), &[x]);
        x = net.add(Op::MaxPool { window: Window::square(2, 2, 0) }, &[x], &[6, 14, 14]);
        x = net.conv(x, 16, 1, Window::square(5, 1, 0));
        x = net.map(Op::Unary(Unary::Relu), &[x]);
        x = net.add(Op::MaxPool { window: Window::square(2, 2, 0) }, &[x], &[16, 5, 5]);
        x = net.flatten(x);
        for outputs in [120, 84] {
            x = net.dense(x, outputs, true);
            x = net.map(Op::Unary(Unary::Relu), &[x]);
        }
        let out = net.dense(x, 10, true);
        net.finish(&[out])
    }

    #[test]
    fn lenet_by_hand() {
        let chip = find_preset("nor-flash-lenet").unwrap();
        let cost = count_costs(&map(&lenet(), &chip), &chip);
        let cycles = cost.layer_latencies(Clock::Cycles);
        // Images without calibration may be negative, which takes two passes; what ReLU makes may not.
        let row = |id: LayerId| {
            let it = &cost.layers[id];
            let counts = [it.positions, it.mvms(), it.activations, it.drives, it.conversions];
            (counts, cycles[id], it.cells, it.arrays)
        };
        let rows: Vec<_> = cost.layers.ids().map(row).collect();
        let want = [
            ([784, 1568, 1568, 1568 * 25, 1568 * 6], 1568.0, 2 * 25 * 6, 1),
            ([100, 100, 2 * 100, 100 * 150, 2 * 100 * 16], 100.0, 2 * 150 * 16, 2),
            ([1, 1, 4, 400, 4 * 120], 1.0, 2 * 400 * 120, 4),
            ([1, 1, 1, 120, 84], 1.0, 2 * 120 * 84, 1),
            ([1, 1, 1, 84, 10], 1.0, 2 * 84 * 10, 1),
        ];
        assert_eq!(rows, want);
        let elements = 4704 + 1176 + 1600 + 400 + 400 + 120 + 84;
        assert_eq!((cost.digital_elements, cost.arrays()), (elements, 9));

        // 300 ns for a drive, 100 ns for a conversion, 1 ns for an element.
        let clock = cost.clock();
        assert_near(cost.latency(clock), 1671.0 * 400e-9 + 8484e-9);
        assert_near(cost.interval(clock), 1568.0 * 400e-9);
        let unit = cost.unit_costs.energy.unwrap();
        let first = 1568.0 * 1e-9 + 39200.0 * 0.2e-12 + 9408.0 * 2.1e-12;
        assert_near(cost.layers[LayerId::new(0)].energy_j(&unit), first);
        let steps = 1774.0 * 1e-9 + 54804.0 * 0.2e-12 + 13182.0 * 2.1e-12;
        assert_near(cost.energy_j(&unit), steps + 8484.0 * 1e-12);
        // 122940 cells, 16 at a time, 20 pulses of 10 us and 1 nJ each.
        let programming = cost.programming(&cost.unit_costs.programming.unwrap());
        assert_near(programming.pulses, 2_458_800.0);
        assert_near(programming.time_s, 7684.0 * 20.0 * 10e-6);
        assert_near(programming.energy_j, 2_458_800.0 * 1e-9);
    }

    /// 20 rows and 6 columns on arrays of 16x16, so two tiles of ten rows; inputs of either sign.
    fn dense(change: impl FnOnce(&mut Chip)) -> NetCost {
        let (mut net, x) = Builder::new(1, &[3, 20]);
        let out = net.dense(x, 6, false);
        let mut chip = plain_chip();
        change(&mut chip);
        count_costs(&map(&net.finish(&[out]), &chip), &chip)
    }

    fn counts(cost: &NetCost) -> [u64; 5] {
        let layer = &cost.layers[LayerId::new(0)];
        let busiest = cost.vector_times(Clock::Cycles)[LayerId::new(0)];
        [layer.activations, layer.drives, layer.conversions, layer.cells, busiest as u64]
    }

    #[test]
    fn each_key_of_a_chip_counts() {
        // Activations, drives, conversions, cells, cycles of a vector; 3 vectors, 2 passes, 2 tiles.
        assert_eq!(counts(&dense(|_| {})), [12, 120, 72, 240, 2]);
        let one_pass = |chip: &mut Chip| chip.dac.negative = NegativeInputs::SignMagnitude;
        assert_eq!(counts(&dense(one_pass)), [6, 60, 36, 240, 1]);
        let both_ends = |chip: &mut Chip| chip.arrays.subtract = Subtract::Digital;
        assert_eq!(counts(&dense(both_ends)), [12, 120, 144, 240, 2]);
        // Ten pairs of rows do not fit on 16 word lines: three tiles.
        let on_rows = |chip: &mut Chip| chip.arrays.pairs = PairAxis::Rows;
        assert_eq!(counts(&dense(on_rows)), [18, 240, 108, 240, 2]);
        let on_arrays = |chip: &mut Chip| chip.arrays.pairs = PairAxis::Arrays;
        assert_eq!(counts(&dense(on_arrays)), [24, 240, 72, 240, 2]);
        let reference = |chip: &mut Chip| chip.weights.sign = SignCoding::OffsetColumn;
        assert_eq!(counts(&dense(reference)), [12, 120, 84, 140, 2]);
        // Two pairs to a converter; rows in three parts; both.
        let shared = |chip: &mut Chip| chip.circuits.adc.shared_by = 4;
        assert_eq!(counts(&dense(shared)), [12, 120, 72, 240, 4]);
        let parts = |chip: &mut Chip| chip.arrays.max_active_rows = Some(4);
        assert_eq!(counts(&dense(parts)), [36, 120, 216, 240, 6]);
        let shared_parts = |chip: &mut Chip| {
            shared(chip);
            parts(chip);
        };
        assert_eq!(counts(&dense(shared_parts)), [36, 120, 216, 240, 12]);
    }

    #[test]
    fn slices_are_driven_one_by_one_and_converted_one_by_one_or_together() {
        let serial = |accumulate, shared_by| {
            move |chip: &mut Chip| {
                chip.dac.coding =
                    InputDrive::BitSerial(BitSerial { bits_per_slice: 3, accumulate });
                chip.circuits.adc.shared_by = shared_by;
            }
        };
        // Eight bits are three slices.
        let digital = dense(serial(Accumulate::Digital, 1));
        assert_eq!(counts(&digital), [36, 360, 216, 240, 6]);
        assert_eq!(digital.loads[0].work, Work { drives: 6, turns: 6, cycles: 6 });
        assert_eq!(digital.layers[LayerId::new(0)].mvms(), 18);
        let analog = dense(serial(Accumulate::Analog, 1));
        assert_eq!(counts(&analog), [36, 360, 72, 240, 6]);
        assert_eq!(analog.loads[0].work, Work { drives: 6, turns: 2, cycles: 6 });
        let shared = dense(serial(Accumulate::Analog, 6));
        assert_eq!(shared.loads[0].work, Work { drives: 6, turns: 6, cycles: 10 });
    }

    #[test]
    fn every_use_of_a_layer_counts_and_its_cells_count_once() {
        let (mut net, x) = Builder::new(1, &[3, 4]);
        let weight = net.random(&[4, 4], -1.0, 1.0);
        let op = || Op::Dense { weight, bias: None, transposed: false };
        let once = net.map(op(), &[x]);
        let twice = net.map(op(), &[once]);
        let last = net.add(Op::Reshape, &[twice], &[1, 3, 4]);
        let out = net.map(op(), &[last]);
        let cost = count_costs(&map(&net.finish(&[out]), &plain_chip()), &plain_chip());
        // Nine vectors in two passes.
        assert_eq!(cost.layers.len(), 1);
        assert_eq!(counts(&cost), [18, 72, 72, 32, 2]);
        assert_eq!(cost.layers[LayerId::new(0)].uses, [3, 3, 3]);
        assert_eq!(cost.latency(Clock::Cycles), 18.0);
        // Copies stand side by side within a step only.
        let plan = plan_replication(&cost, 9, Objective::Latency).unwrap();
        assert_eq!((plan.layers[LayerId::new(0)].copies, plan.latency), (3, 6.0));
    }

    #[test]
    fn a_digital_convolution_counts_its_products() {
        let mut chip = plain_chip();
        let (mut net, x) = Builder::new(2, &[3, 4, 4]);
        let depthwise = net.conv(x, 6, 3, Window::square(3, 1, 1));
        let graph = net.finish(&[depthwise]);
        assert_eq!(count_costs(&map(&graph, &chip), &chip).digital_elements, 0);
        chip.arrays.depthwise = Depthwise::Digital;
        let cost = count_costs(&map(&graph, &chip), &chip);
        assert_eq!((cost.digital_elements, cost.arrays()), (6 * 16 * 9, 0));
    }

    #[test]
    fn tiles_on_one_array_take_turns() {
        let (mut net, x) = Builder::new(1, &[3, 20]);
        let out = net.dense(x, 6, false);
        let mut chip = plain_chip();
        let mut net = map(&net.finish(&[out]), &chip);
        for tile in net.tiles.iter_mut() {
            tile.array = ArrayId::new(0);
        }
        // The second tile's cells move out of the way of the first.
        chip.arrays.n_rows = 32;
        let second = net.tiles.iter_mut().nth(1).unwrap();
        for row in second.wiring.plus_rows.iter_mut().chain(&mut second.wiring.minus_rows) {
            *row += 16;
        }
        let cost = count_costs(&net, &chip);
        assert_eq!(counts(&cost), [12, 120, 72, 240, 4]);
        assert_eq!((cost.arrays(), cost.loads.len()), (1, 1));
        assert_eq!(cost.interval(Clock::Cycles), 12.0);
    }

    #[test]
    fn what_the_chip_does_not_say_is_not_known() {
        let bare = dense(|_| {});
        assert_eq!(bare.clock(), Clock::Cycles);
        assert_eq!(bare.latency(bare.clock()), 6.0);
        let timed = dense(|chip| {
            let times = TimeCost { drive_s: 2e-6, conversion_s: 1e-6, element_s: 0.0 };
            chip.cost.time = Some(times);
        });
        assert_near(timed.latency(timed.clock()), 6.0 * 3e-6);
    }

    #[test]
    fn costs_of_nothing_are_nothing() {
        let (mut net, x) = Builder::new(3, &[4]);
        let out = net.map(Op::Unary(Unary::Relu), &[x]);
        let cost = count_costs(&map(&net.finish(&[out]), &plain_chip()), &plain_chip());
        assert_eq!((cost.arrays(), cost.latency(Clock::Cycles)), (0, 0.0));
        let unit = EnergyCost {
            activation_j: 1.0,
            drive_j: 1.0,
            conversion_j: 1.0,
            mac_j: 1.0,
            element_j: 0.5,
        };
        assert_eq!(cost.energy_j(&unit), 2.0);
        let unit =
            ProgrammingCost { pulses_per_cell: 9.0, pulse_s: 1.0, pulse_j: 1.0, cells_at_once: 4 };
        assert_eq!(cost.programming(&unit).pulses, 0.0);
    }
}
