//! A simulated die is written low and high and driven through the trait that a bench has too; the fault map that is
//! found from its codes is the one that it was made with.

use std::path::Path;

use ndarray::{Array2, Array4, s};
use ndarray_npy::write_npy;
use nvcim::conditions::Conditions;
use nvcim::describe::Chip;
use nvcim::die_reads::find_die_faults;
use nvcim::effects::EffectSet;
use nvcim::ids::{ArrayId, Id};
use nvcim::presets::find_preset;
use nvcim::record::DieRecord;
use nvcim::sample::sample_die;
use nvcim_chip::die::{Conversion, Die};
use nvcim_correct::localize::{reads_needed, search_drives};
use nvcim_ir::tiled::AdcRange;
use nvcim_sim::die::SimDie;

const N_ARRAYS: usize = 2;

/// Stress chip A with fewer columns: stuck cells, programming error, gains, offsets and a 6-bit converter.
fn small_chip() -> Chip {
    let mut chip = find_preset("stress-a").expect("a preset");
    chip.arrays.n_cols = 16;
    chip
}

/// Codes of all columns, `[2, reads, arrays, columns]`: what a bench would write down.
fn measure(chip: &Chip, record: &DieRecord, drives: &Array2<f64>) -> Array4<f64> {
    let conditions =
        Conditions { effects: EffectSet::ALL, at_s: 0.0, extrapolate: false, run_seed: 5 };
    let mut die = SimDie::new(chip, record, conditions);
    let (n_rows, n_cols) = (chip.arrays.n_rows, chip.arrays.n_cols);
    let rows: Vec<u32> = (0..n_rows as u32).collect();
    let cols: Vec<u32> = (0..n_cols as u32).collect();
    // Half of 128 rows at their highest, with room above.
    let range = AdcRange { lo: -10.0, hi: 90.0 };
    let conversions: Vec<_> =
        cols.iter().map(|&col| Conversion { col, minus: None, range }).collect();
    let mut codes = Array4::zeros((2, drives.nrows(), N_ARRAYS, n_cols));
    for at in 0..N_ARRAYS {
        for (write, g) in [chip.cell.g_min, chip.cell.g_max].into_iter().enumerate() {
            let array = ArrayId::new(at);
            let targets = Array2::from_elem((n_rows, n_cols), g as f32);
            die.program(array, &rows, &cols, targets.view()).expect("lines exist");
            let drives = drives.mapv(|x| x as f32);
            let got = die.mvm(array, &rows, drives.view(), &conversions).expect("lines exist");
            codes.slice_mut(s![write, .., at, ..]).assign(&got.mapv(f64::from));
        }
    }
    codes
}

fn find(folder: &Path, chip: &Chip) -> nvcim::diag::Result<nvcim::diag::Warned<DieRecord>> {
    find_die_faults(&folder.join("x.npy"), &folder.join("y.npy"), chip, None)
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("nvcim-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is room for a folder");
    folder
}

#[test]
fn the_fault_map_of_a_simulated_die_is_found_from_its_codes() {
    let chip = small_chip();
    let record = sample_die(&chip, 4, N_ARRAYS);
    // A code is 100 / 63 swings; rounding has a standard deviation of 0.46 of one.
    let n_reads = reads_needed(chip.arrays.n_rows, 0.0904, 0.03, 0.46);
    let drives = search_drives(n_reads, chip.arrays.n_rows, 0);
    let folder = folder("faults");
    write_npy(folder.join("x.npy"), &drives).expect("there is room");
    write_npy(folder.join("y.npy"), &measure(&chip, &record, &drives)).expect("there is room");
    let found = find(&folder, &chip).expect("files are sound");
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    assert_eq!((found.output.chip_hash, found.output.seed), (record.chip_hash, None));
    for (id, array) in record.arrays.iter_enumerated() {
        assert!(array.stuck.len() > 100, "{id} has faults to find");
        assert_eq!(found.output.arrays[id].stuck, array.stuck, "{id}");
    }
    std::fs::remove_dir_all(folder).expect("the folder is there");
}

#[test]
fn files_that_do_not_fit_say_which_shape_is_meant() {
    let chip = small_chip();
    let folder = folder("shapes");
    let problem = |x: &Array2<f64>, y: &Array4<f64>| {
        write_npy(folder.join("x.npy"), x).expect("there is room");
        write_npy(folder.join("y.npy"), y).expect("there is room");
        find(&folder, &chip).expect_err("shapes do not fit")[0].to_string()
    };
    let x = Array2::<f64>::zeros((4, 128));
    let y = |shape| Array4::<f64>::zeros(shape);
    let cases = [
        (Array2::zeros((4, 64)), y((2, 4, 1, 16)), "drives 64 rows, arrays of `stress-a` have 128"),
        (x.clone(), y((1, 4, 1, 16)), "has results of 1 writes, must be low and high"),
        (x.clone(), y((2, 5, 1, 16)), "has 5 reads, there are drives of 4"),
        (x.clone(), y((2, 4, 1, 8)), "has 8 columns, arrays of `stress-a` have 16"),
        (x.clone(), y((2, 4, 0, 16)), "has 0 arrays"),
        (x.clone(), y((2, 4, 1, 16)), "no columns whose results rise"),
        (x.mapv(|_| 2.0), y((2, 4, 1, 16)), "must be 0 to 1"),
    ];
    for (x, y, wanted) in cases {
        let got = problem(&x, &y);
        assert!(got.contains(wanted), "{got}");
    }
    std::fs::write(folder.join("x.npy"), "no array").expect("there is room");
    let got = find(&folder, &chip).expect_err("no array")[0].to_string();
    assert!(got.contains("is no `.npy` array"), "{got}");
    std::fs::remove_dir_all(folder).expect("the folder is there");
}
