//! Copies of layers on free arrays: positions are shared out among copies, so that slow layers keep up.
//!
//! A plan, not a placement: nothing here writes an image, and an image holds every tile once.
//!
//! Notation. Layers that share an array are copied together, as one *stage* `s` of `a_s` arrays; a layer
//! with arrays of its own is a stage alone. A layer is used in steps `u`, one after the other, with `P_u`
//! positions each. With `c` copies each takes a *share* `p_l(c) = sum over u of ceil(P_u / c)`: copies stand side
//! by side within a step, and steps wait for each other. With `t` the time of one vector
//!
//! ```text
//! interval  I_s(c) = max over arrays of s, sum over layers on it, of p_l(c) t
//! latency   L_s(c) = sum over layers of s of p_l(c) t_l,  t_l on the layer's busiest array
//! ```
//!
//! of which neither grows with `c`. The digital side has one unit, which is never copied.
//!
//! **Throughput**, exactly. An interval `T` can be kept with `c_s(T) = min {c : I_s(c) <= T}` copies, and with
//! no fewer; so it can be had with `n` arrays just if `sum a_s c_s(T) <= n`. That sum does not grow with `T`
//! and changes only where `T` is one of the `I_s(c)`. Numbers above 0 in floating point are ordered as the
//! integers of their bits, so that at most 64 halvings between 0 and the interval without copies end at the
//! smallest `T` that can be had: one of the `I_s(c)`, to the last bit. In cycles all of them are integers,
//! exact below 2^53.
//!
//! **Latency**, by marginal gain. Choosing copies to minimise `sum L_s(c_s)` is a multiple-choice knapsack
//! (H. Kellerer, U. Pferschy, D. Pisinger, Knapsack Problems, Springer 2004, ch. 11). Its continuous
//! relaxation goes along the lower convex hulls of the points `(a_s c, L_s(c))`: their segments are taken in
//! the order of gain per array until one does not fit, whose fraction gives the lower bound. The plan takes
//! whole segments in the same order, leaves out what does not fit, and fills the arrays that remain with the
//! points of best gain per array, until none fits.
//!
//! Cost: `O(S log P)` for each of 64 halvings; `O(sqrt P)` points per layer, sorted once.

use std::collections::BTreeMap;

use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{IdVec, LayerId};

use crate::cost::{Clock, NetCost};

/// What copies are to shorten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The interval between samples, with no more copies than it takes.
    Throughput,
    /// The time from a sample's input to its output.
    Latency,
}

/// A plan of copies. Times are in the unit of `clock`.
#[derive(Debug, Clone, PartialEq)]
pub struct Replication {
    /// What was shortened.
    pub objective: Objective,
    /// The unit of time.
    pub clock: Clock,
    /// Arrays there are.
    pub arrays_available: usize,
    /// Arrays used by all copies.
    pub arrays: usize,
    /// Time between samples when all layers work at once.
    pub interval: f64,
    /// Time from a sample's input to its output.
    pub latency: f64,
    /// What no choice of copies on these arrays could go below in latency.
    pub latency_bound: f64,
    /// Layer by layer.
    pub layers: IdVec<LayerId, LayerCopies>,
}

/// Copies of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerCopies {
    /// How many there are; 1 is the layer alone.
    pub copies: usize,
    /// Arrays on which they sit, perhaps beside other layers.
    pub arrays: usize,
    /// Time that one sample takes in them.
    pub latency: f64,
}

