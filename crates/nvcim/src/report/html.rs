//! HTML by hand: escaping, tables, the frame with its style.

/// Text as HTML shows it.
pub(super) fn escape(text: &str) -> String {
    let mut res = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => res.push_str("&amp;"),
            '<' => res.push_str("&lt;"),
            '>' => res.push_str("&gt;"),
            '"' => res.push_str("&quot;"),
            c => res.push(c),
        }
    }
    res
}

/// A number with so many decimals.
pub(super) fn number(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}")
}

/// A table; cells are HTML already.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = String>| -> String {
        cells.map(|cell| format!("<{tag}>{cell}</{tag}>")).collect()
    };
    let head = cells("th", &mut heads.iter().map(|head| escape(head)));
    let body: String =
        rows.map(|row| format!("<tr>{}</tr>\n", cells("td", &mut row.into_iter()))).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )
}

/// The whole page round its sections.
pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>{}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

const STYLE: &str = "
:root { --ink: #1c2530; --dim: #5d6b7a; --line: #d8dee6; --paper: #ffffff; --card: #f4f6f9;
  --naive: #c2571a; --good: #1b7f5c; --accent: #2b5fb3; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --dim: #9aa7b5; --line: #33404d;
  --paper: #12181f; --card: #1b232c; --naive: #f0935a; --good: #4cc79b; --accent: #7aa7f0; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 0.4rem; border-bottom: 1px solid var(--line); }
p { color: var(--dim); max-width: 46rem; }
code { font: 0.85em ui-monospace, monospace; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.7rem; }
.figure { background: var(--card); border-radius: 0.5rem; padding: 0.7rem 0.9rem;
  display: flex; flex-direction: column; }
.figure strong { font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.figure small { color: var(--dim); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; margin: 0.8rem 0; }
th, td { text-align: left; padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; }
svg { width: 100%; height: auto; display: block; margin: 0.8rem 0; }
svg text { fill: var(--dim); font-size: 12px; font-family: inherit; }
@media print { :root { --paper: #ffffff; --ink: #000000; } main { max-width: none; }
  h2 { break-after: avoid; } table, svg { break-inside: avoid; } }
";

#[cfg(test)]
mod tests {
    use super::{escape, table};

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(escape("<a b=\"c\">&"), "&lt;a b=&quot;c&quot;&gt;&amp;");
        let rows = [vec![escape("<script>")]].into_iter();
        assert!(!table(&["x"], rows).contains("<script>"));
    }
}
