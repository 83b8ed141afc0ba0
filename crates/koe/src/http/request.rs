//! What may be asked of the speech endpoints: OpenAI's fields, Kokoro-FastAPI's, and koe's own.
//!
//! Everything is checked here, before any work: what passes can be spoken. Unknown fields are
//! ignored, as OpenAI's server does; fields that koe knows and cannot honour are refused rather
//! than ignored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use koe_audio::Format;
use koe_text::Dialect;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::error::ApiError;
use crate::feed;
use crate::pipeline::SPEEDS;
use crate::service::{Cast, Order, Purpose, Turn};
use crate::timings::Form;
use crate::voices;

/// A request for speech. Only the text is needed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
#[schema(example = json!({"input": "Hello there.", "voice": "alloy", "response_format": "mp3"}))]
pub(super) struct SpeechRequest {
    /// The text to speak.
    pub(super) input: Option<String>,
    /// Another name of `input`.
    pub(super) text: Option<String>,
    /// `kokoro` or one of OpenAI's names for the model that the server was started with, or
    /// `builtin`; see `/v1/models`.
    pub(super) model: Option<String>,
    /// A voice, one of OpenAI's thirteen names, a named mixture, or a mixture such as
    /// `af_bella(2)+af_sky(1)`; or an object with it as `id`.
    #[schema(value_type = Option<String>)]
    pub(super) voice: Option<VoiceName>,
    /// Accepted and not heeded: Kokoro takes no instructions. The answer's `x-koe-ignored` says so.
    pub(super) instructions: Option<String>,
    /// `mp3` (default), `opus`, `aac`, `flac`, `wav` or `pcm`; or `srt`, `vtt` or `json` for the
    /// times of the words instead of their sound.
    pub(super) response_format: Option<String>,
    /// Another name of `response_format`.
    pub(super) format: Option<String>,
    /// The pace, 0.25 to 4; 1 is the voice's own.
    pub(super) speed: Option<f64>,
    /// `audio` (default) for the bytes themselves, `sse` for server-sent events.
    pub(super) stream_format: Option<String>,
    /// Whether the answer is sent as it is made (default) or at once, with its length.
    pub(super) stream: Option<bool>,
    /// Whether the times of the words are wanted: as `speech.audio.words` events, or beside the
    /// sound of `/dev/captioned_speech`.
    pub(super) return_timestamps: Option<bool>,
    /// The English to read the text as: `a` or `en-us`, `b` or `en-gb`. The voice's own otherwise.
    pub(super) lang_code: Option<String>,
    /// Another name of `lang_code`.
    pub(super) lang: Option<String>,
    /// How much louder than the voice by itself, 0 to 10.
    pub(super) volume_multiplier: Option<f64>,
    /// Accepted for Kokoro-FastAPI's clients: koe always reads numbers, units, addresses and signs
    /// as words, and the answer's `x-koe-ignored` names the options that ask for something else.
    #[schema(value_type = Option<Object>)]
    pub(super) normalization_options: Option<serde_json::Map<String, Value>>,
    /// Chooses the noise in the voice: the same request with the same seed gives the same bytes.
    pub(super) seed: Option<u64>,
    /// Samples a second: 8000 to 48000 as far as the format allows; 24000 otherwise.
    pub(super) sample_rate: Option<u32>,
    /// Silence before the first word, in seconds, at most 60.
    pub(super) leading_silence: Option<f64>,
    /// Silence after the last word, in seconds, at most 60.
    pub(super) trailing_silence: Option<f64>,
    /// Only `false`: SSML is not understood.
    pub(super) ssml: Option<bool>,
    /// Only `false`: tags that change the voice are not understood; see `/dev/dialogue`.
    pub(super) allow_voice_tags: Option<bool>,
    /// Accepted; the answer's `x-download-status` says that there is no link.
    pub(super) return_download_link: Option<bool>,
    /// Accepted and not heeded: there is no download.
    #[schema(value_type = Option<String>)]
    pub(super) download_format: Option<Value>,
    /// Accepted and not heeded; `return_timestamps` has the time of every word.
    #[schema(value_type = Option<bool>)]
    pub(super) return_timing: Option<Value>,
    /// Accepted and not heeded; `/v1/audio/voices/combine` names a mixture.
    #[schema(value_type = Option<Object>)]
    pub(super) voice_aliases: Option<Value>,
}

/// A voice as a string, or as OpenAI's object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct VoiceName(pub(super) String);

