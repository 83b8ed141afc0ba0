//! Settings are read as they were meant, and every mistake is told.

use super::*;

fn config(variables: &[(&str, &str)]) -> Config {
    Config::read(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.into())
    })
}

#[test]
fn every_problem_is_told_at_once() {
    let config = config(&[("KOKORO_THREADS", "0"), ("KOKORO_ISA", "mmx")]);
    assert_eq!(config.problems.len(), 2, "{:?}", config.problems);
    assert!(config.problems[0].contains("KOKORO_THREADS is \"0\""));
    assert!(config.problems[1].contains("mmx"));
}

#[test]
fn an_empty_variable_counts_as_absent() {
    let config = config(&[("KOKORO_THREADS", ""), ("KOKORO_VOICE", "")]);
    assert!(config.problems.is_empty() && config.voice.is_none() && config.threads.is_none());
}

#[test]
fn the_token_is_that_of_the_environment_or_else_of_the_file_it_names_or_else_the_usual_one() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let named = folder.path().join("named");
    let token_of = |more: &[(&str, &str)]| {
        let source = config(&[&[("HF_HOME", home)], more].concat()).source();
        source.map(|source| match source {
            Source::Hub { token, .. } => token.map(|token| token.0),
            other => panic!("{other:?}"),
        })
    };
    let path = ("HF_TOKEN_PATH", named.to_str().unwrap());
    assert_eq!(token_of(&[path]).unwrap(), None);
    std::fs::write(folder.path().join("token"), "usual\n").unwrap();
    assert_eq!(token_of(&[]).unwrap().as_deref(), Some("usual"));
    assert_eq!(token_of(&[path]).unwrap(), None);
    std::fs::write(&named, " named\r\n").unwrap();
    assert_eq!(token_of(&[path]).unwrap().as_deref(), Some("named"));
    assert_eq!(token_of(&[path, ("HF_TOKEN", "own")]).unwrap().as_deref(), Some("own"));
    assert_eq!(token_of(&[path, ("HF_TOKEN", " ")]).unwrap().as_deref(), Some("named"));
    std::fs::write(&named, "\n").unwrap();
    assert_eq!(token_of(&[path]).unwrap(), None);
    let error = token_of(&[("HF_TOKEN_PATH", home)]).unwrap_err().to_string();
    assert!(error.contains(home), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn folders_follow_the_conventions() {
    let home = config(&[("HOME", "/h")]);
    assert_eq!(home.cache, PathBuf::from("/h/.cache/koe"));
    assert_eq!(home.hub, PathBuf::from("/h/.cache/huggingface/hub"));
    let xdg = config(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]);
    assert_eq!(xdg.cache, PathBuf::from("/x/koe"));
    assert_eq!(xdg.hub, PathBuf::from("/f/hub"));
    let own = config(&[("KOKORO_CACHE_DIR", "/c"), ("HF_HUB_CACHE", "/u"), ("HF_HOME", "/f")]);
    assert_eq!((own.cache, own.hub), (PathBuf::from("/c"), PathBuf::from("/u")));
}

/// A folder with a configuration file, and what comes of it with these variables.
struct Written {
    folder: tempfile::TempDir,
}

impl Written {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("koe.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, variables: &[(&str, &str)]) -> Config {
        let file = self.path("koe.toml");
        let named = [("KOKORO_CONFIG", file.to_str().unwrap()), ("HOME", "/h")];
        config(&[&named, variables].concat())
    }
}

/// The problems of a file with this text, without its path.
fn problems(text: impl AsRef<[u8]>) -> Vec<String> {
    let written = Written::new(text);
    let prefix = format!("{}:", written.path("koe.toml").display());
    let problems = written.config(&[]).problems.into_iter();
    problems.map(|problem| problem.strip_prefix(&prefix).unwrap_or(&problem).to_owned()).collect()
}

fn flag(key: &str, text: &str) -> Given {
    let setting = *SETTINGS.iter().find(|setting| setting.key == key).unwrap();
    Given { setting, value: Some(setting.parse_flag(text).unwrap()), origin: Origin::Flag }
}

fn told_by(config: &Config, key: &str) -> String {
    config.settings.iter().find(|given| given.setting.key == key).unwrap().told_by()
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        names.extend([setting.key, setting.variable]);
        names.extend(setting.flag.map(|flag| flag.long));
        assert!(TABLES.iter().any(|(table, _)| *table == setting.table()), "{}", setting.key);
        assert!(!setting.doc.ends_with('.') && !setting.doc.contains('|'), "{}", setting.doc);
        if let Preset::Is(text) = setting.preset {
            setting.parse("the default", text.as_ref()).unwrap();
        }
    }
    let n_names = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n_names, "every name is used once: {names:?}");
    let order: Vec<&str> = SETTINGS.iter().map(|setting| setting.table()).collect();
    let mut runs = order.clone();
    runs.dedup();
    assert_eq!(runs, TABLES.iter().map(|(table, _)| *table).collect::<Vec<_>>());
}

