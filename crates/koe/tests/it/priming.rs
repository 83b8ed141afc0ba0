//! Ready at once, never cold, and the same sound whatever is switched on: as those who run it see
//! it. The built-in voice, real processes, real sockets.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::server::{SOON, Server};

const TEXT: &str = "The ship left the harbour before the sun was up. Nobody on the pier said a \
    word, and the gulls were quiet too. By noon the wind had turned.";

/// A server with the built-in voice and these variables.
fn serve(home: &Sandbox, variables: &[(&str, &str)]) -> Server {
    let mut command = Server::command(home, &["--model", "builtin"]);
    command.envs(variables.iter().copied());
    Server::of(command)
}

fn speak(server: &Server) -> Vec<u8> {
    let body = json!({"input": TEXT, "response_format": "wav", "stream": false});
    server.speak(body).ok().bytes
}

#[test]
fn every_mechanism_on_or_off_makes_the_same_bytes() {
    let home = Sandbox::new();
    let plain = home.run(&["say", "--model", "builtin", TEXT, "-o", "say.wav"]);
    plain.ok();
    let said = home.read("say.wav");
    let on = serve(
        &home,
        &[
            ("KOKORO_KEEP_ALIVE_INTERVAL_SECONDS", "1"),
            ("KOKORO_KEEP_ALIVE_IDLE_THRESHOLD_SECONDS", "0"),
            ("KOKORO_MEMORY_THRESHOLD_MB", "1"),
            ("KOKORO_LOCK_WEIGHTS", "true"),
        ],
    );
    let first = speak(&on);
    on.eventually("a tick", || on.json("/optimization/keep-alive-status")["ticks"] != 0);
    assert_eq!(first, speak(&on));
    let memory = on.json("/optimization/memory-management");
    assert!(memory["cleanups"].as_u64().unwrap() > 0, "{memory}");
    drop(on);
    let off = serve(
        &home,
        &[
            ("KOKORO_KEEP_ALIVE_ENABLED", "false"),
            ("KOKORO_SKIP_EXTENDED_WARMING", "true"),
            ("KOKORO_MEMORY_THRESHOLD_MB", "100000"),
            ("KOKORO_SOCKET", "off"),
        ],
    );
    assert!(first == speak(&off));
    let keep_alive = off.json("/optimization/keep-alive-status");
    assert_eq!((&keep_alive["enabled"], &keep_alive["running"]), (&json!(false), &json!(false)));
    let warmups = off.json("/optimization/warmup-stats");
    assert_eq!(warmups["extended_warming"]["enabled"], false);
    // The same samples as on the command line; the headers of a stream may differ.
    assert!(first[44..] == said[44..]);
}

#[test]
fn warm_ups_run_once_and_say_how_long_they_took() {
    let home = Sandbox::new();
    let server = serve(&home, &[]);
    let stats = || server.json("/optimization/warmup-stats");
    server
        .eventually("background warming", || !stats()["extended_warming"]["duration_ms"].is_null());
    let stats = stats();
    assert_eq!(stats["completed_stages"], json!(["cold_start", "minimal", "pipeline", "extended"]));
    for patterns in stats["stage_results"].as_object().unwrap().values() {
        for pattern in patterns.as_object().unwrap().values() {
            assert_eq!((&pattern["runs"], &pattern["failures"]), (&json!(1), &json!(0)));
            assert!(pattern["duration_ms"].as_f64().unwrap() > 0.0);
        }
    }
    assert_eq!(stats["tuning"]["recalled"], false);
    drop(server);
    let again = serve(&home, &[]);
    let stats = again.json("/optimization/warmup-stats");
    assert_eq!(stats["tuning"]["recalled"], true);
    assert!(!stats["completed_stages"].as_array().unwrap().contains(&json!("minimal")));
}