/// Plans copies on `n_arrays` arrays, those that hold the layers themselves included.
///
/// # Errors
/// Fewer arrays than the layers themselves need.
pub fn plan_replication(
    cost: &NetCost,
    n_arrays: usize,
    objective: Objective,
) -> Result<Replication> {
    let needed = cost.arrays();
    if n_arrays < needed {
        let message =
            format!("has {n_arrays} arrays to plan with, the network alone needs {needed}");
        let hint = format!("plan with at least {needed} arrays");
        return Err(Diagnostic::unsupported("replication", message).hint(hint).into());
    }
    let clock = cost.clock();
    let digital = cost.digital_time(clock);
    let stages = split_stages(cost, clock);
    let spent = spend_on_latency(&stages, n_arrays);
    let copies = match objective {
        Objective::Throughput => {
            let interval = shortest_interval(&stages, n_arrays).max(digital);
            let copies = |stage: &Stage<'_>| stage.copies_for(interval, n_arrays);
            stages.iter().map(|it| copies(it).expect("the interval was found to fit")).collect()
        }
        Objective::Latency => spent.copies,
    };
    let times = cost.vector_times(clock);
    let mut layers: IdVec<LayerId, LayerCopies> =
        cost.layers.iter().map(|_| LayerCopies { copies: 1, arrays: 0, latency: 0.0 }).collect();
    for (stage, &copies) in stages.iter().zip(&copies) {
        for &Part { layer, uses, .. } in &stage.layers {
            layers[layer] = LayerCopies {
                copies: copies as usize,
                arrays: cost.layers[layer].arrays * copies as usize,
                latency: share(uses, copies) * times[layer],
            };
        }
    }
    let chosen = || stages.iter().zip(&copies);
    let latency = layers.iter().map(|it| it.latency).sum::<f64>() + digital;
    Ok(Replication {
        objective,
        clock,
        arrays_available: n_arrays,
        arrays: chosen().map(|(stage, &copies)| stage.n_arrays * copies as usize).sum(),
        interval: chosen().map(|(stage, &copies)| stage.interval(copies)).fold(digital, f64::max),
        latency,
        // Both are sums of the same numbers in another order.
        latency_bound: (spent.latency_bound + digital).min(latency),
        layers,
    })
}

/// Positions that the busiest of some copies takes in all uses of a layer.
fn share(uses: &[u64], copies: u64) -> f64 {
    uses.iter().map(|positions| positions.div_ceil(copies)).sum::<u64>() as f64
}

/// A layer on an array, or on its busiest one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part<'a> {
    layer: LayerId,
    /// Positions of each use.
    uses: &'a [u64],
    /// Time of one vector.
    time: f64,
}

/// Layers that are copied together.
#[derive(Debug)]
struct Stage<'a> {
    layers: Vec<Part<'a>>,
    /// What arrays of one copy do, those left out that do the same as another.
    loads: Vec<Vec<Part<'a>>>,
    n_arrays: usize,
}

impl Stage<'_> {
    fn interval(&self, copies: u64) -> f64 {
        self.loads.iter().map(|parts| time_of(parts, copies)).fold(0.0, f64::max)
    }

    fn latency(&self, copies: u64) -> f64 {
        time_of(&self.layers, copies)
    }

    /// The most copies that are of use and fit on `n_arrays` alone; at least 1.
    fn most(&self, n_arrays: usize) -> u64 {
        let uses = self.layers.iter().flat_map(|part| part.uses);
        let useful = uses.copied().max().unwrap_or(1);
        useful.min((n_arrays / self.n_arrays) as u64).max(1)
    }

    /// The fewest copies that keep `interval`, where some on `n_arrays` alone do.
    fn copies_for(&self, interval: f64, n_arrays: usize) -> Option<u64> {
        let (mut fewest, mut most) = (1, self.most(n_arrays));
        if self.interval(most) > interval {
            return None;
        }
        while fewest < most {
            let middle = fewest.midpoint(most);
            if self.interval(middle) <= interval {
                most = middle;
            } else {
                fewest = middle + 1;
            }
        }
        Some(fewest)
    }

    /// Copies from which on the latency is lower than with any fewer, with that latency; the first is 1.
    fn points(&self, n_arrays: usize) -> Vec<(u64, f64)> {
        let most = self.most(n_arrays);
        let mut points = vec![(1, self.latency(1))];
        let mut copies = 1;
        loop {
            // A use's share falls by one or more at the fewest copies that go without its last position.
            let next = self.layers.iter().flat_map(|part| part.uses).filter_map(|positions| {
                let rest = positions.div_ceil(copies).checked_sub(1)?;
                (rest > 0).then(|| positions.div_ceil(rest))
            });
            match next.min() {
                Some(next) if next <= most => copies = next,
                _ => return points,
            }
            let latency = self.latency(copies);
            if points.last().is_some_and(|&(_, last)| latency < last) {
                points.push((copies, latency));
            }
        }
    }
}

