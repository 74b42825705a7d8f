//! Which connections have had their time: no request comes, or nobody reads what was answered.
//!
//! All of a thread's connections are looked at every [`LOOK_EVERY`], so that no request arms a timer; limits hold to within two
//! looks. Deliberately not here: bodies of requests, whose time is a matter of their request ([`crate::pace`]), and HTTP/2's signs of life.

use std::sync::Arc;
use std::time::Duration;

use super::line::{Line, Unread};
use crate::connections::CutOff;
use crate::pace::{self, Pace, Taker};

/// How often connections are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a connection may take its time for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the beginning, or from the end of the last reply, until a request's head is there. HTTP/2 needs only the first one.
    pub(super) head: Duration,
    /// How slowly replies may be read.
    pub(super) replies: Pace,
    /// How often that is looked at.
    pub(super) look_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Duration::from_secs(75), replies: pace::OF_REPLIES, look_every: LOOK_EVERY }
    }
}

/// One connection, looked at from time to time.
#[derive(Debug)]
pub(super) struct Watch {
    line: Arc<Line>,
    /// When it was looked at.
    last: Duration,
    heads: u64,
    /// Since when it waits for a head.
    waiting: Duration,
    socket: Taker,
    replies: Vec<(Arc<Unread>, Taker)>,
    /// The time that its replies have had, which is not that in which the socket took nothing.
    open: Duration,
}

impl Watch {
    /// Begins at `now`, on a clock that all calls share.
    pub(super) fn new(line: Arc<Line>, now: Duration) -> Self {
        Self {
            line,
            last: now,
            heads: 0,
            waiting: now,
            socket: Taker::default(),
            replies: Vec::new(),
            open: Duration::ZERO,
        }
    }

    /// Why the connection is to be ended, if it is.
    pub(super) fn overdue(&mut self, limits: &Limits, now: Duration) -> Option<CutOff> {
        let since = now - std::mem::replace(&mut self.last, now);
        let blocked = self.line.blocked_at();
        if self.is_heard(blocked.is_some()) {
            self.waiting = now;
        }
        if now - self.waiting > limits.head {
            return Some(CutOff::NoRequest);
        }
        if self.socket.is_late(limits.replies, now, blocked) {
            return Some(CutOff::Unread);
        }
        if blocked.is_none() {
            self.open += since;
        }
        self.replies.extend(self.line.new_replies().into_iter().map(|reply| (reply, Taker::default())));
        self.replies.retain(|(reply, _)| Arc::strong_count(reply) > 1);
        let open = self.open;
        let late = |(reply, taker): &mut (Arc<Unread>, Taker)| {
            taker.is_late(limits.replies, open, reply.waiting_at())
        };
        self.replies.iter_mut().any(late).then_some(CutOff::UnreadReply)
    }

    /// Whether nothing is due from the client, or something came.
    fn is_heard(&mut self, blocked: bool) -> bool {
        let heads = self.line.heads();
        let more = std::mem::replace(&mut self.heads, heads) != heads;
        more || blocked && heads > 0 || self.line.is_busy() || heads > 0 && self.line.is_multiplexed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(75),
        replies: Pace { silence_max: Duration::from_secs(30), bytes_per_second_min: 1000 },
        look_every: Duration::from_secs(1),
    };

    /// The second at which a connection is ended, looked at every second, on which so much happens.
    fn ended(happens: impl Fn(u64, &Line)) -> Option<(u64, CutOff)> {
        let line = Arc::<Line>::default();
        let mut watch = Watch::new(Arc::clone(&line), Duration::from_secs(500));
        (0..300).find_map(|second| {
            happens(second, &line);
            let why = watch.overdue(&LIMITS, Duration::from_secs(500 + second))?;
            Some((second, why))
        })
    }

    #[test]
    fn a_connection_is_for_requests() {
        assert_eq!(ended(|_, _| {}), Some((76, CutOff::NoRequest)));
        // One after 70 s, answered at once.
        let one = |second, line: &Line| {
            if second == 70 {
                line.request_begins(false);
                line.request_ends();
            }
        };
        assert_eq!(ended(one), Some((70 + 76, CutOff::NoRequest)));
        let now_and_then = |second: u64, line: &Line| {
            if second.is_multiple_of(74) {
                line.request_begins(false);
                line.request_ends();
            }
        };
        assert_eq!(ended(now_and_then), None);
    }

