//! Shadows: deployments that get copies of an endpoint's requests. Their answers are kept beside those that were given, and
//! never returned.
//!
//! A copy never makes anybody wait: its room in the shadow's queue is taken before the question is answered, and where there
//! is none the copy is dropped and counted. Copies are computed one after the other by an engine whose threads have the lowest
//! priority, as has the one that compares and writes down what came of them, below `shadow/` in the data directory, apart from
//! all data sets.

mod compare;
mod log;
mod report;
mod turn;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use registry::Endpoint;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::deployed::DeployedModel;
use crate::predict::{Instance, PredictReply, Question};
use crate::{Error, Platform, Tensor, background};
use compare::Compared;
use log::Log;
pub use report::{ShadowReport, ShadowTotals};
pub(crate) use turn::{CHANGE_TRIES, changed_too_often};

/// The most copies that wait.
const QUEUE_MAX: usize = 64;
/// The most bytes of a question that is copied, and of its answer.
const COPY_BYTES_MAX: usize = 1 << 20;
/// Where the answers lie, below the data directory.
const FOLDER: &str = "shadow";

/// The shadows of an endpoint, if it has any.
pub(crate) type Shadows = Option<Arc<[Arc<Shadow>]>>;

/// A shadow at work.
pub(crate) struct Shadow {
    model: Arc<DeployedModel>,
    percent: u8,
    requests: AtomicU64,
    queue: mpsc::Sender<Copied>,
    counts: Arc<Counts>,
}

/// What a shadow has done.
struct Counts {
    /// For want of room in the queue.
    dropped: AtomicU64,
    /// Because question or answer are too large.
    too_large: AtomicU64,
    totals: Mutex<ShadowTotals>,
    /// Of all that count here: what still follows a shadow that was loaded anew, and what follows the new one.
    log: Mutex<Log>,
}

impl Counts {
    fn new(log: Log, totals: ShadowTotals) -> Self {
        let (dropped, too_large) = Default::default();
        Self { dropped, too_large, totals: Mutex::new(totals), log: Mutex::new(log) }
    }

    /// Writes down what came of a copy, and counts it. In this order: of what is counted the line can be read, and a start that
    /// goes on from the file's totals misses nothing that anybody was told. The lock of the totals is not held while it writes,
    /// since readers must not wait for a thread that gives way to all others.
    fn keep(&self, compared: &Compared) -> std::io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = self.totals();
        totals.add(compared);
        let written = log.append(compared, &totals);
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).add(compared);
        written
    }

    fn totals(&self) -> ShadowTotals {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ShadowTotals {
            dropped: totals.dropped + self.dropped.load(Ordering::Relaxed),
            too_large: totals.too_large + self.too_large.load(Ordering::Relaxed),
            ..totals
        }
    }
}

/// A question that was answered, and its answer.
struct Copied {
    question: Question,
    answer: PredictReply,
    request_id: Option<String>,
    at: Timestamp,
}

/// The copies of one question, until it is answered; dropped with it if it is not.
pub(crate) struct Copies<'a>(Vec<Kept<'a>>);

struct Kept<'a> {
    shadow: &'a Shadow,
    room: mpsc::OwnedPermit<Copied>,
    question: Question,
}

/// Copies of a question for those shadows whose turn it is and who have room.
pub(crate) fn copies<'a>(shadows: &'a Shadows, question: &Question) -> Copies<'a> {
    let shadows = shadows.iter().flat_map(|shadows| shadows.iter());
    Copies(shadows.filter_map(|shadow| shadow.copy(question)).collect())
}

impl Copies<'_> {
    /// Hands the copies over, with the answer that was given.
    pub(crate) fn answered(self, answer: &PredictReply, request_id: Option<&str>, at: Timestamp) {
        for Kept { shadow, room, question } in self.0 {
            if answer_bytes(answer) > COPY_BYTES_MAX {
                shadow.counts.too_large.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let (answer, request_id) = (answer.clone(), request_id.map(str::to_owned));
            room.send(Copied { question, answer, request_id, at });
        }
    }
}

impl Shadow {
    /// Whether this is the shadow of a deployment.
    pub(crate) fn is_of(&self, model: &DeployedModel) -> bool {
        std::ptr::eq(&*self.model, model)
    }

