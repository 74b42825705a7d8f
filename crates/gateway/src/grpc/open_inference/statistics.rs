//! The statistics extension: what each version has done since it was loaded.
//!
//! As Triton counts: `inference_count` are rows, `execution_count` runs of the engine. Times of several deployments of
//! a version are added up.

use std::collections::BTreeMap;

use platform::{Counters, DeploymentCounters, ErrorCounts, Histogram, ModelName, VersionChoice};
use protos::serving::inference::{
    InferStatistics, MemoryUsage, ModelStatistics, ModelStatisticsRequest, ModelStatisticsResponse,
    StatisticDuration,
};

use crate::grpc::call::Asked;
use crate::grpc::reply::{Answer, Refused};

/// The numbers of a model's versions, of one version, or of all models.
pub(super) async fn statistics(
    gateway: Asked,
    request: ModelStatisticsRequest,
) -> Result<Answer<ModelStatisticsResponse>, Refused> {
    let mut asked = None;
    if !request.name.is_empty() {
        // Whoever names what is not there is told so.
        let target = super::target(&gateway, &request.name, &request.version)?;
        let named = super::version(&request.version) != VersionChoice::Default;
        asked = Some((ModelName::parse(&request.name), named.then(|| target.version().1)));
    }
    let mut versions: BTreeMap<(ModelName, u32), Vec<DeploymentCounters>> = BTreeMap::new();
    for deployment in gateway.platform.serving_counters() {
        if gateway.allow(&deployment.project).is_err() {
            continue;
        }
        let (project, model) = (deployment.project.clone(), deployment.status.model.clone());
        let (name, number) = (ModelName { project, model }, deployment.status.version);
        let wanted = asked
            .as_ref()
            .is_none_or(|(model, version)| *model == name && version.is_none_or(|version| version == number));
        if wanted {
            versions.entry((name, number)).or_default().push(deployment);
        }
    }
    let model_stats = versions.into_iter().map(|((name, number), all)| of(&name, number, &all)).collect();
    Ok(ModelStatisticsResponse { model_stats }.into())
}

fn of(name: &ModelName, number: u32, deployments: &[DeploymentCounters]) -> ModelStatistics {
    let sum = |value: fn(&Counters) -> u64| deployments.iter().map(|each| value(&each.counters)).sum::<u64>();
    let time = |value: fn(&Counters) -> &Histogram| {
        let ns = |each: &DeploymentCounters| (value(&each.counters).sum_seconds * 1e9) as u64;
        deployments.iter().map(ns).sum::<u64>()
    };
    let computed = sum(|counters| runs(&counters.queue));
    let succeeded = computed.saturating_sub(sum(|counters| counters.errors.engine));
    let duration = |count, ns| Some(StatisticDuration { count, ns });
    let (queue_ns, compute_ns) = (time(|counters| &counters.queue), time(|counters| &counters.compute));
    ModelStatistics {
        name: name.to_string(),
        version: number.to_string(),
        last_inference: 0,
        inference_count: sum(|counters| counters.rows),
        execution_count: sum(|counters| counters.batches),
        inference_stats: Some(InferStatistics {
            success: duration(succeeded, queue_ns + compute_ns),
            fail: duration(sum(|counters| failures(&counters.errors)), 0),
            queue: duration(computed, queue_ns),
            compute_input: duration(computed, 0),
            compute_infer: duration(computed, compute_ns),
            compute_output: duration(computed, 0),
            cache_hit: duration(0, 0),
            cache_miss: duration(0, 0),
        }),
        memory_usage: deployments.iter().map(memory).collect(),
    }
}

fn runs(histogram: &Histogram) -> u64 {
    histogram.buckets.last().map_or(0, |bucket| bucket.count)
}

fn failures(errors: &ErrorCounts) -> u64 {
    errors.by_kind().iter().map(|(_, count)| count).sum()
}

fn memory(deployment: &DeploymentCounters) -> MemoryUsage {
    MemoryUsage { r#type: "CPU".to_owned(), id: 0, byte_size: deployment.status.memory_bytes }
}
