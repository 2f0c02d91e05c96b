//! A case as a chip of ours: its converters as a chip file, its cells as a prepared tile.

use ndarray::Array2;
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::file::parse_chip;
use nvcim_chip::real::Real;
use nvcim_ir::ids::{Id, TileId};
use nvcim_ops::run_program::{Columns, Nth};
use nvcim_sim::conditions::Conditions;
use nvcim_sim::drive::{Coding, Driver, Drives, Part};
use nvcim_sim::kernel::{Currents, Kernel};
use nvcim_sim::noise::{Block, Purpose};
use nvcim_sim::periphery::{Periphery, Sense};
use nvcim_sim::tile::{PreparedTile, Target, TileScratch, Worth};

use crate::case::{Case, Settings};
use crate::cells::Cells;

/// A case ready to run in either type.
pub(crate) struct Setup {
    pub(crate) cells: Cells,
    pub(crate) periphery: Periphery,
    /// `[conversions, inputs]`, in the order of the worths.
    pub(crate) currents: Currents,
    pub(crate) senses: Vec<Sense>,
    /// What each conversion counts for: the target and its scale.
    pub(crate) worths: Vec<(Target, f64)>,
    part: Part,
    n_outputs: usize,
}

impl Setup {
    pub(crate) fn new(case: &Case) -> Self {
        let settings = &case.settings;
        let cells = Cells::new(case);
        let mut effects = EffectSet::NONE;
        if settings.bits("dac_bits") > 0 {
            effects = effects.with(Effect::Dac);
        }
        if settings.bits("adc_bits") > 0 {
            effects = effects.with(Effect::Adc);
        }
        let conditions = Conditions { effects, at_s: 0.0, extrapolate: false, run_seed: 0 };
        let mut setup = Self {
            periphery: Periphery::new(&describe(settings), 0, &conditions),
            currents: Currents {
                weights: Array2::zeros((0, case.w.ncols())),
                variances: None,
                leakage: Vec::new(),
            },
            senses: Vec::new(),
            worths: Vec::new(),
            part: if settings.flag("dac_signed") { Part::Whole } else { Part::Positive },
            n_outputs: case.w.nrows(),
            cells,
        };
        setup.add_conversions(settings);
        setup
    }

    /// One conversion per output and slice, or two where currents are subtracted after their converters.
    fn add_conversions(&mut self, settings: &Settings) {
        for (number, slice) in self.cells.slices.iter().enumerate() {
            let lines: Vec<(Array2<f64>, f64)> = match &slice.lines[..] {
                [plus, minus] if settings.flag("subtract_current_in_xbar") => {
                    vec![(plus - minus, slice.scale)]
                }
                [plus, minus] => vec![(plus.clone(), slice.scale), (minus.clone(), -slice.scale)],
                lines => vec![(lines[0].clone(), slice.scale)],
            };
            let range = settings.range(number);
            for (weights, scale) in lines {
                for (output, weights) in weights.outer_iter().enumerate() {
                    self.currents.weights.push_row(weights).expect("one weight per input");
                    self.senses.push(Sense { gain: 1.0, offset_lsb: 0.0, range, levels: None });
                    self.worths.push(match (self.cells.unit_column, output) {
                        (true, 0) => (Target::AllColumns, -scale),
                        (true, _) => (Target::Column(output - 1), scale),
                        (false, _) => (Target::Column(output), scale),
                    });
                }
            }
        }
    }

    /// The drives of the case's inputs.
    pub(crate) fn drives<T: Real>(&self, case: &Case) -> Drives<T> {
        let mut drives = Drives::default();
        let driver = Driver::new(&self.periphery);
        drives.fill(&driver, &[self.part], Coding::plain(T::ONE), case.x.view(), block(case));
        drives
    }

    /// The outputs, computed in `T` and summed in `O`.
    pub(crate) fn multiply<T: Real, O: Real>(&self, case: &Case) -> Array2<O> {
        let scale = |&(target, scale)| Worth { target, scale: T::from_f64(scale), shift: T::ZERO };
        let drive_sum = self.cells.drive_sum;
        let tile = PreparedTile::<T> {
            id: TileId::new(0),
            rows: 0..case.x.nrows(),
            cols: 0..self.n_outputs,
            kernel: Kernel::new(&self.periphery, &self.currents, &self.senses),
            worths: self.worths.iter().map(scale).collect(),
            drive_sum: if drive_sum == 0.0 {
                Vec::new()
            } else {
                vec![T::from_f64(drive_sum); self.n_outputs]
            },
            shift: 0,
        };
        let mut y = Array2::from_elem((self.n_outputs, case.x.ncols()), O::ZERO);
        let drives = self.drives(case);
        tile.multiply(&drives, block(case).columns, y.view_mut(), &mut TileScratch::default());
        y
    }
}

/// All vectors as positions of one sample.
pub(crate) fn block(case: &Case) -> Block {
    let columns = Columns { first_sample: 0, per_sample: case.x.ncols(), layer_use: Nth::ONLY };
    Block { purpose: Purpose::Inference, unit: 0, cells: 0, columns }
}

/// The converters of a case as a chip file.
///
/// A signed DAC of `b` bits has `2^(b - 1) - 1` steps on either side of 0, so the magnitude has one bit
/// less. Resolutions of 0 stand for converters that are left out, which is the effects' business.
fn describe(settings: &Settings) -> Chip {
    let dac_bits = settings.bits("dac_bits");
    let magnitude = if settings.flag("dac_signed") { dac_bits.max(2) - 1 } else { dac_bits.max(1) };
    let drive = if settings.flag("input_bitslicing") {
        let accumulate = if settings.flag("adc_per_ibit") { "digital" } else { "analog" };
        let bits = settings.bits("input_slice_size");
        format!("\"bit-serial\"\nbits_per_slice = {bits}\naccumulate = \"{accumulate}\"")
    } else {
        "\"amplitude\"".to_owned()
    };
    let coding = match settings.text("adc_model") {
        "QuantizerADC" => "binary",
        "SignMagnitudeADC" => "sign-magnitude",
        model => panic!("a converter `{model}` has no rules"),
    };
    let text = format!(
        r#"
schema = 1
kind = "chip"
name = "case"
[arrays]
rows = 65536
columns = 256
topology = "passive"
[cell]
g_min_siemens = 0
g_max_siemens = 1e-4
[dac]
bits = {magnitude}
drive = {drive}
negative = "sign-magnitude"
[adc]
bits = {}
lo_cells = -1
hi_cells = 1
coding = "{coding}"
"#,
        settings.bits("adc_bits").max(2),
    );
    parse_chip(&text, "case").expect("the text follows the format").output
}
