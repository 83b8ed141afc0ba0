//! A server as tests meet it: a real process, real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::Sandbox;

/// How long to wait for what must happen soon; only a hung test takes it.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Waits for what must happen soon.
#[expect(clippy::disallowed_methods, reason = "another process's state can only be asked for")]
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server on a port of its own, killed when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) key: Option<&'static str>,
    /// Where it lives, if nobody else keeps that.
    _home: Option<Sandbox>,
}

impl Server {
    /// One with the built-in voice, in a home of its own.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(Sandbox::new(), arguments)
    }

    pub(crate) fn start_in(home: Sandbox, arguments: &[&str]) -> Self {
        let mut all = vec!["--model", "builtin"];
        all.extend(arguments);
        let mut server = Self::of(Self::command(&home, &all));
        server._home = Some(home);
        server
    }

    /// The command that starts one on a free port.
    pub(crate) fn command(home: &Sandbox, arguments: &[&str]) -> Command {
        let mut all = vec!["serve", "--port", "0"];
        all.extend(arguments);
        home.koe(&all)
    }

    /// Runs such a command, and waits until the server is ready.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended before it listened");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.split('"').next().unwrap().to_owned();
            }
        };
        // The log must not fill its pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let server = Self { child, address, key: None, _home: None };
        server.eventually("ready", || server.get("/health/ready").0 == 200);
        server
    }

    pub(crate) fn agent() -> ureq::Agent {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(SOON))
            .build()
            .into()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut request = Self::agent().get(self.url(path));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut answer = request.call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let mut request = Self::agent().post(self.url(path));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut answer =
            request.header("content-type", "application/json").send(body.to_string()).unwrap();
        let headers = answer.headers().clone();
        let limit = 1 << 30;
        let bytes = answer.body_mut().with_config().limit(limit).read_to_vec().unwrap();
        Answer { status: answer.status().as_u16(), headers, bytes }
    }

    pub(crate) fn speak(&self, body: Value) -> Answer {
        self.post("/v1/audio/speech", &body)
    }

    /// A request of which only the first bytes of the answer are read.
    pub(crate) fn hang_on(&self, body: &Value) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST /v1/audio/speech HTTP/1.1\r\nhost: koe\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut head = [0; 64];
        stream.read_exact(&mut head).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, holds: impl FnMut() -> bool) {
        eventually(what, holds);
    }

    pub(crate) fn inflight(&self) -> u64 {
        self.json("/status")["requests"]["inflight"].as_u64().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// The events of a stream.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = String::from_utf8(self.bytes.clone()).unwrap();
        let blocks =
            text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
        let data = blocks.map(|block| block.strip_prefix("data: ").unwrap());
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}
