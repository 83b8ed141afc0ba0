//! An engine for tests: every symbol is a tone of its own, durations are known beforehand.
//!
//! A letter lasts 3 frames, punctuation and spaces 2, padding 10, all divided by the speed. Letters
//! sound; the rest is a floor at -80 dB. `g` is not in its vocabulary.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use koe_engine::{Cancel, Error, FRAME_SAMPLES, Speech};

use crate::phonemes::is_mark;
use crate::speaker::Speaker;

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) calls: Arc<AtomicUsize>,
    /// Fails or misbehaves from this call on.
    pub(crate) trouble: Option<(usize, Trouble)>,
    /// The most tokens it takes, if not the usual few.
    pub(crate) room: Option<usize>,
    pub(crate) samples: Vec<f32>,
    pub(crate) frames: Vec<u32>,
}

#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    NotANumber,
    WrongDurations,
    Panic,
}

pub(crate) const LETTER: u32 = 3;
pub(crate) const MARK: u32 = 2;
pub(crate) const PADDING: u32 = 10;

impl Speaker for Fake {
    fn tokens(&self, symbols: &str) -> (Vec<u16>, Vec<char>) {
        let tokens = symbols.chars().map(|c| (u32::from(c) & 0xffff) as u16).collect();
        (tokens, symbols.chars().filter(|&c| c == 'g').collect())
    }

    fn max_tokens(&self) -> usize {
        self.room.unwrap_or(40)
    }

    fn synthesize(
        &mut self,
        tokens: &[u16],
        speed: f32,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Speech<'_>, Error> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let is_letter = |token: u16| char::from_u32(token.into()).is_some_and(|c| !is_mark(c));
        let scaled = |frames: u32| (frames as f32 / speed).round().max(1.0) as u32;
        self.frames.clear();
        self.frames.push(scaled(PADDING));
        self.frames.extend(
            tokens.iter().map(|&token| scaled(if is_letter(token) { LETTER } else { MARK })),
        );
        self.frames.push(scaled(PADDING));
        self.samples.clear();
        for (i, &frames) in self.frames.iter().enumerate() {
            let token = i.checked_sub(1).and_then(|i| tokens.get(i)).copied().unwrap_or(32);
            let size = if is_letter(token) { 0.5 } else { 5e-5 };
            let step = 0.02 + f32::from(token % 97) * 0.003 + (seed % 7) as f32 * 1e-4;
            let n = frames as usize * FRAME_SAMPLES;
            self.samples.extend((0..n).map(|n| size * (n as f32 * step).sin()));
        }
        match self.trouble {
            Some((from, trouble)) if call >= from => match trouble {
                Trouble::NotANumber => self.samples[7] = f32::NAN,
                Trouble::WrongDurations => self.frames[1] += 1,
                Trouble::Panic => panic!("the fake engine panics"),
            },
            _ => {}
        }
        Ok(Speech { samples: &self.samples, frames: &self.frames })
    }
}
