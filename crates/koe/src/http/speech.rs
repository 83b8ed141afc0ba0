//! `POST /v1/audio/speech`: OpenAI's endpoint, streamed in every format.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::delivery;
use super::error::{ApiError, ErrorBody};
use super::extract::Body;
use super::request::{Output, SpeechRequest};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(speech)).routes(routes!(speech_alias))
}

/// Speaks a text.
///
/// The sound is sent while it is made. If something goes wrong after the first byte the connection
/// is cut (or an `error` event is sent), so that half an answer never looks whole.
#[utoipa::path(
    post, path = "/v1/audio/speech", tag = "speech", request_body = SpeechRequest,
    responses(
        (status = 200, description = "Sound, events, or the times of the words", headers(
            ("x-koe-ignored" = String, description = "Fields that were asked for and are not heeded"),
        ), content(
            (Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/ogg"), (Vec<u8> = "audio/aac"),
            (Vec<u8> = "audio/flac"), (Vec<u8> = "audio/wav"), (Vec<u8> = "audio/pcm"),
            (String = "text/event-stream"), (String = "application/x-subrip"), (String = "text/vtt"),
            (String = "application/json"),
        )),
        (status = "4XX", description = "The request is wrong, or too much is asked at once", body = ErrorBody),
        (status = "5XX", description = "The server failed", body = ErrorBody),
    ),
)]
async fn speech(
    State(app): State<Arc<App>>,
    Body(request): Body<SpeechRequest>,
) -> Result<Response, ApiError> {
    answer(&app, request).await
}

/// The same as `/v1/audio/speech`.
#[utoipa::path(
    post, path = "/audio/speech", tag = "speech", request_body = SpeechRequest,
    responses((status = 200, description = "As /v1/audio/speech", content_type = "audio/mpeg")),
)]
async fn speech_alias(
    State(app): State<Arc<App>>,
    Body(request): Body<SpeechRequest>,
) -> Result<Response, ApiError> {
    answer(&app, request).await
}

async fn answer(app: &Arc<App>, mut request: SpeechRequest) -> Result<Response, ApiError> {
    let arrived = Instant::now();
    let text = request.take_text(app)?;
    let checked = request.check(app)?;
    let cast = checked.cast(app, None)?;
    let admission = app.service.admit()?;
    app.service.ready().await;
    let turn = checked.turn(app, cast, text)?;
    let order = checked.order(vec![turn], Duration::ZERO, arrived)?;
    let running = delivery::start(app, admission, order)?;
    let response = match checked.output {
        Output::Times(form) => delivery::times(running, form).await,
        Output::Sound(_) if checked.sse => delivery::events(running, checked.timestamps).await,
        Output::Sound(format) => delivery::sound(running, format, &checked, arrived).await,
    };
    response.map(|response| checked.tell(response))
}
