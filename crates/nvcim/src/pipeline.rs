//! Model to image: import, map, correct, program, correct again, encode; the verifier after every step.

use nvcim_chip::describe::{Chip, Pack};
use nvcim_chip::die;
use nvcim_chip::die_file;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::record::DieRecord;
use nvcim_correct::after::{LayerFit, correct_after};
use nvcim_correct::before::{Bounds, correct_before_by};
use nvcim_correct::known::Known;
use nvcim_correct::outcome::Outcome;
use nvcim_correct::plan::{Correction, Plan};
use nvcim_correct::row_rules::RowRules;
use nvcim_correct::samples::Teacher;
use nvcim_image::codec;
use nvcim_image::layout::{DieStamp, Image, Provenance};
use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_map::map_graph::{MapOptions, Mapped, map_graph_as, map_graph_with};
use nvcim_map::place::Demand;
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;
use nvcim_sim::die::SimDie;

use crate::base::{calibration_of, check_base, places_of};
use crate::model::{Imported, Model};

/// Images that calibration uses, from the start of the data.
pub const CALIBRATION_IMAGES: usize = 256;

/// What a compilation needs besides model and chip.
#[derive(Debug, Clone, Copy)]
pub struct CompileOptions<'a> {
    /// The die to compile for; none for any die of the chip.
    pub die: Option<&'a DieRecord>,
    /// Unlabelled calibration images, `[n, sample shape...]`; see [`CALIBRATION_IMAGES`].
    pub calibration: Option<&'a Tensor>,
    /// The corrections to run.
    pub plan: Plan,
    /// The effects, time and seed under which the die is measured.
    pub conditions: Conditions,
    /// An image of the same model and chip for any die: its converter calibration is taken over, and tiles
    /// that the die does not harm stay as they are in it. See [`crate::base`].
    pub base: Option<&'a Image>,
    /// First and last time of use in seconds, where the image is not for the time of measuring: drift until
    /// then is made up for by what the chip's statistics say.
    pub use_s: Option<[f64; 2]>,
    /// How tiles share arrays, unless there is a base, which says so; `None` for what the chip file says.
    pub pack: Option<Pack>,
}

impl Default for CompileOptions<'_> {
    /// Any die, no calibration, no correction.
    fn default() -> Self {
        let conditions =
            Conditions { effects: EffectSet::ALL, at_s: 0.0, extrapolate: false, run_seed: 0 };
        Self {
            die: None,
            calibration: None,
            plan: Plan::NONE,
            conditions,
            base: None,
            use_s: None,
            pack: None,
        }
    }
}

/// A compiled network.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The image, as it is stored.
    pub bytes: Vec<u8>,
    /// The image, as it reads back.
    pub image: Image,
    /// What the network takes up on the chip.
    pub demand: Demand,
    /// Weights with a stuck cell that was taken into account.
    pub weights_on_stuck_pairs: usize,
    /// What measuring the die changed, per layer; empty where nothing was measured.
    pub fits: Vec<LayerFit>,
    /// What each correction did, in the order in which they ran.
    pub outcomes: Vec<Outcome>,
}

/// Compiles a model for a chip, or for one die of it.
///
/// # Errors
/// Whatever a stage reports: a broken or unsupported model, too few arrays, a die of another chip, a time
/// beyond what is known of the chip's devices.
pub fn compile_model(
    model: &Model,
    chip: &Chip,
    options: &CompileOptions<'_>,
) -> Result<Warned<Compiled>> {
    compile_imported(model.load()?, chip, options)
}

