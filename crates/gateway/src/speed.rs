//! What `benches/bodies.rs` measures: the body of a question read, and the body of its answer written, by each protocol. Nobody
//! else calls it.

use platform::{DataType, PredictReply, Signature, Tensor, TensorSpec};

use crate::mlflow::table::Model as Table;
use crate::open_inference::{reply, request};
use crate::tensorflow_serving::{reply as columns, request as rows};
use crate::vertex::instances::PredictBody;
use crate::vertex::predictions::Predictions;

/// A model that takes rows of so many singles.
#[derive(Debug)]
pub struct Model {
    signature: Signature,
    width: usize,
}

impl Model {
    /// Of rows of `width` numbers.
    pub fn of_rows(width: usize) -> Self {
        let rows = |name: &str| TensorSpec {
            name: name.to_owned(),
            dtype: DataType::Float32,
            shape: vec![None, Some(width)],
        };
        Self { signature: Signature { inputs: vec![rows("features")], outputs: vec![rows("p")] }, width }
    }

    /// Reads a body of Vertex AI's `:predict`; whether it is one.
    pub fn read_vertex(&self, body: &[u8]) -> bool {
        PredictBody::parse(body, usize::MAX).is_ok()
    }

    /// Reads a body of TensorFlow Serving's `:predict`; whether it is one.
    pub fn read_tensorflow_serving(&self, body: &[u8]) -> bool {
        rows::PredictRequest::parse(body, &self.signature, usize::MAX).is_ok()
    }

    /// Reads the JSON of the Open Inference Protocol's `infer`; whether it is one.
    pub fn read_open_inference(&self, body: &[u8]) -> bool {
        let model = request::Model { name: "m", signature: &self.signature, max_rows: usize::MAX };
        request::InferRequest::parse(body, &[], model).is_ok()
    }

    /// Reads JSON or CSV of MLflow's `/invocations`; whether it is one of them.
    pub fn read_mlflow(&self, body: &[u8]) -> bool {
        let model = Table {
            signature: &self.signature,
            row_width: Some(self.width),
            features: &[],
            max_rows: usize::MAX,
        };
        match body.first() {
            Some(b'{') => crate::mlflow::json::parse(body, model).is_ok(),
            _ => crate::mlflow::csv::parse(body, model).is_ok(),
        }
    }

    /// The answer that these numbers are.
    ///
    /// # Errors
    /// If they are no rows.
    pub fn answer(&self, numbers: Vec<f32>) -> Result<Answer, platform::Error> {
        let shape = vec![numbers.len() / self.width.max(1), self.width];
        let tensor = Tensor::float32(shape, numbers)
            .map_err(|error| platform::Error::invalid("numbers", error.to_string()))?;
        Ok(Answer(PredictReply {
            outputs: vec![("p".to_owned(), tensor)],
            deployment_id: String::new(),
            model: "m".to_owned(),
            version: 1,
            model_display_name: String::new(),
            warnings: Vec::new(),
            as_of: None,
            dataset: None,
            queue_us: 0,
            compute_us: 0,
        }))
    }
}

/// What a model gave.
#[derive(Debug)]
pub struct Answer(PredictReply);

impl Answer {
    /// As Vertex AI and MLflow have it; nothing if it cannot be written.
    pub fn as_vertex(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&Predictions(&self.0.outputs)).ok()
    }

    /// As TensorFlow Serving has it.
    pub fn as_tensorflow_serving(&self) -> Option<Vec<u8>> {
        columns::rows(&self.0.outputs).ok()
    }

    /// As the Open Inference Protocol has it.
    pub fn as_open_inference(&self) -> Option<Vec<u8>> {
        reply::write("m", &request::InferRequest::default(), &self.0).ok().map(|body| body.bytes)
    }
}
