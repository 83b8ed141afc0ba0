//! JSON requests, read so that a mistake names the field that it is in.

use std::sync::Arc;
use std::time::Duration;

use axum::body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::App;
use super::error::ApiError;

/// The body of a request, from JSON. Unknown fields are ignored.
pub(super) struct Body<T>(pub(super) T);

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many bytes too many are read and forgotten.
const MAX_FORGOTTEN: usize = 8 << 20;

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            // Also keeps other sites' forms, which cannot say this, from making a browser ask.
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "send JSON with the header Content-Type: application/json",
            ));
        }
        let reading = read(request.into_body(), app.max_bytes());
        let bytes = tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| {
            let message = "the request took too long to arrive";
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_request", message))
        });
        parse(&bytes?).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| {
        let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        media == "application/json"
            || (media.starts_with("application/") && media.ends_with("+json"))
    })
}

/// The whole body. One that is too large is read on for a while, and forgotten: a client that is
/// still sending would not see the answer.
async fn read(body: body::Body, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut parts = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "unreadable_body", error.to_string())
        })?;
        length += part.len();
        if length <= most {
            bytes.extend_from_slice(&part);
        } else if length > most.saturating_add(MAX_FORGOTTEN) {
            break;
        }
    }
    if length > most {
        let message = format!("the request has more than {most} bytes; send the text in parts");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
    }
    Ok(bytes)
}

/// Reads JSON; what is wrong is told with its field.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() && path != "." {
            ApiError::param(&path, "invalid_value", format!("{path}: {inner}"))
        } else if inner.is_data() {
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_value", inner.to_string())
        } else {
            let message = format!("the request is not valid JSON: {inner}");
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", message)
        }
    })?;
    json.end().map_err(|error| {
        let message = format!("the request is not valid JSON: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "read by serde")]
    struct Wanted {
        speed: Option<f32>,
        nested: Option<Vec<Option<u8>>>,
    }

    #[test]
    fn the_wrong_field_is_named() {
        let error = parse::<Wanted>(br#"{"speed": "fast"}"#).unwrap_err();
        assert_eq!(error.detail.param.as_deref(), Some("speed"));
        let error = parse::<Wanted>(br#"{"nested": [1, 2, 300]}"#).unwrap_err();
        assert_eq!(error.detail.param.as_deref(), Some("nested[2]"));
        for broken in ["", "{", "{} x", "[1,", "\u{0}"] {
            let error = parse::<Wanted>(broken.as_bytes()).unwrap_err();
            assert_eq!(error.detail.code, Some("invalid_json"), "{broken:?}");
        }
        assert!(parse::<Wanted>(br#"{"other": 1, "speed": null}"#).is_ok());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(parse::<Wanted>(format!("{{\"nested\": {deep}").as_bytes()).is_err());
    }
}
