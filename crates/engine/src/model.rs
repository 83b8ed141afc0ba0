//! [`Model`]: the weights of one checkpoint with its vocabulary and voices.
//!
//! Comes from the checkpoint that is compiled in, or from a folder; the folder's weights are packed
//! once into a file in the cache and mapped from there. Never written after it was made.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, open_regular};
use crate::native::Network;
use crate::pack::{Fingerprint, Key, Opened, Pack, PackWriter};
use crate::weights::{Loader, layout};
use crate::{Config, Error, Isa, Precision, Voice};

/// The checkpoint that is compiled in; see its model card.
mod builtin {
    pub(super) const CONFIG: &[u8] = include_bytes!("../assets/builtin/config.json");
    pub(super) const WEIGHTS: &[u8] = include_bytes!("../assets/builtin/model.safetensors");
    pub(super) const VOICES: [(&str, &[u8]); 2] = [
        ("af_slt", include_bytes!("../assets/builtin/voices/af_slt.bin")),
        ("am_rms", include_bytes!("../assets/builtin/voices/am_rms.bin")),
    ];
}

/// The weights of one checkpoint, read-only; a clone is another handle to the same.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    config: Config,
    precision: Precision,
    identity: String,
    network: Network,
    pack: Arc<Pack>,
    voices: Voices,
    built: bool,
    warnings: Vec<String>,
}

/// Where a model's voices are.
enum Voices {
    BuiltIn,
    /// `voices/*.pt` and `*.bin`, by name.
    Files(Vec<(String, PathBuf)>),
    /// All in one file, such as kokoro-onnx's `voices-v1.0.bin`.
    Together(Checkpoint),
}

/// Files that hold all voices, the first that is there.
const VOICE_FILES: [&str; 3] = ["voices-v1.0.bin", "voices-v1.1-zh.bin", "voices.npz"];

impl Model {
    /// The small model that is compiled in: two voices, no files needed. In the best precision
    /// of this CPU.
    pub fn builtin() -> Result<Self, Error> {
        Self::builtin_in(Precision::best(Isa::detect()))
    }

    /// The same in the given precision.
    pub fn builtin_in(precision: Precision) -> Result<Self, Error> {
        let config = Config::parse(builtin::CONFIG)?;
        let source = Checkpoint::from_static(builtin::WEIGHTS)?;
        let identity = Self::identify_builtin(precision);
        let pack = Pack::in_memory(&identity, &|sink| {
            Network::load(&mut Loader::making(&source, sink, precision), &config).map(drop)
        })?;
        let opened = Opened { pack: Arc::new(pack), warnings: Vec::new(), built: true };
        Self::from_pack(config, precision, identity, opened, Voices::BuiltIn)
    }

    /// The identity of the built-in model in that precision.
    pub fn identify_builtin(precision: Precision) -> String {
        format!("builtin-{}-{}", env!("CARGO_PKG_VERSION"), precision.name())
    }

    /// A Kokoro checkpoint: a folder with `config.json`, the weights (`kokoro-v1_0.pth` or
    /// safetensors) and the voices (`voices/*.pt`, `voices/*.bin` or `voices-v1.0.bin`).
    ///
    /// The first time, the weights are packed, which takes the better part of a second, and are to
    /// be written to a file in `cache`: in the background from [`Model::keep`] on, at the latest
    /// when the last handle is dropped. Other processes that open the model wait for it. If that
    /// folder cannot be written, [`Model::warnings`] or [`Model::kept`] says so and
    /// memory is used.
    /// In the best precision of this CPU.
    pub fn open(folder: &Path, cache: &Path) -> Result<Self, Error> {
        Self::open_in(Precision::best(Isa::detect()), folder, cache)
    }

