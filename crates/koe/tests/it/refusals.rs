//! What is refused: the code, and the line that says why and what to do.

use crate::sandbox::{Ended, Sandbox, Wav};

#[test]
fn wrong_arguments_end_with_two_and_say_what_is_wrong() {
    let sandbox = Sandbox::new();
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["sing"], "unrecognized subcommand"),
        (&["say", "-s", "0.2", "hi"], "must be from 0.25 to 4"),
        (&["say", "-s", "4.1", "hi"], "must be from 0.25 to 4"),
        (&["say", "-s", "nan", "hi"], "must be from 0.25 to 4"),
        (&["say", "-s", "fast", "hi"], "not a number"),
        (&["say", "--lang", "fr", "hi"], "fr"),
        (&["say", "-s", "-1", "hi"], "must be from 0.25 to 4"),
        (&["say", "--threads", "0", "hi"], "threads"),
        (&["say", "--threads", "-1", "hi"], "invalid value '-1' for '--threads"),
        (&["say", "--threads", "65", "-o", "a.wav", "hi"], "65 threads: one text"),
        (&["say", "--seed", "x", "hi"], "must be a whole number from 0"),
        (&["say", "--seed", "-1", "hi"], "must be a whole number from 0"),
        (&["say", "hi", "-f", "t.txt"], "cannot be used with"),
        (&["say", "hi", "-o", "a.ogg2"], "cannot write .ogg2 files"),
        (&["say", "hi", "--format", "wav"], "--format needs -o"),
        (&["say", "hi", "--format", "mp9", "-o", "a"], "must be one of wav, mp3"),
        (&["say", "hi", "-o", "a.wav", "--timings", "a.txt"], ".json, .srt or .vtt"),
        (&["say", "hi", "-o", "a.json", "--format", "wav", "--timings", "a.json"], "same file"),
        (&["say", "hi", "-o", "a.wav", "-v", "af_hart"], "did you mean af_heart?"),
        (&["say", "hi", "-o", "a.wav", "-v", "zzz"], "koe voices"),
        (&["say", "hi", "-o", "a.wav", "-v", "af_slt+"], "a name is missing"),
        (&["say", "hi", "-o", "a.wav", "-v", "af_slt(0)"], "weights must be above zero"),
        (
            &["say", "hi", "-o", "a.wav", "-m", "builtin", "-v", "af_heart"],
            "only am_rms and af_slt",
        ),
        (&["completions", "csh"], "csh"),
        (&["phonemize", "--alphabet", "hi"], "cannot be used with"),
    ];
    for (arguments, message) in cases {
        let ended = sandbox.run(arguments);
        assert_eq!(ended.code(), 2, "{arguments:?}: {}", ended.stderr());
        assert!(ended.stderr().contains(message), "{arguments:?}: {}", ended.stderr());
    }
    assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
}

#[test]
fn what_is_not_installed_ends_with_three_and_says_how_to_get_it() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["say", "hi", "-o", "a.wav", "-v", "af_heart"][..],
        &["say", "hi", "-o", "a.wav", "-v", "af_bella(2)+af_sky"],
        &["say", "hi", "-o", "a.wav", "-m", "kokoro-82m"],
    ] {
        sandbox.run(arguments).fails(3, "koe pull");
    }
    sandbox.run(&["say", "hi", "-o", "a.wav", "-m", "no/such"]).fails(3, "not a folder");
    assert!(sandbox.names().is_empty());
}

#[test]
fn a_folder_that_is_no_model_is_a_failure() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    let ended = sandbox.run(&["say", "hi", "-o", "a.wav", "-m", "empty"]);
    assert_eq!(ended.code(), 1, "{}", ended.stderr());
    assert_eq!(sandbox.names(), ["empty"]);
}

#[test]
fn text_that_cannot_be_read_or_spoken_is_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.txt", "");
    sandbox.write("blank.txt", "\n \t\n\n");
    sandbox.write("latin1.txt", b"Caf\xe9");
    sandbox.write("utf16.txt", b"\xff\xfeH\0i\0");
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    let cases = [
        ("no.txt", "cannot read no.txt: "),
        ("folder", "it is a folder"),
        ("empty.txt", "the text is empty"),
        ("blank.txt", "the text is empty"),
        ("latin1.txt", "iconv -f WINDOWS-1252"),
        ("utf16.txt", "utf16.txt is UTF-16"),
    ];
    for (name, message) in cases {
        sandbox.run(&["say", "-f", name, "-o", "a.wav"]).fails(1, message);
        sandbox.run(&["phonemize", "-f", name]).fails(1, message);
        assert!(!sandbox.path("a.wav").exists());
    }
    sandbox.run(&["say", "", "-o", "a.wav"]).fails(1, "the text is empty");
    sandbox.run(&["say", "-o", "a.wav"]).fails(1, "the text is empty");
    for text in ["🙂🙂", "… — !"] {
        let message = "nothing in the text can be spoken";
        sandbox.run(&["say", text, "-o", "a.wav"]).fails(1, message);
        sandbox.run(&["phonemize", text]).fails(1, message);
        let json = sandbox.run(&["phonemize", "--json", text]).fails(1, message).stdout();
        assert!(json.contains("\"notes\""), "{json}");
    }
    assert!(!sandbox.path("a.wav").exists());
}

