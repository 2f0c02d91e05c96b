//! What each effect of a chip costs a network: alone, when left out, and layer by layer.
//!
//! Notation: `A(S)` is the share of right answers in percent, averaged over dies, when only the effects
//! `S` act; `all` are the effects asked for that the chip describes. Then, in points,
//!
//! ```text
//! total            A(none) - A(all)
//! alone of e       A(none) - A({e})
//! left out of e    A(all without e) - A(all)
//! remainder        total - sum over e of alone
//! ```
//!
//! A negative remainder says that effects hide each other (a network that is lost to one cannot be lost
//! again to another), a positive one that they add up to more than their parts. Without labels an answer
//! is right where it is the float network's.
//!
//! A layer's points are what is lost when all effects act on its arrays and none on those of the others.
//! With corrections, every run compiles for its die anew: what is measured has the effects of the run, so
//! that the points are those that are left after correction.
//!
//! Cost: `1 + dies (1 + 2 effects + layers)` passes over the data; one die's machines are held at a time.

mod layers;
mod score;

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::record::DieRecord;
use nvcim_correct::plan::Plan;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::graph::Graph;
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;
use nvcim_sim::machine::Machine;

use crate::data::Dataset;
use crate::explain::layers::LayerLedger;
use crate::explain::score::{Score, Truth, mean_snr_db};
use crate::model::Model;
use crate::pipeline::{CompileOptions, compile_model};
use crate::recovery::{Summary, summarize};
use crate::simulate::{DieChoice, ideal_conditions, load_image, resolve_die, run_data};
use crate::verify::IMAGES_COMPARED;

pub use crate::explain::layers::LayerCost;

/// What to explain.
#[derive(Clone, Copy)]
pub struct Explain<'a> {
    /// The network.
    pub model: &'a Model,
    /// The chip.
    pub chip: &'a Chip,
    /// Unlabelled calibration images, `[n, sample shape...]`.
    pub calibration: Option<&'a Tensor>,
    /// Test images, with or without labels.
    pub data: &'a Dataset,
    /// The corrections of every run; [`Plan::NONE`] for the naive image.
    pub plan: Plan,
    /// The effects to explain, the time of use, and the seed of noise.
    pub conditions: Conditions,
    /// Dies 0 to this, exclusive; at least 1.
    pub dies: u64,
}

/// What the points count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Images whose class is the label's.
    Accuracy,
    /// Images whose class is the float network's, where there are no labels.
    Agreement,
}

impl Measure {
    /// The name in text and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Accuracy => "accuracy",
            Measure::Agreement => "agreement",
        }
    }
}

/// What one effect costs; points are over dies.
#[derive(Debug, Clone)]
pub struct EffectCost {
    /// The effect.
    pub effect: Effect,
    /// Points lost when no other effect acts.
    pub alone: Summary,
    /// Points that come back when all effects but this one act.
    pub left_out: Summary,
    /// Signal-to-noise ratio of the network's output in dB with this effect alone.
    pub alone_snr_db: f64,
    /// The same with all effects but this one.
    pub left_out_snr_db: f64,
}

/// Where the points went.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What points count.
    pub measure: Measure,
    /// Right answers of the float network in percent; 100 by definition where agreement is measured.
    pub float: f64,
    /// Right answers of the naive image in percent without any effect, converters included.
    pub ideal: f64,
    /// Right answers in percent with all effects, over dies.
    pub all: Summary,
    /// Images on which image and float network choose the same class, in percent, with all effects.
    pub agreement: Summary,
    /// Signal-to-noise ratio of the network's output in dB with all effects.
    pub snr_db: f64,
    /// The same without any effect.
    pub ideal_snr_db: f64,
    /// The effects that the chip describes, in the order in which the signal meets them.
    pub effects: Vec<EffectCost>,
    /// Points lost to all effects together, over dies.
    pub total: Summary,
    /// The total without the sum of what each effect costs alone, in points.
    pub remainder: f64,
    /// The matrix layers, in program order.
    pub layers: Vec<LayerCost>,
    /// Array networks that a solver left before its tolerance, in all runs.
    pub n_stalled: u64,
    /// Warnings of the compilations, each once.
    pub warnings: Vec<Diagnostic>,
}

/// The scores of one die, effects in the order of the explanation.
struct DieScores {
    all: Score,
    alone: Vec<Score>,
    left_out: Vec<Score>,
    n_stalled: u64,
}

/// What all runs have in common.
struct Setting<'a> {
    asked: Explain<'a>,
    effects: Vec<Effect>,
    naive: Image,
    ideal: Machine,
    graph: Graph,
    truth: Truth<'a>,
}

