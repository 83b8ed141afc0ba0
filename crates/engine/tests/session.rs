//! What a session promises: the same bytes for the same request, a quick end when cancelled, and
//! a clear word about what it cannot speak.

#[path = "support/mod.rs"]
mod support;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use koe_engine::{Cancel, Error, Isa, MAX_TOKENS, Model, Precision, Request, Session, Voice};

fn tokens(n: usize) -> Vec<u16> {
    (0..n).map(|i| 43 + (i * 7 % 20) as u16).collect()
}

fn speak(session: &mut Session, voice: &Voice, n: usize, speed: f32, seed: u64) -> Vec<u32> {
    let tokens = tokens(n);
    let request = Request { tokens: &tokens, style: voice.style(n), speed, seed };
    let speech = session.synthesize(&request, &Cancel::new()).unwrap();
    assert_eq!(speech.frames.len(), n + 2);
    let n_frames: u32 = speech.frames.iter().sum();
    assert_eq!(speech.samples.len(), n_frames as usize * koe_engine::FRAME_SAMPLES);
    assert!(speech.samples.iter().all(|x| x.is_finite()));
    speech.samples.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn samples_do_not_depend_on_threads_or_on_what_was_spoken_before() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Bf16Tiles] {
        samples_are_the_same(&Model::builtin_in(precision).unwrap());
    }
}

fn samples_are_the_same(model: &Model) {
    let voice = model.voice("af_slt").unwrap();
    for &isa in Isa::available() {
        let mut fresh = Session::with_isa(model, 1, isa);
        let expected = speak(&mut fresh, &voice, 16, 1.0, 7);
        for n_threads in [2, 5] {
            let mut session = Session::with_isa(model, n_threads, isa);
            speak(&mut session, &voice, 30, 1.5, 1);
            speak(&mut session, &voice, 3, 2.0, 2);
            let samples = speak(&mut session, &voice, 16, 1.0, 7);
            assert!(samples == expected, "{n_threads} threads on {isa:?}");
            session.release_memory();
            assert!(speak(&mut session, &voice, 16, 1.0, 7) == expected, "after release");
        }
    }
}

#[test]
fn the_seed_changes_the_noise_and_nothing_else() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("am_rms").unwrap();
    let mut session = Session::new(&model, 2);
    let one = speak(&mut session, &voice, 12, 1.0, 1);
    let two = speak(&mut session, &voice, 12, 1.0, 2);
    assert_eq!(one.len(), two.len());
    assert!(one != two);
}

#[test]
fn instruction_sets_agree_on_durations_and_nearly_on_prosody() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("am_rms").unwrap();
    let tokens = tokens(40);
    let request = Request { tokens: &tokens, style: voice.style(40), speed: 1.0, seed: 3 };
    let trace = |isa| {
        let mut session = Session::with_isa(&model, 2, isa);
        session.trace(&request, koe_engine::trace::Drive::ZeroNoise).unwrap()
    };
    let expected = trace(Isa::SCALAR);
    for &isa in Isa::available() {
        let found = trace(isa);
        assert_eq!(found.frames, expected.frames, "{isa:?}");
        let (a, b) = (found.stage("f0").unwrap(), expected.stage("f0").unwrap());
        for (a, b) in a.values.iter().zip(&b.values) {
            assert!((a - b).abs() < 0.1, "{isa:?}: F0 {a} Hz, expected {b} Hz");
        }
    }
}

#[test]
fn durations_alone_are_those_of_the_whole_synthesis() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("af_slt").unwrap();
    let mut session = Session::new(&model, 2);
    for (n, speed) in [(1, 1.0), (40, 1.3), (12, 0.5)] {
        let tokens = tokens(n);
        let request = Request { tokens: &tokens, style: voice.style(n), speed, seed: 3 };
        let alone = session.durations(&request, &Cancel::new()).unwrap().to_vec();
        let speech = session.synthesize(&request, &Cancel::new()).unwrap();
        assert_eq!(alone, speech.frames);
    }
    let request = Request { tokens: &[], style: voice.style(1), speed: 1.0, seed: 3 };
    assert!(matches!(session.durations(&request, &Cancel::new()), Err(Error::Request(_))));
}

