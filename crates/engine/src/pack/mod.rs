//! Packs: the weights as this machine's kernels want them, in one file that is mapped.
//!
//! A [checkpoint](crate::checkpoint) is turned into a pack once (weight norm folded, layouts
//! changed) and the pack is kept in the cache folder; later starts map it and copy nothing. A
//! pack is a set of named sections of f32, 16 bit words or bytes, each at a multiple of 64 bytes.
//! A new pack is made in memory and used from there; a thread writes its file, which then takes the
//! place of that memory; where there is no place for a file, it stays.
//!
//! **Trust.** A pack is used only if its header, its table and the checksums of all its sections
//! are sound and its [`Key`] is the one asked for; any other is built again. It is written under a
//! temporary name and renamed, never changed in place, so a reader sees a whole pack or none,
//! and one that it has mapped stays as it was even when a new one takes its name.
//!
//! **Space.** A new layout version of a pack removes the old one, and a checkpoint that changed in its
//! place removes the packs of what it was.
//!
//! **Processes.** Who builds holds a lock; others wait for it and then find the pack. The system
//! drops the lock of a process that dies, and what it left is removed by the next who builds.

mod fingerprint;
mod format;
mod keeper;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::mapping::Mapping;
pub(crate) use fingerprint::Fingerprint;
use format::{Entry, Kind};
use keeper::Keeper;
pub(crate) use writer::PackWriter;

/// To be raised when what is packed changes for all layouts, so that old packs become stale.
const PACK_VERSION: u32 = 1;

/// What a pack was made of and for.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    layout: String,
    source: Fingerprint,
}

impl Key {
    /// `layout` names the kernels and all that decides how they want weights, and ends with its
    /// version, as in `f32-panel32-1`. It becomes a part of the file's name; what is no letter,
    /// digit or underscore in it becomes a hyphen.
    pub(crate) fn new(layout: &str, source: Fingerprint) -> Self {
        let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        Self { layout: layout.chars().map(keep).collect(), source }
    }

    /// The name in the cache folder.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.pack", self.source, self.layout)
    }

    /// Whether a pack of this name is of the same source and layout, of another layout version:
    /// an older koe's, that nobody will ask for again.
    fn replaces(&self, name: &str) -> bool {
        let own = self.file_name();
        let base = |name: &str| {
            let (base, version) = name.strip_suffix(".pack")?.rsplit_once('-')?;
            version.bytes().all(|b| b.is_ascii_digit()).then(|| base.to_owned())
        };
        name != own && base(name).is_some() && base(name) == base(&own)
    }

    fn text(&self) -> String {
        format!("pack {PACK_VERSION}, layout {}, source {}", self.layout, self.source)
    }
}

/// Why a pack cannot be used; it can always be built again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// There is none.
    #[error("there is no pack yet")]
    Absent,
    /// It is sound, of another version or checkpoint.
    #[error("the pack is out of date: {0}")]
    Stale(String),
    /// It is damaged.
    #[error("the pack is damaged: {0}")]
    Corrupt(String),
    /// The system refused.
    #[error("the pack cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// A pack, and what whoever runs koe should know of how it was come by.
pub(crate) struct Opened {
    pub(crate) pack: Arc<Pack>,
    /// Sentences for the user: that the cache cannot be written, that a damaged pack was replaced.
    pub(crate) warnings: Vec<String>,
    /// Whether the weights were packed now rather than found.
    pub(crate) built: bool,
}

/// Read-only named sections.
pub(crate) struct Pack {
    /// The whole file, or what will be in it.
    mapping: Arc<Mapping>,
    entries: Vec<Entry>,
    /// Indices of `entries` by name.
    names: HashMap<String, usize>,
    /// Writes the file of a pack that was built, while it is used already.
    keeper: Option<Keeper>,
}

impl Pack {
    fn new(mapping: Mapping, entries: Vec<Entry>) -> Self {
        let names =
            entries.iter().enumerate().map(|(at, entry)| (entry.name.clone(), at)).collect();
        Self { mapping: Arc::new(mapping), entries, names, keeper: None }
    }

