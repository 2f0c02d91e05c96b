//! Holds that every text with which the import refuses a model occurs in a golden file.
//!
//! The texts are read from the sources themselves: each string literal with a space in it, outside tests. A
//! message whose values are filled in occurs where its fixed parts follow each other on one line.

use std::fs;
use std::path::Path;

use super::{groups, path_of};

/// Files whose texts are not about models that are imported.
const OTHERS: &[&str] = &[
    "emit.rs",
    "operators.rs",
    "ops/table.rs",
    "reference.rs",
    "refusal/golden.rs",
    "spell_out.rs",
    "spell_out/recurrent.rs",
    "survey.rs",
    "testing.rs",
    "write.rs",
];

/// Texts that no model brings out, each with the reason.
const SILENT: &[(&str, &str)] = &[
    ("makes a tensor of unknown shape", "ends a judgement, which is dropped"),
    ("{name}/axis {axis}", "names a tensor"),
    ("{}/per channel", "names a tensor"),
    ("{}/weights {axis} {at}", "names a tensor"),
    ("{} * {factor}", "names a tensor"),
    ("has no batch axis: a sample is a whole tensor of shape {shape:?}", "is a warning"),
    ("if axis 0 is meant as a batch, export the network with a batch of 1", "is a warning"),
    ("there is no folder to look in", "is said where a model has no folder"),
    ("has no batch to try", "is a defect of ours"),
    ("is not needed by any output", "is said of tensors that nothing reads"),
    (
        "cut the network before the node that makes it",
        "is for types of which some node was refused",
    ),
    ("a type of numbers", "is what every constant has that can be loaded"),
    ("cannot broadcast {a:?} with {b:?}", CHECKED),
    ("has a weight of shape {shape:?}, must have 5 axes", CHECKED),
    ("turns {:?} into {output:?}", CHECKED),
    ("has a weight of shape {:?}, must have two axes more than the kernel", CHECKED),
    ("resizes {:?} to {output:?}, must keep the number of axes", CHECKED),
    ("makes an empty axis", CHECKED),
    ("has kernel {kernel:?} over {input:?}", CHECKED),
    ("has a constant of shape {have:?}, not {shape:?}", CHECKED),
    ("makes no constant of constants", CHECKED),
    ("sums along axes {other:?}, not one", CHECKED),
    ("lacks operand 1", CHECKED),
    ("has no numbers in `{name}`", CHECKED),
    ("is not recurrent", CHECKED),
    ("runs over a sequence of no elements", CHECKED),
    ("is made by a node without outputs", CHECKED),
    ("reset state", "names a tensor"),
    ("let the exporter fold constants, so that the file holds their values", FILLS),
    ("brings computed constants to more than {MAX_FOLDED} elements", FILLS),
];

const CHECKED: &str = "guards what was checked when the shape of the output was found";
const FILLS: &str = "would fill a quarter of a gigabyte for every model that is made of the case";

/// A string literal of the sources.
struct Text {
    /// File and line.
    at: String,
    /// What stands between the quotes, escapes resolved.
    text: String,
}

#[test]
fn every_text_of_the_import_is_read() {
    let goldens: Vec<String> = (groups().iter())
        .map(|(group, _)| fs::read_to_string(path_of(group)).expect("the golden file is there"))
        .collect();
    let lines = goldens.iter().flat_map(|golden| golden.lines());
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("== ")).collect();
    let is_read = |text: &str| lines.iter().any(|line| occurs(text, line));
    let mut texts = Vec::new();
    collect_texts(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut texts);
    assert!(texts.len() > 150, "only {} texts were found", texts.len());
    let is_silent = |text: &str| SILENT.iter().any(|(silent, _)| *silent == text);
    let unread: Vec<_> = (texts.iter())
        .filter(|it| !is_silent(&it.text) && !is_read(&it.text))
        .map(|it| format!("{}: `{}`", it.at, it.text))
        .collect();
    assert!(
        unread.is_empty(),
        "no case in `tests/refusals/` brings out\n  {}\nadd a model that does",
        unread.join("\n  ")
    );
    for (silent, _) in SILENT {
        assert!(texts.iter().any(|it| it.text == *silent), "no text reads `{silent}` any more");
        assert!(!is_read(silent), "`{silent}` is brought out after all");
    }
}

/// Whether the fixed parts of a format text follow each other in `line`.
fn occurs(text: &str, line: &str) -> bool {
    let mut rest = line;
    fixed_parts(text).iter().all(|part| match rest.find(part.as_str()) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// What stands between the places of a format text that are filled in.
fn fixed_parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut filled = false;
    for c in text.chars() {
        match c {
            '{' => filled = true,
            '}' => {
                filled = false;
                parts.push(String::new());
            }
            _ if filled => {}
            _ => parts.last_mut().expect("never empty").push(c),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn collect_texts(folder: &Path, prefix: &str, texts: &mut Vec<Text>) {
    let entries = fs::read_dir(folder).expect("the sources are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a listed entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a listed entry has a name").to_string_lossy();
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            collect_texts(&path, &format!("{name}/"), texts);
        } else if !OTHERS.contains(&name.as_str())
            && !name.starts_with("refusal/golden/")
            && !name.ends_with("tests.rs")
        {
            let source = fs::read_to_string(&path).expect("sources are text");
            let shipped = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for (line, text) in string_literals(shipped) {
                if text.contains(' ') {
                    texts.push(Text { at: format!("{name}:{line}"), text });
                }
            }
        }
    }
}

/// The string literals of Rust source with their lines, without bytes and the reasons of `expect`.
///
/// Relies on what holds here: no block comments, no raw texts.
fn string_literals(source: &str) -> Vec<(usize, String)> {
    let mut literals = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, found) = rest.split_at(at);
        if found.starts_with("//") {
            rest = found.find('\n').map_or("", |end| &found[end..]);
        } else if found.starts_with('"') {
            let end = end_of_literal(found);
            let before = before.trim_end();
            // Reasons for us, bytes, and numbers of fields.
            if !["expect(", "unreachable!(", " b", "tags ="].iter().any(|it| before.ends_with(it)) {
                let line = source[..source.len() - found.len()].lines().count().max(1);
                literals.push((line, resolve_escapes(&found[1..end])));
            }
            rest = &found[end + 1..];
        } else {
            // A quote of its own, escaped or not, is a character; a lifetime has no second quote.
            let skip =
                ["'\"'", "'\\\"'", "'\\\\'", "'\\''"].iter().find(|it| found.starts_with(**it));
            rest = &found[skip.map_or(1, |it| it.len())..];
        }
    }
    literals
}

/// Where the literal that `text` begins with has its closing quote.
fn end_of_literal(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().enumerate().skip(1).find(|&(_, byte)| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len() - 1, |(at, _)| at)
}

/// The text of a literal; an escaped line break takes the blanks of the next line with it.
fn resolve_escapes(literal: &str) -> String {
    let mut text = String::new();
    let mut rest = literal;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('\n') {
            Some(next) => rest = next.trim_start(),
            None => {
                text.extend(rest.chars().next());
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    text + rest
}

#[test]
fn literals_are_found_where_they_stand() {
    let source = "let a = \"one two\"; // \"not this\"\nlet b: &'a str = x.expect(\"why it holds\");\n\
                  f('\"', \"broken \\\n   off \\\"q\\\"\");\n";
    let found = string_literals(source);
    assert_eq!(found, [(1, "one two".into()), (3, "broken off \"q\"".into())]);
    assert!(occurs("has {count} of `{}`", "node `y`: has 3 of `x`"));
    assert!(!occurs("has {count} of `{}`", "node `y`: of 3 has `x`"));
}
