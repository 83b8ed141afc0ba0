//! What Kokoro-FastAPI has beside OpenAI's endpoint: captions, dialogues, phonemes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use koe_audio::Format;
use koe_text::{UserLexicon, phonemize};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::delivery::{self, Captioned, note_name};
use super::error::{ApiError, ErrorBody};
use super::extract::Body;
use super::request::{Checked, Output, SpeechRequest, VoiceName, check_text, dialect};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(captioned_speech))
        .routes(routes!(dialogue))
        .routes(routes!(phonemize_text))
        .routes(routes!(phonemize_dev))
        .routes(routes!(generate_from_phonemes))
}

/// The sound of a request that cannot be for times alone.
fn sound(checked: &Checked) -> Result<Format, ApiError> {
    match checked.output {
        Output::Sound(format) => Ok(format),
        Output::Times(_) => {
            let message = "times alone come from /v1/audio/speech";
            Err(ApiError::param("response_format", "invalid_value", message))
        }
    }
}

/// Speaks a text, with the time of every word.
///
/// One object if `stream` is false, else one a line, each with the words of its sound.
#[utoipa::path(
    post, path = "/dev/captioned_speech", tag = "speech", request_body = SpeechRequest,
    responses(
        (status = 200, description = "Sound and words", body = Captioned),
        (status = "4XX", description = "The request is wrong", body = ErrorBody),
    ),
)]
async fn captioned_speech(
    State(app): State<Arc<App>>,
    Body(mut request): Body<SpeechRequest>,
) -> Result<Response, ApiError> {
    let arrived = Instant::now();
    let text = request.take_text(&app)?;
    request.return_timestamps.get_or_insert(true);
    let checked = request.check(&app)?;
    let format = sound(&checked)?;
    let cast = checked.cast(&app, None)?;
    let admission = app.service.admit()?;
    app.service.ready().await;
    let turn = checked.turn(&app, cast, text)?;
    let order = checked.order(vec![turn], Duration::ZERO, arrived)?;
    let running = delivery::start(&app, admission, order)?;
    delivery::captioned(running, format, &checked).await.map(|response| checked.tell(response))
}

/// A conversation.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
struct DialogueRequest {
    /// What is said, one after the other.
    turns: Option<Vec<TurnRequest>>,
    /// Another name of `turns`.
    inputs: Option<Vec<TurnRequest>>,
    /// Silence between two turns, in seconds, at most 10.
    pause_between_turns: Option<f64>,
    /// As of `/v1/audio/speech`.
    #[serde(flatten)]
    speech: SpeechRequest,
}

/// What one voice says.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
struct TurnRequest {
    /// The voice, as in a request for speech.
    #[schema(value_type = Option<String>)]
    voice: Option<VoiceName>,
    /// Another name of `voice`.
    #[schema(value_type = Option<String>)]
    voice_id: Option<VoiceName>,
    /// What it says.
    text: Option<String>,
}

/// The most turns of one dialogue.
const MAX_TURNS: usize = 1000;

