//! Where the time of one synthesis goes, layer by layer, and how far each is from what the machine
//! could do.

use std::fmt::Write as _;
use std::time::Duration;

use koe_engine::{Cancel, MAX_TOKENS, Request, SAMPLE_RATE_HZ, Session};

use super::{Error, Target};

/// A table of the layers for a text of so many tokens, the slowest first, beside what the machine
/// could do: the fastest of `rounds`. `all` keeps layers apart that differ only in their number.
pub fn run(target: &Target, n_tokens: usize, rounds: usize, all: bool) -> Result<String, Error> {
    if n_tokens > MAX_TOKENS {
        return Err(format!("{n_tokens} tokens, but one call takes 1 to {MAX_TOKENS}").into());
    }
    let model = target.open()?;
    model.keep();
    let name = model.voices().into_iter().next().ok_or("the model has no voices")?;
    let voice = model.voice(&name)?;
    let (sentence, _) = model.tokens("ðə ʃˈɪp lˈɛft ðə hˈɑɹbəɹ bəfˈɔɹ ðə sˈʌn wʌz ˈʌp, ");
    let tokens: Vec<u16> = sentence.into_iter().cycle().take(n_tokens).collect();
    let request = Request { tokens: &tokens, style: voice.style(n_tokens), speed: 1.0, seed: 0 };
    let mut session = Session::with_isa(&model, target.threads(), target.isa());
    // The first takes memory, which is no layer's time.
    let speech = session.synthesize(&request, &Cancel::new())?;
    let seconds = speech.samples.len() as f64 / f64::from(SAMPLE_RATE_HZ);
    let mut best = session.profile(&request)?;
    // Another session's, because it gives its threads' memory back, which is no layer's time.
    let mut gauge = Session::with_isa(&model, target.threads(), target.isa());
    let mut ceiling = gauge.ceiling();
    for _ in 1..rounds {
        let profile = session.profile(&request)?;
        if profile.total < best.total {
            best = profile;
        }
        // Neighbours on the machine only ever slow a run down.
        let again = gauge.ceiling();
        ceiling.f32_gflop_per_s = ceiling.f32_gflop_per_s.max(again.f32_gflop_per_s);
        ceiling.bf16_gflop_per_s = ceiling.bf16_gflop_per_s.max(again.bf16_gflop_per_s);
        ceiling.gb_per_s = ceiling.gb_per_s.max(again.gb_per_s);
    }
    let mut shown = if all { best } else { best.parts() };
    shown.layers.sort_by_key(|layer| std::cmp::Reverse(layer.time));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let share = |time: Duration| 100.0 * time.as_secs_f64() / shown.total.as_secs_f64();
    let mut text = format!(
        "{n_tokens} tokens, {}, {} threads, {}: {:.1} ms for {seconds:.2} s of sound. Ceilings: {:.0} GFLOP/s in f32, {:.0} in bf16, {:.1} GB/s.\n\n\
         | layer | runs | ms | share | GFLOP/s | multiplied | GB/s | of ceiling |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        target.model_name(),
        target.threads(),
        target.isa().name(),
        ms(shown.total),
        ceiling.f32_gflop_per_s,
        ceiling.bf16_gflop_per_s,
        ceiling.gb_per_s
    );
    for layer in &shown.layers {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
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
    let between = shown.between();
    let _ = writeln!(
        text,
        "| between layers | | {:.2} | {:.1} % | | | | |",
        ms(between),
        share(between)
    );
    Ok(text)
}