#[test]
fn what_nobody_says_is_as_the_documents_have_it() {
    let config = config(&[("HOME", "/h")]);
    assert!(config.problems.is_empty() && config.warnings.is_empty());
    let seconds = Duration::from_secs;
    assert!(config.keep_alive_enabled && config.tuning);
    assert!(!config.skip_extended_warming && !config.lock_weights);
    assert_eq!(config.keep_alive_interval, seconds(300));
    assert_eq!(config.keep_alive_idle_threshold, seconds(120));
    assert_eq!((config.memory_threshold_mb, config.daemon_idle), (None, seconds(600)));
    assert_eq!((&*config.accelerator, config.precision), ("off", None));
    let server = &config.server;
    assert_eq!((server.host, server.port), (Ipv4Addr::LOCALHOST.into(), 8880));
    assert_eq!((server.max_requests.get(), server.max_connections.get()), (64, 1024));
    assert_eq!((server.max_chars.get(), server.lanes), (200_000, None));
    assert_eq!(server.queue_timeout, seconds(30));
    assert_eq!((server.stall_timeout, server.drain_timeout), (seconds(120), seconds(30)));
    assert!(!server.allow_anonymous && server.api_keys.is_none() && server.tls.is_none());
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let written = Written::new("[server]\nport = 1\nlanes = 2\nmax_chars = 3\n");
    let of_file = written.config(&[]);
    assert_eq!(of_file.server.port, 1);
    let file = written.path("koe.toml");
    assert_eq!(told_by(&of_file, "server.port"), format!("{}:2", file.display()));

    let both = written.config(&[("KOKORO_PORT", "10"), ("KOKORO_LANES", "20")]);
    let all = both.with_flags(&[flag("server.port", "100")]);
    let server = &all.server;
    assert_eq!((server.port, server.lanes.unwrap().get(), server.max_chars.get()), (100, 20, 3));
    assert_eq!(told_by(&all, "server.port"), "--port");
    assert_eq!(told_by(&all, "server.lanes"), "KOKORO_LANES");
    assert_eq!(told_by(&all, "server.max_chars"), format!("{}:4", file.display()));
    assert_eq!(told_by(&all, "server.host"), "default");
    assert_eq!(both.server.port, 10, "flags are laid over a copy");
}

#[test]
fn every_setting_can_be_set_by_its_variable_and_in_the_file() {
    for &setting in SETTINGS {
        let (text, toml) = match setting.kind {
            Kind::Switch if setting.preset_is("true") => ("off", "false".to_owned()),
            Kind::Switch => ("on", "true".to_owned()),
            Kind::Whole { .. } => ("77", "77".to_owned()),
            Kind::Path(_) => ("/a/path", "\"/a/path\"".to_owned()),
            Kind::List(_) => ("https://a.example", "[\"https://a.example\"]".to_owned()),
            Kind::Text(_) => {
                let text = match setting.key {
                    "model.voice" => "af_sky",
                    "compute.isa" => "scalar",
                    "compute.precision" => "bf16",
                    "compute.accelerator" => "cuda",
                    "server.host" => "::1",
                    _ => "https://a.example",
                };
                (text, format!("{text:?}"))
            }
        };
        // The pair of TLS is wanted together.
        let other = match setting.key {
            "server.tls_cert" => ("KOKORO_TLS_KEY", "/k"),
            "server.tls_key" => ("KOKORO_TLS_CERT", "/c"),
            _ => ("", ""),
        };
        let usual = config(&[("HOME", "/h")]);
        let by_variable = config(&[("HOME", "/h"), (setting.variable, text), other]);
        assert!(by_variable.problems.is_empty(), "{:?}", by_variable.problems);
        let file = format!("[{}]\n{} = {toml}\n", setting.table(), setting.name());
        let by_file = Written::new(file).config(&[other]);
        assert!(by_file.problems.is_empty(), "{:?}", by_file.problems);
        let value = |config: &Config| {
            let given = config.settings.iter().find(|given| given.setting.key == setting.key);
            given.unwrap().value.clone()
        };
        assert_eq!(value(&by_variable), value(&by_file), "{}", setting.key);
        assert_ne!(value(&by_variable), value(&usual), "{}", setting.key);
    }
}