#[test]
fn fifty_who_race_for_a_model_open_it_once() {
    let home = Sandbox::new();
    let folder = crate::models::model(&home, "model", &[("am_rms", "am_rms")]);
    let mut command = Server::command(&home, &["--max-requests", "64", "--model"]);
    command.arg(&folder);
    let server = Server::of(command);
    std::thread::scope(|scope| {
        for i in 0..50 {
            let model = if i % 2 == 0 { "builtin" } else { "kokoro" };
            let body = json!({"model": model, "input": "Hi.", "response_format": "pcm"});
            let server = &server;
            scope.spawn(move || assert!(!server.speak(body).ok().bytes.is_empty()));
        }
    });
    let models = server.json("/optimization/cache-performance")["models"].clone();
    let loads: Vec<_> = models.as_array().unwrap().iter().map(|model| &model["loads"]).collect();
    assert_eq!(loads, [&json!(1), &json!(1)], "{models}");
    #[cfg(target_os = "linux")]
    server.eventually("one pack is mapped", || {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.child.id())).unwrap();
        // It takes the place of what was packed in memory once it is written.
        maps.lines().filter(|line| line.ends_with(".pack")).count() == 1
    });
}

#[test]
fn readings_are_readings() {
    let home = Sandbox::new();
    let server = serve(&home, &[("KOKORO_MEMORY_THRESHOLD_MB", "777")]);
    speak(&server);
    speak(&server);
    // A look follows the end of each request.
    let looks = || server.json("/optimization/memory-management")["checks"].as_u64().unwrap();
    server.eventually("two looks", || looks() >= 2);
    let summary = server.json("/optimization/summary");
    assert!(summary["ready_after_ms"].as_f64().unwrap() > 0.0);
    let memory = &summary["memory"];
    assert_eq!(memory["cleanup_threshold_mb"], 777.0);
    assert!(memory["current_memory_mb"].as_f64().unwrap() > 1.0);
    let cache = &summary["cache"];
    assert!(cache["voices"]["hits"].as_u64().unwrap() > 0);
    assert_eq!(
        (&cache["models"][0]["id"], &cache["models"][0]["loads"]),
        (&json!("builtin"), &json!(1))
    );
    assert_eq!(summary["keep_alive"]["interval_seconds"], 300.0);
    let metrics = server.get("/metrics").1;
    for name in ["koe_memory_checks_total", "koe_warmup_runs_total", "koe_primed_age_seconds"] {
        assert!(metrics.contains(&format!("\n{name} ")), "{name} is not in\n{metrics}");
    }
    assert_eq!(metrics.matches("# EOF").count(), 1);
    let status = server.json("/status");
    assert!(status["hardware"]["threads"].as_u64().unwrap() > 0);
    assert!(status["startup"]["model_open_after_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_command_served_through_the_local_socket_writes_the_same_file() {
    let home = Sandbox::new();
    let text =
        format!("{TEXT}\n\nA second part, with [a word](/wˈɜɹd/) of its own. [pause:0.5s] End.");
    let say = |name: &str, more: &[&str]| {
        let mut arguments = vec!["say", "--model", "builtin", &text, "-o", name];
        arguments.extend(more);
        home.run(&arguments).ok();
        home.read(name)
    };
    let (alone, mixed) = (
        say("a.mp3", &["--timings", "a.json"]),
        say("a.wav", &["-v", "af_slt(2)+am_rms", "-s", "1.3"]),
    );
    let server = serve(&home, &[]);
    let computed = || server.json("/status")["requests"]["local_chunks"].as_u64().unwrap();
    assert_eq!(computed(), 0);
    assert!(say("b.mp3", &["--timings", "b.json"]) == alone);
    let of_the_first = computed();
    assert!(of_the_first > 1, "it was the server that computed");
    assert!(say("b.wav", &["-v", "af_slt(2)+am_rms", "-s", "1.3"]) == mixed);
    assert_eq!(home.read("a.json"), home.read("b.json"));
    assert!(computed() > of_the_first);
    home.run(&["daemon", "--stop"]).fails(1, "not started by koe daemon");
    drop(server);
    // What the killed server left is no hindrance.
    assert!(home.path(".cache/koe/koe.sock").exists());
    assert!(say("c.mp3", &[]) == alone);
}

#[test]
fn a_daemon_serves_commands_and_stops_when_told_or_idle() {
    let home = Sandbox::new();
    home.run(&["say", "--model", "builtin", TEXT, "-o", "a.wav"]).ok();
    let mut start = home.koe(&["daemon"]);
    start.env("KOKORO_MODEL", "builtin");
    assert!(start.status().unwrap().success());
    assert!(start.status().unwrap().success(), "a second one is none too many");
    home.run(&["say", "--model", "builtin", TEXT, "-o", "b.wav"]).ok();
    assert!(home.read("a.wav") == home.read("b.wav"));
    let socket = home.path(".cache/koe/koe.sock");
    assert!(UnixStream::connect(&socket).is_ok());
    home.run(&["daemon", "--stop"]).ok();
    assert!(UnixStream::connect(&socket).is_err(), "to stop it is to wait for its end");
    let idle = home
        .koe(&["daemon", "--foreground"])
        .env("KOKORO_MODEL", "builtin")
        .env("KOKORO_DAEMON_IDLE_SECONDS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(idle.unwrap().success());
}

#[test]
fn garbage_on_the_local_socket_harms_nobody() {
    let home = Sandbox::new();
    let server = serve(&home, &[]);
    let socket = home.path(".cache/koe/koe.sock");
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[4, 0, 0, 0, b'n', b'u', b'l', b'l']]
    {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // It may be reset; it must end.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let text = "Still here.";
    home.run(&["say", "--model", "builtin", text, "-o", "a.wav"]).ok();
    assert_eq!(server.get("/health").0, 200);
    use std::os::unix::fs::PermissionsExt;
    let mode = socket.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may speak");
}

#[test]
fn a_socket_whose_place_another_holds_keeps_no_server_from_starting() {
    let home = Sandbox::new();
    let lock = std::fs::File::create(home.write(".cache/koe/koe.sock.lock", "")).unwrap();
    lock.lock().unwrap();
    let server = serve(&home, &[]);
    assert_eq!(server.get("/health").0, 200);
    assert!(!home.path(".cache/koe/koe.sock").exists());
}

#[test]
fn systemd_is_told_and_its_watchdog_is_fed() {
    let home = Sandbox::new();
    let path = home.path("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(SOON)).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let server = serve(&home, &variables);
    let hear = || {
        let mut message = [0; 1024];
        let n_bytes = systemd.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..n_bytes]).into_owned()
    };
    let ready = hear();
    assert!(ready.contains("READY=1") && ready.contains("STATUS="), "{ready}");
    for _ in 0..3 {
        assert!(hear().contains("WATCHDOG=1"));
    }
    let kill = Command::new("/bin/kill").args(["-TERM", &server.child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    while !hear().contains("STOPPING=1") {}
}

#[test]
fn a_memory_of_another_machine_is_noticed_and_not_used() {
    let home = Sandbox::new();
    drop(serve(&home, &[]));
    let path = ".cache/koe/tuning.json";
    let mut memory: Value = serde_json::from_slice(&home.read(path)).unwrap();
    memory["entries"][0]["machine"]["processor"] = json!("Another One 9000");
    memory["entries"][0]["measured"]["real_time_factor"] = json!(0.001);
    home.write(path, memory.to_string());
    let server = serve(&home, &[]);
    let tuning = server.json("/optimization/warmup-stats")["tuning"].clone();
    assert_eq!((&tuning["recalled"], &tuning["was_stale"]), (&json!(false), &json!(true)));
    assert!(tuning["real_time_factor"].as_f64().unwrap() > 0.001);
}
