//! Which model and which voice the caller means.
//!
//! Without a word from the caller it is Kokoro-82M with its best voice if it is installed, else the
//! small built-in model, and then the caller is told so. A voice that only Kokoro-82M has is never
//! replaced by another in silence: it is an error that says how to get it. OpenAI's names, which
//! clients send without choosing, fit both models.

use std::path::{Path, PathBuf};

use koe_engine::{Isa, Model, Precision, Voice};
use koe_text::Dialect;

use crate::config::Config;
use crate::models;
use crate::voices::{self, Mix, shown};

/// What the caller asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// `kokoro-82m`, `builtin` or a folder.
    pub model: Option<String>,
    /// The voice or mixture.
    pub voice: Option<Mix>,
}

/// What will be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The model.
    pub model: Which,
    /// Its voices, by the model's own names. None: to be chosen from those in the folder.
    pub voice: Option<Mix>,
    /// One line that the caller should see.
    pub notice: Option<String>,
}

/// A model that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that is compiled in.
    Builtin,
    /// Kokoro-82M, in this folder.
    Kokoro(PathBuf),
    /// A folder that the caller named; its voices are its own.
    Folder(PathBuf),
}

/// Why there is nothing to choose.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asks for something that does not exist.
    #[error("{0}")]
    Usage(String),
    /// It exists but is not on this machine.
    #[error("{0}")]
    Missing(String),
    /// The engine cannot open it.
    #[error(transparent)]
    Engine(#[from] koe_engine::Error),
}

/// How to see which voices there are, on the command line; other doors say it their own way.
pub const HOW_TO_LIST_VOICES: &str = "list them with: koe voices";
/// How to get the real model.
pub const HOW_TO_GET_KOKORO: &str = "get it with: koe pull";

/// Chooses, given the folder of Kokoro-82M if it is installed. Opens nothing.
pub fn choose(wish: &Wish, kokoro: Option<&Path>) -> Result<Choice, Error> {
    let named = wish.voice.as_ref();
    match (wish.model.as_deref(), kokoro) {
        (Some("builtin"), _) => builtin(named, None),
        (Some("kokoro-82m"), Some(folder)) => in_kokoro(named, folder),
        (Some("kokoro-82m"), None) => {
            Err(Error::Missing(format!("Kokoro-82M is not installed; {HOW_TO_GET_KOKORO}")))
        }
        (Some(folder), _) => in_folder(named, Path::new(folder)),
        (None, _) if named.is_some_and(|mix| mix.names().all(is_builtin)) => builtin(named, None),
        (None, Some(folder)) => in_kokoro(named, folder),
        (None, None) => {
            let needs_kokoro = |name: &&str| voices::openai(name).is_none();
            if let Some(name) = named.and_then(|mix| mix.names().find(needs_kokoro)) {
                return Err(missing_voice(name));
            }
            builtin(named, Some(()))
        }
    }
}

fn is_builtin(name: &str) -> bool {
    voices::BUILTIN.contains(&name)
}

fn missing_voice(name: &str) -> Error {
    if !voices::KOKORO.contains(&name) && !is_builtin(name) {
        return unknown(name, voices::KOKORO.into_iter().chain(voices::BUILTIN));
    }
    let here = voices::BUILTIN.join(" and ");
    Error::Missing(format!(
        "voice {name} needs Kokoro-82M, which is not installed; {HOW_TO_GET_KOKORO} (built in are \
         {here})"
    ))
}

fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let hint = match voices::closest(name, known) {
        Some(known) => format!("did you mean {known}? "),
        None => String::new(),
    };
    Error::Usage(format!("no voice {:?}; {hint}{HOW_TO_LIST_VOICES}", shown(name)))
}

fn builtin(named: Option<&Mix>, fallback: Option<()>) -> Result<Choice, Error> {
    let mix = match named {
        None => Mix::single(voices::BUILTIN[0]),
        Some(mix) => rename(mix, |name| match voices::openai(name) {
            Some(voice) => Ok(voices::builtin_for(voice)),
            None if is_builtin(name) => Ok(name),
            None if voices::KOKORO.contains(&name) => Err(Error::Usage(format!(
                "the built-in model has no voice {name}, only {}",
                voices::BUILTIN.join(" and ")
            ))),
            None => Err(unknown(name, voices::BUILTIN)),
        })?,
    };
    let notice = fallback.map(|()| {
        format!(
            "Kokoro-82M is not installed: speaking with the small built-in voice {}; {HOW_TO_GET_KOKORO}",
            mix.names().collect::<Vec<_>>().join("+")
        )
    });
    Ok(Choice { model: Which::Builtin, voice: Some(mix), notice })
}

