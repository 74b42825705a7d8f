//! The pieces every section is made of: sections, tables, figures, lists of facts.

use std::fmt::Display;

use super::{
    content::Fact,
    markup::Html,
    plot::{Chart, draw},
};

/// Text as markup.
pub(super) fn text(text: impl Display) -> Html {
    let mut html = Html::new();
    html.text(text);
    html
}

/// A section of the page with its heading.
pub(super) fn section(page: &mut Html, id: &'static str, heading: &'static str, body: &Html) {
    page.raw("<section id=\"").raw(id).raw("\"><h2>").raw(heading).raw("</h2>").add(body).raw("</section>");
}

/// A heading inside a section.
pub(super) fn heading(html: &mut Html, words: impl Display) {
    html.raw("<h3>").text(words).raw("</h3>");
}

/// A paragraph.
pub(super) fn paragraph(html: &mut Html, words: impl Display) {
    html.raw("<p>").text(words).raw("</p>");
}

/// A small remark.
pub(super) fn remark(html: &mut Html, words: impl Display) {
    html.raw("<p class=\"remark\">").text(words).raw("</p>");
}

/// A chart with what it shows above and how to read it below.
pub(super) fn figure(html: &mut Html, chart: &Chart, caption: impl Display) {
    html.raw("<figure><div class=\"plot\">")
        .add(&draw(chart))
        .raw("</div><figcaption><b>")
        .text(&chart.title);
    html.raw("</b> ").text(caption).raw("</figcaption></figure>");
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) enum Column {
    /// Words, flush left.
    Words(String),
    /// Numbers, flush right.
    Numbers(String),
    /// Words that explain the row.
    Remarks(String),
    /// A small drawing, centred.
    Drawings(String),
}

impl Column {
    pub(super) fn words(name: impl Into<String>) -> Column {
        Column::Words(name.into())
    }

    pub(super) fn remarks(name: impl Into<String>) -> Column {
        Column::Remarks(name.into())
    }

    pub(super) fn drawings(name: impl Into<String>) -> Column {
        Column::Drawings(name.into())
    }

    /// The class of the column's cells and its name.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Column::Words(name) => ("words", name),
            Column::Numbers(name) => ("num", name),
            Column::Remarks(name) => ("soft", name),
            Column::Drawings(name) => ("drawn", name),
        }
    }

    pub(super) fn numbers(name: impl Into<String>) -> Column {
        Column::Numbers(name.into())
    }
}

/// A table over the whole column; the first cell of a row names the row.
pub(super) fn table(html: &mut Html, columns: &[Column], rows: &[Vec<Html>]) {
    html.raw("<div class=\"scroll\">");
    bare_table(html, columns, rows);
    html.raw("</div>");
}

/// A table no wider than its cells.
pub(super) fn narrow_table(html: &mut Html, columns: &[Column], rows: &[Vec<Html>]) {
    html.raw("<div class=\"scroll narrow\">");
    bare_table(html, columns, rows);
    html.raw("</div>");
}

fn bare_table(html: &mut Html, columns: &[Column], rows: &[Vec<Html>]) {
    html.raw("<table><thead><tr>");
    for column in columns {
        let (class, name) = column.parts();
        html.raw("<th scope=\"col\" class=\"").raw(class).raw("\">").text(name).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for row in rows {
        html.raw("<tr>");
        for (index, (cell, column)) in row.iter().zip(columns).enumerate() {
            let (open, close) =
                if index == 0 { ("<th scope=\"row\" class=\"", "</th>") } else { ("<td class=\"", "</td>") };
            html.raw(open).raw(column.parts().0).raw("\">").add(cell).raw(close);
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table>");
}

/// A formatted number; what is below zero is marked, besides its minus sign.
pub(super) fn number_cell(formatted: &str) -> Html {
    let mut html = Html::new();
    if formatted.starts_with('\u{2212}') {
        html.raw("<span class=\"neg\">").text(formatted).raw("</span>");
    } else {
        html.text(formatted);
    }
    html
}

/// Names and values.
pub(super) fn facts(html: &mut Html, facts: &[Fact]) {
    html.raw("<dl class=\"facts\">");
    for fact in facts {
        html.raw("<div><dt>").text(&fact.name).raw("</dt><dd>").text(&fact.value).raw("</dd></div>");
    }
    html.raw("</dl>");
}

/// Something long that opens when asked for.
pub(super) fn details(html: &mut Html, summary: impl Display, body: &Html) {
    html.raw("<details><summary>").text(summary).raw("</summary>").add(body).raw("</details>");
}