impl Explain<'_> {
    /// The effects that are explained: asked for, and described by the chip.
    pub fn effects(&self) -> Vec<Effect> {
        let acts = |it: &Effect| self.conditions.effects.has(*it) && self.chip.describes(*it);
        Effect::ALL.into_iter().filter(acts).collect()
    }

    /// Images run through `layers` matrix layers, for progress.
    pub fn images(&self, layers: usize) -> usize {
        let effects = self.effects().len();
        let per_die = self.data.len() * (1 + 2 * effects + layers);
        let compared = self.data.len().min(IMAGES_COMPARED) * (1 + effects);
        self.data.len() + self.dies as usize * (per_die + compared)
    }

    /// Runs everything; `progress` hears of the whole, once known, and then of every image more:
    /// `progress(done, whole)`.
    ///
    /// # Errors
    /// Whatever compilation or simulation reports.
    pub fn run(&self, progress: &dyn Fn(usize, usize)) -> Result<Explanation> {
        let mut warnings = Vec::new();
        let setting = self.prepare(&mut warnings)?;
        let whole = self.images(setting.naive.net.layers.len());
        let done = &|images: usize| progress(images, whole);
        let ideal = setting.truth.score(&run_data(&setting.ideal, self.data, done)?);
        let mut ledger = LayerLedger::new(&setting.naive.net.program, &setting.effects);
        let mut dies = Vec::new();
        for seed in 0..self.dies {
            let die = resolve_die(&setting.naive, DieChoice::Seed(seed));
            dies.push(setting.run_die(&die, &mut ledger, &mut warnings, done)?);
        }
        warnings.dedup();
        let layers = ledger.finish(&setting.naive.net, ideal.right);
        Ok(summarise(&setting.truth, ideal, &setting.effects, &dies, layers, warnings))
    }

    fn prepare(&self, warnings: &mut Vec<Diagnostic>) -> Result<Setting<'_>> {
        let options = CompileOptions {
            die: None,
            calibration: self.calibration,
            plan: Plan::NONE,
            conditions: self.conditions,
            base: None,
            use_s: None,
            pack: None,
        };
        let naive = compile_model(self.model, self.chip, &options)?.unload(warnings).image;
        let perfect = resolve_die(&naive, DieChoice::Perfect);
        let ideal = load_image(&naive, &perfect, ideal_conditions())?;
        let graph = self.model.import()?.output;
        let truth = Truth::new(self.model, self.data, ideal.input_shape())?;
        Ok(Setting { asked: *self, effects: self.effects(), naive, ideal, graph, truth })
    }
}

impl Setting<'_> {
    fn run_die(
        &self,
        die: &DieRecord,
        ledger: &mut LayerLedger<'_>,
        warnings: &mut Vec<Diagnostic>,
        done: &dyn Fn(usize),
    ) -> Result<DieScores> {
        let every = self.effects.iter().fold(EffectSet::NONE, |set, it| set.with(*it));
        let score = |machine: &Machine| -> Result<Score> {
            Ok(self.truth.score(&run_data(machine, self.asked.data, done)?))
        };
        let all = self.load(die, every, warnings)?;
        let mut alone = Vec::new();
        for effect in &self.effects {
            alone.push(self.load(die, EffectSet::NONE.with(*effect), warnings)?);
        }
        let mut n_stalled = 0;
        let mut left_out = Vec::new();
        for effect in &self.effects {
            let machine = self.load(die, every.without(*effect), warnings)?;
            left_out.push(score(&machine)?);
            n_stalled += machine.n_stalled();
        }
        let with_all = score(&all)?;
        let with_one = alone.iter().map(score).collect::<Result<_>>()?;
        ledger.compare(&self.graph, (&all, &alone), self.asked.data, done)?;
        ledger.isolate((&all, &self.ideal), self.asked.data, &self.truth, done)?;
        n_stalled += all.n_stalled() + alone.iter().map(Machine::n_stalled).sum::<u64>();
        Ok(DieScores { all: with_all, alone: with_one, left_out, n_stalled })
    }

    /// The image on a die, with no effects but those of `set`, compiled for it where corrections ask.
    fn load(
        &self,
        die: &DieRecord,
        set: EffectSet,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Machine> {
        let Explain { model, chip, calibration, plan, conditions, .. } = self.asked;
        let conditions = Conditions { effects: set, ..conditions };
        if plan == Plan::NONE {
            return load_image(&self.naive, die, conditions);
        }
        let options = CompileOptions {
            die: Some(die),
            calibration,
            plan,
            conditions,
            base: None,
            use_s: None,
            pack: None,
        };
        let compiled = compile_model(model, chip, &options)?.unload(warnings);
        load_image(&compiled.image, die, conditions)
    }
}

