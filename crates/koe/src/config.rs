//! What koe is told by its environment and its configuration file. The only file that reads the
//! environment: everything else is handed values.
//!
//! Flags go before the environment, the environment before the file, the file before what koe does
//! by itself. `table.rs` lists every setting; here each becomes a field. Reading opens the
//! configuration file and no other, and loads no model; [`Config::source`] opens the file of the
//! token. What cannot be understood is a problem, never ignored; all problems are told at once.

mod document;
mod file;
mod layers;
mod setting;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use koe_engine::{Isa, Precision};

use crate::models;
use crate::pull::{Source, Token};
pub use document::document;
pub use file::Place;
use layers::Values;
pub use layers::{Given, Origin};
pub use setting::{Flag, Form, Kind, Preset, Secret, Setting, Value};
pub use table::{SETTINGS, TABLES};

/// Names the configuration file. It alone has no key in the file.
pub const FILE_VARIABLE: &str = "KOKORO_CONFIG";

/// All that koe is told, resolved. `docs/configuration.md` says what each setting is for.
#[derive(Clone, Debug)]
pub struct Config {
    /// `KOKORO_MODEL`: what `--model` takes.
    pub model: Option<String>,
    /// `KOKORO_MODEL_DIR`: the folder of Kokoro-82M, where it is not in the usual cache.
    pub model_dir: Option<PathBuf>,
    /// `KOKORO_VOICE`: what `--voice` takes.
    pub voice: Option<String>,
    /// `KOKORO_LOCK_WEIGHTS`: weights are locked into memory.
    pub lock_weights: bool,
    /// `KOKORO_THREADS`: threads that compute.
    pub threads: Option<NonZeroUsize>,
    /// `KOKORO_ISA`: the instruction set to compute with, instead of the best.
    pub isa: Option<Isa>,
    /// `KOKORO_PRECISION`: the numbers to compute with, instead of the fastest.
    pub precision: Option<Precision>,
    /// `KOKORO_TUNING`: this machine is measured once, and what was found is remembered.
    pub tuning: bool,
    /// `KOKORO_ACCELERATOR`: `off`, `auto`, or one's name, in lower case.
    pub accelerator: String,
    /// `KOKORO_ONNX_MODEL`: Kokoro-82M as an ONNX file, for accelerators.
    pub onnx_model: Option<PathBuf>,
    /// `ORT_DYLIB_PATH`: ONNX Runtime's library.
    pub onnx_library: Option<PathBuf>,
    /// `KOKORO_KEEP_ALIVE_ENABLED`: the engine is kept warm while nobody asks for anything.
    pub keep_alive_enabled: bool,
    /// `KOKORO_KEEP_ALIVE_INTERVAL_SECONDS`: how often to look whether it must be.
    pub keep_alive_interval: Duration,
    /// `KOKORO_KEEP_ALIVE_IDLE_THRESHOLD_SECONDS`: how long nothing must have been asked for.
    pub keep_alive_idle_threshold: Duration,
    /// `KOKORO_MEMORY_THRESHOLD_MB`: own memory above which things are dropped; by the machine's
    /// memory where nobody says.
    pub memory_threshold_mb: Option<u64>,
    /// `KOKORO_SKIP_EXTENDED_WARMING`: no warm-ups in the background after the start.
    pub skip_extended_warming: bool,
    /// What `koe serve` alone uses.
    pub server: Server,
    /// `KOKORO_SOCKET`: the socket for programs on this machine.
    pub local_socket: LocalSocket,
    /// `KOKORO_DAEMON_IDLE_SECONDS`: how long a daemon that nobody asks for anything stays.
    pub daemon_idle: Duration,
    /// `KOKORO_CACHE_DIR`, or `koe` in the user's cache folder: packed weights.
    pub cache: PathBuf,
    /// `KOKORO_DATA_DIR`, or `koe` in the user's folder for data: installed models.
    pub data: PathBuf,
    /// Where models are published: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`. The token may also
    /// be in a file; see [`Config::source`].
    pub hub_source: Source,
    /// `HF_TOKEN_PATH`, or `token` where Hugging Face's tools keep their files.
    pub token_path: PathBuf,
    /// Where Hugging Face's tools keep models: `HF_HUB_CACHE`, `HF_HOME/hub`, or `huggingface/hub`
    /// in the user's cache folder.
    pub hub: PathBuf,
    /// `PATH`, to look for players in.
    pub path: OsString,
    /// Every setting, what it is and who says so.
    pub settings: Vec<Given>,
    /// The configuration file.
    pub file: Place,
    /// What could not be understood, one sentence each. Nothing is to be done while there are any.
    pub problems: Vec<String>,
    /// What is strange but no mistake, one sentence each.
    pub warnings: Vec<String>,
    sources: Sources,
}

