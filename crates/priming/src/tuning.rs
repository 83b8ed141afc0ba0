//! What was measured of this machine once and is remembered: how many threads are best, and how
//! long a second of sound takes.
//!
//! One small JSON file in the cache folder. Every entry says on which machine and with which model
//! it was measured; one of another machine (a cache on a network drive, a copied home) is noticed
//! and not used. The file is only ever replaced whole; a broken one counts as none.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What decides how fast a model computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name.
    pub processor: String,
    /// Threads that may run at once.
    pub threads: usize,
    /// Instructions computed with.
    pub isa: String,
    /// The version of the program.
    pub version: String,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Threads of one synthesis with which it was fastest; none where that was not tried yet.
    pub threads: Option<usize>,
    /// How long a second of sound takes.
    pub real_time_factor: f64,
}

/// What the memory has on a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recalled {
    /// It was measured on this machine.
    Known(Measured),
    /// It was measured on another one.
    Stale,
    /// Nothing.
    Unknown,
}

/// The file that remembers.
#[derive(Clone, Debug)]
pub struct Tuning {
    path: PathBuf,
    machine: Machine,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    model: String,
    machine: Machine,
    measured: Measured,
}

/// More models than anybody has; the oldest go.
const MAX_ENTRIES: usize = 32;
const MAX_BYTES: u64 = 1 << 20;

impl Tuning {
    /// The memory in the cache folder, for this machine.
    pub fn new(cache: &Path, machine: Machine) -> Self {
        Self { path: cache.join("tuning.json"), machine }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was measured of a model. `model` names it and its precision.
    pub fn recall(&self, model: &str) -> Recalled {
        let file = self.read();
        let mut entries = file.entries.iter().filter(|entry| entry.model == model).peekable();
        if entries.peek().is_none() {
            return Recalled::Unknown;
        }
        match entries.find(|entry| entry.machine == self.machine && entry.measured.is_sane()) {
            Some(entry) => Recalled::Known(entry.measured),
            None => Recalled::Stale,
        }
    }

    /// Remembers. Fails where the cache cannot be written, which costs the next start a measurement.
    pub fn remember(&self, model: &str, measured: Measured) -> io::Result<()> {
        let mut file = self.read();
        file.entries.retain(|entry| entry.model != model || entry.machine != self.machine);
        if file.entries.len() >= MAX_ENTRIES {
            file.entries.remove(0);
        }
        let machine = self.machine.clone();
        file.entries.push(Entry { model: model.to_owned(), machine, measured });
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(&serde_json::to_vec_pretty(&file)?)?;
        temporary.persist(&self.path)?;
        Ok(())
    }

    fn read(&self) -> File {
        let is_file = self.path.metadata().is_ok_and(|meta| meta.is_file());
        let mut text = Vec::new();
        let read = is_file
            .then(|| std::fs::File::open(&self.path).ok())
            .flatten()
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text).ok());
        read.and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }
}

impl Measured {
    /// What a measurement can be; a file that somebody edited may say anything.
    fn is_sane(&self) -> bool {
        self.threads != Some(0) && self.real_time_factor.is_finite() && self.real_time_factor > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(processor: &str) -> Machine {
        Machine {
            processor: processor.to_owned(),
            threads: 2,
            isa: "avx512".to_owned(),
            version: "1".to_owned(),
        }
    }

    const MEASURED: Measured = Measured { threads: Some(2), real_time_factor: 0.3 };

    #[test]
    fn what_was_measured_is_known_on_this_machine_and_stale_on_another() {
        let cache = tempfile::tempdir().unwrap();
        let here = Tuning::new(cache.path(), machine("A"));
        assert_eq!(here.recall("82m-f32"), Recalled::Unknown);
        here.remember("82m-f32", MEASURED).unwrap();
        assert_eq!(here.recall("82m-f32"), Recalled::Known(MEASURED));
        let there = Tuning::new(cache.path(), machine("B"));
        assert_eq!(there.recall("82m-f32"), Recalled::Stale);
        // Both machines may share a folder.
        there.remember("82m-f32", Measured { threads: None, ..MEASURED }).unwrap();
        assert_eq!(here.recall("82m-f32"), Recalled::Known(MEASURED));
    }

    #[test]
    fn a_broken_memory_counts_as_none_and_is_mended() {
        let cache = tempfile::tempdir().unwrap();
        let tuning = Tuning::new(cache.path(), machine("A"));
        for broken in ["", "{", "[]", "{\"entries\": 3}", "\u{0}\u{1}"] {
            std::fs::write(tuning.path(), broken).unwrap();
            assert_eq!(tuning.recall("m"), Recalled::Unknown, "{broken:?}");
        }
        tuning.remember("m", MEASURED).unwrap();
        assert_eq!(tuning.recall("m"), Recalled::Known(MEASURED));
        tuning.remember("n", Measured { real_time_factor: -1.0, ..MEASURED }).unwrap();
        assert_eq!(tuning.recall("n"), Recalled::Stale);
    }

    #[test]
    fn the_memory_is_bounded() {
        let cache = tempfile::tempdir().unwrap();
        let tuning = Tuning::new(cache.path(), machine("A"));
        for i in 0..100 {
            tuning.remember(&i.to_string(), MEASURED).unwrap();
        }
        assert_eq!(tuning.read().entries.len(), MAX_ENTRIES);
        assert_eq!(tuning.recall("99"), Recalled::Known(MEASURED));
    }
}
