//! Golden cases of exact IR drop: every `.npz` of the folder `golden/ir` is one test.
//!
//! The cases are not part of the repository. They are looked for below `$NVCIM_SHARED`, or else below a
//! folder `shared` beside the repository; where there are none, a line on stderr says so. A case holds the
//! conductances `G` [word lines, bit lines], the vectors `V` [word lines, vectors], the wires `r_wl`,
//! `r_bl`, `r_source`, `r_sense`, the currents `I` [vectors, bit lines], and some hold the transfer matrix
//! `T` [bit lines, word lines] and what ngspice says of the first vector, `I_ngspice_vec0`.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use ndarray::{Array0, Array1, Array2, ArrayView1, Axis};
use ndarray_npy::{NpzReader, ReadNpzError, ReadableElement};
use nvcim_chip::network::Wires;
use nvcim_chip::network::cell_law::CellLaw;
use nvcim_chip::network::nonlinear::Crossbar;
use nvcim_chip::network::passive::transfer_matrix;

/// Five independent solvers agree to 4e-13 of a vector's largest current; a direct one is held to this.
const DIRECT: f64 = 1e-9;
/// ngspice prints seven digits and adds 1 pS at every node.
const NGSPICE: f64 = 1e-6;
/// What the iterative solver is asked for; it is then held to [`DIRECT`].
const ASKED: f64 = 1e-10;

#[expect(
    clippy::print_stderr,
    reason = "a missing folder must be seen, and this is the test's main"
)]
fn main() {
    let arguments = Arguments::from_args();
    let folder = find_shared().join("golden/ir");
    let cases = list_cases(&folder);
    if cases.is_empty() {
        eprintln!(
            "\nSKIPPED: 0 golden cases of IR drop: no `.npz` in `{}`\n  hint: set `NVCIM_SHARED` to the \
             folder that holds `golden`\n",
            folder.display()
        );
    }
    let trials = cases.into_iter().map(|path| {
        let stem = path.file_stem().expect("files have names").to_string_lossy().into_owned();
        Trial::test(format!("golden::ir::{stem}"), move || check_case(&path))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// The folder that holds what is not part of the repository.
fn find_shared() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    env::var_os("NVCIM_SHARED").map_or_else(|| package.join("../../../shared"), PathBuf::from)
}

fn list_cases(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut cases: Vec<_> =
        entries.filter(|it| it.extension().is_some_and(|it| it == "npz")).collect();
    cases.sort();
    cases
}

/// One case as stored.
struct Case {
    g: Array2<f64>,
    volts: Array2<f64>,
    currents: Array2<f64>,
    wires: Wires,
    transfer: Option<Array2<f64>>,
    ngspice: Option<Array1<f64>>,
}

fn read_case(path: &Path) -> Result<Case, Failed> {
    let mut npz = NpzReader::new(File::open(path)?)?;
    let mut ohm = |name: &str| -> Result<f64, Failed> {
        let value: Array0<f64> = npz.by_name(name)?;
        Ok(value.into_scalar())
    };
    let wires = Wires {
        word_line_ohm: ohm("r_wl")?,
        bit_line_ohm: ohm("r_bl")?,
        driver_ohm: ohm("r_source")?,
        sense_ohm: ohm("r_sense")?,
    };
    Ok(Case {
        g: npz.by_name("G")?,
        volts: npz.by_name("V")?,
        currents: npz.by_name("I")?,
        wires,
        transfer: read_if_there(&mut npz, "T")?,
        ngspice: read_if_there(&mut npz, "I_ngspice_vec0")?,
    })
}

fn read_if_there<T: ReadableElement, D: ndarray::Dimension>(
    npz: &mut NpzReader<File>,
    name: &str,
) -> Result<Option<ndarray::Array<T, D>>, Failed> {
    let is_there = npz.names()?.iter().any(|it| it.trim_end_matches(".npy") == name);
    if is_there {
        npz.by_name(name).map(Some).map_err(|error: ReadNpzError| error.into())
    } else {
        Ok(None)
    }
}

fn check_case(path: &Path) -> Result<(), Failed> {
    let case = read_case(path)?;
    let transfer = transfer_matrix(case.g.view(), &case.wires);
    if let Some(wanted) = &case.transfer {
        let got = transfer.flatten();
        check("the transfer matrix", got.view(), wanted.flatten().view(), DIRECT)?;
    }
    let crossbar = Crossbar::new(case.g.view(), &case.wires, CellLaw::Ohmic);
    let mut workspace = crossbar.new_workspace();
    let mut iterative = Array1::zeros(case.g.ncols());
    for (vector, (volts, wanted)) in
        case.volts.columns().into_iter().zip(case.currents.rows()).enumerate()
    {
        let direct = transfer.dot(&volts.insert_axis(Axis(1))).remove_axis(Axis(1));
        check(&format!("vector {vector}, direct"), direct.view(), wanted, DIRECT)?;
        let out = iterative.as_slice_mut().expect("fresh arrays are contiguous");
        crossbar.solve(&volts.to_vec(), ASKED, &mut workspace, out)?;
        check(&format!("vector {vector}, iterative"), iterative.view(), wanted, DIRECT)?;
        if let (0, Some(ngspice)) = (vector, &case.ngspice) {
            check("ngspice", direct.view(), ngspice.view(), NGSPICE)?;
        }
    }
    Ok(())
}

/// Compares with what is `wanted`, relative to its largest magnitude.
fn check(
    what: &str,
    got: ArrayView1<'_, f64>,
    wanted: ArrayView1<'_, f64>,
    limit: f64,
) -> Result<(), Failed> {
    if got.len() != wanted.len() {
        return Err(format!("{what}: {} values, {} are wanted", got.len(), wanted.len()).into());
    }
    let scale = wanted.fold(0.0, |max: f64, value| max.max(value.abs()));
    for (at, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let difference = (got - wanted).abs();
        if difference.is_nan() || difference > limit * scale {
            let share = difference / scale;
            return Err(format!(
                "{what}: value {at} is {got:e}, wanted {wanted:e}: {share:e} of the largest"
            )
            .into());
        }
    }
    Ok(())
}