/// Speaks turns with their voices, in one sound.
#[utoipa::path(
    post, path = "/dev/dialogue", tag = "speech", request_body = DialogueRequest,
    responses(
        (status = 200, description = "Sound", content((Vec<u8> = "audio/mpeg"))),
        (status = "4XX", description = "The request is wrong", body = ErrorBody),
    ),
)]
async fn dialogue(
    State(app): State<Arc<App>>,
    Body(request): Body<DialogueRequest>,
) -> Result<Response, ApiError> {
    let arrived = Instant::now();
    let DialogueRequest { turns, inputs, pause_between_turns, speech } = request;
    let said = turns.or(inputs).unwrap_or_default();
    if said.is_empty() {
        return Err(ApiError::param("turns", "missing", "turns is missing or empty"));
    }
    if said.len() > MAX_TURNS {
        let message = format!("{} turns, at most {MAX_TURNS} are allowed", said.len());
        return Err(ApiError::param("turns", "too_many_turns", message));
    }
    let pause = pause_between_turns.unwrap_or(0.0);
    if !(0.0..=10.0).contains(&pause) {
        let message = format!("pause_between_turns must be from 0 to 10, not {pause}");
        return Err(ApiError::param("pause_between_turns", "invalid_value", message));
    }
    let checked = speech.check(&app)?;
    let format = sound(&checked)?;
    let mut chars = 0;
    let mut ready = Vec::new();
    for (i, turn) in said.into_iter().enumerate() {
        let within = |mut error: ApiError| {
            let param = error.detail.param.take().unwrap_or_default();
            error.detail.param = Some(format!("turns[{i}].{param}"));
            error
        };
        let text = turn.text.unwrap_or_default();
        check_text("text", &text, &app).map_err(within)?;
        chars += text.chars().count();
        let voice = turn.voice.or(turn.voice_id).map(|voice| voice.0);
        let cast = checked.cast(&app, voice.as_deref()).map_err(within)?;
        ready.push((cast, text));
    }
    if chars > app.options.max_chars {
        let message = format!(
            "the turns have {chars} characters, at most {} are allowed",
            app.options.max_chars
        );
        return Err(ApiError::param("turns", "input_too_long", message));
    }
    let admission = app.service.admit()?;
    app.service.ready().await;
    let turns = ready.into_iter().map(|(cast, text)| checked.turn(&app, cast, text));
    let turns = turns.collect::<Result<Vec<_>, _>>()?;
    let order = checked.order(turns, Duration::from_secs_f64(pause), arrived)?;
    let running = delivery::start(&app, admission, order)?;
    let response = match checked.sse {
        true => delivery::events(running, checked.timestamps).await,
        false => delivery::sound(running, format, &checked, arrived).await,
    };
    response.map(|response| checked.tell(response))
}

/// A text whose pronunciation is asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
struct PhonemizeRequest {
    /// The text.
    text: Option<String>,
    /// Another name of `text`.
    input: Option<String>,
    /// `a` (default) or `b`, as `lang_code` of a request for speech.
    language: Option<String>,
}

/// How a text is pronounced.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct PhonemizeReply {
    /// Kokoro's phonemes.
    phonemes: String,
    /// Their tokens in the model's vocabulary.
    tokens: Vec<u16>,
    /// The words, in the order they are spoken.
    words: Vec<PhonemizedWord>,
    /// What could not be spoken as written.
    notes: Vec<NoteReply>,
}

/// A word and its phonemes.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct PhonemizedWord {
    /// As the caller wrote it.
    word: String,
    /// How it is spoken.
    phonemes: String,
    /// Its first character in the text, counted in Unicode code points.
    char_start: usize,
    /// The character after its last.
    char_end: usize,
}

/// A remark on a part of the text.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct NoteReply {
    /// `guessed`, `spelled`, `unspeakable` and the like.
    kind: &'static str,
    /// Its first character, counted in Unicode code points.
    char_start: usize,
    /// The character after its last.
    char_end: usize,
}

/// Shows how a text would be pronounced.
#[utoipa::path(
    post, path = "/v1/audio/phonemize", tag = "text", request_body = PhonemizeRequest,
    responses(
        (status = 200, description = "Phonemes", body = PhonemizeReply),
        (status = "4XX", description = "The request is wrong", body = ErrorBody),
    ),
)]
async fn phonemize_text(
    State(app): State<Arc<App>>,
    Body(request): Body<PhonemizeRequest>,
) -> Result<axum::Json<PhonemizeReply>, ApiError> {
    let text = request.text.or(request.input);
    let text = text.ok_or_else(|| ApiError::param("text", "missing", "text is missing"))?;
    check_text("text", &text, &app)?;
    let mut dialect = dialect(request.language.as_deref()).map_err(|mut error| {
        error.detail.param = Some("language".to_owned());
        error
    })?;
    let dialect = dialect.take().unwrap_or_default();
    let admission = app.service.admit()?;
    // Linear in the text, but a long one still takes longer than a connection's thread may.
    let work = tokio::task::spawn_blocking(move || {
        let _admission = admission;
        reply(&app, &text, dialect)
    });
    work.await.map(axum::Json).map_err(|error| {
        tracing::error!(%error, "phonemizing failed");
        let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        ApiError::new(status, "internal_error", "the text could not be read")
    })
}

