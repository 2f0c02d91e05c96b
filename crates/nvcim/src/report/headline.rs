//! The headline: five numbers, and one sentence that says what was shown and against what.

use nvcim_ir::diag::Diagnostic;

use super::Page;
use super::html::{code, escape, paragraph};
use super::number::{counted, fixed, percent};
use crate::recovery::{Recovery, Summary};

/// Where less than this was lost, in points, a share of it says little: the distance to float is given.
const MIN_LOSS: f64 = 10.0;

pub(super) fn write(page: &Page<'_>) -> String {
    format!(
        "<section id=\"headline\">\n<p class=\"kicker\">{} on {}</p>\n<h1>{}</h1>\n\
         <p class=\"lead\">{}</p>\n<div class=\"figures\">\n{}</div>\n{}{}</section>\n",
        code(&page.model.name),
        code(&page.chip.name),
        escape(page.title),
        say_verdict(page),
        write_figures(page),
        write_baselines(page),
        write_warnings(&page.outcome.warnings),
    )
}

/// Recovery as it may be stated: a share where enough was lost for one.
enum Verdict {
    NoDie,
    NothingLost { corrected: Summary },
    LittleLost { lost: f64, corrected: Summary },
    Recovered { lost: f64, recovery: Recovery },
}

fn judge(page: &Page<'_>) -> Verdict {
    let (Some(naive), Some(corrected)) =
        (page.summary(|die| die.naive), page.summary(|die| die.corrected))
    else {
        return Verdict::NoDie;
    };
    let lost = page.outcome.float_accuracy - naive.mean;
    match page.outcome.recovery {
        None => Verdict::NothingLost { corrected },
        Some(_) if lost < MIN_LOSS => Verdict::LittleLost { lost, corrected },
        Some(recovery) => Verdict::Recovered { lost, recovery },
    }
}

fn say_verdict(page: &Page<'_>) -> String {
    let float = page.outcome.float_accuracy;
    let dies = counted(page.outcome.dies.len(), "simulated die", "simulated dies");
    match judge(page) {
        Verdict::NoDie => "No die was simulated.".to_owned(),
        Verdict::NothingLost { corrected } => format!(
            "On {dies} the naive mapping loses nothing against the float network, so there is nothing \
             to recover; with corrections accuracy is {}.",
            percent(corrected.mean, 2)
        ),
        Verdict::LittleLost { lost, corrected } => format!(
            "On {dies} the naive mapping loses only {} points against the float network, too few for a \
             share to say much; with corrections accuracy stays within {} points of float{}.",
            fixed(lost, 2),
            fixed((float - corrected.ci95[0]).max(0.0), 2),
            if_many(page, || " (the far end of the 95\u{202f}% interval over dies)".to_owned())
        ),
        Verdict::Recovered { lost, recovery } => format!(
            "On {dies} the naive mapping loses {} points of the float network\u{2019}s {} accuracy; \
             corrections bring back {}{}.",
            fixed(lost, 2),
            percent(float, 2),
            match recovery.percent {
                share if share > 0.0 => {
                    format!("<strong>{}</strong> of that loss", percent(share, 1))
                }
                share => format!("<strong>none</strong> of that loss: {}", percent(share, 1)),
            },
            if_many(page, || {
                format!(" (95\u{202f}% interval over dies {})", interval(recovery.ci95, 1))
            })
        ),
    }
}

/// What is to be said of a spread over dies; nothing where there is one die.
fn if_many(page: &Page<'_>, say: impl Fn() -> String) -> String {
    if page.outcome.dies.len() > 1 { say() } else { String::new() }
}

fn interval([low, high]: [f64; 2], decimals: usize) -> String {
    format!("{} to {}", fixed(low, decimals), percent(high, decimals))
}

fn write_figures(page: &Page<'_>) -> String {
    let outcome = page.outcome;
    let mut figures = figure("", outcome.float_accuracy, 2, "float", "the ONNX file itself");
    figures += &figure("", outcome.ideal_accuracy, 2, "ideal", "perfect die and converters");
    let measured = [
        ("naive", page.summary(|die| die.naive)),
        ("corrected", page.summary(|die| die.corrected)),
    ];
    for (name, summary) in measured {
        if let Some(Summary { mean, min, max, .. }) = summary {
            let note = match outcome.dies.len() {
                1 => "one die".to_owned(),
                _ => format!("mean; dies {}", interval([min, max], 1)),
            };
            figures += &figure(name, mean, 2, name, &note);
        }
    }
    figures
        + &match judge(page) {
            Verdict::NoDie | Verdict::NothingLost { .. } => String::new(),
            Verdict::LittleLost { corrected, .. } => {
                let gap = outcome.float_accuracy - corrected.mean;
                let note = "points, float less corrected";
                figure_of("gain", &fixed(gap, 2), "left to float", note)
            }
            Verdict::Recovered { recovery, .. } => {
                let note = match outcome.dies.len() {
                    0 | 1 => "one die: no interval".to_owned(),
                    _ => format!("95\u{202f}% interval {}", interval(recovery.ci95, 1)),
                };
                figure("gain", recovery.percent, 1, "recovered", &note)
            }
        }
}

