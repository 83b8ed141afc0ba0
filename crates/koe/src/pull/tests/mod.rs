//! Pulls through all that can happen on the way. No test leaves this machine.
//!
//! Here: what a pull of a small model with a good server must do. `network` has the bad servers,
//! `local` folders and bundles, `kill` processes that die.

mod kill;
mod local;
mod network;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use self::server::{Asked, Reply, Server};
use super::*;
use crate::models::hex;

const WEIGHTS: &str = "weights.pth";
const WEIGHTS_BYTES: usize = 300_000;
const ETAG: &str = "\"tag\"";

type Files = Arc<BTreeMap<String, Vec<u8>>>;

/// Content that is different for every name.
fn files() -> Files {
    let sizes = [
        ("config.json", 2_000),
        (WEIGHTS, WEIGHTS_BYTES),
        ("voices/af_a.pt", 3_000),
        ("voices/am_b.pt", 3_100),
        ("voices/bf_c.pt", 3_200),
    ];
    let content = |name: &str, n: usize| {
        let mut state = name.bytes().fold(7u32, |n, b| n.wrapping_mul(31).wrapping_add(b.into()));
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..n).map(|_| next()).collect()
    };
    Arc::new(sizes.into_iter().map(|(name, n)| (name.to_owned(), content(name, n))).collect())
}

fn release(files: &Files) -> Release {
    let item = |(path, content): (&String, &Vec<u8>)| Item {
        path: path.clone(),
        sha256: hex(&Sha256::digest(content)),
        size: match &**path {
            WEIGHTS => Size::Exactly(content.len() as u64),
            _ => Size::AtMost(10_000),
        },
    };
    Release {
        name: "tiny".to_owned(),
        repository: "owner/tiny".to_owned(),
        revision: "abc123".to_owned(),
        items: files.iter().map(item).collect(),
    }
}

/// Short times, so that a test is done when it is done.
fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(10),
        stall: Duration::from_millis(300),
        backoff: Duration::from_millis(1),
        tries: 3,
    }
}

/// A place to install to, from a server.
struct Pull {
    data: TempDir,
    options: Options,
    events: Vec<String>,
}

impl Pull {
    fn new(endpoint: impl Into<String>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let source = Source::Hub {
            endpoint: endpoint.into(),
            token: None,
            offline: false,
            certificates: None,
        };
        let options = Options {
            release: release(&files()),
            data: data.path().to_owned(),
            source,
            voices: None,
            verify: false,
            patience: patience(),
        };
        Self { data, options, events: Vec::new() }
    }

    fn from(server: &Server) -> Self {
        Self::new(server.endpoint())
    }

    fn run(&mut self) -> Result<Installed, Error> {
        let events = &mut self.events;
        run(&self.options, &mut |event| match event {
            Event::Retry { path, why, .. } => events.push(format!("{path}: {why}")),
            Event::Waiting => events.push("waiting".to_owned()),
            _ => {}
        })
    }

    fn complaint(&mut self) -> String {
        self.run().err().map_or_else(|| "no complaint".to_owned(), |error| error.to_string())
    }

    fn installed(&self) -> Option<Installed> {
        models::installed(self.data.path(), "tiny")
    }

    /// All of it is there to the bit, and nothing else.
    fn check(&self) {
        let model = self.installed().expect("installed");
        assert_eq!(models::verify(&model, &mut |_| {}), []);
        assert_eq!(model.files.len(), files().len());
        for (path, content) in files().iter() {
            assert_eq!(std::fs::read(model.folder.join(path)).unwrap(), *content, "{path}");
        }
        assert!(!model.folder.join(".partial").exists());
    }

    fn partial(&self, path: &str) -> PathBuf {
        let item = self.options.release.items.iter().find(|item| item.path == path).unwrap();
        models::folder(self.data.path(), "tiny").join(".partial").join(&item.sha256)
    }
}

