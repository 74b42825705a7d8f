//! Rows a network learns from or is measured on, and the check that it can.

use crate::Error;

/// Rows of processed features with the class of each.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// `rows * columns` features, row-major, all finite.
    pub features: &'a [f32],
    /// The class of each row, from 0.
    pub labels: &'a [u32],
    /// Features of a row.
    pub columns: usize,
}

impl Samples<'_> {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Checks what training relies on; `set` names these rows in errors.
    pub(crate) fn check(&self, set: &'static str, classes: usize) -> Result<(), Error> {
        let rows = self.rows();
        if rows == 0 || self.columns == 0 {
            return Err(Error::Empty { set, rows, columns: self.columns });
        }
        if rows > u32::MAX as usize {
            return Err(Error::TooManyRows { set, rows });
        }
        if rows.checked_mul(self.columns) != Some(self.features.len()) {
            let values = self.features.len();
            return Err(Error::Shape { set, values, rows, columns: self.columns });
        }
        if let Some(at) = self.features.iter().position(|x| !x.is_finite()) {
            let (row, column) = (at / self.columns, at % self.columns);
            return Err(Error::NotFinite { set, row, column, value: self.features[at] });
        }
        match self.labels.iter().position(|&label| label as usize >= classes) {
            Some(row) => Err(Error::Label { set, row, label: self.labels[row], classes }),
            None => Ok(()),
        }
    }
}
