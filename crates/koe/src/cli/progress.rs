//! How far a long text is, on a terminal.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::Block;

/// Shorter texts are done before a bar could be read.
const LONG_BYTES: u64 = 600;

/// A bar on standard error, or nothing where that is no terminal or the text is short.
pub(super) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// For a text of so many bytes, if known.
    pub(super) fn new(bytes: Option<u64>, quiet: bool) -> Self {
        let hidden = quiet || bytes.is_some_and(|bytes| bytes < LONG_BYTES);
        let target =
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(bytes, target);
        let template =
            if bytes.is_some() { "{bar:24} {percent:>3}%  {msg}" } else { "{spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, begun: Instant::now() }
    }

    pub(super) fn show(&mut self, block: &Block) {
        if self.bar.is_hidden() {
            return;
        }
        if let Some(spoken) = &block.spoken {
            self.bar.set_position(spoken.span.end as u64);
        }
        let sound = koe_audio::seconds(block.start + block.samples.len() as u64);
        let times = sound / self.begun.elapsed().as_secs_f64();
        let (minutes, seconds) = (sound as u64 / 60, sound as u64 % 60);
        self.bar
            .set_message(format!("{minutes}:{seconds:02} of sound, {times:.1} times real time"));
        self.bar.tick();
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
