//! The trials of a search that runs as a job: its process notes them in a journal of the job's directory, and the server,
//! which owns the registry, records what it notes, in time and once.

use super::Files;
use crate::pipeline::Pipeline;
use crate::{Platform, Result, search};

impl Platform {
    /// Begins the journal of a job with every trial of its study so far, those an earlier attempt noted among them; the
    /// byte up to which it is recorded.
    pub(super) async fn place_trials(
        &self,
        project: &str,
        pipeline: &Pipeline,
        files: &Files,
    ) -> Result<u64> {
        self.open_study(project, pipeline).await?;
        self.take_trials(project, pipeline, files, 0).await?;
        let known = self.open_study(project, pipeline).await?;
        let others = self.trials_of_model(project, pipeline).await?.saturating_sub(known.len() as u64);
        let head = search::Head::new(&search::study_id(pipeline), others);
        let trials: Vec<_> = known.into_values().collect();
        search::begin(&files.trials(), head, &trials)
    }

    /// Records what a job has noted from a byte on; the byte up to which it is recorded now.
    pub(super) async fn take_trials(
        &self,
        project: &str,
        pipeline: &Pipeline,
        files: &Files,
        from: u64,
    ) -> Result<u64> {
        let study = search::study_id(pipeline);
        let (entries, end) = search::read(&files.trials(), from)?;
        for entry in entries {
            self.record(project, &study, entry).await?;
        }
        Ok(end)
    }
}
