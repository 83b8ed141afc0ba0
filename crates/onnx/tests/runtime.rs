//! Sessions of the real ONNX Runtime, on its processor kernels, with files of a kilobyte that have
//! the signatures of Kokoro-82M's exports (`data/make.py`).
//!
//! Ignored unless asked for, because the library must be installed: set ORT_DYLIB_PATH to it and run
//! `cargo test -p koe-onnx -- --ignored`. `.ci/run` does.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc;

use koe_engine::{Cancel, Error as Failure, FRAME_SAMPLES, Model, Request, Session, Synthesizer};
use koe_onnx::{
    Accelerator, Error, Event, Limits, OnnxSession, Provider, Router, Settings, Sound, Source,
    State,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn library() -> PathBuf {
    let path = std::env::var_os("ORT_DYLIB_PATH");
    path.expect("this test needs ORT_DYLIB_PATH, the path of ONNX Runtime's library").into()
}

fn source(file: &str) -> Source {
    Source { library: Some(library()), file: data(file), threads: 1, cache: None }
}

fn open(file: &str) -> OnnxSession {
    OnnxSession::open(&source(file), Provider::Cpu, &Model::builtin().unwrap()).unwrap()
}

fn style() -> Vec<f32> {
    (0..256).map(|i| if i == 0 { 0.5 } else { 9.0 }).collect()
}

/// Frames of every token in the files, padding included.
fn frames_of(tokens: &[u16], speed: f32) -> Vec<u32> {
    let padded = [&[0], tokens, &[0]].concat();
    padded.iter().map(|token| (f32::from(1 + token % 3) / speed).ceil() as u32).collect()
}

#[test]
#[ignore = "needs ORT_DYLIB_PATH"]
fn an_export_with_durations_speaks_what_it_says() {
    let mut session = open("timed.onnx");
    assert!(session.tells_durations());
    assert_eq!(session.kind(), "onnx-cpu");
    let style = style();
    for (tokens, speed) in [(vec![1, 2, 3, 4], 1.0), (vec![5; 510], 0.5), (vec![7], 4.0)] {
        let request = Request { tokens: &tokens, style: &style, speed, seed: 1 };
        let speech = session.synthesize(&request, &Cancel::new()).unwrap();
        assert_eq!(speech.frames, frames_of(&tokens, speed));
        let n_samples = speech.frames.iter().sum::<u32>() as usize * FRAME_SAMPLES;
        assert_eq!(speech.samples.len(), n_samples);
        for i in [0, 1, n_samples - 1] {
            assert_eq!(speech.samples[i], i as f32 / 65536.0 * 0.5);
        }
    }
    session.release_memory();
    let request = Request { tokens: &[1, 2], style: &style, speed: 1.0, seed: 1 };
    assert!(session.synthesize(&request, &Cancel::new()).is_ok());
}

#[test]
#[ignore = "needs ORT_DYLIB_PATH"]
fn durations_that_a_file_does_not_tell_are_the_native_engines_and_must_fit() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("af_slt").unwrap();
    let mut native = Session::new(&model, 1);
    let mut session = open("untimed.onnx");
    assert!(!session.tells_durations());
    let (mut fitted, mut refused) = (0, 0);
    // In the file a token lasts one frame or two at this speed, as the test chooses.
    let (n, speed) = (24, 2.0);
    for n_short in 0..=n {
        let id = |i: usize| if i * 7 % n < n_short { 43 } else { 44 } + 3 * (i as u16 % 6);
        let tokens: Vec<u16> = (0..n).map(id).collect();
        let request = Request { tokens: &tokens, style: voice.style(n), speed, seed: 1 };
        let expected = native.durations(&request, &Cancel::new()).unwrap();
        let fits = expected.iter().sum::<u32>() == frames_of(&tokens, speed).iter().sum::<u32>();
        match session.synthesize(&request, &Cancel::new()) {
            Ok(speech) => {
                assert!(fits, "{n_short} short tokens");
                assert_eq!(speech.frames, expected);
                fitted += 1;
            }
            Err(Failure::Malformed { problem, .. }) => {
                assert!(!fits && problem.contains("the durations say"), "{problem}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(fitted > 0 && refused > 0, "{fitted} fitted, {refused} were refused");
    let request = Request { tokens: &[1], style: voice.style(1), speed: 1.5, seed: 1 };
    let error = session.synthesize(&request, &Cancel::new()).unwrap_err();
    assert!(matches!(error, Failure::Unsupported(_)), "{error}");
}

#[test]
#[ignore = "needs ORT_DYLIB_PATH"]
fn what_no_listener_should_hear_is_an_error() {
    let style = style();
    let request = Request { tokens: &[1, 2], style: &style, speed: 1.0, seed: 1 };
    let error = open("broken.onnx").synthesize(&request, &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("not numbers"), "{error}");
    let mut session = open("timed.onnx");
    for wrong in [
        Request { tokens: &[], ..request },
        Request { tokens: &[1; 511], ..request },
        Request { style: &style[1..], ..request },
        Request { speed: f32::NAN, ..request },
    ] {
        let error = session.synthesize(&wrong, &Cancel::new()).unwrap_err();
        assert!(matches!(error, Failure::Request(_)), "{error}");
    }
    let slow = Request { tokens: &[5; 510], speed: 0.25, ..request };
    let error = session.synthesize(&slow, &Cancel::new()).unwrap_err();
    assert!(matches!(error, Failure::TooLong { frames: 6128, .. }), "{error}");
}

#[test]
#[ignore = "needs ORT_DYLIB_PATH"]
fn a_cancelled_run_ends_although_its_graph_never_would() {
    let mut session = open("endless.onnx");
    let style = style();
    let request = Request { tokens: &[1, 2], style: &style, speed: 1.0, seed: 1 };
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let of_run = cancel.clone();
        let run = scope.spawn(move || session.synthesize(&request, &of_run).err());
        std::thread::yield_now();
        cancel.cancel();
        assert!(matches!(run.join().unwrap(), Some(Failure::Cancelled)));
    });
}

#[test]
#[ignore = "needs ORT_DYLIB_PATH"]
fn files_of_another_kind_are_refused_with_what_is_wrong() {
    let model = Model::builtin().unwrap();
    let problem = |source: &Source, provider| {
        OnnxSession::open(source, provider, &model).unwrap_err().to_string()
    };
    let other = problem(&source("other.onnx"), Provider::Cpu);
    assert!(other.contains("no output waveform or audio, only logits"), "{other}");
    let no_model = problem(&source("make.py"), Provider::Cpu);
    assert!(no_model.contains("make.py") && !no_model.contains('\n'), "{no_model}");
    let missing = problem(&source("missing.onnx"), Provider::Cpu);
    assert!(missing.contains("there is no file"), "{missing}");
    let elsewhere = Source { library: Some(data("make.py")), ..source("timed.onnx") };
    assert!(OnnxSession::open(&elsewhere, Provider::Cpu, &model).is_err());
    // No one build of ONNX Runtime has both of these.
    let two = [Provider::DirectMl, Provider::CoreMlAll];
    let refused = two.map(|provider| {
        OnnxSession::open(&source("timed.onnx"), provider, &model).map_err(|error| match error {
            Error::NoProvider { wanted, has } => {
                assert_eq!(wanted, provider);
                assert!(has.contains("cpu"), "{has}");
            }
            other => panic!("{other}"),
        })
    });
    assert!(refused.iter().any(Result::is_err));
}

#[test]
#[ignore = "needs ORT_DYLIB_PATH"]
fn other_weights_than_the_native_ones_are_refused_when_the_router_opens_them() {
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let settings = Settings {
        accelerator: Accelerator::Only(Provider::Cpu),
        library: Some(library()),
        file: Some(data("timed.onnx")),
        ..Settings::default()
    };
    let listener = Box::new(move |event| _ = sender.lock().unwrap().send(event));
    let router = koe_onnx::router(settings, &Model::builtin().unwrap(), listener).unwrap();
    let event = events.recv().unwrap();
    assert!(matches!(event, Event::Failed { retry: None, .. }), "{event}");
    assert!(event.to_string().contains("other weights"), "{event}");
    let kinds = router.kinds();
    assert_eq!(kinds.get("cpu").unwrap().state, State::Unavailable);
    assert_eq!(kinds.get("cpu").unwrap().loads, 0);
}

#[test]
#[ignore = "needs ORT_DYLIB_PATH"]
fn a_router_measures_the_real_runtime_and_lets_it_speak() {
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let open = || -> Result<Box<dyn Synthesizer>, Error> { Ok(Box::new(open("timed.onnx"))) };
    let listener = Box::new(move |event| _ = sender.lock().unwrap().send(event));
    let router = Router::new("cpu", Limits::default(), Box::new(open), listener);
    assert!(matches!(events.recv().unwrap(), Event::Opened { .. }));
    let model = Model::builtin().unwrap();
    let mut native = Session::new(&model, 1);
    let tokens = [43; 100];
    let voice = model.voice("am_rms").unwrap();
    let request = Request { tokens: &tokens, style: voice.style(100), speed: 1.0, seed: 1 };
    let mut sound = Sound::default();
    // The file is no network at all, so that it wins as soon as it has been tried twice.
    while router.kinds().get("onnx-cpu").unwrap().requests == 0 {
        router.synthesize(&mut native, &request, &Cancel::new(), &mut sound).unwrap();
    }
    assert_eq!(sound.frames, frames_of(&tokens, 1.0));
    let kind = router.kinds().get("onnx-cpu").unwrap().clone();
    assert_eq!((kind.loads, kind.requests, kind.fallbacks), (1, 1, 0));
    assert!(kind.trials >= 2 && kind.errors.is_empty());
}
