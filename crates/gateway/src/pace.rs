//! How slowly bytes may come or go: no pause longer than so, and over all no less than so many bytes a second.
//!
//! Deliberately not here: what is done with who is slower.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What is asked of a client that sends.
pub(crate) const OF_BODIES: Pace =
    Pace { silence_max: Duration::from_secs(10), bytes_per_second_min: 16 << 10 };

/// What is asked of a client that reads. The system takes some megabytes for a client before it says that there is no room, and says
/// that there is some again when a third of it is free, so an honest reader may seem to pause.
pub(crate) const OF_REPLIES: Pace =
    Pace { silence_max: Duration::from_secs(30), bytes_per_second_min: 16 << 10 };

/// How slowly bytes may move.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Without a byte.
    pub(crate) silence_max: Duration,
    /// Over all, after the first such silence.
    pub(crate) bytes_per_second_min: u64,
}

impl Pace {
    /// When more must have moved, if `moved` bytes have and the last of them at `last`. Both times count from the beginning.
    fn due(self, last: Duration, moved: u64) -> Duration {
        let paced = Duration::from_secs_f64(moved as f64 / self.bytes_per_second_min as f64);
        last.min(paced) + self.silence_max
    }
}

/// Waiting for who sends. No clock is read and no timer armed for what is there when it is asked for.
#[derive(Debug)]
pub(crate) struct Wait {
    pace: Pace,
    begun: Option<Instant>,
    received: u64,
    waiting: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Whose clock begins when something is first waited for.
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, begun: None, received: 0, waiting: false, timer: None }
    }

    /// So many bytes have come.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.waiting = false;
    }

    /// What came till now is done with; what comes next has a clock of its own.
    pub(crate) fn restart(&mut self) {
        (self.begun, self.received, self.waiting) = (None, 0, false);
    }

    /// Ready when the next bytes are late; to be asked when there are none.
    pub(crate) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let due = (!self.waiting).then(|| {
            let now = Instant::now();
            let begun = *self.begun.get_or_insert(now);
            begun + self.pace.due(now - begun, self.received)
        });
        self.waiting = true;
        let timer = match (&mut self.timer, due) {
            (Some(timer), Some(due)) => {
                timer.as_mut().reset(due);
                timer
            }
            (Some(timer), None) => timer,
            (none, due) => none.insert(Box::pin(sleep_until(due.unwrap_or_else(Instant::now)))),
        };
        timer.as_mut().poll(context)
    }
}

/// Somebody who has to take bytes, looked at now and then.
#[derive(Debug, Default)]
pub(crate) struct Taker(Option<Stretch>);

/// While bytes wait for him.
#[derive(Debug)]
struct Stretch {
    begun: Duration,
    /// Of all bytes that ever moved, those before.
    before: u64,
    last: Duration,
    moved: u64,
}

impl Taker {
    /// Whether he is slower than he may be. At `now`, on whatever clock, so many bytes have moved to him in all if others wait for him, and
    /// none wait if there is no number.
    pub(crate) fn is_late(&mut self, pace: Pace, now: Duration, moved: Option<u64>) -> bool {
        let Some(moved) = moved else {
            self.0 = None;
            return false;
        };
        let stretch = self.0.get_or_insert(Stretch { begun: now, before: moved, last: now, moved });
        if moved != stretch.moved {
            (stretch.moved, stretch.last) = (moved, now);
        }
        now - stretch.begun > pace.due(stretch.last - stretch.begun, moved - stretch.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { silence_max: Duration::from_secs(10), bytes_per_second_min: 100 };

    /// The second at which somebody is late who has taken what `moved` says by each second.
    fn late_at(moved: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut taker = Taker::default();
        (0..200).find(|&second| taker.is_late(PACE, Duration::from_secs(1000 + second), moved(second)))
    }

    #[test]
    fn who_takes_nothing_is_late_after_the_silence() {
        assert_eq!(late_at(|_| Some(7)), Some(11));
        assert_eq!(late_at(|second| (second > 50).then_some(7)), Some(51 + 11));
    }

    #[test]
    fn who_takes_too_little_is_late_as_if_he_had_taken_nothing_more() {
        // 10 bytes a second pay for a tenth of a second each.
        assert_eq!(late_at(|second| Some(10 * second)), Some(12));
        // A pause after much was taken.
        assert_eq!(late_at(|second| Some(1_000_000 + 1000 * second.min(20))), Some(20 + 11));
    }

    #[test]
    fn who_keeps_the_pace_or_has_nothing_to_take_is_not_late() {
        assert_eq!(late_at(|second| Some(100 * second)), None);
        assert_eq!(late_at(|_| None), None);
        // Each time something waits it is a new stretch.
        assert_eq!(late_at(|second| (second % 10 != 0).then_some(0)), None);
    }

    #[test]
    fn bytes_pay_for_time_but_not_for_silence() {
        let due = |last, moved| PACE.due(Duration::from_secs(last), moved).as_secs();
        assert_eq!(due(0, 0), 10);
        assert_eq!(due(0, 500), 10);
        assert_eq!(due(10, 1500), 20);
        assert_eq!(due(20, 1600), 26);
    }

    #[tokio::test]
    async fn a_wait_begins_when_something_is_waited_for() {
        let pace = Pace { silence_max: Duration::from_millis(50), bytes_per_second_min: 1_000_000 };
        let mut wait = Wait::new(pace);
        let begun = Instant::now();
        for waited in [50, 100, 150] {
            std::future::poll_fn(|context| wait.poll_late(context)).await;
            assert!(begun.elapsed() >= Duration::from_millis(waited));
            wait.restart();
            // What is there at once reads no clock.
            wait.came(10);
        }
        assert!(wait.begun.is_none());
    }
}
