//! `predict`: symbols or feature vectors to an endpoint, probabilities and ranks back. Files are `predict_files`'.

use jiff::civil::Date;
use platform::{
    DatasetUse, Error, Instance, Kind, PredictReply, PredictRequest, Question, is_distribution, score,
};
use serde::Serialize;
use serde_json::Value;

use super::predict_files::predict_files;
use crate::args::predict::PredictArgs;
use crate::client::{Prediction, resource::last_segment};
use crate::context::{Backend, Context};
use crate::output::{Column, Show, table};

/// A larger file of vectors is refused unread.
const VECTOR_BYTES_MAX: u64 = 64 << 20;

/// The answer of an endpoint, the same from a server and from the data directory.
#[derive(Debug, Serialize)]
pub(crate) struct PredictionView {
    pub(crate) endpoint: String,
    pub(crate) deployment: String,
    pub(crate) model: String,
    pub(crate) version: u32,
    pub(crate) as_of: Option<Date>,
    pub(crate) dataset: Option<DatasetUse>,
    pub(crate) warnings: Vec<String>,
    /// In the order of the question.
    pub(crate) predictions: Vec<PredictionRow>,
}

/// One instance's answer.
#[derive(Debug, Serialize)]
pub(crate) struct PredictionRow {
    /// The symbol, if it was asked for by symbol.
    pub(crate) symbol: Option<String>,
    /// Probability of each class.
    pub(crate) probabilities: Vec<f32>,
    /// The expected class.
    pub(crate) score: f64,
    /// 1 for the highest score; equal scores share a rank.
    pub(crate) rank: usize,
}

impl PredictionView {
    /// The view of a server's answer.
    ///
    /// # Errors
    /// [`Kind::Internal`] for an answer that does not say which version gave it.
    pub(crate) fn from_server(
        endpoint: &str,
        instances: &[Instance],
        prediction: Prediction,
    ) -> Result<Self, Error> {
        let Prediction { resource, answered_by } = prediction;
        let version = resource.model_version_id.parse().map_err(|error| {
            Error::internal(format!("the server answered version \"{}\"", resource.model_version_id), error)
        })?;
        let model = last_segment(&resource.model).to_owned();
        let stated = format!("{model}@{version}");
        if let Some(header) = answered_by.filter(|header| *header != stated) {
            let message = format!("the server's reply names {stated}, its header {header}");
            return Err(Error::new(Kind::Internal, message));
        }
        Ok(Self {
            endpoint: endpoint.to_owned(),
            deployment: resource.deployed_model_id,
            model,
            version,
            as_of: resource.metadata.as_of,
            dataset: resource.metadata.dataset,
            warnings: resource.metadata.warnings,
            predictions: rows(instances, resource.predictions),
        })
    }

    fn from_platform(endpoint: &str, instances: &[Instance], reply: PredictReply) -> Result<Self, Error> {
        let predictions = rows(instances, reply.predictions()?);
        Ok(Self {
            endpoint: endpoint.to_owned(),
            deployment: reply.deployment_id,
            model: reply.model,
            version: reply.version,
            as_of: reply.as_of,
            dataset: reply.dataset,
            warnings: reply.warnings,
            predictions,
        })
    }
}

fn rows(instances: &[Instance], predictions: Vec<Vec<f32>>) -> Vec<PredictionRow> {
    let scores: Vec<f64> = predictions.iter().map(|answer| score(answer)).collect();
    let rank = |score: f64| 1 + scores.iter().filter(|other| **other > score).count();
    let row = |((instance, probabilities), score): ((&Instance, Vec<f32>), &f64)| PredictionRow {
        symbol: match instance {
            Instance::Symbol(symbol) => Some(symbol.clone()),
            Instance::Vector(_) => None,
        },
        probabilities,
        score: *score,
        rank: rank(*score),
    };
    instances.iter().zip(predictions).zip(&scores).map(row).collect()
}

impl Show for PredictionView {
    fn text(&self) -> String {
        let mut ranked: Vec<(usize, &PredictionRow)> = self.predictions.iter().enumerate().collect();
        ranked.sort_by_key(|(_, row)| row.rank);
        let classes = self.predictions.iter().all(|row| is_distribution(&row.probabilities));
        let mut columns = vec![Column::Text("instance")];
        if classes {
            columns.extend([Column::Figure("p(top class)"), Column::Figure("p(bottom class)")]);
        }
        columns.extend([Column::Figure(if classes { "score" } else { "forecast" }), Column::Figure("rank")]);
        let probability = |p: Option<&f32>| p.map(|p| format!("{p:.4}")).unwrap_or_default();
        let rows = ranked.into_iter().map(|(index, row)| {
            let mut cells = vec![row.symbol.clone().unwrap_or_else(|| format!("vector {index}"))];
            if classes {
                cells.push(probability(row.probabilities.last()));
                cells.push(probability(row.probabilities.first()));
            }
            cells.push(if classes { format!("{:.4}", row.score) } else { format!("{:.6}", row.score) });
            cells.push(row.rank.to_string());
            cells
        });
        let mut text = table(&columns, rows);
        text += &format!("{}@{} on endpoint {}", self.model, self.version, self.endpoint);
        if let Some(as_of) = self.as_of {
            text += &format!(", decided on the bars up to {as_of}");
        }
        text.push('\n');
        for warning in &self.warnings {
            text += &format!("warning: {}\n", crate::output::printable(warning));
        }
        text
    }
}

