//! Labels: they read what they say they read, and nobody trades before the decision.

use super::{Check, Offender, Subject, Verdict, cuts, found, with_another_future};
use crate::{Labels, Panel, Result};

/// Bars whose own prices are changed, to see whether the label trades at them.
const ENTRIES: usize = 16;

/// A label is known at its end: later bars change nothing, and without them it is there.
pub(super) fn window(subject: &dyn Subject, labels: &Labels) -> Result<Check> {
    let panel = subject.panel();
    let cuts = cuts(panel);
    let mut offenders = Vec::new();
    for cut in &cuts {
        for (other, how) in [
            (panel.prefix(cut + 1), "without later bars"),
            (with_another_future(panel, *cut), "with other bars later"),
        ] {
            let again = subject.labels(&other)?.returns;
            offenders.extend(difference(
                panel,
                &labels.returns,
                &again,
                |time| labels.ends[time] <= *cut,
                how,
            ));
        }
    }
    let asked = format!(
        "every label whose end lies before one of {} points in time, with what comes after cut off and changed",
        cuts.len()
    );
    Ok(found("label_window", Verdict::Failed, asked, offenders))
}

/// A label does not trade at the bar it is decided at: that bar's own prices change no return.
pub(super) fn entry(subject: &dyn Subject, labels: &Labels) -> Result<Check> {
    let panel = subject.panel();
    let returns = subject.returns(panel)?;
    let width = panel.instruments().len().max(1);
    let times = panel.times().len();
    let step = (times / ENTRIES).max(1);
    // One bar in each stretch, far enough apart that no label reads two of them.
    let chosen = |time: usize| time % step == step / 2;
    let apart = step > labels.horizon_bars;
    let other = panel.map(|_, cell, value| {
        if apart && chosen(cell / width) || !apart && cell / width == times / 2 {
            value * 1.25
        } else {
            value
        }
    });
    let again = subject.returns(&other)?;
    let looked_at = |time: usize| if apart { chosen(time) } else { time == times / 2 };
    let offenders =
        difference(panel, &returns, &again, looked_at, "with other prices at the bar it is decided at");
    let asked = "returns of labels with the prices of their own bar changed: whoever decides after a close cannot trade \
                 at it"
        .to_owned();
    Ok(found("label_entry", Verdict::Failed, asked, offenders.into_iter().collect()))
}

/// The first label, of the times looked at, that is another one.
fn difference(
    panel: &Panel,
    returns: &[f64],
    again: &[f64],
    looked_at: impl Fn(usize) -> bool,
    how: &str,
) -> Option<Offender> {
    let width = panel.instruments().len().max(1);
    let other = |cell: usize| again.get(cell).copied().unwrap_or(f64::NAN);
    let differs = |cell: &usize| {
        let (own, other) = (returns[*cell], other(*cell));
        !own.is_nan() && own.to_bits() != other.to_bits() && looked_at(cell / width)
    };
    let cell = (0..returns.len()).find(differs)?;
    Some(Offender {
        what: "label".to_owned(),
        symbol: Some(panel.instruments()[cell % width].clone()),
        time: Some(panel.times()[cell / width]),
        evidence: format!("{}, but {} {how}", returns[cell], other(cell)),
    })
}
