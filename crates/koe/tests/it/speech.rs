//! What is said: length, loudness, voices, speed, word times, determinism.

use crate::sandbox::{Sandbox, Wav};

#[test]
fn a_sentence_becomes_a_wav_file_of_plausible_sound() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["say", "Hello, world. How are you?", "-o", "a.wav"]).ok();
    let notice = ended.stderr();
    assert!(notice.contains("built-in voice am_rms") && notice.contains("koe pull"), "{notice}");
    assert_eq!(notice.lines().count(), 1, "{notice}");

    let wav = Wav::open(&sandbox.path("a.wav"));
    assert_eq!(wav.data_bytes as usize, wav.data.len());
    assert_eq!(wav.riff_bytes, wav.data_bytes + 36);
    assert!((1.2..3.5).contains(&wav.seconds()), "{}", wav.seconds());
    let samples = wav.samples();
    let rms = (samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32).sqrt();
    assert!((0.02..0.5).contains(&rms), "{rms}");
    // No dead air at either end: something is heard within 0.2 s of both.
    let heard = |samples: &[f32]| samples.iter().any(|x| x.abs() > 0.01);
    assert!(heard(&samples[..4800]) && heard(&samples[samples.len() - 7200..]));
    assert_eq!(sandbox.names(), ["a.wav"]);
}

#[test]
fn argument_file_and_pipe_sound_the_same() {
    let sandbox = Sandbox::new();
    let text = "One, two.\n\nThree — four!";
    sandbox.write("t.txt", text);
    sandbox.run(&["say", text, "-o", "argument.wav"]).ok();
    sandbox.run(&["say", "-f", "t.txt", "-o", "file.wav"]).ok();
    sandbox.pipe(&["say", "-o", "pipe.wav"], text).ok();
    sandbox.pipe(&["say", "-f", "-", "-o", "dash.wav"], text).ok();
    sandbox.pipe(&["say", "-", "-o", "dash2.wav"], text).ok();
    sandbox.write("bom.txt", format!("\u{feff}{text}"));
    sandbox.run(&["say", "-f", "bom.txt", "-o", "bom.wav"]).ok();
    let file = sandbox.read("file.wav");
    for other in ["pipe.wav", "dash.wav", "dash2.wav", "bom.wav"] {
        assert!(sandbox.read(other) == file, "{other}");
    }
    // An argument is one segment and not two; it sounds alike but is joined differently.
    let (a, b) = (Wav::open(&sandbox.path("argument.wav")), Wav::parse(&file));
    assert!((a.seconds() - b.seconds()).abs() < 1.0);
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let sandbox = Sandbox::new();
    let say = |name: &str, more: &[&str]| {
        let arguments = [&["say", "This is a test.", "-o", name][..], more].concat();
        sandbox.run(&arguments).ok();
        sandbox.read(name)
    };
    let first = say("a.wav", &["--seed", "7"]);
    assert!(say("b.wav", &["--seed", "7"]) == first);
    assert!(say("c.wav", &["--seed", "7", "--threads", "2"]) == first);
    assert!(say("d.wav", &["--seed", "8"]) != first);
}

#[test]
fn voices_differ_and_mixes_go_by_proportion() {
    let sandbox = Sandbox::new();
    let say = |voice: &str| {
        let ended = sandbox.run(&["say", "Good morning.", "-v", voice, "-o", "a.wav"]).ok();
        (sandbox.read("a.wav"), ended.stderr())
    };
    let (rms, silence) = say("am_rms");
    assert_eq!(silence, "", "a voice that was asked for needs no notice");
    let slt = say("af_slt").0;
    let half = say("am_rms+af_slt").0;
    assert!(rms != slt && half != rms && half != slt);
    assert!(say("am_rms(2)+af_slt(2)").0 == half);
    assert!(say("am_rms.5+af_slt.5").0 == half);
    // OpenAI's names work without Kokoro-82M, and say what they stand for.
    let (onyx, notice) = say("onyx");
    assert!(onyx == rms && notice.contains("koe pull"), "{notice}");
    assert!(say("nova").0 == slt);
}