    #[test]
    fn an_answer_may_take_its_time() {
        let long = |second, line: &Line| match second {
            10 => line.request_begins(false),
            200 => line.request_ends(),
            _ => {}
        };
        assert_eq!(ended(long), Some((199 + 76, CutOff::NoRequest)));
        let read_slowly = |second, line: &Line| match second {
            10 => {
                line.request_begins(false);
                line.request_ends();
            }
            11..200 => line.socket_blocks(2000 * second),
            200 => line.socket_takes(),
            _ => {}
        };
        assert_eq!(ended(read_slowly), Some((199 + 76, CutOff::NoRequest)));
    }

    #[test]
    fn a_connection_of_many_requests_may_rest_after_the_first() {
        let rests = |second, line: &Line| {
            if second == 70 {
                line.request_begins(true);
                line.request_ends();
            }
        };
        assert_eq!(ended(rests), None);
    }

    #[test]
    fn what_is_sent_is_read() {
        let blocks_from_5 = |bytes_per_second: u64| {
            move |second, line: &Line| match second {
                0 => line.request_begins(true),
                5.. => line.socket_blocks(77 + bytes_per_second * second),
                _ => {}
            }
        };
        assert_eq!(ended(blocks_from_5(0)), Some((5 + 31, CutOff::Unread)));
        assert_eq!(ended(blocks_from_5(1)), Some((5 + 31, CutOff::Unread)));
        assert_eq!(ended(blocks_from_5(1000)), None);
    }

    #[test]
    fn a_client_that_does_not_read_has_no_longer_for_its_first_request() {
        let blocks = |second: u64, line: &Line| line.socket_blocks(1000 * second);
        assert_eq!(ended(blocks), Some((76, CutOff::NoRequest)));
    }

    #[test]
    fn each_reply_is_read() {
        let reply = std::cell::RefCell::new(None);
        let unread = |second, line: &Line| match second {
            10 => {
                line.request_begins(true);
                let begun = line.reply_begins();
                begun.waits(100_000);
                *reply.borrow_mut() = Some(begun);
            }
            // Others are.
            11.. => line.request_begins(true),
            _ => {}
        };
        assert_eq!(ended(unread), Some((10 + 31, CutOff::UnreadReply)));
        let slowly = |bytes: usize| {
            let reply = &reply;
            move |second, line: &Line| {
                unread(second, line);
                if (20..60).contains(&second) {
                    reply.borrow().as_ref().unwrap().takes(bytes);
                }
            }
        };
        assert_eq!(ended(slowly(10)), Some((10 + 31, CutOff::UnreadReply)));
        // 40,000 bytes, and then no more.
        assert_eq!(ended(slowly(1000)), Some((10 + 40 + 31, CutOff::UnreadReply)));
        assert_eq!(ended(slowly(2500)), None, "it is read to its end");
    }

    #[test]
    fn a_reply_that_is_quiet_or_gone_or_kept_up_by_others_is_not_late() {
        let reply = std::cell::RefCell::new(None);
        let begins = |second, line: &Line, waits| {
            if second == 10 {
                line.request_begins(true);
                let begun = line.reply_begins();
                begun.waits(waits);
                *reply.borrow_mut() = Some(begun);
            }
        };
        assert_eq!(ended(|second, line| begins(second, line, 0)), None, "a stream without messages");
        let gone = |second, line: &Line| {
            begins(second, line, 1);
            if second == 20 {
                reply.borrow_mut().take();
            }
        };
        assert_eq!(ended(gone), None);
        // The socket takes nothing for five seconds of six.
        let kept_up = |second: u64, line: &Line| {
            begins(second, line, 1);
            if second.is_multiple_of(6) { line.socket_takes() } else { line.socket_blocks(2000 * second) }
        };
        let (second, _) = ended(kept_up).expect("it has had its time");
        assert!(second > 10 + 30 * 5, "{second}");
    }
}
