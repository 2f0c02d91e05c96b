//! Times since programming as people write them: `0s`, `20m`, `1d`, `10y`.

/// Seconds of a Julian year, as drift models count it.
pub const YEAR_S: f64 = 3.155_76e7;

/// Reads a time with its unit, in seconds.
///
/// # Errors
/// What is wrong with the text, to follow its place.
pub fn parse_time(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "y" => YEAR_S,
        _ => return Err(format!("`{text}` needs a unit: s, m, h, d or y, as in 1d")),
    };
    match number.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value * seconds),
        _ => Err(format!("`{text}` is no time of 0 or more, as in 1d")),
    }
}

/// Reads a time, or the first and the last of a span, in seconds: `1y` or `1h..1y`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_span(text: &str) -> Result<[f64; 2], String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    match [parse_time(first)?, parse_time(last)?] {
        [first_s, last_s] if first_s > last_s => Err(format!("`{text}` ends before it begins")),
        span => Ok(span),
    }
}

/// A time of use in words, in the largest unit that [`parse_time`] takes and that leaves it above 1.
pub fn after_programming(at_s: f64) -> String {
    let units = [(YEAR_S, "y"), (86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")];
    let time = match units.into_iter().find(|(seconds, _)| at_s >= *seconds) {
        Some((seconds, unit)) => format!("{:.3} {unit}", at_s / seconds).replace(".000", ""),
        None if at_s > 0.0 => format!("{at_s} s"),
        None => return "right after programming".to_owned(),
    };
    format!("{time} after programming")
}

#[cfg(test)]
mod tests {
    use super::{after_programming, parse_span, parse_time};

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("1d"), Ok(86_400.0));
        assert_eq!(parse_time("10y"), Ok(3.155_76e8));
        assert_eq!(parse_time("1.5h"), Ok(5400.0));
        for wrong in ["5", "-1s", "1w", "s", "nan s", ""] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_one_time_or_two_in_order() {
        assert_eq!(parse_span("1d"), Ok([86_400.0; 2]));
        assert_eq!(parse_span("0s..1h"), Ok([0.0, 3600.0]));
        for wrong in ["1d..1h", "1h..", "..1h", "1h..1d..1y", ""] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(after_programming(0.0), "right after programming");
        assert_eq!(after_programming(31_557_600.0), "1 y after programming");
        assert_eq!(after_programming(5400.0), "1.500 h after programming");
    }
}
