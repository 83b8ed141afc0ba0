//! Text in, sound out, over one WebSocket: for whoever gets text piece by piece, as from an LLM.
//!
//! Text is spoken sentence by sentence while more arrives. `input_text.append` adds text,
//! `input_text.flush` speaks what is there without waiting for the sentence's end,
//! `input_text.end` ends the utterance, `input_text.cancel` drops it at once. Another may follow on
//! the same connection. The server's messages are those of server-sent events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::App;
use super::delivery::{self, SpeechEvent};
use super::error::ApiError;
use super::extract;
use super::request::{Output, SpeechRequest};
use koe_text::Boundary;

use crate::feed::{self, Segment};
use crate::service::{Part, Running};

/// Where it is.
pub(super) const PATH: &str = "/v1/audio/speech/stream";

/// The longest message.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// The most bytes that wait for a client who does not read: answers to its pings, of which there
/// would be no end. Well above any one message.
const MAX_UNSENT_BYTES: usize = 1 << 20;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(300);
/// How long an utterance may wait for its next text: it holds a place that others want.
const STARVED: Duration = Duration::from_secs(60);
/// A sentence is cut off by force once it is this long.
const MAX_SENTENCE_BYTES: usize = 16 * 1024;
/// Up to this length the end of a sentence is looked for whenever more text comes.
const USUAL_SENTENCE_BYTES: usize = 1024;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(PATH, get(upgrade))
}

async fn upgrade(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Response {
    if !is_same_site(&headers, &app.options.cors_origins) {
        let message = "this page may not open a connection; allow its origin with --cors-origin";
        return ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", message).into_response();
    }
    socket
        .protocols(["koe"])
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .max_write_buffer_size(MAX_UNSENT_BYTES)
        .on_upgrade(move |socket| Connection::new(app, socket).run())
}

/// Browsers let any page connect anywhere and only say whose page it is.
fn is_same_site(headers: &HeaderMap, allowed: &[String]) -> bool {
    let text =
        |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(header::HOST)
        || allowed.iter().any(|known| known == "*" || known == origin)
}

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum ClientMessage {
    /// How the next utterance is to be spoken.
    #[serde(rename = "session.update")]
    Update { session: Box<SessionUpdate> },
    #[serde(rename = "input_text.append")]
    Append { text: String },
    #[serde(rename = "input_text.flush")]
    Flush,
    #[serde(rename = "input_text.end")]
    End,
    #[serde(rename = "input_text.cancel")]
    Cancel,
}

/// Fields of a request for speech, and one of its own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SessionUpdate {
    /// Whether sound comes in binary messages instead of base64 in JSON.
    binary: bool,
    #[serde(flatten)]
    speech: SpeechRequest,
}

/// What the server sends beside [`SpeechEvent`]s.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum ServerMessage<'a> {
    #[serde(rename = "session.created")]
    Created { session: SessionInfo<'a> },
    #[serde(rename = "session.updated")]
    Updated { session: SessionInfo<'a> },
    /// The utterance was dropped; nothing of it follows.
    #[serde(rename = "speech.audio.cancelled")]
    Cancelled,
}

#[derive(Debug, Serialize)]
struct SessionInfo<'a> {
    voice: Option<&'a str>,
    response_format: &'a str,
    sample_rate: u32,
    speed: f64,
    binary: bool,
    return_timestamps: bool,
    /// What was asked for and is not heeded.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ignored: &'a [&'static str],
}

/// Text for the job's thread.
enum Text {
    More(String),
    Flush,
}

/// What is being spoken.
struct Utterance {
    running: Running,
    text: std_mpsc::Sender<Text>,
    /// Whether all its text is there.
    ended: bool,
    chars: usize,
    fed: Instant,
    /// Whether nothing came after the last flush.
    flushed: bool,
}

struct Connection {
    app: Arc<App>,
    socket: WebSocket,
    session: SessionUpdate,
    utterance: Option<Utterance>,
    /// When the client last said something.
    heard: Instant,
}

/// The connection is over.
struct Closed;

