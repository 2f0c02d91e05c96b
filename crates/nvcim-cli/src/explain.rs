//! `nvcim explain MODEL --chip CHIP --data DATA`: what each effect and each layer costs.

use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::explain::{EffectCost, Explain, Explanation, LayerCost};
use nvcim::model::Model;
use nvcim::plan::Plan;
use nvcim::recovery::Summary;
use nvcim::simulate::warn_of_stalled;
use nvcim::time::after_programming;
use serde_json::{Value, json};

use crate::args::{DataOptions, EffectOptions, Global};
use crate::files::open_chip;
use crate::terminal::{Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// ONNX file.
    model: PathBuf,
    /// Preset's name or TOML file.
    #[arg(long)]
    chip: String,
    /// Test data: `digits`, a folder of IDX files, FOLDER:PART, or an `.npz`.
    #[arg(long)]
    data: String,
    /// Run on dies 0 to N - 1 of the chip.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    dies: u64,
    /// Calibration data; the first 256 images are used, never their labels.
    #[arg(long, value_name = "DATA")]
    calib: Option<String>,
    /// Explain what is left after corrections for each die: none, closest, lab, rows, full, or a list.
    #[arg(long, value_name = "LEVEL", default_value = "none")]
    correct: String,
    #[command(flatten)]
    effects: EffectOptions,
    #[command(flatten)]
    preprocess: DataOptions,
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let chip = open_chip(&args.chip, terminal)?;
    terminal.warn(&args.effects.warnings(&chip));
    let plan = Plan::parse(&args.correct)?;
    let model = Model::open(&args.model)?;
    let data = args.preprocess.open(&args.data)?;
    let input_shape = model.input_shape()?;
    let open = |spec| args.preprocess.open_calibration(spec, &input_shape);
    let calibration = args.calib.as_deref().map(open).transpose()?;
    let conditions = args.effects.conditions(global.seed);
    let explain = Explain {
        model: &model,
        chip: &chip,
        calibration: calibration.as_ref(),
        data: &data,
        plan,
        conditions,
        dies: args.dies,
    };
    if explain.effects().is_empty() {
        let message = format!("leaves no effect that `{}` describes", chip.name);
        let hint = "name effects that `nvcim chip show CHIP` shows, or `dac` and `adc`";
        return Err(Failure::usage_hint("--effects", &message, hint));
    }
    let bar = terminal.progress("explaining", 0);
    let explanation = explain.run(&|images, whole| {
        bar.set_length(whole as u64);
        bar.inc(images as u64);
    })?;
    bar.finish_and_clear();
    terminal.warn(&explanation.warnings);
    terminal.warn(warn_of_stalled(explanation.n_stalled).as_slice());
    let title = Title {
        model: &model.name,
        chip: &chip.name,
        corrections: plan.limited_to(&chip).names(),
        at_s: conditions.at_s,
        extrapolated: !conditions.check_time(&chip)?.is_empty(),
        dies: args.dies,
        images: data.len(),
    };
    terminal.print(&document(&title, &explanation), || text(&title, &explanation));
    Ok(ExitCode::SUCCESS)
}

/// What the figures are of.
struct Title<'a> {
    model: &'a str,
    chip: &'a str,
    corrections: Vec<String>,
    at_s: f64,
    extrapolated: bool,
    dies: u64,
    images: usize,
}

