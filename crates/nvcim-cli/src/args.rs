//! Arguments that several commands share, and how their texts are read.

use std::num::NonZero;

use clap::Args;
use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::describe::{Chip, Pack};
use nvcim::diag::Diagnostic;
use nvcim::effects::{Effect, EffectSet};
use nvcim::pipeline::CALIBRATION_IMAGES;
use nvcim::tensor::Tensor;
use nvcim::time::parse_time;

use crate::terminal::{Failure, Terminal};

/// Options of every command.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// Print one JSON document on stdout instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Key of everything that is drawn: noise of a run, a sampled die, batches of training.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
    /// Worker threads; results do not depend on them [default: all cores].
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZero<usize>>,
    /// Print errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more about what is done.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Draw no progress bar.
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
}

/// How stored values become network inputs.
#[derive(Args, Clone)]
pub(crate) struct DataOptions {
    /// Subtract MEAN and divide by STD after scaling; per-channel lists with `/`.
    #[arg(long, value_name = "MEAN,STD", value_parser = parse_normalize, allow_hyphen_values = true)]
    normalize: Option<(Floats, Floats)>,
    /// Multiply raw values [default: 1/255 for u8, 1 for others].
    #[arg(long, value_name = "S", allow_hyphen_values = true, value_parser = parse_finite)]
    scale: Option<f32>,
    /// Add after scaling.
    #[arg(long, value_name = "S", default_value_t = 0.0, allow_hyphen_values = true, value_parser = parse_finite)]
    shift: f32,
    /// Resize images bilinearly before scaling.
    #[arg(long, value_name = "H,W", value_parser = parse_size)]
    resize: Option<(usize, usize)>,
    /// Use the first N images only.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    limit: Option<usize>,
}

/// A list of numbers as one value, which keeps clap from reading it as repeated arguments.
#[derive(Clone)]
struct Floats(Vec<f32>);

impl DataOptions {
    /// Opens a data set with these options.
    pub(crate) fn open(&self, spec: &str) -> Result<Dataset, Failure> {
        let (mean, std) = match &self.normalize {
            Some((mean, std)) => (mean.0.clone(), std.0.clone()),
            None => (Vec::new(), Vec::new()),
        };
        let Self { normalize: _, scale, shift, resize, limit } = *self;
        Ok(Dataset::open(spec, Preprocess { scale, shift, mean, std, resize, limit })?)
    }

    /// The images that calibration takes from a data set, each in the shape of one input sample.
    pub(crate) fn open_calibration(
        &self,
        spec: &str,
        input_shape: &[usize],
    ) -> Result<Tensor, Failure> {
        Ok(self.open(spec)?.head(CALIBRATION_IMAGES, input_shape)?)
    }
}

/// Which effects take part, and when.
#[derive(Args, Clone)]
pub(crate) struct EffectOptions {
    /// Keep only these effects, comma separated.
    #[arg(long, value_name = "LIST", value_parser = parse_effects)]
    effects: Option<EffectSet>,
    /// Drop these effects, comma separated.
    #[arg(long, value_name = "LIST", value_parser = parse_effects)]
    without: Option<EffectSet>,
    /// Time since programming: 1s, 20m, 1h, 1d, 1y [default: right after programming].
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    at: f64,
    /// Allow times beyond the data of the chip's devices, with a warning and a mark in the results.
    #[arg(long)]
    extrapolate: bool,
}

impl EffectOptions {
    /// Warns of effects asked for by name that the chip does not describe, and so cannot have.
    pub(crate) fn warnings(&self, chip: &Chip) -> Vec<Diagnostic> {
        let asked = |effect: &Effect| self.effects.is_some_and(|effects| effects.has(*effect));
        let missing = Effect::ALL.into_iter().filter(asked).filter(|it| !chip.describes(*it));
        let warn = |effect: Effect| {
            let message =
                format!("chip `{}` does not describe `{effect}`: no influence", chip.name);
            Diagnostic::bad_input("--effects", message)
                .hint("see `nvcim chip show CHIP` for the effects that it describes")
        };
        missing.map(warn).collect()
    }