impl<'de> Deserialize<'de> for VoiceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = VoiceName;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a voice's name, or an object with its \"id\"")
            }

            fn visit_str<E>(self, name: &str) -> Result<VoiceName, E> {
                Ok(VoiceName(name.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<VoiceName, A::Error> {
                #[derive(Deserialize)]
                struct Object {
                    id: String,
                }
                let object = Object::deserialize(serde::de::value::MapAccessDeserializer::new(map));
                object.map(|object| VoiceName(object.id))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What the answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Sound.
    Sound(Format),
    /// The times of the words alone.
    Times(Form),
}

/// A request that was found sound, with all that concerns the answer.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) output: Output,
    pub(super) sse: bool,
    pub(super) streams: bool,
    pub(super) timestamps: bool,
    pub(super) wants_link: bool,
    pub(super) rate_hz: u32,
    pub(super) volume: f32,
    pub(super) lead: Duration,
    pub(super) trail: Duration,
    /// What the caller asked for and does not get.
    pub(super) ignored: Vec<&'static str>,
    speed: f32,
    seed: u64,
    dialect: Option<Dialect>,
    model: Option<&'static str>,
    voice: Option<String>,
}

/// Names what was asked for and is not heeded.
const IGNORED: HeaderName = HeaderName::from_static("x-koe-ignored");
/// The longest silence that can be asked for, in seconds.
const MAX_SILENCE_S: f64 = 60.0;
/// The longest name of a voice that is looked at.
const MAX_VOICE_CHARS: usize = 256;

impl SpeechRequest {
    /// The text, whichever field it is in.
    pub(super) fn take_text(&mut self, app: &App) -> Result<String, ApiError> {
        let text = self.input.take().or_else(|| self.text.take());
        let text = text.ok_or_else(|| ApiError::param("input", "missing", "input is missing"))?;
        check_text("input", &text, app)?;
        Ok(text)
    }

    /// Checks everything but the text.
    pub(super) fn check(&self, app: &App) -> Result<Checked, ApiError> {
        let wrong = |param: &str, message: String| ApiError::param(param, "invalid_value", message);
        for (param, value) in [("ssml", self.ssml), ("allow_voice_tags", self.allow_voice_tags)] {
            if value == Some(true) {
                return Err(ApiError::param(
                    param,
                    "unsupported",
                    format!("{param} is not supported; send plain text, or turns to /dev/dialogue"),
                ));
            }
        }
        let output = match self.response_format.as_deref().or(self.format.as_deref()) {
            None => Output::Sound(Format::Mp3),
            Some(name) => output(name).ok_or_else(|| {
                let param =
                    if self.response_format.is_some() { "response_format" } else { "format" };
                let known: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
                wrong(
                    param,
                    format!(
                        "{:?} is not a format; use one of {}, srt, vtt, json",
                        shown(name),
                        known.join(", ")
                    ),
                )
            })?,
        };
        let sse = match self.stream_format.as_deref() {
            None | Some("audio") => false,
            Some("sse") => true,
            Some(other) => {
                let message = format!("{:?} is not one of audio and sse", shown(other));
                return Err(wrong("stream_format", message));
            }
        };
        if sse && matches!(output, Output::Times(_)) {
            let message = "server-sent events carry sound; ask for them with return_timestamps";
            return Err(wrong("response_format", message.to_owned()));
        }
        let number =
            |param: &str, value: Option<f64>, range: std::ops::RangeInclusive<f64>, usual| {
                let value = value.unwrap_or(usual);
                if range.contains(&value) {
                    return Ok(value);
                }
                let (from, to) = (range.start(), range.end());
                Err(wrong(param, format!("{param} must be from {from} to {to}, not {value}")))
            };
        let speeds = f64::from(*SPEEDS.start())..=f64::from(*SPEEDS.end());
        let speed = number("speed", self.speed, speeds, 1.0)? as f32;
        let volume = number("volume_multiplier", self.volume_multiplier, 0.0..=10.0, 1.0)? as f32;
        let lead = number("leading_silence", self.leading_silence, 0.0..=MAX_SILENCE_S, 0.0)?;
        let trail = number("trailing_silence", self.trailing_silence, 0.0..=MAX_SILENCE_S, 0.0)?;
        let rate_hz = self.sample_rate.unwrap_or(koe_audio::SAMPLE_RATE_HZ);
        if let Output::Sound(format) = output
            && let Err(error) = format.encoder(rate_hz)
        {
            return Err(wrong("sample_rate", error.to_string()));
        }
        Ok(Checked {
            output,
            sse,
            streams: self.stream.unwrap_or(true),
            timestamps: self.return_timestamps.unwrap_or(false),
            wants_link: self.return_download_link.unwrap_or(false),
            rate_hz,
            volume,
            lead: Duration::from_secs_f64(lead),
            trail: Duration::from_secs_f64(trail),
            speed,
            seed: self.seed.unwrap_or(0),
            dialect: dialect(self.lang_code.as_deref().or(self.lang.as_deref()))?,
            ignored: self.ignored(),
            model: model(self.model.as_deref(), &app.service.library().model_name())?,
            voice: self.voice.as_ref().map(|voice| voice.0.clone()),
        })
    }
}

/// What Kokoro-FastAPI's options choose; koe does all of it, always.
const NORMALIZATION_OPTIONS: [(&str, &str); 7] = [
    ("normalize", "normalization_options.normalize"),
    ("unit_normalization", "normalization_options.unit_normalization"),
    ("url_normalization", "normalization_options.url_normalization"),
    ("email_normalization", "normalization_options.email_normalization"),
    (
        "optional_pluralization_normalization",
        "normalization_options.optional_pluralization_normalization",
    ),
    ("phone_normalization", "normalization_options.phone_normalization"),
    ("replace_remaining_symbols", "normalization_options.replace_remaining_symbols"),
];

impl SpeechRequest {
    /// The fields that ask for something that koe does not do, and that no error is worth.
    fn ignored(&self) -> Vec<&'static str> {
        let mut ignored = Vec::new();
        if self.instructions.as_ref().is_some_and(|words| !words.trim().is_empty()) {
            ignored.push("instructions");
        }
        let options = self.normalization_options.as_ref();
        let is_asked = |value: &Value| !matches!(value, Value::Null | Value::Bool(true));
        for (name, path) in NORMALIZATION_OPTIONS {
            if options.and_then(|options| options.get(name)).is_some_and(is_asked) {
                ignored.push(path);
            }
        }
        let is_asked = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Object(map) => !map.is_empty(),
            _ => true,
        };
        for (name, value) in [
            ("download_format", &self.download_format),
            ("return_timing", &self.return_timing),
            ("voice_aliases", &self.voice_aliases),
        ] {
            if value.as_ref().is_some_and(is_asked) {
                ignored.push(name);
            }
        }
        ignored
    }
}

