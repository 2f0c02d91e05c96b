//! The tables of `docs/image-format.md` are executable: a reader that knows nothing but them walks every
//! record of the golden images to its last byte.

use std::collections::{BTreeMap, BTreeSet};

use nvcim_image::codec::{decode_image, list_sections};
use nvcim_ir::program::{Lowering, StepOp};

const PAGE: &str = include_str!("../../../../docs/image-format.md");

const GOLDEN: [&[u8]; 6] = [
    include_bytes!("../golden/v3.nvcim"),
    include_bytes!("../golden/v3-words.nvcim"),
    include_bytes!("../golden/v3-siemens.nvcim"),
    include_bytes!("../golden/v3-operators.nvcim"),
    include_bytes!("../golden/v3-several-uses.nvcim"),
    include_bytes!("../golden/v3-lookup.nvcim"),
];

/// A table under a heading that is a name in backticks.
enum Table {
    /// Types of the fields, in order.
    Fields(Vec<String>),
    /// Name and types of the fields, by tag.
    Choice(BTreeMap<u32, (String, Vec<String>)>),
}

/// The page's tables of types, by name.
fn read_tables() -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::new();
    for part in PAGE.split("\n### ").skip(1) {
        let name = part.lines().next().unwrap().trim_matches('`').to_owned();
        let mut lines = part.lines().skip_while(|line| !line.starts_with('|'));
        let choice = lines.next().unwrap().starts_with("| tag |");
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| row.split('|').map(str::trim).skip(1).collect::<Vec<_>>());
        let table = if choice {
            Table::Choice(cells.map(|row| read_variant(&row)).collect())
        } else {
            Table::Fields(cells.map(|row| row[1].to_owned()).collect())
        };
        tables.insert(name, table);
    }
    tables
}

fn read_variant(row: &[&str]) -> (u32, (String, Vec<String>)) {
    let fields = row[2].split(", ").filter_map(|field| field.split_once(": "));
    let types = fields.map(|(_, kind)| kind.to_owned()).collect();
    (row[0].parse().unwrap(), (row[1].trim_matches('`').to_owned(), types))
}

/// Reads values off the front of bytes, by the tables alone, and notes the tags it meets.
struct Walker<'a> {
    tables: &'a BTreeMap<String, Table>,
    rest: &'a [u8],
    seen: Vec<(String, u32)>,
}

impl Walker<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (front, rest) = self.rest.split_at(count);
        self.rest = rest;
        front
    }

    fn take_number(&mut self, width: usize) -> usize {
        let digits = self.take(width).iter().rev();
        digits.fold(0, |number, &digit| number << 8 | usize::from(digit))
    }

    fn walk(&mut self, kind: &str) {
        if let Some(kind) = kind.strip_suffix("[2]") {
            self.walk(kind);
            self.walk(kind);
        } else if let Some(kind) = kind.strip_suffix("[]") {
            for _ in 0..self.take_number(8) {
                self.walk(kind);
            }
        } else if let Some(kind) = kind.strip_suffix('?') {
            match self.take_number(1) {
                0 => {}
                1 => self.walk(kind),
                other => panic!("{other} before an optional {kind}"),
            }
        } else if kind == "text" {
            let length = self.take_number(8);
            assert!(std::str::from_utf8(self.take(length)).is_ok());
        } else if kind == "hash" {
            self.take(32);
        } else if let Some(name) = kind.strip_prefix('`') {
            self.walk_table(name.trim_end_matches('`'));
        } else if kind == "bool" {
            assert!(self.take_number(1) < 2);
        } else {
            let bits: usize = kind[1..].parse().unwrap_or_else(|_| panic!("no type `{kind}`"));
            self.take(bits / 8);
        }
    }

    fn walk_table(&mut self, name: &str) {
        let tables = self.tables;
        match &tables[name] {
            Table::Fields(kinds) => kinds.iter().for_each(|kind| self.walk(kind)),
            Table::Choice(variants) => {
                let tag = self.take_number(4) as u32;
                self.seen.push((name.to_owned(), tag));
                variants[&tag].1.iter().for_each(|kind| self.walk(kind));
            }
        }
    }
}

/// The page's section table: section and the type of its records.
fn read_sections() -> Vec<(u32, String, String)> {
    let rows = PAGE.lines().skip_while(|line| !line.starts_with("| id | section |")).skip(2);
    rows.take_while(|row| row.starts_with('|'))
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            (cells[1].parse().unwrap(), cells[2].to_owned(), cells[3].to_owned())
        })
        .collect()
}

/// Walks all sections of an image and returns the choices met, in order.
fn walk_image(tables: &BTreeMap<String, Table>, bytes: &[u8]) -> Vec<(String, u32)> {
    let mut seen = Vec::new();
    let sections = list_sections(bytes).unwrap();
    assert_eq!(sections.len(), read_sections().len());
    for (section, (id, name, record)) in sections.iter().zip(read_sections()) {
        assert_eq!((section.id, section.name), (id, name.as_str()));
        let rest = &bytes[section.offset as usize..][..section.length as usize];
        let mut walker = Walker { tables, rest, seen: Vec::new() };
        for _ in 0..walker.take_number(4) {
            let length = walker.take_number(4);
            walker.take_number(4);
            let end = walker.rest.len() - length;
            walker.walk_table(&record);
            assert_eq!(walker.rest.len(), end, "a record of {name}");
        }
        assert!(walker.rest.is_empty(), "{name}");
        seen.append(&mut walker.seen);
    }
    seen
}

#[test]
fn the_tables_describe_every_byte_and_every_tag_is_in_use() {
    let tables = read_tables();
    let seen: BTreeSet<_> = GOLDEN.iter().flat_map(|bytes| walk_image(&tables, bytes)).collect();
    let mut documented = BTreeSet::new();
    for (name, table) in &tables {
        if let Table::Choice(variants) = table {
            documented.extend(variants.keys().map(|tag| (name.clone(), *tag)));
        }
    }
    assert_eq!(seen, documented);
}

#[test]
fn operators_have_the_names_of_the_page() {
    let tables = read_tables();
    let Table::Choice(page) = &tables["op"] else { panic!("`op` is a choice") };
    for bytes in GOLDEN {
        let seen = walk_image(&tables, bytes);
        let tags = seen.iter().filter(|(table, _)| table == "op").map(|(_, tag)| tag);
        let program = decode_image(bytes).unwrap().net.program;
        let ops = program.steps.iter().map(|step| match &step.op {
            StepOp::Digital(op) => op.name(),
            StepOp::Matrix { lowering: Lowering::Dense, .. } => "matrix_dense",
            StepOp::Matrix { lowering: Lowering::Conv(_), .. } => "matrix_conv",
        });
        assert!(tags.map(|tag| page[tag].0.as_str()).eq(ops));
    }
}
