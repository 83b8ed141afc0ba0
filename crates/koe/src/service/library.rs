//! The models and voices that requests may name, each opened once, whoever asks.
//!
//! The model that the server was started with is opened at the start. The small built-in one stands
//! beside it and is opened when a request names one of its voices. Which voice a name means is
//! decided by [`crate::choice`], exactly as on the command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use koe_engine::{Model, Voice};
use koe_text::Dialect;

use crate::choice::{self, Choice, Error, Which, Wish};
use crate::config::Config;
use crate::voices::{self, Mix};

/// A voice that is ready to speak.
pub struct Cast {
    /// Which of the library's models it belongs to; see [`super::Lease::session`].
    pub key: usize,
    /// The model.
    pub model: Model,
    /// The voice, mixed.
    pub voice: Voice,
    /// The factor that levels it with others.
    pub gain: f32,
    /// The English that it speaks, if its name says one.
    pub dialect: Option<Dialect>,
    /// The names of the voices in it.
    pub names: Vec<String>,
}

/// A voice as lists of voices show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What requests call it.
    pub name: String,
    /// `kokoro-82m`, `builtin` or the folder's name.
    pub model: String,
    /// Whether a request that names none gets it.
    pub is_default: bool,
}

/// [`Cast::key`] of the model that the server was started with.
pub(super) const MAIN: usize = 0;

/// The most mixtures kept ready, and the most named ones. A voice takes half a megabyte.
const MAX_CASTS: usize = 64;
/// The most named mixtures; a name costs little, but not nothing.
const MAX_NAMED: usize = 1024;

/// Models, voices and named mixtures.
pub struct Library {
    config: Config,
    /// What `--model` said.
    asked: Option<String>,
    kokoro: Option<PathBuf>,
    main: (Which, Model),
    builtin: OnceLock<Result<Model, String>>,
    default_voice: Option<Mix>,
    notice: Option<String>,
    /// The mixtures used last, the latest at the end.
    casts: Mutex<Vec<(String, Arc<Cast>)>>,
    named: RwLock<BTreeMap<String, Mix>>,
    hits: AtomicU64,
    misses: AtomicU64,
    loads: AtomicU64,
    builtin_loads: AtomicU64,
}

impl Library {
    /// Opens the model that `model` names, or the best that is there.
    pub fn open(config: &Config, model: Option<String>, voice: Option<Mix>) -> Result<Self, Error> {
        let kokoro = choice::installed(config)?;
        let wish = Wish { model: model.clone(), voice: voice.clone() };
        let chosen = choice::choose(&wish, kokoro.as_deref())?;
        choice::check_voice(&chosen)?;
        let loads = AtomicU64::new(0);
        let opened = load(&chosen.model, config, &loads)?;
        let library = Self {
            config: config.clone(),
            asked: model,
            kokoro,
            main: (chosen.model.clone(), opened),
            builtin: OnceLock::new(),
            default_voice: voice,
            notice: chosen.notice.clone(),
            casts: Mutex::default(),
            named: RwLock::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            loads,
            builtin_loads: AtomicU64::new(0),
        };
        // A default voice that is not there is an error of the start, not of every request.
        library.cast(None, None)?;
        Ok(library)
    }

    /// The model that requests get unless they ask for another.
    pub fn model(&self) -> &Model {
        &self.main.1
    }

    /// Its name.
    pub fn model_name(&self) -> String {
        name_of(&self.main.0)
    }

