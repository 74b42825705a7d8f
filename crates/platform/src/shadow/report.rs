//! What the shadows of an endpoint have shown: the sums, from memory while they work and from their files else.

use std::path::{Path, PathBuf};

use registry::Endpoint;
use serde::{Deserialize, Serialize};

use super::compare::{Compared, Outcome};
use super::{FOLDER, log};
use crate::{Error, Platform, Result};

/// How many shadows of an endpoint that are deployed no more are remembered.
const GONE_MAX: usize = 8;

/// What a shadow has shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShadowReport {
    /// The endpoint's id.
    pub endpoint: String,
    /// The shadow's id.
    pub deployment: String,
    /// Its model and version, `MODEL@VERSION`; absent if it is deployed no more.
    pub model: Option<String>,
    /// The percent of the requests that it gets copies of; absent if it is no shadow any more.
    pub percent: Option<u8>,
    /// The folder with its answers, in the data directory.
    pub folder: PathBuf,
    /// What came of its copies.
    #[serde(flatten)]
    pub totals: ShadowTotals,
}

/// What came of the copies a shadow got.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowTotals {
    /// Copies that both have answered.
    pub answered: u64,
    /// Copies that the shadow could not answer, or not as it could be compared.
    pub failed: u64,
    /// Copies for which there was no room in its queue.
    pub dropped: u64,
    /// Questions or answers that are too large to be copied.
    pub too_large: u64,
    /// Rows answered by both.
    pub rows: u64,
    /// Pairs of numbers compared.
    pub numbers: u64,
    /// Pairs of numbers of which one is missing.
    pub missing: u64,
    /// The largest absolute difference of two numbers.
    pub max_absolute_difference: f64,
    /// The sum of all absolute differences.
    pub sum_absolute_difference: f64,
    /// Rows of which both have a class: the place of the largest number.
    pub classed_rows: u64,
    /// Those with the same class.
    pub agreeing_rows: u64,
    /// Microseconds of the answers that were given, waiting included.
    pub micros: u64,
    /// Microseconds of the shadow's.
    pub shadow_micros: u64,
    /// Why the newest copy that failed did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl ShadowTotals {
    /// The mean absolute difference; nothing if nothing was compared.
    pub fn mean_absolute_difference(&self) -> Option<f64> {
        (self.numbers > 0).then(|| self.sum_absolute_difference / self.numbers as f64)
    }

    /// The share of rows that both put into the same class; nothing if there are no classes.
    pub fn agreement(&self) -> Option<f64> {
        (self.classed_rows > 0).then(|| self.agreeing_rows as f64 / self.classed_rows as f64)
    }

    /// Mean microseconds of the answers given, and of the shadow's.
    pub fn mean_micros(&self) -> Option<(f64, f64)> {
        let mean = |micros: u64| micros as f64 / self.answered as f64;
        (self.answered > 0).then(|| (mean(self.micros), mean(self.shadow_micros)))
    }

    pub(super) fn add(&mut self, compared: &Compared) {
        match &compared.outcome {
            Outcome::Failed { error } => {
                self.failed += 1;
                self.last_error = Some(error.clone());
            }
            Outcome::Answered(difference) => {
                self.answered += 1;
                self.rows += difference.rows;
                self.numbers += difference.numbers;
                self.missing += difference.missing;
                self.max_absolute_difference = self.max_absolute_difference.max(difference.max_absolute);
                self.sum_absolute_difference += difference.sum_absolute;
                self.classed_rows += difference.classed_rows;
                self.agreeing_rows += difference.agreeing_rows;
                self.micros += compared.micros;
                self.shadow_micros += difference.shadow_micros;
            }
        }
    }
}

impl Platform {
    /// What the shadows of an endpoint have shown, those that are deployed no more included, by id.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), and [`Kind::Internal`](crate::Kind::Internal) if what they answered
    /// cannot be read.
    pub async fn shadow_reports(&self, project: &str, endpoint: &str) -> Result<Vec<ShadowReport>> {
        let endpoint = self.registry.get_endpoint(project, endpoint).await?;
        let folder = self.shadow_folder(project, &endpoint.id);
        let mut ids = kept(&folder).map_err(|error| unreadable(&folder, error))?;
        let deployed = |id: &str| endpoint.deployments.iter().find(|deployment| deployment.id == id);
        for deployment in endpoint.deployments.iter().filter(|one| endpoint.is_shadow(one)) {
            if !ids.contains(&deployment.id) {
                ids.push(deployment.id.clone());
            }
        }
        ids.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        let at_work = self.serving.shadows(project, &endpoint.id);
        let report = |id: String| {
            let folder = folder.join(&id);
            let live = at_work.iter().find(|shadow| shadow.model.deployment.id == id);
            let totals = match live {
                Some(shadow) => shadow.counts.totals(),
                None if folder.is_dir() => {
                    log::totals(&folder).map_err(|error| unreadable(&folder, error))?.unwrap_or_default()
                }
                None => ShadowTotals::default(),
            };
            let deployment = deployed(&id);
            let shadow = deployment.filter(|deployment| endpoint.is_shadow(deployment));
            Ok(ShadowReport {
                endpoint: endpoint.id.clone(),
                model: deployment.map(|one| format!("{}@{}", one.model, one.version)),
                percent: shadow.and_then(|deployment| deployment.shadow_percent),
                deployment: id,
                folder,
                totals,
            })
        };
        ids.into_iter().map(report).collect()
    }

    /// What all shadows at work have done, each with its project, for monitoring.
    pub fn shadow_counters(&self) -> Vec<(String, ShadowReport)> {
        let shadows = self.serving.all_shadows().into_iter();
        let report = |(project, shadow): (String, std::sync::Arc<super::Shadow>)| {
            let model = &shadow.model;
            let report = ShadowReport {
                endpoint: model.endpoint.clone(),
                deployment: model.deployment.id.clone(),
                model: Some(model.reference()),
                percent: Some(shadow.percent),
                folder: self.shadow_folder(&project, &model.endpoint).join(&model.deployment.id),
                totals: shadow.counts.totals(),
            };
            (project, report)
        };
        shadows.map(report).collect()
    }

    /// Where the answers of an endpoint's shadows lie.
    pub(crate) fn shadow_folder(&self, project: &str, endpoint: &str) -> PathBuf {
        self.data_dir.join(FOLDER).join(project).join(endpoint)
    }

    /// Removes what the shadows of an endpoint answered, which is no more.
    pub(crate) fn forget_shadows(&self, project: &str, endpoint: &str) -> Result<()> {
        let folder = self.shadow_folder(project, endpoint);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("cannot remove {}: {error}", folder.display());
                Err(Error::internal(message, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what the oldest shadows answered that are deployed no more.
    pub(crate) fn forget_old_shadows(&self, folder: &Path, endpoint: &Endpoint) {
        let deployed = |id: &String| endpoint.deployments.iter().any(|deployment| deployment.id == *id);
        let mut gone = kept(folder).unwrap_or_default();
        gone.retain(|id| !deployed(id));
        gone.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        for id in gone.iter().take(gone.len().saturating_sub(GONE_MAX)) {
            if let Err(error) = std::fs::remove_dir_all(folder.join(id)) {
                tracing::warn!(endpoint = endpoint.id, deployment = id, %error, "cannot remove an old shadow");
            }
        }
    }
}

/// The shadows whose answers are there.
fn kept(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        ids.extend(entry?.file_name().into_string().ok());
    }
    Ok(ids)
}

fn unreadable(folder: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("cannot read {}: {error}", folder.display()), error)
}
