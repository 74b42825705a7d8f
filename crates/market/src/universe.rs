//! Who belongs to the universe at a time: everybody, a fixed list, or by date.

use crate::{Error, Result};

/// The instruments that are looked at, traded and compared with each other, at each time of a panel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Universe(Members);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Members {
    #[default]
    All,
    /// Instrument indices, ascending.
    Fixed(Vec<usize>),
    /// One entry a cell, time-major, as the fields of a panel.
    ByTime(Vec<bool>),
}

impl Universe {
    /// Every instrument of the panel.
    pub fn all() -> Self {
        Self::default()
    }

    /// The same instruments at every time, by index; an index that comes twice counts once.
    pub fn fixed(mut instruments: Vec<usize>) -> Self {
        instruments.sort_unstable();
        instruments.dedup();
        Self(Members::Fixed(instruments))
    }

    /// Membership of each cell, time-major: times x instruments values.
    pub fn by_time(members: Vec<bool>) -> Self {
        Self(Members::ByTime(members))
    }

    /// Whether an instrument belongs to it at a time, in a panel of `width` instruments.
    pub fn contains(&self, time: usize, instrument: usize, width: usize) -> bool {
        match &self.0 {
            Members::All => instrument < width,
            Members::Fixed(known) => known.binary_search(&instrument).is_ok(),
            Members::ByTime(members) => {
                instrument < width && members.get(time * width + instrument).copied().unwrap_or(false)
            }
        }
    }

    /// The instruments that belong to it at any time, ascending, in a panel of `width` instruments.
    pub fn instruments(&self, width: usize) -> Vec<usize> {
        match &self.0 {
            Members::All => (0..width).collect(),
            Members::Fixed(known) => known.clone(),
            Members::ByTime(members) => {
                let mut ever = vec![false; width];
                for row in members.chunks(width.max(1)) {
                    for (ever, member) in ever.iter_mut().zip(row) {
                        *ever |= *member;
                    }
                }
                (0..width).filter(|instrument| ever[*instrument]).collect()
            }
        }
    }

    /// Checks that it speaks of a panel of so many times and instruments.
    pub(crate) fn check(&self, times: usize, width: usize) -> Result<()> {
        match &self.0 {
            Members::Fixed(known) => match known.last().filter(|index| **index >= width) {
                Some(beyond) => {
                    Err(Error::Row(format!("instrument index {beyond} is not within the panel's 0..{width}")))
                }
                None => Ok(()),
            },
            Members::ByTime(members) if members.len() != times * width => Err(Error::Panel(format!(
                "a universe of {} cells does not fit {times} times x {width} instruments",
                members.len()
            ))),
            _ => Ok(()),
        }
    }

    /// The universe of the first so many times.
    pub(crate) fn prefix(&self, times: usize, width: usize) -> Self {
        match &self.0 {
            Members::ByTime(members) => {
                Self(Members::ByTime(members[..(times * width).min(members.len())].to_vec()))
            }
            _ => self.clone(),
        }
    }

    /// The universe of a panel that has only the instruments at `indices` of one with `width`.
    pub(crate) fn select(&self, times: usize, width: usize, indices: &[usize]) -> Self {
        match &self.0 {
            Members::All => Self::all(),
            Members::Fixed(known) => {
                let kept = indices.iter().enumerate().filter(|(_, old)| known.binary_search(old).is_ok());
                Self(Members::Fixed(kept.map(|(new, _)| new).collect()))
            }
            Members::ByTime(_) => {
                let cells = (0..times).flat_map(|time| indices.iter().map(move |old| (time, *old)));
                Self(Members::ByTime(cells.map(|(time, old)| self.contains(time, old, width)).collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_by_time_follows_cells_prefixes_and_selections() {
        let by_time = Universe::by_time(vec![true, false, false, true, true, false]);
        assert!(by_time.contains(0, 0, 2) && !by_time.contains(0, 1, 2) && by_time.contains(1, 1, 2));
        assert_eq!(by_time.instruments(2), [0, 1]);
        assert_eq!(by_time.prefix(1, 2).instruments(2), [0]);
        let second = by_time.select(3, 2, &[1]);
        assert_eq!(second, Universe::by_time(vec![false, true, false]));
        assert!(by_time.check(3, 2).is_ok() && by_time.check(2, 2).is_err());
    }

    #[test]
    fn a_fixed_universe_is_the_same_at_every_time() {
        let fixed = Universe::fixed(vec![3, 1, 3]);
        assert_eq!(fixed.instruments(5), [1, 3]);
        assert!(fixed.contains(7, 3, 5) && !fixed.contains(7, 2, 5));
        assert_eq!(fixed.select(1, 5, &[0, 3]), Universe::fixed(vec![1]));
        assert!(fixed.check(9, 3).is_err_and(|error| error.to_string().contains("index 3 is not within")));
    }
}
