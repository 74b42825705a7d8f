//! The body of a reply to `infer`: JSON, with tensors in it or as raw bytes behind it.

use platform::{Error, PredictReply, Tensor, TensorData};

use super::classification::largest;
use super::datatype;
use super::request::{InferRequest, WantedOutput};

/// A body, and where its JSON ends if raw bytes follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReplyBody {
    /// JSON and raw tensors.
    pub(crate) bytes: Vec<u8>,
    /// The length of the JSON, if there are raw tensors.
    pub(crate) json_bytes: Option<usize>,
}

/// Writes what a model answered to a request that calls it `model`.
///
/// JSON has no NaN and no infinity: both are `null` in it. Raw tensors carry every number as it is.
///
/// # Errors
/// Those of [`largest`].
pub(crate) fn write(model: &str, request: &InferRequest, reply: &PredictReply) -> Result<ReplyBody, Error> {
    let all: Vec<WantedOutput>;
    let wanted = if request.outputs.is_empty() {
        let named =
            |(name, _): &(String, Tensor)| WantedOutput { name: name.clone(), ..WantedOutput::default() };
        all = reply.outputs.iter().map(named).collect();
        all.as_slice()
    } else {
        request.outputs.as_slice()
    };
    let mut body = Body { json: b"{\"model_name\":".to_vec(), raw: Vec::new(), is_raw: false };
    body.text(model)?;
    body.json.extend_from_slice(format!(",\"model_version\":\"{}\"", reply.version).as_bytes());
    if let Some(id) = &request.id {
        body.json.extend_from_slice(b",\"id\":");
        body.text(id)?;
    }
    body.json.extend_from_slice(b",\"outputs\":[");
    for (at, output) in wanted.iter().enumerate() {
        let Some((_, tensor)) = reply.outputs.iter().find(|(name, _)| *name == output.name) else { continue };
        if at > 0 {
            body.json.push(b',');
        }
        body.output(output, tensor, output.binary.unwrap_or(request.binary))?;
    }
    body.json.extend_from_slice(b"]}");
    let json_bytes = body.is_raw.then_some(body.json.len());
    let mut bytes = body.json;
    bytes.append(&mut body.raw);
    Ok(ReplyBody { bytes, json_bytes })
}

struct Body {
    json: Vec<u8>,
    raw: Vec<u8>,
    is_raw: bool,
}

impl Body {
    fn output(&mut self, output: &WantedOutput, tensor: &Tensor, raw: bool) -> Result<(), Error> {
        self.json.extend_from_slice(b"{\"name\":");
        self.text(&output.name)?;
        let before = self.raw.len();
        if output.classes > 0 {
            let classes = largest(&output.name, tensor, output.classes)?;
            self.head("BYTES", &classes.shape);
            if raw {
                classes.append_bytes(&mut self.raw);
            } else {
                serde_json::to_writer(&mut self.json, &classes.texts).map_err(unwritten)?;
            }
        } else {
            self.head(datatype::name(tensor.data_type()), tensor.shape());
            if raw {
                datatype::append_bytes(&mut self.raw, tensor.data());
            } else {
                list(&mut self.json, tensor.data()).map_err(unwritten)?;
            }
        }
        if raw {
            self.is_raw = true;
            let size = self.raw.len() - before;
            // In place of the data that `head` announced.
            self.json.truncate(self.json.len() - DATA.len());
            self.json
                .extend_from_slice(format!(",\"parameters\":{{\"binary_data_size\":{size}}}").as_bytes());
        }
        self.json.push(b'}');
        Ok(())
    }

    fn head(&mut self, dtype: &str, shape: &[usize]) {
        let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
        let head = format!(",\"datatype\":\"{dtype}\",\"shape\":[{}]{DATA}", sizes.join(","));
        self.json.extend_from_slice(head.as_bytes());
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        serde_json::to_writer(&mut self.json, text).map_err(unwritten)
    }
}

fn unwritten(error: serde_json::Error) -> Error {
    Error::internal("cannot write the reply", error)
}

const DATA: &str = ",\"data\":";

fn list(json: &mut Vec<u8>, data: &TensorData) -> serde_json::Result<()> {
    match data {
        TensorData::Float32(values) => serde_json::to_writer(json, values),
        TensorData::Float64(values) => serde_json::to_writer(json, values),
        TensorData::Int32(values) => serde_json::to_writer(json, values),
        TensorData::Int64(values) => serde_json::to_writer(json, values),
        TensorData::Bool(values) => serde_json::to_writer(json, values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> PredictReply {
        let p = Tensor::float32(vec![1, 3], vec![0.5, f32::NAN, 0.25]).unwrap();
        let q = Tensor::new(vec![1], TensorData::Int64(vec![-7])).unwrap();
        PredictReply {
            outputs: vec![("p".to_owned(), p), ("q".to_owned(), q)],
            deployment_id: "1".to_owned(),
            model: "m".to_owned(),
            version: 3,
            model_display_name: "M".to_owned(),
            warnings: Vec::new(),
            as_of: None,
            dataset: None,
            queue_us: 1,
            compute_us: 2,
        }
    }

    fn wanted(name: &str, binary: Option<bool>, classes: usize) -> WantedOutput {
        WantedOutput { name: name.to_owned(), binary, classes }
    }

    #[test]
    fn json_holds_all_outputs_unless_some_are_named() {
        let mut request = InferRequest { id: Some("a\"b".to_owned()), ..InferRequest::default() };
        let body = write("p.m", &request, &reply()).unwrap();
        assert_eq!(
            String::from_utf8(body.bytes).unwrap(),
            r#"{"model_name":"p.m","model_version":"3","id":"a\"b","outputs":[{"name":"p","datatype":"FP32","shape":[1,3],"data":[0.5,null,0.25]},{"name":"q","datatype":"INT64","shape":[1],"data":[-7]}]}"#
        );
        assert_eq!(body.json_bytes, None);
        request.outputs = vec![wanted("q", None, 0)];
        let text = String::from_utf8(write("m", &request, &reply()).unwrap().bytes).unwrap();
        assert!(
            text.ends_with(r#""outputs":[{"name":"q","datatype":"INT64","shape":[1],"data":[-7]}]}"#),
            "{text}"
        );
    }

    #[test]
    fn raw_bytes_follow_the_json() {
        let request = InferRequest {
            binary: true,
            outputs: vec![wanted("q", None, 0), wanted("p", Some(false), 2), wanted("p", Some(true), 1)],
            ..InferRequest::default()
        };
        let body = write("m", &request, &reply()).unwrap();
        let (json, raw) = body.bytes.split_at(body.json_bytes.unwrap());
        let json: serde_json::Value = serde_json::from_slice(json).unwrap();
        assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 8);
        assert!(json["outputs"][0]["data"].is_null());
        assert_eq!(json["outputs"][1]["data"], serde_json::json!(["0.500000:0", "0.250000:2"]));
        assert_eq!(json["outputs"][1]["datatype"], "BYTES");
        assert_eq!(json["outputs"][2]["shape"], serde_json::json!([1, 1]));
        assert_eq!(raw, [&(-7i64).to_le_bytes()[..], &10u32.to_le_bytes(), b"0.500000:0"].concat());
    }
}
