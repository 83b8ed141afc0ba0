//! How much a server gets through: requests, and seconds of sound, a second.

use std::time::Instant;

use super::first_audio::at_once;
use super::server::Server;
use super::{Error, Report, Target, words};

/// For 1, 4 and 16 listeners at once, `rounds` rounds of a text of 40 words each.
pub fn run(target: &Target, rounds: usize) -> Result<Report, Error> {
    let mut report = Report::new("throughput", target);
    let server = Server::start(target, None, &[])?;
    let text = words(40);
    for n in [1, 4, 16] {
        let (mut requests, mut sound) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = Instant::now();
            let timed = at_once(&server.address, n, &text)?;
            let took = begun.elapsed().as_secs_f64();
            requests.push(n as f64 / took);
            sound.push(timed.iter().map(|timed| timed.sound_seconds()).sum::<f64>() / took);
        }
        report.push(format!("{n} at once: requests of 40 words"), "1/s", &requests);
        report.push(format!("{n} at once: sound"), "s/s", &sound);
    }
    Ok(report)
}
