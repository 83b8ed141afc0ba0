//! What keeps the service ready and bounded, as Prometheus metrics: taken from where it is counted,
//! whenever somebody asks.

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::Service;

impl Service {
    /// All metrics in the text format of OpenMetrics.
    pub fn expose(&self) -> String {
        let memory = crate::machine::process_memory(std::path::Path::new("/"));
        let resident = memory.map(|memory| memory.resident_bytes);
        let mut out = self.readings().expose(self.lanes().waiting(), resident);
        // Both parts are one exposition.
        let end = out.trim_end().strip_suffix("# EOF").map_or(out.len(), str::len);
        out.truncate(end);
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.priming_registry());
        out
    }

    fn priming_registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("koe");
        let priming = self.priming();
        let counter = |registry: &mut Registry, name: &str, help: &str, value: u64| {
            registry.register(name, help, ConstCounter::new(value));
        };
        let warmups = priming.coordinator().stats();
        let runs = warmups.records.iter().map(|record| record.runs).sum();
        counter(&mut registry, "warmup_runs", "Warm-ups that were run", runs);
        counter(
            &mut registry,
            "warmup_spared",
            "Warm-ups that another asker's run spared",
            warmups.spared(),
        );
        let failures = warmups.records.iter().map(|record| record.failures).sum();
        counter(&mut registry, "warmup_failures", "Warm-ups that failed", failures);
        if let Some(keep_alive) = priming.keep_alive() {
            let stats = keep_alive.stats();
            counter(&mut registry, "keep_alive_ticks", "Ticks that ended", stats.ticks);
            counter(
                &mut registry,
                "keep_alive_interrupted",
                "Ticks that a request ended",
                stats.interrupted,
            );
            counter(&mut registry, "keep_alive_failures", "Ticks that failed", stats.failures);
            registry.register_with_unit(
                "keep_alive_brought_back",
                "Weights that had left memory and were brought back",
                Unit::Bytes,
                ConstCounter::new(stats.brought_back_bytes),
            );
            let primed_age = stats.last_ago.unwrap_or(self.started().elapsed()).min(stats.idle_for);
            registry.register_with_unit(
                "primed_age",
                "Since the engine last computed anything",
                Unit::Seconds,
                ConstGauge::new(primed_age.as_secs_f64()),
            );
        }
        let memory = priming.guard().stats();
        counter(&mut registry, "memory_checks", "Looks at the memory", memory.checks);
        counter(
            &mut registry,
            "memory_cleanups",
            "Times that caches were dropped",
            memory.cleanups,
        );
        registry.register_with_unit(
            "memory_returned",
            "Memory that clean-ups gave back",
            Unit::Bytes,
            ConstCounter::new(memory.returned_bytes),
        );
        if let Some((resident, all)) = self.library().model().residency() {
            let share = resident as f64 / all.max(1) as f64;
            let help = "How much of the mapped weights is in memory";
            registry.register_with_unit(
                "weights_resident",
                help,
                Unit::Ratios,
                ConstGauge::new(share),
            );
        }
        registry
    }
}
