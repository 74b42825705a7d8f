//! Questions to models, told by their path: what a server spends its days on.
//!
//! They neither wait for the disk nor change anything, so a small one is answered on the thread of its connection, and none
//! takes the way through the router.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use crate::router::Gateway;
use crate::{mlflow, open_inference, tensorflow_serving, vertex};

/// Which protocol a question is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuestionPath {
    /// `/v1/projects/.../endpoints/E:predict`
    Vertex,
    /// `/v2/models/M/infer`
    OpenInference,
    /// `/v1/models/M:predict`
    TensorFlowServing,
    /// `/invocations`
    MlFlow,
    /// `/endpoints/E/invocations`
    SageMaker,
}

impl QuestionPath {
    /// What a path asks, if it is a question. It says the same as the routes of the router do.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (rest, last) = path.rsplit_once('/')?;
        match (last.rsplit_once(':').map_or(last, |(_, verb)| verb), rest) {
            ("predict" | "rawPredict", rest)
                if rest.starts_with("/v1/projects/") || rest.starts_with("/ui/projects/") =>
            {
                Some(Self::Vertex)
            }
            ("predict" | "classify" | "regress", rest) if rest.starts_with("/v1/models") => {
                Some(Self::TensorFlowServing)
            }
            ("infer", rest) if rest.starts_with("/v2/models/") => Some(Self::OpenInference),
            ("invocations", "") => Some(Self::MlFlow),
            ("invocations", rest) => {
                let name = rest.strip_prefix("/endpoints/")?;
                (!name.is_empty() && !name.contains('/')).then_some(Self::SageMaker)
            }
            _ => None,
        }
    }

    /// Hands a question to its protocol.
    pub(crate) async fn answer(self, gateway: &Arc<Gateway>, request: Request) -> Response {
        let gateway = State(Arc::clone(gateway));
        match self {
            Self::Vertex => vertex::answer(gateway, request).await,
            Self::OpenInference => open_inference::answer(gateway, request).await,
            Self::TensorFlowServing => tensorflow_serving::answer(gateway, request).await,
            Self::MlFlow => mlflow::invocations(gateway, request).await,
            Self::SageMaker => mlflow::endpoint_invocations(gateway, request).await,
        }
    }
}

/// Whether a path is that of a gRPC method that asks a model.
pub(crate) fn is_grpc_question(path: &str) -> bool {
    match path.rsplit_once('/') {
        Some(("/inference.GRPCInferenceService", method)) => method == "ModelInfer",
        Some(("/tensorflow.serving.PredictionService", method)) => {
            matches!(method, "Predict" | "Classify" | "Regress" | "MultiInference")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_from_all_else() {
        for (path, asked) in [
            ("/v1/projects/p/locations/l/endpoints/e:predict", Some(QuestionPath::Vertex)),
            ("/ui/projects/p/locations/l/endpoints/e:rawPredict", Some(QuestionPath::Vertex)),
            ("/v1/projects/p/locations/l/endpoints/e:deployModel", None),
            ("/v1/models/m:predict", Some(QuestionPath::TensorFlowServing)),
            ("/v1/models/m/versions/3:classify", Some(QuestionPath::TensorFlowServing)),
            ("/v1/models/m/metadata", None),
            ("/v2/models/m/infer", Some(QuestionPath::OpenInference)),
            ("/v2/models/m/versions/3/infer", Some(QuestionPath::OpenInference)),
            ("/v2/repository/models/infer", None),
            ("/invocations", Some(QuestionPath::MlFlow)),
            ("/endpoints/e/invocations", Some(QuestionPath::SageMaker)),
            ("/endpoints//invocations", None),
            ("/endpoints/a/b/invocations", None),
            ("/storage/v1/b/x/o/predict", None),
            ("invocations", None),
            ("", None),
        ] {
            assert_eq!(QuestionPath::of(path), asked, "{path}");
        }
        assert!(is_grpc_question("/inference.GRPCInferenceService/ModelInfer"));
        assert!(!is_grpc_question("/inference.GRPCInferenceService/RepositoryModelLoad"));
        assert!(!is_grpc_question("/x/Predict"));
    }
}