fn figure(class: &str, value: f64, decimals: usize, name: &str, note: &str) -> String {
    figure_of(class, &format!("{}<small> %</small>", fixed(value, decimals)), name, note)
}

fn figure_of(class: &str, html: &str, name: &str, note: &str) -> String {
    format!(
        "<div class=\"figure {class}\"><span class=\"name\">{name}</span><strong>{html}</strong>\
         <span class=\"note\">{note}</span></div>\n"
    )
}

fn write_baselines(page: &Page<'_>) -> String {
    let corrections = page.image().provenance.corrections.join(", ");
    let corrected = match corrections.as_str() {
        "" => "<em>Corrected</em> equals naive here: no correction ran.".to_owned(),
        names => {
            format!("<em>Corrected</em> is compiled for each die anew with {}.", escape(names))
        }
    };
    paragraph(&format!(
        "<em>Naive</em>, the baseline of recovery, programs the nominal weights with nominal scales and \
         knows nothing of the die. {corrected} Accuracy is top-1 on {}, of which one is worth {} points.",
        counted(page.images, "test image", "test images"),
        fixed(100.0 / page.images.max(1) as f64, 2),
    ))
}

fn write_warnings(warnings: &[Diagnostic]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let entry = |warning: &Diagnostic| {
        let hints: String =
            warning.hints.iter().map(|hint| format!("; {}", escape(hint))).collect();
        format!("<li>{}: {}{hints}</li>\n", code(&warning.at), escape(&warning.message))
    };
    let entries: String = warnings.iter().map(entry).collect();
    let count = counted(warnings.len(), "warning", "warnings");
    format!("<div class=\"warnings\"><p>{count} while compiling</p>\n<ul>\n{entries}</ul></div>\n")
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Diagnostic;

    use super::super::testing::{Sample, check_markup};
    use super::write;
    use crate::recovery::recover;

    /// The headline of a campaign with these accuracies.
    fn headline(float: f64, naive: f64, corrected: f64) -> String {
        let mut sample = Sample::shared().clone();
        sample.outcome.float_accuracy = float;
        for die in &mut sample.outcome.dies {
            (die.naive, die.corrected) = (naive, corrected);
        }
        let n_dies = sample.outcome.dies.len();
        sample.outcome.recovery = recover(float, &vec![naive; n_dies], &vec![corrected; n_dies]);
        let html = sample.page(write);
        check_markup(&html);
        html
    }

    #[test]
    fn a_large_loss_is_stated_as_a_share() {
        let html = headline(99.0, 49.0, 94.0);
        assert!(html.contains("loses 50.00 points"), "{html}");
        assert!(html.contains("bring back <strong>90.0\u{202f}%</strong>"), "{html}");
        assert!(html.contains("95\u{202f}% interval 90.0 to 90.0\u{202f}%"), "{html}");
    }

    #[test]
    fn harm_is_not_dressed_up() {
        let html = headline(99.0, 49.0, 44.0);
        assert!(
            html.contains("<strong>none</strong> of that loss: \u{2212}10.0\u{202f}%"),
            "{html}"
        );
    }

    #[test]
    fn a_small_loss_is_stated_as_a_distance() {
        let html = headline(99.0, 95.0, 98.5);
        assert!(html.contains("loses only 4.00 points"), "{html}");
        assert!(html.contains("within 0.50 points of float"), "{html}");
        assert!(!html.contains("recovered"), "{html}");
    }

    #[test]
    fn nothing_lost_is_said() {
        assert!(headline(90.0, 91.0, 92.0).contains("nothing to recover"));
    }

    #[test]
    fn warnings_are_not_hidden() {
        let mut sample = Sample::shared().clone();
        let warning = Diagnostic::bad_input("<at>", "too much").hint("take less");
        sample.outcome.warnings = vec![warning];
        let html = sample.page(write);
        check_markup(&html);
        assert!(html.contains("1 warning while compiling"));
        assert!(html.contains("<code>&lt;at&gt;</code>: too much; take less"));
    }
}
