//! Checks that a die record fits its chip.

use nvcim_chip::describe::Chip;
use nvcim_chip::record::{ArrayRecord, DieRecord};
use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};

/// Checks a die record against the chip that it is to stand for.
///
/// 1. Stuck cells lie inside their array, at a conductance that is finite and not negative.
/// 2. Column gains and offsets are finite; there is one per bit line, or none at all.
///
/// # Errors
/// Every rule broken, with the array.
pub fn check_record(chip: &Chip, record: &DieRecord) -> Result<()> {
    let mut problems = Vec::new();
    for (id, array) in record.arrays.iter_enumerated() {
        if let Err(message) = check_array(chip, array) {
            let place = format!("die `{}`: {id}", record.name);
            let hint = "sample or import the die for the chip that it is used with";
            problems.push(Diagnostic::bad_input(place, message).hint(hint));
        }
    }
    fail_if_any(problems)
}

fn check_array(chip: &Chip, array: &ArrayRecord) -> std::result::Result<(), String> {
    let (n_rows, n_cols) = (chip.arrays.n_rows, chip.arrays.n_cols);
    for cell in &array.stuck {
        let (row, col, g) = (cell.row, cell.col, cell.g);
        if row as usize >= n_rows || col as usize >= n_cols {
            return Err(format!(
                "stuck cell at row {row}, column {col} is outside {n_rows}x{n_cols}"
            ));
        }
        if !(g.is_finite() && g >= 0.0) {
            let at = format!("row {row}, column {col}");
            return Err(format!("stuck cell at {at} holds {g} S, must be finite and at least 0"));
        }
    }
    let columns =
        [("column gains", &array.column_gain), ("column offsets", &array.column_offset_lsb)];
    for (name, values) in columns {
        if !values.is_empty() && values.len() != n_cols {
            return Err(format!("has {} {name} for {n_cols} bit lines", values.len()));
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(format!("has {value} among its {name}, must be finite"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nvcim_chip::record::StuckCell;
    use nvcim_ir::ids::{ArrayId, Id};

    use super::check_record;
    use crate::sample::sample_die;
    use crate::testing::plain_chip;

    #[test]
    fn a_sampled_die_fits_its_chip() {
        let chip = plain_chip();
        assert!(check_record(&chip, &sample_die(&chip, 0, 2)).is_ok());
    }

    #[test]
    fn every_misfit_is_told() {
        let chip = plain_chip();
        let mut die = sample_die(&chip, 0, 3);
        die.arrays[ArrayId::new(0)].stuck.push(StuckCell { row: 99, col: 0, g: 0.0 });
        die.arrays[ArrayId::new(1)].column_gain = vec![1.0];
        die.arrays[ArrayId::new(2)].column_offset_lsb = vec![f32::NAN; chip.arrays.n_cols];
        let problems = check_record(&chip, &die).unwrap_err();
        let places: Vec<_> = problems.iter().map(|problem| problem.at.as_str()).collect();
        assert_eq!(places, ["die `plain-0`: a0", "die `plain-0`: a1", "die `plain-0`: a2"]);
        assert!(problems[0].message.contains("row 99"), "{}", problems[0]);
    }
}
