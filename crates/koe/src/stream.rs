//! A text being spoken on a thread of its own, behind a short queue.
//!
//! The listener plays or sends one block while the next is made. When it goes away, or a
//! [`Stopper`] says so, the work stops within one layer of the model; a panic in it is an error
//! here and spends nothing but that thread's session.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc;

use koe_engine::Cancel;

use crate::feed::{self, Segment};
use crate::pipeline::{Error, Event, Settings, Summary, speak};
use crate::speaker::Speaker;

/// How many events may wait for the listener. A block is a chunk of some seconds, so that this
/// bounds both memory and the work done in vain for a listener that goes away.
const QUEUE: usize = 2;

enum Message {
    Event(Event),
    Done(Result<Summary, Error>),
}

/// A text being spoken on a thread of its own. Dropping it stops the work.
pub struct Stream {
    messages: mpsc::Receiver<Message>,
    sender: mpsc::SyncSender<Message>,
    cancel: Cancel,
    /// How it went, once it is over.
    outcome: Option<Result<Summary, Error>>,
}

/// Stops a [`Stream`] from another thread, even while its text is still awaited.
#[derive(Clone)]
pub struct Stopper {
    sender: mpsc::SyncSender<Message>,
    cancel: Cancel,
}

impl Stopper {
    /// The stream ends with [`Error::Cancelled`].
    pub fn stop(&self) {
        self.cancel.cancel();
        // If the queue is full the listener is not waiting, and sees the flag when it comes back.
        let _ = self.sender.try_send(Message::Done(Err(Error::Cancelled)));
    }
}

impl Stream {
    /// Begins to speak. `feed` and `speaker` live on the new thread.
    pub fn start<F>(feed: F, settings: Settings, mut speaker: Box<dyn Speaker>) -> Self
    where
        F: IntoIterator<Item = Result<Segment, feed::Error>> + Send + 'static,
    {
        let (sender, messages) = mpsc::sync_channel(QUEUE);
        let cancel = Cancel::new();
        let (to_listener, cancelled) = (sender.clone(), cancel.clone());
        std::thread::spawn(move || {
            let listener = &mut |event| match to_listener.send(Message::Event(event)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            // A panic spends this thread's session and nothing else.
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                speak(feed, &settings, &mut *speaker, &cancelled, listener)
            }));
            let outcome = outcome.unwrap_or_else(|panic| Err(Error::Panicked(reason(&*panic))));
            let _ = to_listener.send(Message::Done(outcome));
        });
        Self { messages, sender, cancel, outcome: None }
    }

    /// What stops this stream from elsewhere, such as a signal handler.
    pub fn stopper(&self) -> Stopper {
        Stopper { sender: self.sender.clone(), cancel: self.cancel.clone() }
    }

    /// How it went; meaningful once the iterator has ended.
    pub fn outcome(mut self) -> Result<Summary, Error> {
        self.outcome.take().unwrap_or(Err(Error::Cancelled))
    }
}

impl Iterator for Stream {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.outcome.is_some() {
            return None;
        }
        let message = match self.cancel.is_cancelled() {
            true => Message::Done(Err(Error::Cancelled)),
            false => self.messages.recv().unwrap_or(Message::Done(Err(Error::Cancelled))),
        };
        match message {
            Message::Event(event) => Some(event),
            Message::Done(outcome) => {
                self.outcome = Some(outcome);
                None
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