/// As [`compile_model`], from a model that has been imported.
///
/// # Errors
/// As there, but for those of the import.
pub fn compile_imported(
    model: Imported,
    chip: &Chip,
    options: &CompileOptions<'_>,
) -> Result<Warned<Compiled>> {
    let Imported { name, hash: model_hash, graph, mut warnings } = model;
    let CompileOptions { die, calibration, plan, conditions, base, use_s, pack } = *options;
    let plan = plan.limited_to(chip);
    check_options(options, plan, &mut warnings)?;
    let plan = if die.is_some() { plan } else { Plan::NONE };
    let plan = if base.is_some() { plan.without(Correction::Arrays) } else { plan };
    warnings.extend(conditions.check_time(chip)?);
    if let Some([_, last]) = use_s {
        warnings.extend(Conditions { at_s: last, ..conditions }.check_time(chip)?);
    }

    let known = Known { chip, die, effects: conditions.effects, at_s: conditions.at_s, use_s };
    let mapped = match base {
        Some(base) => {
            let model = (&name[..], model_hash);
            warnings.extend(check_base(base, model, chip, calibration.map(hash_tensor))?);
            map_graph_as(&graph, chip, places_of(base), calibration_of(base))?
        }
        None => {
            let dead = known.dead_arrays(plan);
            let options = MapOptions { pack, dead: &dead, ..MapOptions::default() };
            map_graph_with(&graph, chip, calibration, &options)?.unload(&mut warnings)
        }
    };
    drop(graph);
    let learns = die.is_some() && (plan.looks_at_images() || plan.measures());
    let teacher = calibration.filter(|_| learns).map(|images| Teacher::new(&mapped.net, images));
    let rules = RowRules::default();
    let bounds = Bounds { rules: &rules, base: base.map(|it| &it.net) };
    let targeted = correct_before_by(&mapped.net, &known, teacher.as_ref(), plan, &bounds)?;
    let mut outcomes = targeted.outcomes;
    let (net, fits) = match (die, &teacher) {
        (Some(record), Some(teacher)) if plan.measures() => {
            let mut sim = SimDie::new(chip, record, conditions);
            die::program_net(&mut sim, &targeted.net, &chip.cell)?;
            let fitted =
                correct_after(&mapped.net, targeted.net, &known, &mut sim, teacher, plan.into())?;
            outcomes.extend(fitted.outcomes);
            (fitted.net, fitted.layers)
        }
        _ => (targeted.net, Vec::new()),
    };
    let weights_on_stuck_pairs = targeted.weights_on_stuck_pairs;
    let Mapped { arrays_needed, arrays_bound, cells_used, net: tiled, places: _ } = mapped;
    drop(tiled);
    let demand = Demand { arrays_needed, arrays_bound, cells_used };

    // From here on there are no weights, and one net at a time.
    let provenance = describe_origin(model_hash, chip, options, plan);
    let bytes = codec::encode_image(&Image { chip: chip.clone(), net, provenance })?;
    let image = codec::decode_image(&bytes)?;
    let output = Compiled { bytes, image, demand, weights_on_stuck_pairs, fits, outcomes };
    Ok(Warned { output, warnings })
}

/// Says which corrections cannot run with what was given.
fn check_options(
    options: &CompileOptions<'_>,
    plan: Plan,
    warnings: &mut Vec<Diagnostic>,
) -> Result<()> {
    if options.die.is_none() && plan != Plan::NONE {
        let message = "corrections need a die; the image holds the naive mapping";
        let hint = "give `--die DIE`, or leave `--correct` out";
        warnings.push(Diagnostic::bad_input("--correct", message).hint(hint));
    } else if plan.measures() && options.calibration.is_none() {
        let message =
            "ranges, gain and offset are fitted on calibration images, and there are none";
        let hint = "give `--calib DATA`, or choose `--correct closest`";
        return Err(Diagnostic::bad_input("--correct", message).hint(hint).into());
    }
    check_use(options, plan, warnings)
}

/// Looks at the time of use, where it has one of its own.
fn check_use(
    options: &CompileOptions<'_>,
    plan: Plan,
    warnings: &mut Vec<Diagnostic>,
) -> Result<()> {
    let Some([first_s, _]) = options.use_s else { return Ok(()) };
    let at_s = options.conditions.at_s;
    if first_s < at_s {
        let message = format!("begins {first_s} s after programming, before the die is measured");
        let hint = format!("use the image from {at_s} s on, or measure earlier: `--at`");
        return Err(Diagnostic::bad_input("--for", message).hint(hint).into());
    }
    if options.die.is_none() || !plan.has(Correction::Drift) {
        let message = "only the correction `drift` looks at the time of use, and it is not made";
        let hint = "give `--die DIE` and `--correct full` or a list with `+drift`";
        warnings.push(Diagnostic::bad_input("--for", message).hint(hint));
    }
    Ok(())
}

fn describe_origin(
    model_hash: [u8; 32],
    chip: &Chip,
    options: &CompileOptions<'_>,
    plan: Plan,
) -> Provenance {
    let measured = options.die.is_some() && plan.measures();
    let effects = if measured { options.conditions.effects } else { EffectSet::NONE };
    let of_base = options.base.and_then(|base| base.provenance.calibration_hash);
    Provenance {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_hash,
        calibration_hash: options.calibration.map(hash_tensor).or(of_base),
        die: options.die.map(stamp_die),
        corrections: plan.names(),
        effects: name_effects(effects, chip),
        at_s: options.conditions.at_s,
    }
}

/// The names of the effects that a chip describes, in order.
pub(crate) fn name_effects(effects: EffectSet, chip: &Chip) -> Vec<String> {
    let acting = Effect::ALL.into_iter().filter(|it| effects.has(*it) && chip.describes(*it));
    acting.map(|effect| effect.name().to_owned()).collect()
}

/// What an image says of the die that it is for.
pub(crate) fn stamp_die(die: &DieRecord) -> DieStamp {
    DieStamp { name: die.name.clone(), seed: die.seed, hash: hash_die(die) }
}

/// BLAKE3 of a die file's canonical text.
pub fn hash_die(die: &DieRecord) -> [u8; 32] {
    blake3::hash(die_file::write_die(die).as_bytes()).into()
}

/// BLAKE3 of a tensor's shape and values.
pub(crate) fn hash_tensor(tensor: &Tensor) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for len in tensor.shape() {
        hasher.update(&(*len as u64).to_le_bytes());
    }
    for value in tensor {
        hasher.update(&value.to_le_bytes());
    }
    hasher.finalize().into()
}
