//! Interrupts, wherever the program is.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use crate::sandbox::Sandbox;

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
