//! Models in folders: found where they are kept, opened, refused when they are damaged.
//!
//! The built-in model's own files stand in for Kokoro-82M's: they are of the same format.

use std::path::{Path, PathBuf};

use crate::sandbox::{Ended, Sandbox, Wav};

/// Writes a model into a folder of the sandbox, with these voices.
pub(crate) fn model(sandbox: &Sandbox, folder: &str, voices: &[(&str, &str)]) -> PathBuf {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/assets/builtin");
    let copy = |from: &str, to: &str| {
        sandbox.write(&format!("{folder}/{to}"), std::fs::read(assets.join(from)).unwrap());
    };
    copy("config.json", "config.json");
    copy("model.safetensors", "model.safetensors");
    for (from, to) in voices {
        copy(&format!("voices/{from}.bin"), &format!("voices/{to}.bin"));
    }
    sandbox.path(folder)
}

const VOICES: &[(&str, &str)] =
    &[("am_rms", "af_heart"), ("af_slt", "bf_emma"), ("af_slt", "jf_alpha")];

fn with(sandbox: &Sandbox, variable: &str, value: &Path, arguments: &[&str]) -> Ended {
    Ended(sandbox.koe(arguments).env(variable, value).output().unwrap())
}

#[test]
fn kokoro_is_found_where_the_environment_or_other_tools_keep_it_and_needs_no_notice() {
    let sandbox = Sandbox::new();
    let named = model(&sandbox, "somewhere", VOICES);
    let snapshot = "hf/hub/models--hexgrad--Kokoro-82M/snapshots/f3ff";
    model(&sandbox, snapshot, VOICES);
    let say = ["say", "Good morning.", "-o", "a.wav"];
    for (variable, value) in [("KOKORO_MODEL_DIR", named), ("HF_HOME", sandbox.path("hf"))] {
        let ended = with(&sandbox, variable, &value, &say).ok();
        assert_eq!(ended.stderr(), "", "{variable}");
        let voices = with(&sandbox, variable, &value, &["voices"]).ok().stdout();
        assert!(voices.contains("* af_heart") && voices.contains("  af_sky"), "{voices}");
        let doctor = with(&sandbox, variable, &value, &["doctor"]).ok().stdout();
        assert!(doctor.contains("ok  Kokoro-82M") && doctor.contains("mapped"), "{doctor}");
    }
    let models = with(&sandbox, "HF_HOME", &sandbox.path("hf"), &["models"]).ok().stdout();
    assert!(models.contains("* kokoro-82m") && models.contains("snapshots"), "{models}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    let sandbox = Sandbox::new();
    for file in ["config.json", "model.safetensors", "voices/my_voice.bin"] {
        let folder = model(&sandbox, "m", &[("af_slt", "my_voice")]);
        let path = folder.join(file);
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // Hangs if the file is opened before it is looked at.
        let ended = sandbox.run(&["say", "hi", "-m", "m", "-o", "a.wav"]);
        ended.fails(1, "cannot read ").fails(1, &format!("m/{file}: not a regular file"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_folder_speaks_with_its_own_voices() {
    let sandbox = Sandbox::new();
    model(&sandbox, "m", &[("af_slt", "my_voice"), ("am_rms", "other")]);
    let say = ["say", "Good morning.", "-m", "m", "-o", "a.wav"];
    sandbox.run(&say).ok();
    let first = sandbox.read("a.wav");
    sandbox.run(&[&say[..], &["-v", "my_voice"]].concat()).ok();
    assert!(sandbox.read("a.wav") == first, "the first by name is the default");
    sandbox.run(&[&say[..], &["-v", "other"]].concat()).ok();
    assert!(sandbox.read("a.wav") != first);
    sandbox.run(&[&say[..], &["-v", "my_vioce"]].concat()).fails(2, "did you mean my_voice?");
}

#[test]
fn a_voice_that_is_not_in_the_folder_is_missing() {
    let sandbox = Sandbox::new();
    let folder = model(&sandbox, "m", VOICES);
    for voice in ["af_sky", "nova"] {
        let arguments = ["say", "hi", "-v", voice, "-o", "a.wav"];
        with(&sandbox, "KOKORO_MODEL_DIR", &folder, &arguments).fails(3, "koe pull");
    }
    assert!(!sandbox.path(".cache").exists(), "a mistake costs no packing");
}

#[test]
fn a_voice_of_another_language_is_told_how_to_read_english() {
    let sandbox = Sandbox::new();
    let folder = model(&sandbox, "m", VOICES);
    let say = |more: &[&str]| {
        let arguments = [&["say", "-v", "jf_alpha", "-o", "a.wav"][..], more].concat();
        with(&sandbox, "KOKORO_MODEL_DIR", &folder, &arguments)
    };
    say(&["hi"]).fails(2, "jf_alpha speaks Japanese").fails(2, "--lang a");
    say(&["--lang", "a", "hi"]).ok();
    say(&["--phonemes", "hˈI"]).ok();
}

#[test]
fn damaged_weights_are_a_failure_that_names_them() {
    let sandbox = Sandbox::new();
    let folder = model(&sandbox, "m", VOICES);
    let weights = sandbox.read("m/model.safetensors");
    sandbox.write("m/model.safetensors", &weights[..weights.len() / 2]);
    let say = ["say", "hi", "-o", "a.wav"];
    with(&sandbox, "KOKORO_MODEL_DIR", &folder, &say).fails(1, "model.safetensors");
    assert!(!sandbox.path("a.wav").exists());
    let doctor = with(&sandbox, "KOKORO_MODEL_DIR", &folder, &["doctor"]);
    assert_eq!(doctor.code(), 1);
    assert!(doctor.stdout().contains("!!  Kokoro-82M"), "{}", doctor.stdout());
}

#[test]
fn a_cache_that_cannot_be_written_is_told_and_no_obstacle() {
    let sandbox = Sandbox::new();
    let folder = model(&sandbox, "m", VOICES);
    sandbox.write("no-folder", "");
    let mut command = sandbox.koe(&["say", "hi", "-o", "a.wav"]);
    command.env("KOKORO_MODEL_DIR", folder).env("KOKORO_CACHE_DIR", sandbox.path("no-folder"));
    let ended = Ended(command.output().unwrap()).ok();
    assert!(ended.stderr().contains("no-folder"), "{}", ended.stderr());
}

#[test]
fn pulling_is_refused_where_it_cannot_work() {
    let sandbox = Sandbox::new();
    sandbox.run(&["pull", "kokoro-9000"]).fails(2, "there is kokoro-82m");
    with(&sandbox, "HF_HUB_OFFLINE", Path::new("1"), &["pull"]).fails(1, "HF_HUB_OFFLINE");
    model(&sandbox, "m", VOICES);
    let ended = sandbox.run(&["pull", "--from", "m"]);
    assert_eq!(ended.code(), 1, "{}", ended.stderr());
    let models = sandbox.run(&["models"]).ok().stdout();
    assert!(models.contains("* builtin") && models.contains("not installed"), "{models}");
    sandbox.run(&["models", "--export", "a.tar"]).fails(3, "koe pull");
}

#[test]
fn a_command_leaves_its_pack_behind_and_a_full_disk_costs_only_that() {
    let sandbox = Sandbox::new();
    let folder = model(&sandbox, "m", &[("af_slt", "my_voice")]);
    let words = ["say", "--model", folder.to_str().unwrap(), "-o", "a.wav", "Hi."];
    let packs = || {
        let cache = sandbox.path(".cache/koe").read_dir().unwrap();
        let names = cache.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".pack") || name.contains(".tmp")).count()
    };

    // Files may have 4 MB, or 2 where blocks are smaller: a sentence fits, packed weights do not.
    let koe = sandbox.koe(&words);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]);
    shell.arg(koe.get_program()).args(koe.get_args()).env_clear();
    shell.envs(koe.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(sandbox.path(""));
    let ended = Ended(shell.output().unwrap()).ok();
    assert!(ended.stderr().contains("cannot keep the packed weights"), "{}", ended.stderr());
    assert!(Wav::parse(&sandbox.read("a.wav")).seconds() > 0.2);
    assert_eq!(packs(), 0);

    let ended = sandbox.run(&words).ok();
    assert!(!ended.stderr().contains("packed weights"), "{}", ended.stderr());
    assert_eq!(packs(), 1);
}
