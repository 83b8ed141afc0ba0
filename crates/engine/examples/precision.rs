//! How far bf16 moves the sound: the log-spectral distance from f32, sentence by sentence, with the
//! same noise. `docs/parity.md` tells what is allowed.
//!
//! ```text
//! precision MODEL CACHE [VOICE]
//! ```
//!
//! MODEL is a folder, or `builtin`. Without a voice, all of the model's are heard. Ends with an error
//! where a limit is exceeded.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the figures are the product")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::path::Path;

use koe_engine::{Model, Precision, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, cache, voices @ ..] = &arguments[..] else {
        return Err("usage: precision MODEL CACHE [VOICE]".into());
    };
    let open = |precision| match folder.as_str() {
        "builtin" => Model::builtin_in(precision),
        folder => {
            Model::open_in(precision, Path::new(folder), Path::new(cache)).inspect(Model::keep)
        }
    };
    let mut bf16 = Session::new(&open(Precision::Bf16)?, 2);
    let mut f32 = Session::new(&open(Precision::F32)?, 2);
    let all = f32.model().voices();
    for name in if voices.is_empty() { &all } else { voices } {
        let voice = f32.model().voice(name)?;
        let mut distances = Vec::new();
        for symbols in support::sentences() {
            let pair = support::speak_both([&mut bf16, &mut f32], &voice, symbols);
            if !pair.same_durations {
                return Err(format!("{name}: durations differ: {symbols}").into());
            }
            distances.push(pair.distance);
        }
        distances.sort_by(f64::total_cmp);
        let (median, worst) = (distances[distances.len() / 2], distances[distances.len() - 1]);
        println!("{name}: median {median:.3} dB, worst {worst:.3} dB, durations equal");
        if median > support::MEDIAN_DB || worst > support::WORST_DB {
            return Err("more than allowed".into());
        }
    }
    Ok(())
}
