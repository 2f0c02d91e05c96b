//! Where the numbers come from, and how to read them.

use nvcim_chip::effects::EffectSet;
use nvcim_chip::file::{hash_chip, write_chip};

use super::Page;
use super::html::{code, escape, section};
use super::number::counted;

pub(super) fn write(page: &Page<'_>) -> String {
    let body = [
        list("terms", &define_terms()),
        list("origin", &trace(page)),
        format!(
            "<details><summary>The chip file, every default spelled out</summary><pre>{}</pre></details>\n",
            escape(&write_chip(page.chip))
        ),
    ];
    section("origin", "How to read this page, and where it comes from", &body.concat())
}

/// Terms and their meaning, as markup.
pub(super) fn list(class: &str, entries: &[(String, String)]) -> String {
    let entry = |(term, html): &(String, String)| format!("<dt>{term}</dt><dd>{html}</dd>\n");
    format!("<dl class=\"{class}\">\n{}</dl>\n", entries.iter().map(entry).collect::<String>())
}

fn define_terms() -> Vec<(String, String)> {
    let terms = [
        ("float", "The ONNX file in 32-bit floating point: the reference of every comparison."),
        (
            "ideal",
            "The naive image on a die without faults, variation, noise or converter quantisation. It \
             differs from float by what mapping alone costs.",
        ),
        (
            "naive",
            "One image for every die: nominal conductances and scales, ranges from clean calibration, \
             nothing known of the die and nothing measured on it.",
        ),
        (
            "corrected",
            "One image per die, compiled with what a lab can know of it: its fault map before programming, \
             and what it answers to calibration vectors afterwards. Test images and labels play no part.",
        ),
        (
            "recovery",
            "(corrected \u{2212} naive) / (float \u{2212} naive), with accuracies averaged over the same dies \
             first. Its interval is a paired bootstrap over dies: it says how far other dies of this chip \
             may differ, not other test images. Above 100\u{202f}% corrected dies beat the float network. Where \
             naive loses fewer than 10 points, the distance to float is given instead.",
        ),
    ];
    terms.map(|(term, meaning)| (term.to_owned(), meaning.to_owned())).to_vec()
}

fn trace(page: &Page<'_>) -> Vec<(String, String)> {
    let provenance = &page.image().provenance;
    let seeds: Vec<String> = page.outcome.dies.iter().map(|die| die.seed.to_string()).collect();
    let mut entries = vec![
        ("command", code(page.command)),
        ("nvcim", escape(&provenance.tool_version)),
        ("model", format!("{} BLAKE3 {}", code(&page.model.name), hash(&provenance.model_hash))),
        (
            "chip",
            format!(
                "{} BLAKE3 {}<br/>{}",
                code(&page.chip.name),
                hash(&hash_chip(page.chip)),
                escape(&page.chip.description)
            ),
        ),
        (
            "dies",
            format!(
                "{} drawn from seed {}; die <i>k</i> is that of <code>nvcim die sample --seed k</code>",
                counted(seeds.len(), "die", "dies"),
                seeds.join(", ")
            ),
        ),
        (
            "data",
            format!(
                "{}{}",
                counted(page.images, "labelled test image", "labelled test images"),
                provenance.calibration_hash.map_or_else(String::new, |bytes| {
                    format!("; unlabelled calibration images BLAKE3 {}", hash(&bytes))
                })
            ),
        ),
    ];
    if let Some(stamp) = &provenance.die {
        let value = format!("{} BLAKE3 {}", code(&stamp.name), hash(&stamp.hash));
        entries.push(("last die", value));
    }
    if !provenance.corrections.is_empty() {
        entries.push(("corrections", escape(&provenance.corrections.join(", "))));
    }
    if !provenance.effects.is_empty() {
        let at = if provenance.at_s > 0.0 {
            format!(", {} s after programming", provenance.at_s)
        } else {
            ", right after programming".to_owned()
        };
        let known = page.chip.check_time(provenance.at_s, EffectSet::ALL, false).is_ok();
        let at = if known { at } else { at + " (extrapolated beyond the data of the devices)" };
        entries.push(("effects", escape(&provenance.effects.join(", ")) + &at));
    }
    entries.into_iter().map(|(term, html)| (term.to_owned(), html)).collect()
}

fn hash(bytes: &[u8; 32]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("<code class=\"hash\">{hex}</code>")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, check_markup};
    use super::write;

    #[test]
    fn hashes_are_those_of_the_files() {
        let sample = Sample::shared();
        let html = sample.page(write);
        check_markup(&html);
        let hex = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
        assert!(html.contains(&hex(&sample.model.bytes)));
        // That of the chip leaves out what its work costs.
        let chip = nvcim_chip::file::hash_chip(&sample.chip);
        assert!(html.contains(&blake3::Hash::from_bytes(chip).to_hex().to_string()));
        assert!(html.contains("2 dies drawn from seed 0, 1;"), "{html}");
        assert!(html.contains("[effects.stuck]"));
    }
}
