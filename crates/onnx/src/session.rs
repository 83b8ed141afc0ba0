//! [`OnnxSession`]: Kokoro-82M's ONNX export in one execution provider.
//!
//! The exports in use differ in names: `input_ids` or `tokens`, `waveform` or `audio`, a speed that
//! is a float or an integer, durations or none. Whatever a file has is found out when it is opened,
//! and a file that is something else is refused then. What the runtime returns is checked, because
//! whoever listens must not hear the mistakes of a driver.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use koe_engine::{
    Cancel, Error as Failure, FRAME_SAMPLES, HALF_STYLE, MAX_FRAMES, MAX_TOKENS, Model, Request,
    Session as Native, Speech, Synthesizer,
};
use ort::ep::{self, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::{RunOptions, Session, SessionInputValue, SessionOutputs};
use ort::value::{Outlet, TensorElementType, TensorRef};

use crate::{Error, Provider, runtime};

/// What to open.
#[derive(Clone, Debug)]
pub struct Source {
    /// ONNX Runtime's library; none: the one that the system finds.
    pub library: Option<PathBuf>,
    /// The `.onnx` file.
    pub file: PathBuf,
    /// Threads of what runs on the processor.
    pub threads: usize,
    /// Where a provider may keep what it compiled.
    pub cache: Option<PathBuf>,
}

/// A loaded model file.
pub struct OnnxSession {
    provider: Provider,
    session: Session,
    signature: Signature,
    /// Computes the durations that the file does not tell.
    native: Option<Native>,
    /// Token ids with a zero at either end.
    tokens: Vec<i64>,
    samples: Vec<f32>,
    frames: Vec<u32>,
    /// The next run gives back the arena's free memory.
    shrink: bool,
}

/// What the file calls its inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    tokens: String,
    style: String,
    speed: String,
    speed_is_integer: bool,
    waveform: String,
    durations: Option<String>,
}

const STYLE: usize = 2 * HALF_STYLE;

impl OnnxSession {
    /// Loads the runtime if it is not loaded yet, and the file. `model` is the native model of the
    /// same weights: it computes the durations of a file that does not tell them.
    pub fn open(source: &Source, provider: Provider, model: &Model) -> Result<Self, Error> {
        let file = &source.file;
        if !file.is_file() {
            return Err(Error::NoModel(format!("there is no file {}", file.display())));
        }
        let environment = runtime::load(source.library.as_deref())?;
        if !runtime::has(provider) {
            return Err(Error::NoProvider { wanted: provider, has: runtime::providers() });
        }
        let failed = |error: &dyn std::fmt::Display| Error::Runtime {
            provider,
            problem: one_line(&error.to_string()),
        };
        // A session on the device must not fall back to the processor as a whole in silence; single
        // layers may, and speed is measured.
        let dispatch = dispatch(provider, source).error_on_failure();
        let build = || -> ort::Result<Session> {
            let builder = Session::builder(&environment)?
                .with_execution_providers([dispatch])?
                .with_intra_threads(source.threads)?
                .with_inter_threads(1)?;
            // DirectML wants neither; both are little use where no two runs have the same length.
            let builder = match provider {
                Provider::DirectMl => builder.with_memory_pattern(false)?,
                _ => builder,
            };
            // Threads that spin while a device works, or after a run, take the native engine's time.
            builder.with_intra_op_spinning(provider == Provider::Cpu)?.commit_from_file(file)
        };
        let session = build().map_err(|error| match error.code() {
            ort::ErrorCode::InvalidProtobuf | ort::ErrorCode::InvalidGraph => Error::WrongModel {
                path: file.clone(),
                problem: format!("not a sound ONNX file: {}", one_line(error.message())),
            },
            _ => failed(&error),
        })?;
        let signature = Signature::read(session.inputs(), session.outputs());
        let signature =
            signature.map_err(|problem| Error::WrongModel { path: file.clone(), problem })?;
        // One thread: it is a small part of the work, and the native lanes have the others.
        let native = signature.durations.is_none().then(|| Native::new(model, 1));
        Ok(Self {
            provider,
            session,
            signature,
            native,
            tokens: Vec::new(),
            samples: Vec::new(),
            frames: Vec::new(),
            shrink: false,
        })
    }