fn time_of(parts: &[Part<'_>], copies: u64) -> f64 {
    parts.iter().map(|part| share(part.uses, copies) * part.time).sum()
}

/// The layers in stages, by their first layer.
fn split_stages(cost: &NetCost, clock: Clock) -> Vec<Stage<'_>> {
    let first = find_first_layers(cost);
    let times = cost.vector_times(clock);
    let part = |layer: LayerId, time: f64| {
        let uses = &cost.layers[layer].uses[..];
        Part { layer, uses, time }
    };
    let mut stages: BTreeMap<LayerId, Stage<'_>> = BTreeMap::new();
    for loads in cost.loads.chunk_by(|a, b| a.array == b.array) {
        let parts: Vec<Part<'_>> =
            loads.iter().map(|load| part(load.layer, clock.time(load.work))).collect();
        let stage = stages.entry(first[parts[0].layer]).or_insert_with(|| Stage {
            layers: Vec::new(),
            loads: Vec::new(),
            n_arrays: 0,
        });
        stage.n_arrays += 1;
        if !stage.loads.contains(&parts) {
            stage.loads.push(parts);
        }
    }
    for layer in cost.layers.ids() {
        if let Some(stage) = stages.get_mut(&first[layer]) {
            stage.layers.push(part(layer, times[layer]));
        }
    }
    stages.into_values().collect()
}

/// For each layer the first one that it shares arrays with, directly or through others.
fn find_first_layers(cost: &NetCost) -> IdVec<LayerId, LayerId> {
    let mut first: IdVec<LayerId, LayerId> = cost.layers.ids().collect();
    let find = |first: &IdVec<LayerId, LayerId>, mut layer: LayerId| {
        while first[layer] != layer {
            layer = first[layer];
        }
        layer
    };
    for pair in cost.loads.windows(2).filter(|pair| pair[0].array == pair[1].array) {
        let (a, b) = (find(&first, pair[0].layer), find(&first, pair[1].layer));
        first[a.max(b)] = a.min(b);
    }
    cost.layers.ids().map(|layer| find(&first, layer)).collect()
}