    /// Where its files are, if it has any.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.main.0 {
            Which::Builtin => None,
            Which::Kokoro(folder) | Which::Folder(folder) => Some(folder),
        }
    }

    /// Whether the server was started with the small built-in model.
    pub fn is_builtin(&self) -> bool {
        self.main.0 == Which::Builtin
    }

    /// One sentence that whoever listens should see.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// The voice that `voice` means in the model that `model` names (`builtin`; none: the main one).
    pub fn cast(&self, model: Option<&str>, voice: Option<&str>) -> Result<Arc<Cast>, Error> {
        let key = format!("{}\n{}", model.unwrap_or_default(), voice.unwrap_or_default());
        if let Some(cast) = self.remembered(&key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(cast);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let mix = match voice {
            None => self.default_voice.clone(),
            Some(voice) => Some(self.mix(voice)?),
        };
        let wish =
            Wish { model: model.map(str::to_owned).or_else(|| self.asked.clone()), voice: mix };
        let found = choice::choose(&wish, self.kokoro.as_deref())
            .and_then(|chosen| self.cast_chosen(&chosen));
        let cast = match found {
            Ok(cast) => cast,
            // Whatever was asked for at the start, the built-in voices are here too.
            Err(error) if model.is_none() && is_all_builtin(&wish) => {
                let builtin = Wish { model: Some("builtin".to_owned()), voice: wish.voice.clone() };
                let chosen = choice::choose(&builtin, None).map_err(|_| error)?;
                self.cast_chosen(&chosen)?
            }
            Err(error) => return Err(error),
        };
        let cast = Arc::new(cast);
        let mut casts = self.casts.lock().unwrap_or_else(PoisonError::into_inner);
        if casts.len() >= MAX_CASTS {
            casts.remove(0);
        }
        casts.push((key, cast.clone()));
        Ok(cast)
    }

    /// The voice that `mix` means in the model of that [identity](Model::identity), if it is open or
    /// can be opened here.
    pub fn cast_in(&self, identity: &str, mix: Option<Mix>) -> Result<Arc<Cast>, Error> {
        let which = if self.model().identity() == identity {
            self.main.0.clone()
        } else if identity == Model::identify_builtin(self.model().precision()) {
            Which::Builtin
        } else {
            return Err(Error::Missing("another model".to_owned()));
        };
        self.cast_chosen(&Choice { model: which, voice: mix, notice: None }).map(Arc::new)
    }

    fn cast_chosen(&self, chosen: &Choice) -> Result<Cast, Error> {
        let (key, model) = self.open_model(chosen)?;
        let opened = choice::cast(chosen, &model)?;
        Ok(Cast {
            key,
            model,
            voice: opened.voice,
            gain: opened.gain,
            dialect: opened.dialect,
            names: opened.names,
        })
    }

    /// The mixture of that name, or what the grammar of mixtures says.
    fn mix(&self, voice: &str) -> Result<Mix, Error> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        match named.get(voice) {
            Some(mix) => Ok(mix.clone()),
            None => Mix::parse(voice).map_err(Error::Usage),
        }
    }

    /// Gives a mixture a name, which requests can then use like a voice's.
    pub fn name_mix(&self, name: &str, mix: Mix) -> Result<(), Error> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            let problem = "a voice's name has 1 to 64 letters, digits, '_' or '-'";
            return Err(Error::Usage(problem.to_owned()));
        }
        if voices::openai(name).is_some() || self.voices().iter().any(|voice| voice.name == name) {
            return Err(Error::Usage(format!("there is a voice {name:?} already")));
        }
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= MAX_NAMED && !named.contains_key(name) {
            return Err(Error::Usage(format!("there are {MAX_NAMED} named mixtures already")));
        }
        named.insert(name.to_owned(), mix);
        drop(named);
        // What the name meant before is forgotten.
        self.casts.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Every voice, those of the main model first, then the built-in ones and the named mixtures.
    pub fn voices(&self) -> Vec<Listed> {
        let default = self.cast(None, None).ok().and_then(|cast| match &cast.names[..] {
            [name] => Some(name.clone()),
            _ => None,
        });
        let main = self.model_name();
        let mut listed: Vec<Listed> = Vec::new();
        let mut list = |name: String, model: &str| {
            if !listed.iter().any(|voice| voice.name == name) {
                let is_default = default.as_ref() == Some(&name);
                listed.push(Listed { name, model: model.to_owned(), is_default });
            }
        };
        self.model().voices().into_iter().for_each(|name| list(name, &main));
        voices::BUILTIN.iter().for_each(|name| list((*name).to_owned(), "builtin"));
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        named.keys().for_each(|name| list(name.clone(), "mix"));
        listed
    }

    /// What requests that name no voice get, by name.
    pub fn default_voice_name(&self) -> String {
        self.cast(None, None).map(|cast| cast.names.join("+")).unwrap_or_default()
    }

    /// Drops mixtures that are kept ready; they are mixed again when they are asked for.
    pub fn forget_casts(&self) {
        self.casts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often a mixture was found ready, and how often it was not.
    pub fn cast_lookups(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The models that are open, by name, with how often each was opened: once, or what is the
    /// point of sharing it.
    pub fn open_models(&self) -> Vec<(String, Model, u64)> {
        let main = (self.model_name(), self.main.1.clone(), self.loads.load(Ordering::Relaxed));
        let builtin = self.builtin.get().and_then(|opened| opened.as_ref().ok());
        let builtin = builtin.map(|model| {
            ("builtin".to_owned(), model.clone(), self.builtin_loads.load(Ordering::Relaxed))
        });
        [main].into_iter().chain(builtin).collect()
    }

    /// How many mixtures are kept ready.
    pub fn casts_kept(&self) -> usize {
        self.casts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn remembered(&self, key: &str) -> Option<Arc<Cast>> {
        let mut casts = self.casts.lock().unwrap_or_else(PoisonError::into_inner);
        let at = casts.iter().position(|(known, _)| known == key)?;
        let found = casts.remove(at);
        let cast = found.1.clone();
        casts.push(found);
        Some(cast)
    }

    fn open_model(&self, chosen: &Choice) -> Result<(usize, Model), Error> {
        if chosen.model == self.main.0 {
            return Ok((MAIN, self.main.1.clone()));
        }
        // A request never names a folder, so what is left is the built-in model.
        let opened = self.builtin.get_or_init(|| {
            load(&Which::Builtin, &self.config, &self.builtin_loads).map_err(|e| e.to_string())
        });
        opened.clone().map(|model| (1, model)).map_err(Error::Missing)
    }
}

/// Opens a model, and counts that.
fn load(which: &Which, config: &Config, loads: &AtomicU64) -> Result<Model, Error> {
    loads.fetch_add(1, Ordering::Relaxed);
    choice::open_model(which, config)
}

fn is_all_builtin(wish: &Wish) -> bool {
    wish.voice.as_ref().is_some_and(|mix| mix.names().all(|n| voices::BUILTIN.contains(&n)))
}

fn name_of(which: &Which) -> String {
    match which {
        Which::Builtin => "builtin".to_owned(),
        Which::Kokoro(_) => "kokoro-82m".to_owned(),
        Which::Folder(folder) => {
            folder.file_name().map_or("model".into(), |name| name.to_string_lossy().into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn library() -> (tempfile::TempDir, Library) {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().to_owned();
        let config = Config::read(&|name| (name == "HOME").then(|| folder.clone().into()));
        let library = Library::open(&config, None, None).unwrap();
        (home, library)
    }

    #[test]
    fn every_openai_voice_speaks_with_the_built_in_model() {
        let (_home, library) = library();
        for (name, _) in voices::OPENAI {
            assert_eq!(library.cast(None, Some(name)).unwrap().names.len(), 1, "{name}");
        }
        assert!(matches!(library.cast(None, Some("af_heart")), Err(Error::Missing(_))));
        assert!(library.notice().unwrap().contains("koe pull"));
    }

    #[test]
    fn built_in_voices_are_there_beside_a_model_of_ones_own() {
        let home = tempfile::tempdir().unwrap();
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/assets/builtin");
        let folder = home.path().join("own");
        std::fs::create_dir_all(folder.join("voices")).unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(assets.join(name), folder.join(name)).unwrap();
        }
        std::fs::copy(assets.join("voices/am_rms.bin"), folder.join("voices/mine.bin")).unwrap();
        let config = Config::read(&|name| (name == "HOME").then(|| home.path().into()));
        let asked = folder.to_str().unwrap().to_owned();
        let library = Library::open(&config, Some(asked), None).unwrap();
        for voice in library.voices() {
            let cast = library.cast(None, Some(&voice.name)).unwrap();
            assert_eq!(cast.names, [voice.name]);
        }
        assert!(matches!(library.cast(None, Some("af_hart")), Err(Error::Usage(_))));
    }

    #[test]
    fn one_cast_is_shared_by_all_who_ask_and_memory_is_bounded() {
        let (_home, library) = library();
        let first = library.cast(None, Some("am_rms")).unwrap();
        assert!(Arc::ptr_eq(&first, &library.cast(None, Some("am_rms")).unwrap()));
        for i in 1..200 {
            library.cast(None, Some(&format!("am_rms({i})+af_slt(3)"))).unwrap();
        }
        assert!(library.casts.lock().unwrap().len() <= MAX_CASTS);
    }

    #[test]
    fn a_named_mixture_is_a_voice_and_may_be_renewed() {
        let (_home, library) = library();
        library.name_mix("duo", Mix::parse("am_rms(1)+af_slt(3)").unwrap()).unwrap();
        assert_eq!(library.cast(None, Some("duo")).unwrap().names, ["am_rms", "af_slt"]);
        assert!(library.voices().iter().any(|voice| voice.name == "duo"));
        library.name_mix("solo", Mix::parse("af_slt").unwrap()).unwrap();
        assert_eq!(library.cast(None, Some("solo")).unwrap().names, ["af_slt"]);
        for wrong in ["", "a/b", "nova", "am_rms", &"x".repeat(65)] {
            assert!(library.name_mix(wrong, Mix::single("am_rms")).is_err(), "{wrong}");
        }
    }
}
