//! Kills real processes in the middle of pulls: whatever the moment, nothing is half installed.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

const CHILD: &str = "pull::tests::kill::is_killed_by_the_other_test";
const ENDPOINT: &str = "KOE_TEST_ENDPOINT";
const DATA: &str = "KOE_TEST_DATA";

/// The process that is killed: the same test program, asked for this one "test".
#[test]
#[ignore = "run by the test below in a process of its own"]
fn is_killed_by_the_other_test() {
    let variable = |name| std::env::var(name).expect("set by the test below");
    let mut pull = Pull::new(variable(ENDPOINT));
    pull.options.data = variable(DATA).into();
    pull.options.patience.stall = Duration::from_secs(60);
    pull.run().unwrap();
}

/// Serves until it has sent as many bytes as it may, says so, and then nothing more.
struct Limited {
    port: u16,
    allowed: Arc<AtomicUsize>,
    reached: Receiver<()>,
    /// Holds what the killed leave.
    temporary: TempDir,
}

impl Limited {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let allowed = Arc::new(AtomicUsize::new(0));
        let (sender, reached) = channel();
        let (shared, sender) = (Arc::clone(&allowed), Arc::new(Mutex::new(sender)));
        std::thread::spawn(move || {
            let files = files();
            for stream in listener.incoming().flatten() {
                let sender = sender.lock().unwrap().clone();
                let _ = Self::serve(stream, &files, &shared, &sender);
            }
        });
        Self { port, allowed, reached, temporary: tempfile::tempdir().unwrap() }
    }

    fn serve(
        mut stream: TcpStream,
        files: &Files,
        allowed: &AtomicUsize,
        reached: &Sender<()>,
    ) -> Option<()> {
        let asked = server::read_request(&stream)?;
        let (_, content) = asked_for(files, &asked)?;
        let reply = Reply::honest(&asked, content, ETAG);
        stream.write_all(server::head(&reply).as_bytes()).ok()?;
        for piece in reply.body.chunks(1000) {
            let left = allowed.load(Ordering::SeqCst);
            stream.write_all(&piece[..piece.len().min(left)]).ok()?;
            allowed.store(left.saturating_sub(piece.len()), Ordering::SeqCst);
            if left <= piece.len() {
                reached.send(()).ok()?;
                server::wait_for_the_end(&mut stream);
                return None;
            }
        }
        Some(())
    }

    fn child(&self, data: &Path, allowed: usize) -> Child {
        self.allowed.store(allowed, Ordering::SeqCst);
        Command::new(std::env::current_exe().unwrap())
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .env(ENDPOINT, format!("http://127.0.0.1:{}", self.port))
            .env(DATA, data)
            .env("TMPDIR", self.temporary.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// An older revision, of files of the same lengths: what a pull is to replace.
fn install_older(pull: &Pull) {
    let folder = models::folder(pull.data.path(), "tiny");
    let mut older = Vec::new();
    for (path, content) in files().iter() {
        let content = older_content(content);
        std::fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        std::fs::write(folder.join(path), &content).unwrap();
        let (bytes, sha256) = (content.len() as u64, hex(&Sha256::digest(&content)));
        older.push(InstalledFile { path: path.clone(), bytes, sha256 });
    }
    let Release { name, repository, .. } = pull.options.release.clone();
    let manifest = models::manifest_path(&folder);
    let model = Installed { name, folder, repository, revision: "older".to_owned(), files: older };
    std::fs::write(manifest, models::manifest(&model)).unwrap();
    assert_eq!(models::verify(&pull.installed().unwrap(), &mut |_| {}), []);
}

fn older_content(content: &[u8]) -> Vec<u8> {
    content.iter().map(|byte| !byte).collect()
}

/// Either it is installed and whole, or it is not installed; files with final names are whole.
fn check_after_a_kill(pull: &Pull) {
    if let Some(model) = pull.installed() {
        assert_eq!(models::verify(&model, &mut |_| {}), []);
    }
    for (path, content) in files().iter() {
        let found = std::fs::read(models::folder(pull.data.path(), "tiny").join(path));
        let known = |found: &Vec<u8>| *found == *content || *found == older_content(content);
        assert!(found.is_err() || known(&found.unwrap()), "{path} is there and wrong");
    }
}

/// Bytes of all downloads on their way.
fn stored(pull: &Pull) -> usize {
    let size = |path: &String| pull.partial(path).metadata().map_or(0, |meta| meta.len() as usize);
    files().keys().map(size).sum()
}

#[test]
#[cfg(unix)]
fn killed_at_any_moment_nothing_is_half_installed_and_the_next_one_goes_on() {
    let n_all: usize = files().values().map(Vec::len).sum();
    let server = Limited::new();
    let mut pull = Pull::new(format!("http://127.0.0.1:{}", server.port));

    // In the middle of the download. Every other process is killed at once, when some of what was
    // sent is in no file yet; the others when all of it is.
    let mut random = 12345usize;
    let mut n_stored = 0;
    for round in 0..40 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let allowed = 1 + (random >> 33) % 40_000;
        if n_stored + allowed >= n_all {
            break;
        }
        let mut child = server.child(pull.data.path(), allowed);
        server.reached.recv_timeout(Duration::from_secs(60)).expect("the process got this far");
        let patient = Instant::now();
        while round % 2 == 0 && stored(&pull) < n_stored + allowed {
            assert!(patient.elapsed() < Duration::from_secs(60), "it does not go on where it was");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        check_after_a_kill(&pull);
        assert!(pull.installed().is_none() && stored(&pull) >= n_stored);
        n_stored = stored(&pull);
    }
    assert!(n_stored > n_all / 2, "{n_stored} of {n_all}");
    server.allowed.store(usize::MAX, Ordering::SeqCst);
    pull.run().unwrap();
    pull.check();
    let n_sent = usize::MAX - server.allowed.load(Ordering::SeqCst);
    assert_eq!(n_sent, n_all - n_stored, "something was fetched twice");

    // After the last byte, while checksums are compared, files renamed and the manifest written;
    // every other time over an older revision.
    let undisturbed = {
        let pull = Pull::new("");
        let mut child = server.child(pull.data.path(), n_all);
        server.reached.recv_timeout(Duration::from_secs(60)).expect("the process got this far");
        let sent = Instant::now();
        assert!(child.wait().unwrap().success());
        pull.check();
        sent.elapsed()
    };
    let mut n_unfinished = 0;
    for round in 0..24u32 {
        let pull = Pull::new("");
        if round % 2 == 0 {
            install_older(&pull);
        }
        let mut child = server.child(pull.data.path(), n_all);
        server.reached.recv_timeout(Duration::from_secs(60)).expect("the process got this far");
        let sent = Instant::now();
        while sent.elapsed() < undisturbed * round / 60 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        check_after_a_kill(&pull);
        let revision = pull.installed().map(|model| model.revision);
        n_unfinished += u32::from(revision.as_deref() != Some("abc123"));
        let mut again = Pull::new(format!("http://127.0.0.1:{}", server.port));
        server.allowed.store(usize::MAX, Ordering::SeqCst);
        again.options.data = pull.data.path().to_owned();
        again.run().unwrap();
        pull.check();
    }
    assert!(n_unfinished > 0, "no kill came in time");
}
