//! Batch predictions as jobs: files of the staging area or of an allowed root, answered by a version, the answers staged.
//!
//! The process has the bundle in the job's directory and is given files, never URIs. What it writes appears there whole; the server
//! stages it as `PREFIX/prediction-MODEL-TIME/prediction.results-00000-of-00001`, and what went without an answer as
//! `prediction.errors_stats-00000-of-00001`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact::bundle::Manifest;
use jiff::civil::Date;
use market::row_file::RowFormat;
use registry::{Job, MadeVersion, NewJob};
use serde::{Deserialize, Serialize};

use super::Files;
use super::launcher::Task;
use super::start::StartVersion;
use super::work::WorkKind;
use crate::batch_predict::{BatchReport, errors_file};
use crate::deployed::is_of_rows;
use crate::{Error, Kind, Platform, Result, StagedUpload};

const RESULTS: &str = "prediction.results-00000-of-00001";
const ERRORS: &str = "prediction.errors_stats-00000-of-00001";
/// The most files of one job.
const FILES_MAX: usize = 10_000;

/// A batch prediction to queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitBatch {
    /// The project of the job and of the model.
    pub project: String,
    /// What people call the job; absent: the model's id.
    pub display_name: Option<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// The version that answers: `MODEL`, `MODEL@VERSION` or `MODEL@ALIAS`.
    pub model: String,
    /// The files: `gs://BUCKET/OBJECT` of the staging area (`gs://BUCKET/PREFIX*`: all that begin so), or `file://` under an allowed root.
    pub sources: Vec<String>,
    /// What they are.
    pub format: RowFormat,
    /// The place of the staging area, `gs://BUCKET/PREFIX`, below which the answers are put.
    pub destination: String,
    /// Rows by symbol: only what was known at the end of this day counts, where a row does not say another.
    pub as_of: Option<Date>,
}

/// A batch prediction as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchJob {
    /// The version that answers, `MODEL@VERSION`.
    pub model: String,
    /// Its files.
    pub sources: Vec<String>,
    /// What they are.
    pub format: RowFormat,
    /// Where its answers were asked for.
    pub destination: String,
    /// Where they are: a directory below that.
    pub directory: String,
    /// Rows by symbol: as of when.
    pub as_of: Option<Date>,
    /// What it came to; none before its end.
    pub report: Option<BatchReport>,
}

/// What a batch prediction is to do, as the registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BatchSpec {
    version: u32,
    pub(super) model: StartVersion,
    sources: Vec<String>,
    format: RowFormat,
    destination: String,
    directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    as_of: Option<Date>,
}

/// What it reads, in its first attempt and any later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BatchInputs {
    files: Vec<PathBuf>,
    /// The data set of rows by symbol, `NAME@SNAPSHOT`.
    dataset: Option<String>,
}

impl BatchSpec {
    /// The spec of a stored job.
    pub(super) fn of(job: &Job) -> Result<Self> {
        serde_json::from_value(job.spec.clone()).map_err(unreadable)
    }
}

