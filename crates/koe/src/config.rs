//! What the environment says. The only file that reads it: everything else is handed values.
//!
//! Reading it opens no file and loads no model; [`Config::source`] does open the file of the token. A variable that cannot be understood is a problem,
//! never ignored; all problems are told at once.

use std::ffi::OsString;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use koe_engine::Isa;

use crate::models;
use crate::pull::{Source, Token};

/// The environment's part of the configuration; the command line goes before it.
#[derive(Clone, Debug)]
pub struct Config {
    /// `KOKORO_MODEL`: what `--model` takes.
    pub model: Option<String>,
    /// `KOKORO_MODEL_DIR`: the folder of Kokoro-82M, where it is not in the usual cache.
    pub model_dir: Option<PathBuf>,
    /// `KOKORO_VOICE`: what `--voice` takes.
    pub voice: Option<String>,
    /// `KOKORO_API_KEYS`: who may ask `koe serve`, with commas between.
    pub api_keys: Option<String>,
    /// `KOKORO_THREADS`: threads that compute.
    pub threads: Option<NonZeroUsize>,
    /// `KOKORO_ISA`: the instruction set to compute with, instead of the best.
    pub isa: Option<Isa>,
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
    /// What could not be understood, one sentence each.
    pub problems: Vec<String>,
}

/// The variables read here, and what they are for: the source of the help text.
pub const VARIABLES: &[(&str, &str)] = &[
    ("KOKORO_MODEL", "like --model: kokoro-82m, builtin or a folder"),
    ("KOKORO_MODEL_DIR", "the folder of Kokoro-82M, if not in the Hugging Face cache"),
    ("KOKORO_VOICE", "like --voice"),
    ("KOKORO_API_KEYS", "keys that koe serve accepts, with commas between"),
    ("KOKORO_THREADS", "like --threads"),
    ("KOKORO_ISA", "instruction set: scalar, avx2, avx512, neon (default: the best)"),
    ("KOKORO_CACHE_DIR", "where packed weights are kept (default: ~/.cache/koe)"),
    ("KOKORO_DATA_DIR", "where koe pull keeps models (default: ~/.local/share/koe)"),
    ("HF_HOME, HF_HUB_CACHE", "where Hugging Face's tools keep models; looked at too"),
    ("HF_ENDPOINT, HF_TOKEN", "where koe pull downloads from (default: huggingface.co)"),
    ("HF_TOKEN_PATH", "a file with what HF_TOKEN takes (default: $HF_HOME/token)"),
    ("HF_HUB_OFFLINE", "1: koe pull makes no connection"),
];

impl Config {
    /// Reads the environment of this process.
    pub fn from_env() -> Self {
        Self::read(&|name| std::env::var_os(name))
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

    /// Reads variables from `get`; an empty one counts as absent.
    pub fn read(get: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let mut problems = Vec::new();
        let raw = |name: &str| get(name).filter(|value| !value.is_empty());
        let path = |name: &str| raw(name).map(PathBuf::from);
        let text = |name: &str, problems: &mut Vec<String>| {
            let text = raw(name).map(OsString::into_string).transpose();
            text.unwrap_or_else(|_| {
                problems.push(format!("{name} is not UTF-8"));
                None
            })
        };
        let threads = text("KOKORO_THREADS", &mut problems).and_then(|value| {
            let threads = value.parse();
            if threads.is_err() {
                problems.push(format!("KOKORO_THREADS is {value:?}, needed a number from 1"));
            }
            threads.ok()
        });
        let isa = text("KOKORO_ISA", &mut problems).and_then(|value| match Isa::named(&value) {
            Ok(isa) => Some(isa),
            Err(error) => {
                problems.push(format!("KOKORO_ISA: {error}"));
                None
            }
        });
        let user_cache = user_cache(&path);
        let hf_home = path("HF_HOME").unwrap_or_else(|| {
            // Hugging Face's tools use ~/.cache on every system.
            let xdg = path("XDG_CACHE_HOME");
            let home = path("HOME").or_else(|| path("USERPROFILE"));
            let base = xdg.or_else(|| home.map(|home| home.join(".cache")));
            base.unwrap_or_else(|| user_cache.clone()).join("huggingface")
        });
        let hub = path("HF_HUB_CACHE").unwrap_or_else(|| hf_home.join("hub"));
        Self {
            model: text("KOKORO_MODEL", &mut problems),
            model_dir: path("KOKORO_MODEL_DIR"),
            voice: text("KOKORO_VOICE", &mut problems),
            api_keys: text("KOKORO_API_KEYS", &mut problems),
            threads,
            isa,
            cache: path("KOKORO_CACHE_DIR").unwrap_or_else(|| user_cache.join("koe")),
            data: models::data_dir(get),
            hub_source: Source::hub(get),
            token_path: path("HF_TOKEN_PATH").unwrap_or_else(|| hf_home.join("token")),
            hub,
            path: raw("PATH").unwrap_or_default(),
            problems,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        Config::read(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let config = config(&[("KOKORO_THREADS", "0"), ("KOKORO_ISA", "mmx")]);
        assert_eq!(config.problems.len(), 2, "{:?}", config.problems);
        assert!(config.problems[0].contains("KOKORO_THREADS is \"0\""));
        assert!(config.problems[1].contains("mmx"));
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let config = config(&[("KOKORO_THREADS", ""), ("KOKORO_VOICE", "")]);
        assert!(config.problems.is_empty() && config.voice.is_none() && config.threads.is_none());
    }

    #[test]
    fn the_token_is_that_of_the_environment_or_else_of_the_file_it_names_or_else_the_usual_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let named = folder.path().join("named");
        let token_of = |more: &[(&str, &str)]| {
            let source = config(&[&[("HF_HOME", home)], more].concat()).source();
            source.map(|source| match source {
                Source::Hub { token, .. } => token.map(|token| token.0),
                other => panic!("{other:?}"),
            })
        };
        let path = ("HF_TOKEN_PATH", named.to_str().unwrap());
        assert_eq!(token_of(&[path]).unwrap(), None);
        std::fs::write(folder.path().join("token"), "usual\n").unwrap();
        assert_eq!(token_of(&[]).unwrap().as_deref(), Some("usual"));
        assert_eq!(token_of(&[path]).unwrap(), None);
        std::fs::write(&named, " named\r\n").unwrap();
        assert_eq!(token_of(&[path]).unwrap().as_deref(), Some("named"));
        assert_eq!(token_of(&[path, ("HF_TOKEN", "own")]).unwrap().as_deref(), Some("own"));
        assert_eq!(token_of(&[path, ("HF_TOKEN", " ")]).unwrap().as_deref(), Some("named"));
        std::fs::write(&named, "\n").unwrap();
        assert_eq!(token_of(&[path]).unwrap(), None);
        let error = token_of(&[("HF_TOKEN_PATH", home)]).unwrap_err().to_string();
        assert!(error.contains(home), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn folders_follow_the_conventions() {
        let home = config(&[("HOME", "/h")]);
        assert_eq!(home.cache, PathBuf::from("/h/.cache/koe"));
        assert_eq!(home.hub, PathBuf::from("/h/.cache/huggingface/hub"));
        let xdg = config(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]);
        assert_eq!(xdg.cache, PathBuf::from("/x/koe"));
        assert_eq!(xdg.hub, PathBuf::from("/f/hub"));
        let own = config(&[("KOKORO_CACHE_DIR", "/c"), ("HF_HUB_CACHE", "/u"), ("HF_HOME", "/f")]);
        assert_eq!((own.cache, own.hub), (PathBuf::from("/c"), PathBuf::from("/u")));
    }
}
