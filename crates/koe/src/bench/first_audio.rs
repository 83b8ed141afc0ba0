//! How soon a listener hears something: by the length of the text, by how it begins and by how many
//! listen at once; whether the sound ever waits for what is still made; and what it costs to be
//! refused, or to leave.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::server::Server;
use super::{Error, Report, Target, client, words};

/// Words of the texts.
const LENGTHS: [usize; 3] = [10, 100, 1000];
/// How texts begin, because the first chunk ends where a speaker would rest.
const OPENINGS: [(&str, &str); 3] = [
    ("a greeting, then 90 words", "Good evening. "),
    ("16 words without a rest, then 90", CLIMB),
    ("a list, then 90 words", "Milk.\n\nEggs.\n\nFlour.\n\n"),
];
const CLIMB: &str = "The old keeper climbed the spiral stairs of the lighthouse every evening at dusk \
    in winter. ";
/// Listeners at once of a short text.
const STREAMS: [usize; 3] = [1, 4, 16];
/// And of a long one that begins like the second opening, whose sound must not wait for that of others.
const LONG_STREAMS: [usize; 2] = [2, 4];

/// `rounds` requests for every length, a fourth of that for every opening, `rounds` for every
/// number of streams, and a few for every number of long ones.
pub fn run(target: &Target, rounds: usize) -> Result<Report, Error> {
    let mut report = Report::new("first-audio", target);
    let server = Server::start(target, None, &[])?;
    let address = &server.address;
    for n in LENGTHS {
        let request = client::speech(&words(n));
        let mut first = Vec::new();
        for _ in 0..rounds {
            first.push(first_byte(address, &request)?);
            wait_until_idle(address)?;
        }
        report.push(format!("{n} words: first byte"), "ms", &first);
    }
    for (name, opening) in OPENINGS {
        let request = client::speech(&format!("{opening}{}", words(90)));
        let (mut first, mut ahead) = (Vec::new(), Vec::new());
        for _ in 0..rounds.div_ceil(4) {
            let timed = client::speak(address, &request)?.served()?;
            first.push(ms(timed.first_byte));
            ahead.extend(timed.least_ahead);
        }
        report.push(format!("{name}: first byte"), "ms", &first);
        report.push(format!("{name}: least sound ahead"), "s", &ahead);
    }
    for n in STREAMS {
        let (mut first, mut per_second) = (Vec::new(), Vec::new());
        for _ in 0..rounds.div_ceil(n).max(2) {
            let begun = Instant::now();
            for timed in at_once(address, n, &words(10))? {
                first.push(ms(timed.first_byte));
            }
            per_second.push(n as f64 / begun.elapsed().as_secs_f64());
        }
        report.push(format!("{n} streams of 10 words: first byte"), "ms", &first);
        report.push(format!("{n} streams of 10 words: requests"), "1/s", &per_second);
    }
    for n in LONG_STREAMS {
        let (mut first, mut ahead) = (Vec::new(), Vec::new());
        for _ in 0..rounds.div_ceil(8) {
            for timed in at_once(address, n, &format!("{CLIMB}{}", words(90)))? {
                first.push(ms(timed.first_byte));
                ahead.extend(timed.least_ahead);
            }
        }
        report.push(format!("{n} streams of 106 words: first byte"), "ms", &first);
        report.push(format!("{n} streams of 106 words: least sound ahead"), "s", &ahead);
    }
    let mut idle_after = Vec::new();
    for _ in 0..rounds {
        let left = client::hang_up(address, &client::speech(&words(1000)))?;
        wait_until_idle(address)?;
        idle_after.push(ms(left.elapsed()));
    }
    report.push("from hanging up to idle processors", "ms", &idle_after);
    if let Some(memory) = server.memory() {
        report.push("resident", "MB", &[memory.resident_bytes as f64 / 1e6]);
        report.push("peak", "MB", &[memory.peak_bytes as f64 / 1e6]);
        report.push("of its own", "MB", &[memory.own_bytes as f64 / 1e6]);
    }
    drop(server);

    let full = Server::start(target, None, &["--max-requests", "1"])?;
    let mut refused = Vec::new();
    let long = client::speech(&words(1000));
    let (address, (tell, told)) = (full.address.clone(), mpsc::channel());
    let (began, begins) = mpsc::channel();
    let busy = std::thread::spawn(move || {
        let left = client::hang_up_when(&address, &long, began, &told);
        left.map(drop)
    });
    // Else what follows might take the only place itself.
    if begins.recv().is_err() {
        return Err("a server with one place did not serve the first to come".into());
    }
    // The only place is taken once it is refused to others.
    let deadline = Instant::now() + Duration::from_secs(60);
    let request = client::speech("No.");
    while client::speak(&full.address, &request)?.status != 429 {
        if Instant::now() > deadline {
            return Err("a full server did not refuse".into());
        }
    }
    for _ in 0..rounds.max(20) {
        let timed = client::speak(&full.address, &request)?;
        if timed.status == 429 {
            refused.push(ms(timed.whole));
        }
    }
    drop(tell);
    busy.join().map_err(|_| "the busy client panicked")??;
    report.push("refused when full (429)", "ms", &refused);
    Ok(report)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn first_byte(address: &str, request: &serde_json::Value) -> Result<f64, Error> {
    let begun = Instant::now();
    let left = client::hang_up(address, request)?;
    Ok(ms(left - begun))
}

/// `n` requests that come together.
pub(super) fn at_once(address: &str, n: usize, text: &str) -> Result<Vec<client::Timed>, Error> {
    let request = client::speech(text);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..n).map(|_| scope.spawn(|| client::speak(address, &request)?.served())).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("a client panicked".into()))
        };
        threads.into_iter().map(join).collect()
    })
}

/// Asks again and again until nothing is computed.
fn wait_until_idle(address: &str) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = client::get(address, "/status")?;
        if status["engine"]["busy_lanes"] == 0 && status["requests"]["inflight"] == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the server is busy though nobody listens".into());
        }
    }
}
