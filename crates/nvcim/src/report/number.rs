//! Numbers as people read them: as many digits as say something, real minus signs, grouped counts.

/// The sign of negative numbers, as wide as a digit.
const MINUS: &str = "\u{2212}";

/// A space that keeps a number together.
const NARROW_SPACE: char = '\u{202f}';

/// A number with so many decimals; what rounds to zero has no sign.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) => {
            format!("{MINUS}{digits}")
        }
        Some(digits) => digits.to_owned(),
        None => text,
    }
}

/// A share in percent, kept on one line with its sign.
pub(super) fn percent(value: f64, decimals: usize) -> String {
    format!("{}{NARROW_SPACE}%", fixed(value, decimals))
}

/// A number with so many significant digits, in powers of ten where it is very small or large.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return fixed(value, 0);
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let exponent = scientific.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok());
    match exponent {
        Some(power) if (-4..6).contains(&power) => {
            fixed(value, (digits as i32 - 1 - power).max(0) as usize)
        }
        _ => scientific.replace('-', MINUS),
    }
}

/// A count, thousands kept apart.
pub(super) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut res = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            res.push(NARROW_SPACE);
        }
        res.push(digit);
    }
    res
}

/// A count with its noun.
pub(super) fn counted(value: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// The least and the most of several counts with their noun, once where they are equal.
pub(super) fn counted_range(values: impl Iterator<Item = usize>, one: &str, many: &str) -> String {
    let (least, most) = values.fold((usize::MAX, 0), |(a, b), it| (a.min(it), b.max(it)));
    let most_counted = counted(most, one, many);
    if least < most { format!("{} to {most_counted}", count(least)) } else { most_counted }
}

/// A conductance in the unit that suits it.
pub(super) fn siemens(value: f64) -> String {
    let units = [(1.0, "S"), (1e-3, "mS"), (1e-6, "\u{b5}S"), (1e-9, "nS")];
    if value == 0.0 {
        return format!("0{NARROW_SPACE}S");
    }
    // Three digits that round up to the next unit's 1 are written in that unit.
    let fits = |size: f64| value.abs() >= size * 0.9995;
    let (size, unit) = units.into_iter().find(|(size, _)| fits(*size)).unwrap_or((1e-12, "pS"));
    let text = significant(value / size, 3);
    let short = if text.contains('.') { text.trim_end_matches('0') } else { &text };
    format!("{}{NARROW_SPACE}{unit}", short.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::{count, counted, counted_range, fixed, siemens, significant};

    #[test]
    fn signs_are_real_and_zero_has_none() {
        assert_eq!(fixed(-1.25, 1), "\u{2212}1.2");
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(99.999, 2), "100.00");
    }

    #[test]
    fn digits_that_count_are_kept() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (9.996, "10.0"),
            (123_456.0, "123456"),
            (-4.2e-9, "\u{2212}4.20e\u{2212}9"),
            (6.5e7, "6.50e7"),
        ] {
            assert_eq!(significant(value, 3), text);
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(123), "123");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(counted(1, "die", "dies"), "1 die");
        assert_eq!(counted(10, "die", "dies"), "10 dies");
        let range = |values: &[usize]| counted_range(values.iter().copied(), "die", "dies");
        assert_eq!(range(&[5, 2, 3]), "2 to 5 dies");
        assert_eq!(range(&[1, 1]), "1 die");
    }

    #[test]
    fn conductances_have_fitting_units() {
        assert_eq!(siemens(1e-9), "1\u{202f}nS");
        assert_eq!(siemens(1e-6), "1\u{202f}\u{b5}S");
        assert_eq!(siemens(2.5e-5), "25\u{202f}\u{b5}S");
        assert_eq!(siemens(1e-4), "100\u{202f}\u{b5}S");
        assert_eq!(siemens(0.0), "0\u{202f}S");
    }
}