fn summarise(
    truth: &Truth<'_>,
    ideal: Score,
    effects: &[Effect],
    dies: &[DieScores],
    layers: Vec<LayerCost>,
    warnings: Vec<Diagnostic>,
) -> Explanation {
    let over_dies = |figure: &dyn Fn(&DieScores) -> f64| {
        let figures: Vec<f64> = dies.iter().map(figure).collect();
        summarize(&figures).expect("there is at least one die")
    };
    let snr_db = |pick: &dyn Fn(&DieScores) -> Score| mean_snr_db(dies.iter().map(pick));
    let cost = |(index, &effect): (usize, &Effect)| EffectCost {
        effect,
        alone: over_dies(&|die| ideal.right - die.alone[index].right),
        left_out: over_dies(&|die| die.left_out[index].right - die.all.right),
        alone_snr_db: snr_db(&|die| die.alone[index]),
        left_out_snr_db: snr_db(&|die| die.left_out[index]),
    };
    let effects: Vec<_> = effects.iter().enumerate().map(cost).collect();
    let total = over_dies(&|die| ideal.right - die.all.right);
    let sum: f64 = effects.iter().map(|cost| cost.alone.mean).sum();
    Explanation {
        measure: truth.measure(),
        float: truth.float_right(),
        ideal: ideal.right,
        all: over_dies(&|die| die.all.right),
        agreement: over_dies(&|die| die.all.agreement),
        snr_db: snr_db(&|die| die.all),
        ideal_snr_db: mean_snr_db([ideal].into_iter()),
        effects,
        total,
        remainder: total.mean - sum,
        layers,
        n_stalled: dies.iter().map(|die| die.n_stalled).sum(),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::effects::{Effect, EffectSet};
    use nvcim_chip::presets::find_preset;
    use nvcim_correct::plan::Plan;
    use nvcim_sim::conditions::Conditions;

    use super::{Explain, Explanation, Measure};
    use crate::data::{Dataset, Preprocess};
    use crate::demo;
    use crate::model::Model;
    use crate::pipeline::CALIBRATION_IMAGES;

    fn explain(effects: EffectSet, plan: Plan) -> Explanation {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let chip = find_preset(demo::CHIP).unwrap();
        let open = |spec, limit| {
            Dataset::open(spec, Preprocess { limit, ..Preprocess::default() }).unwrap()
        };
        let calibration = open("digits:train", None);
        let calibration =
            calibration.head(CALIBRATION_IMAGES, &model.input_shape().unwrap()).unwrap();
        let explain = Explain {
            model: &model,
            chip: &chip,
            calibration: Some(&calibration),
            data: &open("digits", Some(100)),
            plan,
            conditions: Conditions { effects, at_s: 0.0, extrapolate: false, run_seed: 0 },
            dies: 2,
        };
        let counted = std::cell::Cell::new(0);
        let explanation = explain.run(&|images, whole| {
            assert_eq!(whole, explain.images(4));
            counted.set(counted.get() + images);
        });
        assert_eq!(counted.get(), explain.images(4));
        explanation.unwrap()
    }

    #[test]
    fn one_effect_is_the_whole_loss() {
        let explanation = explain(EffectSet::NONE.with(Effect::ColumnOffset), Plan::NONE);
        assert_eq!(explanation.measure, Measure::Accuracy);
        let [cost] = &explanation.effects[..] else { panic!("{:?}", explanation.effects) };
        assert_eq!(cost.effect, Effect::ColumnOffset);
        assert!(cost.alone.mean > 5.0, "{}", cost.alone.mean);
        assert_eq!(cost.alone, explanation.total);
        assert_eq!(cost.left_out, explanation.total);
        assert_eq!(explanation.remainder, 0.0);
        assert_eq!(cost.alone_snr_db, explanation.snr_db);
        assert_eq!(cost.left_out_snr_db, explanation.ideal_snr_db);
        for layer in &explanation.layers {
            assert_eq!(
                layer.alone_snr_db,
                [(Effect::ColumnOffset, layer.snr_db)],
                "{}",
                layer.name
            );
        }
    }

    #[test]
    fn losses_and_remainder_sum_to_the_total() {
        let explanation = explain(EffectSet::ALL, Plan::NONE);
        let named: Vec<_> = explanation.effects.iter().map(|cost| cost.effect).collect();
        assert!(!named.contains(&Effect::Drift) && named.contains(&Effect::Dac), "{named:?}");
        let alone: f64 = explanation.effects.iter().map(|cost| cost.alone.mean).sum();
        assert!((alone + explanation.remainder - explanation.total.mean).abs() < 1e-9);
        assert!((explanation.ideal - explanation.all.mean - explanation.total.mean).abs() < 1e-9);
        // Errors of all layers do more harm than those of any one.
        for layer in &explanation.layers {
            assert!(layer.points.mean < explanation.total.mean, "{layer:?}");
            assert!(layer.alone_snr_db.iter().all(|(_, alone)| *alone > layer.snr_db - 0.5));
        }
    }

    #[test]
    fn what_corrections_mend_costs_no_more() {
        let effects = EffectSet::NONE.with(Effect::ColumnOffset).with(Effect::Adc);
        let [naive, lab] = [Plan::NONE, Plan::LAB].map(|plan| explain(effects, plan));
        assert!(naive.total.mean > 5.0 && lab.total.mean < 2.0, "{naive:?} {lab:?}");
        assert!(lab.effects[0].alone.mean < naive.effects[0].alone.mean);
    }
}
