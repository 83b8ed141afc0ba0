//! The server's HTTP: the only room that knows JSON and status codes.
//!
//! Routes read a request (`request`), have the [`crate::service`] speak it, and turn what comes
//! back into an answer (`delivery`). [`server`] is the sockets below, `access` the door.

mod access;
mod catalogue;
mod delivery;
mod dev;
mod error;
mod extract;
mod health;
mod openapi;
mod optimization;
mod page;
mod request;
pub mod server;
mod sessions;
mod speech;
mod startup;
mod websocket;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use access::Keys;
pub use openapi::document;
pub use startup::Door;

use crate::service::Service;
use access::RateLimit;
use error::ApiError;

/// How the server behaves towards its clients.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who may ask; none: everyone.
    pub keys: Keys,
    /// Requests a minute for each key that cost the processor; none: as many as they like.
    pub rate_limit: Option<u32>,
    /// Pages that may ask, as `https://example.org`; `*` for all.
    pub cors_origins: Vec<String>,
    /// The most characters of one text.
    pub max_chars: usize,
    /// How long a reader may read nothing.
    pub stall: Duration,
}

/// What every handler may use.
struct App {
    service: Service,
    options: Options,
    rate_limit: Option<RateLimit>,
    /// WebSockets, which outlive the request that opened them.
    sockets: TaskTracker,
}

impl App {
    /// The largest request: a character takes at most twelve bytes of JSON, "\ud83d\ude00".
    fn max_bytes(&self) -> usize {
        self.options.max_chars.saturating_mul(12).saturating_add(64 * 1024)
    }
}

/// The routes, and the WebSockets opened through them, which a graceful stop waits for.
pub fn router(service: Service, options: Options) -> (Router, TaskTracker) {
    let rate_limit = options.rate_limit.map(RateLimit::new);
    let sockets = TaskTracker::new();
    let cors = cors(&options.cors_origins);
    let app = Arc::new(App { service, options, rate_limit, sockets: sockets.clone() });
    let (documented, document) = openapi::router().split_for_parts();
    let router = Router::new()
        .merge(documented)
        .merge(openapi::routes(&document))
        .merge(page::routes())
        .merge(websocket::routes())
        .route("/v1", axum::routing::get(here))
        .route("/v1/", axum::routing::get(here))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), access::check));
    let router = match cors {
        Some(cors) => router.layer(cors),
        None => router,
    };
    let router = router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), account))
        .with_state(app);
    (router, sockets)
}

/// Clients that warm up their connection ask for this.
async fn here() -> &'static str {
    "koe\n"
}

async fn not_found(request: Request) -> ApiError {
    let message =
        format!("there is nothing at {}; see /docs", request::shown(request.uri().path()));
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn wrong_method(method: Method) -> ApiError {
    let message = format!("{method} is not understood here; see /docs");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// A bug in one request is that request's failure.
#[expect(clippy::needless_pass_by_value, reason = "the signature is the layer's")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let reason = crate::stream::reason(&*panic);
    tracing::error!(reason, "a request panicked");
    let message = "internal error; the server's log has more";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message).into_response()
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives every answer its request's number, and counts and logs it. Never the text.
async fn account(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let route = route.unwrap_or_else(|| "other".to_owned());
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let shown = id.to_str().unwrap_or_default();
    if is_watched(&route) {
        tracing::debug!(%method, route, status, ms, id = shown, "answered");
    } else {
        tracing::info!(%method, route, status, ms, id = shown, "answered");
    }
    app.service.readings().answered(&route, status);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Whether dashboards and probes ask for it every few seconds.
fn is_watched(route: &str) -> bool {
    ["/health", "/optimization", "/metrics", "/status", "/startup-progress"]
        .iter()
        .any(|start| route.starts_with(start))
}

/// The client's own number for its request, if it is a plain one, or a new one.
fn request_id(request: &Request) -> HeaderValue {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=128).contains(&id.len()) && id.iter().all(is_plain)
    });
    given.cloned().unwrap_or_else(|| {
        let random: u64 = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        HeaderValue::from_str(&format!("req_{random:016x}"))
            .unwrap_or(HeaderValue::from_static("req"))
    })
}

/// Never with credentials, so that `*` is safe.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    Some(
        CorsLayer::new()
            .allow_origin(origin)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
            .expose_headers([REQUEST_ID]),
    )
}
