//! What goes wrong, as OpenAI's clients expect to be told.
//!
//! `{"error": {"message", "type", "param", "code"}}` with the status that makes the SDKs raise the
//! right exception. A caller's mistake is never a 500, which they would send again.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::choice;
use crate::pipeline;
use crate::service::{Busy, Failure};

/// The body of every error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What went wrong.
    pub(super) error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorDetail {
    /// One sentence for people, which says what to do.
    pub(super) message: String,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The field of the request that is wrong, if one is.
    pub(super) param: Option<String>,
    /// A word for programs.
    pub(super) code: Option<&'static str>,
}

/// An answer that is an error.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) detail: ErrorDetail,
    /// Whether the same request may succeed in a moment.
    retry: bool,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let detail = ErrorDetail { message: message.into(), kind, param: None, code: Some(code) };
        Self { status, detail, retry: false }
    }

    /// A field of the request is wrong.
    pub(super) fn param(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, code, message);
        error.detail.param = Some(param.to_owned());
        error
    }

    /// The caller may try again.
    pub(super) fn retry(mut self) -> Self {
        self.retry = true;
        self
    }

    pub(super) fn body(&self) -> ErrorBody {
        ErrorBody { error: self.detail.clone() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if self.retry {
            // Short on purpose: some clients sleep however long they are told to.
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            headers
                .insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from_static("500"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Full => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", busy.to_string()).retry()
            }
            Busy::Draining => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", busy.to_string())
                    .retry()
            }
        }
    }
}

impl From<choice::Error> for ApiError {
    fn from(error: choice::Error) -> Self {
        match error {
            choice::Error::Usage(message) => {
                // What helps on the command line does not help here.
                let here = "GET /v1/audio/voices lists them";
                let message = message.replace(choice::HOW_TO_LIST_VOICES, here);
                Self::param("voice", "voice_not_found", message)
            }
            choice::Error::Missing(message) => Self::param("voice", "voice_not_installed", message),
            choice::Error::Engine(error) => {
                tracing::error!(%error, "a voice cannot be opened");
                let message = "the voice's file cannot be read; see the server's log";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "voice_broken", message)
            }
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        use pipeline::Error;
        let message = failure.to_string();
        let server = |code| {
            tracing::error!(%message, code, "a request failed");
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message.clone())
        };
        match failure {
            Failure::Overloaded => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry()
            }
            Failure::Stalled => Self::new(StatusCode::REQUEST_TIMEOUT, "reader_stalled", message),
            Failure::Lost => server("internal_error"),
            Failure::Speech(error) => match error {
                Error::Empty => Self::param("input", "empty_input", message),
                Error::Unspeakable => Self::param("input", "unspeakable_input", message),
                Error::UnknownSymbols { .. } => Self::param("input", "unknown_phonemes", message),
                Error::Speed(_) => Self::param("speed", "invalid_value", message),
                Error::Feed(_) => Self::param("input", "invalid_input", message),
                Error::Cancelled => {
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, "cancelled", message).retry()
                }
                Error::Panicked(_) => server("internal_error"),
                _ => server("synthesis_failed"),
            },
        }
    }
}
