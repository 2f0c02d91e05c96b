//! One golden case: its file format, its run, and the comparison.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nvcim_ir::diag::{Result as Checked, Warned};

use crate::stages;

/// The line between input and expectation.
const RULE: &str = "---\n";

/// A case as its stage sees it.
pub(crate) struct Case {
    settings: BTreeMap<String, String>,
    /// The text that the stage works on.
    pub(crate) input: String,
}

impl Case {
    /// Parts the settings at the top from the input.
    fn parse(text: &str) -> Result<Self, Failed> {
        let mut settings = BTreeMap::new();
        let mut rest = text;
        while let Some(line) = rest.strip_prefix("# ") {
            let (setting, after) = line.split_once('\n').ok_or("a setting is cut short")?;
            let (key, value) = setting.split_once(": ").ok_or("a setting reads `# key: value`")?;
            if settings.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("setting `{key}` is given twice").into());
            }
            rest = after;
        }
        Ok(Self { settings, input: rest.to_owned() })
    }

    /// Takes a setting out; what a stage leaves behind is a mistake in the case.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        self.settings.remove(key)
    }

    /// Takes out the settings with a dot in their name.
    pub(crate) fn take_dotted(&mut self) -> BTreeMap<String, String> {
        let (dotted, plain) =
            std::mem::take(&mut self.settings).into_iter().partition(|(key, _)| key.contains('.'));
        self.settings = plain;
        dotted
    }

    /// Takes out a setting that is a number.
    pub(crate) fn take_number(&mut self, key: &str) -> Result<Option<usize>, Failed> {
        Ok(self.take(key).map(|value| value.parse()).transpose()?)
    }
}

/// Every case below `folder`, by name and path, sorted.
pub(crate) fn find_cases(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut res = Vec::new();
    collect("", folder, &mut res);
    res.sort();
    res
}

fn collect(prefix: &str, folder: &Path, res: &mut Vec<(String, PathBuf)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder just opened can be listed").path();
        let stem = path.file_stem().expect("a listed entry has a name").to_string_lossy();
        if path.is_dir() {
            collect(&format!("{prefix}{stem}/"), &path, res);
        } else if path.extension().is_some_and(|ending| ending == "txt") {
            res.push((format!("{prefix}{stem}"), path));
        }
    }
}

/// Runs the case `name` and compares, or rewrites its expectation.
pub(crate) fn check(name: &str, path: &Path, bless: bool) -> Result<(), Failed> {
    let (stage, refused) = match name.strip_prefix("errors/") {
        Some(rest) => (rest.split('/').next().unwrap_or_default(), true),
        None => (name.split('/').next().unwrap_or_default(), false),
    };
    let text = fs::read_to_string(path)?;
    let (given, want) = text.split_once(RULE).ok_or("has no line `---`")?;
    let mut case = Case::parse(given)?;
    let outcome = stages::run_stage(stage, &mut case)?;
    if let Some(key) = case.settings.keys().next() {
        return Err(format!("stage `{stage}` has no setting `{key}`").into());
    }
    let got = render(&outcome);
    if outcome.is_err() != refused {
        let want = if refused { "an error" } else { "no error" };
        return Err(format!("must end with {want}, but gives:\n{got}").into());
    }
    if bless {
        return Ok(fs::write(path, format!("{given}{RULE}{got}"))?);
    }
    if got == want { Ok(()) } else { Err(compare(want, &got).into()) }
}

/// The outcome as the file holds it: the text, then one paragraph per warning or error.
fn render(outcome: &Checked<Warned<String>>) -> String {
    let mut res = String::new();
    match outcome {
        Ok(Warned { output, warnings }) => {
            res.push_str(output);
            for warning in warnings {
                writeln!(res, "warning: {warning}").expect("strings take all that fits memory");
            }
        }
        Err(problems) => {
            for problem in problems {
                writeln!(res, "error[{:?}]: {problem}", problem.kind)
                    .expect("strings take all that fits memory");
            }
        }
    }
    res
}

/// Where the texts part, then both in full.
fn compare(want: &str, got: &str) -> String {
    let same = want.lines().zip(got.lines()).take_while(|(want, got)| want == got).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    format!(
        "line {} of the expectation:\n  want {}\n  got  {}\n\nall that came out:\n{got}\n\
         NVCIM_BLESS=1 rewrites the file",
        same + 1,
        line(want),
        line(got)
    )
}
