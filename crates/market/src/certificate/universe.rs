//! Who is looked at, and what the bars said, as known at the time.

use super::features::Computed;
use super::{Check, Offender, Subject, Verdict, cuts, found};
use crate::{Panel, Result, Universe};

/// Membership and bars, each as known when a bar was the newest.
pub(super) fn checks(subject: &dyn Subject, computed: &Computed<'_>) -> Result<[Check; 2]> {
    let panel = subject.panel();
    let now = subject.universe(panel)?;
    let cuts = cuts(panel);
    let (mut members, mut restated) = (Vec::new(), Vec::new());
    for cut in &cuts {
        let known = subject.known_at(*cut)?;
        let then = subject.universe(&known)?;
        members.extend(member(panel, &now, &known, &then));
        restated.extend(bar(panel, &known));
    }
    let asked = format!("members at and before {} points in time, as known then", cuts.len());
    let members = found("universe_known", Verdict::Failed, asked, members);
    let asked = format!(
        "bars of {} instruments at and before {} points in time, as known then; a bar that was corrected later is \
         used as corrected, unless data is read as of its date",
        computed.panel.instruments().len(),
        cuts.len()
    );
    Ok([members, found("restated_bars", Verdict::Warned, asked, restated)])
}

/// The first difference between the members as known now and then.
fn member(panel: &Panel, now: &Universe, known: &Panel, then: &Universe) -> Option<Offender> {
    for (time, at) in known.times().iter().enumerate() {
        let Some(there) = panel.time_index(*at) else { continue };
        for (instrument, symbol) in known.instruments().iter().enumerate() {
            // Who had no bar yet could not be looked at.
            let Some(place) = panel.instrument_index(symbol).filter(|_| known.has_bar(time, instrument))
            else {
                continue;
            };
            let was = then.contains(time, instrument, known.instruments().len());
            let is = now.contains(there, place, panel.instruments().len());
            if was != is {
                let word = |member| if member { "a member" } else { "no member" };
                return Some(Offender {
                    what: "universe".to_owned(),
                    symbol: Some(symbol.clone()),
                    time: Some(*at),
                    evidence: format!("{} now, but {} as known then", word(is), word(was)),
                });
            }
        }
    }
    None
}

/// The first value of a bar that is another one than it was.
fn bar(panel: &Panel, known: &Panel) -> Option<Offender> {
    let width = panel.instruments().len();
    let columns: Vec<Option<usize>> =
        known.instruments().iter().map(|name| panel.instrument_index(name)).collect();
    for field in known.field_names() {
        let (Some(then), Some(now)) = (known.field(field), panel.field(field)) else { continue };
        for (time, at) in known.times().iter().enumerate() {
            let Some(there) = panel.time_index(*at) else { continue };
            for (instrument, column) in columns.iter().enumerate() {
                let was = then[time * columns.len() + instrument];
                let is = column.map_or(f64::NAN, |column| now[there * width + column]);
                if !was.is_nan() && was.to_bits() != is.to_bits() {
                    return Some(Offender {
                        what: format!("${field}"),
                        symbol: Some(known.instruments()[instrument].clone()),
                        time: Some(*at),
                        evidence: format!("{is} now, but {was} as known at {}", known.times().last()?),
                    });
                }
            }
        }
    }
    None
}
