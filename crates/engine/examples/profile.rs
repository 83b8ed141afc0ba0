//! Where the time of a synthesis goes, layer by layer, and how near that is to what the machine can
//! do.
//!
//! ```text
//! profile MODEL CACHE THREADS PRECISION TOKENS [ROUNDS [all]]
//! ```
//!
//! MODEL is a folder, or `builtin`. The tokens are arbitrary ones of the vocabulary, TOKENS of them. Prints
//! one row a part of the network, or with `all` a layer, the dearest first, of the quickest of ROUNDS runs.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the table is the product")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use koe_engine::profile::Profile;
use koe_engine::{Cancel, Isa, Model, Precision, Request, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, cache, n_threads, precision, n, rounds @ ..] = &arguments[..] else {
        return Err("usage: profile MODEL CACHE THREADS PRECISION TOKENS [ROUNDS [all]]".into());
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
    let all = rounds.get(1).is_some_and(|word| word == "all");
    let rounds = rounds.first().map_or(Ok(5), |rounds| rounds.parse())?;
    // Neighbours on the machine only ever slow a run down.
    let mut profiles = Vec::new();
    let mut ceiling = session.ceiling();
    for _ in 0..rounds {
        profiles.push(session.profile(&request)?);
        let again = session.ceiling();
        ceiling.f32_gflop_per_s = ceiling.f32_gflop_per_s.max(again.f32_gflop_per_s);
        ceiling.bf16_gflop_per_s = ceiling.bf16_gflop_per_s.max(again.bf16_gflop_per_s);
        ceiling.gb_per_s = ceiling.gb_per_s.max(again.gb_per_s);
        session.synthesize(&request, &Cancel::new())?;
    }
    let best: &Profile = profiles.iter().min_by_key(|profile| profile.total).ok_or("no rounds")?;
    let mut best = if all { best.clone() } else { best.parts() };
    println!(
        "{}, {n} tokens, {n_threads} threads: {:.1} ms. Ceilings: {:.0} GFLOP/s in f32, {:.0} in bf16, {:.1} GB/s.\n",
        precision.name(),
        ms(best.total),
        ceiling.f32_gflop_per_s,
        ceiling.bf16_gflop_per_s,
        ceiling.gb_per_s
    );
    println!("| layer | runs | ms | share | GFLOP/s | multiplied | GB/s | of ceiling |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let between = best.between();
    best.layers.sort_by_key(|layer| std::cmp::Reverse(layer.time));
    let share = |time: Duration| 100.0 * time.as_secs_f64() / best.total.as_secs_f64();
    for layer in &best.layers {
        println!(
            "| {} | {} | {:.2} | {:.1} % | {:.0} | {:.0} | {:.1} | {:.0} % |",
            layer.name,
            layer.runs,
            ms(layer.time),
            share(layer.time),
            layer.gflop_per_s(),
            layer.multiplied / layer.time.as_secs_f64() / 1e9,
            layer.gb_per_s(),
            100.0 * layer.of_ceiling(&ceiling)
        );
    }
    println!("| between layers | | {:.2} | {:.1} % | | | | |", ms(between), share(between));
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
