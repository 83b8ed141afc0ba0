//! The commands beside `say`.

use crate::sandbox::Sandbox;

#[test]
fn help_teaches_by_example() {
    let sandbox = Sandbox::new();
    for arguments in [&["--help"][..], &["say", "--help"], &["phonemize", "--help"]] {
        let help = sandbox.run(arguments).ok().stdout();
        assert!(help.contains("Examples:\n  koe "), "{help}");
    }
    let help = sandbox.run(&["say", "--help"]).ok().stdout();
    assert!(help.contains("Exit codes: 0 done, 1 failed, 2 wrong arguments"), "{help}");
    assert!(sandbox.run(&["--help"]).ok().stdout().contains("KOKORO_ISA"));
}

#[test]
fn the_version_names_the_kernels() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.koe(&["--version"]);
    let version = command.env("KOKORO_ISA", "scalar").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let expected =
        format!("koe {} ({}-scalar)\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    assert_eq!(version, expected);
}

#[test]
fn voices_are_listed_with_what_is_here() {
    let sandbox = Sandbox::new();
    let text = sandbox.run(&["voices"]).ok().stdout();
    assert!(text.contains("* am_rms") && text.contains("  af_heart"), "{text}");
    assert!(text.contains("koe pull"), "{text}");
    let json = sandbox.run(&["voices", "--json"]).ok().stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let voices = json["voices"].as_array().unwrap();
    let installed: Vec<_> = voices
        .iter()
        .filter(|voice| voice["installed"] == true)
        .map(|voice| &voice["name"])
        .collect();
    assert_eq!(installed, ["am_rms", "af_slt"]);
    let aliases: usize = voices.iter().map(|voice| voice["openai"].as_array().unwrap().len()).sum();
    assert_eq!((voices.len(), aliases), (56, 13));
}

#[test]
fn phonemize_shows_words_where_they_stand_and_remarks() {
    let sandbox = Sandbox::new();
    let text = "Hello 🙂.\n\nWorld!";
    let json = sandbox.pipe(&["phonemize", "--json"], text).ok().stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let word = &json["chunks"][1]["words"][0];
    assert_eq!((&word["word"], &word["phonemes"]), (&"World".into(), &"wˈɜɹld".into()));
    let at = |key: &str| word[key].as_u64().unwrap() as usize;
    assert_eq!(&text[at("text_start")..at("text_end")], "World");
    assert_eq!(json["notes"][0]["kind"], "unspeakable");
    assert_eq!(json["notes"][0]["text"], "🙂");
    let british = sandbox.run(&["phonemize", "--lang", "en-gb", "tomato"]).ok().stdout();
    let american = sandbox.run(&["phonemize", "--lang", "a", "tomato"]).ok().stdout();
    assert_ne!(british, american);
    assert_eq!(sandbox.run(&["phonemize", "--alphabet"]).ok().stdout().lines().count(), 114);
}

#[test]
fn the_doctor_tells_what_is_missing_and_what_is_broken() {
    let sandbox = Sandbox::new();
    let text = sandbox.run(&["doctor"]).ok().stdout();
    for expected in ["kernels", "built-in voice", "speaks", "Kokoro-82M", "koe pull", "cgroup"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let json = sandbox.run(&["doctor", "--json"]).ok().stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["checks"].as_array().unwrap().len() >= 9);

    let mut command = sandbox.koe(&["doctor"]);
    let output = command.env("KOKORO_ISA", "mmx").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("!!  environment"));
}

#[test]
fn completions_are_scripts_that_their_shell_accepts() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = sandbox.run(&["completions", shell]).ok().stdout();
        assert!(script.contains("phonemize") && script.contains("timings"), "{shell}");
    }
    let script = sandbox.run(&["completions", "bash"]).ok().stdout();
    let path = sandbox.write("koe.bash", script);
    let checked = std::process::Command::new("/bin/bash").arg("-n").arg(path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
#[cfg(target_os = "linux")]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn speaking_needs_no_network() {
    let sandbox = Sandbox::new();
    let mut koe = sandbox.koe(&["say", "No network.", "-o", "a.wav"]);
    let isolated = std::process::Command::new("unshare").args(["-rn", "true"]).status();
    if !isolated.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this system does not let a user take the network away");
        return;
    }
    let mut command = std::process::Command::new("unshare");
    command.arg("-rn").arg(koe.get_program()).args(koe.get_args());
    command.env("HOME", sandbox.path("")).current_dir(sandbox.path(""));
    assert!(command.output().unwrap().status.success());
    assert!(sandbox.path("a.wav").exists());
    assert!(koe.output().unwrap().status.success());
}
