//! Who may ask, and how often: API keys and their rate limits.
//!
//! Keys are kept and compared as digests, every one of them every time, so that the time taken
//! tells nothing. Everything needs a key but the few routes that [`is_open`] names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::App;
use super::error::ApiError;

type KeyDigest = [u8; 32];

/// The keys that may ask. None at all: everyone may.
#[derive(Clone, Default)]
pub struct Keys(Vec<KeyDigest>);

impl Keys {
    /// Keys from lines or commas; blanks and lines that begin with `#` are left out.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let keys = lines.flat_map(|line| line.split(',')).map(str::trim);
        Self(keys.filter(|key| !key.is_empty()).map(digest).collect())
    }

    /// These and the others.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Which key this is.
    fn find(&self, key: &str) -> Option<usize> {
        let given = digest(key);
        let mut found = None;
        for (i, known) in self.0.iter().enumerate() {
            if bool::from(known.ct_eq(&given)) {
                found = Some(i);
            }
        }
        found
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key.as_bytes()).into()
}

/// So many requests a minute for each key, or for all who have none together.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_minute: u32,
    /// For every key: how many requests it may still make, and when that was reckoned.
    left: Mutex<HashMap<Option<usize>, (f64, Instant)>>,
}

impl RateLimit {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, left: Mutex::default() }
    }

    /// Takes one; else how long to wait. A minute's worth may be used at once.
    fn take(&self, key: Option<usize>, now: Instant) -> Result<(), Duration> {
        let most = f64::from(self.per_minute);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = left.entry(key).or_insert((most, now));
        let gained = now.saturating_duration_since(*since).as_secs_f64() * most / 60.0;
        *tokens = (*tokens + gained).min(most);
        *since = now;
        if *tokens >= 1.0 {
            *tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - *tokens) * 60.0 / most))
    }
}

/// What needs no key: probes, the page, and the two lists that Open WebUI reads without one.
fn is_open(method: &Method, path: &str) -> bool {
    if method == Method::OPTIONS {
        return true;
    }
    let reads = method == Method::GET || method == Method::HEAD;
    let exact = [
        "/",
        "/v1",
        "/v1/",
        "/audio/models",
        "/audio/voices",
        "/v1/audio/models",
        "/v1/audio/voices",
        "/health",
        "/openapi.json",
        "/docs",
    ];
    reads && (exact.contains(&path) || path.starts_with("/health/") || path.starts_with("/page/"))
}

/// What costs the processor, and counts against the rate limit.
fn is_work(method: &Method, path: &str) -> bool {
    method == Method::POST || path == super::websocket::PATH
}

/// The key in a request: `Authorization: Bearer`, `x-api-key`, or, where a browser can set no
/// header, the WebSocket subprotocol `koe-key.KEY`.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let text =
        |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let in_subprotocol = || {
        let protocols = text(header::SEC_WEBSOCKET_PROTOCOL.as_str())?;
        protocols.split(',').find_map(|protocol| protocol.trim().strip_prefix("koe-key."))
    };
    bearer.or_else(|| text("x-api-key")).or_else(in_subprotocol)
}

/// Lets a request pass, or answers it.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let mut key = None;
    if !app.options.keys.is_empty() && !is_open(method, path) {
        key = key_of(request.headers()).and_then(|key| app.options.keys.find(key));
        if key.is_none() {
            let message = "a valid API key is needed: send it as Authorization: Bearer KEY";
            return ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
                .into_response();
        }
    }
    if let Some(limit) = &app.rate_limit
        && is_work(method, path)
        && let Err(wait) = limit.take(key, Instant::now())
    {
        let message = format!(
            "more than {} requests a minute; the next may come in {:.1} s",
            limit.per_minute,
            wait.as_secs_f64()
        );
        return ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
            .retry()
            .into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_lines_and_commas() {
        let keys = Keys::parse("# ours\nalpha, beta\n\n gamma \n");
        assert_eq!(keys.len(), 3);
        for key in ["alpha", "beta", "gamma"] {
            assert!(keys.find(key).is_some());
        }
        for key in ["", "alph", "alpha ", "ours", "delta"] {
            assert!(keys.find(key).is_none(), "{key:?}");
        }
    }

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_at_the_pace() {
        let limit = RateLimit::new(60);
        let now = Instant::now();
        for _ in 0..60 {
            limit.take(None, now).unwrap();
        }
        assert!(limit.take(None, now).unwrap_err() <= Duration::from_secs(1));
        assert!(limit.take(Some(0), now).is_ok(), "another key has its own");
        assert!(limit.take(None, now + Duration::from_millis(1001)).is_ok());
        assert!(limit.take(None, now + Duration::from_millis(1002)).is_err());
    }

    #[test]
    fn the_key_is_found_wherever_clients_put_it() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            key_of(&headers).map(str::to_owned)
        };
        assert_eq!(with("authorization", "Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("authorization", "bearer  abc").as_deref(), Some("abc"));
        assert_eq!(with("authorization", "Basic abc"), None);
        assert_eq!(with("x-api-key", "abc").as_deref(), Some("abc"));
        assert_eq!(with("sec-websocket-protocol", "koe, koe-key.abc").as_deref(), Some("abc"));
    }
}
