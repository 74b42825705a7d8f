//! `config show`: every setting, its value, and where the value comes from.

use std::collections::BTreeMap;

use platform::Error;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{Setting, Settings};
use crate::context::Context;
use crate::output::{Column, Show, table};

/// The settings in effect, by key.
#[derive(Debug, Serialize)]
struct SettingsView {
    settings: BTreeMap<&'static str, SettingView>,
}

#[derive(Debug, Serialize)]
struct SettingView {
    value: Value,
    origin: String,
}

impl SettingsView {
    fn new(settings: &Settings) -> Self {
        let data_dir = settings.data_dir.value.display();
        let root = settings.artifact_root.value.clone();
        let root = root.unwrap_or_else(|| format!("file://{data_dir}/artifacts"));
        let cache_gb = settings.artifact_cache_bytes.value as f64 / 1e9;
        let limits = settings.limits.all().map(|(key, limit)| (key, view(limit, json!(limit.value))));
        let mut shown = BTreeMap::from([
            ("data_dir", view(&settings.data_dir, json!(data_dir.to_string()))),
            ("artifact_root", view(&settings.artifact_root, json!(root))),
            ("artifact_cache_gb", view(&settings.artifact_cache_bytes, json!(cache_gb))),
            ("project", view(&settings.project, json!(settings.project.value))),
            ("server", view(&settings.server, json!(settings.server.value))),
            ("api_key", view(&settings.api_key, json!(settings.api_key.value.as_ref().map(|_| "(set)")))),
            (
                "server_certificate",
                view(&settings.server_certificate, json!(settings.server_certificate.value)),
            ),
            ("log", view(&settings.log, json!(settings.log.value))),
            ("log_format", view(&settings.log_format, json!(settings.log_format.value))),
            ("log_requests", view(&settings.log_requests, json!(settings.log_requests.value))),
            ("listen", view(&settings.listen, json!(settings.listen.value))),
            ("allow_roots", view(&settings.allow_roots, json!(settings.allow_roots.value))),
            ("default_model", view(&settings.default_model, json!(settings.default_model.value))),
            ("max_running_jobs", view(&settings.max_running_jobs, json!(settings.max_running_jobs.value))),
            ("max_queued_jobs", view(&settings.max_queued_jobs, json!(settings.max_queued_jobs.value))),
        ]);
        shown.extend(limits);
        Self { settings: shown }
    }
}

fn view<T>(setting: &Setting<T>, value: Value) -> SettingView {
    SettingView { value, origin: setting.origin.to_string() }
}

impl Show for SettingsView {
    fn text(&self) -> String {
        let columns = [Column::Text("setting"), Column::Text("value"), Column::Text("from")];
        table(
            &columns,
            self.settings.iter().map(|(key, setting)| {
                let value = match &setting.value {
                    Value::String(text) => text.clone(),
                    Value::Null => "-".to_owned(),
                    Value::Array(items) if items.is_empty() => "-".to_owned(),
                    Value::Array(items) => {
                        items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
                    }
                    other => other.to_string(),
                };
                vec![(*key).to_owned(), value, setting.origin.clone()]
            }),
        )
    }
}

/// `config show`
pub(crate) fn show(context: &Context) -> Result<(), Error> {
    context.output.show(&SettingsView::new(&context.settings))
}
