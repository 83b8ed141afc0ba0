//! A client that watches the clock: one request, its first byte of sound, its last.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Error;

/// How a request went.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// The answer's status.
    pub status: u16,
    /// From the request to the first byte of the answer's body.
    pub first_byte: Duration,
    /// To its last.
    pub whole: Duration,
    /// Bytes of the body, as they were sent.
    pub bytes: u64,
}

impl Timed {
    /// Seconds of sound in a body of 16 bit samples.
    pub fn sound_seconds(&self) -> f64 {
        koe_audio::seconds(self.bytes / 2)
    }
}

/// An answer of which the head was read.
struct Answer {
    status: u16,
    body: BufReader<TcpStream>,
    is_chunked: bool,
    begun: Instant,
}

fn begin(address: &str, method: &str, path: &str, body: &str) -> Result<Answer, Error> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: koe\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut body = BufReader::new(stream);
    let mut line = String::new();
    body.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no HTTP: {line:?}"))?;
    let mut is_chunked = false;
    loop {
        line.clear();
        body.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        is_chunked |= header == "transfer-encoding: chunked";
        if header.is_empty() {
            return Ok(Answer { status, body, is_chunked, begun });
        }
    }
}

impl Answer {
    /// Reads the next stretch of the body; none at its end.
    fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        into.clear();
        if !self.is_chunked {
            return Ok(self.body.by_ref().take(1 << 16).read_to_end(into)? > 0);
        }
        let mut line = String::new();
        self.body.read_line(&mut line)?;
        let n_bytes = u64::from_str_radix(line.trim(), 16)
            .map_err(|_| "the answer was cut short; the server's log tells why")?;
        self.body.by_ref().take(n_bytes).read_to_end(into)?;
        line.clear();
        self.body.read_line(&mut line)?;
        Ok(n_bytes > 0)
    }
}

/// The body of a request for raw samples.
pub fn speech(text: &str) -> Value {
    json!({"input": text, "response_format": "pcm"})
}

/// Has a server speak, to the end.
pub fn speak(address: &str, request: &Value) -> Result<Timed, Error> {
    let mut answer = begin(address, "POST", "/v1/audio/speech", &request.to_string())?;
    let (mut part, mut bytes, mut first_byte) = (Vec::new(), 0, None);
    while answer.next(&mut part)? {
        first_byte.get_or_insert_with(|| answer.begun.elapsed());
        bytes += part.len() as u64;
    }
    let whole = answer.begun.elapsed();
    Ok(Timed { status: answer.status, first_byte: first_byte.unwrap_or(whole), whole, bytes })
}

/// Has a server speak, and hangs up at the first byte. When that was.
pub fn hang_up(address: &str, request: &Value) -> Result<Instant, Error> {
    let mut answer = begin(address, "POST", "/v1/audio/speech", &request.to_string())?;
    if answer.status != 200 {
        return Err(format!("a request was answered {}", answer.status).into());
    }
    answer.next(&mut Vec::new())?;
    answer.body.get_ref().shutdown(Shutdown::Both)?;
    Ok(Instant::now())
}

/// Has a server speak and listens until `told` is closed, then hangs up. `began` hears of the first
/// sound; it is dropped unheard where there is none.
pub fn hang_up_when(
    address: &str,
    request: &Value,
    began: mpsc::Sender<()>,
    told: &mpsc::Receiver<()>,
) -> Result<Instant, Error> {
    let mut answer = begin(address, "POST", "/v1/audio/speech", &request.to_string())?;
    if answer.status != 200 {
        return Err(format!("a request was answered {}", answer.status).into());
    }
    answer.next(&mut Vec::new())?;
    let _ = began.send(());
    // Until the other end of the channel goes.
    let _ = told.recv();
    answer.body.get_ref().shutdown(Shutdown::Both)?;
    Ok(Instant::now())
}

/// A document of the server.
pub fn get(address: &str, path: &str) -> Result<Value, Error> {
    let mut answer = begin(address, "GET", path, "")?;
    let (mut part, mut body) = (Vec::new(), Vec::new());
    while answer.next(&mut part)? {
        body.extend_from_slice(&part);
    }
    Ok(serde_json::from_slice(&body)?)
}
