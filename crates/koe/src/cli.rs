//! The command line as typed, and which file does the work of each command.
//!
//! Nothing is done here: arguments are read, the environment is joined to them, and one of the
//! files below is called. Whatever fails comes back as a [`Failure`], printed in one line, with
//! the exit code that its kind has.

mod bench;
mod config;
#[cfg(unix)]
mod daemon;
mod doctor;
mod failure;
mod flags;
mod interrupt;
mod models;
mod narrator;
mod output;
mod phonemize;
mod player;
mod progress;
mod pull;
mod say;
mod serve;
mod source;
mod systemd;
mod voices;

use std::ffi::OsString;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use koe_engine::MAX_THREADS;
use koe_text::Dialect;

use crate::config::{Config, FILE_VARIABLE, SETTINGS};
use crate::pipeline::SPEEDS;
pub use failure::{Exit, Failure};

/// Speak English text with Kokoro-82M
#[derive(Debug, Parser)]
#[command(name = "koe", disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = TOP_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve speech over HTTP, as OpenAI and Kokoro-FastAPI do
    #[command(after_long_help = SERVE_HELP)]
    Serve(serve::ServeArgs),
    /// Keep the model ready for koe say, until nobody needs it for a while
    #[cfg(unix)]
    #[command(after_long_help = DAEMON_HELP)]
    Daemon(daemon::DaemonArgs),
    /// Speak text to the loudspeaker, a file or a pipe
    #[command(after_long_help = SAY_HELP)]
    Say(SayArgs),
    /// List the voices, and which of them are here
    Voices(VoicesArgs),
    /// Show how a text would be pronounced
    #[command(after_long_help = PHONEMIZE_HELP)]
    Phonemize(PhonemizeArgs),
    /// Check that all is well on this machine
    Doctor(DoctorArgs),
    /// Measure what this machine makes of koe
    Bench(bench::BenchArgs),
    /// Download Kokoro-82M, or go on where the last try ended
    #[command(after_long_help = PULL_HELP)]
    Pull(PullArgs),
    /// List the models, and where they are
    Models(ModelsArgs),
    /// Show the settings and where they come from
    #[command(after_long_help = CONFIG_HELP)]
    Config(config::ConfigArgs),
    /// Print what makes a shell complete koe's arguments
    #[command(after_long_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
}

/// Where text comes from; shared by the commands that read it.
#[derive(Debug, Args)]
struct TextArgs {
    /// The text; without it and without -f, standard input is read
    text: Vec<String>,
    /// Read the text from a file, `-` for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "text", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Speak every line by itself, as soon as it arrives
    #[arg(long)]
    lines: bool,
    /// American (a, en-us) or British (b, en-gb) English; the voice decides otherwise
    #[arg(short, long, value_name = "LANG")]
    lang: Option<Lang>,
    /// Your own pronunciations: a file of lines of WORD, a tab, PHONEMES
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    lexicon: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SayArgs {
    #[command(flatten)]
    text: TextArgs,
    /// Write to a file (.wav, .mp3, .opus, .ogg, .aac, .flac, .pcm or .raw), or to standard output
    /// with `-`; default is to play
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// The format, where the file's name does not tell [wav, mp3, opus, aac, flac, pcm];
    /// standard output has pcm
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<koe_audio::Format>,
    /// A voice, or a mix as af_bella(2)+af_sky(1); see `koe voices`
    #[arg(short, long)]
    voice: Option<String>,
    /// The pace: 0.25 to 4 times the voice's own
    #[arg(short, long, default_value = "1", value_parser = speed, allow_negative_numbers = true)]
    speed: f32,
    /// The text is phonemes, as `koe phonemize` prints them
    #[arg(long)]
    phonemes: bool,
    /// Write the times of the words to a .json, .srt or .vtt file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    timings: Option<PathBuf>,
    /// kokoro-82m, builtin, or a folder with a Kokoro checkpoint
    #[arg(short, long, value_hint = ValueHint::DirPath)]
    model: Option<String>,
    /// Chooses the noise in the voice: the same seed gives the same file
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// How many threads compute, up to 64 [default: as many as the machine runs at once]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<NonZeroUsize>,
    /// Say nothing on standard error unless it fails
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct VoicesArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// kokoro-82m, builtin, or a folder with a Kokoro checkpoint
    #[arg(short, long, value_hint = ValueHint::DirPath)]
    model: Option<String>,
}

#[derive(Debug, Args)]
struct PhonemizeArgs {
    #[command(flatten)]
    text: TextArgs,
    /// As JSON, with the words, where they stand in the text, and remarks
    #[arg(long)]
    json: bool,
    /// List the phonemes that Kokoro knows, and do nothing else
    #[arg(long, conflicts_with_all = ["text", "file", "json"])]
    alphabet: bool,
}

#[derive(Debug, Args)]
struct PullArgs {
    /// The model to get
    #[arg(default_value = "kokoro-82m")]
    model: String,
    /// Take it from a folder with the published files, or from a bundle of `koe models --export`
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    from: Option<PathBuf>,
    /// Only these voices, as af_heart,bf_emma; the others can be got later
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    voices: Vec<String>,
    /// Read again what is here, and replace what is damaged
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, Args)]
struct ModelsArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Read every file again to see whether it is what was published
    #[arg(long)]
    verify: bool,
    /// Write Kokoro-82M as one file, to carry to a machine without a network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "verify"], value_hint = ValueHint::FilePath)]
    export: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Which English, as people name it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Lang {
    /// American English
    #[value(name = "a", aliases = ["en-us", "en", "en_US", "american"])]
    American,
    /// British English
    #[value(name = "b", aliases = ["en-gb", "en_GB", "british"])]
    British,
}

