//! Packs that are whole, and packs after bad disks, other versions and dying processes.

use super::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder and what is packed into it.
struct Cache {
    folder: tempfile::TempDir,
    key: Key,
}

impl Cache {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("checkpoint");
        std::fs::write(&checkpoint, b"weights").unwrap();
        let source = Fingerprint::of(&checkpoint, folder.path()).unwrap();
        Self { key: Key::new("scalar-1", source), folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("packs").join(self.key.file_name())
    }

    fn open_at_once(&self) -> Opened {
        Pack::open_or_build(&self.folder.path().join("packs"), &self.key, prepare).unwrap()
    }

    /// Once the file is there, or is known not to be.
    fn open(&self) -> Opened {
        let opened = self.open_at_once();
        let _ = opened.pack.kept();
        opened
    }
}

type Walk = fn(PackWriter<'_>) -> Result<(), Error>;

fn prepare() -> Result<Walk, Error> {
    Ok(sections)
}

fn sections(mut writer: PackWriter<'_>) -> Result<(), Error> {
    writer.numbers("a", 3, || Ok(vec![1.0_f32, 2.0, 3.0]))?;
    writer.numbers("c", 100, || Ok(vec![7_u16; 100]))?;
    writer.numbers::<f32>("empty", 0, || Ok(Vec::new()))?;
    writer.numbers("long", 300_000, || Ok((0..300_000u32).map(|i| i as f32).collect()))
}

fn check_sections(pack: &Arc<Pack>) {
    assert_eq!(pack.f32("a").unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(pack.u16("c").unwrap(), [7; 100]);
    assert!(pack.f32("empty").unwrap().is_empty());
    let long: Section = pack.section("long").unwrap();
    assert!(long.len() == 300_000 && long[299_999] == 299_999.0);
    for name in ["a", "long"] {
        assert_eq!(pack.f32(name).unwrap().as_ptr().addr() % 64, 0, "{name}");
    }
    assert_eq!(pack.u16("c").unwrap().as_ptr().addr() % 64, 0);
    assert_eq!(pack.n_bytes(), 12 + 200 + 1_200_000);
    assert!(pack.f32("absent").unwrap_err().to_string().contains("absent"));
    assert!(pack.f32("c").is_err() && pack.u16("a").is_err());
}

#[test]
fn a_pack_is_built_once_and_then_mapped() {
    let cache = Cache::new();
    let first = cache.open();
    assert!(first.built && first.warnings.is_empty() && first.pack.is_mapped());
    check_sections(&first.pack);
    let second = cache.open();
    assert!(!second.built && second.warnings.is_empty() && second.pack.is_mapped());
    check_sections(&second.pack);
}

#[test]
fn a_pack_in_memory_looks_the_same() {
    let pack = Arc::new(Pack::in_memory("key", &sections).unwrap());
    assert!(!pack.is_mapped() && pack.residency().is_none());
    check_sections(&pack);
    assert!(Section::<f32>::default().is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn memory_stays_where_a_file_cannot_take_its_place() {
    let fill = |bytes: &mut [u8]| {
        bytes.fill(7);
        Ok(())
    };
    let mapping = Mapping::in_memory(10_000, fill).unwrap();
    for path in ["/", "/dev/null", "/proc/self/status"] {
        assert!(mapping.back_by(&File::open(path).unwrap()).is_err(), "{path}");
    }
    assert!(!mapping.is_of_file() && mapping.iter().all(|&byte| byte == 7));
}

#[test]
fn what_is_used_at_once_lies_together() {
    let walk: Walk = |mut writer| {
        for (name, is_apart) in [("a", false), ("b", true), ("c", false), ("d", true)] {
            writer.set_apart(is_apart);
            let number = f32::from(name.as_bytes()[0]);
            writer.numbers(name, 100, || Ok(vec![number; 100]))?;
        }
        Ok(())
    };
    let pack = Pack::in_memory("key", &walk).unwrap();
    let places = ["b", "d", "a", "c"].map(|name| pack.f32(name).unwrap().as_ptr().addr());
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] == 448), "{places:?}");
    for name in ["a", "b", "c", "d"] {
        assert_eq!(pack.f32(name).unwrap(), [f32::from(name.as_bytes()[0]); 100], "{name}");
    }
}

#[test]
fn a_section_keeps_its_pack_alive() {
    let section: Section =
        Arc::new(Pack::in_memory("key", &sections).unwrap()).section("a").unwrap();
    assert_eq!(*section.clone(), [1.0, 2.0, 3.0]);
}

#[test]
fn a_pack_cut_short_anywhere_is_built_again() {
    let cache = Cache::new();
    cache.open();
    let whole = std::fs::read(cache.path()).unwrap();
    for n_bytes in
        (0..whole.len()).step_by(97 * 499).chain(0..80).chain(whole.len() - 400..whole.len())
    {
        std::fs::write(cache.path(), &whole[..n_bytes]).unwrap();
        let unusable = Pack::open(&cache.path(), &cache.key).unwrap_err();
        assert!(matches!(unusable, Unusable::Corrupt(_)), "{n_bytes} bytes: {unusable}");
    }
    let opened = cache.open();
    assert!(opened.built && opened.pack.is_mapped());
    assert!(opened.warnings[0].contains("packing the weights again"), "{:?}", opened.warnings);
    check_sections(&opened.pack);
    assert_eq!(std::fs::read(cache.path()).unwrap(), whole);
}

#[test]
fn a_bit_flipped_anywhere_is_noticed() {
    let cache = Cache::new();
    cache.open();
    let whole = std::fs::read(cache.path()).unwrap();
    let places =
        (0..whole.len()).step_by(97 * 211).chain(0..200).chain(whole.len() - 300..whole.len());
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(format::check(&bytes, &cache.key.text()).is_err(), "byte {at}");
    }
    assert!(format::check(&whole, &cache.key.text()).is_ok());
    assert!(format::check(&[&whole[..], b"x"].concat(), &cache.key.text()).is_err());
}

