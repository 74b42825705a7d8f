//! The threads that connections live on: one for each core, each with a runtime of its own.
//!
//! A small question is read, computed and answered on the thread of its connection, and wakes no other: that is most of
//! what a small request costs. What may take long goes to the runtime that all threads share.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use platform::OwnCore;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::{Accepted, Answering};
use super::line::Line;
use super::watch::Watch;

/// More threads than this do not help: they mostly wait for the network.
const THREADS_MAX: usize = 32;
/// Threads of one runtime that block on behalf of its connections, unpacking bodies.
const BLOCKING_THREADS_MAX: usize = 8;

/// They end, and with them what they do, when this is dropped.
pub(super) struct Threads(Vec<Thread>);

struct Thread {
    /// As many are in it as connections may be open.
    told: UnboundedSender<Told>,
    /// Each connection on the thread holds it.
    open: Arc<()>,
}

enum Told {
    Live {
        connection: Accepted,
        open: Arc<()>,
    },
    /// No more comes, and what lives is to end.
    End,
}

impl Threads {
    /// Starts them.
    pub(super) fn start(answering: &Arc<Answering>) -> io::Result<Self> {
        let start = |core| {
            let (told, hears) = unbounded_channel();
            let answering = Arc::clone(answering);
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .thread_name("blocking")
                .on_thread_start(platform::leave_core)
                .build()?;
            std::thread::Builder::new().name(format!("connections {core}")).spawn(move || {
                platform::run_on_core(core, |own| runtime.block_on(answer_all(answering, hears, own)));
            })?;
            Ok(Thread { told, open: Arc::default() })
        };
        (0..platform::core_count().min(THREADS_MAX)).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Hands a connection to the thread that has the fewest.
    pub(super) fn give(&self, connection: Accepted) {
        let Some(thread) = self.0.iter().min_by_key(|thread| Arc::strong_count(&thread.open)) else { return };
        let live = Told::Live { connection, open: Arc::clone(&thread.open) };
        if thread.told.send(live).is_err() {
            tracing::error!("a thread of connections has ended");
        }
    }

    /// Has all connections end once they have answered what they were asked.
    pub(super) fn end(&self) {
        for thread in &self.0 {
            // One that has ended has none.
            let _ = thread.told.send(Told::End);
        }
    }
}

/// A connection that lives on this thread.
struct Open {
    line: Arc<Line>,
    watch: Watch,
    task: AbortHandle,
}

async fn answer_all(answering: Arc<Answering>, mut hears: UnboundedReceiver<Told>, mut core: OwnCore) {
    let begun = Instant::now();
    let limits = answering.limits;
    let mut all: Vec<Open> = Vec::new();
    let mut look = interval(limits.look_every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            told = hears.recv() => match told {
                None => return,
                Some(Told::End) => all.iter().for_each(|open| open.line.end()),
                Some(Told::Live { connection, open }) => {
                    let line = Arc::<Line>::default();
                    let answered = Arc::clone(&answering).connection(connection, Arc::clone(&line));
                    let task = tokio::spawn(async move {
                        answered.await;
                        drop(open);
                    });
                    let watch = Watch::new(Arc::clone(&line), begun.elapsed());
                    all.push(Open { line, watch, task: task.abort_handle() });
                }
            },
            _ = look.tick(), if !all.is_empty() => {
                core.look();
                let now = begun.elapsed();
                all.retain_mut(|open| !open.task.is_finished() && match open.watch.overdue(&limits, now) {
                    None => true,
                    Some(why) => {
                        why.count();
                        tracing::debug!(why = why.name(), "a connection is cut off");
                        open.task.abort();
                        false
                    }
                });
            }
        }
    }
}
