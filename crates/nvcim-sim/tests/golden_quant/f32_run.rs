//! The case in f32, which may round a converter's input the other way where that lies near a tie.

use libtest_mimic::Failed;
use ndarray::{Array2, Zip};
use nvcim_chip::describe::Accumulate;
use nvcim_sim::drive::{Coding, Driver, Drives, Part};
use nvcim_sim::kernel::{Kernel, Scratch};
use nvcim_sim::periphery::Periphery;
use nvcim_sim::tile::Target;

use crate::case::Case;
use crate::setup::{Setup, block};

/// How near to a tie, in LSB, an input may be converted either way: some 10 roundings of f32 at 255 LSB.
pub(crate) const NEAR_A_TIE: f64 = 2e-4;
/// The most that an output in f32 may be off.
const TOLERANCE: f64 = 1e-5;
/// The most outputs that may go unchecked, as a share.
const MOST_UNCHECKED: f64 = 0.02;

pub(crate) fn check(case: &Case) -> Result<(), Failed> {
    let setup = Setup::new(case);
    let y = setup.multiply::<f32, f32>(case).mapv(f64::from);
    let unsure = near_ties(case, &setup);
    let mut worst = 0.0f64;
    Zip::from(&y).and(&case.y).and(&unsure).for_each(|got, want, &unsure| {
        let off = if got.is_finite() { (got - want).abs() } else { f64::INFINITY };
        worst = worst.max(if unsure { 0.0 } else { off });
    });
    let n_unsure = unsure.iter().filter(|unsure| **unsure).count();
    if n_unsure as f64 > MOST_UNCHECKED * y.len() as f64 {
        return Err(format!("{n_unsure} of {} outputs lie near a tie", y.len()).into());
    }
    if worst > TOLERANCE {
        let rest = y.len() - n_unsure;
        return Err(format!("{rest} outputs away from ties are off by up to {worst}").into());
    }
    Ok(())
}

/// Which outputs have a conversion near a tie, `[outputs, vectors]`, by the f64 run.
fn near_ties(case: &Case, setup: &Setup) -> Array2<bool> {
    let mut unsure = Array2::from_elem(case.y.dim(), false);
    if !setup.periphery.rounds {
        return unsure;
    }
    for drive in converted_drives(case, &setup.periphery) {
        let codes = exact_codes(case, setup, &drive);
        for (codes, (target, _)) in codes.outer_iter().zip(&setup.worths) {
            let tie = codes.mapv(|code| ((code - code.floor()) - 0.5).abs() < NEAR_A_TIE);
            for (output, mut unsure) in unsure.outer_iter_mut().enumerate() {
                if matches!(target, Target::AllColumns) || *target == Target::Column(output) {
                    unsure.zip_mut_with(&tie, |unsure, tie| *unsure |= tie);
                }
            }
        }
    }
    unsure
}

/// What word lines see of each conversion, in full scales: the drives, or their slices.
fn converted_drives(case: &Case, periphery: &Periphery) -> Vec<Array2<f64>> {
    let slicing = periphery.slicing.filter(|it| it.accumulate == Accumulate::Digital);
    let Some(slicing) = slicing else { return vec![case.xq.clone()] };
    let steps = f64::from((1u32 << slicing.bits) - 1);
    let base = f64::from(1u32 << slicing.bits_per_slice);
    let slice = |slice: u32| {
        case.xq.mapv(|x| {
            let code = (x.abs() * steps).round_ties_even();
            let digit = (code / base.powi(slice as i32)).floor() % base;
            x.signum() * digit / (base - 1.0)
        })
    };
    (0..slicing.n_slices).map(slice).collect()
}

/// The converters' inputs in codes: what the kernel answers without converters.
fn exact_codes(case: &Case, setup: &Setup, drive: &Array2<f64>) -> Array2<f64> {
    let bare =
        Periphery { dac_bits: None, slicing: None, rounds: false, ..setup.periphery.clone() };
    let kernel = Kernel::<f64>::new(&bare, &setup.currents, &setup.senses);
    let mut drives = Drives::default();
    drives.fill(&Driver::new(&bare), &[Part::Whole], Coding::plain(1.0), drive.view(), block(case));
    let mut codes = Array2::zeros((setup.senses.len(), case.x.ncols()));
    let room = codes.as_slice_mut().expect("a new array is contiguous");
    let drive = drives.pass(0, 0..case.x.nrows());
    kernel.convert(&drive, block(case), room, &mut Scratch::default());
    codes
}
