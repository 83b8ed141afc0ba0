//! One order being filled: text to encoded sound on a thread of its own, behind a bounded queue.
//!
//! The thread runs [`crate::pipeline`] and the encoder; the computing itself happens on a lane that
//! is borrowed for one chunk at a time and is never held while the listener is waited for. Whoever
//! listens gets [`Part`]s; when it drops the [`Running`] job, the work stops within a layer of the
//! model, and when it stops reading, the job waits for a while and then gives up.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use koe_audio::Encoder;
use koe_engine::{Cancel, Request, Speech};
use koe_onnx::Sound;
use koe_text::NoteKind;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::lanes::{Lanes, Refused};
use super::library::Cast;
use super::readings::Readings;
use crate::feed::{self, Segment};
use crate::pipeline::{self, Block, Event, Settings, Spoken, Summary};
use crate::playback::Playback;
use crate::speaker::Speaker;

/// Text on its way in.
pub type Feed = Box<dyn Iterator<Item = Result<Segment, feed::Error>> + Send>;

/// What to speak, and how it is to come out.
pub struct Order {
    /// One after the other, each with its voice, in one sound.
    pub turns: Vec<Turn>,
    /// Silence between two turns.
    pub between: Duration,
    /// Makes the bytes.
    pub encoder: Box<dyn Encoder>,
    /// Silence before the first turn.
    pub lead: Duration,
    /// Silence after the last turn.
    pub trail: Duration,
    /// How much louder than the voice is by itself.
    pub volume: f32,
    /// When the request came.
    pub arrived: Instant,
    /// Who wants it.
    pub purpose: Purpose,
}

/// Who wants an order filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A listener; it is measured.
    Request,
    /// The server itself, to be ready: as urgent as a request, but nobody's first sound.
    Proof,
    /// The server itself, with time to spare: whatever a listener wants goes first.
    WarmUp,
}

/// How much later than everything else a warm-up's sound is due.
const WARM_UP_DUE: Duration = Duration::from_secs(3600);

/// What one voice says.
pub struct Turn {
    /// The text.
    pub feed: Feed,
    /// The voice.
    pub cast: Arc<Cast>,
    /// How to speak it.
    pub settings: Settings,
}

/// What a job hands to its listener, in order.
#[derive(Debug)]
pub enum Part {
    /// Bytes of the encoded sound.
    Bytes(Bytes),
    /// What belongs in place of the very first bytes, where the whole is kept and not yet sent.
    Opening(Bytes),
    /// What is spoken in the sound that follows.
    Said(Said),
    /// Something that could not be spoken as written.
    Note {
        /// In the text of which turn.
        turn: usize,
        /// What happened.
        kind: NoteKind,
        /// Where, in characters of the turn's text.
        chars: Range<usize>,
    },
    /// The end; nothing follows.
    Done(Result<Summary, Failure>),
}

/// A chunk of speech with its times.
#[derive(Debug)]
pub struct Said {
    /// In which turn.
    pub turn: usize,
    /// The text and its words; samples count from the start of the whole sound, at 24 kHz.
    pub spoken: Spoken,
    /// For every word, its place in the turn's text, in characters (Unicode code points).
    pub chars: Vec<Range<usize>>,
}

/// Why a job ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its first chunk found no lane in time.
    #[error("every processor is busy; try again in a moment")]
    Overloaded,
    /// The listener stopped reading.
    #[error("the reader stopped reading")]
    Stalled,
    /// Its thread is gone.
    #[error("internal error: the job ended without a word")]
    Lost,
    /// The text could not be spoken.
    #[error(transparent)]
    Speech(#[from] pipeline::Error),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the request's arrival to a lane for its first chunk.
    pub queue: Duration,
    /// With the queue full and the listener reading nothing.
    pub stall: Duration,
}

/// Parts that may wait for the listener; with [`SLICE`] this bounds what a slow one costs.
const QUEUE: usize = 8;
/// The most bytes in a part.
const SLICE: usize = 32 * 1024;

/// A job that runs. Dropping it stops the work.
pub struct Running {
    parts: mpsc::Receiver<Part>,
    /// Taken out of the queue and not handed on yet.
    ready: VecDeque<Part>,
    cancel: Cancel,
    lanes: Lanes,
}