    /// The same in the given precision; each has its own pack.
    pub fn open_in(precision: Precision, folder: &Path, cache: &Path) -> Result<Self, Error> {
        let (key, json, weights) = Self::key(precision, folder, cache)?;
        let config = Config::parse(&json)?;
        let opened = Pack::open_or_build(cache, &key, || {
            let (source, config) = (Checkpoint::open(&weights)?, &config);
            Ok(move |sink: PackWriter<'_>| {
                Network::load(&mut Loader::making(&source, sink, precision), config).map(drop)
            })
        })?;
        let identity = key.file_name();
        Self::from_pack(config, precision, identity, opened, Voices::in_folder(folder)?)
    }

    fn from_pack(
        config: Config,
        precision: Precision,
        identity: String,
        opened: Opened,
        voices: Voices,
    ) -> Result<Self, Error> {
        let Opened { pack, warnings, built } = opened;
        let network = Network::load(&mut Loader::finding(&pack, precision), &config)?;
        Ok(Self(Arc::new(Inner {
            config,
            precision,
            identity,
            network,
            pack,
            voices,
            built,
            warnings,
        })))
    }

    /// What its decoder and generator multiply.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// The numbers that describe the network.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn network(&self) -> &Network {
        &self.0.network
    }

    pub(crate) fn pack(&self) -> &Pack {
        &self.0.pack
    }

    /// Sentences for the user about how the weights were come by, such as that the cache cannot
    /// be written.
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Begins to write weights that were packed now to their file, in the background. To be called
    /// when what must come first is done.
    pub fn keep(&self) {
        self.0.pack.keep();
    }

    /// Waits until weights that were packed now are in their file. An error, as a sentence for the
    /// user, if they cannot be: they stay in memory.
    pub fn kept(&self) -> Result<(), &str> {
        self.0.pack.kept()
    }

    /// Whether the weights were packed now, rather than found packed.
    pub fn was_packed_now(&self) -> bool {
        self.0.built
    }

    /// Bytes of packed weights, and whether they are mapped from a file.
    pub fn packed_bytes(&self) -> (usize, bool) {
        (self.0.pack.n_bytes(), self.0.pack.is_mapped())
    }

    /// How many bytes of the mapped weights are in memory and how many there are; none where the
    /// system does not tell or the weights are not mapped.
    pub fn residency(&self) -> Option<(usize, usize)> {
        self.0.pack.residency()
    }

    /// Has the system drop mapped weights from memory as it does when memory is short, to measure
    /// what that costs. Whether it could.
    pub fn page_out(&self) -> bool {
        self.0.pack.page_out()
    }

    /// Has the system read back mapped weights that left memory, until `stop` says so. Blocks for
    /// as long as the disk takes.
    pub fn bring_back(&self, stop: &dyn Fn() -> bool) {
        self.0.pack.bring_back(stop);
    }

    /// Has the system keep the weights in memory for as long as the model lives, which it may
    /// refuse (`ulimit -l`). Waits as [`Model::kept`] does.
    pub fn lock_in_memory(&self) -> std::io::Result<()> {
        self.0.pack.lock()
    }

    /// Names the checkpoint and its precision: equal for models that make the same sound.
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// The identity of the model that [`Model::open_in`] would open, without opening it.
    pub fn identify(precision: Precision, folder: &Path, cache: &Path) -> Result<String, Error> {
        Ok(Self::key(precision, folder, cache)?.0.file_name())
    }

    fn key(
        precision: Precision,
        folder: &Path,
        cache: &Path,
    ) -> Result<(Key, Vec<u8>, PathBuf), Error> {
        let json = read_config(&folder.join("config.json"))?;
        // A config that cannot be used is to be refused before its weights are read.
        Config::parse(&json)?;
        let weights = crate::checkpoint::weights_file(folder)?;
        let key = Key::new(&layout(&json, precision), Fingerprint::of(&weights, cache)?);
        Ok((key, json, weights))
    }

    /// Token ids of phoneme symbols; the second part lists the symbols that the vocabulary lacks,
    /// which have no id.
    pub fn tokens(&self, symbols: &str) -> (Vec<u16>, Vec<char>) {
        crate::tokens(&self.0.config.vocab, symbols)
    }

    /// The names of the voices that come with the model, sorted.
    pub fn voices(&self) -> Vec<String> {
        self.0.voices.names()
    }

    /// The voices of the model that [`Model::open_in`] would open, without opening it.
    pub fn voices_in(folder: &Path) -> Result<Vec<String>, Error> {
        Ok(Voices::in_folder(folder)?.names())
    }

    /// One of [`Model::voices`].
    pub fn voice(&self, name: &str) -> Result<Voice, Error> {
        let unknown = || Error::UnknownVoice { name: name.to_owned(), known: self.voices() };
        match &self.0.voices {
            Voices::BuiltIn => {
                let found = builtin::VOICES.iter().find(|(known, _)| *known == name);
                let (name, bytes) = found.ok_or_else(unknown)?;
                Voice::from_bytes(name, bytes)
            }
            Voices::Files(files) => {
                let found = files.iter().find(|(known, _)| known == name);
                Voice::open(&found.ok_or_else(unknown)?.1)
            }
            Voices::Together(all) => {
                if !all.has(name) {
                    return Err(unknown());
                }
                Voice::from_tensor(all, name)
            }
        }
    }

    /// The factor that levels a voice with the others; 1 unless the checkpoint says otherwise.
    pub fn gain(&self, voice: &str) -> f32 {
        self.0.config.koe.gain.get(voice).copied().unwrap_or(1.0)
    }
}

/// The file's bytes; no honest one is near the limit.
fn read_config(path: &Path) -> Result<Vec<u8>, Error> {
    const MAX_BYTES: u64 = 1 << 20;
    let mut json = Vec::new();
    let (file, _) = open_regular(path)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut json).map_err(Error::io("read", path))?;
    if json.len() as u64 > MAX_BYTES {
        return Err(Error::Config(format!("{} is larger than 1 MiB", path.display())));
    }
    Ok(json)
}

impl Voices {
    fn names(&self) -> Vec<String> {
        match self {
            Self::BuiltIn => builtin::VOICES.map(|(name, _)| name.to_owned()).to_vec(),
            Self::Files(files) => files.iter().map(|(name, _)| name.clone()).collect(),
            Self::Together(all) => all.names().map(str::to_owned).collect(),
        }
    }

    fn in_folder(folder: &Path) -> Result<Self, Error> {
        let together = VOICE_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let voices = folder.join("voices");
        if let Some(path) = together.filter(|_| !voices.is_dir()) {
            return Ok(Self::Together(Checkpoint::open(&path)?));
        }
        let entries = match std::fs::read_dir(&voices) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::Files(Vec::new()));
            }
            Err(error) => return Err(Error::io("read", &voices)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("read", &voices))?.path();
            let is_voice = path.extension().is_some_and(|end| end == "pt" || end == "bin");
            if let (true, Some(name)) = (is_voice, path.file_stem().and_then(|name| name.to_str()))
            {
                files.push((name.to_owned(), path));
            }
        }
        files.sort();
        files.dedup_by(|a, b| a.0 == b.0);
        Ok(Self::Files(files))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("voices", &self.voices()).finish_non_exhaustive()
    }
}
