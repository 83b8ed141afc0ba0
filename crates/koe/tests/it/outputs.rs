//! Where the sound goes: files, standard output, devices, readers that leave.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::sandbox::{Sandbox, Wav};

const TEXT: &str = "It is ready. Come here, please.";

#[test]
fn standard_output_carries_the_samples_of_the_file() {
    let sandbox = Sandbox::new();
    sandbox.run(&["say", TEXT, "-o", "a.wav"]).ok();
    let wav = Wav::open(&sandbox.path("a.wav"));
    let raw = sandbox.run(&["say", TEXT, "-o", "-"]).ok().0.stdout;
    assert!(raw == wav.data);
    let piped = sandbox.run(&["say", TEXT, "-o", "-", "--format", "wav"]).ok().0.stdout;
    let piped = Wav::parse(&piped);
    assert_eq!((piped.riff_bytes, piped.data_bytes), (u32::MAX, u32::MAX));
    assert!(piped.data == wav.data);
    for (name, more) in [("a.pcm", &[][..]), ("a.raw", &[]), ("a.bin", &["--format", "pcm"])] {
        sandbox.run(&[&["say", TEXT, "-o", name], more].concat()).ok();
        assert!(sandbox.read(name) == wav.data, "{name}");
    }
}

#[test]
fn every_format_is_written_and_a_file_tells_more_than_a_pipe_can() {
    let sandbox = Sandbox::new();
    sandbox.run(&["say", TEXT, "-o", "a.wav"]).ok();
    let n_samples = Wav::open(&sandbox.path("a.wav")).data.len() as u64 / 2;
    let made = |format: &str| {
        let name = format!("a.{format}");
        sandbox.run(&["say", TEXT, "-o", &name]).ok();
        let piped = sandbox.run(&["say", TEXT, "-o", "-", "--format", format]).ok().0.stdout;
        (sandbox.read(&name), piped)
    };
    // Neither of these has a place for its length at the start.
    let (file, piped) = made("opus");
    assert!(file == piped && file.starts_with(b"OggS"));
    let (file, piped) = made("aac");
    assert!(file == piped && file.starts_with(&[0xff, 0xf1]));
    // A pipe has the frames; a file tells in one more how many they are and where sound begins.
    let (file, piped) = made("mp3");
    assert!(file.ends_with(&piped) && file.len() > piped.len());
    assert!(file[..64].windows(4).any(|four| four == b"Info"));
    assert!(!piped[..64].windows(4).any(|four| four == b"Info"));
    // The length is the last 36 bits before the checksum in the description of the stream.
    let (file, piped) = made("flac");
    let length = |flac: &[u8]| {
        assert!(flac.starts_with(b"fLaC"));
        u64::from_be_bytes(flac[18..26].try_into().unwrap()) & 0xf_ffff_ffff
    };
    assert_eq!((length(&file), length(&piped)), (n_samples, 0));
    assert!(file[26..] == piped[26..]);
}

#[test]
fn sound_comes_before_the_text_has_ended() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.koe(&["say", "--lines", "-o", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut sound = vec![0; 10_000];
    for line in ["Hello there.\n", "And again.\n"] {
        stdin.write_all(line.as_bytes()).unwrap();
        // Hangs if the program waits for more text first.
        stdout.read_exact(&mut sound).unwrap();
        assert!(sound.iter().any(|&byte| byte != 0));
    }
    drop(stdin);
    stdout.read_to_end(&mut sound).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let sandbox = Sandbox::new();
    let text = "This goes on and on, and then some more. ".repeat(40);
    let mut command = sandbox.koe(&["say", "-q", &text, "-o", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut sound = [0; 1000];
    child.stdout.take().unwrap().read_exact(&mut sound).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_disk_is_a_failure_that_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["say", TEXT, "-o", "/dev/full"]).fails(1, "cannot write /dev/full: ");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = sandbox.koe(&["say", TEXT, "-o", "-"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot write to standard output: "), "{stderr}");
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    let sandbox = Sandbox::new();
    sandbox.run(&["say", TEXT, "-o", "/dev/null"]).ok();
    use std::os::unix::fs::FileTypeExt;
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn what_cannot_be_written_is_told_with_its_name() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("folder.wav")).unwrap();
    sandbox.run(&["say", TEXT, "-o", "folder.wav"]).fails(1, "folder.wav: it is a folder");
    sandbox.run(&["say", TEXT, "-o", "no/a.wav"]).fails(1, "cannot write no/a.wav: ");
    let path = sandbox.write("locked.wav", "old");
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    sandbox.run(&["say", TEXT, "-o", "locked.wav"]).fails(1, "locked.wav: it is read-only");
    assert_eq!(sandbox.read("locked.wav"), b"old");
    assert_eq!(sandbox.names(), ["folder.wav", "locked.wav"]);
}

#[test]
fn a_failure_midway_leaves_what_was_there_before() {
    let sandbox = Sandbox::new();
    sandbox.write("a.wav", "old");
    sandbox.write("a.json", "old");
    sandbox.write("t.txt", b"A good beginning.\n\nA bad \xff end.");
    let arguments = ["say", "-f", "t.txt", "-o", "a.wav", "--timings", "a.json"];
    sandbox.run(&arguments).fails(1, "t.txt is not UTF-8: byte 0xff at offset 25");
    assert_eq!((sandbox.read("a.wav"), sandbox.read("a.json")), (b"old".into(), b"old".into()));
    assert_eq!(sandbox.names(), ["a.json", "a.wav", "t.txt"]);
}

#[test]
fn new_files_have_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    sandbox.run(&["say", TEXT, "-o", "a.wav"]).ok();
    sandbox.write("usual", "");
    let mode = |name| std::fs::metadata(sandbox.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("a.wav"), mode("usual"));
}