impl BatchInputs {
    /// The inputs of a stored job, once they are settled.
    pub(super) fn of(job: &Job) -> Result<Option<Self>> {
        serde_json::from_value(job.inputs.clone()).map_err(unreadable)
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::internal("the registry holds a job this version cannot read", error)
}

/// A batch prediction as it stands.
///
/// # Errors
/// [`Kind::NotFound`] for a job of another kind.
pub fn batch_job(platform: &Platform, job: &Job) -> Result<BatchJob> {
    if job.kind != WorkKind::BatchPredict.word() {
        let message =
            format!("job \"{}\" is no batch prediction but of kind {}; see customJobs", job.id, job.kind);
        return Err(Error::new(Kind::NotFound, message));
    }
    let BatchSpec { model, sources, format, destination, directory, as_of, .. } = BatchSpec::of(job)?;
    let report = report(&platform.job_files(&job.project, &job.id)).filter(|_| job.state.has_ended());
    Ok(BatchJob { model: model.to_string(), sources, format, destination, directory, as_of, report })
}

/// The command line of a batch prediction. Every attempt has the same.
pub(super) fn task(
    platform: &Platform,
    name: String,
    files: &Files,
    (spec, inputs): (&BatchSpec, &BatchInputs),
) -> Task {
    let shown = |path: &Path| path.display().to_string();
    let mut arguments = vec!["predict".to_owned()];
    let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    flag("--bundle", shown(&files.start()));
    flag("--named", spec.model.to_string());
    for path in &inputs.files {
        flag("--input", shown(path));
    }
    flag("--input-format", spec.format.name().to_owned());
    flag("--out", shown(&files.answers()));
    flag("--output-format", "predictions".to_owned());
    flag("--report", shown(&files.report()));
    // Every row that can be answered is; the others are told apart.
    flag("--max-errors", u64::MAX.to_string());
    flag("--data-dir", platform.data_dir().display().to_string());
    if let Some(as_of) = spec.as_of {
        flag("--as-of", as_of.to_string());
    }
    if let Some(dataset) = &inputs.dataset {
        flag("--dataset", dataset.clone());
    }
    arguments.extend(["--read-only".to_owned(), "--resume".to_owned()]);
    Task { name, directory: files.directory().to_owned(), log: files.log(), arguments }
}

impl Platform {
    /// Queues a batch prediction.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a version or file that is not here; [`Kind::InvalidArgument`] for a place that cannot be; [`Kind::PermissionDenied`]
    /// for a URI outside the allowed roots; [`Kind::Unimplemented`] for a model that takes no row of numbers; [`Kind::ResourceExhausted`] if the
    /// queue is full.
    pub async fn submit_batch(&self, request: SubmitBatch) -> Result<Job> {
        let SubmitBatch { project, display_name, labels, model, sources, format, destination, as_of } =
            request;
        let version = self.get_model(&project, &model).await?;
        let model =
            StartVersion { model: version.model, version: version.version, digest: version.bundle_digest };
        if !is_of_rows(&version.signature) {
            let message =
                format!("model {model} takes no row of float32 numbers, so it cannot be asked in a batch");
            return Err(Error::new(Kind::Unimplemented, message));
        }
        self.find_rows(&sources, format)?;
        let destination = destination.trim_end_matches('/').to_owned();
        let time = self.now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
        let directory = format!("{destination}/prediction-{}-{time}", model.model);
        // The name is checked before anything is computed.
        let (bucket, name) = split(&directory)?;
        self.staging().check_object(bucket, &format!("{name}/{ERRORS}"))?;
        let spec = BatchSpec { version: 1, sources, format, destination, directory, as_of, model };
        let new = NewJob {
            project,
            id: self.generated_id(),
            kind: WorkKind::BatchPredict.word().to_owned(),
            display_name: display_name.unwrap_or_else(|| spec.model.model.clone()),
            labels,
            spec: serde_json::to_value(&spec)
                .map_err(|error| Error::internal("cannot write a job", error))?,
        };
        let _submitting = self.jobs.submitting.lock().await;
        // Nobody deletes the version from here on.
        let _changing = self.changes.lock().await;
        self.check_needed(&new.project, &spec.model).await?;
        self.queue_job(new).await
    }

