//! How what a job makes becomes the body of an answer.
//!
//! The status is sent with the first sound, so that what fails before it is an honest error. What
//! fails later cuts the connection before its regular end, or sends an `error` event.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::stream;
use koe_audio::{Format, seconds};
use koe_text::NoteKind;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::error::{ApiError, ErrorDetail};
use super::request::Checked;
use crate::pipeline::Summary;
use crate::service::{Admission, Order, Part, Running, Said};
use crate::timings::{Form, Timings};

/// The most bytes that are gathered for an answer that is not streamed.
const MAX_WHOLE_BYTES: usize = 256 << 20;
/// How often a silent stream of events shows that it is alive.
const PING: Duration = Duration::from_secs(10);

/// What the body is, for its header.
pub(super) fn content_type(format: Format, rate_hz: u32) -> HeaderValue {
    match format {
        Format::Mp3 => HeaderValue::from_static("audio/mpeg"),
        Format::Opus => HeaderValue::from_static("audio/ogg"),
        Format::Aac => HeaderValue::from_static("audio/aac"),
        Format::Flac => HeaderValue::from_static("audio/flac"),
        Format::Wav => HeaderValue::from_static("audio/wav"),
        _ => HeaderValue::from_str(&format!("audio/pcm; rate={rate_hz}; channels=1"))
            .unwrap_or(HeaderValue::from_static("audio/pcm")),
    }
}

/// Begins to fill an order.
pub(super) fn start(app: &App, admission: Admission, order: Order) -> Result<Running, ApiError> {
    app.service.start(admission, order).map_err(|error| {
        tracing::error!(%error, "no thread for a request");
        let message = "the system has no thread to give; try again in a moment";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_thread", message).retry()
    })
}

/// The sound itself, as it is made or at once.
pub(super) async fn sound(
    mut running: Running,
    format: Format,
    checked: &Checked,
    arrived: Instant,
) -> Result<Response, ApiError> {
    let mut headers = headers(content_type(format, checked.rate_hz));
    if let Ok(name) =
        HeaderValue::from_str(&format!("attachment; filename=speech.{}", format.name()))
    {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    if checked.wants_link {
        let unavailable = HeaderValue::from_static("unavailable");
        headers.insert(HeaderName::from_static("x-download-status"), unavailable);
    }
    running.first_sound().await?;
    let waited = format!("first-audio;dur={:.1}", arrived.elapsed().as_secs_f64() * 1e3);
    if let Ok(timing) = HeaderValue::from_str(&waited) {
        headers.insert(HeaderName::from_static("server-timing"), timing);
    }
    if checked.streams {
        return Ok((headers, Body::from_stream(sound_stream(running))).into_response());
    }
    let mut whole = Vec::new();
    let mut opening = None;
    gather(running, |part| {
        match part {
            Part::Bytes(bytes) => whole.extend_from_slice(&bytes),
            Part::Opening(bytes) => opening = Some(bytes),
            _ => {}
        }
        whole.len()
    })
    .await?;
    if let Some(opening) = opening
        && let Some(place) = whole.get_mut(..opening.len())
    {
        place.copy_from_slice(&opening);
    }
    Ok((headers, whole).into_response())
}

fn sound_stream(running: Running) -> impl stream::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some(running), |running| async {
        let mut running = running?;
        loop {
            match running.next().await {
                Part::Bytes(bytes) => return Some((Ok(bytes), Some(running))),
                Part::Done(Ok(_)) => return None,
                Part::Done(Err(failure)) => {
                    tracing::warn!(%failure, "an answer was cut");
                    return Some((Err(io::Error::other(failure)), None));
                }
                Part::Said(_) | Part::Note { .. } | Part::Opening(_) => {}
            }
        }
    })
}

/// The times of the words, as a file.
pub(super) async fn times(running: Running, form: Form) -> Result<Response, ApiError> {
    let media = match form {
        Form::Json => "application/json",
        Form::Srt => "application/x-subrip; charset=utf-8",
        Form::Vtt => "text/vtt; charset=utf-8",
    };
    let headers = headers(HeaderValue::from_static(media));
    if form == Form::Json {
        let mut words = Vec::new();
        let summary = gather(running, |part| {
            if let Part::Said(said) = part {
                words.extend(self::words(&said));
            }
            words.len() * size_of::<Word>()
        })
        .await?;
        let times = Times { words, duration: seconds(summary.samples) };
        return Ok((headers, axum::Json(times)).into_response());
    }
    let (mut timings, mut text) = (Timings::new(form), String::new());
    timings.start(&mut text);
    let summary = gather(running, |part| {
        if let Part::Said(said) = part {
            timings.push(&said.spoken, &mut text);
        }
        text.len()
    })
    .await?;
    timings.finish(summary.samples, &mut text);
    Ok((headers, text).into_response())
}

