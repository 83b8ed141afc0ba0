//! Installs a published model: from a hub over a bad network, or from a folder or bundle.
//!
//! [`run`] brings `<data>/models/<name>` to hold every wanted file of a [`Release`], each proven by
//! its SHA-256, and writes the manifest last (see [`models`]). It can be killed at any
//! moment and run again: what was proven is kept, what was half downloaded is continued. Two
//! processes take turns. It prints nothing; what happens is told through [`Event`]s.
//!
//! The caller fills [`Options`] from arguments and the environment; this room reads neither.
//! A command `koe pull [--from FOLDER|BUNDLE.tar] [--voices a,b] [--verify]` maps to it as:
//! `--from` to [`Source::local`], else [`Source::hub`] with the values of `HF_ENDPOINT`, `HF_TOKEN`
//! and `HF_HUB_OFFLINE`; `--voices` to [`Options::voices`].

mod disk;
mod download;
mod hub;
mod local;
mod release;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use disk::Folder;
use download::Download;
pub use local::export;
pub use release::{Item, Release, Size};

use crate::models::{self, Installed, InstalledFile, voice_name};

/// The hub that everybody uses.
pub const HUGGING_FACE: &str = "https://huggingface.co";

/// What to install, from where to where.
#[derive(Clone, Debug)]
pub struct Options {
    /// What was published; [`Release::kokoro_82m`].
    pub release: Release,
    /// koe's data folder, [`models::data_dir`].
    pub data: PathBuf,
    /// Where the files come from.
    pub source: Source,
    /// The voices to install; none means all that there are (28 MB). Those that are installed
    /// already stay.
    pub voices: Option<Vec<String>>,
    /// Reads again what is installed, and replaces what is damaged.
    pub verify: bool,
    /// How long to bear with the network.
    pub patience: Patience,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Hugging Face hub or a mirror of it.
    Hub {
        /// `HF_ENDPOINT`, or [`HUGGING_FACE`].
        endpoint: String,
        /// `HF_TOKEN`: shown to the endpoint's own host alone.
        token: Option<Token>,
        /// `HF_HUB_OFFLINE`: no connection is made.
        offline: bool,
        /// `SSL_CERT_FILE`: the authorities to trust instead of the public ones, as PEM.
        certificates: Option<PathBuf>,
    },
    /// A folder with the published files under their published paths.
    Folder(PathBuf),
    /// A tar archive of such a folder, as [`export`] writes.
    Bundle(PathBuf),
}

impl Source {
    /// The hub that the variables which `get` returns tell of: `HF_ENDPOINT`, `HF_TOKEN`,
    /// `HF_HUB_OFFLINE` (on where it is `1`, `true`, `yes` or `on`), `SSL_CERT_FILE`.
    pub fn hub(get: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| {
            let value = get(name)?.into_string().ok()?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let is_on = |value: String| matches!(&*value.to_lowercase(), "1" | "true" | "yes" | "on");
        Self::Hub {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| HUGGING_FACE.to_owned()),
            token: text("HF_TOKEN").map(Token),
            offline: text("HF_HUB_OFFLINE").is_some_and(is_on),
            certificates: get("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from),
        }
    }

    /// A folder if it is one, else a bundle.
    pub fn local(path: &Path) -> Self {
        if path.is_dir() { Self::Folder(path.to_owned()) } else { Self::Bundle(path.to_owned()) }
    }
}

/// A secret, which no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How long to bear with the network.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Until a connection stands, encryption included.
    pub connect: Duration,
    /// Without an answer, or with next to nothing coming.
    pub stall: Duration,
    /// Before the second try; doubled for each one after.
    pub backoff: Duration,
    /// Tries in a row that bring nothing.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            backoff: Duration::from_millis(500),
            tries: 6,
        }
    }
}

/// What happens during a pull.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another process pulls; this one waits for it.
    Waiting,
    /// Work on a file begins, the `index`th of `n_files`, counted from 0.
    File {
        /// The file, relative to the model's folder.
        path: &'a str,
        /// Which one it is.
        index: usize,
        /// How many there are.
        n_files: usize,
    },
    /// A file that is there already is read, to see whether it is what it should be.
    Checked {
        /// The file.
        path: &'a str,
        /// Bytes of it read so far.
        done: u64,
    },
    /// More of a file has arrived.
    Received {
        /// The file.
        path: &'a str,
        /// Bytes of it that are there, those of earlier pulls included.
        done: u64,
        /// Its length, if it is known.
        total: Option<u64>,
    },
    /// Something went wrong that may go better soon.
    Retry {
        /// The file.
        path: &'a str,
        /// What went wrong.
        why: &'a str,
        /// How long until the next try.
        wait: Duration,
    },
}

