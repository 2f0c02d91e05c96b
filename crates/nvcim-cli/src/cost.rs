//! What a sample costs and which copies are planned, as documents and tables show them.

use nvcim::cost::{Clock, LayerCost, NetCost, Programming};
use nvcim::ids::LayerId;
use nvcim::replicate::{Objective, Replication};
use serde_json::{Value, json};

/// Names of layers in tables; a longer one pushes its own line only.
const NAME_WIDTH: usize = 24;

/// Costs as documents carry them; keys of what the chip file does not say are null.
pub(crate) fn to_json(cost: &NetCost) -> Value {
    let units = cost.unit_costs;
    let cycles = cost.layer_latencies(Clock::Cycles);
    let seconds = units.time.map(|times| cost.layer_latencies(Clock::Seconds(times)));
    let layer = |(id, layer): (LayerId, &LayerCost)| {
        let programming = units.programming.map(|unit| layer.programming(&unit));
        json!({
            "name": layer.name,
            "positions": layer.positions,
            "passes": layer.passes,
            "slices": layer.slices,
            "mvms": layer.mvms(),
            "tiles": layer.tiles,
            "arrays": layer.arrays,
            "activations": layer.activations,
            "drives": layer.drives,
            "conversions": layer.conversions,
            "cells": layer.cells,
            "cycles": cycles[id],
            "latency_s": seconds.as_ref().map(|seconds| seconds[id]),
            "energy_j": units.energy.map(|unit| layer.energy_j(&unit)),
            "programming": programming.map(programming_to_json),
        })
    };
    let layers: Vec<_> = cost.layers.iter_enumerated().map(layer).collect();
    let clock = units.time.map(Clock::Seconds);
    json!({
        "layers": layers,
        "total": {
            "mvms": cost.sum(LayerCost::mvms),
            "arrays": cost.arrays(),
            "activations": cost.sum(|it| it.activations),
            "drives": cost.sum(|it| it.drives),
            "conversions": cost.sum(|it| it.conversions),
            "cells": cost.sum(|it| it.cells),
            "digital_elements": cost.digital_elements,
            "cycles": cost.latency(Clock::Cycles),
            "interval_cycles": cost.interval(Clock::Cycles),
            "latency_s": clock.map(|clock| cost.latency(clock)),
            "interval_s": clock.map(|clock| cost.interval(clock)),
            "energy_j": units.energy.map(|unit| cost.energy_j(&unit)),
            "programming": units.programming.map(|it| programming_to_json(cost.programming(&it))),
        },
    })
}

fn programming_to_json(Programming { pulses, time_s, energy_j }: Programming) -> Value {
    json!({"pulses": pulses, "time_s": time_s, "energy_j": energy_j})
}

/// A plan as documents carry it, in seconds or in cycles; keys of the other unit are null.
pub(crate) fn replication_to_json(plan: &Replication, cost: &NetCost) -> Value {
    let Replication { objective, clock, arrays_available, arrays, layers, .. } = plan;
    let seconds = |value: f64| matches!(clock, Clock::Seconds(_)).then_some(value);
    let cycles = |value: f64| matches!(clock, Clock::Cycles).then_some(value);
    let layers: Vec<_> = layers
        .iter_enumerated()
        .map(|(id, layer)| {
            json!({
                "name": cost.layers[id].name,
                "copies": layer.copies,
                "arrays": layer.arrays,
                "latency_s": seconds(layer.latency),
                "latency_cycles": cycles(layer.latency),
            })
        })
        .collect();
    json!({
        "objective": name_objective(*objective),
        "arrays_available": arrays_available,
        "arrays": arrays,
        "interval_s": seconds(plan.interval),
        "interval_cycles": cycles(plan.interval),
        "latency_s": seconds(plan.latency),
        "latency_cycles": cycles(plan.latency),
        "latency_bound_s": seconds(plan.latency_bound),
        "latency_bound_cycles": cycles(plan.latency_bound),
        "layers": layers,
    })
}

fn name_objective(objective: Objective) -> &'static str {
    match objective {
        Objective::Throughput => "throughput",
        Objective::Latency => "latency",
    }
}

/// A table of layers with a line of totals, what the whole takes, and which keys would say more.
pub(crate) fn describe(cost: &NetCost) -> String {
    let units = cost.unit_costs;
    let clock = cost.clock();
    let latencies = cost.layer_latencies(clock);
    let time_head = if units.time.is_some() { "latency" } else { "cycles" };
    let mut text = format!(
        "{:<NAME_WIDTH$} {:>9} {:>9} {:>11} {:>11} {:>6} {:>10} {:>9}{}\n",
        "one sample",
        "vectors",
        "MVMs",
        "drives",
        "conversions",
        "arrays",
        "cells",
        time_head,
        units.energy.map_or("", |_| "    energy"),
    );
    for (id, layer) in cost.layers.iter_enumerated() {
        let energy = units.energy.map(|unit| layer.energy_j(&unit));
        let counts = [layer.positions, layer.mvms(), layer.drives, layer.conversions];
        let place = (layer.arrays, layer.cells);
        text += &table_line(&layer.name, counts, place, &show_time(latencies[id], clock), energy);
    }
    let energy = units.energy.map(|unit| cost.energy_j(&unit));
    let sums = [
        cost.sum(|it| it.positions),
        cost.sum(LayerCost::mvms),
        cost.sum(|it| it.drives),
        cost.sum(|it| it.conversions),
    ];
    let place = (cost.arrays(), cost.sum(|it| it.cells));
    text += &table_line("all", sums, place, &show_time(cost.latency(clock), clock), energy);
    text += &format!(
        "{} elements of digital steps; a sample every {} when all layers work at once\n",
        cost.digital_elements,
        say_time(cost.interval(clock), clock),
    );
    if let Some(unit) = &units.programming {
        let Programming { pulses, time_s, energy_j } = cost.programming(unit);
        text += &format!(
            "programming: {pulses:.0} pulses, {}, {}\n",
            with_prefix(time_s, "s"),
            with_prefix(energy_j, "J"),
        );
    }
    text + &describe_missing(cost)
}