fn document(title: &Title<'_>, explanation: &Explanation) -> Value {
    let Explanation { measure, float, ideal, all, agreement, snr_db, ideal_snr_db, .. } =
        explanation;
    let effect = |cost: &EffectCost| {
        json!({
            "name": cost.effect.name(),
            "alone_points": cost.alone.mean,
            "alone_ci95": cost.alone.ci95,
            "alone_std": cost.alone.std,
            "left_out_points": cost.left_out.mean,
            "left_out_ci95": cost.left_out.ci95,
            "left_out_std": cost.left_out.std,
            "alone_output_snr_db": cost.alone_snr_db,
            "left_out_output_snr_db": cost.left_out_snr_db,
        })
    };
    let layer = |cost: &LayerCost| {
        let alone =
            cost.alone_snr_db.iter().map(|(effect, db)| (effect.name().to_owned(), json!(db)));
        json!({
            "name": cost.name,
            "points": cost.points.mean,
            "points_ci95": cost.points.ci95,
            "snr_db": cost.snr_db,
            "alone_snr_db": alone.collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({
        "schema": "nvcim.explain/1",
        "model": title.model,
        "chip": title.chip,
        "corrections": title.corrections,
        "at_seconds": title.at_s,
        "extrapolated": title.extrapolated,
        "dies": title.dies,
        "images": title.images,
        "measure": measure.name(),
        "float": float,
        "ideal": ideal,
        "all": spread(all),
        "agreement": spread(agreement),
        "output_snr_db": snr_db,
        "ideal_output_snr_db": ideal_snr_db,
        "effects": explanation.effects.iter().map(effect).collect::<Vec<_>>(),
        "total_points": explanation.total.mean,
        "total_ci95": explanation.total.ci95,
        "remainder_points": explanation.remainder,
        "stalled_solves": explanation.n_stalled,
        "layers": explanation.layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

fn spread(summary: &Summary) -> Value {
    let Summary { mean, std, ci95, min, max } = summary;
    json!({"mean": mean, "std": std, "ci95": ci95, "min": min, "max": max})
}

/// Columns of a terminal that a bar may take.
const BAR: usize = 36;

/// Points that a whole bar stands for at least, so that losses of nothing look like it.
const LEAST_SCALE: f64 = 10.0;

fn text(title: &Title<'_>, explanation: &Explanation) -> String {
    let mut text = head(title, explanation);
    let costs = explanation.effects.iter().map(|cost| cost.alone.mean);
    let scale =
        costs.chain([explanation.total.mean, explanation.remainder]).fold(LEAST_SCALE, larger);
    text += &format!(
        "\n{:<16} {:>9} {:>9}   points lost alone (-: won)\n",
        "effect", "alone", "left out"
    );
    for cost in &explanation.effects {
        let (alone, left_out) = (cost.alone.mean, cost.left_out.mean);
        let bar = bar(alone, scale);
        text += &line(format!(
            "{:<16} {:>9} {:>9}   {bar}",
            cost.effect.name(),
            two_digits(alone),
            two_digits(left_out)
        ));
    }
    let (remainder, total) = (explanation.remainder, explanation.total.mean);
    for (name, points) in [("remainder", remainder), ("total", total)] {
        text += &line(format!(
            "{name:<16} {:>9} {:>9}   {}",
            two_digits(points),
            "",
            bar(points, scale)
        ));
    }
    let scale = explanation.layers.iter().map(|cost| cost.points.mean).fold(LEAST_SCALE, larger);
    text += &format!(
        "\n{:<16} {:>9} {:>9}   {:<26} points lost\n",
        "layer", "points", "SNR", "lowest SNR of one effect"
    );
    for cost in &explanation.layers {
        let worst = cost.alone_snr_db.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let worst = worst.map(|(effect, db)| format!("{db:>5.1} dB  {effect}")).unwrap_or_default();
        let (points, snr) = (cost.points.mean, cost.snr_db);
        // A third of the other bars: the column of ratios stands between.
        let bar = &bar(points, scale * 3.0);
        text += &line(format!(
            "{:<16} {:>9} {snr:>6.1} dB   {worst:<26} {bar}",
            cost.name,
            two_digits(points)
        ));
    }
    text.trim_end().to_owned()
}

fn head(title: &Title<'_>, explanation: &Explanation) -> String {
    let Title { model, chip, corrections, at_s, extrapolated, dies, images } = title;
    let image = if corrections.is_empty() { "naive image" } else { "corrected by" };
    let noun = if *dies == 1 { "die" } else { "dies" };
    let mut text = format!("{model} on {chip}\n");
    text += &line(format!(
        "{dies} {noun}, {images} images, {}{}, {image} {}",
        after_programming(*at_s),
        if *extrapolated { " (extrapolated)" } else { "" },
        corrections.join(", ")
    ));
    let Explanation { measure, float, ideal, all, agreement, snr_db, .. } = explanation;
    let measure = measure.name();
    let [low, high] = all.ci95;
    text += &format!("\n{:<16} {float:>7.2} % {measure}\n", "float");
    text += &format!("{:<16} {ideal:>7.2} %\n", "no effect");
    text += &format!("{:<16} {:>7.2} %", "all effects", all.mean);
    if *dies > 1 {
        text += &format!(
            "  95 % interval {low:.1} to {high:.1}, dies {:.1} to {:.1}",
            all.min, all.max
        );
    }
    text + &format!(
        "\n{:<16} {:>7.2} % of answers, output SNR {snr_db:.1} dB\n",
        "as float", agreement.mean
    )
}

/// Points with two digits, and no sign before nothing.
fn two_digits(points: f64) -> String {
    let text = format!("{points:.2}");
    if text == "-0.00" { "0.00".to_owned() } else { text }
}

fn line(text: String) -> String {
    format!("{}\n", text.trim_end())
}

fn larger(a: f64, b: f64) -> f64 {
    a.abs().max(b.abs())
}

/// A bar of `#` for points lost, of `-` for points won, next to the longest one that there is.
fn bar(points: f64, scale: f64) -> String {
    let length = (points.abs() / scale * BAR as f64).round() as usize;
    (if points < 0.0 { "-" } else { "#" }).repeat(length)
}

#[cfg(test)]
mod tests {
    use super::{BAR, bar, two_digits};

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(two_digits(-0.001), "0.00");
        assert_eq!(two_digits(-1.234), "-1.23");
    }

    #[test]
    fn bars_are_to_scale_and_show_their_sign() {
        assert_eq!(bar(10.0, 10.0).len(), BAR);
        assert_eq!(bar(-5.0, 10.0), "-".repeat(BAR / 2));
        assert_eq!(bar(0.0, 10.0), "");
    }
}