impl From<Lang> for Dialect {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::American => Self::American,
            Lang::British => Self::British,
        }
    }
}

fn speed(text: &str) -> Result<f32, String> {
    let speed: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    match SPEEDS.contains(&speed) {
        true => Ok(speed),
        false => Err("must be from 0.25 to 4".to_owned()),
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("must be a whole number from 0 to {}", u64::MAX))
}

/// How many threads speak one text: as asked, else as many as the machine runs at once.
fn threads(asked: Option<NonZeroUsize>, config: &Config) -> Result<usize, Failure> {
    let Some(asked) = asked.or(config.threads) else {
        return Ok(crate::machine::threads().min(MAX_THREADS));
    };
    match asked.get() {
        found @ 1..=MAX_THREADS => Ok(found),
        found => Err(Failure::usage(format!(
            "{found} threads: one text can be spoken with {MAX_THREADS} at most"
        ))),
    }
}

fn format(name: &str) -> Result<koe_audio::Format, String> {
    koe_audio::Format::named(name).ok_or_else(|| {
        let names: Vec<_> = koe_audio::Format::ALL.iter().map(|format| format.name()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

const TOP_HELP: &str = "\
Examples:
  koe say \"Good morning.\"                  speak now
  koe say -f book.txt -o book.wav          make a file
  echo \"It is ready.\" | koe say            speak what comes through a pipe
  koe voices                               what voices there are
  koe pull                                 get Kokoro-82M, once

Each command has more: koe say --help";

const SAY_HELP: &str = "\
Examples:
  koe say \"Good morning.\"
  koe say -v bm_george -s 1.2 \"Mind the gap.\"
  koe say -v \"af_bella(2)+af_sky(1)\" \"Two parts Bella, one part Sky.\"
  koe say -f book.txt -o book.mp3 --timings book.srt
  koe say -o - \"To a pipe.\" | aplay -f S16_LE -r 24000 -c 1
  tail -f notes.log | koe say --lines
  koe say \"Wait. [pause:1.5s] Now. Say [tomato](/təmˈɑːtQ/).\"
  koe phonemize \"Hello.\" | koe say --phonemes

Standard output carries raw signed 16-bit little-endian samples, mono, 24,000 a second,
unless --format says otherwise. A file appears under its name only when it is complete.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 model or voice not installed, 130 interrupted.";

const SERVE_HELP: &str = "\
Examples:
  koe serve                                 then open http://127.0.0.1:8880
  koe serve --host 0.0.0.0 --api-key-file keys.txt
  curl http://127.0.0.1:8880/v1/audio/speech -H 'Content-Type: application/json' \\
       -d '{\"input\": \"Good morning.\", \"voice\": \"alloy\"}' -o morning.mp3

Clients of OpenAI's speech endpoint use it with the base URL http://127.0.0.1:8880/v1.
The page at / shows what the server does; /docs lists all that it answers.";

#[cfg(unix)]
const DAEMON_HELP: &str = "\
Examples:
  koe daemon                                start it; koe say then starts to sound sooner
  koe say \"Good morning.\"                   made by it, with the same bytes as without
  koe daemon --stop

It serves this user alone, through a socket in the file system, with the model that koe say would
choose; KOKORO_MODEL chooses another. A running koe serve does the same. It stops by itself after
KOKORO_DAEMON_IDLE_SECONDS (600) without a text.";

const PHONEMIZE_HELP: &str = "\
Examples:
  koe phonemize \"I read it, you read it.\"
  koe phonemize --json -f chapter.txt
  koe phonemize --lang b \"tomato\"

Every line printed is what the model is given at once, but for the first, which is cut shorter.";

const PULL_HELP: &str = "\
Examples:
  koe pull                                 all of it, 355 MB
  koe pull --voices af_heart,bf_emma       the model and two of its voices
  HF_ENDPOINT=https://mirror.example koe pull
  koe models --export kokoro.tar           here, and on a machine without a network:
  koe pull --from kokoro.tar

It can be stopped and called again: what has arrived is kept. Every file is checked against the
checksum that it was published with.";

const CONFIG_HELP: &str = "\
Examples:
  koe config show --origin                 what is set, and who says so
  koe config show --port 9000              with a flag of koe serve
  koe config show > koe.toml               a file to change, and to name in KOKORO_CONFIG
  koe config path                          where the file is looked for

Flags win over the environment, the environment over the file. Secrets are not shown.";

const COMPLETIONS_HELP: &str = "\
Examples:
  bash:  koe completions bash > ~/.local/share/bash-completion/completions/koe
  zsh:   koe completions zsh > \"${fpath[1]}/_koe\"
  fish:  koe completions fish > ~/.config/fish/completions/koe.fish";

/// When the program began to run.
fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}

/// Runs koe with these arguments, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    started();
    let config = Config::from_env();
    let cli = match command(&config).try_get_matches_from(arguments) {
        Ok(matches) => <Cli as clap::FromArgMatches>::from_arg_matches(&matches),
        Err(error) => Err(error),
    };
    let outcome = match cli {
        Ok(cli) => dispatch(cli.command, &config),
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            return match output::stdout_result(printed) {
                // Help into a pipe that closed early is no failure.
                Err(Failure { message: Some(message), exit }) if code == Exit::Done => {
                    tell(format_args!("koe: {message}"));
                    exit.into()
                }
                _ => code.into(),
            };
        }
    };
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if let Some(message) = failure.message {
                tell(format_args!("koe: {message}"));
            }
            failure.exit.into()
        }
    }
}

