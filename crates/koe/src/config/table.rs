//! Every setting there is: the single source of the variables, the keys of the file, the flags of
//! `koe serve`, the help texts and `docs/configuration.md`.
//!
//! Data only. What a value means is read in `config.rs`, where each setting becomes a field.

use super::setting::{Flag, Form, Kind, Preset, Setting};
use crate::pull::HUGGING_FACE;
use crate::voices::Mix;
use koe_engine::{Isa, Precision};

const DAY: u64 = 86_400;

const fn whole(from: u64, to: u64) -> Kind {
    Kind::Whole { from, to, unit: "" }
}

const fn seconds(from: u64, to: u64) -> Kind {
    Kind::Whole { from, to, unit: "seconds" }
}

const fn text(needs: &'static str, check: fn(&str) -> Result<(), String>) -> Kind {
    Kind::Text(Form { needs, check })
}

const fn setting(
    key: &'static str,
    variable: &'static str,
    kind: Kind,
    preset: Preset,
    doc: &'static str,
) -> Setting {
    Setting { key, variable, flag: None, kind, preset, doc, secret: false }
}

impl Setting {
    const fn flag(self, long: &'static str, value_name: &'static str) -> Self {
        Self { flag: Some(Flag { long, short: None, value_name }), ..self }
    }

