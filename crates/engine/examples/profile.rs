//! Where the time of a synthesis goes, layer by layer, and how far bf16 moves the sound.
//!
//! ```text
//! profile MODEL CACHE THREADS PRECISION TOKENS [ROUNDS]
//! ```
//!
//! MODEL is a folder, or `builtin`. The tokens are arbitrary ones of the vocabulary, TOKENS of them. Prints
//! one row a layer, the dearest first: medians of ROUNDS runs.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is the product")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use koe_engine::profile::{Layer, Profile};
use koe_engine::{Cancel, Isa, Model, Precision, Request, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, cache, n_threads, precision, n, rounds @ ..] = &arguments[..] else {
        return Err("usage: profile MODEL CACHE THREADS PRECISION TOKENS [ROUNDS]".into());
    };
    let precision = Precision::named(precision, Isa::detect())?;
    let model = match model.as_str() {
        "builtin" => Model::builtin_in(precision)?,
        folder => Model::open_in(precision, Path::new(folder), Path::new(cache))?,
    };
    let voice = model.voice(model.voices().first().ok_or("the model has no voice")?)?;
    let n: usize = n.parse()?;
    let tokens: Vec<u16> = (0..n).map(|i| 43 + (i * 7 % 90) as u16).collect();
    let request = Request { tokens: &tokens, style: voice.style(n), speed: 1.0, seed: 1 };
    let mut session = Session::new(&model, n_threads.parse()?);
    session.synthesize(&request, &Cancel::new())?;
    let rounds = rounds.first().map_or(Ok(5), |rounds| rounds.parse())?;
    let profiles: Vec<Profile> =
        (0..rounds).map(|_| session.profile(&request)).collect::<Result<_, _>>()?;
    let total = median(profiles.iter().map(|profile| profile.total));
    println!("{precision:?}, {} tokens, {:.1} ms\n", n, ms(total));
    println!(
        "| layer | runs | ms | share | GFLOP/s | GB/s |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    );
    let n_layers = profiles[0].layers.len();
    let mut layers: Vec<Layer> = (0..n_layers)
        .map(|i| Layer {
            time: median(profiles.iter().map(|profile| profile.layers[i].time)),
            ..profiles[0].layers[i].clone()
        })
        .collect();
    let known: Duration = layers.iter().map(|layer| layer.time).sum();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.time));
    for layer in &layers {
        println!(
            "| {} | {} | {:.2} | {:.1} % | {:.0} | {:.1} |",
            layer.name,
            layer.runs,
            ms(layer.time),
            100.0 * layer.time.as_secs_f64() / total.as_secs_f64(),
            layer.gflop_per_s(),
            layer.gb_per_s()
        );
    }
    println!("| between layers | | {:.2} | | | |", ms(total.saturating_sub(known)));
    Ok(())
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
