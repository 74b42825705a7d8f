//! Jobs at a server.

use serde::Deserialize;
use serde_json::{Value, json};

use super::resource::last_segment;
use super::{Client, Error, Kind, segment};

/// A job.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobResource {
    /// `projects/P/locations/L/customJobs/ID`
    pub(crate) name: String,
    /// What people call it.
    #[serde(default)]
    pub(crate) display_name: String,
    /// Where it stands: `JOB_STATE_RUNNING`.
    pub(crate) state: String,
    /// When it was queued, RFC 3339.
    #[serde(default)]
    pub(crate) create_time: String,
    /// When it first ran.
    pub(crate) start_time: Option<String>,
    /// When it ended.
    pub(crate) end_time: Option<String>,
    /// Why it failed.
    pub(crate) error: Option<JobErrorResource>,
    /// What we add to Vertex AI's job.
    pub(crate) metadata: JobMetadata,
}

/// Why a job failed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JobErrorResource {
    /// In words.
    pub(crate) message: String,
}

/// What we add to Vertex AI's job.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobMetadata {
    /// What sort of work it is.
    pub(crate) kind: String,
    /// How often it was started.
    pub(crate) attempts: u32,
    /// The data set it trains on, once that is settled.
    pub(crate) dataset: Option<String>,
    /// The snapshot of it.
    pub(crate) snapshot: Option<u32>,
    /// The table it trains on, once that is settled.
    pub(crate) table: Option<String>,
    /// The version whose weights it starts from: `MODEL@VERSION`.
    pub(crate) from: Option<String>,
    /// The resource name of the model it made a version of, or that answered.
    pub(crate) model: Option<String>,
    /// That version, a decimal string.
    pub(crate) model_version_id: Option<String>,
}

/// A part of a job's log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobLogResource {
    /// The text.
    pub(crate) text: String,
    /// Where the next part starts, a decimal string.
    pub(crate) next_offset: String,
    /// Where the job stood before the log was read.
    pub(crate) state: String,
}

impl Client {
    /// Queues the training of a pipeline file's text, from the weights of a version if one is named.
    pub(crate) async fn create_training(
        &self,
        pipeline: &str,
        from: Option<&str>,
    ) -> Result<JobResource, Error> {
        let body = json!({"pipeline": pipeline, "from": from});
        Ok(self.transport.post(self.path("customJobs"), &body).await?.body)
    }

    /// Queues a search over a pipeline file's text.
    pub(crate) async fn create_search(&self, pipeline: &str) -> Result<JobResource, Error> {
        let body = json!({"kind": "search", "pipeline": pipeline});
        Ok(self.transport.post(self.path("customJobs"), &body).await?.body)
    }

    /// One job.
    pub(crate) async fn get_job(&self, id: &str) -> Result<JobResource, Error> {
        self.get(&format!("customJobs/{}", segment(id))).await
    }

    /// Every job, batch predictions among them, in the order they were queued.
    pub(crate) async fn list_jobs(&self) -> Result<Vec<JobResource>, Error> {
        let mut jobs: Vec<JobResource> = self.list("customJobs").await?;
        match self.list("batchPredictionJobs").await {
            Ok(batches) => jobs.extend(batches),
            // A server of an older build has none.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unimplemented) => {}
            Err(error) => return Err(error),
        }
        jobs.sort_by(|a, b| last_segment(&a.name).cmp(last_segment(&b.name)));
        Ok(jobs)
    }

    /// Asks for a job's end.
    pub(crate) async fn cancel_job(&self, id: &str) -> Result<(), Error> {
        let path = self.path(&format!("customJobs/{}:cancel", segment(id)));
        let _: Value = self.transport.post(path, &json!({})).await?.body;
        Ok(())
    }

    /// Queues a job again.
    pub(crate) async fn resume_job(&self, id: &str) -> Result<JobResource, Error> {
        let path = self.path(&format!("customJobs/{}:resume", segment(id)));
        Ok(self.transport.post(path, &json!({})).await?.body)
    }

    /// Removes an ended job.
    pub(crate) async fn delete_job(&self, id: &str) -> Result<(), Error> {
        let _: Value = self.transport.delete(self.path(&format!("customJobs/{}", segment(id)))).await?.body;
        Ok(())
    }

    /// What a job's log holds from a byte on; with `follow` the server waits for something to come.
    pub(crate) async fn job_log(&self, id: &str, offset: u64, follow: bool) -> Result<JobLogResource, Error> {
        self.get(&format!("customJobs/{}/logs?offset={offset}&follow={follow}", segment(id))).await
    }
}
