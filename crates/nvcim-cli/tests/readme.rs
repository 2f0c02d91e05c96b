//! The README's console blocks, run by the binary that they show.
//!
//! Numbers depend on the processor's instructions and its speed, so they are compared with every run of
//! digits masked and without the bars of charts; everything else must stand in the README as the binary
//! prints it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A command and what the README says it prints.
struct Example {
    arguments: Vec<String>,
    output: String,
}

fn read_examples(readme: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside && let Some(command) = line.strip_prefix("$ nvcim ") {
            let arguments = command.split_whitespace().map(str::to_owned).collect();
            examples.push(Example { arguments, output: String::new() });
        } else if inside && let Some(example) = examples.last_mut() {
            example.output += line;
            example.output.push('\n');
        }
    }
    examples
}

/// Replaces each number by `#`, its sign included, hexadecimal names by `@`, runs of spaces by one, and
/// drops bars.
fn mask(text: &str) -> Vec<String> {
    let is_bar = |word: &&str| word.chars().all(|c| c == '#') || word.chars().all(|c| c == '-');
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if bare.len() == 16 && bare.chars().all(|c| c.is_ascii_hexdigit()) {
            return word.replace(bare, "@");
        }
        let mut masked = String::new();
        let signed = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
        let word = word.strip_prefix('-').filter(|rest| signed(rest)).unwrap_or(word);
        for c in word.chars() {
            match c {
                '0'..='9' | '.' | '-' if masked.ends_with('#') => {}
                '0'..='9' => masked.push('#'),
                c => masked.push(c),
            }
        }
        masked
    };
    let line = |line: &str| {
        line.split_whitespace().filter(|it| !is_bar(it)).map(word).collect::<Vec<_>>().join(" ")
    };
    text.trim_end().lines().map(line).collect()
}

#[test]
fn examples_print_what_the_readme_shows() {
    let root = repository();
    let readme = fs::read_to_string(root.join("README.md")).expect("there is a README");
    let examples = read_examples(&readme);
    assert!(examples.len() >= 4, "only {} examples", examples.len());
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let models = folder.path().join("onnx-models");
    fs::create_dir(&models).expect("the folder is new");
    for name in ["lenet-digits.onnx", "lenet5-mnist.onnx"] {
        fs::copy(root.join("onnx-models").join(name), models.join(name)).expect("it is bundled");
    }
    for Example { arguments, output } in examples {
        let run = Command::new(env!("CARGO_BIN_EXE_nvcim"))
            .args(&arguments)
            .current_dir(folder.path())
            .output()
            .expect("the binary starts");
        let command = arguments.join(" ");
        let complaint = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "`nvcim {command}` failed:\n{complaint}");
        let printed = String::from_utf8(run.stdout).expect("text");
        assert_eq!(mask(&printed), mask(&output), "`nvcim {command}` printed\n{printed}");
    }
}

#[test]
fn the_chip_file_is_valid() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("mine.toml");
    fs::write(&file, block.expect("the README shows a chip file")).expect("there is room");
    let run = Command::new(env!("CARGO_BIN_EXE_nvcim"))
        .args(["chip", "validate"])
        .arg(&file)
        .output()
        .expect("the binary starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn masking_keeps_words_and_forgets_figures() {
    assert_eq!(mask("a  12.5 % to -3\n"), ["a # % to #"]);
    assert_eq!(mask("(36998 bytes, 142de0853da01b8c)"), ["(# bytes, @)"]);
    assert_eq!(mask("drift -0.02  ---"), ["drift #"]);
    assert_ne!(mask("98 % of"), mask("98 % off"));
}
