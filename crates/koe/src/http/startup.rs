//! The door while the model is being opened: probes are answered, everything else is told to wait.
//!
//! The socket is bound before the model is opened, so that whoever watches the start can see it,
//! and a first start, which packs the weights, does not look dead.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use super::error::ApiError;
use super::health::HealthReply;

/// Leads to the server once there is one.
#[derive(Clone, Default)]
pub struct Door(Arc<OnceLock<Router>>);

impl Door {
    /// Closed.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on requests go to `router`.
    pub fn open(&self, router: Router) {
        let _ = self.0.set(router);
    }

    /// What answers all requests, now and later.
    pub fn router(&self) -> Router {
        Router::new().fallback(enter).with_state(self.clone())
    }
}

async fn enter(State(door): State<Door>, request: Request) -> Response {
    match door.0.get() {
        Some(router) => match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => wait(request.uri().path()),
    }
}

fn wait(path: &str) -> Response {
    let mut response = match path {
        "/health/live" => return "live\n".into_response(),
        "/startup-progress" => return axum::Json(HealthReply::opening()).into_response(),
        "/health" | "/health/ready" | "/health/startup" => {
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(HealthReply::opening())).into_response()
        }
        _ => {
            let message = "the server is starting; try again in a moment";
            let code = StatusCode::SERVICE_UNAVAILABLE;
            ApiError::new(code, "starting", message.to_owned()).into_response()
        }
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
