//! Flags, variables and the file, as commands see them, and `koe config`.

use crate::sandbox::{Ended, Sandbox};

fn show(sandbox: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = sandbox.koe(&[&["config", "show"], arguments].concat());
    Ended(command.envs(variables.iter().copied()).output().unwrap())
}

const USUAL: &str = ".config/koe/config.toml";

#[test]
fn every_value_is_shown_with_where_it_comes_from() {
    let sandbox = Sandbox::new();
    let file = sandbox.write(USUAL, "[server]\nport = 1\nlanes = 2\nmax_chars = 3\n");
    let variables = [("KOKORO_PORT", "10"), ("KOKORO_LANES", "20")];
    let shown = show(&sandbox, &["--origin", "--port", "100"], &variables).ok().stdout();
    let max_chars = format!("max_chars = 3  # {}:4", file.display());
    for line in ["port = 100  # --port", "lanes = 20  # KOKORO_LANES", &max_chars] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in {shown}");
    }
    assert!(shown.contains("host = \"127.0.0.1\"  # default\n"), "{shown}");
    assert!(!show(&sandbox, &[], &variables).ok().stdout().contains("KOKORO_LANES"));

    let json = show(&sandbox, &["--json"], &variables).ok().stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let settings = json["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!(of("server.port")["value"], 10);
    assert_eq!(of("server.port")["origin"]["variable"], "KOKORO_PORT");
    assert_eq!(of("server.max_chars")["origin"]["line"], 4);
    assert_eq!(of("server.rate_limit")["value"], serde_json::Value::Null);
    assert_eq!(json["file"]["found"], true);
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let sandbox = Sandbox::new();
    let odd = "C:\\\"odd\" \u{7f}\tname";
    let variables = [
        ("KOKORO_CACHE_DIR", odd),
        ("KOKORO_CORS_ORIGINS", "https://a.example,https://b.example"),
        ("KOKORO_RATE_LIMIT", "5"),
        ("KOKORO_TUNING", "off"),
    ];
    let cache = sandbox.path(odd);
    let variables = variables.map(|(name, value)| match name {
        "KOKORO_CACHE_DIR" => (name, cache.to_str().unwrap()),
        _ => (name, value),
    });
    let first = show(&sandbox, &[], &variables).ok().stdout();
    sandbox.write(USUAL, &first);
    assert_eq!(show(&sandbox, &[], &[]).ok().stdout(), first);
}

#[test]
fn secrets_are_not_shown() {
    let sandbox = Sandbox::new();
    sandbox.write(USUAL, "[hub]\ntoken = \"swordfish\"\n");
    let variables = [("KOKORO_API_KEYS", "swordfish")];
    for arguments in [&[][..], &["--origin"], &["--json"]] {
        let ended = show(&sandbox, arguments, &variables).ok();
        assert!(!ended.stdout().contains("swordfish"), "{}", ended.stdout());
        assert!(ended.stdout().contains("secret"), "{}", ended.stdout());
    }
}

#[test]
fn a_mistake_anywhere_stops_every_command_before_it_works() {
    let sandbox = Sandbox::new();
    let file = sandbox.write(USUAL, "[server]\nprot = 1\nlanes = 0\n");
    for arguments in [
        &["say", "hi", "-o", "a.wav"][..],
        &["serve", "--port", "0"],
        &["voices"],
        &["models"],
        &["pull"],
        &["config", "show"],
    ] {
        let mut command = sandbox.koe(arguments);
        let ended = Ended(command.env("KOKORO_TUNING", "maybe").output().unwrap());
        let ended = ended.fails(2, "3 mistakes in the configuration");
        let (unknown, bad) = (format!("{}:2: ", file.display()), format!("{}:3: ", file.display()));
        for part in ["KOKORO_TUNING is \"maybe\"", &unknown, "did you mean port?", &bad] {
            assert!(ended.stderr().contains(part), "{part:?} is not in {}", ended.stderr());
        }
    }
    assert!(!sandbox.path("a.wav").exists());
    assert!(sandbox.run(&["doctor"]).fails(1, "").stdout().contains("prot"));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let sandbox = Sandbox::new();
    let with = |path: &str| {
        let mut command = sandbox.koe(&["say", "hi", "-o", "a.wav"]);
        Ended(command.env("KOKORO_CONFIG", path).output().unwrap())
    };
    with("absent.toml").fails(2, "cannot read absent.toml, which KOKORO_CONFIG names");
    with("/dev/zero").fails(2, "not a regular file");
    let fifo = sandbox.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    with(fifo.to_str().unwrap()).fails(2, "not a regular file");
    sandbox.write("mine.toml", "[model]\nvoice = \"af_slt\"\nname = \"builtin\"\n");
    with("mine.toml").ok();
}

#[test]
fn the_place_of_the_file_is_told_whether_it_is_there_or_not() {
    let sandbox = Sandbox::new();
    let path = || sandbox.run(&["config", "path"]).ok().stdout();
    assert_eq!(path(), format!("{}\n", sandbox.path(USUAL).display()));
    sandbox.write(USUAL, "");
    assert_eq!(path(), format!("{}\n", sandbox.path(USUAL).display()));
    let mut named = sandbox.koe(&["config", "path"]);
    let named = Ended(named.env("KOKORO_CONFIG", "x.toml").output().unwrap());
    assert_eq!(named.ok().stdout(), "x.toml\n");
    let mut homeless = sandbox.koe(&["config", "path"]);
    Ended(homeless.env_remove("HOME").output().unwrap()).fails(1, "set KOKORO_CONFIG");
}

#[test]
fn an_unknown_variable_is_only_a_warning() {
    let sandbox = Sandbox::new();
    let run = |arguments: &[&str]| {
        let mut command = sandbox.koe(arguments);
        Ended(command.env("KOKORO_PROT", "1").output().unwrap()).ok().stderr()
    };
    assert!(run(&["voices"]).contains("KOKORO_PROT; did you mean KOKORO_PORT?"));
    assert_eq!(run(&["say", "-q", "-m", "builtin", "hi", "-o", "a.wav"]), "");
    assert_eq!(run(&["completions", "bash"]), "");
}

#[test]
fn wrong_flags_of_the_server_say_what_is_needed() {
    let sandbox = Sandbox::new();
    for (arguments, message) in [
        (&["--port", "70000"][..], "needed a whole number from 0 to 65535"),
        (&["--port", "-1"], "'-1' for '--port"),
        (&["--host", "localhost"], "use one like 127.0.0.1"),
        (&["--lanes", "0"], "needed a whole number from 1 to 1024"),
        (&["--stall-timeout", "0"], "needed a whole number of seconds from 1 to 86400"),
        (&["--allow-anonymous=perhaps"], "needed true or false"),
        (&["--tls-cert", "c.pem"], "server.tls_cert is set (--tls-cert) but not server.tls_key"),
        (&["--voice", "af_sky("], "')' is missing"),
        (&["--port", "1", "--port", "2"], "cannot be used multiple times"),
    ] {
        sandbox.run(&[&["serve"], arguments].concat()).fails(2, message);
    }
}

#[test]
fn the_help_of_the_server_names_variables_and_defaults() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["serve", "--help"]).ok().stdout();
    for part in
        ["--queue-timeout <SECONDS>", "[env: KOKORO_QUEUE_TIMEOUT_SECONDS]", "[default: 30]"]
    {
        assert!(help.contains(part), "{part} is not in {help}");
    }
}

#[test]
fn the_document_that_is_checked_in_is_made_of_the_settings() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["config", "docs"]).ok().stdout();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(made == kept, "run: cargo run -p koe -- config docs > docs/configuration.md");
}
