//! `endpoint shadow`: what the shadows of an endpoint answered, beside what was answered.

use platform::{Error, ShadowReport};
use serde::Serialize;

use crate::args::endpoint::EndpointNameArgs;
use crate::client::resource::ShadowResource;
use crate::context::{Backend, Context};
use crate::output::{Column, Show, table};

#[derive(Debug, Serialize)]
struct ShadowsView {
    endpoint: String,
    shadows: Vec<ShadowResource>,
}

impl From<ShadowReport> for ShadowResource {
    fn from(report: ShadowReport) -> Self {
        let ShadowReport { deployment, model, percent, totals, .. } = report;
        let (mean_micros, shadow_mean_micros) = totals.mean_micros().unzip();
        Self {
            deployed_model_id: deployment,
            model,
            percent,
            answered: totals.answered,
            failed: totals.failed,
            dropped: totals.dropped,
            too_large: totals.too_large,
            rows: totals.rows,
            missing: totals.missing,
            max_absolute_difference: totals.max_absolute_difference,
            mean_absolute_difference: totals.mean_absolute_difference(),
            agreement: totals.agreement(),
            mean_micros,
            shadow_mean_micros,
            last_error: totals.last_error,
        }
    }
}

impl Show for ShadowsView {
    fn text(&self) -> String {
        if self.shadows.is_empty() {
            let name = &self.endpoint;
            return format!(
                "endpoint {name} has no shadow: bellwether endpoint deploy {name} --model MODEL --shadow 20\n"
            );
        }
        let columns = [
            Column::Text("shadow"),
            Column::Text("model"),
            Column::Figure("% copied"),
            Column::Figure("answered"),
            Column::Figure("failed"),
            Column::Figure("dropped"),
            Column::Figure("max diff"),
            Column::Figure("mean diff"),
            Column::Figure("agree %"),
            Column::Figure("us"),
            Column::Figure("shadow us"),
        ];
        let figure = |value: Option<f64>, digits: usize| {
            value.map(|value| format!("{value:.digits$}")).unwrap_or_default()
        };
        let small = |value: Option<f64>| value.map(|value| format!("{value:.3e}")).unwrap_or_default();
        let rows = self.shadows.iter().map(|shadow| {
            let dropped = shadow.dropped + shadow.too_large;
            vec![
                shadow.deployed_model_id.clone(),
                shadow.model.clone().unwrap_or_else(|| "deployed no more".to_owned()),
                shadow.percent.map(|percent| percent.to_string()).unwrap_or_default(),
                shadow.answered.to_string(),
                shadow.failed.to_string(),
                dropped.to_string(),
                small((shadow.answered > 0).then_some(shadow.max_absolute_difference)),
                small(shadow.mean_absolute_difference),
                figure(shadow.agreement.map(|share| share * 100.0), 1),
                figure(shadow.mean_micros, 0),
                figure(shadow.shadow_mean_micros, 0),
            ]
        });
        let mut text = table(&columns, rows);
        for shadow in &self.shadows {
            if let Some(error) = &shadow.last_error {
                text += &format!("{}: the newest copy that failed: {error}\n", shadow.deployed_model_id);
            }
        }
        text
    }
}

/// `endpoint shadow`
pub(crate) async fn show(context: &Context, args: &EndpointNameArgs) -> Result<(), Error> {
    let mut shadows: Vec<ShadowResource> = match context.backend().await? {
        Backend::Server(client) => client.shadows(&args.name).await?,
        Backend::Local(platform) => {
            let reports = platform.shadow_reports(context.project(), &args.name).await?;
            reports.into_iter().map(ShadowResource::from).collect()
        }
    };
    for shadow in &mut shadows {
        shadow.model =
            shadow.model.take().map(|model| model.rsplit('/').next().unwrap_or_default().to_owned());
    }
    context.output.show(&ShadowsView { endpoint: args.name.clone(), shadows })
}
