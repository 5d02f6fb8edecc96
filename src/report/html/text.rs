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
    /// May be broken anywhere.
    Hash(String),
    /// A text and where it leads to.
    Link(String, String),
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

/// A table of which `caption` says what it holds; heads stand as the cells below them do. What is wider than the screen
/// can be scrolled, also by keys.
pub fn table(out: &mut String, caption: &str, heads: &[&str], rows: &[Vec<Cell>]) {
    let label = escaped(caption);
    out.push_str(&format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{label}\"><table>\n"
    ));
    block(out, "caption", caption);
    out.push_str("<thead><tr>");
    for (i, head) in heads.iter().enumerate() {
        let right = rows.iter().any(|row| matches!(row.get(i), Some(Cell::Number(_))));
        let class = if right { " class=\"n\"" } else { "" };
        element(out, &format!("th scope=\"col\"{class}"), "th", head);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        row.iter().for_each(|one| cell(out, one));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
}

fn cell(out: &mut String, cell: &Cell) {
    match cell {
        Cell::Text(text) => element(out, "td", "td", text),
        Cell::Number(text) => element(out, "td class=\"n\"", "td", text),
        Cell::Hash(text) => element(out, "td class=\"h\"", "td", text),
        Cell::Link(text, to) => {
            out.push_str(&format!("<td><a href=\"{}\">{}</a></td>", escaped(to), escaped(text)));
        }
    }
}

/// A heading that can be led to.
pub fn heading(out: &mut String, tag: &str, id: &str, text: &str) {
    element(out, &format!("{tag} id=\"{id}\""), tag, text);
    out.push('\n');
}

/// A drawing with what it shows.
pub fn figure(out: &mut String, svg: &str, caption: &str) {
    let caption = escaped(caption);
    out.push_str(&format!(
        "<figure>\n<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\">\n{svg}\n</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"
    ));
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
        table(&mut out, "a table", &["a<b"], &[vec![number("<1>")], vec!["</table>".into()]]);
        assert!(
            out.contains("<th scope=\"col\" class=\"n\">a&lt;b</th>")
                && out.contains("<td class=\"n\">&lt;1&gt;</td>"),
            "{out}"
        );
        assert!(out.contains("&lt;/table&gt;") && out.matches("</table>").count() == 1, "{out}");
    }
}
