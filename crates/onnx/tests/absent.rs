//! Without ONNX Runtime, or with a library that is something else, the native engine speaks, and one
//! line says what is missing.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc;

use koe_engine::{Cancel, Model, NATIVE, Request, Session};
use koe_onnx::{Accelerator, Provider, Settings, Sound, State};

/// What the log says where `library` is ONNX Runtime's library.
fn line(accelerator: Accelerator, library: &Path) -> String {
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/timed.onnx");
    let library = Some(library.to_owned());
    let settings = Settings { accelerator, library, file: Some(file), ..Settings::default() };
    let model = Model::builtin().unwrap();
    let listener = Box::new(move |event| _ = sender.lock().unwrap().send(event));
    let router = koe_onnx::router(settings, &model, listener).unwrap();
    let event = events.recv().unwrap().to_string();

    let mut native = Session::new(&model, 1);
    let voice = model.voice("am_rms").unwrap();
    let request = Request { tokens: &[43; 5], style: voice.style(5), speed: 1.0, seed: 1 };
    let expected = native.synthesize(&request, &Cancel::new()).unwrap().samples.to_vec();
    let mut sound = Sound::default();
    router.synthesize(&mut native, &request, &Cancel::new(), &mut sound).unwrap();
    assert!(sound.samples == expected);
    let kinds = router.kinds();
    assert_eq!(kinds.get(NATIVE).unwrap().requests, 1);
    assert_eq!(kinds.0[1].state, State::Unavailable);
    assert!(event.contains("the native engine speaks, and it is not tried again"), "{event}");
    assert!(!event.contains('\n'), "{event}");
    event
}

#[test]
fn a_library_that_is_not_there_is_told_and_the_native_engine_speaks() {
    for accelerator in [Accelerator::Auto, Accelerator::Only(Provider::Cpu)] {
        let line = line(accelerator, Path::new("/no/such/libonnxruntime.so"));
        assert!(line.contains("ONNX Runtime is not installed"), "{line}");
        assert!(line.contains("ORT_DYLIB_PATH"), "{line}");
    }
}

#[test]
fn a_file_that_is_no_library_is_told() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let line = line(Accelerator::Auto, &file);
    assert!(line.contains("Cargo.toml"), "{line}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_library_that_is_something_else_is_told() {
    // The C library is on every system that can run this.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps
        .lines()
        .find_map(|line| line.split_whitespace().last().filter(|p| p.contains("libc.so")));
    let libc = PathBuf::from(libc.expect("this test is not linked to a libc.so"));
    let line = line(Accelerator::Auto, &libc);
    assert!(line.contains("not ONNX Runtime"), "{line}");
}
