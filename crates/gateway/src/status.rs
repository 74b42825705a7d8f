//! The one place where a kind of failure becomes an HTTP status, a gRPC status name and a gRPC code.

use axum::http::StatusCode;
use platform::Kind;
use tonic::Code;

/// The HTTP status and the gRPC status name of a kind, as Google's APIs pair them.
pub(crate) fn of(kind: Kind) -> (StatusCode, &'static str) {
    match kind {
        Kind::InvalidArgument => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
        Kind::FailedPrecondition => (StatusCode::BAD_REQUEST, "FAILED_PRECONDITION"),
        Kind::OutOfRange => (StatusCode::BAD_REQUEST, "OUT_OF_RANGE"),
        Kind::PermissionDenied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        Kind::AlreadyExists => (StatusCode::CONFLICT, "ALREADY_EXISTS"),
        Kind::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
        Kind::Cancelled => (client_closed_request(), "CANCELLED"),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        Kind::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "UNIMPLEMENTED"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        Kind::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED"),
    }
}

/// The gRPC code of a kind: that of its status name.
pub(crate) fn grpc(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Cancelled => Code::Cancelled,
        Kind::Internal => Code::Internal,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
    }
}

/// 499, which Google's APIs use for a call its caller stopped; it has no name in HTTP.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).expect("499 is a three-digit status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_map_as_googles_apis_do() {
        let cases = [
            (Kind::InvalidArgument, 400, "INVALID_ARGUMENT", 3),
            (Kind::FailedPrecondition, 400, "FAILED_PRECONDITION", 9),
            (Kind::OutOfRange, 400, "OUT_OF_RANGE", 11),
            (Kind::PermissionDenied, 403, "PERMISSION_DENIED", 7),
            (Kind::NotFound, 404, "NOT_FOUND", 5),
            (Kind::AlreadyExists, 409, "ALREADY_EXISTS", 6),
            (Kind::ResourceExhausted, 429, "RESOURCE_EXHAUSTED", 8),
            (Kind::Cancelled, 499, "CANCELLED", 1),
            (Kind::Internal, 500, "INTERNAL", 13),
            (Kind::Unimplemented, 501, "UNIMPLEMENTED", 12),
            (Kind::Unavailable, 503, "UNAVAILABLE", 14),
            (Kind::DeadlineExceeded, 504, "DEADLINE_EXCEEDED", 4),
        ];
        for (kind, code, name, grpc_code) in cases {
            let (status, status_name) = of(kind);
            assert_eq!((status.as_u16(), status_name), (code, name), "{kind:?}");
            assert_eq!(grpc(kind) as i32, grpc_code, "{kind:?}");
        }
    }
}
