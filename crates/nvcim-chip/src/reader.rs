//! Reads TOML key by key and collects every problem with its place: unknown keys, wrong types, limits.
//!
//! Every file format of the toolchain that people write by hand is read by it: chips, dies, studies.
//!
//! Stands where derived deserialisation would: that stops at the first problem and forgets the line.
//! A value that cannot be read is stood in for, so that reading goes on; the caller uses nothing that
//! was read once there is a problem.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use nvcim_ir::diag::{Diagnostic, Result, Warned};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::{Source, find_similar};

/// The only schema version that exists so far, of chip files and die files alike.
const SCHEMA: u64 = 1;

/// One table of the file, while its keys are asked for one after the other.
pub struct Section<'a> {
    source: &'a Source<'a>,
    /// Dotted key of the table; empty for the whole file.
    path: String,
    /// Where the table starts.
    span: Range<usize>,
    /// Absent where the file has no such table but must have.
    table: Option<&'a DeTable<'a>>,
    known: BTreeSet<String>,
    missing: Vec<String>,
}

/// Reads a file of one `kind`: checks `schema` and `kind`, hands the rest to `read`, and answers with
/// what it read if there was no problem. Where `read` fails, the file is read no further.
///
/// # Errors
/// Invalid TOML, a newer `schema`, another `kind`, and every problem that was found while reading.
pub fn read_file<T>(
    text: &str,
    place: &str,
    kind: &str,
    read: impl FnOnce(&mut Section<'_>) -> Result<T>,
) -> Result<Warned<T>> {
    let source = Source::new(text, place);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        source.report(error.span(), "", format!("is not valid TOML: {}", error.message()));
    }
    source.fail_if_any()?;
    let mut root = Section {
        source: &source,
        path: String::new(),
        span: 0..0,
        table: Some(table.get_ref()),
        known: BTreeSet::new(),
        missing: Vec::new(),
    };
    root.check_header(kind)?;
    let output = read(&mut root)?;
    root.finish();
    source.fail_if_any()?;
    Ok(Warned { output, warnings: source.take_warnings() })
}

impl<'a> Section<'a> {
    fn check_header(&mut self, kind: &str) -> Result<()> {
        let schema = self.integer("schema", 1..=u64::MAX);
        if schema > SCHEMA {
            let message = format!("is {schema}, this version reads up to {SCHEMA}");
            let newer = Diagnostic::bad_input(self.at("schema"), message);
            return Err(newer.hint("use a newer version of nvcim to read this file").into());
        }
        self.choice("kind", None, &[(kind, ())]);
        self.source.fail_if_any()
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn span_of(&self, key: &str) -> Option<Range<usize>> {
        Some(self.table?.get_key_value(key)?.0.span())
    }

    /// Says that `key` of this table is wrong: what it is, what it must be.
    pub fn report(&self, key: &str, message: impl Into<String>) {
        self.source.report(self.span_of(key), &self.key_path(key), message);
    }

    /// Says that `key` should not be in this table at all.
    pub fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.known.insert(key.to_owned());
        self.report(key, message);
    }

    /// How messages call the place of `key` of this table.
    pub(crate) fn at(&self, key: &str) -> String {
        self.source.at(self.span_of(key), &self.key_path(key))
    }

    /// Adds a problem of several keys, given by their dotted paths, unless one of them is broken itself.
    /// It is said to sit at the last of them.
    pub(crate) fn report_across(&self, keys: &[&str], problem: impl FnOnce(String) -> Diagnostic) {
        if let Some(last) = keys.last()
            && !keys.iter().any(|key| self.source.is_broken(key))
        {
            let span = self.find(last).or_else(|| self.find(last.rsplit_once('.')?.0));
            self.source.report_with(span, last, problem);
        }
    }

    /// Adds a warning at a dotted path.
    pub(crate) fn warn(&self, key: &str, message: impl Into<String>) {
        self.source.warn(Diagnostic::bad_input(self.at(key), message));
    }

    /// Where a dotted path below this table starts.
    fn find(&self, path: &str) -> Option<Range<usize>> {
        let (mut table, mut span) = (self.table, None);
        for key in path.split('.') {
            let (key, value) = table?.get_key_value(key)?;
            span = Some(key.span());
            table = value.get_ref().as_table();
        }
        span
    }