    /// Maps the pack of this key in the cache folder, building it if there is no usable one.
    ///
    /// `prepare` gives the walk over the sections. A pack that was built can be used at once, and
    /// is written to the folder when [`Pack::keep`] or [`Pack::kept`] says so, or when it is
    /// dropped. Others who want it wait as long. Trouble with the cache (full,
    /// read-only) is no error: the pack then stays in memory and a warning says so.
    pub(crate) fn open_or_build<W>(
        cache: &Path,
        key: &Key,
        prepare: impl FnOnce() -> Result<W, Error>,
    ) -> Result<Opened, Error>
    where
        W: Fn(PackWriter<'_>) -> Result<(), Error> + Sync,
    {
        let path = cache.join(key.file_name());
        let found = |pack, warnings| Opened { pack: Arc::new(pack), warnings, built: false };
        let unusable = match Self::open(&path, key) {
            Ok(pack) => return Ok(found(pack, Vec::new())),
            Err(unusable) => unusable,
        };
        let mut warnings = Vec::new();
        if let Unusable::Corrupt(_) | Unusable::Unreadable(_) = unusable {
            warnings.push(format!("{}: {unusable}; packing the weights again", path.display()));
        }
        let lock = lock(cache, key);
        if lock.is_ok() {
            // Another process may have built it while this one waited.
            if let Ok(pack) = Self::open(&path, key) {
                return Ok(found(pack, warnings));
            }
        }
        let mut pack = Self::in_memory(&key.text(), &prepare()?)?;
        match lock {
            Ok(lock) => pack.keeper = Some(Keeper::new(&pack.mapping, path, key.clone(), lock)),
            Err(refused) => warnings.push(keeper::not_kept(cache, &refused)),
        }
        Ok(Opened { pack: Arc::new(pack), warnings, built: true })
    }

    /// Builds a pack that lives in memory alone.
    pub(crate) fn in_memory<W>(key: &str, walk: &W) -> Result<Self, Error>
    where
        W: Fn(PackWriter<'_>) -> Result<(), Error> + Sync,
    {
        let (mapping, entries) = writer::build(key, walk)?;
        Ok(Self::new(mapping, entries))
    }

    /// Maps and checks the pack of this key.
    pub(crate) fn open(path: &Path, key: &Key) -> Result<Self, Unusable> {
        let meta = match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Absent),
            meta => meta?,
        };
        // Before it is opened, which for a pipe would wait for somebody to write.
        if !meta.is_file() {
            return Err(Unusable::Corrupt("it is not a file".to_owned()));
        }
        let file = File::open(path)?;
        if file.metadata()?.len() < format::HEADER_BYTES as u64 {
            return Err(Unusable::Corrupt("it is shorter than its header".to_owned()));
        }
        let mapping = Mapping::new(&file)?;
        let entries = format::check(&mapping, &key.text())?;
        Ok(Self::new(mapping, entries))
    }

