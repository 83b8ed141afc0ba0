//! Pulls from servers that cut, stall, lie and redirect, from folders and bundles, and through
//! kills. No test leaves this machine.

mod kill;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use self::server::{Asked, Reply, Server, Then};
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
        let source = Source::Hub { endpoint: endpoint.into(), token: None, offline: false };
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
fn a_cut_download_goes_on_where_it_stopped() {
    let server = server(|_, reply, _| reply.cut(100_000));
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    let asked = weights(&server);
    assert_eq!(asked.iter().map(|asked| asked.start).collect::<Vec<_>>(), [0, 100_000, 200_000]);
    assert_eq!(asked[1].if_range.as_deref(), Some(ETAG));
    assert_eq!(pull.events.len(), 2);
}

#[test]
fn a_later_pull_goes_on_where_an_earlier_one_gave_up() {
    let broken = server(|_, reply, nth| reply.cut(if nth == 0 { 123_456 } else { 0 }));
    let mut pull = Pull::from(&broken);
    let complaint = pull.complaint();
    assert!(complaint.contains("after 3 tries"), "{complaint}");
    assert!(pull.installed().is_none());
    let whole = honest();
    pull.options.source = Pull::from(&whole).options.source;
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&whole)[0].start, 123_456);
    assert_eq!(weights(&whole).len(), 1);
}

#[test]
fn a_stalled_server_is_left_and_asked_again() {
    let server = server(|_, reply, nth| match nth {
        0 => reply.cut(0).then(Then::Stall),
        1 => reply.cut(150_000).then(Then::Stall),
        _ => reply,
    });
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&server)[2].start, 150_000);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The system accepts connections; nobody reads them.
    let mut pull = Pull::new(format!("http://{}", listener.local_addr().unwrap()));
    let complaint = pull.complaint();
    assert!(complaint.contains("does not answer"), "{complaint}");
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut pull = Pull::new(format!("http://{address}"));
    assert!(pull.complaint().contains("after 3 tries"));
}

#[test]
fn a_trickle_is_a_stall() {
    let server = server(|_, reply, _| reply.then(Then::Trickle(Duration::from_millis(5))));
    let mut pull = Pull::from(&server);
    let complaint = pull.complaint();
    assert!(complaint.contains("too slow"), "{complaint}");
    assert!(weights(&server)[1].start > 0, "what trickled in was thrown away");
}

#[test]
fn a_server_that_ignores_ranges_sends_all_of_it_again() {
    let server = server(|_, reply, nth| match nth {
        0 => reply.cut(100_000),
        _ => Reply::whole(&files()[WEIGHTS]),
    });
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&server).len(), 2);
}

#[test]
fn a_server_that_starts_over_and_over_is_given_up() {
    let server = server(|_, _, _| Reply::whole(&files()[WEIGHTS]).cut(200_000));
    let complaint = Pull::from(&server).complaint();
    assert!(complaint.contains("tries"), "{complaint}");
    assert!(weights(&server).len() <= 5);
}

#[test]
fn a_part_that_was_not_asked_for_is_not_believed() {
    let server = server(|_, reply, nth| match nth {
        0 => reply.cut(100_000),
        1 => {
            let mut reply = Reply::whole(&files()[WEIGHTS][50_000..])
                .header("Content-Range", format!("bytes 50000-299999/{WEIGHTS_BYTES}"));
            reply.status = 206;
            reply
        }
        _ => reply,
    });
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&server)[2].start, 0);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_from_the_start() {
    let changed = server(|asked, reply, nth| match nth {
        0 => reply.cut(100_000),
        _ => Reply::honest(asked, &files()[WEIGHTS], "\"other\""),
    });
    let mut pull = Pull::from(&changed);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&changed)[1].if_range.as_deref(), Some(ETAG));

    // A weak tag promises nothing, and is not sent back.
    let weak = server(|_, reply, nth| {
        let mut reply = reply.cut(if nth == 0 { 100_000 } else { WEIGHTS_BYTES });
        reply.headers.retain(|(name, _)| name != "ETag");
        reply.header("ETag", "W/\"tag\"")
    });
    let mut pull = Pull::from(&weak);
    pull.run().unwrap();
    assert!(weights(&weak)[1].if_range.is_none() && weights(&weak)[1].start == 100_000);
}

