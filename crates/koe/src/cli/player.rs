//! Plays sound through a program of the system, raw samples through its standard input.
//!
//! No sound library is linked: they need headers of the system to build and would tie the binary
//! to it. Every desktop has one of these programs. `afplay` alone cannot read a stream; it is given
//! a file at the end.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use koe_audio::{Encoder, Format, pcm::PcmEncoder};

use super::{Failure, output};
use crate::machine;

/// The programs, the preferred first, with what makes them play raw 24 kHz samples from a pipe.
const PLAYERS: &[(&str, &[&str])] = &[
    ("paplay", &["--raw", "--rate=24000", "--channels=1", "--format=s16le", "--client-name=koe"]),
    ("pw-play", &["--raw", "--rate=24000", "--channels=1", "--format=s16", "-"]),
    ("aplay", &["-q", "-t", "raw", "-f", "S16_LE", "-r", "24000", "-c", "1", "-"]),
    (
        "ffplay",
        &[
            "-loglevel",
            "error",
            "-nodisp",
            "-autoexit",
            "-f",
            "s16le",
            "-sample_rate",
            "24000",
            "-",
        ],
    ),
    ("play", &["-q", "-t", "raw", "-r", "24000", "-e", "signed", "-b", "16", "-c", "1", "-L", "-"]),
    ("afplay", &[]),
];

/// The player that would be used, by name.
pub(super) fn found(path: &OsStr) -> Option<(&'static str, PathBuf)> {
    let names: Vec<&'static str> = PLAYERS.iter().map(|&(name, _)| name).collect();
    machine::program(path, &names)
}

/// A player at work.
pub(super) struct Player {
    name: &'static str,
    process: Process,
    /// None for the one that plays a file at the end.
    input: Option<ChildStdin>,
    complaints: Option<JoinHandle<String>>,
    file: Option<(PathBuf, output::SoundFile, tempfile::TempDir)>,
    bytes: Vec<u8>,
}

/// The player's process, once there is one; shared with the handler of signals.
#[derive(Clone, Default)]
pub(super) struct Process(Arc<Mutex<Option<Child>>>);

impl Process {
    /// Ends it at once.
    pub(super) fn kill(&self) {
        if let Some(child) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = child.kill();
        }
    }
}

impl Player {
    /// Starts the first player in `path`.
    pub(super) fn start(path: &OsStr) -> Result<Self, Failure> {
        let Some((name, program)) = found(path) else {
            return Err(Failure::failed(
                "no player found: install paplay (pulseaudio-utils), pw-play (pipewire), aplay \
                 (alsa-utils), ffplay (ffmpeg) or play (sox), or write to a file with -o out.wav",
            ));
        };
        let mut player = Self {
            name,
            process: Process::default(),
            input: None,
            complaints: None,
            file: None,
            bytes: Vec::new(),
        };
        let arguments = PLAYERS.iter().find(|(known, _)| *known == name).map_or(&[][..], |p| p.1);
        if arguments.is_empty() {
            let folder = tempfile::tempdir()
                .map_err(|error| Failure::failed(format!("cannot make a folder: {error}")))?;
            let path = folder.path().join("koe.wav");
            let file = output::SoundFile::create(&path, Format::Wav)?;
            player.file = Some((path, file, folder));
        } else {
            let mut command = Command::new(program);
            player.run(command.args(arguments).stdin(Stdio::piped()))?;
        }
        Ok(player)
    }

    /// The folder of the file that is to be played, for the player that needs one.
    pub(super) fn half_made(&self) -> Option<&Path> {
        self.file.as_ref().map(|(_, _, folder)| folder.path())
    }

    fn run(&mut self, command: &mut Command) -> Result<(), Failure> {
        let cannot = |error| Failure::failed(format!("cannot start {}: {error}", self.name));
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(cannot)?;
        self.input = child.stdin.take();
        // Read to its end on a thread, so that a talkative player never blocks. The stream ends
        // when the player does, which is how the end is awaited without holding the process.
        self.complaints = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        *self.process.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    /// The process, to end it from elsewhere.
    pub(super) fn process(&self) -> Process {
        self.process.clone()
    }

    /// Hands it samples; waits until it takes them.
    pub(super) fn write(&mut self, samples: &[f32]) -> Result<(), Failure> {
        if let Some((_, file, _)) = &mut self.file {
            return file.write(samples);
        }
        self.bytes.clear();
        PcmEncoder.encode(samples, &mut self.bytes);
        let Some(input) = &mut self.input else { return Ok(()) };
        if input.write_all(&self.bytes).is_err() {
            // It went away early; why, it says itself.
            return self.wait().and(Err(Failure::failed(format!("{} stopped early", self.name))));
        }
        Ok(())
    }

    /// Waits until all is played.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match self.file.take() {
            None => self.wait(),
            Some((path, file, folder)) => {
                file.finish()?.commit()?;
                let mut command = Command::new(self.name);
                self.run(command.arg(path).stdin(Stdio::null()))?;
                let played = self.wait();
                drop(folder);
                played
            }
        }
    }

    fn wait(&mut self) -> Result<(), Failure> {
        self.input = None;
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok());
        let child = self.process.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        let status = child
            .wait()
            .map_err(|error| Failure::failed(format!("cannot wait for {}: {error}", self.name)))?;
        if status.success() {
            return Ok(());
        }
        let complaints = complaints.unwrap_or_default();
        let first = complaints.lines().map(str::trim).find(|line| !line.is_empty());
        let why = first.map_or_else(|| status.to_string(), str::to_owned);
        Err(Failure::failed(format!("{} failed: {why}; write to a file with -o", self.name)))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // Given up: what is not played yet is not wanted. Without a process this does nothing.
        self.process.kill();
        let _ = self.wait();
    }
}