/// `predict`
pub(crate) async fn predict(context: &Context, args: PredictArgs) -> Result<(), Error> {
    let PredictArgs { answering, instances, as_of, files } = args;
    if !instances.inputs.is_empty() {
        return predict_files(context, answering, (instances.inputs, as_of), files).await;
    }
    let Some(endpoint) = answering.endpoint else {
        return Err(Error::invalid("--endpoint", "--symbol and --vector are asked of an --endpoint"));
    };
    let instances = match instances.vector {
        Some(argument) => parse_vectors(&vector_text(&argument)?)?,
        None => instances.symbols.into_iter().map(Instance::Symbol).collect(),
    };
    let view = match context.backend().await? {
        Backend::Server(client) => {
            let prediction = client.predict(&endpoint, &instances, as_of).await?;
            PredictionView::from_server(&endpoint, &instances, prediction)?
        }
        Backend::Local(platform) => {
            // Unknown endpoints are told before models are loaded.
            platform.get_endpoint(context.project(), &endpoint).await?;
            platform.restore_deployments().await?;
            let request = PredictRequest {
                project: context.project().to_owned(),
                endpoint: endpoint.clone(),
                question: Question::Rows { instances: instances.clone(), as_of },
            };
            PredictionView::from_platform(&endpoint, &instances, platform.predict(request).await?)?
        }
    };
    context.output.show(&view)
}

/// The JSON itself, or the content of `@FILE`.
fn vector_text(argument: &str) -> Result<String, Error> {
    let Some(file) = argument.strip_prefix('@') else {
        return Ok(argument.to_owned());
    };
    let unreadable = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::InvalidArgument,
        };
        Error::new(kind, format!("cannot read the vectors in {file}: {error}"))
    };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > VECTOR_BYTES_MAX {
        let message =
            format!("the vectors in {file} take {bytes} bytes; at most {VECTOR_BYTES_MAX} are read");
        return Err(Error::new(Kind::ResourceExhausted, message));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

/// `[1, null, ...]` or a list of such lists.
fn parse_vectors(text: &str) -> Result<Vec<Instance>, Error> {
    let refused = |why: String| Error::invalid("--vector", format!("--vector {why}"));
    let value: Value =
        serde_json::from_str(text).map_err(|error| refused(format!("is not JSON: {error}")))?;
    let Value::Array(items) = value else {
        return Err(refused("must be a list of numbers, or a list of such lists".to_owned()));
    };
    if items.is_empty() {
        return Err(refused("is empty; give at least one number".to_owned()));
    }
    let nested = items.iter().all(Value::is_array);
    let vectors = if nested { items } else { vec![Value::Array(items)] };
    let vector = |(index, vector): (usize, &Value)| {
        let numbers = vector.as_array().into_iter().flatten().enumerate();
        let numbers = numbers.map(|(at, value)| {
            number(value).ok_or_else(|| {
                refused(format!(
                    "instance {index} has {value} at {at}, which is no number that fits float32, nor null"
                ))
            })
        });
        Ok(Instance::Vector(numbers.collect::<Result<_, Error>>()?))
    };
    vectors.iter().enumerate().map(vector).collect()
}

/// A float32; null and "NaN" are missing values.
fn number(value: &Value) -> Option<f32> {
    match value {
        Value::Null => Some(f32::NAN),
        Value::String(text) if text == "NaN" => Some(f32::NAN),
        other => other.as_f64().map(|x| x as f32).filter(|x| x.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vector_or_several() {
        assert_eq!(parse_vectors("[1, -2.5]").unwrap(), [Instance::Vector(vec![1.0, -2.5])]);
        let two = parse_vectors("[[1], [2]]").unwrap();
        assert_eq!(two, [Instance::Vector(vec![1.0]), Instance::Vector(vec![2.0])]);
        let Instance::Vector(missing) = &parse_vectors("[null, \"NaN\"]").unwrap()[0] else { panic!() };
        assert!(missing.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn what_is_no_vector_is_told_where() {
        let cases = [
            ("{}", "list of numbers"),
            ("[]", "empty"),
            ("[1,", "not JSON"),
            ("[[1], [2, 1e39]]", "instance 1 has 1e+39 at 1"),
            ("[1, [2]]", "instance 0 has [2] at 1"),
            ("[true]", "instance 0 has true at 0"),
        ];
        for (text, part) in cases {
            let error = parse_vectors(text).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_highest_score_ranks_first_and_equals_share() {
        let symbols = ["A", "B", "C"].map(|s| Instance::Symbol(s.to_owned()));
        let rows = rows(&symbols, vec![vec![0.5, 0.5], vec![0.1, 0.9], vec![0.5, 0.5]]);
        let ranks: Vec<usize> = rows.iter().map(|row| row.rank).collect();
        assert_eq!(ranks, [2, 1, 2]);
        assert!((rows[1].score - 0.9).abs() < 1e-6);
    }
}
