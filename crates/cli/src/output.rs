//! What a verb prints: tables or one JSON document on stdout, everything else on stderr.

use std::io::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use platform::{Error, Kind};
use serde::Serialize;

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For a person: tables and sentences.
    Human,
    /// For a program: exactly one JSON document.
    Json,
}

/// The result of a verb: a document for programs, a text for people.
pub(crate) trait Show: Serialize {
    /// The text for people, with a line break at its end.
    fn text(&self) -> String;
}

impl Output {
    /// Prints the result of a verb.
    ///
    /// # Errors
    /// [`Kind::Internal`] if stdout cannot be written; a reader that has left is no error.
    pub(crate) fn show(self, result: &impl Show) -> Result<(), Error> {
        let text = match self {
            Self::Human => result.text(),
            Self::Json => {
                let document = serde_json::to_string_pretty(result);
                document.map_err(|error| Error::internal("cannot print the result as JSON", error))? + "\n"
            }
        };
        match write_stdout(&text) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::internal(format!("cannot write to stdout: {error}"), error))
            }
            _ => Ok(()),
        }
    }

    /// Prints why a verb failed.
    pub(crate) fn fail(self, kind: Kind, message: &str) {
        note(&format!("error: {}", printable(message)));
        if self == Self::Json {
            let document = serde_json::json!({"error": {"kind": kind.word(), "message": message}});
            // The exit code still tells the failure if nobody reads stdout any more.
            let _ = writeln!(std::io::stdout().lock(), "{document:#}");
        }
    }
}

fn write_stdout(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Prints a part of a longer story on stdout, for a person; the result at its end tells whether stdout works.
pub(crate) fn print(text: &str) {
    let _ = write_stdout(text);
}

/// Prints a line for a person on stderr, whatever the output is for.
pub(crate) fn note(line: &str) {
    // Nothing depends on stderr being read.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Text from elsewhere without the control characters that could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

const STYLE: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Words, aligned to the left.
    Text(&'static str),
    /// Figures, aligned to the right.
    Figure(&'static str),
}

/// Draws a table; a table without rows is its header alone.
pub(crate) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(name) => Cell::new(name),
        Column::Figure(name) => Cell::new(name).set_alignment(CellAlignment::Right),
    }));
    for row in rows {
        table.add_row(row.iter().zip(columns).map(|(text, column)| {
            let cell = Cell::new(printable(text));
            match column {
                Column::Text(_) => cell,
                Column::Figure(_) => cell.set_alignment(CellAlignment::Right),
            }
        }));
    }
    format!("{table}\n")
}

/// Draws names and values, one pair a line.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{name:<width$}  {}\n", printable(value));
    pairs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_aligned_to_the_right() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bb".to_owned(), "200".to_owned()]];
        let drawn = table(&[Column::Text("name"), Column::Figure("count")], rows);
        let lines: Vec<&str> = drawn.lines().filter(|line| line.contains(['a', 'b'])).collect();
        assert_eq!(lines.len(), 3, "{drawn}");
        assert!(lines[1].trim_end().ends_with("    1"), "{drawn}");
        assert!(lines[2].trim_end().ends_with("  200"), "{drawn}");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\nc");
        assert!(!pairs([("name", "\u{7}".to_owned())]).contains('\u{7}'));
    }
}