impl Connection {
    fn new(app: Arc<App>, socket: WebSocket) -> Self {
        let session = SessionUpdate::default();
        Self { app, socket, session, utterance: None, heard: Instant::now() }
    }

    async fn run(mut self) {
        let _still = self.app.sockets.token();
        // However it ends, dropping the utterance stops its work.
        let _ = self.serve().await;
        self.utterance = None;
        let goodbye = self.socket.send(Message::Close(None));
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }

    async fn serve(&mut self) -> Result<(), Closed> {
        let created = ServerMessage::Created { session: info(&self.session, &[]) };
        self.send(json(&created)).await?;
        loop {
            if self.app.service.is_draining() && self.utterance.is_none() {
                return self.close(close_code::AWAY, "the server is shutting down").await;
            }
            let deadline = self.deadline();
            let part = async {
                match &mut self.utterance {
                    Some(utterance) => utterance.running.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.socket.recv() => {
                    let Some(Ok(message)) = message else { return Err(Closed) };
                    self.heard = Instant::now();
                    match message {
                        Message::Text(text) => self.message(text.as_bytes()).await?,
                        Message::Close(_) => return Err(Closed),
                        Message::Binary(_) => {
                            let message = "send JSON as text messages";
                            self.fail(ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", message)).await?;
                        }
                        Message::Ping(_) | Message::Pong(_) => {}
                    }
                }
                part = part => self.part(part).await?,
                () = tokio::time::sleep_until(deadline.into()) => {
                    let starved = self.utterance.as_ref()
                        .is_some_and(|utterance| !utterance.ended && utterance.fed.elapsed() >= STARVED);
                    if starved {
                        return self.close(close_code::POLICY, "the utterance waited too long for text").await;
                    }
                    if self.utterance.is_none() && self.heard.elapsed() >= IDLE {
                        return self.close(close_code::NORMAL, "idle").await;
                    }
                }
            }
        }
    }

    /// When to look again whether the client has gone quiet, or the server is about to stop.
    fn deadline(&self) -> Instant {
        let soon = Instant::now() + Duration::from_secs(1);
        match &self.utterance {
            Some(utterance) if !utterance.ended => soon.min(utterance.fed + STARVED),
            _ => soon,
        }
    }

    async fn message(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        let outcome = match extract::parse(bytes) {
            Ok(ClientMessage::Update { session }) => self.update(*session).await?,
            Ok(ClientMessage::Append { text }) => self.append(text).await,
            Ok(ClientMessage::Flush) => {
                // One is as good as many, of which there would be no end.
                let flushed =
                    self.utterance.as_mut().map(|u| std::mem::replace(&mut u.flushed, true));
                if flushed == Some(false) {
                    self.feed(Text::Flush);
                }
                Ok(())
            }
            Ok(ClientMessage::End) => {
                if let Some(utterance) = &mut self.utterance {
                    utterance.ended = true;
                    // The job sees the end of its text once the last sender is gone.
                    utterance.text = std_mpsc::channel().0;
                }
                Ok(())
            }
            Ok(ClientMessage::Cancel) => {
                self.utterance = None;
                self.send(json(&ServerMessage::Cancelled)).await?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => self.fail(error).await,
        }
    }

    async fn update(&mut self, session: SessionUpdate) -> Result<Result<(), ApiError>, Closed> {
        let session = with_pcm(session);
        let outcome = session.speech.check(&self.app).and_then(|checked| match checked.output {
            Output::Sound(_) => checked.cast(&self.app, None).map(|_| checked.ignored),
            Output::Times(_) => {
                let message = "a stream carries sound; ask for times with return_timestamps";
                Err(ApiError::param("response_format", "invalid_value", message))
            }
        });
        if let Ok(ignored) = &outcome {
            self.session = session;
            let updated = ServerMessage::Updated { session: info(&self.session, ignored) };
            self.send(json(&updated)).await?;
        }
        Ok(outcome.map(drop))
    }

    async fn append(&mut self, text: String) -> Result<(), ApiError> {
        if self.utterance.as_ref().is_some_and(|utterance| utterance.ended) {
            let message = "the utterance has ended; wait for speech.audio.done, or cancel it";
            return Err(ApiError::new(StatusCode::CONFLICT, "utterance_ended", message));
        }
        if self.utterance.is_none() {
            if text.trim().is_empty() {
                return Ok(());
            }
            self.utterance = Some(self.begin().await?);
        }
        if text.is_empty() {
            return Ok(());
        }
        if let Some(utterance) = &mut self.utterance {
            utterance.flushed = false;
            utterance.chars += text.chars().count();
            if utterance.chars > self.app.options.max_chars {
                let most = self.app.options.max_chars;
                let message = format!("an utterance has at most {most} characters; end it first");
                return Err(ApiError::param("text", "input_too_long", message));
            }
        }
        self.feed(Text::More(text));
        Ok(())
    }

    fn feed(&mut self, text: Text) {
        if let Some(utterance) = &mut self.utterance {
            utterance.fed = Instant::now();
            // A job that failed is about to say so.
            let _ = utterance.text.send(text);
        }
    }

    async fn begin(&mut self) -> Result<Utterance, ApiError> {
        let arrived = Instant::now();
        let checked = with_pcm(self.session.clone()).speech.check(&self.app)?;
        let cast = checked.cast(&self.app, None)?;
        let admission = self.app.service.admit()?;
        self.app.service.ready().await;
        let (sender, receiver) = std_mpsc::channel();
        let feed = Box::new(Sentences::new(receiver));
        let mut turn = checked.turn_of(&self.app, cast, feed)?;
        turn.settings.live = true;
        let order = checked.order(vec![turn], Duration::ZERO, arrived)?;
        let running = delivery::start(&self.app, admission, order)?;
        let fed = Instant::now();
        Ok(Utterance { running, text: sender, ended: false, chars: 0, fed, flushed: true })
    }

    async fn part(&mut self, part: Part) -> Result<(), Closed> {
        let timestamps = self.session.speech.return_timestamps.unwrap_or(false);
        if matches!(part, Part::Done(_)) {
            self.utterance = None;
        }
        match part {
            Part::Bytes(bytes) if self.session.binary => self.send(Message::Binary(bytes)).await,
            part => match SpeechEvent::of(part, timestamps) {
                Some(event) => self.send(Message::Text(event.json().into())).await,
                None => Ok(()),
            },
        }
    }

    async fn fail(&mut self, error: ApiError) -> Result<(), Closed> {
        let event = SpeechEvent::Error { error: error.detail };
        self.send(Message::Text(event.json().into())).await
    }

    /// Sends, unless the client has stopped reading.
    async fn send(&mut self, message: Message) -> Result<(), Closed> {
        let stall = self.app.options.stall;
        match tokio::time::timeout(stall, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Closed),
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Closed> {
        self.utterance = None;
        self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
        Err(Closed)
    }
}

/// Whoever streams wants samples, unless they say otherwise.
fn with_pcm(mut session: SessionUpdate) -> SessionUpdate {
    if session.speech.response_format.is_none() && session.speech.format.is_none() {
        session.speech.response_format = Some("pcm".to_owned());
    }
    session
}

fn info<'a>(session: &'a SessionUpdate, ignored: &'a [&'static str]) -> SessionInfo<'a> {
    let speech = &session.speech;
    SessionInfo {
        voice: speech.voice.as_ref().map(|voice| &*voice.0),
        response_format: speech
            .response_format
            .as_deref()
            .or(speech.format.as_deref())
            .unwrap_or("pcm"),
        sample_rate: speech.sample_rate.unwrap_or(koe_audio::SAMPLE_RATE_HZ),
        speed: speech.speed.unwrap_or(1.0),
        binary: session.binary,
        return_timestamps: speech.return_timestamps.unwrap_or(false),
        ignored,
    }
}

fn json(message: &ServerMessage<'_>) -> Message {
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}

/// Text as it arrives, cut into whole sentences.
struct Sentences {
    texts: std_mpsc::Receiver<Text>,
    /// What is not a whole sentence yet.
    buffer: String,
    /// Where the buffer begins in all text, in bytes.
    start: usize,
    ready: VecDeque<Segment>,
    /// How long the buffer must be to be searched again; see [`Sentences::search`].
    search_at: usize,
}

impl Sentences {
    fn new(texts: std_mpsc::Receiver<Text>) -> Self {
        Self { texts, buffer: String::new(), start: 0, ready: VecDeque::new(), search_at: 0 }
    }

