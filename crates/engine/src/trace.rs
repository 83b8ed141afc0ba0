//! A synthesis laid open, stage by stage, to be compared with the reference.

/// What drives the generator of a traced synthesis.
#[derive(Clone, Copy, Debug)]
pub enum Drive<'a> {
    /// The noise of the request's seed, as in a normal synthesis.
    Seed,
    /// No noise at all.
    ZeroNoise,
    /// This harmonic source, one number a sample.
    Source(&'a [f32]),
    /// This spectrum of the source, `[frames][2][bins]`: magnitudes, then phases.
    Spectrum(&'a [f32]),
}

/// The stages of one synthesis, in the order they were computed.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// All stages: `bert`, `prosody_text`, `duration` (before rounding), `f0`, `n`, `text`,
    /// `decoder_features`, `source` (if it was made), `har` (its spectrum), `waveform`.
    pub stages: Vec<Stage>,
    /// Frames of every token, padding included.
    pub frames: Vec<u32>,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// `[T][channels]`
    pub values: Vec<f32>,
    /// Numbers a row.
    pub channels: usize,
}

impl Trace {
    pub(crate) fn push(&mut self, name: &'static str, values: &[f32], channels: usize) {
        self.stages.push(Stage { name, values: values.to_vec(), channels });
    }

    /// The stage of that name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}