    /// Whether the file tells durations itself.
    pub fn tells_durations(&self) -> bool {
        self.signature.durations.is_some()
    }

    fn failure(&self, problem: impl Into<String>) -> Failure {
        Failure::Malformed { file: self.provider.kind().to_owned(), problem: problem.into() }
    }

    fn run(&mut self, request: &Request<'_>, cancel: &Cancel) -> Result<(), Failure> {
        let kind = self.provider.kind();
        let failed =
            |error: ort::Error| Failure::Runtime { kind, problem: one_line(error.message()) };
        self.tokens.clear();
        self.tokens.push(0);
        self.tokens.extend(request.tokens.iter().map(|&token| i64::from(token)));
        self.tokens.push(0);
        let speed = [request.speed];
        let whole_speed = [request.speed as i32];
        let tokens = TensorRef::from_array_view(([1, self.tokens.len()], &*self.tokens));
        let style = TensorRef::from_array_view(([1, STYLE], request.style)).map_err(failed)?;
        let speed: SessionInputValue<'_> = if self.signature.speed_is_integer {
            TensorRef::from_array_view(([1], &whole_speed[..])).map_err(failed)?.into()
        } else {
            TensorRef::from_array_view(([1], &speed[..])).map_err(failed)?.into()
        };
        let inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
            (self.signature.tokens.as_str().into(), tokens.map_err(failed)?.into()),
            (self.signature.style.as_str().into(), style.into()),
            (self.signature.speed.as_str().into(), speed),
        ];
        let mut options = RunOptions::new().map_err(failed)?;
        // What goes wrong is returned; a listener who left is no error worth a line.
        options.set_log_level(LogLevel::Fatal).map_err(failed)?;
        if std::mem::take(&mut self.shrink) {
            let arenas = if self.provider == Provider::Cuda { "cpu:0;gpu:0" } else { "cpu:0" };
            options.set("memory.enable_memory_arena_shrinkage", arenas).map_err(failed)?;
        }
        let options = Arc::new(options);
        let stop = Arc::clone(&options);
        let watch = cancel.watch(move || {
            // It fails only where the options are gone, which `stop` prevents.
            let _ = stop.terminate();
        });
        let outputs = self.session.run_with_options(inputs, &options);
        drop(watch);
        if cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let outputs = outputs.map_err(failed)?;
        let problem = |problem: String| Failure::Malformed { file: kind.to_owned(), problem };
        self.samples.clear();
        self.samples.extend_from_slice(waveform(&outputs, &self.signature).map_err(problem)?);
        self.frames.clear();
        if let Some(name) = &self.signature.durations {
            self.frames = durations(&outputs, name).map_err(problem)?;
        }
        Ok(())
    }

    /// Holds the result to what the engine promises.
    fn check(&self, n_tokens: usize) -> Result<(), Failure> {
        let n_frames: usize = self.frames.iter().map(|&frames| frames as usize).sum();
        let n_samples = self.samples.len();
        if self.frames.len() != n_tokens + 2 {
            let found = self.frames.len();
            return Err(self.failure(format!("{found} durations for {n_tokens} tokens")));
        }
        if n_frames > MAX_FRAMES {
            return Err(Failure::TooLong { frames: n_frames, limit: MAX_FRAMES });
        }
        if n_frames * FRAME_SAMPLES != n_samples {
            return Err(self.failure(format!(
                "{n_samples} samples, but the durations say {}; an export that tells durations fits",
                n_frames * FRAME_SAMPLES
            )));
        }
        if !self.samples.iter().all(|sample| sample.is_finite()) {
            return Err(self.failure("samples that are not numbers"));
        }
        Ok(())
    }
}

