//! The server's end of the local socket: a thread for each command, which lends it a lane for each
//! chunk.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use koe_engine::{Cancel, Request};
use koe_text::Dialect;
use rustix::fs::OFlags;

use super::wire::{self, Answer, Ask, Hello, Welcome};
use crate::service::{Cast, Service};
use crate::voices::Mix;

/// Called when a command asks the server to stop.
pub type OnStop = Box<dyn Fn() + Send + Sync>;

/// Commands at once; more are sent away and compute by themselves.
const MAX_COMMANDS: usize = 64;
/// How long a command may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);
/// How long a command may read nothing before it is left.
const STALLED: Duration = Duration::from_secs(120);

/// A socket that is listened to; dropping it removes its file.
pub struct Listening {
    path: PathBuf,
    /// Which file it is: another server may have put its own there.
    file: (u64, u64),
}

impl Drop for Listening {
    fn drop(&mut self) {
        // The thread that accepts ends with the process.
        if which(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, and speaks with `service`. `stop` is called when a command asks the server to
/// stop; none if it is not to be stopped so.
pub fn listen(path: &Path, service: Service, stop: Option<OnStop>) -> io::Result<Listening> {
    let listener = bind(path)?;
    let listening = Listening { path: path.to_owned(), file: which(path)? };
    let (commands, stop) = (Arc::new(AtomicUsize::new(0)), stop.map(Arc::new));
    std::thread::Builder::new().name("local".into()).spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of file descriptors, mostly: others will close theirs.
                std::thread::park_timeout(Duration::from_millis(50));
                continue;
            };
            let place = Place::take(&commands);
            let (service, stop) = (service.clone(), stop.clone());
            // A command that gets no thread computes by itself.
            let _ = std::thread::Builder::new().name("command".into()).spawn(move || {
                let Some(_place) = place else { return };
                let stop = stop.as_deref().map(|stop| &**stop as &dyn Fn());
                if let Err(error) = converse(stream, &service, stop) {
                    tracing::debug!(%error, "a local command ended");
                }
            });
        }
    })?;
    Ok(listening)
}