    fn copy(&self, question: &Question) -> Option<Kept<'_>> {
        // 37 is coprime to 100: the copies are spread out over each block of a hundred.
        let turn = self.requests.fetch_add(1, Ordering::Relaxed).wrapping_mul(37) % 100;
        if turn >= u64::from(self.percent) {
            return None;
        }
        if question_bytes(question) > COPY_BYTES_MAX {
            self.counts.too_large.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        match self.queue.clone().try_reserve_owned() {
            Ok(room) => Some(Kept { shadow: self, room, question: question.clone() }),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

fn question_bytes(question: &Question) -> usize {
    match question {
        Question::Rows { instances, .. } => instances
            .iter()
            .map(|instance| match instance {
                Instance::Vector(vector) => size_of_val(vector.as_slice()),
                Instance::Symbol(symbol) => symbol.len(),
            })
            .sum(),
        Question::Tensors(tensors) => tensors.iter().map(|(_, tensor)| tensor.size_bytes()).sum(),
    }
}

fn answer_bytes(answer: &PredictReply) -> usize {
    answer.outputs.iter().map(|(_, tensor): &(String, Tensor)| tensor.size_bytes()).sum()
}

fn opened((log, totals): (Log, ShadowTotals)) -> Arc<Counts> {
    Arc::new(Counts::new(log, totals))
}

impl Platform {
    /// The shadows that an endpoint is to have, by what is deployed on it; those at work go on.
    pub(crate) fn shadows_of(
        &self,
        endpoint: &Endpoint,
        deployed: &[Arc<DeployedModel>],
        before: &Shadows,
    ) -> Shadows {
        let mut shadows = Vec::new();
        for deployment in endpoint.deployments.iter().filter(|deployment| endpoint.is_shadow(deployment)) {
            let Some(model) = deployed.iter().find(|model| model.deployment.id == deployment.id) else {
                continue;
            };
            let at_work = before.iter().flat_map(|before| before.iter()).find(|shadow| shadow.is_of(model));
            if let Some(shadow) = at_work {
                shadows.push(Arc::clone(shadow));
                continue;
            }
            // One that is loaded anew goes on counting.
            let same = |shadow: &&Arc<Shadow>| shadow.model.deployment.id == deployment.id;
            let counts = before.iter().flat_map(|before| before.iter()).find(same);
            let counts = counts.map(|shadow| Arc::clone(&shadow.counts));
            shadows.extend(self.start_shadow(endpoint, Arc::clone(model), counts));
        }
        if shadows.is_empty() { None } else { Some(shadows.into()) }
    }

    /// Without a thread or a folder there is no shadow, which is no reason for others not to be answered.
    fn start_shadow(
        &self,
        endpoint: &Endpoint,
        model: Arc<DeployedModel>,
        counts: Option<Arc<Counts>>,
    ) -> Option<Arc<Shadow>> {
        let folder = self.shadow_folder(&endpoint.project, &endpoint.id);
        self.forget_old_shadows(&folder, endpoint);
        // What counts already has the file, which a second one would take to be cut short while a line is written.
        let counts = counts.map_or_else(|| Log::open(&folder.join(&model.deployment.id)).map(opened), Ok);
        let counts = match counts {
            Ok(counts) => counts,
            Err(error) => {
                tracing::error!(endpoint = endpoint.id, %error, "the answers of a shadow cannot be kept");
                return None;
            }
        };
        let (queue, copied) = mpsc::channel(QUEUE_MAX);
        let follower =
            Follower { platform: self.this.clone(), model: Arc::clone(&model), counts: Arc::clone(&counts) };
        let runtime = tokio::runtime::Handle::current();
        // It ends when the shadow is gone and what it had taken is written.
        let follow = background::run("shadow", move || follower.follow(&runtime, copied));
        tokio::spawn(async move {
            if let Err(error) = follow.await {
                tracing::error!(%error, "a shadow stopped");
            }
        });
        let percent = model.deployment.shadow_percent.unwrap_or_default();
        Some(Arc::new(Shadow { model, percent, requests: AtomicU64::new(0), queue, counts }))
    }
}

/// What computes the copies, one after the other.
struct Follower {
    platform: Weak<Platform>,
    model: Arc<DeployedModel>,
    counts: Arc<Counts>,
}

impl Follower {
    fn follow(self, runtime: &tokio::runtime::Handle, mut copied: mpsc::Receiver<Copied>) {
        while let Some(copied) = copied.blocking_recv() {
            let Some(platform) = self.platform.upgrade() else { return };
            let (model, question) = (Arc::clone(&self.model), copied.question.clone());
            // Asked from a thread of the runtime: this one would start threads for it that give way to everybody.
            let asked = runtime.spawn(async move { platform.compute(&model, question, None).await });
            let answer = runtime.block_on(asked);
            let answer = answer.map_err(|error| Error::internal("a copy stopped unexpectedly", error));
            self.keep(&copied, answer.and_then(|answer| answer));
        }
    }

    fn keep(&self, copied: &Copied, answer: crate::Result<PredictReply>) {
        let compared = Compared::new(copied, &self.model, answer);
        if let Err(error) = self.counts.keep(&compared) {
            tracing::error!(deployment = self.model.deployment.id, %error, "an answer of a shadow is not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_counted_has_been_written() {
        let dir = tempfile::tempdir().unwrap();
        let (log, totals) = Log::open(dir.path()).unwrap();
        let counts = Counts::new(log, totals);
        counts.dropped.fetch_add(3, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let writing = counts.log.lock().unwrap();
            let kept = scope.spawn(|| counts.keep(&Compared::failed("no answer")));
            // Time to count it too early.
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(counts.totals().failed, 0);
            drop(writing);
            kept.join().unwrap().unwrap();
        });
        let totals = counts.totals();
        assert_eq!((totals.failed, totals.dropped, totals.last_error.as_deref()), (1, 3, Some("no answer")));
        assert_eq!(log::totals(dir.path()).unwrap(), Some(totals));
    }
}
