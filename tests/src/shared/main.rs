//! Tests on third-party networks and data sets that are not part of the repository.
//!
//! They are looked for in `$NVCIM_SHARED`, or else in a folder `shared` beside the repository. Where
//! there is none, every test counts as ignored, and a line on stderr says so.

mod deployments;
mod networks;

use libtest_mimic::{Arguments, Trial};
use nvcim_tests::find_shared;

#[expect(clippy::print_stderr, reason = "a skipped test must be seen, and this is the test's main")]
fn main() {
    let arguments = Arguments::from_args();
    let (folder, there) = match find_shared() {
        Ok(folder) => (folder, true),
        Err(folder) => (folder, false),
    };
    let trials: Vec<Trial> = (networks::trials(&folder).into_iter())
        .chain(deployments::trials(&folder))
        .map(|it| it.with_ignored_flag(!there))
        .collect();
    if !there {
        eprintln!(
            "\nSKIPPED: all {} tests on shared data are skipped: no `MANIFEST.toml` in",
            trials.len()
        );
        eprintln!(
            "  `{}`\n  hint: set `NVCIM_SHARED` to the folder that holds it\n",
            folder.display()
        );
    }
    libtest_mimic::run(&arguments, trials).exit();
}