impl Synthesizer for OnnxSession {
    fn kind(&self) -> &'static str {
        self.provider.kind()
    }

    fn synthesize(
        &mut self,
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<Speech<'_>, Failure> {
        check_request(request)?;
        if self.signature.speed_is_integer && request.speed.fract() != 0.0 {
            let speed = request.speed;
            let problem = format!("this export takes whole speeds only, not {speed}");
            return Err(Failure::Unsupported(problem));
        }
        self.run(request, cancel)?;
        if let Some(native) = &mut self.native {
            let frames = native.durations(request, cancel)?;
            self.frames.extend_from_slice(frames);
        }
        self.check(request.tokens.len())?;
        Ok(Speech { samples: &self.samples, frames: &self.frames })
    }

    /// The runtime gives memory back at the end of a run only, so one token is spoken for it.
    fn release_memory(&mut self) {
        self.shrink = true;
        let style = [0.0; STYLE];
        let request = Request { tokens: &[1], style: &style, speed: 1.0, seed: 0 };
        // Whether it succeeds does not matter: nobody listens.
        let _ = self.run(&request, &Cancel::new());
        (self.tokens, self.samples, self.frames) = Default::default();
        if let Some(native) = &mut self.native {
            native.release_memory();
        }
    }
}

impl std::fmt::Debug for OnnxSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxSession")
            .field("provider", &self.provider)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

/// What the file takes for granted about a request. The native engine, which goes first wherever
/// there is a doubt, knows the vocabulary.
fn check_request(request: &Request<'_>) -> Result<(), Failure> {
    let n = request.tokens.len();
    let problem = if !(1..=MAX_TOKENS).contains(&n) {
        format!("{n} tokens, but one call takes 1 to {MAX_TOKENS}")
    } else if request.style.len() != STYLE {
        format!("a style of {} numbers, but it takes {STYLE}", request.style.len())
    } else if !(0.25..=4.0).contains(&request.speed) {
        format!("speed {} is not within 0.25 to 4", request.speed)
    } else {
        return Ok(());
    };
    Err(Failure::Request(problem))
}

impl Signature {
    fn read(inputs: &[Outlet], outputs: &[Outlet]) -> Result<Self, String> {
        use TensorElementType::{Float32, Int32, Int64};
        let tokens = one_of(inputs, "input", &["input_ids", "tokens"], &[Int64])?;
        let style = one_of(inputs, "input", &["style", "ref_s"], &[Float32])?;
        let speed = one_of(inputs, "input", &["speed"], &[Float32, Int32])?;
        if inputs.len() != 3 {
            let names = names(inputs);
            return Err(format!("its inputs are {names}, needed input_ids, style and speed"));
        }
        // -1 stands for any size.
        let shape = |outlet: &Outlet| -> Vec<i64> {
            outlet.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default()
        };
        if !matches!(shape(tokens)[..], [-1 | 1, -1]) {
            let shape = shape(tokens);
            return Err(format!("it takes tokens of the shape {shape:?} only, needed any number"));
        }
        if !matches!(shape(style)[..], [-1 | 1, -1 | 256]) {
            return Err(format!("its style has the shape {:?}, needed [1, 256]", shape(style)));
        }
        let waveform = one_of(outputs, "output", &["waveform", "audio"], &[Float32])?;
        let known = ["durations", "duration", "pred_dur"];
        let durations = outputs.iter().find(|output| known.contains(&output.name()));
        if let Some(durations) = durations {
            one_of(outputs, "output", &[durations.name()], &[Int64, Int32, Float32])?;
        }
        Ok(Self {
            tokens: tokens.name().to_owned(),
            style: style.name().to_owned(),
            speed: speed.name().to_owned(),
            speed_is_integer: speed.dtype().tensor_type() == Some(Int32),
            waveform: waveform.name().to_owned(),
            durations: durations.map(|durations| durations.name().to_owned()),
        })
    }
}