fn in_kokoro(named: Option<&Mix>, folder: &Path) -> Result<Choice, Error> {
    let mix = match named {
        None => Mix::single(voices::KOKORO_DEFAULT),
        Some(mix) => rename(mix, |name| match voices::openai(name) {
            Some(voice) => Ok(voice),
            None if is_builtin(name) => Err(Error::Usage(format!(
                "{name} is a voice of the built-in model and cannot be mixed with Kokoro's"
            ))),
            None => Ok(name),
        })?,
    };
    Ok(Choice { model: Which::Kokoro(folder.to_owned()), voice: Some(mix), notice: None })
}

fn in_folder(named: Option<&Mix>, folder: &Path) -> Result<Choice, Error> {
    if !folder.is_dir() {
        return Err(Error::Missing(format!(
            "no model {:?}: not a folder, and not one of kokoro-82m and builtin",
            shown(&folder.display().to_string())
        )));
    }
    Ok(Choice { model: Which::Folder(folder.to_owned()), voice: named.cloned(), notice: None })
}

fn rename<'a>(mix: &'a Mix, f: impl Fn(&'a str) -> Result<&'a str, Error>) -> Result<Mix, Error> {
    let parts = mix.0.iter().map(|(name, weight)| Ok((f(name)?.to_owned(), *weight)));
    Ok(Mix(parts.collect::<Result<_, Error>>()?))
}

