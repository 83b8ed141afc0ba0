//! The command's end of the local socket: a [`Speaker`] that has a server compute, and computes by
//! itself once the server is gone.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use koe_engine::{Cancel, Error, Speech};
use koe_text::Dialect;

use super::wire::{self, Answer, Ask, Hello, Welcome};
use crate::pipeline::Ramp;
use crate::speaker::{Speaker, Voicing};
use crate::voices::Mix;

/// How long a server may take to say that it is there.
const GREETING: Duration = Duration::from_secs(2);
/// How long a server may say nothing, or take nothing, before it counts as gone. Computing here
/// then costs time, nothing else.
const SILENCE: Duration = Duration::from_secs(60);

/// Makes the speaker that goes on where a server went away.
pub type Fallback = Box<dyn FnOnce() -> Result<Box<dyn Speaker>, Error> + Send>;

/// A voice in a server on this machine.
pub struct Remote {
    stream: Option<UnixStream>,
    vocabulary: std::collections::HashMap<char, u16>,
    gain: f32,
    fallback: Option<Fallback>,
    local: Option<Box<dyn Speaker>>,
    samples: Vec<f32>,
    frames: Vec<u32>,
}

/// Asks the server at `path` for a voice of a model. None where there is no server, or one with
/// another model, of another version, or that computes otherwise.
pub fn connect(
    path: &Path,
    model: &str,
    isa: &str,
    mix: Option<&Mix>,
    fallback: Fallback,
) -> Option<(Remote, Voicing, Ramp)> {
    let mut stream = UnixStream::connect(path).ok()?;
    let hello = Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: model.to_owned(),
        isa: isa.to_owned(),
        mix: mix.map(|mix| mix.0.clone()),
    };
    stream.set_read_timeout(Some(GREETING)).ok()?;
    stream.set_write_timeout(Some(GREETING)).ok()?;
    wire::send(&mut stream, &Ask::Hello(hello)).ok()?;
    let Ok(Answer::Welcome(welcome)) = wire::receive(&mut stream) else { return None };
    stream.set_read_timeout(Some(SILENCE)).ok()?;
    stream.set_write_timeout(Some(SILENCE)).ok()?;
    let Welcome { vocabulary, gain, british, names, ramp: (first, growth), warnings } = welcome;
    let ramp = Ramp { first, growth };
    let dialect = british.map(|british| if british { Dialect::British } else { Dialect::American });
    let remote = Remote {
        stream: Some(stream),
        vocabulary: vocabulary.into_iter().collect(),
        gain,
        fallback: Some(fallback),
        local: None,
        samples: Vec::new(),
        frames: Vec::new(),
    };
    Some((remote, Voicing { dialect, names, warnings }, ramp))
}

/// Asks the server at `path` to stop. Whether there was one that did.
pub fn stop(path: &Path) -> io::Result<bool> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(_) => return Ok(false),
    };
    stream.set_read_timeout(Some(GREETING))?;
    wire::send(&mut stream, &Ask::Stop)?;
    match wire::receive(&mut stream)? {
        Answer::Stopping => {
            // It is gone when nobody holds the other end any more; then another may start.
            stream.set_read_timeout(Some(SILENCE))?;
            let _ = stream.read_exact(&mut [0]);
            Ok(true)
        }
        Answer::No(reason) => Err(io::Error::other(reason)),
        _ => Err(io::Error::other("the server did not understand")),
    }
}

impl Remote {
    /// What the server answered; an error of the socket is one of the outer kind.
    fn ask(
        &mut self,
        tokens: &[u16],
        speed: f32,
        seed: u64,
        cancel: &Cancel,
    ) -> io::Result<Result<(), Error>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let handle = stream.try_clone()?;
        // Whoever cancels ends the wait, and the server's work with it.
        let _watch = cancel.watch(move || _ = handle.shutdown(std::net::Shutdown::Both));
        wire::send(stream, &Ask::Speak { tokens: tokens.to_vec(), speed, seed })?;
        match wire::receive(stream)? {
            Answer::Sound { frames, n_samples } => {
                wire::receive_samples(stream, n_samples, &mut self.samples)?;
                self.frames = frames;
                Ok(Ok(()))
            }
            Answer::Failed(reason) => Ok(Err(Error::Request(reason))),
            _ => Err(io::Error::other("the server did not understand")),
        }
    }

    fn local(&mut self) -> Result<&mut Box<dyn Speaker>, Error> {
        if self.local.is_none() {
            let fallback = self.fallback.take().ok_or(Error::Cancelled)?;
            self.local = Some(fallback()?);
        }
        self.local.as_mut().ok_or(Error::Cancelled)
    }
}

impl Speaker for Remote {
    fn tokens(&self, symbols: &str) -> (Vec<u16>, Vec<char>) {
        koe_engine::tokens(&self.vocabulary, symbols)
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
        if self.stream.is_some() {
            match self.ask(tokens, speed, seed, cancel) {
                Ok(Ok(())) => return Ok(Speech { samples: &self.samples, frames: &self.frames }),
                Ok(Err(error)) => return Err(error),
                Err(_) if cancel.is_cancelled() => return Err(Error::Cancelled),
                // The server went away. The same tokens sound the same here.
                Err(_) => self.stream = None,
            }
        }
        self.local()?.synthesize(tokens, speed, seed, cancel)
    }
}
