//! Quantised products of another program, case by case, through the one kernel in f64 and in f32.
//!
//! The cases lie in `golden/quant` of `$NVCIM_SHARED`, or else of a folder `shared` beside the
//! repository; its README states the rules that they follow. Where there are none, the run says so and
//! passes. Bounds: 1e-6 on outputs in f64, whatever the case; 1e-5 in f32, except where a converter's
//! input lies within [`f32_run::NEAR_A_TIE`] of a rounding tie, which is counted and must stay rare.

mod case;
mod cells;
mod f32_run;
mod setup;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use ndarray::Array2;

use crate::case::Case;
use crate::setup::Setup;

/// The most that an output in f64 may be off.
const TOLERANCE: f64 = 1e-6;
/// The most that a conductance may be off: one of the cases holds them in f32.
const CONDUCTANCE_TOLERANCE: f64 = 1e-7;

fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    env::var_os("NVCIM_SHARED").map_or_else(beside, PathBuf::from).join("golden/quant")
}

/// The cases there are, by name.
fn list_cases(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut cases: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "npz")).collect();
    cases.sort();
    cases
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen, and this is the test's main")]
fn main() {
    let arguments = Arguments::from_args();
    let folder = folder();
    let cases = list_cases(&folder);
    let mut trials = Vec::new();
    for path in &cases {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (wide, narrow) = (path.clone(), path.clone());
        trials.push(Trial::test(format!("golden_quant::{name}::f64"), move || check_wide(&wide)));
        trials.push(Trial::test(format!("golden_quant::{name}::f32"), move || {
            f32_run::check(&Case::read(&narrow)?)
        }));
    }
    if cases.is_empty() {
        eprintln!("\nSKIPPED: 0 golden products are checked: no `.npz` in");
        eprintln!(
            "  `{}`\n  hint: set `NVCIM_SHARED` to the folder that holds `golden/quant`\n",
            folder.display()
        );
        trials.push(Trial::test("golden_quant", || Ok(())).with_ignored_flag(true));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn check_wide(path: &Path) -> Result<(), Failed> {
    let case = Case::read(path)?;
    let setup = Setup::new(&case);
    check_conductances(&case, &setup)?;
    let drives = setup.drives::<f64>(&case);
    let mut row = vec![0.0; case.x.ncols()];
    for (input, want) in case.xq.outer_iter().enumerate() {
        drives.sum_rows(input..input + 1, &mut row);
        let worst = want.iter().zip(&row).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if worst > 1e-12 {
            return Err(format!("drive {input} is off by {worst}").into());
        }
    }
    let y: Array2<f64> = setup.multiply::<f64, f64>(&case);
    within(&y, &case.y, TOLERANCE, "`Y`")?;
    within(&y, &case.y_ref64, TOLERANCE, "`Y_ref64`")
}

fn check_conductances(case: &Case, setup: &Setup) -> Result<(), Failed> {
    let got = setup.cells.stack();
    if got.shape() != case.g_norm.shape() {
        let (got, want) = (got.shape(), case.g_norm.shape());
        return Err(format!("conductances are {got:?}, not {want:?}").into());
    }
    let off = got.iter().zip(&case.g_norm).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    if off > CONDUCTANCE_TOLERANCE {
        return Err(format!("a conductance is off by {off}").into());
    }
    Ok(())
}

/// Whether every entry lies within `tolerance` of the wanted one.
fn within(got: &Array2<f64>, want: &Array2<f64>, tolerance: f64, name: &str) -> Result<(), Failed> {
    if got.dim() != want.dim() {
        return Err(format!("{name} is {:?}, not {:?}", want.dim(), got.dim()).into());
    }
    let off = |(a, b): (&f64, &f64)| if a.is_finite() { (a - b).abs() } else { f64::INFINITY };
    let worst = got.iter().zip(want).map(off).fold(0.0, f64::max);
    if worst > tolerance {
        return Err(format!("{name} is off by {worst}, at most {tolerance} is fine").into());
    }
    Ok(())
}
