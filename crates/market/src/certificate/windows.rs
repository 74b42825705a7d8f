//! Windows: no label crosses a border, and nothing is fitted outside the training window.

use super::features::Computed;
use super::{Check, Offender, Subject, Verdict, factor, found};
use crate::{FeatureMatrix, Fold, Labels, Panel, RowKey};

/// No label of one window reads a time of another, recomputed from the ends of the labels.
pub(super) fn purge(panel: &Panel, labels: &Labels, folds: &[Fold]) -> Check {
    let mut offenders = Vec::new();
    for fold in folds {
        let windows = [("train", &fold.train), ("valid", &fold.valid), ("test", &fold.test)];
        for (earlier, (name, times)) in windows.iter().enumerate() {
            for (other, held_out) in &windows[earlier + 1..] {
                let crossing = crosses(times, held_out, labels)
                    .or_else(|| crosses(held_out, times, labels).filter(|_| *name == "train"));
                offenders.extend(crossing.map(|(from, to)| Offender {
                    what: format!("fold {}, {name}/{other}", fold.name),
                    symbol: None,
                    time: panel.times().get(from).copied(),
                    evidence: format!(
                        "its label reads up to the time {}, which the other window has",
                        panel.times()[to]
                    ),
                }));
            }
        }
    }
    let asked = format!("labels of {} folds against the times of the other windows", folds.len());
    found("purge", Verdict::Failed, asked, offenders)
}

/// A time whose label reads a time of the other window, and that one.
fn crosses(times: &[usize], other: &[usize], labels: &Labels) -> Option<(usize, usize)> {
    times.iter().find_map(|time| {
        let next = other.get(other.partition_point(|held_out| held_out < time))?;
        let end = labels.ends.get(*time).copied()?;
        (end >= *next).then_some((*time, *next))
    })
}

/// Days are left out after each border.
pub(super) fn embargo(panel: &Panel, folds: &[Fold]) -> Check {
    let mut offenders = Vec::new();
    for fold in folds {
        for (what, earlier, later) in [
            ("train/valid", &fold.train, &fold.valid),
            ("valid/test", &fold.valid, &fold.test),
            ("train/test", &fold.train, &fold.test),
        ] {
            let touching = earlier.iter().find(|time| later.binary_search(&(*time + 1)).is_ok());
            offenders.extend(touching.map(|time| Offender {
                what: format!("fold {}, {what}", fold.name),
                symbol: None,
                time: panel.times().get(*time).copied(),
                evidence: "the next time belongs to the other window".to_owned(),
            }));
        }
    }
    found("embargo", Verdict::Failed, format!("gaps between the windows of {} folds", folds.len()), offenders)
}

/// What is fitted does not change with rows outside the training window.
pub(super) fn fit_window(subject: &dyn Subject, computed: &Computed<'_>, folds: &[Fold]) -> Check {
    let rows = matrix(computed);
    let mut offenders = Vec::new();
    for fold in folds {
        let mut other = rows.clone();
        let columns = other.columns.max(1);
        for (key, values) in rows.rows.iter().zip(other.values.chunks_mut(columns)) {
            if fold.train.binary_search(&key.date).is_err() {
                for (column, value) in values.iter_mut().enumerate() {
                    // Another value, and another missing one.
                    *value = (f64::from(*value) * 100.0 * factor(column + key.date)) as f32;
                }
            }
        }
        // A fit that is refused is refused the same way, whatever the other rows hold.
        let fitted = |rows| subject.fitted(rows, fold).unwrap_or_else(|error| error.to_string());
        if fitted(&rows) != fitted(&other) {
            offenders.push(Offender {
                what: format!("fold {}", fold.name),
                symbol: None,
                time: None,
                evidence: "what is fitted is another with other rows outside the training window".to_owned(),
            });
        }
    }
    let asked = format!("fits of {} folds with every row outside the training window changed", folds.len());
    found("fit_window", Verdict::Failed, asked, offenders)
}

/// Rows of all cells with a bar.
fn matrix(computed: &Computed<'_>) -> FeatureMatrix {
    let panel = computed.panel;
    let width = panel.instruments().len();
    let mut matrix = FeatureMatrix { rows: Vec::new(), columns: computed.values.len(), values: Vec::new() };
    for date in 0..panel.times().len() {
        for instrument in (0..width).filter(|instrument| panel.has_bar(date, *instrument)) {
            let values = computed.values.iter().map(|column| column[date * width + instrument]);
            // Without a value at all the history is too short for a row.
            if values.clone().all(f32::is_nan) {
                continue;
            }
            matrix.rows.push(RowKey { date, instrument });
            matrix.values.extend(values);
        }
    }
    matrix
}
