//! A client that watches the clock: one request, its first byte of sound, its last.

use std::io::{self, Read};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

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
    /// Seconds of sound that a listener who plays at once had left when more came, at the least from
    /// a tenth of a second after the first byte on; below zero it stopped. None where nothing came
    /// so late.
    pub least_ahead: Option<f64>,
}

impl Timed {
    /// Fails unless the request was answered with sound.
    pub fn served(self) -> Result<Self, Error> {
        expect_ok(self.status)?;
        Ok(self)
    }

    /// Seconds of sound in a body of 16 bit samples.
    pub fn sound_seconds(&self) -> f64 {
        koe_audio::seconds(self.bytes / 2)
    }
}

fn expect_ok(status: u16) -> Result<(), Error> {
    if status != 200 {
        return Err(format!("a request was answered {status}").into());
    }
    Ok(())
}

/// An answer of which the head was read. Dropping it hangs up.
struct Answer {
    status: u16,
    body: ureq::BodyReader<'static>,
    begun: Instant,
}

/// Asks for a path; for speech, if there is a request for it.
fn ask(address: &str, path: &str, request: Option<&Value>) -> Result<Answer, Error> {
    // Each request has a connection of its own, as a new listener has.
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .max_redirects(0);
    let (agent, url) = (Agent::new_with_config(config.build()), format!("http://{address}{path}"));
    let begun = Instant::now();
    let answer = match request {
        Some(request) => agent
            .post(url)
            .header("content-type", "application/json")
            .send(request.to_string().as_bytes())?,
        None => agent.get(url).call()?,
    };
    let status = answer.status().as_u16();
    Ok(Answer { status, body: answer.into_body().into_reader(), begun })
}

impl Answer {
    /// Reads the next stretch of the body; no bytes at its end.
    fn next(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let cut = |error: io::Error| {
            format!("the answer was cut short; the server's log tells why: {error}")
        };
        Ok(self.body.read(into).map_err(cut)?)
    }
}

/// The body of a request for raw samples.
pub fn speech(text: &str) -> Value {
    json!({"input": text, "response_format": "pcm"})
}

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;
/// What comes so soon after the first byte belongs to it.
const AT_ONCE: Duration = Duration::from_millis(100);

fn ask_to_speak(address: &str, request: &Value) -> Result<Answer, Error> {
    ask(address, "/v1/audio/speech", Some(request))
}

/// Has a server speak, to the end. Whatever the answer's status: see [`Timed::served`].
pub fn speak(address: &str, request: &Value) -> Result<Timed, Error> {
    let mut answer = ask_to_speak(address, request)?;
    let (mut piece, mut bytes, mut first_byte) = (vec![0; PIECE], 0, None);
    let mut least_ahead = None::<f64>;
    loop {
        let n_bytes = answer.next(&mut piece)?;
        if n_bytes == 0 {
            break;
        }
        let now = answer.begun.elapsed();
        let first = *first_byte.get_or_insert(now);
        if now - first > AT_ONCE {
            let ahead = koe_audio::seconds(bytes / 2) - (now - first).as_secs_f64();
            least_ahead = Some(least_ahead.map_or(ahead, |least| least.min(ahead)));
        }
        bytes += n_bytes as u64;
    }
    let whole = answer.begun.elapsed();
    let first_byte = first_byte.unwrap_or(whole);
    Ok(Timed { status: answer.status, first_byte, whole, bytes, least_ahead })
}

/// An answer that has begun to sound.
fn sounding(address: &str, request: &Value) -> Result<Answer, Error> {
    let mut answer = ask_to_speak(address, request)?;
    expect_ok(answer.status)?;
    answer.next(&mut [0; 1])?;
    Ok(answer)
}

/// Has a server speak, and hangs up at the first byte. When that was.
pub fn hang_up(address: &str, request: &Value) -> Result<Instant, Error> {
    drop(sounding(address, request)?);
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
    let answer = sounding(address, request)?;
    let _ = began.send(());
    // Until the other end of the channel goes.
    let _ = told.recv();
    drop(answer);
    Ok(Instant::now())
}

/// A document of the server.
pub fn get(address: &str, path: &str) -> Result<Value, Error> {
    Ok(serde_json::from_reader(ask(address, path, None)?.body)?)
}