    /// Visits every key of this table that was not asked for yet, in alphabetical order, and reports
    /// what the visit finds wrong.
    pub(crate) fn for_each_other(
        &mut self,
        mut visit: impl FnMut(&str, &DeValue<'_>) -> std::result::Result<(), String>,
    ) {
        for (key, value) in self.table.into_iter().flatten() {
            let key = key.get_ref().as_ref();
            if self.known.insert(key.to_owned())
                && let Err(message) = visit(key, value.get_ref())
            {
                self.report(key, message);
            }
        }
    }

    /// The keys of this table that the file gives, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.into_iter().flat_map(|table| table.keys()).map(|key| key.get_ref().as_ref())
    }

    fn get(&mut self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key.to_owned());
        self.table?.get(key)
    }

    fn require(&mut self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let value = self.get(key);
        if value.is_none() && self.table.is_some() {
            self.missing.push(key.to_owned());
        }
        value
    }

    /// A table that must be there.
    pub fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let value = self.require(key);
        self.enter(key, value, read)
    }

    /// A table that may be left out.
    pub fn optional_section<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> Option<T> {
        let value = self.get(key)?;
        Some(self.enter(key, Some(value), read))
    }

    /// Every table of a list of tables (`[[key]]`), in the order of the file; none where it is left out.
    pub fn tables<T>(&mut self, key: &str, mut read: impl FnMut(&mut Section<'_>) -> T) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let entries = value.get_ref().as_array().into_iter().flat_map(|list| list.iter());
        let tables: Vec<_> = entries.map(|it| (it.span(), it.get_ref().as_table())).collect();
        if value.get_ref().as_array().is_none() || tables.iter().any(|(_, it)| it.is_none()) {
            self.report(key, format!("must be a list of tables, as `[[{key}]]` writes it"));
            return Vec::new();
        }
        let tables = tables.into_iter().enumerate();
        tables
            .map(|(at, (span, table))| {
                let mut section = Section {
                    source: self.source,
                    path: format!("{}[{at}]", self.key_path(key)),
                    span,
                    table,
                    known: BTreeSet::new(),
                    missing: Vec::new(),
                };
                let output = read(&mut section);
                section.finish();
                output
            })
            .collect()
    }

    /// A list of texts; empty where it is left out.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        self.list(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    fn enter<T>(
        &self,
        key: &str,
        value: Option<&'a Spanned<DeValue<'a>>>,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let table = value.and_then(|value| value.get_ref().as_table());
        match (value, table) {
            (Some(value), None) => {
                self.report(key, format!("is {}, must be a table", name_type(value.get_ref())));
            }
            (None, _) => self.source.mark_broken(self.key_path(key)),
            _ => {}
        }
        let mut section = Section {
            source: self.source,
            path: self.key_path(key),
            span: self.span_of(key).unwrap_or(0..0),
            table,
            known: BTreeSet::new(),
            missing: Vec::new(),
        };
        let output = read(&mut section);
        section.finish();
        output
    }

    /// A whole number inside `limits`.
    pub fn integer(&mut self, key: &str, limits: RangeInclusive<u64>) -> u64 {
        let value = self.require(key);
        self.to_integer(key, value, limits)
    }

    /// A whole number inside `limits`; nothing where the key is left out.
    pub fn optional_integer(&mut self, key: &str, limits: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?;
        Some(self.to_integer(key, Some(value), limits))
    }

    /// A whole number inside `limits`, or nothing where the key is left out or says `word`.
    pub(crate) fn integer_or_word(
        &mut self,
        key: &str,
        limits: RangeInclusive<u64>,
        word: &str,
    ) -> Option<u64> {
        let value = self.get(key)?;
        match value.get_ref().as_str() {
            Some(text) if text == word => None,
            Some(text) => {
                self.report(key, format!("is `{text}`, must be `{word}` or a whole number"));
                None
            }
            None => Some(self.to_integer(key, Some(value), limits)),
        }
    }

    fn to_integer(
        &self,
        key: &str,
        value: Option<&Spanned<DeValue<'_>>>,
        limits: RangeInclusive<u64>,
    ) -> u64 {
        let Some(value) = value else { return *limits.start() };
        let DeValue::Integer(digits) = value.get_ref() else {
            let found = name_type(value.get_ref());
            self.report(key, format!("is {found}, must be a whole number"));
            return *limits.start();
        };
        match u64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) if limits.contains(&number) => number,
            _ => {
                let (least, most) = limits.into_inner();
                let limit = Limits(least, most, most == u64::MAX);
                self.report(key, format!("is {}, must be {limit}", digits.as_str()));
                least
            }
        }
    }

    /// A finite number inside `limits`.
    pub fn number(&mut self, key: &str, limits: RangeInclusive<f64>) -> f64 {
        match self.require(key) {
            Some(value) => self.to_number_within(key, value.get_ref(), limits),
            None => *limits.start(),
        }
    }

    /// A finite number inside `limits`; `default` where the key is left out.
    pub fn number_or(&mut self, key: &str, default: f64, limits: RangeInclusive<f64>) -> f64 {
        match self.get(key) {
            Some(value) => self.to_number_within(key, value.get_ref(), limits),
            None => default,
        }
    }

    /// A finite number inside `limits`, or nothing where the key is left out or says `word`.
    pub(crate) fn number_or_word(
        &mut self,
        key: &str,
        limits: RangeInclusive<f64>,
        word: &str,
    ) -> Option<f64> {
        let value = self.get(key)?.get_ref();
        match value.as_str() {
            Some(text) if text == word => None,
            Some(text) => {
                self.report(key, format!("is `{text}`, must be `{word}` or a number"));
                None
            }
            None => Some(self.to_number_within(key, value, limits)),
        }
    }

    fn to_number_within(&self, key: &str, value: &DeValue<'_>, limits: RangeInclusive<f64>) -> f64 {
        let Some(number) = to_number(value) else {
            self.report(key, format!("is {}, must be a number", name_type(value)));
            return *limits.start();
        };
        if !limits.contains(&number) {
            let (least, most) = limits.into_inner();
            let limit = Limits(least, most, most == f64::MAX);
            self.report(key, format!("is {number:?}, must be {limit}"));
            return least;
        }
        number
    }

    /// A list of finite numbers inside `limits`, as many as `counts` allows; after a problem, as few as
    /// that.
    pub fn numbers(
        &mut self,
        key: &str,
        counts: RangeInclusive<usize>,
        limits: RangeInclusive<f64>,
    ) -> Vec<f64> {
        let wanted = format!("a number from {:?} to {:?}", limits.start(), limits.end());
        let turn = |value: &DeValue<'_>| to_number(value).filter(|it| limits.contains(it));
        let numbers = self.required_list(key, &wanted, &counts, turn);
        numbers.unwrap_or_else(|| vec![*limits.start(); *counts.start()])
    }

    /// A list of lists of finite numbers inside `limits`, as many of each as both counts allow; after a
    /// problem, as few as that.
    pub(crate) fn rows(
        &mut self,
        key: &str,
        counts: RangeInclusive<usize>,
        row_counts: RangeInclusive<usize>,
        limits: RangeInclusive<f64>,
    ) -> Vec<Vec<f64>> {
        let (least, most) = (limits.start(), limits.end());
        let wanted = format!(
            "a list of {} to {} numbers from {least:?} to {most:?}",
            row_counts.start(),
            row_counts.end()
        );
        let turn = |value: &DeValue<'_>| {
            let row = value.as_array()?.iter().map(|entry| to_number(entry.get_ref()));
            let row = row.collect::<Option<Vec<f64>>>()?;
            let fits = row_counts.contains(&row.len()) && row.iter().all(|it| limits.contains(it));
            fits.then_some(row)
        };
        let rows = self.required_list(key, &wanted, &counts, turn);
        rows.unwrap_or_else(|| vec![vec![*least; *row_counts.start()]; *counts.start()])
    }

    /// A list that must be there, with as many entries as `counts` allows; nothing after a problem.
    fn required_list<T>(
        &mut self,
        key: &str,
        wanted: &str,
        counts: &RangeInclusive<usize>,
        turn: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.require(key)?;
        let items = self.list(key, wanted, turn);
        if self.source.is_broken(&self.key_path(key)) {
            return None;
        }
        if !counts.contains(&items.len()) {
            let (least, most) = (counts.start(), counts.end());
            let must = if least == most { least.to_string() } else { format!("{least} to {most}") };
            self.report(key, format!("has {} entries, must have {must}", items.len()));
            return None;
        }
        Some(items)
    }

    /// Whether the file gives `key` in this table.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the file gives `key` in this table, and as a table.
    pub(crate) fn is_table(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.is_some_and(|value| value.get_ref().is_table())
    }

    /// One of `words`; the first where the key is left out.
    pub(crate) fn word(&mut self, key: &str, words: &[&'static str]) -> &'static str {
        let choices: Vec<_> = words.iter().map(|&word| (word, word)).collect();
        self.choice(key, Some(words[0]), &choices)
    }

    /// Yes or no; `default` where the key is left out.
    pub fn flag_or(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let found = name_type(value.get_ref());
            self.report(key, format!("is {found}, must be `true` or `false`"));
            default
        })
    }

    /// A text; empty where it is left out.
    pub fn text(&mut self, key: &str) -> String {
        let Some(value) = self.get(key) else { return String::new() };
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.report(key, format!("is {}, must be a text", name_type(value.get_ref())));
        }
        text.unwrap_or_default().to_owned()
    }

    /// A text that must be there.
    pub fn required_text(&mut self, key: &str) -> String {
        if self.require(key).is_some_and(|value| value.get_ref().as_str() == Some("")) {
            self.report(key, "is empty");
        }
        self.text(key)
    }

    /// One of `choices`; `default` where the key is left out, the first choice to go on after a problem.
    pub fn choice<T: Copy>(&mut self, key: &str, default: Option<T>, choices: &[(&str, T)]) -> T {
        let stand_in = choices[0].1;
        let value = if default.is_some() { self.get(key) } else { self.require(key) };
        let Some(value) = value else { return default.unwrap_or(stand_in) };
        let text = value.get_ref().as_str();
        if let Some((_, choice)) = choices.iter().find(|(name, _)| Some(*name) == text) {
            return *choice;
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let found = match text {
            Some(text) => format!("`{text}`"),
            None => name_type(value.get_ref()).to_owned(),
        };
        self.report(key, format!("is {found}, must be {}", names.join(" or ")));
        stand_in
    }

    /// Whether the file gives a list under `key`.
    pub(crate) fn has_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value.is_some_and(|value| value.get_ref().as_array().is_some())
    }

    /// A list, its entries turned one by one; empty where it is left out. `wanted` says what each
    /// entry must be.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        wanted: &str,
        turn: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_array() else {
            self.report(key, format!("is {}, must be a list", name_type(value.get_ref())));
            return Vec::new();
        };
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries.iter() {
            match turn(entry.get_ref()) {
                Some(item) => items.push(item),
                None => {
                    let span = Some(entry.span());
                    let at = items.len();
                    let message = format!("has an entry {at} that is not {wanted}");
                    self.source.report(span, &self.key_path(key), message);
                    return Vec::new();
                }
            }
        }
        items
    }

    /// Reports what the file should not have and what it lacks. A key that looks like a missing one is
    /// reported once.
    fn finish(self) {
        let mut missing = self.missing.clone();
        let given = self.table.into_iter().flat_map(|table| table.keys());
        for key in given.filter(|key| !self.known.contains(key.get_ref().as_ref())) {
            let similar = find_similar(key.get_ref(), self.known.iter().map(String::as_str));
            let hint = match similar {
                Some(similar) => format!("did you mean `{similar}`?"),
                None => format!("known keys here: {}", list_names(&self.known)),
            };
            self.source.report_with(Some(key.span()), &self.key_path(key.get_ref()), |at| {
                Diagnostic::bad_input(at, "is not a known key").hint(hint)
            });
            if let Some(similar) = similar {
                missing.retain(|missing| missing != similar);
                self.source.mark_broken(self.key_path(similar));
            }
        }
        for key in missing {
            self.source.report(Some(self.span.clone()), &self.key_path(&key), "is missing");
        }
    }
}

fn list_names(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A number written as a float or an integer; `None` for anything else, infinite or not a number.
pub(crate) fn to_number(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        DeValue::Float(digits) => digits.as_str().parse().ok()?,
        DeValue::Integer(digits) => {
            i64::from_str_radix(digits.as_str(), digits.radix()).ok()? as f64
        }
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// An integer that is an index below `limit`.
pub(crate) fn to_index(value: &DeValue<'_>, limit: usize) -> Option<usize> {
    let DeValue::Integer(digits) = value else { return None };
    let index = usize::from_str_radix(digits.as_str(), digits.radix()).ok()?;
    (index < limit).then_some(index)
}

fn name_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(digits) if matches!(digits.as_str(), "inf" | "+inf" | "-inf") => "infinite",
        DeValue::Float(digits) if digits.as_str().ends_with("nan") => "not a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Prints limits; the flag says that there is no upper one.
struct Limits<T>(T, T, bool);

impl<T: fmt::Debug> fmt::Display for Limits<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits(least, most, open) = self;
        if *open { write!(f, "{least:?} or more") } else { write!(f, "{least:?} to {most:?}") }
    }
}
