//! The engine as the pipeline sees it: symbols to tokens, tokens to sound.
//!
//! [`Native`] is the real one, a session of the engine with a voice. A trait stands between, so
//! that other kinds of session, and the pipeline's tests, can take its place.

use koe_engine::{Cancel, Error, Model, Request, Session, Speech, Voice};
use koe_text::Dialect;

/// Speaks tokens with one voice.
pub trait Speaker: Send {
    /// The token of every symbol; the second part lists symbols that the vocabulary lacks.
    fn tokens(&self, symbols: &str) -> (Vec<u16>, Vec<char>);

    /// The most tokens that one call of [`Speaker::synthesize`] takes.
    fn max_tokens(&self) -> usize {
        koe_engine::MAX_TOKENS
    }

    /// The factor that levels this voice with others.
    fn gain(&self) -> f32 {
        1.0
    }

    /// Speaks: samples, and the frames of every token with its padding.
    fn synthesize(
        &mut self,
        tokens: &[u16],
        speed: f32,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Speech<'_>, Error>;
}

/// What is known of a voice beside its sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Voicing {
    /// The English that it speaks, if its name says one.
    pub dialect: Option<Dialect>,
    /// The names of the voices in it.
    pub names: Vec<String>,
    /// What whoever runs koe should know of the model.
    pub warnings: Vec<String>,
}

/// A voice in a session of the native engine.
pub struct Native {
    model: Model,
    session: Session,
    voice: Voice,
    gain: f32,
}

impl Native {
    /// Speaks with `voice`, made `gain` times louder, in a session of its model.
    pub fn new(session: Session, voice: Voice, gain: f32) -> Self {
        Self { model: session.model().clone(), session, voice, gain }
    }
}

impl Speaker for Native {
    fn tokens(&self, symbols: &str) -> (Vec<u16>, Vec<char>) {
        self.model.tokens(symbols)
    }

    fn gain(&self) -> f32 {
        self.gain
    }

    fn synthesize(
        &mut self,
        tokens: &[u16],
        speed: f32,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Speech<'_>, Error> {
        let style = self.voice.style(tokens.len());
        self.session.synthesize(&Request { tokens, style, speed, seed }, cancel)
    }
}
