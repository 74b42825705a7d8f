//! What tests of the facade share.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::{Options, Platform};

/// A platform on a data directory, at a fixed time; models may be uploaded from `allowed_roots`.
pub(crate) async fn open(data_dir: &Path, allowed_roots: Vec<String>) -> Arc<Platform> {
    let options = Options {
        data_dir: data_dir.to_owned(),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots,
        holder: "test".to_owned(),
        clock: Arc::new(|| "2026-01-02T00:00:00Z".parse().unwrap()),
    };
    // The lock goes with the last task that has the platform before.
    let begun = Instant::now();
    loop {
        match Platform::open(options.clone()).await {
            Err(_) if begun.elapsed() < Duration::from_secs(20) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}
