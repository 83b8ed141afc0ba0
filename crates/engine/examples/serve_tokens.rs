//! The engine alone behind a line protocol, to be timed against other runtimes by
//! `bench/peers/compare.py`: no text front end, no encoder, no server.
//!
//! ```text
//! serve_tokens MODEL CACHE THREADS [ISA [PRECISION]]
//! ```
//!
//! Says `ready DESCRIPTION` once it could speak. For each line `speak CASE` on standard input (CASE
//! is a file of three lines: token ids, style, speed) it answers `spoke MILLISECONDS SAMPLES RMS
//! FRAMES`, FRAMES being the durations of all tokens joined by commas. Only synthesis is timed.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the protocol's answers")]

use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use koe_engine::{Cancel, Isa, Model, Precision, Request, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, cache, n_threads, rest @ ..] = &arguments[..] else {
        return Err("usage: serve_tokens MODEL CACHE THREADS [ISA [PRECISION]]".into());
    };
    let isa = match rest.first().map(String::as_str) {
        None | Some("auto") => Isa::detect(),
        Some(name) => Isa::named(name)?,
    };
    let precision = Precision::named(rest.get(1).map_or("auto", |name| name), isa)?;
    let model = Model::open_in(precision, Path::new(model), Path::new(cache))?;
    model.keep();
    let mut session = Session::with_isa(&model, n_threads.parse()?, isa);
    println!("ready koe {} {} {}", env!("CARGO_PKG_VERSION"), isa.name(), precision.name());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let case =
            line.strip_prefix("speak ").ok_or_else(|| format!("no such command: {line:?}"))?;
        speak(&mut session, Path::new(case))?;
    }
    Ok(())
}

fn speak(session: &mut Session, case: &Path) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(case)?;
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    let mut line = || lines.next().ok_or("a case has three lines");
    let tokens = line()?.map(str::parse).collect::<Result<Vec<u16>, _>>()?;
    let style = line()?.map(str::parse).collect::<Result<Vec<f32>, _>>()?;
    let speed: f32 = line()?.next().ok_or("the third line is the speed")?.parse()?;
    let request = Request { tokens: &tokens, style: &style, speed, seed: 1 };

    let start = Instant::now();
    let speech = session.synthesize(&request, &Cancel::new())?;
    let elapsed = start.elapsed();

    let square = |&x: &f32| f64::from(x) * f64::from(x);
    let rms = (speech.samples.iter().map(square).sum::<f64>() / speech.samples.len() as f64).sqrt();
    let frames: Vec<String> = speech.frames.iter().map(u32::to_string).collect();
    let milliseconds = elapsed.as_secs_f64() * 1e3;
    println!("spoke {milliseconds:.4} {} {rms:.6} {}", speech.samples.len(), frames.join(","));
    Ok(())
}
