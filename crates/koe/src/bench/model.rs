//! Where the time of one synthesis goes, layer by layer.

use std::fmt::Write as _;

use koe_engine::profile::Layer;
use koe_engine::{Request, Session};

use super::{Error, Target};

/// A table of the slowest layers for a text of so many tokens; the fastest of `rounds`.
pub fn run(target: &Target, n_tokens: usize, rounds: usize) -> Result<String, Error> {
    let model = target.open()?;
    let name = model.voices().into_iter().next().ok_or("the model has no voices")?;
    let voice = model.voice(&name)?;
    let (alphabet, _) = model.tokens("ðə ʃˈɪp lˈɛft ðə hˈɑɹbəɹ bəfˈɔɹ ðə sˈʌn wʌz ˈʌp, ");
    let tokens: Vec<u16> = alphabet.into_iter().cycle().take(n_tokens).collect();
    let style = voice.style(tokens.len());
    let request = Request { tokens: &tokens, style, speed: 1.0, seed: 0 };
    let mut session = Session::with_isa(&model, target.threads(), target.isa());
    // The first takes memory, which is no layer's time.
    let mut best = session.profile(&request)?;
    for _ in 0..rounds {
        let profile = session.profile(&request)?;
        if profile.total < best.total {
            best = profile;
        }
    }
    let mut layers: Vec<&Layer> = best.layers.iter().collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.time));
    let mut text = format!(
        "{n_tokens} tokens, {}, {} threads, {}: {:.1} ms\n\n\
         | layer | runs | ms | share | GFLOP/s | GB/s |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
        target.model_name(),
        target.threads(),
        target.isa().name(),
        best.total.as_secs_f64() * 1e3
    );
    for layer in layers.iter().take(40) {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.1} % | {:.0} | {:.1} |",
            layer.name,
            layer.runs,
            layer.time.as_secs_f64() * 1e3,
            100.0 * layer.time.as_secs_f64() / best.total.as_secs_f64(),
            layer.gflop_per_s(),
            layer.gb_per_s()
        );
    }
    Ok(text)
}