#[test]
fn garbage_of_an_earlier_pull_is_found_out() {
    for garbage in [vec![1; 1000], vec![1; WEIGHTS_BYTES], vec![1; WEIGHTS_BYTES + 1]] {
        let server = honest();
        let mut pull = Pull::from(&server);
        let partial = pull.partial(WEIGHTS);
        std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
        std::fs::write(&partial, garbage).unwrap();
        pull.run().unwrap();
        pull.check();
    }
    // A small file that is longer than the real one: the server has no such part.
    let server = honest();
    let mut pull = Pull::from(&server);
    let partial = pull.partial("config.json");
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, vec![1; 5000]).unwrap();
    pull.run().unwrap();
    pull.check();
}

#[test]
fn what_an_earlier_pull_completed_is_not_asked_for() {
    let server = honest();
    let mut pull = Pull::from(&server);
    for (path, content) in files().iter() {
        std::fs::create_dir_all(pull.partial(path).parent().unwrap()).unwrap();
        std::fs::write(pull.partial(path), content).unwrap();
    }
    pull.run().unwrap();
    pull.check();
    assert!(server.asked().is_empty());
}

#[test]
fn wrong_bytes_are_deleted_and_named() {
    let wrong = server(|_, mut reply, _| {
        reply.body[77] ^= 1;
        reply
    });
    let mut pull = Pull::from(&wrong);
    let complaint = pull.complaint();
    assert!(complaint.contains("weights.pth is not the published file"), "{complaint}");
    assert!(!pull.partial(WEIGHTS).exists() && pull.installed().is_none());
    assert_eq!(weights(&wrong).len(), 1);
}

#[test]
fn a_wrong_length_is_noticed_before_anything_is_written() {
    let login = server(|_, _, _| Reply::whole(b"<html>please log in</html>"));
    let mut pull = Pull::from(&login);
    let complaint = pull.complaint();
    assert!(complaint.contains("sends 26 bytes") && complaint.contains("300000"), "{complaint}");
    assert_eq!(pull.partial(WEIGHTS).metadata().unwrap().len(), 0);

    let files = files();
    let endless = Server::new(move |asked| match asked_for(&files, asked) {
        Some(("config.json", _)) => Reply::whole(&[b' '; 1 << 20]),
        _ => Reply::new(404),
    });
    let complaint = Pull::from(&endless).complaint();
    assert!(complaint.contains("config.json") && complaint.contains("10000"), "{complaint}");
}

#[test]
fn a_body_that_does_not_end_is_left() {
    // Without a length the end of the connection is the end of the body.
    let files = files();
    let endless = Server::new(move |asked| match asked_for(&files, asked) {
        Some(("config.json", _)) => Reply { body: vec![b' '; 1 << 20], ..Reply::new(200) },
        _ => Reply::new(404),
    });
    let mut pull = Pull::from(&endless);
    let complaint = pull.complaint();
    assert!(complaint.contains("at most 10000"), "{complaint}");
    assert!(pull.partial("config.json").metadata().unwrap().len() <= 10_000);

    // Of the weights the length is known, so a cut is one even then.
    let unnamed = server(|_, reply, nth| {
        let mut reply = reply.cut(if nth == 0 { 100_000 } else { WEIGHTS_BYTES });
        reply.headers.retain(|(name, _)| name != "Content-Length");
        reply
    });
    let mut pull = Pull::from(&unnamed);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&unnamed)[1].start, 100_000);
}

#[test]
fn a_promise_of_more_than_comes_is_a_cut() {
    let files = files();
    let short = Server::new(move |asked| {
        let (path, content) = asked_for(&files, asked).unwrap();
        let reply = Reply::honest(asked, content, ETAG);
        if path == "config.json" && asked.start == 0 { reply.cut(500) } else { reply }
    });
    let mut pull = Pull::from(&short);
    pull.run().unwrap();
    pull.check();
}

