//! That the server is to stop, told to what would otherwise last: streams end, so that the program does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Clients hear that the connection takes nothing new before their streams end, so that they ask elsewhere.
const NOTICE: Duration = Duration::from_millis(100);

/// Whether the server is to stop. Clones tell of the same.
#[derive(Debug, Clone, Default)]
pub struct Stopping(Arc<watch::Sender<bool>>);

impl Stopping {
    /// From now on it is.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is.
    pub(crate) fn is_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once streams are to end.
    pub(crate) async fn noticed(self) {
        let mut told = self.0.subscribe();
        // The sender lives as long as this does.
        let _ = told.wait_for(|begun| *begun).await;
        tokio::time::sleep(NOTICE).await;
    }
}
