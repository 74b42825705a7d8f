//! Connections of this process, counted. They are the process's and not a router's: nothing but the listener sees one come and go.

use std::sync::atomic::{AtomicU64, Ordering};

static OPENED: AtomicU64 = AtomicU64::new(0);
static CLOSED: AtomicU64 = AtomicU64::new(0);

/// A connection, open until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(());

impl Open {
    pub(crate) fn new() -> Self {
        OPENED.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        CLOSED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many were opened, and how many of them are open now.
pub(crate) fn counted() -> (u64, u64) {
    let closed = CLOSED.load(Ordering::Relaxed);
    let opened = OPENED.load(Ordering::Relaxed);
    (opened, opened.saturating_sub(closed))
}