/// Why a model was not installed. What was downloaded is kept for the next pull, unless it is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `HF_HUB_OFFLINE` forbids what would be needed.
    #[error(
        "{name} is not installed and HF_HUB_OFFLINE is set: unset it, or bring the model by hand \
         and use: koe pull --from FOLDER"
    )]
    Offline {
        /// The model.
        name: String,
    },
    /// The address of the hub is none.
    #[error("HF_ENDPOINT {endpoint:?} cannot be used: {why}")]
    Endpoint {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file of authorities to trust holds none.
    #[error("SSL_CERT_FILE {}: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no voice of this name.
    #[error("{name} has no voice {voice:?}; list them with: koe voices")]
    UnknownVoice {
        /// The model.
        name: String,
        /// The voice.
        voice: String,
    },
    /// The server, or whoever answers in its place, does not want to.
    #[error("{host} {what}")]
    Refused {
        /// Who.
        host: String,
        /// What it did.
        what: String,
    },
    /// The network was tried often enough.
    #[error("cannot get {path} after {tries} tries: {why}; what arrived is kept, try again later")]
    GaveUp {
        /// The file.
        path: String,
        /// How often it was tried without success.
        tries: u32,
        /// What went wrong the last time.
        why: String,
    },
    /// A file of another length than the published one.
    #[error("{host}: {path} has {found} bytes or more there, the published file {needed} at most")]
    WrongLength {
        /// The file.
        path: String,
        /// Where it came from.
        host: String,
        /// Its length there.
        found: u64,
        /// The published length, or the most that it may be.
        needed: u64,
    },
    /// A file with other content than the published one.
    #[error(
        "{path} is not the published file: its SHA-256 is {found} ({bytes} bytes), needed {needed}; \
         it was deleted"
    )]
    WrongContent {
        /// The file.
        path: String,
        /// The published checksum.
        needed: String,
        /// The one found.
        found: String,
        /// How many bytes arrived.
        bytes: u64,
    },
    /// Bytes beyond the end; becomes [`Error::WrongLength`] where the origin is known.
    #[error("more than {limit} bytes")]
    TooLong {
        /// The most that may be.
        limit: u64,
    },
    /// The folder or bundle lacks files that are needed.
    #[error("{origin} has no {path}")]
    Lacking {
        /// The folder or bundle.
        origin: String,
        /// The first missing file.
        path: String,
    },
    /// The bundle is damaged or not one.
    #[error("{}: {why}", bundle.display())]
    Bundle {
        /// The archive.
        bundle: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no room on the disk.
    #[error("no space left for {}: free some, or set KOKORO_DATA_DIR to a folder elsewhere", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The table of files is wrong; a mistake of the program.
    #[error("the table of published files is damaged")]
    Release,
}

impl Error {
    fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::DiskFull { path }
                }
                _ => Self::Io { path, source },
            }
        }
    }
}

