//! The threads that connections live on: one for each core, each with a runtime of its own.
//!
//! A small question is read, computed and answered on the thread of its connection, and wakes no other: that is most of
//! what a small request costs. What may take long goes to the runtime that all threads share.

use std::io;
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::connection::{Accepted, Answering};

/// More threads than this do not help: they mostly wait for the network.
const THREADS_MAX: usize = 32;
/// Threads of one runtime that block on behalf of its connections, unpacking bodies.
const BLOCKING_THREADS_MAX: usize = 8;

/// They end, and with them what they do, when this is dropped.
pub(super) struct Threads(Vec<Thread>);

struct Thread {
    /// As many are in it as connections may be open.
    accepted: UnboundedSender<Live>,
    /// Each connection on the thread holds it.
    open: Arc<()>,
}

struct Live {
    connection: Accepted,
    _open: Arc<()>,
}

impl Threads {
    /// Starts them.
    pub(super) fn start(answering: &Arc<Answering>) -> io::Result<Self> {
        let start = |core| {
            let (accepted, given) = unbounded_channel();
            let answering = Arc::clone(answering);
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .thread_name("blocking")
                .on_thread_start(platform::leave_core)
                .build()?;
            std::thread::Builder::new().name(format!("connections {core}")).spawn(move || {
                platform::run_on_core(core, || runtime.block_on(answer_all(answering, given)));
            })?;
            Ok(Thread { accepted, open: Arc::default() })
        };
        (0..platform::core_count().min(THREADS_MAX)).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Hands a connection to the thread that has the fewest.
    pub(super) fn give(&self, connection: Accepted) {
        let Some(thread) = self.0.iter().min_by_key(|thread| Arc::strong_count(&thread.open)) else { return };
        let live = Live { connection, _open: Arc::clone(&thread.open) };
        if thread.accepted.send(live).is_err() {
            tracing::error!("a thread of connections has ended");
        }
    }
}

async fn answer_all(answering: Arc<Answering>, mut given: UnboundedReceiver<Live>) {
    while let Some(Live { connection, _open }) = given.recv().await {
        let answering = Arc::clone(&answering);
        tokio::spawn(async move {
            answering.connection(connection).await;
            drop(_open);
        });
    }
}