/// What `koe serve` alone uses.
#[derive(Clone, Debug)]
pub struct Server {
    /// `KOKORO_HOST`: the address to listen on.
    pub host: IpAddr,
    /// `KOKORO_PORT`: 0 takes a free one.
    pub port: u16,
    /// `KOKORO_LANES`: syntheses at once; one for every eight threads where nobody says.
    pub lanes: Option<NonZeroUsize>,
    /// `KOKORO_MAX_REQUESTS`: speech requests at once, waiting ones included.
    pub max_requests: NonZeroUsize,
    /// `KOKORO_MAX_CONNECTIONS`: connections at once.
    pub max_connections: NonZeroUsize,
    /// `KOKORO_MAX_CHARS`: the most characters of one text.
    pub max_chars: NonZeroUsize,
    /// `KOKORO_QUEUE_TIMEOUT_SECONDS`: how long a request may wait to be spoken.
    pub queue_timeout: Duration,
    /// `KOKORO_STALL_TIMEOUT_SECONDS`: how long a listener may read nothing.
    pub stall_timeout: Duration,
    /// `KOKORO_DRAIN_TIMEOUT_SECONDS`: how long running requests may go on after the signal to stop.
    pub drain_timeout: Duration,
    /// `KOKORO_API_KEYS`: who may ask, with line breaks between.
    pub api_keys: Option<Secret>,
    /// `KOKORO_API_KEY_FILE`: a file with more of them.
    pub api_key_file: Option<PathBuf>,
    /// `KOKORO_ALLOW_ANONYMOUS`: everyone may ask, on a public address too.
    pub allow_anonymous: bool,
    /// `KOKORO_RATE_LIMIT`: requests a minute for each key.
    pub rate_limit: Option<NonZeroU32>,
    /// `KOKORO_CORS_ORIGINS`: sites whose pages may ask, without a slash at the end.
    pub cors_origins: Vec<String>,
    /// `KOKORO_TLS_CERT` and `KOKORO_TLS_KEY`: a certificate chain and its private key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// The socket for programs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalSocket {
    /// The usual one: `koe.sock` in the folder that the system keeps for such things, else in the
    /// cache folder. That it cannot be had is no failure.
    Auto(PathBuf),
    /// None.
    Off,
    /// This one, which must then work.
    At(PathBuf),
}

impl LocalSocket {
    /// Where it is, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Auto(path) | Self::At(path) => Some(path),
            Self::Off => None,
        }
    }
}

/// What the environment and the file say, kept so that flags can be laid over it.
#[derive(Clone, Debug)]
struct Sources {
    environment: Vec<Given>,
    file: Vec<Given>,
    folders: Folders,
    place: Place,
    path: OsString,
    problems: Vec<String>,
    warnings: Vec<String>,
}

/// The folders that the system sets aside, as the environment tells.
#[derive(Clone, Debug)]
struct Folders {
    /// For caches of this user's programs, or the temporary one where there is no home.
    cache: PathBuf,
    /// koe's own for data.
    data: PathBuf,
    /// For sockets of this session, if the system has such a folder.
    runtime: Option<PathBuf>,
    /// Where Hugging Face's tools keep their files.
    hugging_face: PathBuf,
}

impl Config {
    /// Reads the environment of this process, and the configuration file.
    pub fn from_env() -> Self {
        let names: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
        Self::read_all(&|name| std::env::var_os(name), &names)
    }

    /// Reads variables from `get`, and the configuration file; an empty variable counts as absent.
    pub fn read(get: &dyn Fn(&str) -> Option<OsString>) -> Self {
        Self::read_all(get, &[])
    }

    /// Likewise, with the names of all variables.
    fn read_all(get: &dyn Fn(&str) -> Option<OsString>, names: &[OsString]) -> Self {
        let raw = |name: &str| get(name).filter(|value| !value.is_empty());
        let path = |name: &str| raw(name).map(PathBuf::from);
        let home = path("HOME").or_else(|| path("USERPROFILE"));
        let mut problems = Vec::new();
        let environment = layers::environment(get, &mut problems);
        let mut place = place(&path);
        let contents = file::read(&mut place, home.as_deref());
        problems.extend(contents.problems);
        let mut warnings = layers::unknown_variables(names);
        warnings.extend(contents.warnings);
        let sources = Sources {
            environment,
            file: contents.given,
            folders: Folders::of(&path, &|name| match name {
                "KOKORO_DATA_DIR" => None,
                name => get(name),
            }),
            place,
            path: raw("PATH").unwrap_or_default(),
            problems,
            warnings,
        };
        Self::resolve(sources, &[])
    }

