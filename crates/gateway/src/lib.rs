//! The network surface: Vertex AI's REST subset, health and metrics, and gRPC, over the [`platform`] facade.
//!
//! One folder per protocol (`vertex`, `grpc`, `native`); [`router`] puts them on one port, `status` maps the
//! facade's error kinds once. Deliberately not here: any decision about models, data or deployments.

mod access;
mod dialect;
mod grpc;
mod native;
mod observe;
mod origin;
mod request_id;
mod router;
mod server;
mod status;
mod storage;
mod tls;
mod vertex;

#[doc(hidden)]
pub use grpc::fuzz as grpc_fuzz;
pub use router::{GatewayOptions, router};
pub use server::serve;
pub use tls::{Tls, TlsFiles};
