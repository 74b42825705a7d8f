//! Rows by symbol answered by a server, which has the data: Vertex AI's `POST endpoints/E:predict`, as many instruments of one day at a
//! time as a stretch of rows has. Numbers that JSON does not have, infinities, come as missing ones.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::civil::Date;
use platform::batch_predict::{BatchModel, SymbolAnswers};
use platform::{DataType, DatasetUse, Error, Kind, SymbolRow, Tensor, TensorData, TensorSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use super::infer::patiently;
use super::resource::{ModelResource, PredictionMetadata, last_segment};
use super::{Client, segment};

/// The endpoint that answers rows by symbol with one version.
#[derive(Debug)]
pub(super) struct RemoteSymbols {
    endpoint: String,
    /// The data set, once it is known: a file is answered from one.
    data: OnceLock<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    predictions: Vec<Value>,
    model: String,
    model_version_id: String,
    #[serde(default)]
    metadata: PredictionMetadata,
}

/// Rows of one day: their places, and their instruments.
type Asked<'a> = [(usize, &'a str)];

/// Whether a version computes the features of a symbol, by what the server says of it.
pub(super) fn computes_features(metadata: &Value) -> bool {
    metadata["origin"].is_null() && metadata["dataset"]["name"].is_string()
}

impl RemoteSymbols {
    /// The endpoint whose traffic goes to a version alone; none if there is none.
    pub(super) async fn of(client: &Client, version: &ModelResource) -> Result<Option<Self>, Error> {
        if !computes_features(&version.metadata) {
            return Ok(None);
        }
        let mut ids: Vec<&str> = version
            .deployed_models
            .iter()
            .filter_map(|one| one["endpoint"].as_str())
            .map(last_segment)
            .collect();
        ids.dedup();
        for id in ids {
            let endpoint = client.get_endpoint(id).await?;
            let share = |id: &str| endpoint.traffic_split.get(id).copied().unwrap_or_default();
            let mut serving =
                endpoint.deployed_models.iter().filter(|deployed| share(&deployed.id) > 0).peekable();
            let is_it = |deployed: &super::resource::DeployedModelResource| {
                last_segment(&deployed.model) == last_segment(&version.name)
                    && deployed.model_version_id == version.version_id
            };
            if serving.peek().is_some() && serving.all(is_it) {
                let data = OnceLock::new();
                if let Some(newest) = newest(client, &version.metadata).await {
                    let _ = data.set(newest);
                }
                return Ok(Some(Self { endpoint: id.to_owned(), data }));
            }
        }
        Ok(None)
    }

    /// The data set that is answered from, `NAME@SNAPSHOT`, if it is known yet.
    pub(super) fn data(&self) -> Option<String> {
        self.data.get().cloned()
    }

    /// # Errors
    /// Whatever keeps the server from answering, or another version, or data that has changed since the first answer.
    pub(super) fn answer(
        &self,
        client: &Client,
        model: &BatchModel,
        rows: &[SymbolRow],
    ) -> Result<SymbolAnswers, Error> {
        let mut days: BTreeMap<Option<Date>, Vec<(usize, &str)>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            days.entry(row.as_of).or_default().push((at, &row.symbol));
        }
        let asking = Asking { symbols: self, client, model };
        let (mut answered, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for (as_of, asked) in &days {
            asking.ask(asked, *as_of, (&mut answered, &mut refused))?;
        }
        let predictions: Vec<Value> = answered.into_values().collect();
        let several = model.signature.outputs.len() > 1;
        let output = |spec: &TensorSpec| {
            let of_row = |prediction: &Value| {
                if several { prediction[&spec.name].clone() } else { prediction.clone() }
            };
            tensor(spec, &predictions.iter().map(of_row).collect::<Vec<_>>())
        };
        let outputs = match predictions.is_empty() {
            true => Vec::new(),
            false => model.signature.outputs.iter().map(output).collect::<Result<_, _>>()?,
        };
        Ok(SymbolAnswers { outputs, refused })
    }

    /// Refuses an answer from other data than those before.
    fn check_data(&self, used: Option<&DatasetUse>) -> Result<(), Error> {
        let Some(used) = used.map(|used| format!("{}@{}", used.name, used.snapshot)) else { return Ok(()) };
        let first = self.data.get_or_init(|| used.clone());
        if *first == used {
            return Ok(());
        }
        let message = format!(
            "the server's data has become {used} meanwhile, and the file was begun with {first}; answer it anew"
        );
        Err(Error::new(Kind::FailedPrecondition, message))
    }
}

/// The newest snapshot of the data set a version computes features from, if the caller may see it.
async fn newest(client: &Client, metadata: &Value) -> Option<String> {
    let name = metadata["dataset"]["name"].as_str()?;
    let dataset: Value = client.get(&format!("datasets/{}", segment(name))).await.ok()?;
    Some(format!("{name}@{}", dataset["metadata"]["snapshot"].as_u64()?))
}

/// What asks for one stretch of rows.
struct Asking<'a> {
    symbols: &'a RemoteSymbols,
    client: &'a Client,
    model: &'a BatchModel,
}