#[test]
fn sessions_of_one_model_run_at_the_same_time() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("am_rms").unwrap();
    let expected = speak(&mut Session::new(&model, 1), &voice, 15, 1.0, 9);
    std::thread::scope(|scope| {
        let speakers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| speak(&mut Session::new(&model, 2), &voice, 15, 1.0, 9)))
            .collect();
        for speaker in speakers {
            assert!(speaker.join().unwrap() == expected);
        }
    });
}

#[test]
fn a_cancelled_synthesis_ends_long_before_it_would_have() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("am_rms").unwrap();
    let tokens = tokens(400);
    let request = Request { tokens: &tokens, style: voice.style(400), speed: 0.7, seed: 1 };
    let mut session = Session::new(&model, 1);
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(matches!(session.synthesize(&request, &cancel), Err(Error::Cancelled)));

    // In the middle: the time after the call to `cancel`, against that of a whole synthesis.
    let start = Instant::now();
    session.synthesize(&request, &Cancel::new()).unwrap();
    let whole = start.elapsed();
    let cancel = Cancel::new();
    let (tell, told) = mpsc::channel();
    let canceller = {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            // Nobody sends: this waits for a third of the time that the synthesis takes.
            let _: Result<(), _> = told.recv_timeout(whole / 3);
            cancel.cancel();
            Instant::now()
        })
    };
    let result = session.synthesize(&request, &cancel);
    let ended = Instant::now();
    drop(tell);
    let asked = canceller.join().unwrap();
    assert!(matches!(result, Err(Error::Cancelled)));
    let after = ended.saturating_duration_since(asked);
    assert!(after < whole / 4, "took {after:?} to stop, of {whole:?}");
    assert!(after < whole - Duration::from_millis(1));
}