/// An open model with the voice to speak with.
pub struct Opened {
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

/// The precision that models are opened in.
pub fn precision(config: &Config) -> Precision {
    let isa = config.isa.unwrap_or_else(Isa::detect);
    config.precision.unwrap_or_else(|| Precision::best(isa))
}

/// Opens what was chosen.
pub fn open(choice: &Choice, config: &Config) -> Result<Opened, Error> {
    check_voice(choice)?;
    cast(choice, &open_model(&choice.model, config)?)
}

/// Whether the model has the voice that was asked for, to be told before weights are packed. What
/// else is wrong with its folder is told when it is opened.
pub fn check_voice(choice: &Choice) -> Result<(), Error> {
    if choice.voice.is_some()
        && let Which::Kokoro(folder) | Which::Folder(folder) = &choice.model
        && let Ok(known) = Model::voices_in(folder)
        && !known.is_empty()
    {
        parts(choice, &known)?;
    }
    Ok(())
}

/// Opens a model in the precision that is asked for, or else the best.
pub fn open_model(which: &Which, config: &Config) -> Result<Model, Error> {
    let precision = precision(config);
    Ok(match which {
        Which::Builtin => Model::builtin_in(precision)?,
        Which::Kokoro(folder) | Which::Folder(folder) => {
            Model::open_in(precision, folder, &config.cache)?
        }
    })
}

/// Finds the chosen voice in the chosen model, which is open already.
pub fn cast(choice: &Choice, model: &Model) -> Result<Opened, Error> {
    let parts = parts(choice, &model.voices())?;
    // In f64, where no sum of f32 overflows and no product vanishes.
    let weights: f64 = parts.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let share = |weight: f32| f64::from(weight) / weights;
    let gains = parts.iter().map(|(name, weight)| f64::from(model.gain(name)) * share(*weight));
    let gain = gains.sum::<f64>() as f32;
    let voice = match &parts[..] {
        [(name, _)] => model.voice(name)?,
        parts => {
            let load = |(name, weight): &(String, f32)| Ok((model.voice(name)?, *weight));
            let parts = parts.iter().map(load).collect::<Result<Vec<_>, Error>>()?;
            Voice::mix(&parts)?
        }
    };
    let dialect = parts.first().and_then(|(name, _)| voices::dialect(name));
    let names = parts.into_iter().map(|(name, _)| name).collect();
    Ok(Opened { model: model.clone(), voice, gain, dialect, names })
}

/// The voices of the choice among those that its model has, with their weights.
fn parts(choice: &Choice, known: &[String]) -> Result<Vec<(String, f32)>, Error> {
    let has = |name: &str| known.iter().any(|known| known == name);
    let default;
    let mix = match &choice.voice {
        Some(mix) => mix,
        None => {
            let name = if has(voices::KOKORO_DEFAULT) {
                voices::KOKORO_DEFAULT
            } else {
                known.first().ok_or_else(|| Error::Missing("the model has no voices".into()))?
            };
            default = Mix::single(name);
            &default
        }
    };
    let mut parts = Vec::new();
    for (name, weight) in &mix.0 {
        // OpenAI's names fit a folder too, as far as it has their voices.
        let name = match voices::openai(name) {
            Some(voice) if !has(name) => voice,
            _ => name,
        };
        if !has(name) {
            return Err(match &choice.model {
                Which::Kokoro(folder) if voices::KOKORO.contains(&name) => Error::Missing(format!(
                    "voice {name} is not in {}; {HOW_TO_GET_KOKORO}",
                    folder.display()
                )),
                _ => unknown(name, known.iter().map(|name| &**name)),
            });
        }
        parts.push((name.to_owned(), *weight));
    }
    Ok(parts)
}

/// The folder of Kokoro-82M, if it is here: where the environment says, which must then be true, or
/// else where `koe pull` puts it, or where Hugging Face's tools do.
pub fn installed(config: &Config) -> Result<Option<PathBuf>, Error> {
    if let Some(folder) = &config.model_dir {
        return match what_kokoro_lacks(folder) {
            None => Ok(Some(folder.clone())),
            Some(problem) => Err(Error::Usage(format!(
                "KOKORO_MODEL_DIR is {:?}, which {problem}; correct or unset it",
                shown(&folder.display().to_string())
            ))),
        };
    }
    let snapshots = config.hub.join("models--hexgrad--Kokoro-82M/snapshots");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(snapshots)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    let pulled = models::installed(&config.data, models::KOKORO_82M).map(|model| model.folder);
    let candidates = pulled.into_iter().chain(folders);
    Ok(candidates.into_iter().find(|folder| what_kokoro_lacks(folder).is_none()))
}

/// Why the folder cannot be opened as a model, as far as its names tell.
fn what_kokoro_lacks(folder: &Path) -> Option<&'static str> {
    let has_weights = || {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pth" || extension == "safetensors")
        })
    };
    if !folder.is_dir() {
        Some("is not a folder")
    } else if !folder.join("config.json").is_file() {
        Some("has no config.json")
    } else if !has_weights() {
        Some("has no weights (.pth or .safetensors)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(model: Option<&str>, voice: Option<&str>) -> Wish {
        Wish {
            model: model.map(str::to_owned),
            voice: voice.map(|voice| Mix::parse(voice).unwrap()),
        }
    }

    fn chosen(model: Option<&str>, voice: Option<&str>, kokoro: bool) -> Result<String, Error> {
        let folder = Path::new("/kokoro");
        let choice = choose(&wish(model, voice), kokoro.then_some(folder))?;
        let model = match choice.model {
            Which::Builtin => "builtin",
            Which::Kokoro(_) => "kokoro",
            Which::Folder(_) => "folder",
        };
        let names = choice.voice.as_ref().map(|mix| mix.names().collect::<Vec<_>>().join("+"));
        let notice = if choice.notice.is_some() { " with a notice" } else { "" };
        Ok(format!("{model} {}{notice}", names.unwrap_or_default()))
    }

    #[test]
    fn without_a_word_it_is_kokoro_or_else_the_built_in_voice_with_a_notice() {
        assert_eq!(chosen(None, None, true).unwrap(), "kokoro af_heart");
        assert_eq!(chosen(None, None, false).unwrap(), "builtin am_rms with a notice");
        assert_eq!(chosen(Some("builtin"), None, true).unwrap(), "builtin am_rms");
    }

    #[test]
    fn openai_names_fit_both_models() {
        assert_eq!(chosen(None, Some("nova"), true).unwrap(), "kokoro af_nova");
        assert_eq!(chosen(None, Some("nova"), false).unwrap(), "builtin af_slt with a notice");
        assert_eq!(
            chosen(Some("builtin"), Some("onyx+nova"), true).unwrap(),
            "builtin am_rms+af_slt"
        );
    }

    #[test]
    fn a_built_in_voice_needs_no_kokoro_and_no_notice() {
        assert_eq!(chosen(None, Some("af_slt"), true).unwrap(), "builtin af_slt");
        assert_eq!(chosen(None, Some("af_slt(2)+am_rms"), false).unwrap(), "builtin af_slt+am_rms");
    }

    #[test]
    fn a_voice_that_is_not_there_is_never_replaced() {
        let missing = |model, voice, kokoro| match chosen(model, voice, kokoro) {
            Err(Error::Missing(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(missing(None, Some("af_heart"), false).contains("koe pull"));
        assert!(missing(None, Some("af_heart+am_rms"), false).contains("koe pull"));
        assert!(missing(Some("kokoro-82m"), None, false).contains("koe pull"));
        assert!(missing(Some("/no/such"), None, true).contains("not a folder"));
    }

    #[test]
    fn a_name_that_nobody_has_is_the_callers_mistake() {
        let usage = |model, voice, kokoro| match chosen(model, voice, kokoro) {
            Err(Error::Usage(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(usage(None, Some("af_hart"), false).contains("did you mean af_heart?"));
        assert!(usage(Some("builtin"), Some("af_heart"), true).contains("only am_rms and af_slt"));
        assert!(usage(None, Some("af_heart+am_rms"), true).contains("cannot be mixed"));
    }
}
