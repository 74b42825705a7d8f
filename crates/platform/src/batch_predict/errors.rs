//! Rows without an answer, as a JSON document a line: where the row is, and what is wrong with it.

use market::row_file::AnswerFormat;
use serde_json::{Value, json};

/// Google's code of a wrong argument.
const INVALID_ARGUMENT: u8 = 3;

/// A row without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowError {
    /// The file it is in.
    pub(super) file: String,
    /// Its number in the file, from 1, without a header.
    pub(super) row: u64,
    /// The line it begins at, from 1, if the file has lines.
    pub(super) line: Option<u64>,
    /// The column, if it is one.
    pub(super) column: Option<String>,
    /// What is wrong.
    pub(super) reason: String,
    /// The row as JSON, where it is repeated.
    pub(super) instance: Option<String>,
}

impl RowError {
    /// `rows.csv, row 7 (line 8), column "A": "x" is not a number`
    pub(super) fn text(&self) -> String {
        let line = self.line.map(|line| format!(" (line {line})")).unwrap_or_default();
        let column = self.column.as_ref().map(|name| format!(", column \"{name}\"")).unwrap_or_default();
        format!("{}, row {}{line}{column}: {}", self.file, self.row, self.reason)
    }

    /// Its line in the file of errors.
    pub(super) fn document(&self, format: AnswerFormat) -> String {
        if format == AnswerFormat::Predictions {
            // The instance is JSON already, and stays as it was.
            let instance = self.instance.as_deref().unwrap_or("null");
            let error = json!({"code": INVALID_ARGUMENT, "message": self.text()});
            return format!("{{\"instance\": {instance}, \"error\": {error}}}\n");
        }
        let mut document = json!({"file": self.file, "row": self.row, "error": self.reason});
        if let Some(line) = self.line {
            document["line"] = Value::from(line);
        }
        if let Some(column) = &self.column {
            document["column"] = Value::from(column.as_str());
        }
        format!("{document}\n")
    }
}

#[cfg(test)]
mod tests {
    use market::row_file::RowFormat;

    use super::*;

    #[test]
    fn a_row_is_told_by_file_line_and_column() {
        let error = RowError {
            file: "rows.csv".to_owned(),
            row: 7,
            line: Some(8),
            column: Some("A".to_owned()),
            reason: "it is infinite".to_owned(),
            instance: Some("[1e999]".to_owned()),
        };
        assert_eq!(error.text(), "rows.csv, row 7 (line 8), column \"A\": it is infinite");
        let plain: Value = serde_json::from_str(&error.document(AnswerFormat::Rows(RowFormat::Csv))).unwrap();
        assert_eq!(
            plain,
            json!({"file": "rows.csv", "row": 7, "line": 8, "column": "A", "error": "it is infinite"})
        );
        let told = error.document(AnswerFormat::Predictions);
        assert!(told.starts_with("{\"instance\": [1e999], \"error\": {\"code\":3,"), "{told}");
    }
}