impl Asking<'_> {
    /// Asks for rows of one day. Where the server refuses them, it is asked for halves of them, down to the rows that it
    /// refuses.
    fn ask(
        &self,
        asked: &Asked<'_>,
        as_of: Option<Date>,
        (answered, refused): (&mut BTreeMap<usize, Value>, &mut BTreeMap<usize, String>),
    ) -> Result<(), Error> {
        match (patiently(|| self.once(asked, as_of)), asked) {
            (Ok(reply), _) => {
                let predictions = self.checked(reply, asked.len())?;
                answered.extend(asked.iter().map(|(at, _)| *at).zip(predictions));
                Ok(())
            }
            (Err(error), [(at, _)]) if is_of_rows(error.kind()) => {
                refused.insert(*at, error.to_string());
                Ok(())
            }
            (Err(error), several) if is_of_rows(error.kind()) && several.len() > 1 => {
                let (first, second) = several.split_at(several.len() / 2);
                self.ask(first, as_of, (answered, refused))?;
                self.ask(second, as_of, (answered, refused))
            }
            (Err(error), _) => Err(error),
        }
    }

    fn once(&self, asked: &Asked<'_>, as_of: Option<Date>) -> Result<Reply, Error> {
        let instances: Vec<Value> = asked.iter().map(|(_, symbol)| json!({"symbol": symbol})).collect();
        let mut body = json!({"instances": instances});
        if let Some(as_of) = as_of {
            body["parameters"] = json!({"as_of": as_of});
        }
        let path = self.client.path(&format!("endpoints/{}:predict", segment(&self.symbols.endpoint)));
        Ok(self.client.transport.post_blocking(&path, &body)?.body)
    }

    /// The predictions of a reply, if they are those of the version and the data that a file is answered with.
    fn checked(&self, reply: Reply, rows: usize) -> Result<Vec<Value>, Error> {
        let answered = format!("{}@{}", last_segment(&reply.model), reply.model_version_id);
        let wanted = format!("{}@{}", self.model.model, self.model.version);
        if answered != wanted {
            let message = format!(
                "{wanted} was asked and {answered} has answered: the traffic of endpoint \"{}\" has moved; answer the file anew",
                self.symbols.endpoint
            );
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        if reply.predictions.len() != rows {
            let message = format!("{rows} instances were asked and {} answered", reply.predictions.len());
            return Err(Error::new(Kind::Internal, message));
        }
        self.symbols.check_data(reply.metadata.dataset.as_ref())?;
        Ok(reply.predictions)
    }
}

/// Whether a refusal may be of a row.
fn is_of_rows(kind: Kind) -> bool {
    matches!(kind, Kind::InvalidArgument | Kind::NotFound | Kind::OutOfRange | Kind::FailedPrecondition)
}

/// An output of rows as nested lists.
fn tensor(spec: &TensorSpec, rows: &[Value]) -> Result<Tensor, Error> {
    let strange =
        || Error::new(Kind::Internal, format!("the server's output \"{}\" cannot be read", spec.name));
    let mut leaves = Vec::new();
    rows.iter().for_each(|row| flatten(row, &mut leaves));
    let number = |leaf: &&Value| if leaf.is_null() { Some(f64::NAN) } else { leaf.as_f64() };
    let integer = |leaf: &&Value| leaf.as_i64();
    let data = match spec.dtype {
        DataType::Float32 => {
            let read: Option<Vec<f32>> = leaves.iter().map(|leaf| number(leaf).map(|x| x as f32)).collect();
            read.map(TensorData::Float32)
        }
        DataType::Float64 => leaves.iter().map(number).collect::<Option<_>>().map(TensorData::Float64),
        DataType::Int32 => {
            let read = leaves.iter().map(|leaf| i32::try_from(integer(leaf)?).ok());
            read.collect::<Option<_>>().map(TensorData::Int32)
        }
        DataType::Int64 => leaves.iter().map(integer).collect::<Option<_>>().map(TensorData::Int64),
        DataType::Bool => {
            leaves.iter().map(|leaf| leaf.as_bool()).collect::<Option<_>>().map(TensorData::Bool)
        }
    };
    let axes = spec.shape.iter().skip(1).map(|axis| axis.unwrap_or(1));
    let shape = std::iter::once(rows.len()).chain(axes).collect();
    Tensor::new(shape, data.ok_or_else(strange)?).map_err(|_| strange())
}

fn flatten<'a>(value: &'a Value, leaves: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, leaves)),
        leaf => leaves.push(leaf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dtype: DataType, inner: &[usize]) -> TensorSpec {
        let shape = std::iter::once(None).chain(inner.iter().map(|axis| Some(*axis))).collect();
        TensorSpec { name: "y".to_owned(), dtype, shape }
    }

    #[test]
    fn nested_lists_become_tensors() {
        let rows = [json!([0.1, null]), json!([1e-45, -2])];
        let read = tensor(&spec(DataType::Float32, &[2]), &rows).unwrap();
        let values = read.as_float32().unwrap();
        assert_eq!((values[0], values[2], values[3]), (0.1, f32::from_bits(1), -2.0));
        assert!(values[1].is_nan() && read.shape() == [2, 2]);
        let read = tensor(&spec(DataType::Int64, &[]), &[json!(3), json!(-4)]).unwrap();
        assert_eq!((read.data(), read.shape()), (&TensorData::Int64(vec![3, -4]), &[2][..]));
        for (spec, row) in [
            (spec(DataType::Float32, &[2]), json!([0.1])),
            (spec(DataType::Float32, &[1]), json!(["x"])),
            (spec(DataType::Int32, &[]), json!(0.5)),
            (spec(DataType::Bool, &[]), json!(null)),
        ] {
            let refused = tensor(&spec, std::slice::from_ref(&row)).unwrap_err();
            assert_eq!(refused.to_string(), "the server's output \"y\" cannot be read", "{row}");
        }
    }
}
