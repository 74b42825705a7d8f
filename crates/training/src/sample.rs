//! Rows a network learns from or is measured on, and the check that it can.

use crate::Error;
use crate::rows::Rows;

/// What a row of features is: `steps` times `names`, the oldest step first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Names of the features of a step.
    pub names: Vec<String>,
    /// How many steps there are; 1 if a row is no sequence.
    pub steps: usize,
}

impl Columns {
    /// One step of features without names of their own.
    pub fn numbered(count: usize) -> Self {
        Self { names: (0..count).map(|at| format!("f{at}")).collect(), steps: 1 }
    }

    /// Numbers of a row.
    pub fn len(&self) -> usize {
        self.names.len() * self.steps
    }

    /// The name of a number of a row: `RESI5`, or `RESI5_19` for the one 19 steps before the newest.
    pub(crate) fn name(&self, column: usize) -> String {
        let width = self.names.len().max(1);
        let lag = (self.steps.max(1) - 1).saturating_sub(column / width);
        let name = self.names.get(column % width).map_or("", String::as_str);
        if lag == 0 { name.to_owned() } else { format!("{name}_{lag}") }
    }

    /// Whether a row has no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of processed features with what each should give.
#[derive(Debug, Clone, Copy, Default)]
pub struct Samples<'a> {
    /// `rows * columns` features, row-major, all finite; none if they are streamed.
    pub features: &'a [f32],
    /// Where the features come from if they do not fit into memory: of training rows alone.
    pub stream: Option<&'a dyn Rows>,
    /// Features of a row.
    pub columns: usize,
    /// The class of each row, from 0: for losses of classes.
    pub classes: Option<&'a [u32]>,
    /// Numbers of each row, `rows * width`, row-major: for losses of numbers.
    pub values: Option<(&'a [f32], usize)>,
    /// How much each row counts.
    pub weights: Option<&'a [f32]>,
    /// The date of each row, as any number: for losses and metrics by date.
    pub groups: Option<&'a [u32]>,
}

impl<'a> Samples<'a> {
    /// Rows with the class of each.
    pub fn classes(features: &'a [f32], columns: usize, classes: &'a [u32]) -> Self {
        Self { features, columns, classes: Some(classes), ..Self::default() }
    }

    /// Rows with a number for each.
    pub fn values(features: &'a [f32], columns: usize, values: &'a [f32]) -> Self {
        Self { features, columns, values: Some((values, 1)), ..Self::default() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match (self.classes, self.values) {
            (Some(classes), _) => classes.len(),
            (None, Some((values, width))) => values.len() / width.max(1),
            (None, None) => self.features.len() / self.columns.max(1),
        }
    }

    /// Checks what training relies on; `set` names these rows in errors.
    pub(crate) fn check(&self, set: &'static str, columns: &Columns) -> Result<(), Error> {
        let rows = self.rows();
        if rows == 0 || self.columns == 0 {
            return Err(Error::Empty { set, rows, columns: self.columns });
        }
        if rows > u32::MAX as usize {
            return Err(Error::TooManyRows { set, rows });
        }
        let shape = |values: usize, columns: usize| {
            if rows.checked_mul(columns) == Some(values) {
                return Ok(());
            }
            Err(Error::Shape { set, values, rows, columns })
        };
        match self.stream {
            // What is read is checked as it comes.
            Some(stream) => shape(stream.rows() * stream.columns(), self.columns)?,
            None => shape(self.features.len(), self.columns)?,
        }
        if let Some((values, width)) = self.values {
            shape(values.len(), width)?;
            if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                return Err(Error::LabelNotFinite { set, row: at / width, value: values[at] });
            }
        }
        if let Some(weights) = self.weights {
            shape(weights.len(), 1)?;
            if let Some(row) = weights.iter().position(|x| !(x.is_finite() && *x >= 0.0)) {
                return Err(Error::Weight { set, row, value: weights[row] });
            }
        }
        if let Some(groups) = self.groups {
            shape(groups.len(), 1)?;
        }
        if let Some(at) = self.features.iter().position(|x| !x.is_finite()) {
            let (row, column) = (at / self.columns, at % self.columns);
            let feature = columns.name(column);
            return Err(Error::NotFinite { set, row, feature, value: self.features[at] });
        }
        Ok(())
    }

    /// Checks that every class is one of `classes`.
    pub(crate) fn check_classes(&self, set: &'static str, classes: usize) -> Result<(), Error> {
        let labels = self.classes.unwrap_or_default();
        match labels.iter().position(|&label| label as usize >= classes) {
            Some(row) => Err(Error::Label { set, row, label: labels[row], classes }),
            None => Ok(()),
        }
    }
}
