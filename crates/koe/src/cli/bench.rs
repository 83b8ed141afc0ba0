//! `koe bench`: runs a measurement, prints its table, keeps it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use koe_engine::{Isa, rates};

use super::interrupt::Interrupt;
use super::{Failure, output};
use crate::bench::{self, Report, Target};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
    /// kokoro-82m, builtin, or a folder with a Kokoro checkpoint
    #[arg(short, long, global = true, value_hint = ValueHint::DirPath)]
    model: Option<String>,
    /// Keep the measurement as JSON
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
    /// Show it beside one that was kept
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    compare: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// From the start of the process to ready and to the first byte; warm, cold, without a pack
    Startup {
        /// Starts under each condition
        #[arg(long, default_value = "7")]
        rounds: Rounds,
    },
    /// Time to the first sound: by length of text, by how it begins, by listeners at once; being refused, hanging up
    FirstAudio {
        /// Requests of each kind
        #[arg(long, default_value = "20")]
        rounds: Rounds,
    },
    /// The first request after the weights left memory, with keep-alive off and on
    Idle {
        /// Requests of each kind
        #[arg(long, default_value = "10")]
        rounds: Rounds,
        /// And then so many minutes of evictions and ticks in turn
        #[arg(long, default_value_t = 0)]
        minutes: u32,
    },
    /// Memory over many mixed requests
    Memory {
        /// How many
        #[arg(long, default_value_t = 5000)]
        requests: usize,
    },
    /// Requests and seconds of sound a second
    Throughput {
        /// Rounds for each number of listeners
        #[arg(long, default_value = "5")]
        rounds: Rounds,
    },
    /// Each kernel by itself, on one thread, at the shapes of the network
    Kernels {
        /// Only those whose names contain this, such as "winograd" or "bf16 residual 128"
        filter: Option<String>,
        /// Every instruction set of this CPU, not only the one in use
        #[arg(long)]
        all: bool,
    },
    /// Where the time of one synthesis goes, layer by layer
    Model {
        /// The length of the text
        #[arg(long, default_value_t = 100)]
        tokens: usize,
        /// Syntheses, of which the fastest is shown
        #[arg(long, default_value = "5")]
        rounds: Rounds,
        /// Each layer by itself, also those that differ only in their number
        #[arg(long)]
        all: bool,
    },
}

/// At least one.
type Rounds = std::num::NonZeroUsize;

pub(super) fn run(args: &BenchArgs, config: &Config) -> Result<(), Failure> {
    let failed = |error: bench::Error| Failure::failed(error.to_string());
    let mut config = config.clone();
    config.model = args.model.clone().or(config.model);
    let has_record = !matches!(args.what, What::Kernels { .. } | What::Model { .. });
    if !has_record && (args.json.is_some() || args.compare.is_some()) {
        return Err(Failure::usage("--json and --compare are not for kernels and model"));
    }
    // A comparison that cannot be made is told before the work.
    let earlier = args.compare.as_deref().map(read).transpose()?;
    let target = Target::new(&config).map_err(failed)?;
    Interrupt::install()?.exit_on_signal(bench::clean_up);
    let report = match &args.what {
        What::Startup { rounds } => bench::startup::run(&target, rounds.get()),
        What::FirstAudio { rounds } => bench::first_audio::run(&target, rounds.get()),
        What::Idle { rounds, minutes } => {
            let long = Duration::from_secs(60 * u64::from(*minutes));
            bench::idle::run(&target, rounds.get(), long)
        }
        What::Memory { requests } => bench::memory::run(&target, *requests),
        What::Throughput { rounds } => bench::throughput::run(&target, rounds.get()),
        What::Kernels { filter, all } => {
            let (one, filter) = ([target.isa()], filter.as_deref().unwrap_or_default());
            return (if *all { Isa::available() } else { &one }).iter().try_for_each(|&isa| {
                rates::measure(isa, filter, |line| output::print(&format!("{line}\n")))
            });
        }
        What::Model { tokens, rounds, all } => {
            let table = bench::model::run(&target, *tokens, rounds.get(), *all).map_err(failed)?;
            return output::print(&table);
        }
    };
    let report = report.map_err(failed)?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report);
        let json = json.map_err(|error| Failure::failed(error.to_string()))? + "\n";
        std::fs::write(path, json).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    output::print(&report.table(earlier.as_ref()))
}

fn read(path: &Path) -> Result<Report, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} is no measurement of koe bench: {error}", path.display()))
    })
}
