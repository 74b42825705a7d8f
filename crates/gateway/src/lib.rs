//! The network surface: Vertex AI's REST subset, the Open Inference Protocol and TensorFlow Serving over HTTP and gRPC, MLflow,
//! health, metrics and keys, over the [`platform`] facade.
//!
//! One folder per protocol (`vertex`, `open_inference`, `grpc`, `native`, ...); [`Service`] puts them on one port, `status` maps the
//! facade's error kinds once. Deliberately not here: any decision about models, data or deployments.

mod access;
mod answered;
mod asked;
mod body;
mod connections;
mod dialect;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod grpc;
mod json;
mod mlflow;
mod named;
mod native;
mod observe;
mod open_inference;
mod openapi;
mod origin;
mod pace;
mod question;
mod refusal;
mod request_id;
mod router;
mod server;
#[doc(hidden)]
pub mod speed;
mod status;
mod stopping;
mod storage;
mod tensorflow_serving;
mod tls;
mod vertex;

#[doc(hidden)]
pub use grpc::fuzz as grpc_fuzz;
pub use observe::{About, with_request};
pub use router::{GatewayOptions, Service};
pub use server::serve;
pub use stopping::Stopping;
pub use tls::{Tls, TlsFiles, crypto_provider};