impl Checked {
    /// Names in the answer what the caller asked for and does not get.
    pub(super) fn tell(&self, mut response: Response) -> Response {
        if !self.ignored.is_empty()
            && let Ok(names) = HeaderValue::from_str(&self.ignored.join(", "))
        {
            response.headers_mut().insert(IGNORED, names);
        }
        response
    }

    /// The voice that a turn names, or else the request.
    pub(super) fn cast(&self, app: &App, voice: Option<&str>) -> Result<Arc<Cast>, ApiError> {
        let voice = voice.or(self.voice.as_deref()).map(str::trim);
        // Clients that leave the choice to the server may say so with an empty name.
        let voice = voice.filter(|voice| !voice.is_empty());
        if let Some(voice) = voice
            && voice.chars().count() > MAX_VOICE_CHARS
        {
            let message = format!("a voice's name has at most {MAX_VOICE_CHARS} characters");
            return Err(ApiError::param("voice", "invalid_value", message));
        }
        Ok(app.service.library().cast(self.model, voice)?)
    }

    /// A turn that says `text`.
    pub(super) fn turn(&self, app: &App, cast: Arc<Cast>, text: String) -> Result<Turn, ApiError> {
        self.turn_of(app, cast, Box::new(feed::from_text(text)))
    }

    /// A turn that says what `feed` brings.
    pub(super) fn turn_of(
        &self,
        app: &App,
        cast: Arc<Cast>,
        feed: crate::service::Feed,
    ) -> Result<Turn, ApiError> {
        let dialect = match self.dialect.or(cast.dialect) {
            Some(dialect) => dialect,
            None => {
                let name = cast.names.first().map_or("", |name| &**name);
                match voices::language(name) {
                    // A voice of the operator's own.
                    "unknown" => Dialect::American,
                    language => {
                        let message = format!(
                            "{name} speaks {language}, which koe cannot read yet; send lang_code \
                             \"a\" to have it read English"
                        );
                        return Err(ApiError::param("voice", "unsupported_language", message));
                    }
                }
            }
        };
        let mut settings = app.service.settings();
        settings.dialect = dialect;
        settings.speed = self.speed;
        settings.seed = self.seed;
        Ok(Turn { feed, cast, settings })
    }