/// The same as `/v1/audio/phonemize`.
#[utoipa::path(
    post, path = "/dev/phonemize", tag = "text", request_body = PhonemizeRequest,
    responses((status = 200, description = "Phonemes", body = PhonemizeReply)),
)]
async fn phonemize_dev(
    state: State<Arc<App>>,
    body: Body<PhonemizeRequest>,
) -> Result<axum::Json<PhonemizeReply>, ApiError> {
    phonemize_text(state, body).await
}

fn reply(app: &App, text: &str, dialect: koe_text::Dialect) -> PhonemizeReply {
    let all = phonemize(text, dialect, &UserLexicon::default());
    // Where every character begins: spans are on such places.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let char = |byte: usize| starts.partition_point(|&start| start < byte);
    let symbols: Vec<char> = all.symbols.chars().collect();
    let words = all.words.iter().map(|word| PhonemizedWord {
        word: text.get(word.span.clone()).unwrap_or_default().to_owned(),
        phonemes: symbols.get(word.symbols.clone()).unwrap_or_default().iter().collect(),
        char_start: char(word.span.start),
        char_end: char(word.span.end),
    });
    let notes = all.notes.iter().map(|note| NoteReply {
        kind: note_name(note.kind),
        char_start: char(note.span.start),
        char_end: char(note.span.end),
    });
    PhonemizeReply {
        words: words.collect(),
        notes: notes.collect(),
        tokens: app.service.library().model().tokens(&all.symbols).0,
        phonemes: all.symbols,
    }
}

/// Phonemes to speak.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
struct FromPhonemes {
    /// Kokoro's phonemes, as `/v1/audio/phonemize` shows them.
    phonemes: Option<String>,
    /// As of `/v1/audio/speech`; the format is `wav` unless another is asked for.
    #[serde(flatten)]
    speech: SpeechRequest,
}

/// Speaks phonemes.
#[utoipa::path(
    post, path = "/dev/generate_from_phonemes", tag = "speech", request_body = FromPhonemes,
    responses(
        (status = 200, description = "Sound", content((Vec<u8> = "audio/wav"))),
        (status = "4XX", description = "The request is wrong", body = ErrorBody),
    ),
)]
async fn generate_from_phonemes(
    State(app): State<Arc<App>>,
    Body(request): Body<FromPhonemes>,
) -> Result<Response, ApiError> {
    let arrived = Instant::now();
    let FromPhonemes { phonemes, mut speech } = request;
    let phonemes =
        phonemes.ok_or_else(|| ApiError::param("phonemes", "missing", "phonemes is missing"))?;
    check_text("phonemes", &phonemes, &app)?;
    if speech.response_format.is_none() && speech.format.is_none() {
        speech.response_format = Some("wav".to_owned());
    }
    let checked = speech.check(&app)?;
    let format = sound(&checked)?;
    let cast = checked.cast(&app, None)?;
    let unknown = cast.model.tokens(&phonemes.replace('\n', " ")).1;
    if let Some(symbol) = unknown.first() {
        let message = format!("the model has no phoneme {symbol:?}; see /v1/audio/phonemize");
        return Err(ApiError::param("phonemes", "unknown_phonemes", message));
    }
    let admission = app.service.admit()?;
    app.service.ready().await;
    let mut turn = checked.turn(&app, cast, phonemes)?;
    turn.settings.phonemes = true;
    let order = checked.order(vec![turn], Duration::ZERO, arrived)?;
    let running = delivery::start(&app, admission, order)?;
    let response = delivery::sound(running, format, &checked, arrived).await;
    response.map(|response| checked.tell(response))
}
