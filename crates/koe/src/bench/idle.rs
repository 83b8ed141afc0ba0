//! What idleness costs: the first request after the system took the weights' pages away, with
//! keep-alive off and on; and what a tick costs when nothing left.
//!
//! The service runs in this process, because only the process that maps the weights can have the
//! system drop them as it does when memory is short.

use std::path::Path;
use std::time::{Duration, Instant};

use koe_priming::keep_alive;
use koe_priming::memory::Threshold;
use tokio::runtime::{Handle, Runtime};

use super::{Error, Report, Series, Target};
use crate::machine;
use crate::service::{Library, Patience, Plan, Service, Setup};

/// About twenty tokens.
const TEXT: &str = "Good morning to you.";
/// How often a keep-alive that is watched looks.
const INTERVAL: Duration = Duration::from_millis(500);

const WARM: &str = "warm request: first sound";
const COLD: &str = "evicted, keep-alive off: first sound";
const KEPT: &str = "evicted, keep-alive on, after a tick: first sound";
const TICK: &str = "a tick with nothing evicted: processor time";
const SYNTHESIS: &str = "its synthesis alone: processor time";

/// `rounds` of each, then `long` of evictions and ticks in turn.
pub fn run(target: &Target, rounds: usize, long: Duration) -> Result<Report, Error> {
    let mut report = Report::new("idle", target);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    target.settle()?;
    let off = Bed::new(target, &runtime, false)?;
    if off.service.library().model().residency().is_none() {
        return Err("this model's weights are not mapped from a file, so they cannot leave memory; choose another with --model".into());
    }
    let mut warm = Vec::new();
    for _ in 0..rounds {
        off.first_sound()?;
        warm.push(off.first_sound()?);
    }
    let mut cold = Vec::new();
    for _ in 0..rounds {
        off.evict()?;
        cold.push(off.first_sound()?);
    }
    report.push(WARM, "ms", &warm);
    report.push(COLD, "ms", &cold);
    drop(off);

    let on = Bed::new(target, &runtime, true)?;
    let mut kept = Vec::new();
    for _ in 0..rounds {
        on.evict()?;
        on.wait_for_tick()?;
        kept.push(on.first_sound()?);
    }
    report.push(KEPT, "ms", &kept);
    let mut synthesis = Vec::new();
    let mut cpu = Vec::new();
    on.wait_for_tick()?;
    for _ in 0..rounds {
        let before = processor_ms()?;
        on.wait_for_ticks(1)?;
        let after = processor_ms()?;
        cpu.push(after - before);
        synthesis.push(on.tick_synthesis_cpu_ms()?);
    }
    report.push(TICK, "ms", &cpu);
    report.push(SYNTHESIS, "ms", &synthesis);
    let median = |measure| report.median(measure).unwrap_or(f64::NAN);
    let warm = median(WARM);
    let ratios = [("off", median(COLD) / warm), ("on", median(KEPT) / warm)];
    let beyond = median(TICK) - median(SYNTHESIS);
    for (keep_alive, ratio) in ratios {
        report.push(format!("keep-alive {keep_alive} over warm"), "x", &[ratio]);
    }
    report.push("a tick beyond its synthesis: processor time", "ms", &[beyond]);

    let begun = Instant::now();
    let (mut points, mut resident) = (Vec::new(), Vec::new());
    while begun.elapsed() < long {
        on.evict()?;
        on.wait_for_tick()?;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        points.push((minutes, on.first_sound()?));
        let memory = machine::process_memory(Path::new("/"));
        resident.push((minutes, memory.map_or(0.0, |memory| memory.resident_bytes as f64 / 1e6)));
    }
    if !points.is_empty() {
        let all: Vec<f64> = points.iter().map(|(_, ms)| *ms).collect();
        report.push("long run: first sound", "ms", &all);
        report.series.push(Series { name: "minutes, first sound ms".to_owned(), points });
        report.series.push(Series { name: "minutes, resident MB".to_owned(), points: resident });
    }
    Ok(report)
}

fn processor_ms() -> Result<f64, Error> {
    let time = machine::processor_time();
    let time = time.ok_or("processor time cannot be asked for on this system")?;
    Ok(time.as_secs_f64() * 1e3)
}

/// A service in this process.
struct Bed {
    service: Service,
    runtime: Handle,
}

impl Bed {
    fn new(target: &Target, runtime: &Runtime, keep_alive: bool) -> Result<Self, Error> {
        let library = Library::open(&target.config, target.config.model.clone(), None)?;
        let setup = Setup {
            lanes: 1,
            threads: target.threads(),
            isa: target.isa(),
            max_jobs: 4,
            patience: Patience { queue: Duration::from_secs(60), stall: Duration::from_secs(60) },
            started: Instant::now(),
        };
        let plan = Plan {
            keep_alive: keep_alive::Settings {
                enabled: keep_alive,
                interval: INTERVAL,
                idle_threshold: Duration::ZERO,
            },
            threshold: Threshold::new(None, machine::usable_memory_bytes(Path::new("/"))),
            extended: false,
            tuning: None,
            choose_threads: false,
            lock_weights: false,
        };
        let service = Service::new(library, setup, plan, runtime.handle().clone());
        runtime.block_on(service.prime());
        Ok(Self { service, runtime: runtime.handle().clone() })
    }

    /// Milliseconds to the first sound of a request.
    fn first_sound(&self) -> Result<f64, Error> {
        let first = self.runtime.block_on(self.service.say(TEXT))?;
        Ok(first.as_secs_f64() * 1e3)
    }

    /// Has the system drop the weights, and makes sure that it did.
    fn evict(&self) -> Result<(), Error> {
        match super::evict(self.service.library().model()) {
            true => Ok(()),
            false => {
                Err("the system kept the weights in memory; does another process use them?".into())
            }
        }
    }

    /// Waits for the end of a tick that began after this call.
    fn wait_for_tick(&self) -> Result<(), Error> {
        // One that runs now may have begun before.
        self.wait_for_ticks(2)
    }

    fn wait_for_ticks(&self, n: u64) -> Result<(), Error> {
        let keep_alive = self.service.priming().keep_alive().ok_or("there is no keep-alive")?;
        let wanted = keep_alive.stats().ticks + n;
        while keep_alive.stats().ticks < wanted {
            if keep_alive.stats().failures > 0 {
                return Err(keep_alive.stats().last_error.unwrap_or_default().into());
            }
            // Seldom: to look costs processor time too.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The processor time of what a tick synthesises, made here.
    fn tick_synthesis_cpu_ms(&self) -> Result<f64, Error> {
        // After a rest as a tick has it before it: right after another its caches would be warm.
        std::thread::park_timeout(INTERVAL / 2);
        let before = processor_ms()?;
        self.service.tick_synthesis()?;
        let after = processor_ms()?;
        Ok(after - before)
    }
}
