//! Rows with what a network gave for them and what they should give: what losses and metrics look at.

/// What rows should give.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Targets<'a> {
    /// One class a row, from 0.
    Classes(&'a [u32]),
    /// `width` numbers a row, row-major.
    Values {
        /// `[rows, width]`.
        values: &'a [f32],
        /// Numbers a row.
        width: usize,
    },
}

impl Targets<'_> {
    /// Numbers a row; `None` for classes.
    pub(crate) fn width(&self) -> Option<usize> {
        match self {
            Self::Classes(_) => None,
            Self::Values { width, .. } => Some(*width),
        }
    }

    /// What a last layer of `units` and these targets are, for an error.
    pub(crate) fn beside(&self, units: usize) -> String {
        let counted = |count: usize, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {one}s"),
        };
        let targets = match self.width() {
            None => "classes".to_owned(),
            Some(width) => format!("of {} a row", counted(width, "number")),
        };
        format!("the last layer has {}, the targets are {targets}", counted(units, "unit"))
    }
}

/// Rows with what a network gave for them. Slices must have the lengths stated, and classes be below `units`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    /// `[rows, units]`, row-major.
    pub(crate) outputs: &'a [f32],
    /// Outputs a row, at least 1.
    pub(crate) units: usize,
    /// Whether outputs are before the final softmax or sigmoid.
    pub(crate) logits: bool,
    /// What the rows should give.
    pub(crate) targets: Targets<'a>,
    /// How much each row counts, at least 0; the classes' weights are in it already. All count 1 without.
    pub(crate) weights: Option<&'a [f32]>,
    /// The date of each row, as any integer; rows of a date need not stand together. One date without.
    pub(crate) groups: Option<&'a [u32]>,
}

impl Batch<'_> {
    pub(crate) fn rows(&self) -> usize {
        self.outputs.len() / self.units
    }

    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| f64::from(weights[row]))
    }

    /// The first number a row should give, or its class as a number.
    pub(crate) fn realised(&self, row: usize) -> f64 {
        match self.targets {
            Targets::Classes(classes) => f64::from(classes[row]),
            Targets::Values { values, width } => f64::from(values[row * width]),
        }
    }

    /// What output `unit` of a row should be; of a class, 1 for its own unit and 0 for the others. The class of a
    /// single unit is the number itself.
    pub(crate) fn target(&self, row: usize, unit: usize) -> f64 {
        match self.targets {
            Targets::Classes(classes) if self.units == 1 => f64::from(classes[row]),
            Targets::Classes(classes) => f64::from(u8::from(classes[row] as usize == unit)),
            Targets::Values { values, width } => f64::from(values[row * width + unit]),
        }
    }

    /// Rows of each group that count, in the order of group numbers, rows in their own order.
    pub(crate) fn rows_by_group(&self) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.rows()).filter(|&row| self.weight(row) != 0.0).collect();
        let Some(groups) = self.groups else { return vec![rows] };
        rows.sort_by_key(|&row| groups[row]);
        rows.chunk_by(|&a, &b| groups[a] == groups[b]).map(<[usize]>::to_vec).collect()
    }
}