#[test]
fn speed_changes_the_length_and_its_limits_are_allowed() {
    let sandbox = Sandbox::new();
    let seconds = |speed: &str| {
        sandbox.run(&["say", "One two three four five.", "-s", speed, "-o", "a.wav"]).ok();
        Wav::open(&sandbox.path("a.wav")).seconds()
    };
    let (slow, normal, fast) = (seconds("0.25"), seconds("1"), seconds("4"));
    assert!((2.5..5.0).contains(&(slow / normal)), "{slow} {normal}");
    assert!((0.2..0.8).contains(&(fast / normal)), "{fast} {normal}");
}

#[test]
fn word_times_point_into_the_file_and_lie_within_the_sound() {
    let sandbox = Sandbox::new();
    let text = "“Zoë” paid $5.\n\nThen: the end.";
    sandbox.write("t.txt", text);
    let arguments = ["say", "-f", "t.txt", "-o", "a.wav", "--timings", "a.json"];
    sandbox.run(&arguments).ok();
    let json: serde_json::Value = serde_json::from_slice(&sandbox.read("a.json")).unwrap();
    let words = json["words"].as_array().unwrap();
    let mut last = 0.0;
    for word in words {
        let at = |key: &str| word[key].as_u64().unwrap() as usize;
        assert_eq!(word["word"], text[at("text_start")..at("text_end")]);
        let (start, end) =
            (word["start_time"].as_f64().unwrap(), word["end_time"].as_f64().unwrap());
        assert!(last <= start + 1e-9 && start < end, "{word}");
        last = end;
    }
    let texts: Vec<&str> = words.iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(texts.first(), Some(&"Zoë"));
    assert_eq!(texts.last(), Some(&"end"));
    let duration = json["duration"].as_f64().unwrap();
    assert!((duration - Wav::open(&sandbox.path("a.wav")).seconds()).abs() < 1e-6);
    assert!(last <= duration);
}

#[test]
fn subtitles_carry_the_callers_text() {
    let sandbox = Sandbox::new();
    let arguments = ["say", "“Stop!” she said.", "-o", "a.wav", "--timings"];
    for (name, start) in [("a.srt", "1\n00:00:00,"), ("a.vtt", "WEBVTT\n\n00:00:00.")] {
        sandbox.run(&[&arguments[..], &[name]].concat()).ok();
        let text = String::from_utf8(sandbox.read(name)).unwrap();
        assert!(text.starts_with(start) && text.contains("“Stop!” she said."), "{text}");
    }
}

#[test]
fn phonemes_can_be_spoken_as_phonemize_prints_them() {
    let sandbox = Sandbox::new();
    let phonemes = sandbox.run(&["phonemize", "Hello, world."]).ok().stdout();
    assert_eq!(phonemes, "həlˈO, wˈɜɹld.\n");
    sandbox.pipe(&["say", "--phonemes", "-o", "a.wav"], &phonemes).ok();
    sandbox.run(&["say", "Hello, world.", "-o", "b.wav"]).ok();
    let (a, b) = (Wav::open(&sandbox.path("a.wav")), Wav::open(&sandbox.path("b.wav")));
    assert!(a.data == b.data);
}

#[test]
fn a_pause_is_heard_as_exact_silence_wherever_it_stands() {
    let sandbox = Sandbox::new();
    for text in ["[pause:1s] One.", "One. [pause:1s] Two.", "One. [pause:1s]"] {
        sandbox.run(&["say", text, "-o", "a.wav"]).ok();
        let samples = Wav::open(&sandbox.path("a.wav")).samples();
        let longest = samples.split(|&x| x != 0.0).map(<[f32]>::len).max().unwrap();
        assert!((24_000..28_000).contains(&longest), "{text}: {longest}");
    }
}

#[test]
fn own_pronunciations_are_used() {
    let sandbox = Sandbox::new();
    sandbox.write("words.tsv", "# mine\nkoe\tkˈOA\n");
    let ended = sandbox.run(&["phonemize", "--lexicon", "words.tsv", "koe"]).ok();
    assert!(ended.stdout().contains("kˈOA"), "{}", ended.stdout());
    sandbox.write("broken.tsv", "fine\tfˈIn\nbroken\n");
    sandbox
        .run(&["say", "--lexicon", "broken.tsv", "koe", "-o", "a.wav"])
        .fails(1, "broken.tsv, line 2");
}
