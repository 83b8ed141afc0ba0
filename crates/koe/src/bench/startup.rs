//! From the start of the process to ready, and to the first byte of speech: warm and cold, with a
//! pack and without.

use std::path::Path;
use std::time::Instant;

use super::server::{self, Server};
use super::{Error, Report, Target, client};

/// About twenty tokens.
const TEXT: &str = "Good morning to you.";

/// Starts servers `rounds` times under each condition, taking turns.
pub fn run(target: &Target, rounds: usize) -> Result<Report, Error> {
    let mut report = Report::new("startup", target);
    let folder = server::folder()?;
    // The pack, the memory of this machine, and the system's cache of the files.
    target.settle()?;
    drop(Server::start(target, None, &[])?);
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); 8];
    let mut push = |at: usize, value: f64| samples[at].push(value);
    for round in 0..rounds {
        let (listening, ready, first) = start(target, None)?;
        push(0, listening);
        push(1, ready);
        push(2, first);
        if evict(target)? {
            push(3, read_pack(target)?);
            evict(target)?;
            let (_, ready, first) = start(target, None)?;
            push(4, ready);
            push(5, first);
        }
        let cache = folder.path().join(round.to_string());
        let (_, ready, first) = start(target, Some(&cache))?;
        push(6, ready);
        push(7, first);
        std::fs::remove_dir_all(cache)?;
    }
    let names = [
        "warm: to listening",
        "warm: to ready",
        "warm: to the first byte",
        "cold: reading the pack alone",
        "cold: to ready",
        "cold: to the first byte",
        "first start, no pack: to ready",
        "first start, no pack: to the first byte",
    ];
    for (name, samples) in names.into_iter().zip(&samples) {
        report.push(name, "ms", samples);
    }
    Ok(report)
}

/// Milliseconds to listening, to ready, and to the first byte.
fn start(target: &Target, cache: Option<&Path>) -> Result<(f64, f64, f64), Error> {
    let server = Server::start(target, cache, &[])?;
    let spoken = client::speak(&server.address, &client::speech(TEXT))?.served()?;
    let (listening, ready) = (server.listening_after, server.ready_after);
    let first = ready + spoken.first_byte;
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    Ok((ms(listening), ms(ready), ms(first)))
}

/// Has the system forget the pack. Whether there is one and it could.
fn evict(target: &Target) -> Result<bool, Error> {
    Ok(super::evict(&target.open()?))
}

/// How long the disk alone takes.
fn read_pack(target: &Target) -> Result<f64, Error> {
    let path = target.config.cache.join(target.identity()?);
    let begun = Instant::now();
    std::io::copy(&mut std::fs::File::open(path)?, &mut std::io::sink())?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