#[test]
fn redirects_are_followed_and_the_token_stays_at_home() {
    let cdn = {
        let files = files();
        Server::new(move |asked| {
            let path = asked.path.strip_prefix("/cdn/").unwrap().split('?').next().unwrap();
            Reply::honest(asked, &files[path], ETAG)
        })
    };
    // The same machine under another name is another host.
    let elsewhere = format!("http://localhost:{}/cdn/", cdn.port);
    let hub = Server::new(move |asked| {
        let path = asked.path.strip_prefix("/hub/owner/tiny/resolve/abc123/");
        match path {
            // First within the host, by a path; then to the other.
            Some(path) => Reply::new(307).header("Location", format!("/moved/{path}")),
            None => {
                let path = asked.path.strip_prefix("/moved/").unwrap();
                Reply::new(302).header("Location", format!("{elsewhere}{path}?signature=1"))
            }
        }
    });
    let mut pull = Pull::new(format!("{}/hub/", hub.endpoint()));
    let Source::Hub { token, .. } = &mut pull.options.source else { unreachable!() };
    *token = Some(Token("hf_secret".to_owned()));
    assert!(!format!("{:?}", pull.options).contains("secret"));
    pull.run().unwrap();
    pull.check();
    assert!(hub.asked().len() == 10 && cdn.asked().len() == 5);
    let shown = |asked: &Asked| asked.authorization.as_deref() == Some("Bearer hf_secret");
    assert!(hub.asked().iter().all(shown));
    assert!(cdn.asked().iter().all(|asked| asked.authorization.is_none()));
}

#[test]
fn redirects_that_lead_nowhere_end() {
    let cases: [(&str, &str); 4] = [
        ("/owner/tiny/resolve/abc123/config.json", "without end"),
        ("ftp://example.test/", "to nowhere"),
        ("http://", "to nowhere"),
        ("", "without end"),
    ];
    for (location, expected) in cases {
        let loops = Server::new(move |_| Reply::new(302).header("Location", location));
        let complaint = Pull::from(&loops).complaint();
        assert!(complaint.contains(expected), "{location}: {complaint}");
        assert!(loops.asked().len() <= 11);
    }
    let silent = Server::new(|_| Reply::new(302));
    assert!(Pull::from(&silent).complaint().contains("to nowhere"));
}

#[test]
fn a_refusal_is_told_at_once_with_what_to_do() {
    for (status, expected) in [
        (401, "HF_TOKEN"),
        (403, "HF_TOKEN"),
        (404, "no config.json of owner/tiny at revision abc123: check HF_ENDPOINT"),
        (410, "HF_ENDPOINT"),
        (418, "418"),
        (204, "204"),
    ] {
        let server = Server::new(move |_| Reply::new(status).header("Content-Length", 0));
        let complaint = Pull::from(&server).complaint();
        assert!(complaint.contains(expected), "{status}: {complaint}");
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[test]
fn trouble_that_passes_is_waited_for() {
    for status in [408, 429, 500, 502, 503, 504] {
        let server = server(move |_, reply, nth| match nth {
            0 => Reply::new(status).header("Retry-After", 0).header("Content-Length", 0),
            _ => reply,
        });
        let mut pull = Pull::from(&server);
        pull.run().unwrap();
        pull.check();
        assert!(pull.events[0].contains(&status.to_string()), "{:?}", pull.events);
    }
    let down = Server::new(|_| Reply::new(503).header("Content-Length", 0));
    let complaint = Pull::from(&down).complaint();
    assert!(complaint.contains("after 3 tries") && complaint.contains("503"), "{complaint}");
    assert_eq!(down.asked().len(), 3);
}

#[test]
fn what_is_no_http_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = io::Write::write_all(&mut stream, b"220 smtp at your service\r\n\r\n");
        }
    });
    assert_ne!(Pull::new(format!("http://{address}")).complaint(), "no complaint");
    // Encryption where there is none.
    let plain = honest();
    let complaint = Pull::new(format!("https://127.0.0.1:{}", plain.port)).complaint();
    assert_ne!(complaint, "no complaint");
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
    assert_eq!(hub(&[("HF_TOKEN", " ")]), Source::Hub { endpoint, token: None, offline: false });
    let endpoint = "http://mirror".to_owned();
    let variables =
        [("HF_ENDPOINT", "http://mirror"), ("HF_TOKEN", "t\n"), ("HF_HUB_OFFLINE", "True")];
    let token = Some(Token("t".to_owned()));
    assert_eq!(hub(&variables), Source::Hub { endpoint, token, offline: true });
    assert!(matches!(hub(&[("HF_HUB_OFFLINE", "0")]), Source::Hub { offline: false, .. }));
}

#[test]
fn a_token_that_cannot_be_sent_is_an_error_without_the_token() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let Source::Hub { token, .. } = &mut pull.options.source else { unreachable!() };
    *token = Some(Token("secret\r\nX-Evil: 1".to_owned()));
    let complaint = pull.complaint();
    assert!(complaint.contains("cannot be asked") && !complaint.contains("secret"), "{complaint}");
    assert!(server.asked().is_empty());
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