#[test]
fn a_pack_of_another_checkpoint_layout_or_version_is_stale() {
    let cache = Cache::new();
    cache.open();
    let whole = std::fs::read(cache.path()).unwrap();
    let stale = |file: &[u8], key: &str| match format::check(file, key) {
        Err(Unusable::Stale(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(stale(&whole, "another key").contains("layout scalar-1"));
    let mut other_version = whole.clone();
    other_version[8] ^= 0xff;
    assert!(stale(&other_version, &cache.key.text()).contains("version"));

    // A file that took the name of another is replaced without a word: nothing is damaged.
    let other = Key::new("avx512 2", cache.key.source);
    assert_eq!(other.file_name(), format!("{}-avx512-2.pack", cache.key.source));
    let folder = cache.folder.path().join("packs");
    std::fs::rename(cache.path(), folder.join(other.file_name())).unwrap();
    let opened = Pack::open_or_build(&folder, &other, prepare).unwrap();
    assert!(opened.built && opened.warnings.is_empty());
}

#[test]
fn tables_that_lie_are_refused_even_with_sound_checksums() {
    let entry = |name: &str, kind, range| Entry { name: name.to_owned(), kind, range };
    let table_start = 64 + 256;
    let cases = [
        (vec![entry("a", Kind::F32, 64..128), entry("b", Kind::F32, 64..128)], "misplaced"),
        (vec![entry("a", Kind::F32, 64..132), entry("b", Kind::F32, 128..192)], "misplaced"),
        (vec![entry("a", Kind::F32, 68..128)], "misplaced"),
        (vec![entry("a", Kind::F32, 0..64)], "misplaced"),
        (vec![entry("a", Kind::F32, 64..table_start + 64)], "misplaced"),
        (vec![entry("a", Kind::F32, std::ops::Range { start: 128, end: 64 })], "misplaced"),
        (vec![entry("a", Kind::F32, 64..usize::MAX)], "misplaced"),
        (vec![entry("a", Kind::F32, 64..66)], "misplaced"),
        (vec![entry("a", Kind::U16, 64..65)], "misplaced"),
        (vec![entry("a", Kind::F32, 64..128), entry("a", Kind::F32, 128..192)], "twice"),
    ];
    let file = |table: &[u8]| {
        let header = format::header(table_start, table);
        [&header[..], &[0; 256], table].concat()
    };
    let chunk_hashes = vec![twox_hash::XxHash3_64::oneshot(&[0; 256])];
    for (entries, expected) in cases {
        let table = format::Table {
            key: "key".to_owned(),
            entries: entries.clone(),
            chunk_hashes: chunk_hashes.clone(),
        };
        let refused = format::check(&file(&table.encode()), "key").unwrap_err().to_string();
        assert!(refused.contains(expected), "{entries:?}: {refused}");
    }
    let table = format::Table { key: "key".to_owned(), entries: Vec::new(), chunk_hashes };
    let sound = table.encode();
    assert!(format::check(&file(&sound), "key").is_ok());
    // Counts and lengths of text that promise what is not there.
    for at in [0, 11, sound.len() - 16] {
        for value in [2, 1 << 31, 1 << 63, u64::MAX] {
            let mut table = sound.clone();
            table[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
            assert!(format::check(&file(&table), "key").is_err(), "{value} at {at}");
        }
    }
}

#[test]
fn an_error_of_the_builder_is_its_own_and_leaves_nothing() {
    let cache = Cache::new();
    let folder = cache.folder.path().join("packs");
    let twice: Walk = |mut writer| {
        writer.numbers("a", 1, || Ok(vec![1.0_f32]))?;
        writer.numbers("a", 1, || Ok(vec![1.0_f32]))
    };
    let fails: Walk = |mut writer| {
        let name = String::new;
        writer.numbers("a", 1, || Ok(vec![1.0_f32]))?;
        writer
            .numbers::<f32>("b", 1, || Err(Error::UnknownVoice { name: name(), known: Vec::new() }))
    };
    for (walk, expected) in [(twice, "given twice"), (fails, "voice")] {
        let result = Pack::open_or_build(&folder, &cache.key, || Ok(walk));
        let error = result.err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let left: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].to_string_lossy().ends_with(".lock"));
}

#[test]
fn a_cache_that_cannot_be_written_costs_a_warning_not_the_speech() {
    let cache = Cache::new();
    // A file where the folder should be: not even root can write there.
    std::fs::write(cache.folder.path().join("packs"), b"").unwrap();
    let opened = cache.open();
    assert!(opened.built && !opened.pack.is_mapped());
    let warning = opened.warnings.last().unwrap();
    assert!(warning.contains("cannot keep the packed weights"), "{warning}");
    check_sections(&opened.pack);
}

#[test]
fn a_file_that_cannot_be_written_costs_a_warning_and_the_pack_stays_in_memory() {
    let cache = Cache::new();
    // A folder of that name: not even root can write a file there.
    std::fs::create_dir_all(cache.path()).unwrap();
    let opened = cache.open();
    assert!(opened.warnings[0].contains("it is not a file"), "{:?}", opened.warnings);
    let warning = opened.pack.kept().unwrap_err();
    assert!(warning.contains("cannot keep the packed weights"), "{warning}");
    assert!(opened.built && !opened.pack.is_mapped());
    check_sections(&opened.pack);
    let left = cache.path().parent().unwrap().read_dir().unwrap();
    assert_eq!(left.count(), 2, "the folder and the lock");
}

#[test]
fn a_pack_is_the_same_while_its_file_takes_its_place() {
    let cache = Cache::new();
    let pack = cache.open_at_once().pack;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                check_sections(&pack);
            }
        });
        pack.kept().unwrap();
        done.store(true, Ordering::Relaxed);
    });
    check_sections(&pack);
    #[cfg(unix)]
    assert!(pack.is_mapped());
}

