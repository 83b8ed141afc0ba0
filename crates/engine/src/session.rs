//! [`Session`]: the scratch and the threads of one running synthesis.

use std::time::Instant;

use koe_kernels::Isa;

use crate::native::{Context, Excitation, Input, Noise, Probe, Scratch};
use crate::profile::{Ceiling, Profile};
use crate::threads::Threads;
use crate::trace::{Drive, Trace};
use crate::{Cancel, Error, HALF_STYLE, MAX_TOKENS, Model};

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
    /// Mono samples at [`SAMPLE_RATE_HZ`](crate::SAMPLE_RATE_HZ), within about ±1.
    pub samples: &'a [f32],
    /// Frames of every token, the two padding tokens included: `tokens.len() + 2` numbers.
    pub frames: &'a [u32],
}

/// More threads than this would find no work: a layer is cut into fewer pieces.
pub const MAX_THREADS: usize = 64;

/// About ten seconds of sound, whose buffers take a hundred megabytes.
const LONG_TOKENS: usize = 180;

/// The scratch of one synthesis and the threads that work on it. Sessions of one model share its
/// weights; each speaks one thing at a time.
pub struct Session {
    model: Model,
    isa: Isa,
    /// Whether products of f32 are split into bf16: where those are multiplied in tiles.
    splits: bool,
    threads: Threads,
    scratch: Scratch,
}

impl Session {
    /// A session that works with `n_threads` threads, 1 to [`MAX_THREADS`], the calling one included,
    /// and the best instructions of this CPU.
    pub fn new(model: &Model, n_threads: usize) -> Self {
        Self::with_isa(model, n_threads, Isa::detect())
    }

    /// A session that works with the given instructions.
    pub fn with_isa(model: &Model, n_threads: usize, isa: Isa) -> Self {
        let threads = Threads::new(n_threads.clamp(1, MAX_THREADS));
        let splits = isa.has_tiles();
        Self { model: model.clone(), isa, splits, threads, scratch: Scratch::default() }
    }

    /// The model it speaks with.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Threads that work on a synthesis, the calling one included.
    pub fn n_threads(&self) -> usize {
        self.threads.count()
    }

    /// Speaks. The samples depend on the request, the model and the instruction set alone, not on
    /// the number of threads. Allocates nothing once it has spoken something as long.
    pub fn synthesize(
        &mut self,
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Speech<'_>, Error> {
        let excitation = Excitation::Noise(Noise::Seed(request.seed));
        self.speak(request, excitation, cancel, None, None)?;
        let samples = self.scratch.samples.get(self.scratch.n_samples);
        Ok(Speech { samples, frames: &self.scratch.frames })
    }

    /// The frames of every token that [`Session::synthesize`] would speak, padding included, at
    /// about a tenth of its cost: for a runtime that makes the sound but does not tell them.
    pub fn durations(&mut self, request: &Request<'_>, cancel: &Cancel) -> Result<&[u32], Error> {
        self.check(request)?;
        let Self { model, isa, splits, threads, scratch } = self;
        let Request { tokens, style, speed, seed } = *request;
        let excitation = Excitation::Noise(Noise::Seed(seed));
        let weights = model.pack();
        let (isa, splits, long) = (*isa, *splits, false);
        let (probe, profile) = (None, None);
        let mut cx = Context { isa, splits, threads, cancel, weights, long, probe, profile };
        model.network().durations(&mut cx, &Input { tokens, style, speed, excitation }, scratch)?;
        Ok(&scratch.frames)
    }

    /// Speaks and keeps every named stage, to compare with the reference.
    pub fn trace(&mut self, request: &Request<'_>, drive: Drive<'_>) -> Result<Trace, Error> {
        let excitation = match drive {
            Drive::Seed => Excitation::Noise(Noise::Seed(request.seed)),
            Drive::ZeroNoise => Excitation::Noise(Noise::Zero),
            Drive::Source(source) => Excitation::Source(source),
            Drive::Spectrum(spectrum) => Excitation::Spectrum(spectrum),
        };
        let mut trace = Trace::default();
        let mut probe =
            |name: &'static str, values: &[f32], channels| trace.push(name, values, channels);
        self.speak(request, excitation, &Cancel::new(), Some(&mut probe), None)?;
        trace.frames.clone_from(&self.scratch.frames);
        Ok(trace)
    }