fn table_line(
    name: &str,
    [vectors, mvms, drives, conversions]: [u64; 4],
    (arrays, cells): (usize, u64),
    time: &str,
    energy: Option<f64>,
) -> String {
    let energy = energy.map_or_else(String::new, |it| format!(" {:>9}", with_prefix(it, "J")));
    format!(
        "{name:<NAME_WIDTH$} {vectors:>9} {mvms:>9} {drives:>11} {conversions:>11} {arrays:>6} \
         {cells:>10} {time:>9}{energy}\n"
    )
}

/// One line on the tables that the chip file does not have; none where it has them all.
fn describe_missing(cost: &NetCost) -> String {
    let units = cost.unit_costs;
    let missing = [
        ("cost.time", "times", units.time.is_none()),
        ("cost.energy", "energies", units.energy.is_none()),
        ("cost.programming", "programming", units.programming.is_none()),
    ];
    let wanted: Vec<_> = missing
        .iter()
        .filter(|it| it.2)
        .map(|(table, what, _)| format!("`[{table}]` for {what}"))
        .collect();
    if wanted.is_empty() {
        return String::new();
    }
    format!("the chip file could say more: {}\n", wanted.join(", "))
}

/// A table of copies, and what they bring.
pub(crate) fn describe_replication(plan: &Replication, cost: &NetCost) -> String {
    let clock = plan.clock;
    let mut text = format!(
        "{:<NAME_WIDTH$} {:>9} {:>9} {:>11}\n",
        format!("copies for {}", name_objective(plan.objective)),
        "copies",
        "arrays",
        "latency",
    );
    for (id, layer) in plan.layers.iter_enumerated() {
        text += &format!(
            "{:<NAME_WIDTH$} {:>9} {:>9} {:>11}\n",
            cost.layers[id].name,
            layer.copies,
            layer.arrays,
            show_time(layer.latency, clock),
        );
    }
    text + &format!(
        "{} of {} arrays\n\
         a sample every {}, {} without copies\n\
         latency {}, {} without copies; no plan on {} arrays goes below {}\n\
         this is a plan: an image holds every layer once\n",
        plan.arrays,
        plan.arrays_available,
        say_time(plan.interval, clock),
        say_time(cost.interval(clock), clock),
        say_time(plan.latency, clock),
        say_time(cost.latency(clock), clock),
        plan.arrays_available,
        say_time(plan.latency_bound, clock),
    )
}

/// A time with its unit, as sentences want it.
fn say_time(value: f64, clock: Clock) -> String {
    let unit = if clock == Clock::Cycles { " cycles" } else { "" };
    show_time(value, clock) + unit
}

/// A time as columns with its unit in their head want it.
fn show_time(value: f64, clock: Clock) -> String {
    match clock {
        // Whole, but for a bound.
        Clock::Cycles if value.fract() == 0.0 => format!("{value:.0}"),
        Clock::Cycles => format!("{value:.1}"),
        Clock::Seconds(_) => with_prefix(value, "s"),
    }
}

/// Four digits and the prefix that leaves one to three of them before the point.
fn with_prefix(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 6] =
        [(1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f")];
    if value == 0.0 {
        return format!("0 {unit}");
    }
    // What rounds to 1000 takes the next prefix.
    let fits = |(scale, _): &&(f64, &str)| value >= 0.99995 * scale;
    let (scale, prefix) = PREFIXES.iter().find(fits).unwrap_or(&PREFIXES[5]);
    let scaled = value / scale;
    let decimals = [(999.95, 0), (99.995, 1), (9.9995, 2)].iter().find(|it| scaled >= it.0);
    format!("{scaled:.*} {prefix}{unit}", decimals.map_or(3, |it| it.1))
}

#[cfg(test)]
mod tests {
    use super::with_prefix;

    #[test]
    fn prefixes_leave_three_digits_before_the_point() {
        assert_eq!(with_prefix(627.2e-6, "s"), "627.2 us");
        assert_eq!(with_prefix(1.59556e-6, "J"), "1.596 uJ");
        assert_eq!(with_prefix(0.999_999_9e-3, "s"), "1.000 ms");
        assert_eq!(with_prefix(12.3456, "s"), "12.35 s");
        assert_eq!(with_prefix(98_765.4, "s"), "98765 s");
        assert_eq!(with_prefix(2.5e-17, "J"), "0.025 fJ");
        assert_eq!(with_prefix(0.0, "s"), "0 s");
    }
}