#[test]
fn requests_that_cannot_be_spoken_are_told_why() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("am_rms").unwrap();
    let mut session = Session::new(&model, 1);
    let style = voice.style(5);
    let bad_style = vec![f32::NAN; 256];
    let long = tokens(MAX_TOKENS + 1);
    let ok = tokens(5);
    let cases: [(Request<'_>, &str); 8] = [
        (Request { tokens: &[], style, speed: 1.0, seed: 0 }, "0 tokens"),
        (Request { tokens: &long, style, speed: 1.0, seed: 0 }, "511 tokens"),
        (Request { tokens: &[178], style, speed: 1.0, seed: 0 }, "token 178"),
        (Request { tokens: &ok, style: &style[1..], speed: 1.0, seed: 0 }, "style of 255"),
        (Request { tokens: &ok, style: &bad_style, speed: 1.0, seed: 0 }, "not finite"),
        (Request { tokens: &ok, style, speed: 0.2, seed: 0 }, "speed 0.2"),
        (Request { tokens: &ok, style, speed: 4.1, seed: 0 }, "speed 4.1"),
        (Request { tokens: &ok, style, speed: f32::NAN, seed: 0 }, "speed NaN"),
    ];
    for (request, expected) in cases {
        let error = session.synthesize(&request, &Cancel::new()).unwrap_err();
        assert!(matches!(error, Error::Request(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    // And it still speaks.
    speak(&mut session, &voice, 5, 1.0, 0);
}

#[test]
fn a_style_that_asks_for_endless_tokens_is_refused_before_memory_is_taken() {
    let model = Model::builtin().unwrap();
    let style = vec![40.0; 256];
    let mut session = Session::new(&model, 2);
    let mut refused = 0;
    for sign in [1.0f32, -1.0] {
        let style: Vec<f32> = style.iter().map(|x| x * sign).collect();
        let tokens = tokens(500);
        let request = Request { tokens: &tokens, style: &style, speed: 0.25, seed: 0 };
        match session.synthesize(&request, &Cancel::new()) {
            Ok(speech) => {
                let n_frames = speech.frames.iter().sum::<u32>() as usize;
                assert!(n_frames <= koe_engine::MAX_FRAMES);
            }
            Err(Error::TooLong { frames, limit }) => {
                assert!(frames > limit);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "no style asked for too much; choose another");
}

#[test]
fn bf16_moves_the_sound_little_and_durations_not_at_all() {
    let open = |precision| Session::new(&Model::builtin_in(precision).unwrap(), 2);
    let mut f32 = open(Precision::F32);
    for precision in [Precision::Bf16, Precision::Bf16Tiles] {
        let mut bf16 = open(precision);
        let mut distances = Vec::new();
        for name in f32.model().voices() {
            let voice = f32.model().voice(&name).unwrap();
            for symbols in support::sentences().step_by(4) {
                let pair = support::speak_both([&mut bf16, &mut f32], &voice, symbols);
                assert!(pair.same_durations, "{symbols}");
                assert!(pair.distance > 0.0, "bf16 was not used");
                assert!(pair.distance <= support::WORST_DB, "{} dB: {symbols}", pair.distance);
                distances.push(pair.distance);
            }
        }
        distances.sort_by(f64::total_cmp);
        let median = distances[distances.len() / 2];
        assert!(median <= support::MEDIAN_DB, "{median} dB");
    }
}

#[test]
fn every_instruction_set_without_sums_of_its_own_speaks_the_same_bytes_of_bf16() {
    for precision in [Precision::Bf16, Precision::Bf16Tiles] {
        let model = Model::builtin_in(precision).unwrap();
        let voice = model.voice("am_rms").unwrap();
        let fast = Isa::available().iter().filter(|isa| **isa != Isa::SCALAR);
        let alike = fast.filter(|isa| !isa.has_own_bf16_sums());
        let spoken: Vec<_> = alike
            .map(|&isa| speak(&mut Session::with_isa(&model, 2, isa), &voice, 10, 1.0, 7))
            .collect();
        assert!(spoken.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn precisions_are_named() {
    let isa = Isa::detect();
    assert_eq!(Precision::named("auto", isa).unwrap(), Precision::best(isa));
    assert_eq!(Precision::best(Isa::SCALAR), Precision::F32);
    for precision in [Precision::F32, Precision::Bf16] {
        assert_eq!(Precision::named(precision.name(), Isa::SCALAR).unwrap(), precision);
    }
    for precision in [Precision::F32, Precision::Bf16, Precision::Bf16Tiles] {
        assert_eq!(Model::builtin_in(precision).unwrap().precision(), precision);
    }
    let error = Precision::named("bf-16", isa).unwrap_err();
    assert!(error.to_string().contains("auto, f32 and bf16"), "{error}");
}

#[test]
fn a_profile_names_every_layer_once_and_counts_its_work() {
    let model = Model::builtin().unwrap();
    let voice = model.voice("am_rms").unwrap();
    let tokens = tokens(12);
    let request = Request { tokens: &tokens, style: voice.style(12), speed: 1.0, seed: 3 };
    let mut session = Session::new(&model, 2);
    let profile = session.profile(&request).unwrap();
    let mut names: Vec<_> = profile.layers.iter().map(|layer| &layer.name).collect();
    let n_layers = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), n_layers);
    let sum: Duration = profile.layers.iter().map(|layer| layer.time).sum();
    assert!(sum <= profile.total, "layers took {sum:?} of {:?}", profile.total);
    let last = profile.layers.iter().find(|l| l.name == "decoder.generator.conv_post").unwrap();
    assert_eq!(last.runs, 1);
    assert!(last.flop > 0.0 && last.bytes > 0.0);
}

#[test]
fn too_many_threads_are_cut_to_what_can_work() {
    let model = Model::builtin().unwrap();
    let session = Session::new(&model, usize::MAX);
    assert!(session.n_threads() <= koe_engine::MAX_THREADS);
    assert_eq!(Session::new(&model, 0).n_threads(), 1);
}

#[test]
fn a_config_without_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), vec![b' '; 2 << 20]).unwrap();
    let error = Model::open(folder.path(), folder.path()).unwrap_err();
    assert!(error.to_string().contains("larger than 1 MiB"), "{error}");
}

#[test]
fn voices_of_the_builtin_model_are_known_and_others_refused() {
    let model = Model::builtin().unwrap();
    assert_eq!(model.voices(), ["af_slt", "am_rms"]);
    let error = model.voice("af_heart").unwrap_err();
    assert!(matches!(error, Error::UnknownVoice { .. }), "{error}");
    let (tokens, unknown) = model.tokens("hˈI%g");
    assert_eq!((tokens.len(), unknown), (3, vec!['%', 'g']));
}
