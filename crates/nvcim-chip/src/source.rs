//! A text being read: the places of its problems, and the names that were probably meant.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use nvcim_ir::diag::{self, Diagnostic, Result};

/// The text being read, and what was found wrong with it so far.
pub(crate) struct Source<'a> {
    place: &'a str,
    /// Where lines end, as byte offsets.
    line_ends: Vec<usize>,
    problems: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
    /// Dotted keys whose value cannot be trusted.
    broken: RefCell<BTreeSet<String>>,
}

impl<'a> Source<'a> {
    /// A text; `place` is its name in messages.
    pub(crate) fn new(text: &str, place: &'a str) -> Self {
        let line_ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        Self {
            place,
            line_ends: line_ends.map(|(offset, _)| offset).collect(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
            broken: RefCell::default(),
        }
    }

    /// How messages call a place: file, line where the text has one, and key where there is one.
    pub(crate) fn at(&self, span: Option<Range<usize>>, key: &str) -> String {
        let mut at = self.place.to_owned();
        if let Some(span) = span.filter(|span| span.end > 0) {
            let line = 1 + self.line_ends.partition_point(|&end| end < span.start);
            at += &format!(":{line}");
        }
        if !key.is_empty() {
            at += &format!(": `{key}`");
        }
        at
    }

    /// Says that the value of a dotted key is wrong.
    pub(crate) fn report(&self, span: Option<Range<usize>>, key: &str, message: impl Into<String>) {
        self.report_with(span, key, |at| Diagnostic::bad_input(at, message));
    }

    /// Adds a problem of a dotted key, made for the place where it sits.
    pub(crate) fn report_with(
        &self,
        span: Option<Range<usize>>,
        key: &str,
        problem: impl FnOnce(String) -> Diagnostic,
    ) {
        self.problems.borrow_mut().push(problem(self.at(span, key)));
        self.mark_broken(key.to_owned());
    }

    /// Adds a warning.
    pub(crate) fn warn(&self, warning: Diagnostic) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Notes that the value of a dotted key cannot be trusted.
    pub(crate) fn mark_broken(&self, key: String) {
        self.broken.borrow_mut().insert(key);
    }

    /// Whether a dotted key, or a table that it stands in, cannot be trusted.
    pub(crate) fn is_broken(&self, key: &str) -> bool {
        let broken = self.broken.borrow();
        let dots = key.match_indices('.').map(|(dot, _)| dot);
        dots.chain([key.len()]).any(|end| broken.contains(&key[..end]))
    }

    /// Hands out the problems found so far, if there are any.
    pub(crate) fn fail_if_any(&self) -> Result<()> {
        diag::fail_if_any(self.problems.take())
    }

    /// Hands out the warnings.
    pub(crate) fn take_warnings(&self) -> Vec<Diagnostic> {
        self.warnings.take()
    }
}

/// The candidate that `word` most likely stands for, if any is near: a few letters away, or the same
/// without its unit.
pub(crate) fn find_similar<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = |candidate: &str| {
        let rest = candidate.strip_prefix(word).filter(|_| !word.is_empty());
        let without_unit = rest.is_some_and(|rest| rest.starts_with('_'));
        let distance = strsim::damerau_levenshtein(word, candidate);
        (without_unit || distance <= 1 + candidate.len() / 4).then_some(distance)
    };
    candidates.filter_map(|name| Some((near(name)?, name))).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::{Source, find_similar};

    #[test]
    fn places_count_lines_from_one() {
        let source = Source::new("a\nbc\n\nd", "f");
        let lines = [0..1, 1..2, 2..3, 4..5, 5..6, 6..7].map(|span| source.at(Some(span), ""));
        assert_eq!(lines, ["f:1", "f:1", "f:2", "f:2", "f:3", "f:4"]);
        assert_eq!(source.at(Some(0..0), "x.y"), "f: `x.y`");
    }

    #[test]
    fn a_broken_table_breaks_its_keys() {
        let source = Source::new("", "");
        source.mark_broken("arrays".into());
        assert!(source.is_broken("arrays.rows") && source.is_broken("arrays"));
        assert!(!source.is_broken("arrays_too.rows") && !source.is_broken("cell"));
    }

    #[test]
    fn suggestions_forgive_slips_and_units_but_not_other_words() {
        let keys = ["g_min_siemens", "g_max_siemens", "levels"];
        let find = |word| find_similar(word, keys.into_iter());
        assert_eq!(find("g_max"), Some("g_max_siemens"));
        assert_eq!(find("levles"), Some("levels"));
        assert_eq!(find("g_mx_siemens"), Some("g_max_siemens"));
        assert_eq!((find("colour"), find("")), (None, None));
    }
}
