//! What is known of an open connection, for who looks at all of them now and then: see [`watch`](super::watch).
//!
//! Connection and onlooker share a thread, so nothing here is exact between two threads.

use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    heads: AtomicU64,
    multiplexed: AtomicBool,
    in_progress: AtomicUsize,
    blocked: AtomicBool,
    taken_bytes: AtomicU64,
    unread: Mutex<Vec<Arc<Unread>>>,
    ending: AtomicBool,
    task: AtomicWaker,
}

impl Line {
    /// Asks the connection to take no more requests and to end when it has answered those it took.
    pub(super) fn end(&self) {
        self.ending.store(true, Release);
        self.task.wake();
    }

    /// Whether it is asked to.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Acquire)
    }

    /// Whom to wake when it is.
    pub(super) fn lives_on(&self, task: &Waker) {
        self.task.register(task);
    }

    /// A request has begun: its head has come.
    pub(super) fn request_begins(&self, multiplexed: bool) {
        self.heads.fetch_add(1, Relaxed);
        self.in_progress.fetch_add(1, Relaxed);
        if multiplexed {
            self.multiplexed.store(true, Relaxed);
        }
    }

    /// Its reply is on its way, to the last byte.
    pub(super) fn request_ends(&self) {
        self.in_progress.fetch_sub(1, Relaxed);
    }

    /// The socket takes no more for now; it has taken so many bytes in all.
    pub(super) fn socket_blocks(&self, taken_bytes: u64) {
        self.taken_bytes.store(taken_bytes, Relaxed);
        self.blocked.store(true, Relaxed);
    }

    /// It took all there was.
    pub(super) fn socket_takes(&self) {
        self.blocked.store(false, Relaxed);
    }

    /// A reply that is large, on a connection whose client says reply by reply how much it takes.
    pub(super) fn reply_begins(&self) -> Arc<Unread> {
        let unread = Arc::<Unread>::default();
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&unread));
        unread
    }

    /// How many heads have come.
    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Relaxed)
    }

    /// Whether requests go side by side: HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.in_progress.load(Relaxed) > 0
    }

    /// While the socket takes no more: how many bytes it has taken.
    pub(super) fn blocked_at(&self) -> Option<u64> {
        self.blocked.load(Relaxed).then(|| self.taken_bytes.load(Relaxed))
    }

    /// The replies that have begun since this was asked.
    pub(super) fn new_replies(&self) -> Vec<Arc<Unread>> {
        std::mem::take(&mut self.unread.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A reply that its client may leave unread.
#[derive(Debug, Default)]
pub(super) struct Unread {
    waiting_bytes: AtomicU64,
    taken_bytes: AtomicU64,
}

impl Unread {
    /// More waits.
    pub(super) fn waits(&self, bytes: usize) {
        self.waiting_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// So much is on its way.
    pub(super) fn takes(&self, bytes: usize) {
        self.taken_bytes.fetch_add(bytes as u64, Relaxed);
        self.drops(bytes);
    }

    /// So much will not be sent.
    pub(super) fn drops(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes as u64, Relaxed);
    }

    /// While something waits: how many bytes were taken.
    pub(super) fn waiting_at(&self) -> Option<u64> {
        (self.waiting_bytes.load(Relaxed) > 0).then(|| self.taken_bytes.load(Relaxed))
    }
}