    /// The same with these flags, which win.
    pub fn with_flags(&self, flags: &[Given]) -> Self {
        Self::resolve(self.sources.clone(), flags)
    }

    fn resolve(sources: Sources, flags: &[Given]) -> Self {
        let mut problems = sources.problems.clone();
        let mut values = Values::resolve(&[flags, &sources.environment, &sources.file]);
        let folders = &sources.folders;
        let cache = values.path_or(&table::CACHE_DIR, || folders.cache.join("koe"));
        let data = values.path_or(&table::DATA_DIR, || folders.data.clone());
        let hub_home = values.path_or(&table::HUB_HOME, || folders.hugging_face.clone());
        let hub = values.path_or(&table::HUB_CACHE, || hub_home.join("hub"));
        let token_path = values.path_or(&table::HUB_TOKEN_PATH, || hub_home.join("token"));
        let model = values.path(&table::MODEL).and_then(|model| {
            let model = model.into_os_string().into_string();
            model.map_err(|_| problems.push(format!("{} is not UTF-8", table::MODEL.key))).ok()
        });
        let isa = values.text(&table::ISA).and_then(|name| Isa::named(&name).ok());
        let precision = values.text(&table::PRECISION).filter(|name| name != "auto");
        let seconds = |setting| Duration::from_secs(values.number(setting).unwrap_or(0));
        let server = server(&values, &mut problems);
        Self {
            model,
            model_dir: values.path(&table::MODEL_DIR),
            voice: values.text(&table::VOICE),
            lock_weights: values.switch(&table::LOCK_WEIGHTS),
            threads: values.count(&table::THREADS),
            isa,
            precision: precision
                .and_then(|name| Precision::named(&name, isa.unwrap_or_else(Isa::detect)).ok()),
            tuning: values.switch(&table::TUNING),
            accelerator: values.text(&table::ACCELERATOR).unwrap_or_default().to_ascii_lowercase(),
            onnx_model: values.path(&table::ONNX_MODEL),
            onnx_library: values.path(&table::ONNX_LIBRARY),
            keep_alive_enabled: values.switch(&table::KEEP_ALIVE_ENABLED),
            keep_alive_interval: seconds(&table::KEEP_ALIVE_INTERVAL),
            keep_alive_idle_threshold: seconds(&table::KEEP_ALIVE_IDLE_THRESHOLD),
            memory_threshold_mb: values.number(&table::MEMORY_THRESHOLD),
            skip_extended_warming: values.switch(&table::SKIP_EXTENDED_WARMING),
            server,
            local_socket: local_socket(&values, folders, &cache),
            daemon_idle: seconds(&table::DAEMON_IDLE),
            cache,
            data,
            hub_source: hub_source(&values),
            token_path,
            hub,
            path: sources.path.clone(),
            settings: values.0,
            file: sources.place.clone(),
            problems,
            warnings: sources.warnings.clone(),
            sources,
        }
    }

    /// Where models are published, with the token of the file if the environment has none itself:
    /// the order of Hugging Face's tools. A file that is not there is none.
    pub fn source(&self) -> io::Result<Source> {
        let mut source = self.hub_source.clone();
        if let Source::Hub { token: token @ None, offline: false, .. } = &mut source {
            *token = read_token(&self.token_path).map_err(|error| {
                let message = format!("cannot read {}: {error}", self.token_path.display());
                io::Error::new(error.kind(), message)
            })?;
        }
        Ok(source)
    }
}

fn server(values: &Values, problems: &mut Vec<String>) -> Server {
    let seconds = |setting| Duration::from_secs(values.number(setting).unwrap_or(0));
    let count = |setting| values.count(setting).unwrap_or(NonZeroUsize::MIN);
    let keys = values.list(&table::API_KEYS);
    let origins = values.list(&table::CORS_ORIGINS).into_iter();
    let (certificate, key) = (values.path(&table::TLS_CERT), values.path(&table::TLS_KEY));
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (given, _) => {
            let (cert, key) = (&table::TLS_CERT, &table::TLS_KEY);
            let (has, lacks) = if given.is_some() { (cert, key) } else { (key, cert) };
            let told_by = values.told_by(has);
            problems.push(format!(
                "{} is set ({told_by}) but not {}: https needs both",
                has.key, lacks.key
            ));
            None
        }
    };
    Server {
        host: values
            .text(&table::HOST)
            .and_then(|host| host.parse().ok())
            .unwrap_or(Ipv4Addr::LOCALHOST.into()),
        port: values.number(&table::PORT).and_then(|port| port.try_into().ok()).unwrap_or(0),
        lanes: values.count(&table::LANES),
        max_requests: count(&table::MAX_REQUESTS),
        max_connections: count(&table::MAX_CONNECTIONS),
        max_chars: count(&table::MAX_CHARS),
        queue_timeout: seconds(&table::QUEUE_TIMEOUT),
        stall_timeout: seconds(&table::STALL_TIMEOUT),
        drain_timeout: seconds(&table::DRAIN_TIMEOUT),
        api_keys: (!keys.is_empty()).then(|| Secret(keys.join("\n"))),
        api_key_file: values.path(&table::API_KEY_FILE),
        allow_anonymous: values.switch(&table::ALLOW_ANONYMOUS),
        rate_limit: values.count_u32(&table::RATE_LIMIT),
        cors_origins: origins.map(|origin| origin.trim_end_matches('/').to_owned()).collect(),
        tls,
    }
}

