//! The repository as the rules see it: its files, and Rust text without what a rule does not concern.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One text file of the repository.
pub(crate) struct Text {
    /// Its path below the top folder, with `/` between parts.
    pub(crate) path: String,
    /// Its content.
    pub(crate) content: String,
}

/// Every file below `folder` whose name ends in one of `endings`, sorted by path.
///
/// Build outputs and folders that wear a dot stay out, helper files that wear one do not.
pub(crate) fn read_texts(folder: &str, endings: &[&str]) -> Vec<Text> {
    let root = nvcim_tests::repository();
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    paths.sort();
    let mut res = Vec::new();
    for path in paths {
        let inside = path.strip_prefix(&root).expect("collected below the root");
        let name = inside.to_string_lossy().replace('\\', "/");
        if endings.iter().any(|ending| name.ends_with(ending)) {
            let content = fs::read_to_string(&path).unwrap_or_else(|e| panic!("`{name}`: {e}"));
            res.push(Text { path: name, content });
        }
    }
    assert!(!res.is_empty(), "`{folder}` holds no file that ends in {endings:?}");
    res
}

fn collect(folder: &Path, res: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a folder just opened can be listed").path();
        let name = path.file_name().expect("a listed entry has a name").to_string_lossy();
        if !path.is_dir() {
            res.push(path);
        } else if !matches!(&*name, "target" | ".git" | "__pycache__") {
            collect(&path, res);
        }
    }
}

/// The files of a crate that it ships, without comments and test modules, line numbers kept.
///
/// Relies on two habits that hold here: no block comments, and `mod tests` stands last in its file. A
/// file that another declares under `#[cfg(test)]` is a test as a whole, with the files in its folder.
pub(crate) fn shipped_files(name: &str) -> Vec<Text> {
    let mut files = read_texts(&format!("crates/{name}/src"), &[".rs"]);
    let tests: BTreeSet<String> = files.iter().flat_map(test_files).collect();
    let is_test = |path: &str| {
        let belongs = |test: &String| path.starts_with(&test.replace(".rs", "/"));
        tests.contains(path) || tests.iter().any(belongs)
    };
    files.retain(|file| !is_test(&file.path));
    for file in &mut files {
        file.content = shipped_code(&file.content);
    }
    files
}

/// The paths of the modules that `file` declares for tests only.
fn test_files(file: &Text) -> Vec<String> {
    let stem = file.path.trim_end_matches(".rs");
    let is_root = |name| ["lib", "main", "mod"].contains(&name);
    let folder = match stem.rsplit_once('/') {
        Some((folder, name)) if is_root(name) => folder,
        _ => stem,
    };
    let declarations = file.content.split("#[cfg(test)]\n").skip(1);
    let names = declarations.filter_map(|rest| {
        let line = rest.lines().next()?;
        line.trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';')
    });
    names.map(|name| format!("{folder}/{name}.rs")).collect()
}

/// Rust source without comments and without the test module, line numbers kept.
fn shipped_code(source: &str) -> String {
    let shipped = match source.find("\nmod tests {") {
        Some(tests) => &source[..tests],
        None => source,
    };
    shipped.lines().map(|line| strip_comment(line).to_owned() + "\n").collect()
}

/// A line up to its comment; a `//` inside a string literal starts none.
fn strip_comment(line: &str) -> &str {
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' if !line[..at].ends_with('\'') => in_string = !in_string,
            b'/' if !in_string && line[at..].starts_with("//") => return &line[..at],
            _ => {}
        }
    }
    line
}

/// The numbers, from 1, of the lines where `word` stands as a word of its own.
pub(crate) fn lines_naming(text: &str, word: &str) -> Vec<usize> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| names(line, word))
        .map(|(number, _)| number)
        .collect()
}

fn names(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let goes_on = word.ends_with(part_of_word) && after.starts_with(part_of_word);
        !before.ends_with(part_of_word) && !goes_on
    })
}

/// Collects what breaks a rule and fails the test with all of it.
#[derive(Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    /// Notes one breach.
    pub(crate) fn add(&mut self, finding: impl Into<String>) {
        self.0.push(finding.into());
    }

    /// Notes `finding` unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.0.push(finding());
        }
    }

    /// Fails the test where anything was noted.
    pub(crate) fn fail_if_any(self) {
        assert!(self.0.is_empty(), "\n  {}", self.0.join("\n  "));
    }
}

#[test]
fn comments_and_tests_are_not_shipped_code() {
    let source = "let a = \"//\"; // fs::read\n/// env::var\nlet q = '\"'; // x\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(shipped_code(source), "let a = \"//\"; \n\nlet q = '\"'; \n#[cfg(test)]\n");
    let content = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\npub(crate) mod c;\nmod d;\n".into();
    let mut file = Text { path: "x/src/lib.rs".into(), content };
    assert_eq!(test_files(&file), ["x/src/b.rs", "x/src/c.rs"]);
    file.path = "x/src/y.rs".into();
    assert_eq!(test_files(&file), ["x/src/y/b.rs", "x/src/y/c.rs"]);
}

#[test]
fn a_word_is_not_its_part() {
    assert_eq!(lines_naming("a.Graphs\nGraph { }\nSubGraph\nx::Graph", "Graph"), [2, 4]);
    assert_eq!(lines_naming("std::fs::read\noffs::read", "fs::"), [1]);
}