    /// Readies the sentences that are whole.
    ///
    /// Every search walks the whole buffer, so one that has grown long without a sentence's end is
    /// searched again only once it is an eighth longer: what is walked in all stays within a
    /// multiple of the text, however small the pieces in which it comes.
    fn search(&mut self) {
        if self.buffer.len() < self.search_at {
            return;
        }
        let mut end = koe_text::whole_sentences(&self.buffer);
        if end == 0 && self.buffer.len() > MAX_SENTENCE_BYTES {
            end = self.buffer.len();
        }
        self.cut(end);
        let left = self.buffer.len();
        self.search_at = if left < USUAL_SENTENCE_BYTES { 0 } else { left + left / 8 };
    }

    /// Readies the first `end` bytes.
    fn cut(&mut self, end: usize) {
        if end == 0 {
            return;
        }
        let rest = self.buffer.split_off(end);
        let text = std::mem::replace(&mut self.buffer, rest);
        let start = self.start;
        self.start += text.len();
        self.ready.push_back(Segment { start, text, end: Boundary::Sentence });
    }
}

impl Iterator for Sentences {
    type Item = Result<Segment, feed::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(segment) = self.ready.pop_front() {
                return Some(Ok(segment));
            }
            match self.texts.recv() {
                Ok(Text::More(text)) => {
                    self.buffer.push_str(&text);
                    self.search();
                }
                Ok(Text::Flush) => self.cut(self.buffer.len()),
                Err(std_mpsc::RecvError) if self.buffer.is_empty() => return None,
                Err(std_mpsc::RecvError) => self.cut(self.buffer.len()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_handed_on_when_they_are_whole() {
        let (sender, texts) = std_mpsc::channel();
        let mut sentences = Sentences::new(texts);
        for text in ["Dr. Who", " went. ", "Then", " he came", " back"] {
            sender.send(Text::More(text.into())).unwrap();
        }
        let next = sentences.next().unwrap().unwrap();
        assert_eq!((next.start, next.text.as_str()), (0, "Dr. Who went. "));
        sender.send(Text::Flush).unwrap();
        assert_eq!(sentences.next().unwrap().unwrap().text, "Then he came back");
        sender.send(Text::More("! Ünd".into())).unwrap();
        drop(sender);
        let rest: Vec<_> = sentences.map(|segment| segment.unwrap()).collect();
        let text: String = rest.iter().map(|segment| &*segment.text).collect();
        assert_eq!(text, "! Ünd");
        assert_eq!(rest[0].start, "Dr. Who went. Then he came back".len());
    }

    #[test]
    fn what_is_searched_for_an_end_stays_within_a_multiple_of_the_text() {
        for piece in ["a", "a ", "a, ", "Dr. "] {
            let (_sender, texts) = std_mpsc::channel();
            let mut sentences = Sentences::new(texts);
            let (mut walked, mut length) = (0, 0);
            while length < 4 * MAX_SENTENCE_BYTES {
                sentences.buffer.push_str(piece);
                length += piece.len();
                let walks = sentences.buffer.len() >= sentences.search_at;
                walked += if walks { sentences.buffer.len() } else { 0 };
                sentences.search();
            }
            assert!(walked < USUAL_SENTENCE_BYTES * length, "{walked} bytes for {piece:?}");
            assert!(sentences.buffer.len() < 2 * MAX_SENTENCE_BYTES, "cut by force");
        }
    }

    #[test]
    fn another_sites_page_is_refused() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:8880".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        let allowed = ["https://ok.example".to_owned()];
        for (origin, expected) in [
            (None, true),
            (Some("http://localhost:8880"), true),
            (Some("https://ok.example"), true),
            (Some("https://evil.example"), false),
            (Some("null"), false),
        ] {
            assert_eq!(is_same_site(&headers(origin), &allowed), expected, "{origin:?}");
        }
    }
}
