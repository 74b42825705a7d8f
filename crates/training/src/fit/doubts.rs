//! What can be learned from but hardly was meant: said before a fit begins, never refused.

use crate::network::Network;
use crate::observer::Observer;
use crate::sample::{Columns, Samples};

/// Names listed in one note.
const NAMED_MAX: usize = 8;

/// Tells of features that never change, classes that no training row is of, and a single row.
pub(super) fn tell(train: &Samples<'_>, columns: &Columns, network: &Network, observer: &mut dyn Observer) {
    if train.rows() == 1 {
        observer
            .on_note("the training set is a single row: the network will learn that row and nothing else");
        return;
    }
    let constant: Vec<String> = constant(train).into_iter().map(|column| columns.name(column)).collect();
    if !constant.is_empty() {
        let count = constant.len();
        observer
            .on_note(&format!("{count} features never change in the training set: {}", listed(&constant)));
    }
    if let (Some(classes), [head]) = (train.classes, &network.outputs[..]) {
        let mut seen = vec![false; head.units.max(2)];
        classes.iter().for_each(|class| seen[*class as usize] = true);
        let missing: Vec<String> =
            (0..seen.len()).filter(|class| !seen[*class]).map(|class| class.to_string()).collect();
        if !missing.is_empty() {
            observer
                .on_note(&format!("no training row is of class {}: it cannot be learned", listed(&missing)));
        }
    }
}

/// Columns that have one value in all rows.
fn constant(samples: &Samples<'_>) -> Vec<usize> {
    let mut rows = samples.features.chunks_exact(samples.columns.max(1));
    let Some(first) = rows.next() else { return Vec::new() };
    let mut left: Vec<usize> = (0..first.len()).collect();
    for row in rows {
        if left.is_empty() {
            break;
        }
        left.retain(|&column| row[column] == first[column]);
    }
    left
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMED_MAX)].join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
