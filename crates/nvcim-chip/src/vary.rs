//! A chip with some numbers of its file changed: how studies state strengths, and the points of sweeps.

use nvcim_ir::diag::{Diagnostic, Result, Warned};
use toml::{Table, Value};

use crate::describe::Chip;
use crate::file::{parse_chip, write_chip};

/// The chip whose canonical file has these numbers under these dotted keys.
///
/// Tables that the file lacks are made, so that a chip may be given an effect that it does not have.
///
/// # Errors
/// A key that is no key of a chip file, or a value beyond its limits, as [`parse_chip`] reports them.
pub fn vary_chip(chip: &Chip, numbers: &[(String, f64)]) -> Result<Warned<Chip>> {
    let changes: Vec<_> = numbers.iter().map(|(key, value)| format!("{key} = {value:?}")).collect();
    let place = format!("chip `{}` with {}", chip.name, changes.join(", "));
    let mut file: Table = write_chip(chip)
        .parse()
        .map_err(|error| Diagnostic::internal(&place, format!("is not valid TOML: {error}")))?;
    for (key, value) in numbers {
        set_number(&mut file, key, *value)
            .ok_or_else(|| Diagnostic::bad_input(&place, format!("`{key}` is no number's key")))?;
    }
    parse_chip(&file.to_string(), &place)
}

/// Puts a number under a dotted key, as a whole one unless it is a fraction or stands for one; `None` where something
/// else than tables and numbers is in the way.
fn set_number(file: &mut Table, key: &str, value: f64) -> Option<()> {
    let (tables, last) = match key.rsplit_once('.') {
        Some((tables, last)) => (Some(tables), last),
        None => (None, key),
    };
    let mut table = file;
    for name in tables.into_iter().flat_map(|tables| tables.split('.')) {
        let entry = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut()?;
    }
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    let number = match table.get(last) {
        Some(Value::Integer(_)) | None if whole => Value::Integer(value as i64),
        Some(Value::Integer(_) | Value::Float(_)) | None => Value::Float(value),
        Some(_) => return None,
    };
    table.insert(last.to_owned(), number);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::vary_chip;
    use crate::describe::Chip;
    use crate::presets::find_preset;

    fn vary(numbers: &[(&str, f64)]) -> Result<Chip, String> {
        let chip = find_preset("stress-a").unwrap();
        let numbers: Vec<_> =
            numbers.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        let varied = vary_chip(&chip, &numbers).map(|it| it.output);
        varied.map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn the_keys_take_their_values_and_nothing_else_changes() {
        let mut expected = find_preset("stress-a").unwrap();
        let stuck = expected.effects.stuck.as_mut().unwrap();
        (stuck.stuck_gmin, stuck.stuck_gmax) = (0.125, 0.25);
        let keys = [("effects.stuck.stuck_gmin", 0.125), ("effects.stuck.stuck_gmax", 0.25)];
        assert_eq!(vary(&keys), Ok(expected));
    }

    #[test]
    fn whole_numbers_stay_whole_and_missing_effects_are_made() {
        assert_eq!(vary(&[("adc.bits", 4.0)]).unwrap().adc.bits, 4);
        assert_eq!(vary(&[("holds.copies", 16.0)]).unwrap().holds.copies, Some(16));
        let noisy = vary(&[("effects.output_noise.sd_lsb", 2.0)]).unwrap();
        assert_eq!(noisy.effects.output_noise.map(|it| it.sd_lsb), Some(2.0));
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        let refused = |key: &str, value| vary(&[(key, value)]).unwrap_err();
        assert!(refused("adc.bitz", 4.0).contains("`adc.bitz`: is not a known key"));
        assert!(refused("adc.bits", 4.5).contains("must be a whole number"));
        assert!(refused("name", 1.0).contains("`name` is no number's key"));
    }
}