    /// Speaks and tells where the time went. The first synthesis of a session and of a length
    /// takes memory, which is not a layer's time: profile a later one.
    pub fn profile(&mut self, request: &Request<'_>) -> Result<Profile, Error> {
        let mut profile = Profile::default();
        let started = Instant::now();
        let excitation = Excitation::Noise(Noise::Seed(request.seed));
        self.speak(request, excitation, &Cancel::new(), None, Some(&mut profile))?;
        profile.total = started.elapsed();
        Ok(profile)
    }

    /// What the machine can do with as many threads, to read a profile by. Takes a quarter of a
    /// second and gives its memory back; other work on the machine lowers it.
    pub fn ceiling(&mut self) -> Ceiling {
        Ceiling::measure(self.isa, &mut self.threads)
    }

    /// Gives back the memory that past syntheses took; the next one takes it anew.
    pub fn release_memory(&mut self) {
        self.scratch = Scratch::default();
        self.threads.release();
    }

    fn speak<'a>(
        &mut self,
        request: &Request<'a>,
        excitation: Excitation<'a>,
        cancel: &Cancel,
        probe: Option<Probe<'_>>,
        profile: Option<&mut Profile>,
    ) -> Result<(), Error> {
        self.check(request)?;
        let Self { model, isa, splits, threads, scratch } = self;
        let (isa, splits) = (*isa, *splits);
        let Request { tokens, style, speed, .. } = *request;
        let long = tokens.len() >= LONG_TOKENS;
        let weights = model.pack();
        let mut cx = Context { isa, splits, threads, cancel, weights, long, probe, profile };
        model.network().speak(&mut cx, &Input { tokens, style, speed, excitation }, scratch)
    }

    /// What the network takes for granted about a request.
    fn check(&self, request: &Request<'_>) -> Result<(), Error> {
        let config = self.model.config();
        let most = MAX_TOKENS.min(config.plbert.max_position_embeddings - 2);
        let n = request.tokens.len();
        let problem = if !(1..=most).contains(&n) {
            format!("{n} tokens, but one call takes 1 to {most}")
        } else if let Some(id) =
            request.tokens.iter().find(|&&id| usize::from(id) >= config.n_token)
        {
            format!("token {id} is not in the vocabulary, whose ids end at {}", config.n_token - 1)
        } else if request.style.len() != 2 * HALF_STYLE {
            format!("a style of {} numbers, but it takes {}", request.style.len(), 2 * HALF_STYLE)
        } else if !request.style.iter().all(|x| x.is_finite()) {
            "the style holds a number that is not finite".to_owned()
        } else if !(0.25..=4.0).contains(&request.speed) {
            format!("speed {} is not within 0.25 to 4", request.speed)
        } else {
            return Ok(());
        };
        Err(Error::Request(problem))
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("model", &self.model)
            .field("isa", &self.isa)
            .field("n_threads", &self.n_threads())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;

    /// What a CPU with tiles does, by the plain product in place of tiles.
    #[test]
    fn split_products_change_no_duration_and_do_not_depend_on_threads() {
        let model = Model::builtin_in(Precision::F32).unwrap();
        let voice = model.voice("am_rms").unwrap();
        let tokens: Vec<u16> = (0..40).map(|i| 43 + i % 60).collect();
        let request = Request { tokens: &tokens, style: voice.style(40), speed: 1.0, seed: 5 };
        let speak = |session: &mut Session| {
            let speech = session.synthesize(&request, &Cancel::new()).unwrap();
            (speech.samples.to_vec(), speech.frames.to_vec())
        };
        let mut whole = Session::new(&model, 2);
        whole.splits = false;
        let (_, frames) = speak(&mut whole);
        let spoken = [1, 2, 3].map(|n_threads| {
            let mut session = Session::new(&model, n_threads);
            session.splits = true;
            speak(&mut session)
        });
        assert!(spoken.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(spoken[0].1, frames);

        let mut session = Session::new(&model, 2);
        session.splits = true;
        let profile = session.profile(&request).unwrap();
        let is_split = |name: &str| {
            let mut layers = profile.layers.iter().filter(|layer| layer.name.contains(name));
            layers.any(|layer| layer.precision == Some(Precision::Bf16))
        };
        for name in
            ["attention.qkv", "predictor.text_encoder.lstms.0.input", "decoder.encode.conv1"]
        {
            assert!(is_split(name), "{name} is not split");
        }
        assert!(!is_split("conv_post"));
    }
}