fn local_socket(values: &Values, folders: &Folders, cache: &Path) -> LocalSocket {
    match values.path(&table::SOCKET) {
        Some(path) if path == Path::new("off") => LocalSocket::Off,
        Some(path) if path != Path::new("auto") => LocalSocket::At(path),
        _ => {
            let folder = folders.runtime.as_deref().unwrap_or(cache);
            LocalSocket::Auto(folder.join("koe.sock"))
        }
    }
}

/// The hub, from settings that have the names of Hugging Face's variables.
fn hub_source(values: &Values) -> Source {
    Source::hub(&|name| match name {
        "HF_ENDPOINT" => values.text(&table::HUB_ENDPOINT).map(OsString::from),
        "HF_TOKEN" => values.text(&table::HUB_TOKEN).map(OsString::from),
        "HF_HUB_OFFLINE" => values.switch(&table::HUB_OFFLINE).then(|| "1".into()),
        "SSL_CERT_FILE" => values.path(&table::HUB_CERTIFICATES).map(PathBuf::into_os_string),
        _ => None,
    })
}

fn read_token(path: &Path) -> io::Result<Option<Token>> {
    /// Tokens have 37 characters.
    const MAX_BYTES: u64 = 4096;
    let meta = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        meta => meta?,
    };
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no file with a token"));
    }
    let token = std::fs::read_to_string(path)?.trim().to_owned();
    Ok((!token.is_empty()).then_some(Token(token)))
}

/// Where the configuration file is: `KOKORO_CONFIG`, or `koe/config.toml` in the user's folder for
/// configuration (`XDG_CONFIG_HOME` or `~/.config`; on macOS `~/Library/Application Support`; on
/// Windows `%APPDATA%`).
fn place(path: &dyn Fn(&str) -> Option<PathBuf>) -> Place {
    if let Some(path) = path(FILE_VARIABLE) {
        return Place { path, is_named: true, is_found: false };
    }
    let user = if cfg!(target_os = "macos") {
        path("HOME").map(|home| home.join("Library/Application Support"))
    } else if cfg!(windows) {
        path("APPDATA")
    } else {
        // A relative XDG path is to be ignored, says its specification.
        let xdg = path("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
        xdg.or_else(|| path("HOME").map(|home| home.join(".config")))
    };
    // Without a home there is no file: nobody must be able to leave one in a shared folder.
    let path = user.map(|user| user.join("koe/config.toml")).unwrap_or_default();
    Place { path, is_named: false, is_found: false }
}

impl Folders {
    fn of(path: &dyn Fn(&str) -> Option<PathBuf>, get: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let cache = user_cache(path);
        // Hugging Face's tools use ~/.cache on every system.
        let xdg = path("XDG_CACHE_HOME");
        let home = path("HOME").or_else(|| path("USERPROFILE"));
        let hugging_face = xdg.or_else(|| home.map(|home| home.join(".cache")));
        Self {
            data: models::data_dir(get),
            runtime: path("XDG_RUNTIME_DIR").filter(|folder| folder.is_absolute()),
            hugging_face: hugging_face.unwrap_or_else(|| cache.clone()).join("huggingface"),
            cache,
        }
    }
}

/// The folder that the system sets aside for caches, or the temporary one where there is no home.
fn user_cache(path: &dyn Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let home = || path("HOME").map(|home| home.join(".cache"));
    let found = if cfg!(target_os = "macos") {
        path("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        path("LOCALAPPDATA")
    } else {
        // A relative XDG path is to be ignored, says its specification.
        path("XDG_CACHE_HOME").filter(|cache| cache.is_absolute()).or_else(home)
    };
    found.unwrap_or_else(std::env::temp_dir)
}
