//! The operators that an imported network may hold, in words for `docs/operators.md`.

use crate::ops::table::{OPERATORS, Operator, Place};

/// The operators that run, as the table of `docs/operators.md`.
pub fn describe_operators() -> String {
    let place = |place| match place {
        Place::Arrays => "arrays",
        Place::Digital => "digital",
        Place::Either => "arrays or digital",
    };
    let row = |it: &Operator| {
        format!("| {} | {} | {} | {} |\n", it.name, it.since, place(it.place), it.limits)
    };
    let rows: String = OPERATORS.iter().map(row).collect();
    format!("| operator | since | runs | limits |\n|---|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::describe_operators;
    use crate::ops::table::OPERATORS;

    /// The page up to its table.
    const HEAD: &str = "\
# Operators

What of ONNX an imported network may hold, made by `NVCIM_BLESS=1 cargo test -p nvcim-onnx operators` from
the table that the import reads. `since` is the first operator set accepted that holds the operator; each
is read as its later sets define it, too. What runs on arrays is programmed into cells; what is digital
has a reason, which `nvcim check` prints for every node. Constant, Shape, and whatever depends on nothing
but constants are computed at import. The batch may leave axis 0 where samples stay apart.

`cargo test --workspace --test parity -- --nocapture` counts, operator by operator, which node tests of the
ONNX standard and which small networks as PyTorch exports them give the numbers of their makers, once the
scripts in `tests/parity` have written them; a wrong number fails it.

";

    #[test]
    fn operators_are_sorted_so_that_they_are_found() {
        assert!(OPERATORS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn the_page_of_operators_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operators.md");
        let want = format!("{HEAD}{}", describe_operators());
        if std::env::var_os("NVCIM_BLESS").is_some() {
            std::fs::write(path, &want).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == want, "`docs/operators.md` is stale: bless it with NVCIM_BLESS=1");
    }
}
