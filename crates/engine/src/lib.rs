//! Kokoro-82M inference: tokens and a style in, sound and the duration of every token out.
//!
//! [`Model`] is the read-only weights, shared by all; [`Session`] is the scratch of one running
//! synthesis.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Samples a second of everything the engine makes; mono.
pub const SAMPLE_RATE_HZ: u32 = 24_000;
/// Samples in one frame, the unit of token durations (25 ms).
pub const FRAME_SAMPLES: usize = 600;
/// The most tokens that one call takes, the two padding tokens not counted.
pub const MAX_TOKENS: usize = 510;

/// Tells a running synthesis to stop; looked at between layers.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not yet cancelled.
    pub fn new() -> Self {
        Self::default()
    }
    /// Asks every synthesis that holds a clone of this to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What to speak.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Token ids without the two padding zeros, 1 to [`MAX_TOKENS`] of them.
    pub tokens: &'a [u16],
    /// One style row: 128 acoustic numbers, then 128 prosodic ones.
    pub style: &'a [f32],
    /// 1.0 is the voice's own pace; from 0.25 to 4.
    pub speed: f32,
    /// Chooses the noise of unvoiced sounds.
    pub seed: u64,
}

/// What a synthesis made; borrows the session's buffers.
#[derive(Clone, Copy, Debug)]
pub struct Speech<'a> {
    /// Mono samples at [`SAMPLE_RATE_HZ`], within about ±1.
    pub samples: &'a [f32],
    /// Frames of every token, the two padding tokens included: `tokens.len() + 2` numbers.
    pub frames: &'a [u32],
}

/// Why the engine could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// The weights of one checkpoint, mapped, read-only; a clone is another handle to the same.
#[derive(Clone)]
pub struct Model(Arc<()>);

impl Model {
    /// The small model that is compiled in.
    pub fn builtin() -> Result<Self, Error> {
        todo!()
    }
    /// A Kokoro checkpoint: a folder with `config.json`, the weights and `voices/`. Its packed
    /// form is kept in `cache`.
    pub fn open(_folder: &Path, _cache: &Path) -> Result<Self, Error> {
        todo!()
    }
    /// Token ids of phoneme symbols; the second part lists symbols that the vocabulary lacks.
    pub fn tokens(&self, _symbols: &str) -> (Vec<u16>, Vec<char>) {
        todo!()
    }
    /// The names of the voices that come with the model.
    pub fn voices(&self) -> Vec<String> {
        todo!()
    }
    /// One of [`Model::voices`].
    pub fn voice(&self, _name: &str) -> Result<Voice, Error> {
        todo!()
    }
}

/// A voice: a style row for every length of text.
#[derive(Clone)]
pub struct Voice(Arc<[f32]>);

impl Voice {
    /// The style row for a text of `n_tokens` tokens.
    pub fn style(&self, _n_tokens: usize) -> &[f32] {
        &self.0
    }
    /// The weighted mean of voices; weights are made to sum to one.
    pub fn mix(_parts: &[(Voice, f32)]) -> Result<Voice, Error> {
        todo!()
    }
}

/// The scratch of one synthesis and the threads that work on it.
pub struct Session(Model);

impl Session {
    /// A session that works with `n_threads` threads, the calling one included.
    pub fn new(model: &Model, _n_threads: usize) -> Self {
        Self(model.clone())
    }
    /// Speaks. Allocates nothing once it has spoken something as long.
    pub fn synthesize(&mut self, _request: &Request<'_>, _cancel: &Cancel) -> Result<Speech<'_>, Error> {
        todo!()
    }
}