/// The file that a request asks for.
fn asked_for<'a>(files: &'a Files, asked: &Asked) -> Option<(&'a str, &'a [u8])> {
    let path = asked.path.strip_prefix("/owner/tiny/resolve/abc123/")?;
    files.get_key_value(path).map(|(path, content)| (&**path, &**content))
}

/// A good server, but for what `change` does to answers for the weights; it gets the request, the
/// good answer, and how many requests for the weights came before.
fn server(change: impl Fn(&Asked, Reply, usize) -> Reply + Send + Sync + 'static) -> Server {
    let files = files();
    let n_weights = std::sync::atomic::AtomicUsize::new(0);
    Server::new(move |asked| match asked_for(&files, asked) {
        None => Reply::whole(b"<html>no such page</html>").cut(0),
        Some((WEIGHTS, content)) => {
            let nth = n_weights.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            change(asked, Reply::honest(asked, content, ETAG), nth)
        }
        Some((_, content)) => Reply::honest(asked, content, ETAG),
    })
}

fn honest() -> Server {
    server(|_, reply, _| reply)
}

/// The requests for the weights.
fn weights(server: &Server) -> Vec<Asked> {
    server.asked().into_iter().filter(|asked| asked.path.ends_with(WEIGHTS)).collect()
}

#[test]
fn installs_every_file_and_asks_for_none_twice() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let model = pull.run().unwrap();
    pull.check();
    assert_eq!(model, pull.installed().unwrap());
    assert_eq!(model.voices(), ["af_a", "am_b", "bf_c"]);
    assert_eq!(server.asked().len(), 5);
    assert_eq!(server.asked()[1].path, "/owner/tiny/resolve/abc123/voices/af_a.pt");
    assert_eq!(pull.run().unwrap(), model);
    assert_eq!(server.asked().len(), 5);
    assert!(pull.events.is_empty(), "{:?}", pull.events);
}

#[test]
fn offline_makes_no_connection_and_says_what_to_do() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let Source::Hub { offline, .. } = &mut pull.options.source else { unreachable!() };
    *offline = true;
    let complaint = pull.complaint();
    assert!(complaint.contains("HF_HUB_OFFLINE") && complaint.contains("--from"), "{complaint}");
    assert!(server.asked().is_empty());

    pull.options.source = Pull::from(&server).options.source;
    pull.run().unwrap();
    let Source::Hub { offline, .. } = &mut pull.options.source else { unreachable!() };
    *offline = true;
    pull.run().unwrap();
}

#[test]
fn the_environment_tells_of_the_hub() {
    let hub = |variables: &[(&str, &str)]| {
        Source::hub(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    };
    let endpoint = HUGGING_FACE.to_owned();
    assert_eq!(
        hub(&[("HF_TOKEN", " ")]),
        Source::Hub { endpoint, token: None, offline: false, certificates: None }
    );
    let endpoint = "http://mirror".to_owned();
    let variables =
        [("HF_ENDPOINT", "http://mirror"), ("HF_TOKEN", "t\n"), ("HF_HUB_OFFLINE", "True")];
    let token = Some(Token("t".to_owned()));
    assert_eq!(hub(&variables), Source::Hub { endpoint, token, offline: true, certificates: None });
    assert!(matches!(hub(&[("HF_HUB_OFFLINE", "0")]), Source::Hub { offline: false, .. }));
}

#[test]
fn only_the_voices_asked_for_come_and_those_that_are_there_stay() {
    let server = honest();
    let mut pull = Pull::from(&server);
    pull.options.voices = Some(vec!["am_b".to_owned()]);
    assert_eq!(pull.run().unwrap().voices(), ["am_b"]);
    pull.options.voices = Some(vec!["af_a".to_owned()]);
    assert_eq!(pull.run().unwrap().voices(), ["af_a", "am_b"]);
    assert_eq!(server.asked().len(), 4);
    pull.options.voices = Some(vec!["af_z".to_owned()]);
    assert!(pull.complaint().contains("no voice \"af_z\""));
    assert_eq!(pull.installed().unwrap().voices(), ["af_a", "am_b"]);
    pull.options.voices = None;
    pull.run().unwrap();
    pull.check();
}

#[test]
fn what_is_installed_needs_no_place_to_write() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let model = pull.run().unwrap();
    let manifest = models::manifest_path(&model.folder);
    let written = manifest.metadata().unwrap().modified().unwrap();
    // Nobody can lock a folder.
    let lock = model.folder.with_extension("lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    assert_eq!(pull.run().unwrap(), model);
    assert_eq!(manifest.metadata().unwrap().modified().unwrap(), written);
    pull.options.verify = true;
    assert!(pull.complaint().contains("tiny.lock"));
}

#[test]
fn verifying_replaces_what_was_damaged() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let weights = pull.run().unwrap().folder.join(WEIGHTS);
    let mut content = std::fs::read(&weights).unwrap();
    content[5] ^= 4;
    std::fs::write(&weights, &content).unwrap();
    pull.run().unwrap();
    assert_eq!(std::fs::read(&weights).unwrap(), content, "lengths alone do not tell");
    pull.options.verify = true;
    pull.run().unwrap();
    pull.check();
    assert_eq!(server.asked().len(), 6);
    // A file of another length is replaced without being asked.
    std::fs::write(&weights, b"short").unwrap();
    assert!(pull.installed().is_none());
    pull.options.verify = false;
    pull.run().unwrap();
    pull.check();
}