#[test]
fn an_unknown_phoneme_is_named_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    let arguments = ["say", "--phonemes", "-o", "a.wav", "gˈʊd"];
    sandbox.run(&arguments).fails(1, "no phoneme 'g'").fails(1, "U+0261");
    assert!(sandbox.names().is_empty());
}

#[test]
fn what_is_left_out_is_told() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["say", "-v", "am_rms", "Yes 🙂 no.", "-o", "a.wav"]).ok();
    assert!(ended.stderr().contains("1 left out, the first at byte 4"), "{}", ended.stderr());
}

#[test]
fn a_huge_name_is_not_echoed_whole() {
    let sandbox = Sandbox::new();
    for huge in ["a".repeat(100_000), "é(".repeat(40_000)] {
        for arguments in [["-v", &huge], ["-m", &huge]] {
            let ended = sandbox.run(&[&["say", "hi", "-o", "a.wav"][..], &arguments].concat());
            assert!([2, 3].contains(&ended.code()), "{}", ended.code());
            assert!(ended.stderr().len() < 1000, "{} bytes", ended.stderr().len());
        }
    }
}

#[test]
fn a_model_folder_that_the_environment_names_wrongly_is_refused_and_shown_by_the_doctor() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.write("bare/config.json", "{}");
    for (folder, problem) in [
        ("nowhere", "is not a folder"),
        ("empty", "has no config.json"),
        ("bare", "has no weights"),
    ] {
        let message = format!("KOKORO_MODEL_DIR is {folder:?}, which {problem}");
        let run = |arguments: &[&str]| {
            Ended(sandbox.koe(arguments).env("KOKORO_MODEL_DIR", folder).output().unwrap())
        };
        for arguments in [&["say", "hi", "-o", "a.wav"][..], &["voices"], &["models"]] {
            run(arguments).fails(2, &message);
        }
        let doctor = run(&["doctor"]);
        assert_eq!(doctor.code(), 1);
        let shown = doctor.stdout();
        assert!(shown.contains(&format!("!!  Kokoro-82M      {message}")), "{shown}");
    }
    assert_eq!(sandbox.names(), ["bare", "empty"]);
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let sandbox = Sandbox::new();
    for arguments in [&["say", "--help"][..], &["--version"], &["voices"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = Ended(sandbox.koe(arguments).stdout(full).output().unwrap());
        ended.fails(1, "cannot write to standard output: ");
    }
}

#[test]
fn a_pause_that_is_too_long_is_cut_and_told() {
    let sandbox = Sandbox::new();
    let arguments = ["say", "-v", "am_rms", "One. [pause:600s] Two.", "-o", "a.wav"];
    let ended = sandbox.run(&arguments).ok();
    let told = "1 with a pause cut to 60 s, the first at byte 5";
    assert!(ended.stderr().contains(told), "{}", ended.stderr());
    let seconds = Wav::open(&sandbox.path("a.wav")).seconds();
    assert!((60.0..70.0).contains(&seconds), "{seconds}");
    let json = sandbox.run(&["phonemize", "--json", "One. [pause:600s] Two."]).ok().stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["notes"][0]["kind"], "pause cut");
    assert_eq!(json["notes"][0]["text"], "[pause:600s]");
}

#[test]
fn a_lexicon_that_cannot_be_used_is_refused_with_the_line() {
    let sandbox = Sandbox::new();
    sandbox.write("wrong.tsv", "# mine\nkoe\tkˈ0e\n");
    sandbox.write("long.tsv", format!("koe\t{}\n", "k".repeat(1 << 20)));
    sandbox.write("bare.tsv", "koe\n");
    for (name, message) in [
        ("wrong.tsv", "wrong.tsv, line 2: '0' is not a phoneme"),
        ("long.tsv", "long.tsv, line 1: phonemes of 1048576 characters"),
        ("bare.tsv", "bare.tsv, line 1: needed a word, a tab and its phonemes"),
    ] {
        for command in [&["say", "hi", "-o", "a.wav"][..], &["phonemize", "hi"]] {
            let arguments = [command, &["--lexicon", name]].concat();
            sandbox.run(&arguments).fails(1, message);
        }
    }
    let arguments = ["phonemize", "hi", "--lexicon", "/dev/zero"];
    sandbox.run(&arguments).fails(1, "/dev/zero is larger than 64 MiB");
    assert!(!sandbox.path("a.wav").exists());
}

#[test]
fn an_environment_that_makes_no_sense_is_refused_with_all_its_problems() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.koe(&["say", "hi", "-o", "a.wav"]);
    let output = command.env("KOKORO_THREADS", "many").env("KOKORO_ISA", "mmx").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("KOKORO_THREADS") && stderr.contains("KOKORO_ISA"), "{stderr}");
}