/// The outlet of one of these names, if its type is one of these.
fn one_of<'a>(
    outlets: &'a [Outlet],
    what: &str,
    wanted: &[&str],
    types: &[TensorElementType],
) -> Result<&'a Outlet, String> {
    let found = outlets.iter().find(|outlet| wanted.contains(&outlet.name())).ok_or_else(|| {
        let has = names(outlets);
        format!("it has no {what} {}, only {has}: this is no Kokoro-82M", wanted.join(" or "))
    })?;
    match found.dtype().tensor_type() {
        Some(found) if types.contains(&found) => {}
        other => {
            let name = found.name();
            return Err(format!("its {what} {name} is of the type {other:?}, needed {types:?}"));
        }
    }
    Ok(found)
}

fn names(outlets: &[Outlet]) -> String {
    outlets.iter().map(Outlet::name).collect::<Vec<_>>().join(", ")
}

fn waveform<'a>(
    outputs: &'a SessionOutputs<'_>,
    signature: &Signature,
) -> Result<&'a [f32], String> {
    let value = outputs.get(&signature.waveform).ok_or("it returned no sound")?;
    let (_, samples) = value.try_extract_tensor().map_err(|error| error.to_string())?;
    Ok(samples)
}

fn durations(outputs: &SessionOutputs<'_>, name: &str) -> Result<Vec<u32>, String> {
    let value = outputs.get(name).ok_or("it returned no durations")?;
    let whole = |frames: i64| u32::try_from(frames).map_err(|_| format!("a duration of {frames}"));
    if let Ok((_, frames)) = value.try_extract_tensor::<i64>() {
        frames.iter().map(|&frames| whole(frames)).collect()
    } else if let Ok((_, frames)) = value.try_extract_tensor::<i32>() {
        frames.iter().map(|&frames| whole(i64::from(frames))).collect()
    } else {
        let (_, frames) = value.try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
        frames.iter().map(|frames| whole(frames.round_ties_even() as i64)).collect()
    }
}

fn dispatch(provider: Provider, source: &Source) -> ExecutionProviderDispatch {
    use ep::coreml::{ComputeUnits, ModelFormat};
    let core_ml = |units| {
        ep::CoreML::default()
            .with_model_format(ModelFormat::MLProgram)
            .with_compute_units(units)
            .build()
    };
    match provider {
        Provider::Cpu => ep::CPU::default().with_arena_allocator(true).build(),
        // Every length is a new shape: an exhaustive search for each would take longer than the
        // speech. TF32 is off, because the melody is an integral over time, where errors add up.
        Provider::Cuda => ep::CUDA::default()
            .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
            .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
            .with_tf32(false)
            .build(),
        Provider::TensorRt => {
            let builder = ep::TensorRT::default();
            match engine_cache(source) {
                Some(folder) => {
                    builder.with_engine_cache(true).with_engine_cache_path(folder.display()).build()
                }
                None => builder.build(),
            }
        }
        Provider::CoreMlAll => core_ml(ComputeUnits::All),
        Provider::CoreMlGpu => core_ml(ComputeUnits::CPUAndGPU),
        Provider::CoreMlAne => core_ml(ComputeUnits::CPUAndNeuralEngine),
        Provider::DirectMl => ep::DirectML::default().build(),
        Provider::OpenVino => ep::OpenVINO::default().with_num_threads(source.threads).build(),
    }
}

/// A folder of this very file: TensorRT tells engines apart by their graph, not by their weights.
fn engine_cache(source: &Source) -> Option<PathBuf> {
    let meta = source.file.metadata().ok()?;
    let written = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let name = format!("tensorrt-{}-{}", meta.len(), written.as_nanos());
    let folder = source.cache.as_deref().map(Path::to_path_buf)?.join(name);
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}

/// The runtime's messages run over many lines; the first says what it is.
fn one_line(message: &str) -> String {
    message.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed").trim().to_owned()
}