/// The published files in a folder.
fn folder_of(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files.iter() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

#[test]
fn a_folder_is_a_source_and_is_proven_too() {
    let folder = folder_of(&files());
    let mut pull = Pull::new("http://127.0.0.1:1");
    pull.options.source = Source::local(folder.path());
    std::fs::remove_file(folder.path().join("voices/bf_c.pt")).unwrap();
    assert_eq!(pull.run().unwrap().voices(), ["af_a", "am_b"], "a folder may have fewer voices");
    pull.options.voices = Some(vec!["bf_c".to_owned()]);
    assert!(pull.complaint().ends_with("has no voices/bf_c.pt"));
    std::fs::write(folder.path().join("voices/bf_c.pt"), &files()["voices/bf_c.pt"]).unwrap();
    pull.run().unwrap();
    pull.check();

    for (path, content) in
        [(WEIGHTS, vec![0; WEIGHTS_BYTES]), (WEIGHTS, vec![0; 5]), ("config.json", vec![0; 20_000])]
    {
        let folder = folder_of(&files());
        std::fs::write(folder.path().join(path), content).unwrap();
        let mut pull = Pull::new("http://127.0.0.1:1");
        pull.options.source = Source::local(folder.path());
        let complaint = pull.complaint();
        assert!(complaint.contains(path), "{complaint}");
        assert!(pull.installed().is_none());
    }
    let mut pull = Pull::new("http://127.0.0.1:1");
    pull.options.source = Source::local(&folder.path().join("voices"));
    assert!(pull.complaint().contains("has no config.json"));
}

#[test]
fn a_bundle_carries_a_model_to_another_machine() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let model = pull.run().unwrap();
    let bundle = pull.data.path().join("bundle.tar");
    export(&model, std::fs::File::create(&bundle).unwrap()).unwrap();
    let mut other = Pull::new("http://127.0.0.1:1");
    other.options.source = Source::local(&bundle);
    other.run().unwrap();
    other.check();

    let whole = std::fs::read(&bundle).unwrap();
    for n_bytes in (0..whole.len()).step_by(9_973) {
        let cut = other.data.path().join("cut.tar");
        std::fs::write(&cut, &whole[..n_bytes]).unwrap();
        let mut pull = Pull::new("http://127.0.0.1:1");
        pull.options.source = Source::local(&cut);
        assert_ne!(pull.complaint(), "no complaint", "{n_bytes} bytes");
        assert!(pull.installed().is_none());
    }
}

#[test]
fn a_bundle_cannot_write_anywhere_else() {
    let files = files();
    let entry = |name: &str, kind: tar::EntryType, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        // The library refuses such names; an attacker's does not.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let padding = content.len().next_multiple_of(512) - content.len();
        [header.as_bytes(), content, &vec![0; padding]].concat()
    };
    let complaint = |entries: &[Vec<u8>]| {
        let mut pull = Pull::new("http://127.0.0.1:1");
        let bundle = pull.data.path().join("bundle.tar");
        std::fs::write(&bundle, [&entries.concat()[..], &[0; 1024]].concat()).unwrap();
        pull.options.source = Source::Bundle(bundle);
        pull.complaint()
    };
    let regular = tar::EntryType::Regular;
    let all: Vec<Vec<u8>> =
        files.iter().map(|(path, content)| entry(&format!("./{path}"), regular, content)).collect();
    let with = |more: Vec<u8>| complaint(&[all.clone(), vec![more]].concat());
    assert_eq!(complaint(&all), "no complaint");
    assert_eq!(with(entry("tiny/README.md", regular, b"hello")), "no complaint");
    assert_eq!(with(entry("tiny/", tar::EntryType::Directory, b"")), "no complaint");
    for name in ["../evil", "/etc/evil", "tiny/../../evil", "tiny\\..\\evil"] {
        let complaint = with(entry(name, regular, b"evil"));
        assert!(complaint.contains("leave the folder"), "{name}: {complaint}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        assert!(with(entry("tiny/config.json", kind, b"")).contains("a link or a device"));
    }
    let twice = with(entry("tiny/config.json", regular, &files["config.json"]));
    assert!(twice.contains("there twice"), "{twice}");
    let huge = complaint(&[entry("config.json", regular, &[0; 20_000])]);
    assert!(huge.contains("at most 10000"), "{huge}");
    assert!(complaint(&[entry("config.json", regular, b"{}")]).contains("not the published file"));
    let many = vec![entry("x", regular, b""); 5000];
    assert!(complaint(&many).contains("more than 4096 entries"));
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