    /// The order for these turns.
    pub(super) fn order(
        &self,
        turns: Vec<Turn>,
        between: Duration,
        arrived: Instant,
    ) -> Result<Order, ApiError> {
        let format = match self.output {
            Output::Sound(format) => format,
            // Nobody will hear it.
            Output::Times(_) => Format::Pcm,
        };
        // What is not streamed is a file, and can tell its length.
        let encoder = match self.streams || self.sse {
            true => format.encoder(self.rate_hz),
            false => format.file_encoder(self.rate_hz),
        };
        let encoder = encoder
            .map_err(|error| ApiError::param("sample_rate", "invalid_value", error.to_string()))?;
        let Self { volume, lead, trail, .. } = *self;
        let purpose = Purpose::Request;
        Ok(Order { turns, between, encoder, lead, trail, volume, arrived, purpose })
    }
}

/// A text must be there and must not be longer than the server allows.
pub(super) fn check_text(param: &str, text: &str, app: &App) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Err(ApiError::param(param, "empty_input", format!("{param} is empty")));
    }
    let most = app.options.max_chars;
    let chars = text.chars().count();
    if chars > most {
        let message = format!("{param} has {chars} characters, at most {most} are allowed");
        return Err(ApiError::param(param, "input_too_long", message));
    }
    Ok(())
}

fn output(name: &str) -> Option<Output> {
    let times = match name {
        "srt" => Some(Form::Srt),
        "vtt" => Some(Form::Vtt),
        "json" => Some(Form::Json),
        _ => None,
    };
    times.map(Output::Times).or_else(|| Format::named(name).map(Output::Sound))
}

/// The English that a language code means.
pub(super) fn dialect(code: Option<&str>) -> Result<Option<Dialect>, ApiError> {
    let Some(code) = code else { return Ok(None) };
    match code.to_ascii_lowercase().replace('_', "-").as_str() {
        "" | "auto" => Ok(None),
        "a" | "en" | "en-us" | "american" => Ok(Some(Dialect::American)),
        "b" | "en-gb" | "en-uk" | "british" => Ok(Some(Dialect::British)),
        _ => Err(ApiError::param(
            "lang_code",
            "unsupported_language",
            format!(
                "koe reads American (a, en-us) and British English (b, en-gb), not {:?}",
                shown(code)
            ),
        )),
    }
}

/// What clients call the model that the server was started with.
pub(super) const MODEL_NAMES: [&str; 7] = [
    "kokoro",
    "kokoro-82m",
    "hexgrad/Kokoro-82M",
    "tts-1",
    "tts-1-hd",
    "gpt-4o-mini-tts",
    "gpt-4o-mini-tts-2025-12-15",
];
/// What the small model is called.
pub(super) const BUILTIN: &str = "builtin";

/// What the list of voices calls the model of a named mixture; the voices in it decide.
const MIX: &str = "mix";

/// The library's name for a model; none is the main one, whose own name is `main`.
pub(super) fn model(name: Option<&str>, main: &str) -> Result<Option<&'static str>, ApiError> {
    match name {
        None | Some("" | MIX) => Ok(None),
        Some(name) if name == main => Ok(None),
        Some(BUILTIN) => Ok(Some(BUILTIN)),
        Some(name) if MODEL_NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) => Ok(None),
        Some(name) => {
            let mut error = ApiError::new(
                axum::http::StatusCode::NOT_FOUND,
                "model_not_found",
                format!("there is no model {:?}; GET /v1/models lists them", shown(name)),
            );
            error.detail.param = Some("model".to_owned());
            Err(error)
        }
    }
}

/// As much of the caller's own words as an error repeats.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(64) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_the_lists_show_is_a_model() {
        for name in [None, Some(""), Some("tts-1"), Some("KOKORO"), Some("mix"), Some("our_voices")]
        {
            assert_eq!(model(name, "our_voices").unwrap(), None, "{name:?}");
        }
        assert_eq!(model(Some("builtin"), "kokoro-82m").unwrap(), Some("builtin"));
        let error = model(Some("their_voices"), "our_voices").unwrap_err();
        assert_eq!(error.status, axum::http::StatusCode::NOT_FOUND);
    }
}