/// A line for people, on standard error. That nobody reads it is no reason to fail.
fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The parser, with what is known only at run time.
fn command(config: &Config) -> clap::Command {
    let isa = config.isa.unwrap_or_else(koe_engine::Isa::detect);
    let version =
        format!("{} ({}-{})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, isa.name());
    let help = format!("{TOP_HELP}\n\n{}", variables());
    Cli::command().version(version).after_long_help(help)
}

/// The variables, for the help text.
fn variables() -> String {
    let file = (FILE_VARIABLE, "The configuration file, if not in the usual place");
    let settings = SETTINGS.iter().map(|setting| (setting.variable, setting.doc));
    let lines = std::iter::once(file).chain(settings);
    let lines: String = lines.map(|(name, doc)| format!("  {name}\n      {doc}\n")).collect();
    format!("Environment:\n{lines}")
}

/// A configuration that can be worked with, or all that is wrong with it.
fn checked(config: &Config) -> Result<&Config, Failure> {
    match &*config.problems {
        [] => Ok(config),
        [problem] => Err(Failure::usage(problem)),
        problems => Err(Failure::usage(format!(
            "{} mistakes in the configuration:\n  {}",
            problems.len(),
            problems.join("\n  ")
        ))),
    }
}

fn dispatch(command: Command, config: &Config) -> Result<(), Failure> {
    // `doctor` shows what is wrong with the environment, and completions do not care.
    let checked = || checked(config);
    // The server writes them to its log.
    let is_silent = match &command {
        Command::Say(args) => args.quiet,
        Command::Serve(_) | Command::Completions { .. } => true,
        _ => false,
    };
    for warning in config.warnings.iter().filter(|_| !is_silent) {
        tell(format_args!("koe: {warning}"));
    }
    match command {
        Command::Say(args) => say::run(args, checked()?),
        Command::Serve(args) => {
            let config = config.with_flags(&args.flags.0);
            self::checked(&config)?;
            serve::run(args, &config)
        }
        #[cfg(unix)]
        Command::Daemon(args) => daemon::run(&args, checked()?),
        Command::Voices(args) => voices::run(&args, checked()?),
        Command::Phonemize(args) => phonemize::run(args),
        Command::Doctor(args) => doctor::run(&args, config),
        Command::Bench(args) => bench::run(&args, checked()?),
        Command::Pull(args) => pull::run(&args, checked()?),
        Command::Models(args) => models::run(&args, checked()?),
        Command::Config(args) => config::run(&args, config),
        Command::Completions { shell } => completions(shell, config),
    }
}

fn completions(shell: clap_complete::Shell, config: &Config) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(config), "koe", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command(&Config::read(&|_| None)).debug_assert();
    }

    #[test]
    fn speeds_outside_the_range_are_refused() {
        assert_eq!((speed("0.25"), speed("4")), (Ok(0.25), Ok(4.0)));
        for wrong in ["0.24", "4.01", "nan", "inf", "-1", "fast", ""] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }
}