/// One of the places that there are for commands.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(commands: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(commands.clone());
        (commands.fetch_add(1, Ordering::SeqCst) < MAX_COMMANDS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The device of a file and its number there.
fn which(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// The lock on a socket's place, which nobody needs for longer than a moment.
fn take(path: &Path) -> io::Result<fs::File> {
    const PATIENCE: Duration = Duration::from_secs(2);
    // Others may be able to write to the folder: no link is followed, and no pipe waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let lock = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            Err(fs::TryLockError::WouldBlock) => {
                let problem = format!("another process holds {}", path.display());
                return Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
            }
            // Where the file system has no locks there is nothing to wait for.
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(lock);
            }
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Takes the place of a socket that nobody listens to any more, never of one that works, and never
/// of anything else.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Of two that start at once, one would take the other's socket for one that is left over, as it
    // is there a moment before it is listened to.
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let _lock = take(Path::new(&lock))?;
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let told = |problem: &str| Err(io::Error::new(error.kind(), problem));
            if !fs::symlink_metadata(path)?.file_type().is_socket() {
                return told("a file that is no socket is there; choose another path");
            }
            match UnixStream::connect(path) {
                Ok(_) => return told("another server listens there"),
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(other) => return Err(other),
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Ends a connection for all who hold it, however its conversation ends.
struct HangUp(UnixStream);

impl Drop for HangUp {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn converse(mut stream: UnixStream, service: &Service, stop: Option<&dyn Fn()>) -> io::Result<()> {
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_write_timeout(Some(STALLED))?;
    let hello = match wire::receive(&mut stream)? {
        Ask::Hello(hello) => hello,
        Ask::Stop => {
            let Some(stop) = stop else {
                let reason = "it was not started by koe daemon; stop it where it was started";
                return wire::send(&mut stream, &Answer::No(reason.to_owned()));
            };
            wire::send(&mut stream, &Answer::Stopping)?;
            stop();
            // Whoever asked waits for the end of this connection, which is that of the process.
            loop {
                std::thread::park();
            }
        }
        Ask::Speak { .. } => return wire::send(&mut stream, &Answer::No("say hello first".into())),
    };
    let cast = match cast(&hello, service) {
        Ok(cast) => cast,
        Err(reason) => return wire::send(&mut stream, &Answer::No(reason)),
    };
    let ramp = service.settings().ramp;
    let welcome = Welcome {
        vocabulary: cast.model.config().vocab.iter().map(|(&symbol, &id)| (symbol, id)).collect(),
        gain: cast.gain,
        british: cast.dialect.map(|dialect| dialect == Dialect::British),
        names: cast.names.clone(),
        ramp: (ramp.first, ramp.growth),
        warnings: cast.model.warnings().to_vec(),
    };
    wire::send(&mut stream, &Answer::Welcome(welcome))?;
    // A command may take its time between two chunks.
    stream.set_read_timeout(None)?;

    // Another thread reads, so that a command that goes away ends its work at once.
    let (asks, asked) = mpsc::sync_channel(1);
    let (cancel, lanes) = (Cancel::new(), service.lanes().clone());
    let (gone, mut reading) = (cancel.clone(), stream.try_clone()?);
    // Else neither the thread that reads nor the command would know that nobody answers any more.
    let _hang_up = HangUp(stream.try_clone()?);
    std::thread::Builder::new().name("command-reader".into()).spawn(move || {
        while let Ok(ask) = wire::receive::<Ask>(&mut reading) {
            if asks.send(ask).is_err() {
                break;
            }
        }
        gone.cancel();
        lanes.wake();
    })?;
    let mut speaking = Speaking { service, cast, cancel, heard_until: None };
    for ask in asked {
        let Ask::Speak { tokens, speed, seed } = ask else {
            return wire::send(&mut stream, &Answer::No("only to speak, now".into()));
        };
        speaking.speak(&mut stream, &tokens, speed, seed)?;
    }
    Ok(())
}

/// The voice that the command wants, if this server makes exactly the sound it would make itself.
fn cast(hello: &Hello, service: &Service) -> Result<Arc<Cast>, String> {
    if hello.version != env!("CARGO_PKG_VERSION") {
        return Err("another version".to_owned());
    }
    if hello.isa != service.isa().name() {
        return Err("other instructions".to_owned());
    }
    if service.is_draining() {
        return Err("about to stop".to_owned());
    }
    let mix = hello.mix.clone().map(Mix);
    let is_weight = |weight: &f32| weight.is_finite() && *weight > 0.0;
    if !mix.iter().flat_map(|mix| &mix.0).all(|(_, weight)| is_weight(weight)) {
        return Err("a weight that is none".to_owned());
    }
    service.library().cast_in(&hello.model, mix).map_err(|error| error.to_string())
}

/// One command's requests, in turn.
struct Speaking<'a> {
    service: &'a Service,
    cast: Arc<Cast>,
    cancel: Cancel,
    /// When the command's listener will have heard what was made so far.
    heard_until: Option<Instant>,
}

impl Speaking<'_> {
    fn speak(
        &mut self,
        stream: &mut UnixStream,
        tokens: &[u16],
        speed: f32,
        seed: u64,
    ) -> io::Result<()> {
        let _presence = self.service.presence();
        let now = Instant::now();
        let due = self.heard_until.map_or(now, |heard| heard.max(now));
        let lease = self.service.lanes().borrow(due, None, &self.cancel);
        let Ok(mut lease) = lease else { return Err(io::ErrorKind::ConnectionAborted.into()) };
        let style = self.cast.voice.style(tokens.len());
        let request = Request { tokens, style, speed, seed };
        let session = lease.session(self.cast.key, &self.cast.model);
        let (frames, samples) = match session.synthesize(&request, &self.cancel) {
            Ok(speech) => (speech.frames.to_vec(), speech.samples.to_vec()),
            Err(error) => {
                drop(lease);
                return wire::send(stream, &Answer::Failed(error.to_string()));
            }
        };
        // The lane is free while the sound is sent.
        drop(lease);
        self.service.readings().local_chunk();
        let length = Duration::from_secs_f64(koe_audio::seconds(samples.len() as u64));
        self.heard_until = Some(self.heard_until.unwrap_or_else(Instant::now) + length);
        wire::send(stream, &Answer::Sound { frames, n_samples: samples.len() })?;
        wire::send_samples(stream, &samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_that_nobody_listens_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, socket) = (folder.path().join("book.txt"), folder.path().join("koe.sock"));
        fs::write(&file, "a book").unwrap();
        assert!(bind(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "a book");

        let first = bind(&socket).unwrap();
        assert!(bind(&socket).is_err());
        drop(first);
        let _second = bind(&socket).unwrap();
        assert!(UnixStream::connect(&socket).is_ok());
    }

    #[test]
    fn a_socket_that_another_server_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("koe.sock");
        let _mine = bind(&path).unwrap();
        let listening = Listening { path: path.clone(), file: which(&path).unwrap() };
        fs::remove_file(&path).unwrap();
        let _theirs = bind(&path).unwrap();
        drop(listening);
        assert!(UnixStream::connect(&path).is_ok());
    }
}
