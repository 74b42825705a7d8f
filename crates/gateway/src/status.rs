//! The one place where a kind of failure becomes an HTTP status and a gRPC status name.

use axum::http::StatusCode;
use platform::Kind;

/// The HTTP status and the gRPC status name of a kind, as Google's APIs pair them.
pub(crate) fn of(kind: Kind) -> (StatusCode, &'static str) {
    let status = match kind {
        Kind::InvalidArgument | Kind::FailedPrecondition | Kind::OutOfRange => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::AlreadyExists | Kind::Aborted => StatusCode::CONFLICT,
        Kind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::Cancelled => client_closed_request(),
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    };
    (status, kind.word())
}

/// The gRPC status code of a kind.
pub(crate) fn grpc(kind: Kind) -> u16 {
    match kind {
        Kind::Cancelled => 1,
        Kind::InvalidArgument => 3,
        Kind::DeadlineExceeded => 4,
        Kind::NotFound => 5,
        Kind::AlreadyExists => 6,
        Kind::PermissionDenied => 7,
        Kind::ResourceExhausted => 8,
        Kind::FailedPrecondition => 9,
        Kind::Aborted => 10,
        Kind::OutOfRange => 11,
        Kind::Unimplemented => 12,
        Kind::Internal => 13,
        Kind::Unavailable => 14,
        Kind::Unauthenticated => 16,
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
            (Kind::InvalidArgument, 400, "INVALID_ARGUMENT"),
            (Kind::FailedPrecondition, 400, "FAILED_PRECONDITION"),
            (Kind::OutOfRange, 400, "OUT_OF_RANGE"),
            (Kind::Aborted, 409, "ABORTED"),
            (Kind::Unauthenticated, 401, "UNAUTHENTICATED"),
            (Kind::PermissionDenied, 403, "PERMISSION_DENIED"),
            (Kind::NotFound, 404, "NOT_FOUND"),
            (Kind::AlreadyExists, 409, "ALREADY_EXISTS"),
            (Kind::ResourceExhausted, 429, "RESOURCE_EXHAUSTED"),
            (Kind::Cancelled, 499, "CANCELLED"),
            (Kind::Internal, 500, "INTERNAL"),
            (Kind::Unimplemented, 501, "UNIMPLEMENTED"),
            (Kind::Unavailable, 503, "UNAVAILABLE"),
            (Kind::DeadlineExceeded, 504, "DEADLINE_EXCEEDED"),
        ];
        for (kind, code, name) in cases {
            let (status, status_name) = of(kind);
            assert_eq!((status.as_u16(), status_name), (code, name), "{kind:?}");
        }
    }
}
