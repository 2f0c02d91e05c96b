//! The chips that come with the toolchain.

use nvcim_ir::diag::{Diagnostic, Result};

use crate::describe::Chip;
use crate::file::parse_chip;
use crate::source::find_similar;

/// Names and chip files of the presets.
pub const PRESETS: &[(&str, &str)] = &[
    ("ideal", include_str!("../presets/ideal.toml")),
    ("nor-flash-lenet", include_str!("../presets/nor-flash-lenet.toml")),
    ("pcm-hermes", include_str!("../presets/pcm-hermes.toml")),
    ("pcm-ibm", include_str!("../presets/pcm-ibm.toml")),
    ("rram-cmo", include_str!("../presets/rram-cmo.toml")),
    ("rram-milo", include_str!("../presets/rram-milo.toml")),
    ("rram-neurram", include_str!("../presets/rram-neurram.toml")),
    ("sonos-40", include_str!("../presets/sonos-40.toml")),
    ("stress-a", include_str!("../presets/stress-a.toml")),
    ("stress-b", include_str!("../presets/stress-b.toml")),
    ("stress-c", include_str!("../presets/stress-c.toml")),
];

/// The preset of this name.
///
/// # Errors
/// No preset has the name; the nearest one, or all of them, are the hint.
pub fn find_preset(name: &str) -> Result<Chip> {
    let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) else {
        let names = || PRESETS.iter().map(|(name, _)| *name);
        let hint = match find_similar(name, names()) {
            Some(similar) => format!("did you mean `{similar}`?"),
            None => format!("choose from {}", names().collect::<Vec<_>>().join(", ")),
        };
        return Err(Diagnostic::bad_input(format!("chip `{name}`"), "is no preset")
            .hint(hint)
            .into());
    };
    parse_chip(text, name).map(|chip| chip.output)
}

#[cfg(test)]
mod tests {
    use super::{PRESETS, find_preset};
    use crate::file::{list_keys, parse_chip, write_chip};

    #[test]
    fn presets_load_without_a_warning_under_their_own_name() {
        for (name, text) in PRESETS {
            let parsed = parse_chip(text, name).unwrap();
            assert!(parsed.warnings.is_empty(), "{name}: {:?}", parsed.warnings);
            assert_eq!(parsed.output.name, *name);
            assert!(!parsed.output.description.is_empty(), "{name}");
        }
    }

    #[test]
    fn presets_survive_the_canonical_form() {
        for (name, _) in PRESETS {
            let chip = find_preset(name).unwrap();
            let text = write_chip(&chip);
            let again = parse_chip(&text, name).unwrap().output;
            assert_eq!(again, chip);
            assert_eq!(write_chip(&again), text);
        }
    }

    /// Every key of a preset, or a table that it stands in, says where its value is from.
    #[test]
    fn presets_name_the_source_of_every_key() {
        let of_the_file = ["schema", "kind", "name", "description"];
        for (name, _) in PRESETS {
            let chip = find_preset(name).unwrap();
            let covered = |key: &str| {
                chip.sources.iter().any(|(source, _)| {
                    key.strip_prefix(source.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            };
            for key in &list_keys(&chip) {
                // A table's header needs no source where its keys have theirs.
                let is_header = !key.contains('.') && !of_the_file.contains(&key.as_str());
                let exempt = of_the_file.contains(&key.as_str()) || is_header;
                assert!(exempt || covered(key), "{name}: {key} has no source");
            }
        }
    }

    #[test]
    fn an_unknown_preset_suggests_the_nearest() {
        let problems = find_preset("stres-b").unwrap_err();
        assert_eq!(problems[0].hints, ["did you mean `stress-b`?"]);
        assert!(find_preset("sky").unwrap_err()[0].hints[0].starts_with("choose from ideal, "));
    }
}