    /// Begins to write a pack that was built now, in the background.
    pub(crate) fn keep(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.start();
        }
    }

    /// Waits until a pack that was built now is in its file, or cannot be: then why, as a sentence
    /// for the user.
    pub(crate) fn kept(&self) -> Result<(), &str> {
        self.keeper.as_ref().map_or(Ok(()), Keeper::wait)
    }

    /// A section as a handle that keeps the pack alive.
    pub(crate) fn section<T: Packed>(self: &Arc<Self>, name: &str) -> Result<Section<T>, Error> {
        let index = self.find(name, T::KIND)?;
        Ok(Section { place: Some((Arc::clone(self), index)), kind: PhantomData })
    }

    /// A section of floats, borrowed.
    #[cfg(test)]
    pub(crate) fn f32(&self, name: &str) -> Result<&[f32], Error> {
        Ok(bytemuck::cast_slice(self.at(self.find(name, Kind::F32)?)))
    }

    /// A section of 16 bit words.
    #[cfg(test)]
    pub(crate) fn u16(&self, name: &str) -> Result<&[u16], Error> {
        Ok(bytemuck::cast_slice(self.at(self.find(name, Kind::U16)?)))
    }

    fn find(&self, name: &str, kind: Kind) -> Result<usize, Error> {
        let index = self.names.get(name).copied().filter(|&at| self.entries[at].kind == kind);
        index.ok_or_else(|| Error::Malformed {
            file: "the pack".to_owned(),
            problem: format!("it has no section {name} of the kind {kind:?}"),
        })
    }

    fn at(&self, index: usize) -> &[u8] {
        &self.mapping[self.entries[index].range.clone()]
    }

    /// Bytes of all sections, whether mapped or in memory.
    pub(crate) fn n_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.range.len()).sum()
    }

    /// Whether this is a file mapped, whose pages the system may drop and bring back.
    pub(crate) fn is_mapped(&self) -> bool {
        self.mapping.is_of_file()
    }

    /// How many bytes of the mapped file are in memory and how many there are, if the system tells.
    pub(crate) fn residency(&self) -> Option<(usize, usize)> {
        let mapping = self.mapping.is_of_file().then_some(&self.mapping)?;
        Some((mapping.resident_bytes()?, mapping.len()))
    }

    /// Takes mapped weights out of this process until they are used again, which for all of them
    /// takes some milliseconds.
    pub(crate) fn let_go(&self) {
        self.mapping.let_go();
    }

    /// Has the system drop the pages of mapped weights. Whether it could.
    pub(crate) fn page_out(&self) -> bool {
        self.is_mapped() && self.mapping.page_out()
    }

    /// Has the system read back what left memory, until `stop` says so.
    pub(crate) fn bring_back(&self, stop: &dyn Fn() -> bool) {
        self.mapping.bring_back(stop);
    }

    /// Has the system keep the weights in memory. Waits for weights that are being written to
    /// their file, which will take their place.
    pub(crate) fn lock(&self) -> io::Result<()> {
        // Weights that stay in memory are locked there.
        let _ = self.kept();
        self.mapping.lock()
    }
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pack({} sections, {} bytes)", self.entries.len(), self.n_bytes())
    }
}

/// Numbers that a section can be of.
pub(crate) trait Packed: bytemuck::Pod {
    const KIND: Kind;
}

impl Packed for f32 {
    const KIND: Kind = Kind::F32;
}

/// bf16, as its bits.
impl Packed for u16 {
    const KIND: Kind = Kind::U16;
}

/// Numbers of a pack; a clone is another handle to the same. The default is empty.
#[derive(Clone, Debug)]
pub(crate) struct Section<T = f32> {
    place: Option<(Arc<Pack>, usize)>,
    kind: PhantomData<T>,
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self { place: None, kind: PhantomData }
    }
}

impl<T: Packed> Deref for Section<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.place {
            Some((pack, index)) => bytemuck::cast_slice(pack.at(*index)),
            None => &[],
        }
    }
}

/// Held while a pack is built; the system drops it with the file, also when the process dies.
/// Where the file system has no locks, the worst is that two processes do the same work.
fn lock(cache: &Path, key: &Key) -> io::Result<File> {
    create_folder(cache)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(cache.join(key.file_name()).with_extension("lock"))?;
    match file.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
        _ => Ok(file),
    }
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Removes packs that nobody will ask for again, as each takes as much disk as a checkpoint. Those
/// that a process has mapped stay whole for it.
fn remove_packs(cache: &Path, is_outdated: impl Fn(&str) -> bool) {
    for entry in cache.read_dir().into_iter().flatten().flatten() {
        if let Some(name) = entry.file_name().to_str()
            && name.ends_with(".pack")
            && is_outdated(name)
        {
            let _ = std::fs::remove_file(entry.path());
            let _ = std::fs::remove_file(entry.path().with_extension("lock"));
        }
    }
}
