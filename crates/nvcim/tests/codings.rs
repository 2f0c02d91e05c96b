//! The bundled LeNet in every coding of weights and inputs, and on every preset: converters of sensible
//! resolution cost next to nothing, and mapping costs nothing.
//!
//! Float answers 99.11 % of the digits right, which is all but 4 of 450 images. Codings add up the same
//! products in other ways, so without effects they answer alike but for images on the border between two
//! classes; 8-bit converters may move a few more. One point is 4.5 images.

use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::demo;
use nvcim::describe::Chip;
use nvcim::effects::{Effect, EffectSet};
use nvcim::file::parse_chip;
use nvcim::model::Model;
use nvcim::pipeline::{CALIBRATION_IMAGES, CompileOptions, compile_model};
use nvcim::plan::{Correction, Plan};
use nvcim::presets::{PRESETS, find_preset};
use nvcim::simulate::{DieChoice, load_image, resolve_die, run_data};
use nvcim::tensor::Tensor;
use nvcim::verify::float_accuracy;

/// Points of accuracy that converters of 8 bits may cost.
const POINTS: f64 = 1.0;

/// Points that 5 and 6 bits, of two of the stress chips, may cost.
const POINTS_COARSE: f64 = 2.0;

/// Converters, and nothing else.
const CONVERTERS: EffectSet = EffectSet::NONE.with(Effect::Dac).with(Effect::Adc);

struct Bench {
    model: Model,
    calibration: Tensor,
    data: Dataset,
    float: f64,
}

impl Bench {
    fn new() -> Self {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let open = |spec| Dataset::open(spec, Preprocess::default()).expect("it is bundled");
        let shape = model.input_shape().expect("the model is sound");
        let calibration = open("digits:train").head(CALIBRATION_IMAGES, &shape);
        let data = open("digits");
        let float = float_accuracy(&model, &data).expect("tract runs it").expect("it has labels");
        Self { model, calibration: calibration.expect("there are enough"), data, float }
    }

    /// Accuracy in percent under `effects` of an image with the corrections of `plan` for a perfect die.
    fn accuracy(&self, chip: &Chip, effects: EffectSet, plan: Plan) -> f64 {
        let conditions = Conditions { effects, at_s: 0.0, extrapolate: false, run_seed: 0 };
        let options = CompileOptions {
            die: None,
            calibration: Some(&self.calibration),
            plan: Plan::NONE,
            conditions,
            base: None,
            use_s: None,
            pack: None,
        };
        let compile = |options| compile_model(&self.model, chip, options).expect("it fits").output;
        let naive = compile(&options).image;
        let die = resolve_die(&naive, DieChoice::Perfect);
        let image = match plan == Plan::NONE {
            true => naive,
            false => compile(&CompileOptions { die: Some(&die), plan, ..options }).image,
        };
        let machine = load_image(&image, &die, conditions).expect("the die is the chip's");
        let run = run_data(&machine, &self.data, &|_| ()).expect("the data suit the model");
        run.accuracy.expect("the digits have labels")
    }

    fn check(&self, name: &str, chip: &Chip) {
        let points = if chip.adc.bits < 8 { POINTS_COARSE } else { POINTS };
        for (effects, points) in [(EffectSet::NONE, POINTS), (CONVERTERS, points)] {
            let accuracy = self.accuracy(chip, effects, Plan::NONE);
            let loss = self.float - accuracy;
            assert!(loss <= points, "{name}, {effects:?}: {accuracy} %, float {} %", self.float);
        }
    }
}

/// A chip with the given lines in its tables.
fn chip(arrays: &str, weights: &str, dac: &str, adc: &str) -> Chip {
    let text = format!(
        "schema = 1\nkind = \"chip\"\nname = \"coded\"\n\
         [arrays]\nrows = 128\ncolumns = 256\ntopology = \"passive\"\n{arrays}\n\
         [cell]\ng_min_siemens = 1e-6\ng_max_siemens = 1e-4\nlevels = 256\n\
         [weights]\n{weights}\n\
         [dac]\nbits = 8\n{dac}\n\
         [adc]\nbits = 8\nlo_cells = -8.0\nhi_cells = 8.0\n{adc}\n\
         [holds]\nranges = true\n"
    );
    parse_chip(&text, "coded.toml").unwrap_or_else(|problems| panic!("{problems:?}")).output
}

const AMPLITUDE: &str = "drive = \"amplitude\"";
const BIT_SERIAL: &str = "drive = \"bit-serial\"";

#[test]
fn every_preset_computes_the_network() {
    let bench = Bench::new();
    for (name, _) in PRESETS {
        bench.check(name, &find_preset(name).expect("it is a preset"));
    }
}

#[test]
fn every_coding_of_weights_computes_the_network() {
    let bench = Bench::new();
    let slices = "slices = 2\nbits_per_slice = 4";
    let offset = |kind: &str| format!("coding = \"offset-{kind}\"");
    for (arrays, weights) in [
        ("", ""),
        ("pairs = \"rows\"", ""),
        ("pairs = \"arrays\"", ""),
        ("subtract = \"digital\"", ""),
        ("max_active_rows = 32", ""),
        ("", &offset("digital")),
        ("", &offset("column")),
        ("", slices),
        ("", "slices = 2"),
        ("", &format!("{}\n{slices}", offset("digital"))),
        ("max_active_rows = 32", &format!("{}\n{slices}", offset("column"))),
    ] {
        bench.check(&format!("{arrays} {weights}"), &chip(arrays, weights, AMPLITUDE, ""));
    }
}

/// Slices that are converted one by one need ranges that hold each of them.
#[test]
fn every_coding_of_inputs_computes_the_network() {
    let bench = Bench::new();
    for dac in [
        BIT_SERIAL.to_owned(),
        format!("{BIT_SERIAL}\nnegative = \"sign-magnitude\""),
        format!("{BIT_SERIAL}\nbits_per_slice = 3"),
        format!("{BIT_SERIAL}\naccumulate = \"analog\""),
        "drive = \"pulse-width\"".to_owned(),
    ] {
        for adc in ["", "range_per = \"column\""] {
            let chip = chip("", "", &dac, adc);
            bench.check(&format!("{dac} {adc}"), &chip);
            let searched = Plan::NONE.with(Correction::Ranges);
            let accuracy = bench.accuracy(&chip, CONVERTERS, searched);
            assert!(bench.float - accuracy <= POINTS, "{dac} {adc}, ranges searched: {accuracy} %");
        }
    }
}