/// Runs a job to its end, handing every part to `take`, which says how much it keeps.
pub(super) async fn gather(
    mut running: Running,
    mut take: impl FnMut(Part) -> usize,
) -> Result<Summary, ApiError> {
    loop {
        match running.next().await {
            Part::Done(outcome) => return Ok(outcome?),
            part => {
                if take(part) > MAX_WHOLE_BYTES {
                    let message = "the answer is too large to be sent at once; leave out stream";
                    return Err(ApiError::param("stream", "answer_too_large", message));
                }
            }
        }
    }
}

/// The times of words, without their sound.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Times {
    /// Every word.
    words: Vec<Word>,
    /// How long the sound is, in seconds.
    duration: f64,
}

/// When a word sounds, and where it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Word {
    /// As the caller wrote it.
    word: String,
    /// When it begins, in seconds from the start of the sound.
    pub(super) start_time: f64,
    /// When it ends.
    end_time: f64,
    /// Its first character in the caller's text, counted in Unicode code points.
    char_start: usize,
    /// The character after its last.
    char_end: usize,
    /// In which turn of a dialogue.
    #[serde(skip_serializing_if = "is_zero")]
    turn: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

pub(super) fn words(said: &Said) -> impl Iterator<Item = Word> {
    let spoken = &said.spoken;
    spoken.words.iter().zip(&said.chars).map(|(word, chars)| Word {
        word: spoken.text_of(&word.span).to_owned(),
        start_time: microseconds(seconds(word.samples.start)),
        end_time: microseconds(seconds(word.samples.end)),
        char_start: chars.start,
        char_end: chars.end,
        turn: said.turn,
    })
}

/// Enough digits, and no noise behind them.
fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// A server-sent event, and a message of the WebSocket.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type")]
pub(super) enum SpeechEvent {
    /// More sound.
    #[serde(rename = "speech.audio.delta")]
    Delta {
        /// Bytes of one continuous stream in the format asked for, in base64.
        audio: String,
    },
    /// The words of the sound that follows.
    #[serde(rename = "speech.audio.words")]
    Words {
        /// In the order they are spoken.
        words: Vec<Word>,
    },
    /// A part of the text that could not be spoken as written.
    #[serde(rename = "speech.audio.note")]
    Note {
        /// `unspeakable`, `guessed` and the like.
        kind: &'static str,
        /// Its first character, counted in Unicode code points.
        char_start: usize,
        /// The character after its last.
        char_end: usize,
    },
    /// All was sent.
    #[serde(rename = "speech.audio.done")]
    Done {
        /// What it took.
        usage: Usage,
    },
    /// It failed; what was sent is not whole.
    #[serde(rename = "error")]
    Error {
        /// Why.
        error: ErrorDetail,
    },
}

/// Tokens, as OpenAI counts them for speech.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Usage {
    /// Phonemes given to the model.
    input_tokens: u64,
    /// Frames of sound, 40 a second.
    output_tokens: u64,
    /// Both.
    total_tokens: u64,
}

impl Usage {
    pub(super) fn of(summary: &Summary) -> Self {
        let input_tokens = summary.tokens;
        let output_tokens = summary.samples.div_ceil(koe_engine::FRAME_SAMPLES as u64);
        Self { input_tokens, output_tokens, total_tokens: input_tokens + output_tokens }
    }
}

