//! Golden cases: every `tests/suite/**/*.txt` is one test, named by its path.
//!
//! A file holds settings (`# key: value` lines), an input, a line of three dashes, and what must come
//! out. The first folder names the stage that runs; cases in `errors/STAGE/` must be refused, all others
//! must pass. `NVCIM_BLESS=1` writes what came out instead of comparing.

mod case;
mod network;
mod stages;

use std::env;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let bless = env::var_os("NVCIM_BLESS").is_some();
    let folder = nvcim_tests::repository().join("tests/suite");
    let trials = case::find_cases(&folder)
        .into_iter()
        .map(|(name, path)| {
            let test = name.replace('/', "::");
            Trial::test(test, move || case::check(&name, &path, bless))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
