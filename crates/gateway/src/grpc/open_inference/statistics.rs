//! The statistics extension: what each version has done since it was loaded, in this protocol's messages.

use platform::{ModelName, VersionChoice};
use protos::serving::inference::{
    InferBatchStatistics, InferStatistics, MemoryUsage, ModelStatistics, ModelStatisticsRequest,
    ModelStatisticsResponse, StatisticDuration,
};

use crate::grpc::call::Asked;
use crate::grpc::reply::{Answer, By, Refused};
use crate::open_inference::statistics::{self, Statistics};

/// The numbers of a model's versions, of one version, or of all models.
pub(super) async fn statistics(
    gateway: Asked,
    request: ModelStatisticsRequest,
) -> Result<Answer<ModelStatisticsResponse>, Refused> {
    let (mut asked, mut by) = (None, None);
    if !request.name.is_empty() {
        // Whoever names what is not there is told so.
        let target = super::target(&gateway, &request.name, &request.version)?;
        let named = super::version(&request.version) != VersionChoice::Default;
        asked = Some((ModelName::parse(&request.name), named.then(|| target.version().1)));
        by = Some(By::target(&target));
    }
    let wanted = |name: &ModelName, number: u32| {
        gateway.allow(&name.project).is_ok()
            && asked.as_ref().is_none_or(|(model, version)| {
                model == name && version.is_none_or(|version| version == number)
            })
    };
    let model_stats = statistics::of(&gateway.platform, wanted).into_iter().map(message).collect();
    Ok(Answer { message: ModelStatisticsResponse { model_stats }, by })
}

fn message(of: Statistics) -> ModelStatistics {
    let duration = |count, ns| Some(StatisticDuration { count, ns });
    let batch = |(rows, (batches, ns)): (usize, (u64, u64))| InferBatchStatistics {
        batch_size: rows as u64,
        compute_input: duration(batches, 0),
        compute_infer: duration(batches, ns),
        compute_output: duration(batches, 0),
    };
    ModelStatistics {
        name: of.name,
        version: of.version.to_string(),
        last_inference: of.last_inference_ms,
        inference_count: of.rows,
        execution_count: of.batches,
        inference_stats: Some(InferStatistics {
            success: duration(of.answered, of.queue_ns + of.compute_ns),
            fail: duration(of.failed, 0),
            queue: duration(of.answered, of.queue_ns),
            compute_input: duration(of.answered, 0),
            compute_infer: duration(of.answered, of.compute_ns),
            compute_output: duration(of.answered, 0),
            cache_hit: duration(0, 0),
            cache_miss: duration(0, 0),
        }),
        batch_stats: of.batch_sizes.into_iter().map(batch).collect(),
        memory_usage: vec![MemoryUsage { r#type: "CPU".to_owned(), id: 0, byte_size: of.memory_bytes }],
    }
}