impl SpeechEvent {
    /// The event for a part; none where the caller did not ask for such.
    pub(super) fn of(part: Part, timestamps: bool) -> Option<Self> {
        Some(match part {
            Part::Bytes(bytes) => Self::Delta { audio: BASE64.encode(bytes) },
            Part::Said(said) if timestamps => Self::Words { words: words(&said).collect() },
            Part::Note { kind, chars, .. } if timestamps => {
                Self::Note { kind: note_name(kind), char_start: chars.start, char_end: chars.end }
            }
            Part::Said(_) | Part::Note { .. } | Part::Opening(_) => return None,
            Part::Done(Ok(summary)) => Self::Done { usage: Usage::of(&summary) },
            Part::Done(Err(failure)) => Self::Error { error: ApiError::from(failure).detail },
        })
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Error { .. })
    }

    pub(super) fn json(&self) -> String {
        // Strings and numbers alone: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The word for a remark.
pub(super) fn note_name(kind: NoteKind) -> &'static str {
    match kind {
        NoteKind::Unspeakable => "unspeakable",
        NoteKind::MalformedMarkup => "malformed_markup",
        NoteKind::UnknownPhoneme => "unknown_phoneme",
        NoteKind::Guessed => "guessed",
        NoteKind::Spelled => "spelled",
        NoteKind::LinkTarget => "link_target",
        NoteKind::Footnote => "footnote",
        _ => "note",
    }
}

/// Server-sent events, exactly as OpenAI's SDKs have them, and koe's own between.
pub(super) async fn events(mut running: Running, timestamps: bool) -> Result<Response, ApiError> {
    running.first_sound().await?;
    let events = stream::unfold(Some(running), move |running| async move {
        let mut running = running?;
        loop {
            let Ok(part) = tokio::time::timeout(PING, running.next()).await else {
                return Some((Ok(Bytes::from_static(b": ping\n\n")), Some(running)));
            };
            if let Some(event) = SpeechEvent::of(part, timestamps) {
                let bytes = Bytes::from(format!("data: {}\n\n", event.json()));
                return Some((Ok::<_, io::Error>(bytes), (!event.is_last()).then_some(running)));
            }
        }
    });
    let headers = headers(HeaderValue::from_static("text/event-stream; charset=utf-8"));
    Ok((headers, Body::from_stream(events)).into_response())
}

/// The answer of `/dev/captioned_speech`, or a line of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Captioned {
    /// The sound, in base64.
    audio: String,
    /// Its media type.
    audio_format: String,
    /// The words in it; none unless they were asked for.
    timestamps: Option<Vec<Word>>,
}

impl Captioned {
    fn new(bytes: &[u8], format: &HeaderValue, timestamps: Option<Vec<Word>>) -> Self {
        let audio_format = format.to_str().unwrap_or_default();
        let audio_format = audio_format.split(';').next().unwrap_or_default().to_owned();
        Self { audio: BASE64.encode(bytes), audio_format, timestamps }
    }
}

/// Sound and words as Kokoro-FastAPI has them: one object, or one a line as they are made.
pub(super) async fn captioned(
    mut running: Running,
    format: Format,
    checked: &Checked,
) -> Result<Response, ApiError> {
    let (media, timestamps) = (content_type(format, checked.rate_hz), checked.timestamps);
    let headers = headers(HeaderValue::from_static("application/json"));
    if !checked.streams {
        let (mut sound, mut words) = (Vec::new(), Vec::new());
        gather(running, |part| {
            match part {
                Part::Bytes(bytes) => sound.extend_from_slice(&bytes),
                Part::Said(said) => words.extend(self::words(&said)),
                Part::Note { .. } | Part::Opening(_) | Part::Done(_) => {}
            }
            sound.len()
        })
        .await?;
        let whole = Captioned::new(&sound, &media, timestamps.then_some(words));
        return Ok((headers, axum::Json(whole)).into_response());
    }
    running.first_sound().await?;
    let state = (Some(running), VecDeque::<Word>::new());
    let lines = stream::unfold(state, move |(running, mut words)| {
        let media = media.clone();
        async move {
            let mut running = running?;
            loop {
                match running.next().await {
                    Part::Said(said) => words.extend(self::words(&said)),
                    Part::Bytes(bytes) => {
                        let spoken = timestamps.then(|| words.drain(..).collect());
                        let line = Captioned::new(&bytes, &media, spoken);
                        let mut line = serde_json::to_vec(&line).unwrap_or_default();
                        line.push(b'\n');
                        return Some((Ok(Bytes::from(line)), (Some(running), words)));
                    }
                    Part::Note { .. } | Part::Opening(_) => {}
                    Part::Done(Ok(_)) => return None,
                    Part::Done(Err(failure)) => {
                        tracing::warn!(%failure, "an answer was cut");
                        return Some((Err(io::Error::other(failure)), (None, words)));
                    }
                }
            }
        }
    });
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// The headers of everything that streams.
fn headers(content_type: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers
}
