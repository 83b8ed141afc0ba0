//! A small HTTP server on this machine that misbehaves as it is told.
//!
//! One connection carries one request; every handler runs on a thread of its own. Nothing here
//! waits for a time to pass: a server that stalls waits for its client to leave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a client asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) path: String,
    /// First byte of the range, 0 without one.
    pub(super) start: usize,
    pub(super) if_range: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) host: String,
    /// How many requests came before this one.
    pub(super) nth: usize,
}

/// What it gets.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) then: Then,
}

/// What happens once the body was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Then {
    /// The connection is closed.
    #[default]
    Close,
    /// Nothing, until the client leaves.
    Stall,
    /// The body is sent byte by byte, with this time between them, until the client leaves.
    Trickle(Duration),
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// A whole body with its true length.
    pub(super) fn whole(body: &[u8]) -> Self {
        let length = body.len();
        Self { body: body.to_vec(), ..Self::new(200) }.header("Content-Length", length)
    }

    /// What a good server answers: the part asked for, or all of it if the tag does not fit.
    pub(super) fn honest(asked: &Asked, body: &[u8], etag: &str) -> Self {
        let fits = asked.if_range.as_deref().is_none_or(|tag| tag == etag);
        let reply = match asked.start {
            0 => Self::whole(body),
            _ if !fits => Self::whole(body),
            start if start >= body.len() => Self::new(416)
                .header("Content-Range", format!("bytes */{}", body.len()))
                .header("Content-Length", 0),
            start => {
                let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
                let mut reply = Self::whole(&body[start..]).header("Content-Range", range);
                reply.status = 206;
                reply
            }
        };
        reply.header("ETag", etag)
    }

    /// Only the first bytes of the body are sent, whatever its headers promise.
    pub(super) fn cut(mut self, n_bytes: usize) -> Self {
        self.body.truncate(n_bytes);
        self
    }

    pub(super) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

/// Listens until the process ends.
pub(super) struct Server {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(super) fn new(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || {
                    let Some(mut asked) = read_request(&stream) else { return };
                    {
                        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                        asked.nth = log.len();
                        log.push(asked.clone());
                    }
                    // A client that leaves early is what many tests are about.
                    let _ = send(stream, answer(&asked));
                });
            }
        });
        Self { port, asked }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads one request to the end of its headers.
pub(super) fn read_request(stream: impl Read) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut asked = Asked { path: first.split(' ').nth(1)?.to_owned(), ..Asked::default() };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match &*name.to_lowercase() {
            "range" => {
                asked.start = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
            }
            "if-range" => asked.if_range = Some(value.to_owned()),
            "authorization" => asked.authorization = Some(value.to_owned()),
            "host" => asked.host = value.to_owned(),
            _ => {}
        }
    }
    Some(asked)
}

fn send(mut stream: TcpStream, reply: Reply) -> std::io::Result<()> {
    stream.write_all(head(&reply).as_bytes())?;
    match reply.then {
        Then::Close => stream.write_all(&reply.body),
        Then::Stall => {
            stream.write_all(&reply.body)?;
            wait_for_the_end(&mut stream);
            Ok(())
        }
        Then::Trickle(pause) => {
            stream.set_read_timeout(Some(pause))?;
            for byte in reply.body {
                stream.write_all(&[byte])?;
                if stream.read(&mut [0]).is_ok() {
                    break;
                }
            }
            Ok(())
        }
    }
}

/// Until the client leaves.
pub(super) fn wait_for_the_end(stream: &mut TcpStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
}

/// The status line and headers.
pub(super) fn head(reply: &Reply) -> String {
    let mut head = format!("HTTP/1.1 {} Whatever\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}
