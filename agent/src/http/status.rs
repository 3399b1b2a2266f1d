//! The HTTP status that fits each code of a failure.

use hyper::StatusCode;

use crate::failure::Code;

impl Code {
    /// The status of an answer that carries a failure with this code (RFC 9110; 507 is of RFC 4918).
    /// 4xx says that the same request will fail again until somebody changes something.
    pub(crate) fn http_status(self) -> StatusCode {
        match self {
            Self::Usage => StatusCode::BAD_REQUEST,
            Self::NotAllowed | Self::WrongPassphrase => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Ambiguous
            | Self::Busy
            | Self::Guard
            | Self::Held
            | Self::Exists
            | Self::ConfirmationNeeded
            | Self::TargetTooSmall
            | Self::Unsuitable
            | Self::Canceled => StatusCode::CONFLICT,
            Self::Gone => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Damaged
            | Self::NewerFormat
            | Self::PermissionDenied
            | Self::InDoubt
            | Self::Interrupted
            | Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoDaemon => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}