    /// Refuses a time beyond the data of the chip's devices, or warns of it where it was allowed; whether
    /// results are extrapolated.
    pub(crate) fn check_time(
        &self,
        conditions: Conditions,
        chip: &Chip,
        terminal: &Terminal,
    ) -> Result<bool, Failure> {
        let warnings = conditions.check_time(chip)?;
        terminal.warn(&warnings);
        Ok(!warnings.is_empty())
    }

    /// Whether any of these options differs from its default.
    pub(crate) fn are_given(&self) -> bool {
        self.effects.is_some() || self.without.is_some() || self.at > 0.0
    }

    /// The conditions of a run with these options.
    pub(crate) fn conditions(&self, run_seed: u64) -> Conditions {
        let mut effects = self.effects.unwrap_or(EffectSet::ALL);
        for effect in Effect::ALL {
            if self.without.is_some_and(|without| without.has(effect)) {
                effects = effects.without(effect);
            }
        }
        Conditions { effects, at_s: self.at, extrapolate: self.extrapolate, run_seed }
    }
}

/// Reads how tiles share arrays.
pub(crate) fn parse_pack(text: &str) -> Result<Pack, String> {
    let known = || Pack::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = Pack::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, pack)| *pack).ok_or_else(|| format!("`{text}` is none of {}", known()))
}

fn parse_finite(text: &str) -> Result<f32, String> {
    match text.trim().parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("`{text}` is no finite number")),
    }
}

/// A count of at least 1.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "must be 1 or more".to_owned())
}

fn parse_normalize(text: &str) -> Result<(Floats, Floats), String> {
    let (mean, std) = text.split_once(',').ok_or("must be MEAN,STD, as in 0.1307,0.3081")?;
    let list = |text: &str| text.split('/').map(parse_finite).collect::<Result<Vec<_>, _>>();
    let (mean, std) = (list(mean)?, list(std)?);
    if std.iter().any(|&std| std <= 0.0) {
        return Err("the standard deviation must be above 0".to_owned());
    }
    Ok((Floats(mean), Floats(std)))
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let side = |text: &str| {
        let side = text.trim().parse::<usize>().ok().filter(|side| (1..=4096).contains(side));
        side.ok_or_else(|| format!("`{text}` is no size from 1 to 4096"))
    };
    let (height, width) = text.split_once(',').ok_or("must be H,W, as in 32,32")?;
    Ok((side(height)?, side(width)?))
}

fn parse_effects(text: &str) -> Result<EffectSet, String> {
    let known = || Effect::ALL.map(Effect::name).join(" ");
    let find = |name: &str| {
        Effect::find(name.trim())
            .ok_or_else(|| format!("`{name}` is no effect; known: {}", known()))
    };
    text.split(',').try_fold(EffectSet::NONE, |set, name| Ok(set.with(find(name)?)))
}

#[cfg(test)]
mod tests {
    use super::{Effect, parse_effects, parse_normalize, parse_size};

    #[test]
    fn lists_are_read_and_wrong_entries_named() {
        let set = parse_effects("stuck,adc").unwrap();
        assert!(set.has(Effect::Stuck) && set.has(Effect::Adc) && !set.has(Effect::Dac));
        assert!(parse_effects("stuck,ir-drop").unwrap_err().contains("`ir-drop`"));
        let (mean, std) = parse_normalize("0.5/0.4,0.2").unwrap();
        assert_eq!((mean.0, std.0), (vec![0.5, 0.4], vec![0.2]));
        assert!(parse_normalize("0.5,0").is_err());
        assert_eq!(parse_size("32,28"), Ok((32, 28)));
        assert!(parse_size("32").is_err() && parse_size("0,1").is_err());
    }
}
