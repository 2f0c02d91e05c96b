//! `nvcim chip show`: every key of a chip with value, unit, meaning and source, readable on any terminal.

use nvcim::describe::Chip;
use nvcim::file::hash_chip;
use nvcim::meaning::{KeyMeaning, TableMeaning, explain_chip, is_illustrative};
use serde_json::{Value, json};

use crate::terminal::hex;

/// Columns that the listing fills at most.
const WIDTH: usize = 96;
/// Where values and meanings begin.
const VALUE_AT: usize = 20;
const MEANING_AT: usize = 42;

/// Tables whose values are choices of the design or names, which need no source.
fn needs_source(table: &TableMeaning) -> bool {
    !table.name.is_empty() && table.name != "holds"
}

/// The listing for people.
pub(crate) fn list_keys(chip: &Chip) -> String {
    let tables = explain_chip(chip);
    let mut text = format!("{}\nhash {}\n", chip.name, hex(&hash_chip(chip)));
    for table in &tables {
        if !table.name.is_empty() {
            text += &format!("\n[{}]\n", table.name);
        }
        for key in &table.keys {
            text += &key_lines(key);
            let own = key.source.as_ref().filter(|_| table.source.is_none());
            if let Some(source) = own {
                text += &wrap(MEANING_AT, &format!("source: {source}"));
            } else if needs_source(table) && key.source.is_none() {
                text += &wrap(MEANING_AT, "no source");
            }
        }
        if let Some(source) = &table.source {
            text += &wrap(2, &format!("source: {source}"));
        }
    }
    text += &format!("\n{}", count_sources(&tables));
    text
}

/// How many values are from where, in one line.
fn count_sources(tables: &[TableMeaning]) -> String {
    let keys = || tables.iter().filter(|table| needs_source(table)).flat_map(|table| &table.keys);
    let count = |holds: fn(&KeyMeaning) -> bool| keys().filter(|key| holds(key)).count();
    let from = |key: &KeyMeaning, illustrative| {
        key.source.as_deref().is_some_and(|source| is_illustrative(source) == illustrative)
    };
    format!(
        "{} values: {} with a source, {} illustrative, {} with no source",
        keys().count(),
        count(|key| key.source.as_deref().is_some_and(|source| !is_illustrative(source))),
        keys().filter(|key| from(key, true)).count(),
        count(|key| key.source.is_none()),
    )
}

fn key_lines(key: &KeyMeaning) -> String {
    let value = match key.unit {
        Some(unit) => scaled(&key.value, unit),
        None => key.value.trim_matches('"').to_owned(),
    };
    let (name, value) = (format!("  {}", key.key), wrap(VALUE_AT, &value));
    // A long name takes a line of its own, so that values stay in their column.
    let text = match name.chars().count() + 2 <= VALUE_AT {
        true => format!("{name:<VALUE_AT$}{}", value.trim_start()),
        false => format!("{name}\n{value}"),
    };
    if key.meaning.is_empty() {
        return text;
    }
    let meaning = wrap(MEANING_AT, &key.meaning);
    let is_short = value.lines().count() == 1 && value.trim_end().chars().count() + 2 <= MEANING_AT;
    if !is_short {
        return text + &meaning;
    }
    let (above, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    let above = if above.is_empty() { String::new() } else { format!("{above}\n") };
    format!("{above}{last:<MEANING_AT$}{}", meaning.trim_start())
}

/// A value with its unit; a conductance with a prefix that leaves it above 1.
fn scaled(value: &str, unit: &str) -> String {
    let prefixes = [(1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p")];
    let number = value.parse::<f64>().ok().filter(|number| unit == "S" && *number < 1.0);
    // 1e-9 is a little less than a billionth.
    let fits = |number: f64| prefixes.iter().find(|(scale, _)| number >= 0.999 * scale);
    match number.and_then(|number| Some((number, fits(number)?))) {
        Some((number, (scale, prefix))) => {
            // Nine digits hide the last bit of a quotient such as 100e-6 / 1e-6.
            let digits = format!("{:.9}", number / scale);
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits} {prefix}{unit}")
        }
        None => format!("{value} {unit}"),
    }
}

/// Words as lines that begin at column `indent` and end before [`WIDTH`].
pub(crate) fn wrap(indent: usize, text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let length = indent + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            lines += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &format!("{:indent$}{line}\n", "")
}

/// The keys as documents carry them.
pub(crate) fn keys_document(chip: &Chip) -> Value {
    let tables = explain_chip(chip);
    let key = |table: &TableMeaning, key: &KeyMeaning| {
        let dotted = match table.name.as_str() {
            "" => key.key.clone(),
            name => format!("{name}.{}", key.key),
        };
        json!({
            "key": dotted,
            "value": value_document(&key.value),
            "unit": key.unit,
            "meaning": key.meaning,
            "source": key.source,
            "illustrative": key.source.as_deref().is_some_and(is_illustrative),
        })
    };
    let keys = tables.iter().flat_map(|table| table.keys.iter().map(move |it| key(table, it)));
    Value::Array(keys.collect())
}

/// A TOML value as JSON: numbers, flags and plain texts read alike in both.
fn value_document(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| json!(value))
}

#[cfg(test)]
mod tests {
    use super::{KeyMeaning, WIDTH, key_lines, list_keys, scaled, value_document, wrap};
    use nvcim::presets::{PRESETS, find_preset};
    use serde_json::json;

    #[test]
    fn conductances_have_prefixes() {
        assert_eq!(scaled("0.0001", "S"), "100 uS");
        assert_eq!(scaled("1e-9", "S"), "1 nS");
        assert_eq!(scaled("0.0", "S"), "0.0 S");
        assert_eq!(scaled("20.0", "s"), "20.0 s");
    }

    #[test]
    fn no_line_is_too_wide() {
        for (name, _) in PRESETS {
            let text = list_keys(&find_preset(name).expect("it is a preset"));
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{name}: {line}");
            }
        }
        assert_eq!(wrap(2, "a b"), "  a b\n");
    }

    #[test]
    fn values_stand_in_their_column() {
        let line = |key: &str, value: &str| {
            let text = |text: &str| text.to_owned();
            let (key, value, meaning) = (text(key), text(value), text("why"));
            key_lines(&KeyMeaning { key, value, unit: None, meaning, source: None })
        };
        let (blank, gap) = (" ".repeat(20), " ".repeat(19));
        assert_eq!(line("sd", "0.5"), format!("  sd{}0.5{gap}why\n", " ".repeat(16)));
        let long = "drift_sd_per_decade";
        assert_eq!(line(long, "0.5"), format!("  {long}\n{blank}0.5{gap}why\n"));
        let text = line("sd", &"word ".repeat(20));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.ends_with(&format!("\n{}why\n", " ".repeat(42))), "{text}");
    }

    #[test]
    fn values_read_alike_in_json() {
        assert_eq!(value_document("1e-9"), json!(1e-9));
        assert_eq!(value_document("\"rows\""), json!("rows"));
        assert_eq!(value_document("true"), json!(true));
    }
}