    /// Settles which files are read, and which snapshot rows by symbol are looked up in.
    pub(super) async fn settle_batch(&self, spec: &BatchSpec, bundle: &Manifest) -> Result<BatchInputs> {
        let files = self.find_rows(&spec.sources, spec.format)?;
        let name = bundle.dataset["name"].as_str().filter(|_| !bundle.features.expressions.is_empty());
        let dataset = match name {
            None => None,
            Some(name) => match self.show_dataset(name, None).await {
                Ok(snapshot) => Some(format!("{}@{}", snapshot.name, snapshot.number)),
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        Ok(BatchInputs { files, dataset })
    }

    /// Stages the answers of a job whose process has ended well; the version that answered.
    pub(super) async fn publish_batch(&self, job: &Job, files: &Files) -> Result<MadeVersion> {
        let spec = BatchSpec::of(job)?;
        let report = report(files).ok_or_else(|| {
            Error::new(Kind::Internal, format!("job \"{}\" has written no report; resume it", job.id))
        })?;
        let (bucket, directory) = split(&spec.directory)?;
        let mut staged = vec![(files.answers(), format!("{directory}/{RESULTS}"))];
        if report.errors > 0 {
            staged.push((errors_file(&files.answers()), format!("{directory}/{ERRORS}")));
        }
        for (path, name) in staged {
            let upload = StagedUpload { bucket: bucket.to_owned(), name, ..StagedUpload::default() };
            tokio::task::block_in_place(|| self.staging().put_file(&upload, &path))?;
        }
        Ok(MadeVersion { model: report.model, version: report.model_version })
    }

    /// The files that a client names.
    fn find_rows(&self, sources: &[String], format: RowFormat) -> Result<Vec<PathBuf>> {
        const FIELD: &str = "inputConfig.gcsSource.uris";
        if format == RowFormat::Parquet {
            let message =
                "a batch prediction reads jsonl and csv; `bellwether predict --input` reads Parquet too";
            return Err(Error::new(Kind::Unimplemented, message));
        }
        let mut files = Vec::new();
        for source in sources {
            if source.starts_with("gs://") {
                files.extend(self.staged_rows(source)?);
            } else {
                files.push(self.allowed_path(FIELD, source, "a file", Path::is_file)?);
            }
            if files.len() > FILES_MAX {
                let message =
                    format!("{FIELD}: more than {FILES_MAX} files; divide them between several jobs");
                return Err(Error::invalid(FIELD, message));
            }
        }
        if files.is_empty() {
            return Err(Error::invalid(FIELD, format!("{FIELD} is empty; name at least one file")));
        }
        Ok(files)
    }

    fn staged_rows(&self, source: &str) -> Result<Vec<PathBuf>> {
        let missing = || {
            let message = format!(
                "\"{source}\" is no object of this server's staging area; upload it there first (Cloud Storage's API, STORAGE_EMULATOR_HOST)"
            );
            Error::new(Kind::NotFound, message)
        };
        let Some(prefix) = source.strip_suffix('*') else {
            let found = self.staging().resolve(source).filter(|path| path.is_file());
            return Ok(vec![found.ok_or_else(missing)?]);
        };
        let (bucket, prefix) = split(prefix)?;
        let objects = self.staging().list(bucket, prefix)?;
        let files: Result<Vec<PathBuf>> =
            objects.iter().map(|object| self.staging().file(bucket, &object.name)).collect();
        files.and_then(|files| if files.is_empty() { Err(missing()) } else { Ok(files) })
    }
}

/// Bucket and name of `gs://BUCKET/NAME`.
fn split(uri: &str) -> Result<(&str, &str)> {
    let parts = uri.strip_prefix("gs://").and_then(|rest| rest.split_once('/'));
    parts.ok_or_else(|| {
        let message = format!(
            "\"{uri}\" is no place of the staging area; give gs://BUCKET/PREFIX (any bucket name will do)"
        );
        Error::invalid("outputConfig.gcsDestination.outputUriPrefix", message)
    })
}

fn report(files: &Files) -> Option<BatchReport> {
    let text = std::fs::read(files.report()).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_destination_is_a_place_of_the_staging_area() {
        assert_eq!(split("gs://bucket/a/b").unwrap(), ("bucket", "a/b"));
        for uri in ["file:///tmp/x", "gs://bucket", "bq://p.d.t", ""] {
            assert_eq!(split(uri).unwrap_err().kind(), Kind::InvalidArgument, "{uri}");
        }
        let time = Timestamp::from_millisecond(1_764_000_000_123).unwrap();
        assert_eq!(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(), "2025-11-24T16:00:00.123Z");
    }
}
