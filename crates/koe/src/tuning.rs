//! What is remembered of this machine's speed, and how it is measured where nothing is.
//!
//! The command line and the server cut texts by the same measured speed, so that the same text
//! sounds the same through both, at the first time and ever after.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use koe_engine::{Cancel, Isa, Model};
use koe_priming::tuning::{Machine, Measured, Recalled, Tuning};

use crate::config::Config;
use crate::pipeline::{self, Ramp, Settings};
use crate::speaker::Speaker;
use crate::{feed, machine};

/// Long enough to measure by.
pub const SENTENCE: &str = "Ready to speak, and never cold.";

/// The memory of this machine, unless it is not wanted.
pub fn memory(config: &Config, isa: Isa) -> Option<Tuning> {
    let machine = Machine {
        processor: machine::processor(Path::new("/")).unwrap_or_default(),
        threads: machine::threads(),
        isa: isa.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    config.tuning.then(|| Tuning::new(&config.cache, machine))
}

/// The number of threads that was measured to be best for one synthesis, if that was tried.
pub fn threads(tuning: &Tuning, model: &Model) -> Option<usize> {
    match tuning.recall(model.identity()) {
        // Somebody else may have measured with more than there are, or edited the file.
        Recalled::Known(measured) => Some(measured.threads?.min(machine::threads())),
        Recalled::Stale | Recalled::Unknown => None,
    }
}

/// How texts are cut for the model of that identity, if nothing needs to be measured for it.
pub fn recalled(config: &Config, isa: Isa, identity: &str) -> Option<Ramp> {
    match memory(config, isa)?.recall(identity) {
        Recalled::Known(measured) => Some(Ramp::for_speed(measured.real_time_factor)),
        Recalled::Stale | Recalled::Unknown => None,
    }
}

/// How texts are cut for a model on this machine: as remembered, or as `speaker` shows now.
pub fn ramp(
    tuning: Option<&Tuning>,
    model: &Model,
    speaker: &mut dyn Speaker,
    cancel: &Cancel,
) -> Result<Ramp, pipeline::Error> {
    let recalled = tuning.map(|tuning| tuning.recall(model.identity()));
    if let Some(Recalled::Known(measured)) = recalled {
        return Ok(Ramp::for_speed(measured.real_time_factor));
    }
    let mut real_time_factor = 0.0;
    // What the first run takes, memory, is not speed.
    for _ in 0..2 {
        let begun = Instant::now();
        let text = feed::from_text(SENTENCE.to_owned());
        let mut listener = |_| ControlFlow::Continue(());
        let summary = pipeline::speak(text, &Settings::default(), speaker, cancel, &mut listener)?;
        real_time_factor = begun.elapsed().as_secs_f64() / koe_audio::seconds(summary.samples);
    }
    if let Some(tuning) = tuning {
        // Without a memory the next start measures again, nothing else.
        let _ = tuning.remember(model.identity(), Measured { threads: None, real_time_factor });
    }
    Ok(Ramp::for_speed(real_time_factor))
}