impl Running {
    /// Waits for the first sound. An error here means that nothing was handed out yet.
    pub async fn first_sound(&mut self) -> Result<(), Failure> {
        loop {
            match self.parts.recv().await {
                None => return Err(Failure::Lost),
                Some(Part::Done(Err(failure))) => return Err(failure),
                Some(part) => {
                    let is_settled = matches!(part, Part::Bytes(_) | Part::Done(_));
                    self.ready.push_back(part);
                    if is_settled {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The next part; [`Part::Done`] is the last. May be called again after it was dropped
    /// unfinished: nothing is lost.
    pub async fn next(&mut self) -> Part {
        match self.ready.pop_front() {
            Some(part) => part,
            None => self.parts.recv().await.unwrap_or(Part::Done(Err(Failure::Lost))),
        }
    }

    /// What stops the job, from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper { cancel: self.cancel.clone(), lanes: self.lanes.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper().stop();
    }
}

/// Stops a job.
#[derive(Clone)]
pub struct Stopper {
    cancel: Cancel,
    lanes: Lanes,
}

impl Stopper {
    /// The job ends with [`pipeline::Error::Cancelled`].
    pub fn stop(&self) {
        self.cancel.cancel();
        self.lanes.wake();
    }
}

/// What every job of a service shares.
#[derive(Clone)]
pub(super) struct Shop {
    pub(super) lanes: Lanes,
    pub(super) readings: Arc<Readings>,
    pub(super) patience: Patience,
    pub(super) runtime: Handle,
}

/// Begins to fill `order`. `held` is dropped when the job is over.
pub(super) fn start<T: Send + 'static>(
    shop: Shop,
    order: Order,
    held: T,
) -> std::io::Result<Running> {
    let (sender, parts) = mpsc::channel(QUEUE);
    let cancel = Cancel::new();
    let lanes = shop.lanes.clone();
    let job_cancel = cancel.clone();
    std::thread::Builder::new().name("job".into()).spawn(move || {
        let outlet = Outlet { sender, shop, cancel: job_cancel, stalled: false };
        fill(outlet, order);
        drop(held);
    })?;
    Ok(Running { parts, ready: VecDeque::new(), cancel, lanes })
}

/// The way to the listener.
struct Outlet {
    sender: mpsc::Sender<Part>,
    shop: Shop,
    cancel: Cancel,
    stalled: bool,
}

impl Outlet {
    fn send(&mut self, part: Part) -> ControlFlow<()> {
        use mpsc::error::TrySendError;
        let sent = match self.sender.try_send(part) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(part)) => {
                let sending = self.sender.send_timeout(part, self.shop.patience.stall);
                match self.shop.runtime.block_on(sending) {
                    Ok(()) => true,
                    Err(error) => {
                        self.stalled = matches!(error, mpsc::error::SendTimeoutError::Timeout(_));
                        false
                    }
                }
            }
        };
        if sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn send_bytes(&mut self, bytes: Vec<u8>) -> ControlFlow<()> {
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            self.send(Part::Bytes(bytes.split_to(bytes.len().min(SLICE))))?;
        }
        ControlFlow::Continue(())
    }
}

fn fill(mut outlet: Outlet, order: Order) {
    let is_request = order.purpose == Purpose::Request;
    let late = Arc::new(AtomicBool::new(false));
    // A panic spends this job, and the sessions of the lane that it computed on.
    let outcome = catch_unwind(AssertUnwindSafe(|| speak(&mut outlet, order, &late)));
    let outcome = outcome.unwrap_or_else(|panic| {
        Err(pipeline::Error::Panicked(crate::stream::reason(&*panic)).into())
    });
    let outcome = match outcome {
        Err(_) if late.load(Ordering::SeqCst) => Err(Failure::Overloaded),
        Err(_) if outlet.stalled => Err(Failure::Stalled),
        outcome => outcome,
    };
    if is_request {
        outlet.shop.readings.job_ended(&outcome);
    }
    let _ = outlet.send(Part::Done(outcome));
}

fn speak(outlet: &mut Outlet, order: Order, late: &Arc<AtomicBool>) -> Result<Summary, Failure> {
    let Order { turns, between, encoder, lead, trail, volume, arrived, purpose } = order;
    let playback = Playback::default();
    let mut desk = Desk { outlet, encoder, volume, arrived, purpose, position: 0, playback };
    let mut total = Summary::default();
    desk.silence(lead)?;
    for (i, mut turn) in turns.into_iter().enumerate() {
        if i > 0 {
            desk.silence(between)?;
        }
        turn.settings.given = total.tokens as usize;
        let summary = desk.turn(i, turn, late)?;
        total.samples += summary.samples;
        total.chunks += summary.chunks;
        total.tokens += summary.tokens;
        total.text_bytes += summary.text_bytes;
    }
    desk.silence(trail)?;
    let mut bytes = Vec::new();
    desk.encoder.finish(&mut bytes);
    total.samples = desk.position;
    let mut sent = desk.outlet.send_bytes(bytes);
    if let (ControlFlow::Continue(()), Some(opening)) = (sent, desk.encoder.opening()) {
        sent = desk.outlet.send(Part::Opening(opening.into()));
    }
    match sent {
        ControlFlow::Continue(()) => Ok(total),
        ControlFlow::Break(()) => Err(pipeline::Error::Cancelled.into()),
    }
}

/// Where the sound of all turns is put together.
struct Desk<'a> {
    outlet: &'a mut Outlet,
    encoder: Box<dyn Encoder>,
    volume: f32,
    arrived: Instant,
    purpose: Purpose,
    /// Samples so far, at 24 kHz.
    position: u64,
    playback: Playback,
}

