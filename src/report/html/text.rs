//! The words of a page. Whatever comes from a file or the command line goes through `escaped`.

use ggraft_formats::error::Printable;
use std::fmt::Write;

/// Text that a browser shows as it is, in content and in quoted attributes; characters that would be obeyed instead of
/// shown (controls, changes of direction) are spelled out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in Printable(text).to_string().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A cell of a table.
pub enum Cell {
    Text(String),
    /// Stands on the right.
    Number(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_string())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

/// A number as a cell.
pub fn number(n: impl ToString) -> Cell {
    Cell::Number(n.to_string())
}

/// A table; heads stand as the cells below them do.
pub fn table(out: &mut String, heads: &[&str], rows: &[Vec<Cell>]) {
    out.push_str("<div class=\"wide\"><table>\n<tr>");
    for (i, head) in heads.iter().enumerate() {
        let right = rows.iter().any(|row| matches!(row.get(i), Some(Cell::Number(_))));
        cell(out, "th", right, head);
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for one in row {
            match one {
                Cell::Text(text) => cell(out, "td", false, text),
                Cell::Number(text) => cell(out, "td", true, text),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn cell(out: &mut String, tag: &str, right: bool, text: &str) {
    let class = if right { " class=\"n\"" } else { "" };
    element(out, &format!("{tag}{class}"), tag, text);
}

fn element(out: &mut String, open: &str, close: &str, text: &str) {
    // Writing to a string cannot fail.
    _ = write!(out, "<{open}>{}</{close}>", escaped(text));
}

/// A heading, a paragraph or the like, on a line of its own.
pub fn block(out: &mut String, tag: &str, text: &str) {
    element(out, tag, tag, text);
    out.push('\n');
}

/// A list of sentences under a heading; nothing if there are none.
pub fn list(out: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    block(out, "h3", title);
    out.push_str("<ul>\n");
    items.iter().for_each(|item| block(out, "li", item));
    out.push_str("</ul>\n");
}

/// A figure and what it is, in a box.
pub fn tile(out: &mut String, what: &str, figure: &str) {
    out.push_str("<div>");
    element(out, "dt", "dt", what);
    element(out, "dd", "dd", figure);
    out.push_str("</div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_obeyed() {
        assert_eq!(escaped("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(escaped("a\u{1b}[31m\u{0}\u{202e}b"), "a\\u{1b}[31m\\u{0}\\u{202e}b");
    }

    #[test]
    fn cells_are_escaped() {
        let mut out = String::new();
        table(&mut out, &["a<b"], &[vec![number("<1>")], vec!["</table>".into()]]);
        assert!(
            out.contains("<th class=\"n\">a&lt;b</th>") && out.contains("<td class=\"n\">&lt;1&gt;</td>"),
            "{out}"
        );
        assert!(out.contains("&lt;/table&gt;") && out.matches("</table>").count() == 1, "{out}");
    }
}
