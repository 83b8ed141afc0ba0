//! Playing through a program of the system, here a script.

use crate::sandbox::Sandbox;

#[test]
fn a_player_is_given_the_raw_samples() {
    let sandbox = Sandbox::new();
    sandbox.script("aplay", "echo \"$@\" > arguments; exec /bin/cat > played");
    sandbox.run(&["say", "It is ready."]).ok();
    let raw = sandbox.run(&["say", "It is ready.", "-o", "-"]).ok().0.stdout;
    assert!(sandbox.read("played") == raw);
    let arguments = String::from_utf8(sandbox.read("arguments")).unwrap();
    assert!(arguments.contains("-r 24000") && arguments.contains("-f S16_LE"), "{arguments}");
}

#[test]
fn the_preferred_player_is_taken() {
    let sandbox = Sandbox::new();
    for name in ["aplay", "paplay", "play"] {
        sandbox.script(name, &format!("echo {name} > who; exec /bin/cat > /dev/null"));
    }
    sandbox.run(&["say", "Yes."]).ok();
    assert_eq!(sandbox.read("who"), b"paplay\n");
}

#[test]
fn a_player_that_takes_files_alone_is_given_one() {
    let sandbox = Sandbox::new();
    sandbox.script("afplay", "/bin/cat \"$1\" > played.wav");
    sandbox.run(&["say", "It is ready."]).ok();
    sandbox.run(&["say", "It is ready.", "-o", "a.wav"]).ok();
    assert!(sandbox.read("played.wav") == sandbox.read("a.wav"));
}

#[test]
fn a_players_own_complaint_is_told() {
    let sandbox = Sandbox::new();
    sandbox.script("aplay", "echo 'no such device' >&2; exit 1");
    let text = "It goes on, so that the player is written to after its end. ".repeat(5);
    sandbox.run(&["say", &text]).fails(1, "aplay failed: no such device");
    sandbox.run(&["say", "Short."]).fails(1, "aplay failed: no such device");
}

#[test]
fn without_a_player_the_way_out_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["say", "Yes."]).fails(1, "no player found: install").fails(1, "-o out.wav");
}
