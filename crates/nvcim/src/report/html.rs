//! HTML by hand: escaping, tables, legends, sections, and the frame with its style.
//!
//! Whatever comes from a file goes through [`escape`]; every other argument named `html` or `body` is
//! markup already.

/// The page's only style sheet, part of the page itself.
const STYLE: &str = include_str!("style.css");

/// Sorts tables and saves them as CSV, on pages that ask for it; without it they are whole all the same.
const SCRIPT: &str = include_str!("tables.js");

/// Text as HTML shows it, in content and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut res = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => res.push_str("&amp;"),
            '<' => res.push_str("&lt;"),
            '>' => res.push_str("&gt;"),
            '"' => res.push_str("&quot;"),
            '\'' => res.push_str("&#39;"),
            c => res.push(c),
        }
    }
    res
}

/// A name or value as the user typed it.
pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// A part of the page under its heading.
pub(super) fn section(id: &str, heading: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{}</h2>\n{body}</section>\n", escape(heading))
}

/// A paragraph.
pub(super) fn paragraph(html: &str) -> String {
    format!("<p>{html}</p>\n")
}

/// What the colours of a drawing mean: class of the swatch and name, in order.
pub(super) fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let entry = |(class, name): (&str, String)| {
        format!("<li><i class=\"{class}\"></i>{}</li>", escape(&name))
    };
    let entries: String = entries.into_iter().map(entry).collect();
    format!("<ul class=\"legend\">{entries}</ul>\n")
}

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers, so that digits of one weight stand below each other.
    Right,
}

/// A table under construction; the first cell of a row names it.
pub(super) struct Table<'a> {
    columns: &'a [(&'a str, Align)],
    body: String,
    foot: String,
}

impl<'a> Table<'a> {
    /// A table with these column heads.
    pub(super) fn new(columns: &'a [(&'a str, Align)]) -> Self {
        Self { columns, body: String::new(), foot: String::new() }
    }

    /// Adds a row; cells are markup.
    pub(super) fn row(&mut self, cells: &[String]) {
        self.body += &self.write_row(cells);
    }

    /// Adds a row that sums up; cells are markup.
    pub(super) fn foot(&mut self, cells: &[String]) {
        self.foot += &self.write_row(cells);
    }

    fn write_row(&self, cells: &[String]) -> String {
        let cell = |(place, (html, (_, align))): (usize, (&String, &(&str, Align)))| {
            let tag = if place == 0 { "th" } else { "td" };
            let scope = if place == 0 { " scope=\"row\"" } else { "" };
            format!("<{tag}{scope}{}>{html}</{tag}>", align.class())
        };
        let cells: String = cells.iter().zip(self.columns).enumerate().map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    }

    /// The whole table, which a reader may sort, and save as CSV under this name.
    pub(super) fn finish_sortable(self, name: &str) -> String {
        let html = self.finish();
        html.replacen("<table>", &format!("<table class=\"sortable\" data-name=\"{name}\">"), 1)
    }

    /// The whole table, which scrolls by itself where the page is narrower.
    pub(super) fn finish(self) -> String {
        let head = |(name, align): &(&str, Align)| {
            format!("<th scope=\"col\"{}>{}</th>", align.class(), escape(name))
        };
        let heads: String = self.columns.iter().map(head).collect();
        let foot = if self.foot.is_empty() {
            String::new()
        } else {
            format!("<tfoot>\n{}</tfoot>", self.foot)
        };
        format!(
            "<div class=\"scroll\"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{}</tbody>{foot}\
             </table></div>\n",
            self.body
        )
    }
}

impl Align {
    fn class(self) -> &'static str {
        match self {
            Align::Left => "",
            Align::Right => " class=\"n\"",
        }
    }
}

/// The whole page round its sections, with the script for its tables.
pub(super) fn document_with_script(title: &str, body: &str) -> String {
    let script = format!("<script>\n{SCRIPT}</script>\n</body>");
    document(title, body).replacen("</body>", &script, 1)
}

/// The whole page round its sections.
pub(super) fn document(title: &str, body: &str) -> String {
    // The empty icon keeps browsers from asking a server for one.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <link rel=\"icon\" href=\"data:,\"/>\n<title>{}</title>\n<style>\n{STYLE}</style></head>\n\
         <body><main>\n{body}</main>\n</body></html>\n",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::{Align, Table, escape, legend};

    #[test]
    fn what_html_reads_is_escaped() {
        assert_eq!(escape("<a b=\"c\">&'é"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;é");
        assert!(legend([("x", "<b>".to_owned())]).contains("</i>&lt;b&gt;</li>"));
    }

    #[test]
    fn rows_are_named_by_their_first_cell() {
        let mut table = Table::new(&[("a<b", Align::Left), ("n", Align::Right)]);
        table.row(&["x".into(), "1".into()]);
        let html = table.finish();
        assert!(html.contains("<th scope=\"col\">a&lt;b</th><th scope=\"col\" class=\"n\">n</th>"));
        assert!(html.contains("<tr><th scope=\"row\">x</th><td class=\"n\">1</td></tr>"));
        assert!(!html.contains("tfoot"));
    }
}