#[test]
fn an_update_that_fails_leaves_what_was_there() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let old = pull.run().unwrap();
    pull.options.release.revision = "def456".to_owned();
    let config =
        pull.options.release.items.iter_mut().find(|item| item.path == "config.json").unwrap();
    config.sha256 = hex(&Sha256::digest(b"a new configuration"));
    // This server has no such revision.
    assert_ne!(pull.complaint(), "no complaint");
    assert_eq!(pull.installed().unwrap(), old);
    pull.check_old(&old);

    let update = Server::new(|asked| {
        assert_eq!(asked.path, "/owner/tiny/resolve/def456/config.json");
        Reply::whole(b"a new configuration")
    });
    pull.options.source = Pull::from(&update).options.source;
    let new = pull.run().unwrap();
    assert_eq!((&*new.revision, update.asked().len()), ("def456", 1));
    assert_eq!(models::verify(&new, &mut |_| {}), []);
}

impl Pull {
    fn check_old(&self, model: &Installed) {
        assert_eq!(models::verify(model, &mut |_| {}), []);
    }
}

#[test]
fn two_at_once_take_turns() {
    let server = honest();
    let pull = Pull::from(&server);
    let n_waited = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let count = |event: Event<'_>| {
                    if event == Event::Waiting {
                        n_waited.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                };
                run(&pull.options, &mut { count }).unwrap();
            });
        }
    });
    pull.check();
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn a_data_folder_that_cannot_be_is_an_error_with_its_name() {
    let server = honest();
    let mut pull = Pull::from(&server);
    std::fs::write(pull.data.path().join("models"), b"a file").unwrap();
    let complaint = pull.complaint();
    assert!(complaint.contains("models"), "{complaint}");
    let full = Error::disk(Path::new("/d/x"))(io::ErrorKind::StorageFull.into()).to_string();
    assert!(full.contains("no space left for /d/x") && full.contains("KOKORO_DATA_DIR"), "{full}");
}

#[test]
fn a_damaged_table_is_not_worked_with() {
    let bad: [fn(&mut Item); 3] = [
        |item| item.path = "../x".to_owned(),
        |item| item.sha256 = "../x".to_owned(),
        |item| item.sha256 = "A".repeat(64),
    ];
    for spoil in bad {
        let mut pull = Pull::new("http://127.0.0.1:1");
        spoil(&mut pull.options.release.items[0]);
        assert!(matches!(pull.run(), Err(Error::Release)));
    }
}