/// Installs what the options ask for, and returns what is installed then.
pub fn run(options: &Options, progress: &mut dyn FnMut(Event<'_>)) -> Result<Installed, Error> {
    let Options { release, data, .. } = options;
    if !release.is_sound() {
        return Err(Error::Release);
    }
    if let Some(model) = all_installed(options)? {
        Folder::tidy(&model.folder);
        return Ok(model);
    }
    let folder = Folder::lock(data, &release.name, &mut || progress(Event::Waiting))?;
    let earlier = models::read_manifest(data, &release.name)
        .filter(|model| model.revision == release.revision)
        .map_or_else(Vec::new, |model| model.files);
    let wanted = wanted(options, &earlier)?;

    let mut have: Vec<(String, u64)> = Vec::new();
    let mut missing: Vec<&Item> = Vec::new();
    for item in wanted {
        let path = &item.path;
        match present(options, &folder, item, &earlier, &mut |done| {
            progress(Event::Checked { path, done })
        }) {
            Some(bytes) => have.push((path.clone(), bytes)),
            None => missing.push(item),
        }
    }
    have.extend(fetch(options, &folder, &missing, progress)?);

    let file = |item: &Item| {
        let (path, bytes) = have.iter().find(|(path, _)| *path == item.path)?.clone();
        Some(InstalledFile { path, bytes, sha256: item.sha256.clone() })
    };
    let model = Installed {
        name: release.name.clone(),
        folder: models::folder(data, &release.name),
        repository: release.repository.clone(),
        revision: release.revision.clone(),
        files: release.items.iter().filter_map(file).collect(),
    };
    let fetched: Vec<&Item> = missing
        .into_iter()
        .filter(|item| have.iter().any(|(path, _)| *path == item.path))
        .collect();
    folder.commit(&model, &fetched)?;
    Ok(model)
}

/// The installed model if it has all that is wanted, by the word of its manifest. Nothing needs to
/// be written then, so that a pull in a start script works where the disk is read-only.
fn all_installed(options: &Options) -> Result<Option<Installed>, Error> {
    let Options { release, data, verify, .. } = options;
    let same_revision = |model: &Installed| model.revision == release.revision;
    let Some(model) = models::installed(data, &release.name).filter(same_revision) else {
        return Ok(None);
    };
    let is_there = |item: &Item| {
        model.files.iter().any(|file| file.path == item.path && file.sha256 == item.sha256)
    };
    let wanted = wanted(options, &model.files)?;
    let complete = !verify && wanted.into_iter().all(is_there);
    Ok(complete.then_some(model))
}

/// All that is no voice, the voices asked for, and those that were installed before.
fn wanted<'a>(options: &'a Options, earlier: &[InstalledFile]) -> Result<Vec<&'a Item>, Error> {
    let Options { release, voices, .. } = options;
    let known: Vec<&str> = release.voices().collect();
    if let Some(voice) = voices.iter().flatten().find(|voice| !known.contains(&&***voice)) {
        let (name, voice) = (release.name.clone(), voice.clone());
        return Err(Error::UnknownVoice { name, voice });
    }
    let is_wanted = |item: &&Item| match (voice_name(&item.path), voices) {
        (Some(voice), Some(voices)) => {
            voices.iter().any(|wanted| wanted == voice)
                || earlier.iter().any(|file| file.path == item.path)
        }
        _ => true,
    };
    Ok(release.items.iter().filter(is_wanted).collect())
}

/// The length of an item that is installed. What the manifest vouches for is believed if its length
/// is right, unless verifying; other files, left by a pull that died, are read.
fn present(
    options: &Options,
    folder: &Folder,
    item: &Item,
    earlier: &[InstalledFile],
    read: &mut dyn FnMut(u64),
) -> Option<u64> {
    let vouched = earlier.iter().find(|file| file.path == item.path && file.sha256 == item.sha256);
    if let Some(file) = vouched.filter(|_| !options.verify) {
        let path = models::folder(&options.data, &options.release.name).join(&item.path);
        let found = path.metadata().ok().filter(|meta| meta.is_file() && meta.len() == file.bytes);
        return found.map(|meta| meta.len());
    }
    let mut n_bytes = 0;
    folder.has(item, &mut |n| {
        n_bytes += n;
        read(n_bytes);
    })
}

/// Gets the missing items from the source; their paths and lengths.
fn fetch(
    options: &Options,
    folder: &Folder,
    missing: &[&Item],
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<(String, u64)>, Error> {
    let Options { release, source, voices, patience, .. } = options;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let (got, origin) = match source {
        Source::Hub { offline: true, .. } => {
            return Err(Error::Offline { name: release.name.clone() });
        }
        Source::Hub { endpoint, token, certificates, .. } => {
            let certificates = certificates.as_deref();
            let client = hub::Client::new(endpoint, token.as_ref(), certificates, patience)?;
            let mut got = Vec::new();
            for (index, item) in missing.iter().enumerate() {
                progress(Event::File { path: &item.path, index, n_files: missing.len() });
                let download =
                    Download { client: &client, release, item, patience, progress: &mut *progress };
                got.push((item.path.clone(), download.run(folder)?));
            }
            return Ok(got);
        }
        Source::Folder(from) => (local::copy_folder(from, missing, folder, progress)?, from),
        Source::Bundle(from) => (local::unpack(from, missing, folder, progress)?, from),
    };
    // Somebody's bundle may hold fewer voices than were published, unless they were asked for.
    let is_needed = |item: &&&Item| voice_name(&item.path).is_none() || voices.is_some();
    let lacks = |item: &&&Item| got.iter().all(|(path, _)| *path != item.path);
    match missing.iter().filter(is_needed).find(lacks) {
        None => Ok(got),
        Some(item) => {
            Err(Error::Lacking { origin: origin.display().to_string(), path: item.path.clone() })
        }
    }
}