#[test]
#[cfg(unix)]
fn only_the_user_can_read_packs_and_their_folder() {
    use std::os::unix::fs::PermissionsExt;
    let cache = Cache::new();
    cache.open();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache.path()), 0o600);
    assert_eq!(mode(cache.path().parent().unwrap()), 0o700);
}

#[test]
fn what_a_dead_process_left_is_removed_by_the_next_one() {
    let cache = Cache::new();
    let folder = cache.folder.path().join("packs");
    std::fs::create_dir(&folder).unwrap();
    let left = cache.path().with_extension("tmp.4194305");
    std::fs::write(&left, b"half a pack").unwrap();
    let other = folder.join("0123-other.tmp.4194305");
    std::fs::write(&other, b"of another pack, perhaps being built").unwrap();
    let unlocked = folder.join("4567-other.tmp.4194305");
    std::fs::write(&unlocked, b"of a pack that nobody builds").unwrap();
    std::fs::write(unlocked.with_extension("").with_extension("lock"), b"").unwrap();
    assert!(cache.open().built);
    assert!(!left.exists() && !unlocked.exists() && other.exists());
}

#[test]
fn packs_that_nobody_will_ask_for_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, checkpoint) = (folder.path().join("cache"), folder.path().join("checkpoint"));
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let write = |content: &[u8]| {
        std::fs::write(&checkpoint, content).unwrap();
        File::options().write(true).open(&checkpoint).unwrap().set_modified(long_ago).unwrap();
        Fingerprint::of(&checkpoint, &cache).unwrap()
    };
    let build = |layout: &str, source| {
        let key = Key::new(layout, source);
        Pack::open_or_build(&cache, &key, prepare).unwrap();
        key.file_name()
    };
    let packs = || {
        let names = cache.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".pack")).collect();
        names.sort();
        names
    };
    let first = write(b"one");
    build("avx2-panel-1", first);
    let other = build("avx512-panel-1", first);
    let newer = build("avx2-panel-2", first);
    assert_eq!(packs(), [newer, other], "another version goes, another layout stays");
    let second = write(b"two");
    assert!(packs().is_empty(), "the checkpoint is another");
    let last = build("avx2-panel-2", second);
    assert_eq!(packs(), [last]);
}

