//! A search as the registry keeps it: its study, its trials, and the version that came of it.

use std::collections::BTreeMap;

use registry::{NewStudy, Trial, TrialFilter, TrialState};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::journal::Entry;
use crate::model::{UploadModel, UploadTarget};
use crate::model_source::ArtifactSource;
use crate::pipeline::Pipeline;
use crate::{Error, Kind, ModelTexts, Platform, Result};

/// Trials listed at once.
const PAGE: usize = 1000;

impl Platform {
    /// The trials of a pipeline's study so far, by number; the study is begun if there is none.
    pub(crate) async fn open_study(
        &self,
        project: &str,
        pipeline: &Pipeline,
    ) -> Result<BTreeMap<u32, Trial>> {
        let new = new_study(project, pipeline)?;
        let id = new.id.clone();
        if let Err(registry::Error::NotFound(_)) = self.registry.get_study(project, &id).await {
            self.registry.create_study(new, self.now()).await?;
        }
        let mut known = BTreeMap::new();
        loop {
            let after = known.keys().next_back().copied();
            let page = self.registry.list_trials(project, &id, after, PAGE).await?;
            if page.is_empty() {
                return Ok(known);
            }
            known.extend(page.into_iter().map(|trial| (trial.number, trial)));
        }
    }

    /// How many trials there were of a pipeline's model on its data set, of all studies.
    pub(crate) async fn trials_of_model(&self, project: &str, pipeline: &Pipeline) -> Result<u64> {
        let (model, dataset) = (Some(pipeline.name()), Some(pipeline.data.dataset.as_str()));
        Ok(self.registry.count_trials(project, TrialFilter { model, dataset }).await?.begun)
    }

    /// Records one line of a journal of a study; a line that is recorded already changes nothing.
    pub(crate) async fn record(&self, project: &str, study: &str, entry: Entry) -> Result<()> {
        let before = |number: u32| number.checked_sub(1).filter(|before| *before > 0);
        let (Entry::Begun { number, .. } | Entry::Ended { number, .. }) = &entry else { return Ok(()) };
        let number = *number;
        let next = self.registry.list_trials(project, study, before(number), 1).await?;
        let known = next.into_iter().find(|trial| trial.number == number);
        match (entry, known) {
            (Entry::Begun { parameters, .. }, None) => {
                let trial = self.registry.start_trial(project, study, parameters, self.now()).await?;
                if trial.number != number {
                    let message = format!(
                        "a journal has trial {number} where study \"{study}\" has {}; trials were lost",
                        trial.number
                    );
                    return Err(Error::new(Kind::Internal, message));
                }
            }
            (Entry::Ended { end, .. }, Some(trial)) if trial.state == TrialState::Running => {
                self.registry.finish_trial(project, study, number, end.into(), self.now()).await?;
            }
            (Entry::Ended { .. }, None) => {
                let message =
                    format!("a journal ends trial {number} of study \"{study}\", which never began");
                return Err(Error::new(Kind::Internal, message));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The upload of what a search found, which says how often was tried.
pub(crate) fn upload(
    project: &str,
    pipeline: &Pipeline,
    source: ArtifactSource,
    trials: u64,
) -> Result<UploadModel> {
    let monitor = &super::check(pipeline)?.monitor;
    Ok(UploadModel {
        project: project.to_owned(),
        target: UploadTarget::NewOrVersionOf { id: Some(pipeline.name().to_owned()) },
        about: ModelTexts::default(),
        description: format!("the best of {trials} trials by {monitor}"),
        source,
        aliases: Vec::new(),
        labels: BTreeMap::from([
            ("study".to_owned(), study_id(pipeline)),
            ("trials".to_owned(), trials.to_string()),
        ]),
        signature: None,
    })
}

/// What the registry is told of the search of a pipeline.
fn new_study(project: &str, pipeline: &Pipeline) -> Result<NewStudy> {
    Ok(NewStudy {
        project: project.to_owned(),
        id: study_id(pipeline),
        model: pipeline.name().to_owned(),
        dataset: pipeline.data.dataset.clone(),
        spec: json!(super::check(pipeline)?),
    })
}

/// The same file searched again is the same study.
pub(crate) fn study_id(pipeline: &Pipeline) -> String {
    let digest = hex::encode(Sha256::digest(pipeline.text().as_bytes()));
    let name: String = pipeline.name().chars().take(50).collect();
    format!("{name}-{}", &digest[..12])
}
