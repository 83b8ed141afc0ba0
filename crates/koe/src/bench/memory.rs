//! Whether long use costs memory: the resident set over thousands of requests of every kind.

use serde_json::{Value, json};

use super::server::Server;
use super::{Error, Report, Series, Target, client, words};

/// How often the memory is looked at.
const EVERY: usize = 25;
/// The memory after so many requests is what later memory is held against.
const SETTLED: usize = 100;

/// `n` requests, one after the other, of mixed lengths, formats, speeds and voices.
pub fn run(target: &Target, n: usize) -> Result<Report, Error> {
    if n <= SETTLED {
        return Err(format!("more than {SETTLED} requests are needed to see a trend").into());
    }
    let mut report = Report::new("memory", target);
    let server = Server::start(target, None, &[])?;
    let voices = client::get(&server.address, "/v1/audio/voices")?;
    let voices: Vec<String> = voices["voices"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|voice| voice["id"].as_str().or_else(|| voice.as_str()).map(str::to_owned))
        .collect();
    let mut resident = Vec::new();
    let mut settled = None;
    for i in 1..=n {
        let timed = client::speak(&server.address, &request(i, &voices))?;
        if timed.status != 200 {
            return Err(format!("request {i} was answered {}", timed.status).into());
        }
        if i % EVERY == 0 || i == SETTLED {
            let memory = server.memory().ok_or("the system does not tell of memory")?;
            resident.push((i as f64, memory.resident_bytes as f64 / 1e6));
            if i == SETTLED {
                settled = Some(memory.resident_bytes as f64 / 1e6);
            }
        }
    }
    let last = resident.last().map_or(0.0, |(_, mb)| *mb);
    let settled = settled.unwrap_or(last);
    report.push(format!("resident after {SETTLED} requests"), "MB", &[settled]);
    report.push(format!("resident after {n} requests"), "MB", &[last]);
    report.push("the one over the other", "x", &[last / settled]);
    let all: Vec<f64> = resident.iter().map(|(_, mb)| *mb).collect();
    report.push("resident over all", "MB", &all);
    report.series.push(Series { name: "requests, resident MB".to_owned(), points: resident });
    Ok(report)
}

/// The same hundred requests over and over, so that every kind was there before memory is compared:
/// mostly a word or two, now and then some sentences, as fast and as slow as others.
fn request(i: usize, voices: &[String]) -> Value {
    let i = i % 100;
    let (n_words, kind) = if i.is_multiple_of(20) { (30, i / 20) } else { (1 + i % 2, i) };
    let speeds = [1.0, 0.8, 1.3, 2.0];
    let formats = ["pcm", "mp3", "opus", "wav", "flac", "aac"];
    let mut request = json!({
        "input": words(n_words),
        // Voices of all languages read it.
        "lang_code": "a",
        "response_format": formats[i % formats.len()],
        "speed": speeds[kind % speeds.len()],
        "seed": i,
    });
    if let Some(voice) = voices.get(kind % voices.len().max(1)) {
        request["voice"] = json!(voice);
    }
    request
}