#[test]
fn many_at_once_build_one_pack() {
    let cache = Cache::new();
    let n_builds = AtomicUsize::new(0);
    let folder = cache.folder.path().join("packs");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let opened = Pack::open_or_build(&folder, &cache.key, || {
                    n_builds.fetch_add(1, Ordering::Relaxed);
                    Ok(sections)
                });
                check_sections(&opened.unwrap().pack);
            });
        }
    });
    assert_eq!(n_builds.into_inner(), 1);
}

#[test]
fn a_mapped_pack_stays_whole_while_another_takes_its_name() {
    let cache = Cache::new();
    let first = cache.open();
    std::fs::remove_file(cache.path()).unwrap();
    let second = cache.open();
    assert!(second.built);
    check_sections(&first.pack);
    check_sections(&second.pack);
}

#[test]
fn a_fingerprint_follows_the_content_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let content: Vec<u8> = (0..3 << 20).map(|i: u32| (i / 7) as u8).collect();
    std::fs::write(&a, &content).unwrap();
    std::fs::write(&b, &content).unwrap();
    let of = |path: &Path| Fingerprint::of(path, folder.path()).unwrap();
    assert_eq!(of(&a), of(&b));
    for at in [0, 1 << 20, content.len() - 1] {
        let mut changed = content.clone();
        changed[at] ^= 1;
        std::fs::write(&b, &changed).unwrap();
        assert_ne!(of(&a), of(&b), "byte {at}");
    }
    std::fs::write(&b, &content[1..]).unwrap();
    assert_ne!(of(&a), of(&b));
    assert!(Fingerprint::of(&folder.path().join("c"), folder.path()).is_err());
}

#[test]
fn a_remembered_fingerprint_ends_with_the_next_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let cache = folder.path().join("cache");
    std::fs::write(&path, b"one").unwrap();
    let first = Fingerprint::of(&path, &cache).unwrap();
    assert!(!cache.exists(), "a file this young may change again within the clock's grain");

    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let set_time =
        |time| File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    set_time(long_ago);
    assert_eq!(Fingerprint::of(&path, &cache).unwrap(), first);
    let records: Vec<_> =
        cache.join("fingerprints").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(records.len(), 1);

    // The record is believed: falsified, it is what comes back.
    let text = std::fs::read_to_string(&records[0]).unwrap();
    std::fs::write(&records[0], text.replace(&first.to_string(), "00000000000000aa")).unwrap();
    assert_eq!(Fingerprint::of(&path, &cache).unwrap().to_string(), "00000000000000aa");
    for damaged in ["", "\n", "x\ny\n", &text[..text.len() - 4], &format!("{text}0\n")] {
        std::fs::write(&records[0], damaged).unwrap();
        assert_eq!(Fingerprint::of(&path, &cache).unwrap(), first);
    }

    // Other content of the same length and time: the time of the change of status tells.
    std::fs::write(&path, b"two").unwrap();
    set_time(long_ago);
    assert_ne!(Fingerprint::of(&path, &cache).unwrap(), first);
}

#[test]
#[cfg(target_os = "linux")]
fn a_pack_that_was_just_checked_is_in_memory_and_one_that_left_comes_back() {
    let cache = Cache::new();
    let opened = cache.open();
    let (resident, total) = opened.pack.residency().unwrap();
    assert_eq!((resident, total as u64), (total, cache.path().metadata().unwrap().len()));
    // Twice: a page that was touched since the last time is spared once.
    assert!(opened.pack.page_out() && opened.pack.page_out());
    let (left, _) = opened.pack.residency().unwrap();
    opened.pack.bring_back(&|| true);
    assert_eq!(opened.pack.residency().unwrap().0, left);
    opened.pack.bring_back(&|| false);
    assert_eq!(opened.pack.residency().unwrap(), (total, total));
}