    const fn short_flag(self, short: char, long: &'static str, value_name: &'static str) -> Self {
        Self { flag: Some(Flag { long, short: Some(short), value_name }), ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

const PATH: Kind = Kind::Path(&[]);

/// The words that stand for models; all else is a folder.
pub(super) const MODELS: &[&str] = &["kokoro-82m", "builtin"];

/// The words for a local socket that are no path.
pub(super) const SOCKETS: &[&str] = &["auto", "off"];

fn any(_: &str) -> Result<(), String> {
    Ok(())
}

fn voice(text: &str) -> Result<(), String> {
    Mix::parse(text).map(drop)
}

fn isa(text: &str) -> Result<(), String> {
    Isa::named(text).map(drop).map_err(|error| error.to_string())
}

fn precision(text: &str) -> Result<(), String> {
    Precision::named(text, Isa::SCALAR).map(drop).map_err(|error| error.to_string())
}

fn accelerator(text: &str) -> Result<(), String> {
    text.parse::<koe_onnx::Accelerator>().map(drop).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<(), String> {
    let found = text.parse::<std::net::IpAddr>().map(drop);
    found.map_err(|_| {
        format!("{text:?} is not an address; use one like 127.0.0.1, 0.0.0.0, ::1 or ::")
    })
}

fn origin(text: &str) -> Result<(), String> {
    match text == "*" || text.starts_with("http://") || text.starts_with("https://") {
        true => Ok(()),
        false => Err(format!("{text:?} is not like https://example.org, nor *")),
    }
}

/// The tables of the file, in the order of the documents, and what each is about.
pub const TABLES: &[(&str, &str)] = &[
    ("model", "Which model and voice speak"),
    ("compute", "How, and with what, the sound is computed"),
    ("keep_alive", "What keeps the engine warm between requests, so that none meets a cold one"),
    ("memory", "How much is held in memory"),
    ("priming", "What is made ready beforehand"),
    ("server", "What `koe serve` listens on, and how much it lets in"),
    ("daemon", "The socket for programs on this machine, and the daemon behind it"),
    ("folders", "Where koe keeps its files"),
    ("hub", "Where models come from, as Hugging Face's tools have it"),
];

macro_rules! settings {
    ($($name:ident = $setting:expr;)*) => {
        $(pub(super) static $name: Setting = $setting;)*
        /// All settings, in the order of the documents; those of one table stand together.
        pub static SETTINGS: &[&Setting] = &[$(&$name),*];
    };
}

settings! {
    MODEL = setting("model.name", "KOKORO_MODEL", Kind::Path(MODELS),
        Preset::Unset("kokoro-82m if it is installed, else builtin"),
        "The model: kokoro-82m, builtin, or a folder with a Kokoro checkpoint")
        .short_flag('m', "model", "MODEL");
    MODEL_DIR = setting("model.folder", "KOKORO_MODEL_DIR", PATH,
        Preset::Unset("where koe pull or Hugging Face's tools put it"),
        "The folder of Kokoro-82M, where it is not in a usual place");
    VOICE = setting("model.voice", "KOKORO_VOICE", text("a voice, or a mix as af_bella(2)+af_sky(1)", voice),
        Preset::Unset("af_heart, or the built-in voice"),
        "The voice to speak with when none is asked for; a mix as af_bella(2)+af_sky(1) is one")
        .short_flag('v', "voice", "VOICE");

    THREADS = setting("compute.threads", "KOKORO_THREADS", whole(1, 4096),
        Preset::Unset("as many as the machine runs at once"),
        "How many threads compute")
        .short_flag('t', "threads", "N");
    ISA = setting("compute.isa", "KOKORO_ISA", text("scalar, avx2, avx512, avx512bf16, amx, neon or neonbf16", isa),
        Preset::Unset("the best of this CPU"),
        "The instruction set to compute with");
    PRECISION = setting("compute.precision", "KOKORO_PRECISION", text("auto, f32 or bf16", precision),
        Preset::Is("auto"),
        "The numbers to compute with; auto is the fastest with these instructions");
    ACCELERATOR = setting("compute.accelerator", "KOKORO_ACCELERATOR",
        text("off, auto, cpu, cuda, tensorrt, coreml-all, coreml-gpu, coreml-ane, directml or openvino", accelerator),
        Preset::Is("off"),
        "What computes instead of koe's own engine, through ONNX Runtime");
    ONNX_MODEL = setting("compute.onnx_model", "KOKORO_ONNX_MODEL", PATH,
        Preset::Unset("none"),
        "Kokoro-82M as an ONNX file, for accelerators");
    ONNX_LIBRARY = setting("compute.onnx_library", "ORT_DYLIB_PATH", PATH,
        Preset::Unset("looked for where the system keeps libraries"),
        "ONNX Runtime's library, for accelerators");

    KEEP_ALIVE_ENABLED = setting("keep_alive.enabled", "KOKORO_KEEP_ALIVE_ENABLED", Kind::Switch,
        Preset::Is("true"),
        "Whether to keep the engine warm while nobody asks for anything");
    KEEP_ALIVE_INTERVAL = setting("keep_alive.interval_seconds", "KOKORO_KEEP_ALIVE_INTERVAL_SECONDS",
        seconds(1, DAY), Preset::Is("300"),
        "How often to look whether the engine must be kept warm");
    KEEP_ALIVE_IDLE_THRESHOLD = setting("keep_alive.idle_threshold_seconds",
        "KOKORO_KEEP_ALIVE_IDLE_THRESHOLD_SECONDS", seconds(0, DAY), Preset::Is("120"),
        "How long nothing must have been asked for before the engine is kept warm");

    MEMORY_THRESHOLD = setting("memory.threshold_mb", "KOKORO_MEMORY_THRESHOLD_MB",
        Kind::Whole { from: 1, to: 16_000_000, unit: "MB" },
        Preset::Unset("2000 above 32 GiB of memory, 1000 above 16 GiB, else 200"),
        "The process's own memory above which what can be made again is dropped");
    LOCK_WEIGHTS = setting("memory.lock_weights", "KOKORO_LOCK_WEIGHTS", Kind::Switch,
        Preset::Is("false"),
        "Whether to lock the weights into memory, so that the system never drops them");

    TUNING = setting("priming.tuning", "KOKORO_TUNING", Kind::Switch,
        Preset::Is("true"),
        "Whether to remember what was measured of this machine, so that each start need not measure");
    SKIP_EXTENDED_WARMING = setting("priming.skip_extended_warming", "KOKORO_SKIP_EXTENDED_WARMING",
        Kind::Switch, Preset::Is("false"),
        "Whether to leave out the warm-ups that go on in the background after the start");

    HOST = setting("server.host", "KOKORO_HOST", text("an address as 127.0.0.1", address),
        Preset::Is("127.0.0.1"),
        "The address to listen on; others than this machine's own need keys or allow_anonymous")
        .flag("host", "HOST");
    PORT = setting("server.port", "KOKORO_PORT", whole(0, 65_535), Preset::Is("8880"),
        "The port; 0 takes a free one")
        .short_flag('p', "port", "PORT");
    LANES = setting("server.lanes", "KOKORO_LANES", whole(1, 1024),
        Preset::Unset("one for every eight threads"),
        "Syntheses at once, which share the threads")
        .flag("lanes", "N");
    MAX_REQUESTS = setting("server.max_requests", "KOKORO_MAX_REQUESTS", whole(1, 1_000_000),
        Preset::Is("64"),
        "Speech requests at once, waiting ones included; more are refused")
        .flag("max-requests", "N");
    MAX_CONNECTIONS = setting("server.max_connections", "KOKORO_MAX_CONNECTIONS",
        whole(1, 1_000_000), Preset::Is("1024"),
        "Connections at once; more wait")
        .flag("max-connections", "N");
    MAX_CHARS = setting("server.max_chars", "KOKORO_MAX_CHARS", whole(1, 1_000_000_000),
        Preset::Is("200000"),
        "The most characters of one text")
        .flag("max-chars", "N");
    QUEUE_TIMEOUT = setting("server.queue_timeout_seconds", "KOKORO_QUEUE_TIMEOUT_SECONDS",
        seconds(0, DAY), Preset::Is("30"),
        "How long a request may wait to be spoken before it is refused")
        .flag("queue-timeout", "SECONDS");
    STALL_TIMEOUT = setting("server.stall_timeout_seconds", "KOKORO_STALL_TIMEOUT_SECONDS",
        seconds(1, DAY), Preset::Is("120"),
        "How long a listener may read nothing before it is cut off")
        .flag("stall-timeout", "SECONDS");
    DRAIN_TIMEOUT = setting("server.drain_timeout_seconds", "KOKORO_DRAIN_TIMEOUT_SECONDS",
        seconds(0, DAY), Preset::Is("30"),
        "How long running requests may go on after the signal to stop")
        .flag("drain-timeout", "SECONDS");
    API_KEYS = setting("server.api_keys", "KOKORO_API_KEYS", Kind::List(Form { needs: "keys", check: any }),
        Preset::Unset("none"),
        "Keys that koe serve accepts; those of api_key_file are accepted too")
        .secret();
    API_KEY_FILE = setting("server.api_key_file", "KOKORO_API_KEY_FILE", PATH,
        Preset::Unset("none"),
        "A file with keys that koe serve accepts, one a line")
        .flag("api-key-file", "FILE");
    ALLOW_ANONYMOUS = setting("server.allow_anonymous", "KOKORO_ALLOW_ANONYMOUS", Kind::Switch,
        Preset::Is("false"),
        "Whether to listen on a public address although everyone may ask")
        .flag("allow-anonymous", "YES");
    RATE_LIMIT = setting("server.rate_limit", "KOKORO_RATE_LIMIT", whole(1, 1_000_000),
        Preset::Unset("no limit"),
        "Requests a minute for each key")
        .flag("rate-limit", "N");
    CORS_ORIGINS = setting("server.cors_origins", "KOKORO_CORS_ORIGINS",
        Kind::List(Form { needs: "sites as https://example.org, or *", check: origin }),
        Preset::Unset("none"),
        "Sites whose pages may ask, as https://example.org, or *; the flag can be given again")
        .flag("cors-origin", "ORIGIN");
    TLS_CERT = setting("server.tls_cert", "KOKORO_TLS_CERT", PATH,
        Preset::Unset("none: http"),
        "A certificate chain in PEM, for https")
        .flag("tls-cert", "FILE");
    TLS_KEY = setting("server.tls_key", "KOKORO_TLS_KEY", PATH,
        Preset::Unset("none: http"),
        "The certificate's private key in PEM")
        .flag("tls-key", "FILE");

    SOCKET = setting("daemon.socket", "KOKORO_SOCKET", Kind::Path(SOCKETS), Preset::Is("auto"),
        "The socket for programs on this machine; auto is koe.sock in $XDG_RUNTIME_DIR, else in the cache folder");
    DAEMON_IDLE = setting("daemon.idle_seconds", "KOKORO_DAEMON_IDLE_SECONDS", seconds(1, 30 * DAY),
        Preset::Is("600"),
        "How long a daemon that nobody asks for anything stays");

    CACHE_DIR = setting("folders.cache", "KOKORO_CACHE_DIR", PATH,
        Preset::Unset("koe in the user's cache folder: ~/.cache/koe on Linux"),
        "Where packed weights are kept");
    DATA_DIR = setting("folders.data", "KOKORO_DATA_DIR", PATH,
        Preset::Unset("koe in the user's folder for data: ~/.local/share/koe on Linux"),
        "Where koe pull keeps models");

    HUB_ENDPOINT = setting("hub.endpoint", "HF_ENDPOINT", text("an address as https://huggingface.co", any),
        Preset::Is(HUGGING_FACE),
        "Where koe pull downloads from");
    HUB_TOKEN = setting("hub.token", "HF_TOKEN", text("a token", any),
        Preset::Unset("that of the token file"),
        "What koe pull shows to the endpoint")
        .secret();
    HUB_TOKEN_PATH = setting("hub.token_path", "HF_TOKEN_PATH", PATH,
        Preset::Unset("token in hub.home"),
        "A file with the token");
    HUB_OFFLINE = setting("hub.offline", "HF_HUB_OFFLINE", Kind::Switch, Preset::Is("false"),
        "Whether koe pull makes no connection");
    HUB_HOME = setting("hub.home", "HF_HOME", PATH,
        Preset::Unset("huggingface in the cache folder that Hugging Face's tools use"),
        "Where Hugging Face's tools keep their files");
    HUB_CACHE = setting("hub.cache", "HF_HUB_CACHE", PATH,
        Preset::Unset("hub in hub.home"),
        "Where Hugging Face's tools keep models; looked at too");
    HUB_CERTIFICATES = setting("hub.certificates", "SSL_CERT_FILE", PATH,
        Preset::Unset("the public ones that are built in"),
        "The authorities that koe pull trusts, in PEM");
}