impl Desk<'_> {
    fn turn(
        &mut self,
        index: usize,
        turn: Turn,
        late: &Arc<AtomicBool>,
    ) -> Result<Summary, pipeline::Error> {
        let Turn { feed, cast, settings } = turn;
        let text = Arc::new(std::sync::Mutex::new(Offsets::default()));
        let heard = text.clone();
        let feed = feed.inspect(move |segment| {
            if let Ok(segment) = segment {
                lock(&heard).push(segment);
            }
        });
        let due = Arc::new(std::sync::Mutex::new(self.playback.until()));
        let mut speaker = Borrower {
            shop: self.outlet.shop.clone(),
            cast,
            give_up: self
                .playback
                .until()
                .is_none()
                .then(|| self.arrived + self.outlet.shop.patience.queue),
            arrived: self.arrived,
            purpose: self.purpose,
            due: due.clone(),
            late: late.clone(),
            sound: Sound::default(),
        };
        let start = self.position;
        let cancel = self.outlet.cancel.clone();
        let summary = pipeline::speak(feed, &settings, &mut speaker, &cancel, &mut |event| {
            let flow = match event {
                Event::Note(note) => {
                    let chars = lock(&text).chars(&note.span);
                    self.outlet.send(Part::Note { turn: index, kind: note.kind, chars })
                }
                Event::Sound(block) => self.block(index, start, block, &mut lock(&text)),
            };
            *lock(&due) = self.playback.until();
            flow
        })?;
        Ok(summary)
    }

    fn block(
        &mut self,
        turn: usize,
        start: u64,
        mut block: Block,
        text: &mut Offsets,
    ) -> ControlFlow<()> {
        if let Some(mut spoken) = block.spoken.take() {
            let chars = spoken.words.iter().map(|word| text.chars(&word.span)).collect();
            let shift = |range: &mut Range<u64>| *range = range.start + start..range.end + start;
            shift(&mut spoken.audible);
            spoken.words.iter_mut().for_each(|word| shift(&mut word.samples));
            self.outlet.send(Part::Said(Said { turn, spoken, chars }))?;
        }
        if self.volume != 1.0 {
            block.samples.iter_mut().for_each(|sample| *sample *= self.volume);
        }
        self.sound(&block.samples)
    }

    fn sound(&mut self, samples: &[f32]) -> ControlFlow<()> {
        let mut bytes = Vec::new();
        self.encoder.encode(samples, &mut bytes);
        self.position += samples.len() as u64;
        let is_request = self.purpose == Purpose::Request;
        if is_request {
            self.outlet.shop.readings.sound(samples.len() as u64);
        }
        if !samples.is_empty() {
            if is_request && self.playback.until().is_none() {
                self.outlet.shop.readings.first_audio(self.arrived.elapsed());
            }
            self.playback.add(samples.len() as u64, Instant::now());
        }
        self.outlet.send_bytes(bytes)
    }

    /// Silence, a second at a time, so that a long one takes no more memory than a short one.
    fn silence(&mut self, length: Duration) -> Result<(), Failure> {
        let mut left = koe_audio::samples_in(length);
        while left > 0 {
            let part = left.min(u64::from(koe_audio::SAMPLE_RATE_HZ));
            let silence = vec![0.0; part as usize];
            if self.sound(&silence).is_break() {
                return Err(pipeline::Error::Cancelled.into());
            }
            left -= part;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A voice that borrows a lane for every chunk.
struct Borrower {
    shop: Shop,
    cast: Arc<Cast>,
    /// Until when the first chunk may wait.
    give_up: Option<Instant>,
    arrived: Instant,
    purpose: Purpose,
    /// When the sound is needed; none before the first.
    due: Arc<std::sync::Mutex<Option<Instant>>>,
    /// Set where the first chunk waited too long.
    late: Arc<AtomicBool>,
    /// The sound of the last chunk, so that the lane is free while it is sent.
    sound: Sound,
}

impl Speaker for Borrower {
    fn tokens(&self, symbols: &str) -> (Vec<u16>, Vec<char>) {
        self.cast.model.tokens(symbols)
    }

    fn gain(&self) -> f32 {
        self.cast.gain
    }

    fn synthesize(
        &mut self,
        tokens: &[u16],
        speed: f32,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Speech<'_>, koe_engine::Error> {
        let now = Instant::now();
        // A listener that has run dry is as urgent as a new one, not more.
        let due = match self.purpose {
            Purpose::WarmUp => now + WARM_UP_DUE,
            _ => lock(&self.due).map_or(self.arrived, |due| due.max(now)),
        };
        let lease = self.shop.lanes.borrow(due, self.give_up.take(), cancel);
        let mut lease = lease.map_err(|refused| {
            self.late.store(refused == Refused::TooLate, Ordering::SeqCst);
            koe_engine::Error::Cancelled
        })?;
        let begun = Instant::now();
        if self.purpose == Purpose::Request {
            self.shop.readings.waited(begun - now);
        }
        let style = self.cast.voice.style(tokens.len());
        let request = Request { tokens, style, speed, seed };
        lease.speak(self.cast.key, &self.cast.model, &request, cancel, &mut self.sound)?;
        drop(lease);
        let Sound { samples, frames } = &self.sound;
        if self.purpose == Purpose::Request {
            self.shop.readings.synthesis(tokens.len(), samples.len() as u64, begun.elapsed());
        }
        Ok(Speech { samples, frames })
    }
}

/// Bytes of a text to characters of it, fast because both mostly move forward.
#[derive(Debug, Default)]
struct Offsets {
    text: String,
    /// Where the text begins, in bytes: a byte order mark is no text.
    start: usize,
    /// A place known in both: bytes, characters.
    known: (usize, usize),
}

impl Offsets {
    fn push(&mut self, segment: &Segment) {
        if self.text.is_empty() {
            self.start = segment.start;
        }
        self.text.push_str(&segment.text);
    }

    fn chars(&mut self, bytes: &Range<usize>) -> Range<usize> {
        let start = self.char(bytes.start);
        start..self.char(bytes.end)
    }

    fn char(&mut self, byte: usize) -> usize {
        let byte = byte.saturating_sub(self.start).min(self.text.len());
        let (known_byte, known_char) = self.known;
        let between =
            |range: Range<usize>| self.text.get(range).map_or(0, |between| between.chars().count());
        let char = if byte >= known_byte {
            known_char + between(known_byte..byte)
        } else {
            known_char - between(byte..known_byte)
        };
        self.known = (byte, char);
        char
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: usize, text: &str) -> Segment {
        Segment { start, text: text.to_owned(), end: koe_text::Boundary::Sentence }
    }

    #[test]
    fn bytes_become_characters_forward_and_backward_across_segments() {
        let mut offsets = Offsets::default();
        offsets.push(&segment(3, "größe 🙂 "));
        offsets.push(&segment(3 + 13, "naïve"));
        let text = "größe 🙂 naïve";
        for range in [0..2, 2..4, 9..13, 13..15, 2..4, 0..0, 15..19] {
            let Some(part) = text.get(range.clone()) else { continue };
            let chars = offsets.chars(&(range.start + 3..range.end + 3));
            let taken: String = text.chars().skip(chars.start).take(chars.len()).collect();
            assert_eq!(taken, part);
        }
    }
}
