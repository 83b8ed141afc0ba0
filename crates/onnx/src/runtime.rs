//! ONNX Runtime's library: found, loaded once, and never unloaded.
//!
//! A process has one ONNX Runtime. It is looked for when an accelerator is first wanted, never
//! before; nothing is downloaded, and the library's own telemetry is off.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _};

use crate::{Error, Provider};

/// The one of this process, and where it is from. Kept for ever: it cannot be made twice.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// What the system's loader is asked for where the user names no file.
pub fn default_library() -> PathBuf {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    PathBuf::from(format!("{prefix}onnxruntime{suffix}"))
}

/// Loads the library, or finds it loaded.
pub(crate) fn load(library: Option<&Path>) -> Result<Environment, Error> {
    let path = library.map_or_else(default_library, Path::to_path_buf);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((from, environment)) = &*loaded {
        if *from == path {
            return Ok(environment.clone());
        }
        let problem = format!("this process has loaded {} already", from.display());
        return Err(Error::WrongLibrary { path, problem });
    }
    if cfg!(target_feature = "crt-static") {
        let problem = "a statically linked koe cannot load libraries; use the other build".into();
        return Err(Error::WrongLibrary { path, problem });
    }
    if library.is_some() && !path.is_file() {
        let problem = "ORT_DYLIB_PATH names no file".to_owned();
        return Err(Error::NoLibrary { path, problem });
    }
    // The binding panics where a library lies about itself.
    let built = catch_unwind(AssertUnwindSafe(|| -> Result<Environment, Error> {
        let builder = ort::init_from(&path).map_err(|error| library_error(&path, &error))?;
        let environment = builder.with_name("koe").with_telemetry(false).build();
        environment.map_err(|error| wrong(&path, error.to_string()))
    }));
    let environment = built.unwrap_or_else(|_| Err(wrong(&path, "it broke while loading")))?;
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

fn wrong(path: &Path, problem: impl Into<String>) -> Error {
    Error::WrongLibrary { path: path.to_owned(), problem: problem.into() }
}

fn library_error(path: &Path, error: &LoadDynamicError) -> Error {
    match error {
        LoadDynamicError::Dlopen { error, .. } => {
            Error::NoLibrary { path: path.to_owned(), problem: error.to_string() }
        }
        LoadDynamicError::MissingApi { .. } => {
            wrong(path, "this is a library, but not ONNX Runtime; set ORT_DYLIB_PATH to that")
        }
        LoadDynamicError::BadVersion { version_str, .. } => {
            let least = ort::MINOR_VERSION;
            wrong(path, format!("ONNX Runtime {version_str} is too old, needed 1.{least} or later"))
        }
        other => wrong(path, other.to_string()),
    }
}

/// Whether the library, which must be loaded, was built with the provider.
pub(crate) fn has(provider: Provider) -> bool {
    let found = match provider {
        Provider::Cpu => ep::CPU::is_available(),
        Provider::Cuda => ep::CUDA::is_available(),
        Provider::TensorRt => ep::TensorRT::is_available(),
        Provider::CoreMlAll | Provider::CoreMlGpu | Provider::CoreMlAne => {
            ep::CoreML::is_available()
        }
        Provider::DirectMl => ep::DirectML::is_available(),
        Provider::OpenVino => ep::OpenVINO::is_available(),
    };
    found.unwrap_or(false)
}

/// The providers that the library, which must be loaded, was built with.
pub(crate) fn providers() -> String {
    let has = Provider::ALL.into_iter().filter(|&provider| has(provider));
    has.map(Provider::name).collect::<Vec<_>>().join(", ")
}
