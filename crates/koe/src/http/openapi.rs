//! The description of the API, made from the handlers themselves, and its viewer.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{App, catalogue, delivery, dev, health, optimization, page, speech};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "koe",
        description = "Text to speech with Kokoro-82M. Clients of OpenAI's speech endpoint and of \
            Kokoro-FastAPI work unchanged. A WebSocket at /v1/audio/speech/stream takes text piece \
            by piece; see docs/server.md.",
        license(name = "MIT OR Apache-2.0"),
    ),
    components(schemas(delivery::SpeechEvent, delivery::Times)),
    tags(
        (name = "speech", description = "Text to sound"),
        (name = "text", description = "Text to phonemes"),
        (name = "voices", description = "Voices and mixtures"),
        (name = "models", description = "Models"),
        (name = "state", description = "Probes, state and metrics"),
        (name = "optimization", description = "What keeps the server ready and bounded"),
    ),
)]
struct Description;

/// Every documented route, with its description.
pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(speech::routes())
        .merge(dev::routes())
        .merge(catalogue::routes())
        .merge(health::routes())
        .merge(optimization::routes())
}

/// The OpenAPI document, as `/openapi.json` has it.
pub fn document() -> String {
    let (_, document) = router().split_for_parts();
    render(&document)
}

fn render(document: &utoipa::openapi::OpenApi) -> String {
    let mut json = document.to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

/// The document and its viewer.
pub(super) fn routes(document: &utoipa::openapi::OpenApi) -> Router<Arc<App>> {
    let json: Arc<str> = render(document).into();
    let serve = async move || {
        let media = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, media)], json.to_string()).into_response()
    };
    Router::new().route("/openapi.json", get(serve)).route("/docs", get(async || page::docs()))
}
