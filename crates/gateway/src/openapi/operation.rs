//! One operation: a method of a path, what it takes and gives, and how that is written in the document.

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;

/// A method of a path.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// As the document has it: lower case.
    pub(super) method: &'static str,
    /// A template: `/v2/models/{model}`
    pub(super) path: String,
    /// The name its replies are counted under.
    pub(super) route: &'static str,
    summary: &'static str,
    dialect: Dialect,
    query: &'static [&'static str],
    takes: &'static [Content],
    gives: Vec<Reply>,
    /// It asks for no key.
    is_open: bool,
    /// It asks a model, so what is said of its version, time and traffic holds.
    asks: bool,
}

/// A media type, and the schema of what is written in it; none: any bytes.
pub(super) type Content = (&'static str, Option<&'static str>);

/// A status, what it means, and what the body may be; nothing: there is none.
#[derive(Debug, Clone, Copy)]
struct Reply {
    status: &'static str,
    means: &'static str,
    contents: &'static [Content],
}

impl Operation {
    /// One that answers 200 with some JSON object.
    pub(super) fn new(
        dialect: Dialect,
        method: &'static str,
        path: impl Into<String>,
        route: &'static str,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            route,
            summary: "",
            dialect,
            query: &[],
            takes: &[],
            gives: Vec::new(),
            is_open: false,
            asks: false,
        }
    }

    pub(super) fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Names of parameters of the query.
    pub(super) fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    pub(super) fn takes(self, takes: &'static [Content]) -> Self {
        Self { takes, ..self }
    }

    pub(super) fn gives(
        mut self,
        status: &'static str,
        means: &'static str,
        contents: &'static [Content],
    ) -> Self {
        self.gives.push(Reply { status, means, contents });
        self
    }

    pub(super) fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    pub(super) fn asks(self) -> Self {
        Self { asks: true, ..self }
    }

    /// The item of its path: the parameters that all its methods have.
    pub(super) fn parameters(&self) -> Value {
        let names = self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let parameter = |name: &str| {
            let schema = match name {
                "version" if self.dialect == Dialect::TensorFlowServing => {
                    json!({"type": "integer", "format": "int64", "minimum": 0})
                }
                _ => json!({"type": "string", "minLength": 1}),
            };
            json!({"name": name, "in": "path", "required": true, "schema": schema, "example": example(name)})
        };
        let parameters: Vec<Value> = names.map(parameter).collect();
        let mut item = Map::new();
        if !parameters.is_empty() {
            item.insert("parameters".to_owned(), parameters.into());
        }
        Value::Object(item)
    }

    /// The operation in the document, `before` others of its route having been written.
    pub(super) fn document(&self, before: usize) -> Value {
        let id = if before == 0 { self.route.to_owned() } else { format!("{}.{before}", self.route) };
        let mut operation = json!({
            "operationId": id,
            "summary": self.summary,
            "tags": [self.dialect.name()],
            "responses": self.responses(),
        });
        let mut parameters: Vec<Value> = self.query.iter().map(|name| query(name)).collect();
        if self.asks {
            parameters.extend(
                ["x-bellwether-timeout-ms", "x-bellwether-traffic-key", "x-bellwether-rebalance"].map(header),
            );
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if !self.takes.is_empty() {
            operation["requestBody"] = json!({"content": contents(self.takes)});
        }
        if self.is_open {
            operation["security"] = json!([]);
        }
        operation
    }

    fn responses(&self) -> Value {
        let mut responses = Map::new();
        for Reply { status, means, contents: types } in &self.gives {
            let mut response = json!({"description": means});
            if !types.is_empty() {
                response["content"] = contents(types);
            }
            if self.asks && *status == "200" {
                response["headers"] = json!({
                    "x-bellwether-model-version": {"description": "MODEL@VERSION that answered, PROJECT.MODEL@VERSION of another project than default", "schema": {"type": "string"}},
                    "server-timing": {"description": "Milliseconds waited and computed", "schema": {"type": "string"}},
                });
            }
            responses.insert((*status).to_owned(), response);
        }
        let error = error(self.dialect);
        responses.insert(
            "default".to_owned(),
            json!({"description": "Why there is no answer", "content": contents(error)}),
        );
        Value::Object(responses)
    }
}

/// What a protocol's errors are.
fn error(dialect: Dialect) -> &'static [Content] {
    match dialect {
        Dialect::TensorFlowServing | Dialect::OpenInference => &[("application/json", Some("PlainError"))],
        Dialect::MlFlow | Dialect::SageMaker => {
            &[("application/json", Some("CodedError")), ("text/plain", None)]
        }
        _ => &[("application/json", Some("GoogleError"))],
    }
}

fn contents(types: &[Content]) -> Value {
    let content = |(name, schema): &Content| {
        let value = match schema {
            Some(schema) => json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}}),
            None => json!({}),
        };
        ((*name).to_owned(), value)
    };
    Value::Object(types.iter().map(content).collect())
}

fn query(name: &str) -> Value {
    let schema = match name {
        "pageSize" | "maxResults" | "offset" => json!({"type": "integer", "format": "int64", "minimum": 0}),
        "follow" | "force" => json!({"type": "boolean"}),
        "uploadType" => json!({"enum": ["media", "multipart", "resumable"]}),
        "alt" => json!({"enum": ["json", "media"]}),
        _ => json!({"type": "string"}),
    };
    json!({"name": name, "in": "query", "schema": schema})
}

fn header(name: &str) -> Value {
    let schema = match name {
        "x-bellwether-timeout-ms" => json!({"type": "integer", "format": "int64", "minimum": 0}),
        _ => json!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$"}),
    };
    json!({"name": name, "in": "header", "schema": schema})
}

/// A value that a path may have.
pub(super) fn example(parameter: &str) -> Value {
    match parameter {
        "project" => json!("default"),
        "location" => json!("us-central1"),
        "version" => json!(1),
        "operation" | "customJob" => json!("1"),
        "bucket" => json!("models"),
        "object" => json!("a.bin"),
        "label" => json!("default"),
        "key" => json!("0123456789ab"),
        other => json!(other.to_ascii_lowercase()),
    }
}
