//! `koe doctor`: what koe finds on this machine, what is missing and how to get it. Everything is
//! tried, not assumed: the built-in voice speaks, the cache is written to.

use std::path::Path;
use std::time::Instant;

use koe_engine::{Cancel, Isa, MAX_THREADS, Model, Request, Session};
use serde::Serialize;

use super::{DoctorArgs, Exit, Failure, output, player};
use crate::choice::{self, HOW_TO_GET_KOKORO};
use crate::config::Config;
use crate::machine;

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// koe works, but could do more.
    Missing,
    /// koe does not work as it should.
    Broken,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), fix: None }
    }
    fn not(self, state: State, fix: impl Into<String>) -> Self {
        Self { state, fix: Some(fix.into()), ..self }
    }
}

pub(super) fn run(args: &DoctorArgs, config: &Config) -> Result<(), Failure> {
    let root = Path::new("/");
    let isa = config.isa.unwrap_or_else(Isa::detect);
    let threads = config.threads.map_or_else(machine::threads, usize::from);
    let kokoro = choice::installed(config);
    let mut checks = vec![
        Check::ok("koe", env!("CARGO_PKG_VERSION")),
        environment(config),
        Check::ok("processor", machine::processor(root).unwrap_or_else(|| "not told".into())),
        instructions(isa),
        thread_count(threads),
        memory(root),
        cache(&config.cache),
        model("built-in voice", Model::builtin_in(choice::precision(config)), isa, threads),
    ];
    checks.push(match &kokoro {
        Err(error) => Check::ok("Kokoro-82M", error.to_string())
            .not(State::Broken, "correct or unset KOKORO_MODEL_DIR"),
        Ok(None) => Check::ok("Kokoro-82M", "not installed").not(State::Missing, HOW_TO_GET_KOKORO),
        Ok(Some(folder)) => {
            let mut check = model(
                "Kokoro-82M",
                Model::open_in(choice::precision(config), folder, &config.cache),
                isa,
                threads,
            );
            check.found.push_str(&format!(" ({})", folder.display()));
            check
        }
    });
    checks.push(match player::found(&config.path) {
        Some((name, path)) => Check::ok("player", format!("{name} ({})", path.display())),
        None => Check::ok("player", "none").not(
            State::Missing,
            "install pulseaudio-utils, pipewire, alsa-utils, ffmpeg or sox; -o FILE works without",
        ),
    });

    output::print(&if args.json { json(&checks)? } else { table(&checks) })?;
    match checks.iter().any(|check| check.state == State::Broken) {
        true => Err(Failure { exit: Exit::Failed, message: None }),
        false => Ok(()),
    }
}

fn environment(config: &Config) -> Check {
    match config.problems.is_empty() {
        true => Check::ok("environment", "understood"),
        false => Check::ok("environment", config.problems.join("; "))
            .not(State::Broken, "correct or unset the variables"),
    }
}

fn instructions(isa: Isa) -> Check {
    let all: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    let check = Check::ok("kernels", format!("{} (of {})", isa.name(), all.join(", ")));
    match isa == Isa::detect() {
        true => check,
        false => check.not(State::Missing, "slower than this CPU allows; unset KOKORO_ISA"),
    }
}

fn thread_count(threads: usize) -> Check {
    let check = Check::ok("threads", threads.to_string());
    match threads > MAX_THREADS {
        true => check.not(
            State::Missing,
            format!("one text is spoken with {MAX_THREADS} at most; koe serve can use more"),
        ),
        false => check,
    }
}

fn memory(root: &Path) -> Check {
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let all = machine::memory_bytes(root);
    let limit = machine::memory_limit_bytes(root);
    let found = match (all, limit) {
        (Some(all), Some(limit)) => format!("{}, limited to {} by cgroup", gib(all), gib(limit)),
        (Some(all), None) => format!("{}, no cgroup limit", gib(all)),
        (None, _) => "not told".into(),
    };
    let check = Check::ok("memory", found);
    // Kokoro's packed weights, and the scratch of one session.
    match all.into_iter().chain(limit).min().is_some_and(|bytes| bytes < 1 << 30) {
        true => check.not(State::Missing, "less than 1 GiB: Kokoro-82M may not fit"),
        false => check,
    }
}

fn cache(folder: &Path) -> Check {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop));
    let name = folder.display().to_string();
    match written {
        Ok(()) => {
            let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let bytes: u64 =
                files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum();
            Check::ok("cache", format!("{name}, {:.1} MiB", bytes as f64 / f64::from(1 << 20)))
        }
        Err(error) => Check::ok("cache", format!("{name}: {error}"))
            .not(State::Missing, "every start packs the weights again; set KOKORO_CACHE_DIR"),
    }
}

/// Opens a model and has it speak.
fn model(
    name: &'static str,
    model: Result<Model, koe_engine::Error>,
    isa: Isa,
    threads: usize,
) -> Check {
    let reinstall = "its files may be damaged; get them again with: koe pull";
    let broken = |error: koe_engine::Error| {
        Check::ok(name, super::failure::chain(&error)).not(State::Broken, reinstall)
    };
    let model = match model {
        Ok(model) => model,
        Err(error) => return broken(error),
    };
    let Some(voice) = model.voices().into_iter().next() else {
        return Check::ok(name, "has no voices").not(State::Broken, reinstall);
    };
    let mut session = Session::with_isa(&model, threads, isa);
    let (tokens, _) = model.tokens("həlˈO, wˈɜɹld.");
    let mut spoken = || {
        let voice = model.voice(&voice)?;
        let style = voice.style(tokens.len());
        let request = Request { tokens: &tokens, style, speed: 1.0, seed: 0 };
        // The first run allocates; the second is what a user meets.
        session.synthesize(&request, &Cancel::new())?;
        let begun = Instant::now();
        let n_samples = session.synthesize(&request, &Cancel::new())?.samples.len();
        Ok((begun.elapsed(), n_samples))
    };
    let (took, n_samples) = match spoken() {
        Ok(spoken) => spoken,
        Err(error) => return broken(error),
    };
    let sound = koe_audio::seconds(n_samples as u64);
    let (warnings, kept) = (model.warnings(), model.kept());
    let (bytes, mapped) = model.packed_bytes();
    let mut check = Check::ok(
        name,
        format!(
            "speaks {:.2} s in {:.0} ms ({:.1} times real time) in {}, weights {:.0} MiB {}",
            sound,
            took.as_secs_f64() * 1e3,
            sound / took.as_secs_f64(),
            session.model().precision().name(),
            bytes as f64 / f64::from(1 << 20),
            if mapped { "mapped" } else { "in memory" },
        ),
    );
    let warnings: Vec<_> = warnings.iter().map(String::as_str).chain(kept.err()).collect();
    if !warnings.is_empty() {
        check = check.not(State::Missing, warnings.join("; "));
    }
    check
}

fn json(checks: &[Check]) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&serde_json::json!({ "checks": checks }));
    Ok(text.map_err(|error| Failure::failed(error.to_string()))? + "\n")
}

fn table(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = match check.state {
            State::Ok => "ok",
            State::Missing => "--",
            State::Broken => "!!",
        };
        text.push_str(&format!("{mark}  {:15} {}\n", check.name, check.found));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("    {:15} -> {fix}\n", ""));
        }
    }
    text
}