/// The shortest interval that copies on `n_arrays` can keep.
fn shortest_interval(stages: &[Stage<'_>], n_arrays: usize) -> f64 {
    let fits = |interval: f64| {
        let needed = stages.iter().try_fold(0usize, |sum, stage| {
            let copies = stage.copies_for(interval, n_arrays)?;
            Some(sum + stage.n_arrays * copies as usize)
        });
        needed.is_some_and(|needed| needed <= n_arrays)
    };
    if fits(0.0) {
        return 0.0;
    }
    let alone = stages.iter().map(|stage| stage.interval(1)).fold(0.0, f64::max);
    // The bits of an interval that does not fit, and of a longer one that does.
    let (mut below, mut found) = (0.0f64.to_bits(), alone.to_bits());
    while found - below > 1 {
        let middle = below.midpoint(found);
        if fits(f64::from_bits(middle)) {
            found = middle;
        } else {
            below = middle;
        }
    }
    f64::from_bits(found)
}

/// A plan for latency.
struct Spent {
    /// Copies of each stage.
    copies: Vec<u64>,
    /// The least that stages could take together.
    latency_bound: f64,
}

/// A segment of a stage's hull.
struct Segment {
    stage: usize,
    copies: u64,
    n_arrays: usize,
    gain: f64,
}

impl Segment {
    fn rate(&self) -> f64 {
        self.gain / self.n_arrays as f64
    }
}

fn spend_on_latency(stages: &[Stage<'_>], n_arrays: usize) -> Spent {
    let points: Vec<_> = stages.iter().map(|stage| stage.points(n_arrays)).collect();
    let mut segments: Vec<Segment> = Vec::new();
    for (at, (stage, points)) in stages.iter().zip(&points).enumerate() {
        let hull = find_hull(points);
        segments.extend(hull.windows(2).map(|ends| Segment {
            stage: at,
            copies: ends[1].0,
            n_arrays: stage.n_arrays * (ends[1].0 - ends[0].0) as usize,
            gain: ends[0].1 - ends[1].1,
        }));
    }
    segments.sort_by(|a, b| {
        b.rate().total_cmp(&a.rate()).then((a.stage, a.copies).cmp(&(b.stage, b.copies)))
    });
    let mut free = n_arrays - stages.iter().map(|stage| stage.n_arrays).sum::<usize>();
    let latency_bound = bound_latency(stages, &segments, free);
    let mut copies = vec![1u64; stages.len()];
    let mut blocked = vec![false; stages.len()];
    for segment in &segments {
        // Segments of a stage build on each other.
        if !blocked[segment.stage] && segment.n_arrays <= free {
            free -= segment.n_arrays;
            copies[segment.stage] = segment.copies;
        } else {
            blocked[segment.stage] = true;
        }
    }
    while let Some((stage, more)) = best_step(stages, &points, &copies, free) {
        free -= stages[stage].n_arrays * (more - copies[stage]) as usize;
        copies[stage] = more;
    }
    Spent { copies, latency_bound }
}

/// The relaxation's optimum: whole segments in order, and a fraction of the first that does not fit.
fn bound_latency(stages: &[Stage<'_>], segments: &[Segment], mut free: usize) -> f64 {
    let mut bound: f64 = stages.iter().map(|stage| stage.latency(1)).sum();
    for segment in segments {
        if segment.n_arrays > free {
            return bound - segment.rate() * free as f64;
        }
        free -= segment.n_arrays;
        bound -= segment.gain;
    }
    bound
}

/// The lower convex hull of points that fall from left to right.
fn find_hull(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let slope = |a: (u64, f64), b: (u64, f64)| (b.1 - a.1) / (b.0 - a.0) as f64;
    let mut hull: Vec<(u64, f64)> = Vec::new();
    for &point in points {
        while let [.., before, last] = hull[..]
            && slope(before, last) >= slope(last, point)
        {
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

/// The stage and its number of copies that gain most per array, of those that `free` arrays allow.
fn best_step(
    stages: &[Stage<'_>],
    points: &[Vec<(u64, f64)>],
    copies: &[u64],
    free: usize,
) -> Option<(usize, u64)> {
    let mut best: Option<(f64, usize, u64)> = None;
    for (at, stage) in stages.iter().enumerate() {
        let now = stage.latency(copies[at]);
        let next = points[at].iter().skip_while(|point| point.0 <= copies[at]);
        for &(more, latency) in next {
            let extra = stage.n_arrays * (more - copies[at]) as usize;
            if extra > free {
                break;
            }
            let rate = (now - latency) / extra as f64;
            if best.is_none_or(|(most, ..)| rate > most) {
                best = Some((rate, at, more));
            }
        }
    }
    best.map(|(_, stage, more)| (stage, more))
}

#[cfg(test)]
mod tests {
    use nvcim_chip::unit_costs::{TimeCost, UnitCosts};
    use nvcim_ir::diag::Kind;
    use nvcim_ir::ids::{ArrayId, Id, IdVec, LayerId};
    use proptest::prelude::*;

    use super::{Objective, Replication, Stage, plan_replication, split_stages};
    use crate::cost::{ArrayLoad, Clock, LayerCost, NetCost, Work};

    /// Sums of the same numbers in another order.
    const ROUNDING: f64 = 1e-12;

    /// A net whose layer `l` has `positions[l]` vectors; `loads` are array, layer, cycles of a vector.
    fn net(positions: &[u64], loads: &[(usize, usize, u64)]) -> NetCost {
        let layer = |(at, &positions): (usize, &u64)| LayerCost {
            name: String::new(),
            positions,
            uses: vec![positions],
            passes: 1,
            slices: 1,
            tiles: 1,
            arrays: loads.iter().filter(|load| load.1 == at).count(),
            activations: 0,
            drives: 0,
            conversions: 0,
            cells: 0,
        };
        let load = |&(array, layer, cycles): &(usize, usize, u64)| ArrayLoad {
            array: ArrayId::new(array),
            layer: LayerId::new(layer),
            work: Work { drives: cycles, turns: cycles, cycles },
        };
        NetCost {
            layers: positions.iter().enumerate().map(layer).collect(),
            loads: loads.iter().map(load).collect(),
            digital_elements: 0,
            unit_costs: UnitCosts::default(),
        }
    }

    fn plan(cost: &NetCost, n_arrays: usize, objective: Objective) -> Replication {
        plan_replication(cost, n_arrays, objective).unwrap()
    }

    fn copies(plan: &Replication) -> Vec<usize> {
        plan.layers.iter().map(|layer| layer.copies).collect()
    }

    #[test]
    fn slow_layers_get_the_copies() {
        // One array each for the first and the last layer, two for the second.
        let cost = net(&[100, 25, 1], &[(0, 0, 1), (1, 1, 2), (2, 1, 2), (3, 2, 1)]);
        assert_eq!(plan(&cost, 4, Objective::Throughput).interval, 100.0);
        // 26 takes four copies of the first layer and two of the second, 25 a third one of the second.
        let fast = plan(&cost, 10, Objective::Throughput);
        assert_eq!((fast.interval, copies(&fast), fast.arrays), (26.0, vec![4, 2, 1], 9));
        assert_eq!(fast.latency, 25.0 + 26.0 + 1.0);
        assert_eq!(plan(&cost, 11, Objective::Throughput).interval, 25.0);
        let faster = plan(&cost, 12, Objective::Throughput);
        assert_eq!((faster.interval, copies(&faster), faster.arrays), (20.0, vec![5, 3, 1], 12));
    }

    #[test]
    fn latency_takes_what_gains_most_per_array() {
        let cost = net(&[100, 100], &[(0, 0, 1), (1, 1, 1), (2, 1, 1)]);
        let plan = plan(&cost, 6, Objective::Latency);
        // Another copy of the first layer gains 50, then 16, then 9; of the second 25 an array, then 8.
        assert_eq!((copies(&plan), plan.latency, plan.arrays), (vec![2, 2], 100.0, 6));
        assert_eq!(plan.latency_bound, 100.0);
        assert_eq!(plan.interval, 50.0);
    }

    #[test]
    fn layers_on_one_array_are_copied_together() {
        let cost = net(&[60, 12, 4], &[(0, 0, 1), (1, 0, 1), (1, 1, 5), (2, 2, 1)]);
        assert_eq!(plan(&cost, 3, Objective::Throughput).interval, 120.0);
        let plan = plan(&cost, 7, Objective::Throughput);
        assert_eq!((plan.interval, copies(&plan), plan.arrays), (40.0, vec![3, 3, 1], 7));
    }

    #[test]
    fn the_digital_side_is_not_copied() {
        let mut cost = net(&[100], &[(0, 0, 1)]);
        cost.digital_elements = 30;
        let times = TimeCost { drive_s: 1.0, conversion_s: 0.0, element_s: 1.0 };
        cost.unit_costs.time = Some(times);
        let plan = plan(&cost, 64, Objective::Throughput);
        // Four copies take 25, three 34: more than four would wait for the digital side.
        assert_eq!((plan.interval, plan.latency, copies(&plan)), (30.0, 55.0, vec![4]));
    }

    #[test]
    fn too_few_arrays_are_refused_and_none_needed_is_fine() {
        let cost = net(&[3, 3], &[(0, 0, 1), (1, 1, 1)]);
        for n_arrays in [0, 1] {
            let problems = plan_replication(&cost, n_arrays, Objective::Latency).unwrap_err();
            assert_eq!(problems[0].kind, Kind::Unsupported);
            assert!(problems[0].message.contains("the network alone needs 2"), "{}", problems[0]);
            assert_eq!(problems[0].hints, ["plan with at least 2 arrays"]);
        }
        let nothing = plan(&net(&[], &[]), 0, Objective::Throughput);
        assert_eq!((nothing.interval, nothing.latency, nothing.arrays), (0.0, 0.0, 0));
    }

    #[test]
    fn steps_that_take_no_time_need_no_copies() {
        let mut cost = net(&[9, 9], &[(0, 0, 1), (1, 1, 1)]);
        cost.unit_costs.time = Some(TimeCost { drive_s: 0.0, conversion_s: 0.0, element_s: 0.0 });
        for objective in [Objective::Throughput, Objective::Latency] {
            let plan = plan(&cost, 50, objective);
            assert_eq!((copies(&plan), plan.interval, plan.latency_bound), (vec![1, 1], 0.0, 0.0));
        }
    }

    /// Calls `visit` with every choice of copies that fits.
    fn for_each_choice(stages: &[Stage<'_>], n_arrays: usize, visit: &mut impl FnMut(&[u64])) {
        fn go(
            stages: &[Stage<'_>],
            free: usize,
            chosen: &mut Vec<u64>,
            visit: &mut impl FnMut(&[u64]),
        ) {
            let Some(stage) = stages.get(chosen.len()) else { return visit(chosen) };
            for copies in 1.. {
                let Some(free) = free.checked_sub(stage.n_arrays * copies as usize) else { return };
                chosen.push(copies);
                go(stages, free, chosen, visit);
                chosen.pop();
            }
        }
        go(stages, n_arrays, &mut Vec::new(), visit);
    }

    /// The least interval and the least latency of all choices of copies.
    fn best_by_trying(stages: &[Stage<'_>], n_arrays: usize) -> (f64, f64) {
        let (mut interval, mut latency) = (f64::INFINITY, f64::INFINITY);
        for_each_choice(stages, n_arrays, &mut |copies| {
            let chosen = || stages.iter().zip(copies);
            let slowest = chosen().map(|(it, &copies)| it.interval(copies)).fold(0.0, f64::max);
            interval = interval.min(slowest);
            latency = latency.min(chosen().map(|(it, &copies)| it.latency(copies)).sum());
        });
        (interval, latency)
    }

    /// Up to three layers, on arrays of their own or, where `shared`, with one in common with the next.
    fn random_net() -> impl Strategy<Value = NetCost> {
        let layer = (1u64..40, 1usize..4, 1u64..5, any::<bool>());
        prop::collection::vec(layer, 1..4).prop_map(|layers| {
            let (mut loads, mut array) = (Vec::new(), 0);
            for (at, &(_, n_arrays, cycles, shared)) in layers.iter().enumerate() {
                loads.extend((0..n_arrays).map(|own| (array + own, at, cycles)));
                array += n_arrays - usize::from(shared);
            }
            let positions: Vec<u64> = layers.iter().map(|layer| layer.0).collect();
            let mut net = net(&positions, &loads);
            // Some layers are used in two steps.
            for layer in net.layers.iter_mut().filter(|layer| layer.positions % 3 == 2) {
                layer.uses = vec![layer.positions / 2, layer.positions.div_ceil(2)];
            }
            net
        })
    }

    proptest! {
        #[test]
        fn no_choice_of_copies_beats_the_interval(
            cost in random_net(),
            more in 0usize..14,
            nanoseconds in prop::option::of(0.1..9.0f64),
        ) {
            let mut cost = cost;
            cost.unit_costs.time = nanoseconds.map(|it| {
                TimeCost { drive_s: it * 1e-9, conversion_s: 1e-9 / 3.0, element_s: 0.0 }
            });
            let n_arrays = cost.arrays() + more;
            let stages = split_stages(&cost, cost.clock());
            let (interval, _) = best_by_trying(&stages, n_arrays);
            let plan = plan(&cost, n_arrays, Objective::Throughput);
            // To the last bit.
            prop_assert_eq!(plan.interval, interval);
            prop_assert!(plan.arrays <= n_arrays);
            prop_assert!(plan.interval <= cost.interval(cost.clock()));
        }

        #[test]
        fn latency_lies_between_the_best_there_is_and_one_step_above(
            cost in random_net(),
            more in 0usize..14,
        ) {
            let n_arrays = cost.arrays() + more;
            let stages = split_stages(&cost, Clock::Cycles);
            let (_, best) = best_by_trying(&stages, n_arrays);
            let plan = plan(&cost, n_arrays, Objective::Latency);
            prop_assert!(plan.arrays <= n_arrays);
            prop_assert!(plan.latency_bound <= best * (1.0 + ROUNDING));
            prop_assert!(plan.latency >= best * (1.0 - ROUNDING));
            // What the relaxation splits is less than a stage could gain at all.
            let step = |stage: &Stage<'_>| stage.latency(1) - stage.latency(stage.most(n_arrays));
            let largest = stages.iter().map(step).fold(0.0, f64::max);
            prop_assert!(plan.latency - plan.latency_bound <= largest * (1.0 + ROUNDING));
            prop_assert!(plan.latency <= cost.latency(Clock::Cycles));
        }

        #[test]
        fn a_plan_says_what_its_copies_do(
            cost in random_net(),
            more in 0usize..200,
            throughput in any::<bool>(),
        ) {
            let n_arrays = cost.arrays() + more;
            let objective = if throughput { Objective::Throughput } else { Objective::Latency };
            let plan = plan(&cost, n_arrays, objective);
            let times = cost.vector_times(Clock::Cycles);
            let mut latency = 0.0;
            for id in cost.layers.ids() {
                let copies = plan.layers[id].copies as u64;
                let uses = cost.layers[id].uses.iter();
                let share: u64 = uses.map(|positions| positions.div_ceil(copies)).sum();
                latency += share as f64 * times[id];
                prop_assert_eq!(plan.layers[id].latency, share as f64 * times[id]);
            }
            prop_assert_eq!(plan.latency, latency);
            prop_assert!(plan.latency_bound <= plan.latency);
            // More arrays never make a plan's interval longer.
            if throughput {
                let larger = super::plan_replication(&cost, n_arrays + 1, objective).unwrap();
                prop_assert!(larger.interval <= plan.interval);
            }
        }
    }

    #[test]
    fn points_are_where_latency_falls() {
        let cost = net(&[7, 3], &[(0, 0, 1), (0, 1, 1)]);
        let stages = split_stages(&cost, Clock::Cycles);
        let points = stages[0].points(100);
        assert_eq!(points, [(1, 10.0), (2, 6.0), (3, 4.0), (4, 3.0), (7, 2.0)]);
        assert_eq!(stages[0].points(3), points[..3]);
        let by_trying: Vec<_> = (1..=7).map(|copies| stages[0].latency(copies)).collect();
        assert_eq!(by_trying, [10.0, 6.0, 4.0, 3.0, 3.0, 3.0, 2.0]);
    }

    #[test]
    fn the_hull_leaves_out_what_lies_above() {
        let hull = super::find_hull(&[(1, 10.0), (2, 9.0), (3, 4.0), (5, 3.0), (9, 1.0)]);
        assert_eq!(hull, [(1, 10.0), (3, 4.0), (9, 1.0)]);
    }

    #[test]
    fn stages_are_layers_that_share_arrays_through_others() {
        let cost =
            net(&[1; 5], &[(0, 0, 1), (0, 3, 1), (1, 1, 1), (2, 3, 1), (2, 4, 1), (3, 2, 1)]);
        let stages = split_stages(&cost, Clock::Cycles);
        let layers = |stage: &Stage<'_>| stage.layers.iter().map(|it| it.layer.index()).collect();
        let found: Vec<Vec<usize>> = stages.iter().map(layers).collect();
        assert_eq!(found, [vec![0, 3, 4], vec![1], vec![2]]);
        assert_eq!(stages.iter().map(|it| it.n_arrays).collect::<Vec<_>>(), [2, 1, 1]);
        let empty: IdVec<LayerId, LayerId> = super::find_first_layers(&net(&[], &[]));
        assert!(empty.is_empty());
    }
}
