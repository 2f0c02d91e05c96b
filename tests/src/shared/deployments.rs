//! Third-party LeNets deployed on MNIST: the figures that the project promises, printed and held to.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use nvcim::campaign::Campaign;
use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::effects::{Effect, EffectSet};
use nvcim::model::Model;
use nvcim::pipeline::{CALIBRATION_IMAGES, CompileOptions, compile_model};
use nvcim::plan::Plan;
use nvcim::presets::find_preset;
use nvcim::simulate::{DieChoice, load_image, resolve_die, run_data};
use nvcim::tensor::Tensor;
use nvcim::verify::float_accuracy;

use crate::networks::fail;

/// Dies of every figure: 0 to this, exclusive.
const DIES: u64 = 10;

/// Points that 8-bit converters and 256 levels may cost.
const IDEAL_POINTS: f64 = 0.1;

/// Percent of the loss to stuck cells that `lab` must bring back.
const LAB_RECOVERY: f64 = 85.0;

#[derive(Clone)]
struct Network {
    name: &'static str,
    preprocess: Preprocess,
    float_accuracy: f64,
}

/// The networks, with the accuracies that the manifest gives.
fn networks() -> [Network; 2] {
    let normalized = Preprocess { mean: vec![0.1307], std: vec![0.3081], ..Preprocess::default() };
    let resized = Preprocess { resize: Some((32, 32)), ..Preprocess::default() };
    [
        Network { name: "lenet5-ccoltong", preprocess: normalized, float_accuracy: 99.13 },
        Network { name: "lenet5-jinsoo", preprocess: resized, float_accuracy: 98.74 },
    ]
}

/// Two tests per network.
pub(crate) fn trials(shared: &Path) -> Vec<Trial> {
    let trials = networks().into_iter().flat_map(|network| {
        let (ideal, stuck) = ((shared.to_path_buf(), network.clone()), shared.to_path_buf());
        let name = network.name;
        [
            Trial::test(
                format!("deployments::keeps_its_accuracy_on_the_ideal_chip::{name}"),
                move || deploy_on_ideal(&ideal.0, &ideal.1),
            ),
            Trial::test(format!("deployments::recovers_from_stuck_cells::{name}"), move || {
                recover_from_stuck_cells(&stuck, &network)
            }),
        ]
    });
    trials.collect()
}

/// A network with its calibration and test images.
struct Opened {
    model: Model,
    calibration: Tensor,
    data: Dataset,
}

impl Network {
    fn open(&self, shared: &Path) -> Result<Opened, Failed> {
        let part = |part: &str| {
            let spec = shared.join("datasets/mnist").display().to_string();
            Dataset::open(&format!("{spec}:{part}"), self.preprocess.clone()).map_err(fail)
        };
        let path = shared.join(format!("models/{}.onnx", self.name));
        let model = Model::open(&path).map_err(fail)?;
        let sample = model.input_shape().map_err(fail)?;
        let calibration = part("train")?.head(CALIBRATION_IMAGES, &sample).map_err(fail)?;
        Ok(Opened { model, calibration, data: part("t10k")? })
    }
}

fn deploy_on_ideal(shared: &Path, network: &Network) -> Result<(), Failed> {
    let Opened { model, calibration, data } = network.open(shared)?;
    let chip = find_preset("ideal").map_err(fail)?;
    let options = CompileOptions { calibration: Some(&calibration), ..CompileOptions::default() };
    let image = compile_model(&model, &chip, &options).map_err(fail)?.output.image;
    let die = resolve_die(&image, DieChoice::Seed(0));
    let machine = load_image(&image, &die, options.conditions).map_err(fail)?;
    let run = run_data(&machine, &data, &|_| ()).map_err(fail)?;
    let ours = run.accuracy.ok_or("MNIST has labels")?;
    let float = float_accuracy(&model, &data).map_err(fail)?.ok_or("MNIST has labels")?;
    report(&format!("{}: ideal chip {ours:.2} %, float {float:.2} %", network.name));
    if (float - network.float_accuracy).abs() > 0.005 {
        return Err(
            format!("float is {float}, the manifest says {}", network.float_accuracy).into()
        );
    }
    if (ours - float).abs() > IDEAL_POINTS {
        return Err(format!("{ours} is over {IDEAL_POINTS} points from {float}").into());
    }
    Ok(())
}

fn recover_from_stuck_cells(shared: &Path, network: &Network) -> Result<(), Failed> {
    let Opened { model, calibration, data } = network.open(shared)?;
    let chip = find_preset("stress-a").map_err(fail)?;
    let effects = EffectSet::NONE.with(Effect::Stuck);
    let campaign = Campaign {
        model: &model,
        chip: &chip,
        calibration: &calibration,
        data: &data,
        plan: Plan::LAB,
        conditions: Conditions { effects, at_s: 0.0, extrapolate: false, run_seed: 0 },
        dies: DIES,
    };
    let outcome = campaign.run(&|_| ()).map_err(fail)?;
    let mean = |pick: fn(&nvcim::campaign::DieOutcome) -> f64| {
        outcome.dies.iter().map(pick).sum::<f64>() / DIES as f64
    };
    let recovery = outcome.recovery.ok_or("nothing was lost")?;
    report(&format!(
        "{}: stuck cells of stress-a, {DIES} dies, {} images: float {:.2} %, naive {:.2} %, lab {:.2} %, \
         recovery {:.1} % (95 % interval {:.1} to {:.1})",
        network.name,
        data.len(),
        outcome.float_accuracy,
        mean(|die| die.naive),
        mean(|die| die.corrected),
        recovery.percent,
        recovery.ci95[0],
        recovery.ci95[1],
    ));
    if mean(|die| die.naive) > 30.0 || recovery.ci95[0] < LAB_RECOVERY {
        return Err(format!("the figures above miss the promise of {LAB_RECOVERY} %").into());
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the figures are what these tests are for")]
fn report(line: &str) {
    eprintln!("    {line}");
}
