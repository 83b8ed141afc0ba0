//! `koe pull`: gets a model, and shows how far it is.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::failure::chain;
use super::{Failure, PullArgs};
use crate::config::Config;
use crate::models::{self, KOKORO_82M};
use crate::pull::{self, Event, Options, Patience, Release, Source};

pub(super) fn run(args: &PullArgs, config: &Config) -> Result<(), Failure> {
    if args.model != KOKORO_82M {
        return Err(Failure::usage(format!(
            "no model {:?} to pull; there is {KOKORO_82M}",
            args.model
        )));
    }
    let source = match &args.from {
        Some(path) => Source::local(path),
        None => config.source().map_err(|error| Failure::failed(error.to_string()))?,
    };
    let begun_with = models::installed(&config.data, KOKORO_82M);
    let options = Options {
        release: Release::kokoro_82m(),
        data: config.data.clone(),
        source,
        voices: (!args.voices.is_empty()).then(|| args.voices.clone()),
        verify: args.verify,
        patience: Patience::default(),
    };
    let mut show = Show::new();
    let pulled = pull::run(&options, &mut |event| show.event(event));
    show.clear();
    let model = pulled.map_err(|error| Failure::failed(chain(&error)))?;
    let n_voices = model.voices().len();
    let mib = model.bytes() as f64 / f64::from(1 << 20);
    let what = match begun_with.is_some_and(|before| before == model) {
        true => "is installed already",
        false => "is installed",
    };
    super::tell(format_args!(
        "Kokoro-82M {what}: {n_voices} voices, {mib:.0} MiB in {}",
        model.folder.display()
    ));
    Ok(())
}

/// A bar for the file on its way on a terminal; a line for each large step elsewhere.
struct Show {
    bar: ProgressBar,
    on_terminal: bool,
    begun: Instant,
}

impl Show {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{bar:24} {bytes:>11} of {total_bytes:11} {bytes_per_sec:>12}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, on_terminal: std::io::stderr().is_terminal(), begun: Instant::now() }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Waiting => self.line("waiting for another koe pull"),
            Event::File { path, index, n_files } => {
                self.bar.reset();
                self.bar.set_length(0);
                self.bar.set_message(format!("{path} ({} of {n_files})", index + 1));
                // The weights are nine tenths of it.
                if !self.on_terminal && (index == 0 || path.ends_with(".pth")) {
                    self.line(&format!("downloading {path} ({} of {n_files})", index + 1));
                }
            }
            Event::Received { done, total, .. } => {
                if let Some(total) = total {
                    self.bar.set_length(total);
                }
                self.bar.set_position(done);
            }
            Event::Checked { path, done } => {
                self.bar.set_message(format!("checking {path}"));
                self.bar.set_position(done);
            }
            Event::Retry { path, why, wait } => {
                let wait = wait.as_secs_f64();
                self.line(&format!("{path}: {why}; trying again in {wait:.0} s"));
            }
        }
    }

    fn line(&self, text: &str) {
        let seconds = self.begun.elapsed().as_secs();
        self.bar.suspend(|| super::tell(format_args!("koe: {text} ({seconds} s)")));
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
