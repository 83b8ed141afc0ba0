//! Interrupts, wherever the program is.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use crate::models;
use crate::sandbox::Sandbox;
use crate::server::eventually;

fn interrupt(child: &Child) {
    let kill = format!("kill -INT {}", child.id());
    assert!(std::process::Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
}

/// Waits for the notice, after which the program handles signals and has begun its files.
fn await_notice(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("built-in"), "{line}");
}

#[test]
fn an_interrupt_while_text_is_awaited_leaves_no_file() {
    let sandbox = Sandbox::new();
    sandbox.write("a.wav", "old");
    let mut command = sandbox.koe(&["say", "-o", "a.wav", "--timings", "a.srt"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Hello.\n\nThere is ").unwrap();
    await_notice(&mut child);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(sandbox.read("a.wav"), b"old");
    assert_eq!(sandbox.names(), ["a.wav"]);
    drop(stdin);
}

#[test]
fn one_interrupt_while_a_model_is_opened_ends_it_and_leaves_no_file() {
    let sandbox = Sandbox::new();
    models::model(&sandbox, "m", &[("am_rms", "am_rms")]);
    let say = ["say", "hi", "-m", "m", "-o", "a.wav", "--timings", "a.srt"];
    sandbox.run(&say).ok();
    // Without its pack the model has to be packed again, for which the program awaits a lock.
    let cache = sandbox.path(".cache/koe");
    let entries = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.collect();
    let with_end = |end: &str| {
        let is_it = |path: &&std::path::PathBuf| path.extension().is_some_and(|found| found == end);
        files.iter().find(is_it).unwrap_or_else(|| panic!("no .{end} in {files:?}"))
    };
    std::fs::remove_file(with_end("pack")).unwrap();
    let lock = std::fs::OpenOptions::new().write(true).open(with_end("lock")).unwrap();
    lock.lock().unwrap();
    for name in ["a.wav", "a.srt"] {
        std::fs::write(sandbox.path(name), "old").unwrap();
    }
    let mut child = sandbox.koe(&say).stderr(Stdio::null()).spawn().unwrap();
    // Both outputs are begun before the model is opened, and signals are handled before either.
    while sandbox.names().len() < 5 {
        assert!(child.try_wait().unwrap().is_none(), "it awaits the lock");
        std::thread::yield_now();
    }
    interrupt(&child);
    // Would never end while the lock is held.
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(sandbox.names(), ["a.srt", "a.wav", "m"]);
    assert_eq!((sandbox.read("a.wav"), sandbox.read("a.srt")), (b"old".into(), b"old".into()));
}

#[test]
fn an_interrupt_in_the_middle_of_the_work_ends_it() {
    let sandbox = Sandbox::new();
    // Would take minutes.
    let text = "This goes on and on, and then some more. ".repeat(5000);
    sandbox.write("t.txt", &text);
    let mut command = sandbox.koe(&["say", "-f", "t.txt", "-o", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 50_000]).unwrap();
    interrupt(&child);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "nothing but the notice: {stderr}");
}

#[test]
fn an_interrupt_silences_the_player() {
    let sandbox = Sandbox::new();
    sandbox.script("aplay", "echo $$ > pid; exec /bin/sleep 1000");
    let text = "This goes on and on, and then some more. ".repeat(20);
    let mut command = sandbox.koe(&["say", &text]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    await_notice(&mut child);
    // The script's first line may not have run yet; the player's end is awaited by the program in
    // any case, so that this would take a thousand seconds if it were not ended.
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Linux tells a process's children.
#[test]
#[cfg(target_os = "linux")]
fn an_interrupted_measurement_leaves_no_server_and_no_folder() {
    let sandbox = Sandbox::new();
    let temporary = sandbox.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = sandbox.koe(&["bench", "startup", "--rounds", "1000000", "-m", "builtin"]);
    command.env("TMPDIR", &temporary);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let mut server = String::new();
    eventually("a server", || {
        let all = std::fs::read_to_string(&children).unwrap();
        server = all.split(' ').next().unwrap_or_default().to_owned();
        !server.is_empty()
    });
    let n_folders = || std::fs::read_dir(&temporary).unwrap().count();
    assert_eq!(n_folders(), 1);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(n_folders(), 0);
    // Whoever has no parent any more is collected by somebody else, which may take a moment.
    let is_alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    eventually("without a server", || !is_alive());
}