impl Setting {
    fn preset_is(&self, text: &str) -> bool {
        matches!(self.preset, Preset::Is(preset) if preset == text)
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_with_their_lines() {
    let text = "port = 1\n\
                [srever]\n\
                host = \"::1\"\n\
                [server]\n\
                port = 70000\n\
                lanes = \"two\"\n\
                hots = \"::1\"\n\
                host = \"localhost\"\n\
                interval_seconds = 5\n\
                cors_origins = \"*\"\n\
                [keep_alive]\n\
                enabled = \"yes\"\n\
                interval_seconds = 0x15180\n\
                idle_threshold_seconds = -1\n\
                zzz = 1\n";
    let expected = [
        "1: there is no setting port; did you mean port in [server]?",
        "2: there is no table [srever]; did you mean [server]?",
        "5: server.port is \"70000\", needed a whole number from 0 to 65535",
        "6: server.lanes: this is a string, needed a whole number from 1 to 1024, without quotes",
        "7: there is no setting server.hots; did you mean host?",
        "8: server.host: \"localhost\" is not an address; use one like 127.0.0.1, 0.0.0.0, ::1 or ::",
        "9: there is no setting server.interval_seconds; did you mean interval_seconds in \
         [keep_alive]?",
        "10: server.cors_origins: this is a string, needed a list as [\"…\", \"…\"]",
        "12: keep_alive.enabled: this is a string, needed true or false, without quotes",
        "14: keep_alive.idle_threshold_seconds is \"-1\", needed a whole number of seconds from 0 \
         to 86400",
        "15: there is no setting keep_alive.zzz; koe config show lists all",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn what_is_not_toml_is_told_beside_the_other_mistakes() {
    let found = problems("[server]\nport = \nlanes = 0\n[server]\nhost = \"x\n");
    let lines: Vec<&str> = found.iter().filter_map(|it| it.split(':').next()).collect();
    assert_eq!(lines, ["2", "3", "4", "5"], "{found:?}");
}

#[test]
fn endless_mistakes_are_cut_short() {
    let found = problems("zzz = 1\n[server]\n".to_owned() + &"x1 = 1\n".repeat(1000));
    assert_eq!(found.len(), 21, "{found:?}");
    assert!(found.last().unwrap().ends_with("more mistakes"), "{found:?}");
}

#[test]
fn the_documents_example_is_a_sound_file() {
    let written = Written::new(document::EXAMPLE);
    let config = written.config(&[]);
    assert_eq!(config.problems, [] as [String; 0]);
    assert_eq!(config.server.api_key_file, Some(written.path("keys.txt")));
    assert_eq!(config.keep_alive_interval, Duration::from_secs(60));
}

#[test]
fn paths_of_the_file_start_at_its_folder_or_at_home() {
    let written = Written::new(
        "[folders]\ncache = \"c\"\ndata = \"~/d\"\n[model]\nname = \"builtin\"\nfolder = \"/m\"\n\
         [daemon]\nsocket = \"off\"\n",
    );
    let config = written.config(&[]);
    assert_eq!((config.cache, config.data), (written.path("c"), PathBuf::from("/h/d")));
    assert_eq!(config.model.as_deref(), Some("builtin"));
    assert_eq!(config.model_dir, Some(PathBuf::from("/m")));
    assert_eq!(config.local_socket, LocalSocket::Off);
    let named = Written::new("[model]\nname = \"mine\"\n");
    assert_eq!(named.config(&[]).model, Some(named.path("mine").to_str().unwrap().to_owned()));
}

#[test]
fn a_named_file_must_be_there_and_be_a_file_and_the_usual_one_need_not() {
    let written = Written::new("");
    let complaint = |name: &str| {
        let path = written.path(name);
        let variables = [("HOME", "/h"), ("KOKORO_CONFIG", path.to_str().unwrap())];
        config(&variables).problems.join("")
    };
    let absent = complaint("absent.toml");
    assert!(absent.contains("absent.toml, which KOKORO_CONFIG names"), "{absent}");
    assert!(complaint("").contains("not a regular file"));
    std::fs::write(written.path("huge.toml"), vec![b'#'; (64 << 10) + 1]).unwrap();
    assert!(complaint("huge.toml").contains("larger than 64 KiB"));
    std::fs::write(written.path("latin1.toml"), b"# a\n# \xe9\n").unwrap();
    assert!(complaint("latin1.toml").contains("line 2 is not UTF-8"));

    let home = written.path("home");
    let usual = || config(&[("HOME", home.to_str().unwrap())]);
    assert!(usual().problems.is_empty() && !usual().file.is_found);
    let folder = usual().file.path.parent().unwrap().to_owned();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(usual().file.path, "[server]\nport = 1234\n").unwrap();
    assert!(usual().file.is_found);
    assert_eq!(usual().server.port, 1234);
}

#[test]
#[cfg(target_os = "linux")]
fn the_usual_file_and_socket_follow_the_conventions() {
    let place = |variables: &[(&str, &str)]| config(variables).file.path;
    assert_eq!(place(&[("HOME", "/h")]), Path::new("/h/.config/koe/config.toml"));
    let xdg = ("XDG_CONFIG_HOME", "/x");
    assert_eq!(place(&[("HOME", "/h"), xdg]), Path::new("/x/koe/config.toml"));
    let relative = ("XDG_CONFIG_HOME", "x");
    assert_eq!(place(&[("HOME", "/h"), relative]), Path::new("/h/.config/koe/config.toml"));
    assert_eq!(place(&[]), Path::new(""), "nobody's file is read where there is no home");

    let socket = |variables: &[(&str, &str)]| config(variables).local_socket;
    let (home, run) = (("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1"));
    assert_eq!(socket(&[home]), LocalSocket::Auto("/h/.cache/koe/koe.sock".into()));
    assert_eq!(socket(&[home, run]), LocalSocket::Auto("/run/user/1/koe.sock".into()));
    assert_eq!(socket(&[run, ("KOKORO_SOCKET", "Off")]), LocalSocket::Off);
    assert_eq!(socket(&[run, ("KOKORO_SOCKET", "/s")]), LocalSocket::At("/s".into()));
}

#[test]
fn unknown_variables_are_a_warning() {
    let names = ["KOKORO_PROT", "KOKORO_XYZZY", "KOKORO_PORT", "KOKORO_CONFIG", "PATH", "KOKORO"];
    let names: Vec<OsString> = names.iter().map(OsString::from).collect();
    let config = Config::read_all(&|_| None, &names);
    assert!(config.problems.is_empty());
    let [close, far] = &*config.warnings else { panic!("{:?}", config.warnings) };
    assert!(close.contains("KOKORO_PROT; did you mean KOKORO_PORT?"), "{close}");
    assert!(far.contains("KOKORO_XYZZY; koe --help lists"), "{far}");
}

#[test]
fn https_needs_both_files_wherever_they_are_named() {
    let written = Written::new("[server]\ntls_cert = \"c.pem\"\n");
    let alone = written.config(&[]).problems.join("");
    assert!(alone.contains("server.tls_cert is set") && alone.contains("koe.toml:2"), "{alone}");
    let config = written.config(&[("KOKORO_TLS_KEY", "/k.pem")]);
    assert!(config.problems.is_empty());
    assert_eq!(config.server.tls, Some((written.path("c.pem"), "/k.pem".into())));
    let key = self::config(&[]).with_flags(&[flag("server.tls_key", "k.pem")]).problems.join("");
    assert!(key.contains("server.tls_key is set (--tls-key) but not server.tls_cert"), "{key}");
}

#[test]
fn secrets_are_in_no_message_and_no_debug_output() {
    let secret = "swordfish";
    let variables = [("KOKORO_API_KEYS", secret), ("HF_TOKEN", secret)];
    let config = config(&variables);
    assert_eq!(config.server.api_keys, Some(Secret(secret.into())));
    assert!(!format!("{config:?}").contains(secret));
    let wrong = problems("[hub]\ntoken = 12345\n[server]\napi_keys = \"swordfish\"\n");
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(!wrong.join("").contains(secret) && !wrong.join("").contains("12345"), "{wrong:?}");
}

#[test]
fn numbers_outside_of_their_range_are_refused_with_the_range() {
    for (variable, text, range) in [
        ("KOKORO_PORT", "65536", "from 0 to 65535"),
        ("KOKORO_KEEP_ALIVE_INTERVAL_SECONDS", "0", "seconds from 1 to 86400"),
        ("KOKORO_STALL_TIMEOUT_SECONDS", "0", "seconds from 1 to 86400"),
        ("KOKORO_MEMORY_THRESHOLD_MB", "0", "MB from 1 to 16000000"),
        ("KOKORO_DAEMON_IDLE_SECONDS", "1e3", "seconds from 1 to 2592000"),
        ("KOKORO_TUNING", "maybe", "true or false"),
        ("KOKORO_ACCELERATOR", "gpu", "coreml-all"),
        ("KOKORO_PRECISION", "f16", "auto, f32 and bf16"),
        ("KOKORO_VOICE", "af_sky+", "a name is missing"),
    ] {
        let problems = config(&[(variable, text)]).problems;
        let [problem] = &*problems else { panic!("{problems:?}") };
        assert!(problem.starts_with(variable) && problem.contains(range), "{problem}");
    }
}
