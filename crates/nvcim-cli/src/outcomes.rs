//! What each correction did, as documents and tables show it.

use nvcim::outcome::{Outcome, Place, Status};
use nvcim::plan::Correction;
use nvcim::programmed::ProgrammedNet;
use serde_json::{Value, json};

/// Every outcome as documents carry it.
pub(crate) fn to_json(outcomes: &[Outcome], net: &ProgrammedNet) -> Vec<Value> {
    let outcome = |outcome: &Outcome| {
        let Outcome { correction, place, status, gap, changed, before, after } = *outcome;
        json!({
            "correction": correction.name(),
            "place": name_place(place, net),
            "layer": layer_of(place, net),
            "status": name_status(status),
            "gap": gap,
            "changed": changed,
            "before": before,
            "after": after,
        })
    };
    outcomes.iter().map(outcome).collect()
}

/// One line per correction, with a headline; nothing where there is none.
pub(crate) fn summarise(outcomes: &[Outcome]) -> String {
    if outcomes.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:<11} {:>5} {:>8} {:>9} {:>8} {:>19}\n",
        "correction", "kept", "dropped", "changed", "gap", "error before, after"
    );
    let mut notes = String::new();
    for correction in Correction::ALL {
        let all = outcomes.iter().filter(|it| it.correction == correction);
        let (left_out, of_it): (Vec<&Outcome>, Vec<&Outcome>) =
            all.partition(|it| it.status == Status::LeftOut);
        if !left_out.is_empty() {
            notes += &format!(
                "{correction} was left out at {} tiles, which share their arrays with others\n",
                left_out.len()
            );
        }
        if of_it.is_empty() {
            continue;
        }
        let kept = of_it.iter().filter(|it| it.status == Status::Kept).count();
        let changed: usize = of_it.iter().map(|it| it.changed).sum();
        let gap = of_it.iter().filter_map(|it| it.gap).reduce(f64::max);
        let gap = gap.map_or_else(|| "-".to_owned(), |gap| format!("{:.2} %", 100.0 * gap));
        // What was dropped leaves errors as they were.
        let after = |it: &Outcome| if it.status == Status::Kept { it.after } else { it.before };
        text += &format!(
            "{:<11} {kept:>5} {:>8} {changed:>9} {gap:>8} {:>9.4} {:>9.4}\n",
            correction.name(),
            of_it.len() - kept,
            root_mean_square(of_it.iter().map(|it| it.before)),
            root_mean_square(of_it.iter().map(|it| after(it))),
        );
    }
    text + &notes
}

/// One line per correction and place.
pub(crate) fn list(outcomes: &[Outcome], net: &ProgrammedNet) -> Vec<String> {
    let line = |outcome: &Outcome| {
        let Outcome { correction, place, status, gap, changed, before, after } = *outcome;
        let gap = gap.map_or_else(String::new, |gap| format!(", gap {:.4} %", 100.0 * gap));
        let layer = layer_of(place, net).map_or_else(String::new, |layer| format!(" of {layer}"));
        let place = match place {
            Place::Tile(_) => name_place(place, net) + &layer,
            Place::Net | Place::Layer(_) => name_place(place, net),
        };
        let status = name_status(status);
        format!(
            "{correction} at {place}: {status}, {changed} changed{gap}, error {before:.4} before, {after:.4} after"
        )
    };
    outcomes.iter().map(line).collect()
}

fn name_place(place: Place, net: &ProgrammedNet) -> String {
    match place {
        Place::Net => "net".to_owned(),
        Place::Layer(layer) => net.layers[layer].name.clone(),
        Place::Tile(tile) => tile.to_string(),
    }
}

fn layer_of(place: Place, net: &ProgrammedNet) -> Option<&str> {
    let layer = match place {
        Place::Net => return None,
        Place::Layer(layer) => layer,
        Place::Tile(tile) => net.tiles[tile].layer,
    };
    Some(&net.layers[layer].name)
}

fn name_status(status: Status) -> &'static str {
    match status {
        Status::Kept => "kept",
        Status::Dropped => "dropped",
        Status::LeftOut => "left out",
    }
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    (values.fold(0.0, |sum, value| sum + value * value) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use nvcim::outcome::{Outcome, Place, Status};
    use nvcim::plan::Correction;

    use super::summarise;

    #[test]
    fn a_summary_counts_places_and_averages_squares() {
        let outcome = |status, gap, [before, after]: [f64; 2]| Outcome {
            correction: Correction::Box,
            place: Place::Net,
            status,
            gap,
            changed: 3,
            before,
            after,
        };
        let outcomes = [
            outcome(Status::Kept, Some(0.01), [0.3, 0.1]),
            outcome(Status::Dropped, Some(0.002), [0.4, 0.7]),
        ];
        let text = summarise(&outcomes);
        let line = text.lines().nth(1).expect("one correction");
        // sqrt((0.09 + 0.16) / 2) before, sqrt((0.01 + 0.16) / 2) after.
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["box", "1", "1", "6", "1.00", "%", "0.3536", "0.2915"]);
        assert_eq!(text.lines().count(), 2);
        let with_left_out = [&outcomes[..], &[outcome(Status::LeftOut, None, [0.0; 2])]].concat();
        let left_out = "box was left out at 1 tiles, which share their arrays with others\n";
        assert_eq!(summarise(&with_left_out), text + left_out);
        assert_eq!(summarise(&[]), "");
    }
}
