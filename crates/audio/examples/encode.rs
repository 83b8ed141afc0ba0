//! Encodes raw samples (f32, little-endian, 24 kHz, mono) from standard input, for
//! bench/codecs/check.py: `encode FORMAT RATE stream|file OUT`. Prints how many times faster than
//! real time it was, the best of five runs.
#![expect(clippy::print_stdout, reason = "the number is what the caller reads")]

use std::error::Error;
use std::io::Read;
use std::time::Instant;

use koe_audio::{Format, samples_in, seconds};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [format, rate_hz, kind, path] = &arguments[..] else {
        return Err("usage: encode FORMAT RATE stream|file OUT < SAMPLES".into());
    };
    let format = Format::named(format).ok_or("no such format")?;
    let rate_hz: u32 = rate_hz.parse()?;
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let samples: Vec<f32> =
        input.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
    let block = samples_in(std::time::Duration::from_millis(250)) as usize;

    let (mut bytes, mut best) = (Vec::new(), f64::INFINITY);
    for _ in 0..5 {
        bytes.clear();
        let begun = Instant::now();
        let mut encoder = match kind.as_str() {
            "file" => format.file_encoder(rate_hz)?,
            _ => format.encoder(rate_hz)?,
        };
        for part in samples.chunks(block) {
            encoder.encode(part, &mut bytes);
        }
        encoder.finish(&mut bytes);
        best = best.min(begun.elapsed().as_secs_f64());
        if kind == "file"
            && let Some(opening) = encoder.opening()
        {
            bytes[..opening.len()].copy_from_slice(&opening);
        }
    }
    std::fs::write(path, bytes)?;
    println!("{:.0}", seconds(samples.len() as u64) / best);
    Ok(())
}
