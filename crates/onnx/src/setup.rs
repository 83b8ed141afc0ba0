//! From settings to a [`Router`]: finds the files, opens the first accelerator that works, and makes
//! sure that it speaks the same weights as the native engine.

use std::path::{Path, PathBuf};

use koe_engine::{Cancel, Model, Request, Session, Synthesizer};

use crate::event::Listener;
use crate::route::Router;
use crate::session::{OnnxSession, Source};
use crate::worker::Limits;
use crate::{Accelerator, Error, Provider};

/// What the user said about accelerators.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `KOKORO_ACCELERATOR`.
    pub accelerator: Accelerator,
    /// `ORT_DYLIB_PATH`: ONNX Runtime's library; none: the one that the system finds.
    pub library: Option<PathBuf>,
    /// `KOKORO_ONNX_MODEL`: the `.onnx` file; none: the one in `folder`.
    pub file: Option<PathBuf>,
    /// The folder of the native model, if it has one.
    pub folder: Option<PathBuf>,
    /// Threads of what runs on the processor; 0 is one.
    pub threads: usize,
    /// Where a provider may keep what it compiled.
    pub cache: Option<PathBuf>,
}

/// A router between native sessions of `model` and the accelerator that is wanted; none where that
/// is off. Never fails and never waits: everything that can go wrong is told to the listener, in one
/// line, and the native engine speaks.
pub fn router(settings: Settings, model: &Model, listener: Listener) -> Option<Router> {
    if settings.accelerator == Accelerator::Off {
        return None;
    }
    let (name, model) = (settings.accelerator.to_string(), model.clone());
    let open = move || -> Result<Box<dyn Synthesizer>, Error> { open(&settings, &model) };
    Some(Router::new(&name, Limits::default(), Box::new(open), listener))
}

fn open(settings: &Settings, model: &Model) -> Result<Box<dyn Synthesizer>, Error> {
    let source = Source {
        library: settings.library.clone(),
        file: find_file(settings.file.as_deref(), settings.folder.as_deref())?,
        threads: settings.threads.max(1),
        cache: settings.cache.clone(),
    };
    let candidates = settings.accelerator.candidates();
    let mut problems = Vec::new();
    let mut is_final = true;
    for &provider in &candidates {
        match open_one(&source, provider, model) {
            Ok(session) => return Ok(Box::new(session)),
            Err(error @ (Error::NoProvider { .. } | Error::Runtime { .. }))
                if candidates.len() > 1 =>
            {
                is_final &= error.is_final();
                problems.push(match error {
                    Error::NoProvider { wanted, .. } => format!("{wanted} is not built in"),
                    other => other.to_string(),
                });
            }
            // Of the library or the file: no other provider would do better.
            Err(error) => return Err(error),
        }
    }
    Err(Error::None { problems: problems.join("; "), is_final })
}

fn open_one(source: &Source, provider: Provider, model: &Model) -> Result<OnnxSession, Error> {
    let mut session = OnnxSession::open(source, provider, model)?;
    prove(&mut session, &source.file, provider, model)?;
    Ok(session)
}

/// The file: the one that was named, or else the only one in the model's folder.
fn find_file(file: Option<&Path>, folder: Option<&Path>) -> Result<PathBuf, Error> {
    let hint = "put Kokoro-82M's .onnx file there, or set KOKORO_ONNX_MODEL to it";
    if let Some(file) = file {
        return match file.is_file() {
            true => Ok(file.to_owned()),
            false => {
                let problem = format!("KOKORO_ONNX_MODEL names no file: {}", file.display());
                Err(Error::NoModel(problem))
            }
        };
    }
    let Some(folder) = folder else {
        let problem = "the built-in model has no .onnx file; accelerators need Kokoro-82M";
        return Err(Error::NoModel(problem.to_owned()));
    };
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "onnx") && path.is_file())
        .collect();
    files.sort();
    match &files[..] {
        [file] => Ok(file.clone()),
        [] => Err(Error::NoModel(format!("no .onnx file in {}: {hint}", folder.display()))),
        several => {
            let names = several.iter().filter_map(|path| path.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            let (folder, names) = (folder.display(), names.join(", "));
            Err(Error::NoModel(format!(
                "several .onnx files in {folder}: set KOKORO_ONNX_MODEL to one of {names}"
            )))
        }
    }
}

/// Speaks a word with both and compares how long each sound lasts, which says whether the weights
/// are the same, quantised or not. It is also the first run, which takes longer than others.
pub(crate) fn prove(
    session: &mut OnnxSession,
    file: &Path,
    provider: Provider,
    model: &Model,
) -> Result<(), Error> {
    // "hello world", in symbols that every vocabulary of Kokoro has.
    let (tokens, _) = model.tokens("həlˈO wˈɜɹld.");
    let Some(name) = model.voices().into_iter().next() else { return Ok(()) };
    let wrong = |problem: String| Error::WrongModel { path: file.to_owned(), problem };
    let failed = |error: koe_engine::Error| match error {
        koe_engine::Error::Malformed { problem, .. } => wrong(problem),
        other => Error::Runtime { provider, problem: other.to_string() },
    };
    let voice = model.voice(&name).map_err(failed)?;
    let request =
        Request { tokens: &tokens, style: voice.style(tokens.len()), speed: 1.0, seed: 1 };
    let cancel = Cancel::new();
    let mut native = Session::new(model, 1);
    let expected = native.durations(&request, &cancel).map_err(failed)?;
    let found = session.synthesize(&request, &cancel).map_err(failed)?.frames;
    let differ: u32 = expected.iter().zip(found).map(|(a, b)| a.abs_diff(*b)).sum();
    let total: u32 = expected.iter().sum();
    // Half and eighth precision move a token here and there by a frame of 25 ms.
    if differ > (total / 8).max(2) {
        return Err(wrong(format!(
            "it speaks other weights than the native model: of {total} frames {differ} differ"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_named_one_or_the_only_one_of_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let folder = Some(home.path());
        let message = |file, folder| find_file(file, folder).unwrap_err().to_string();
        assert!(message(None, None).contains("built-in"));
        assert!(message(None, folder).contains("KOKORO_ONNX_MODEL"));
        let one = home.path().join("kokoro.onnx");
        std::fs::write(&one, "").unwrap();
        assert_eq!(find_file(None, folder).unwrap(), one);
        let other = home.path().join("kokoro.fp16.onnx");
        std::fs::write(&other, "").unwrap();
        assert!(message(None, folder).contains("kokoro.fp16.onnx, kokoro.onnx"));
        assert_eq!(find_file(Some(&other), folder).unwrap(), other);
        assert!(message(Some(&home.path().join("no.onnx")), folder).contains("names no file"));
    }

    #[test]
    fn off_starts_nothing() {
        let model = Model::builtin().unwrap();
        assert!(router(Settings::default(), &model, Box::new(|_| {})).is_none());
    }
}
