//! Compares sessions of ONNX Runtime with native ones, by hand: durations, sound, speed, and fifty
//! racing first requests. Prints ratios; needs ORT_DYLIB_PATH.
//!
//!     cargo run --release -p koe-onnx --example compare -- FOLDER FILE.onnx ZERO_NOISE.onnx [THREADS] [PROVIDER]
#![expect(clippy::print_stdout, reason = "an example, whose output is its purpose")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use koe_engine::trace::Drive;
use koe_engine::{Cancel, Model, Precision, Request, Session, Synthesizer, Voice};
use koe_onnx::{Accelerator, Kinds, OnnxSession, Provider, Settings, Sound, Source};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file, zero_noise, rest @ ..] = &args[..] else {
        return Err("needed: FOLDER FILE.onnx ZERO_NOISE.onnx [THREADS] [PROVIDER]".into());
    };
    let threads: usize = rest.first().map_or(Ok(1), |threads| threads.parse())?;
    let provider = match rest.get(1).map_or(Ok(Accelerator::Only(Provider::Cpu)), |p| p.parse())? {
        Accelerator::Only(provider) => provider,
        other => return Err(format!("{other} is no single provider").into()),
    };
    let library = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let source =
        |file: &str| Source { library: library.clone(), file: file.into(), threads, cache: None };
    let cache = std::env::temp_dir().join("koe-compare");
    for precision in [Precision::F32, Precision::Bf16] {
        let model = Model::open_in(precision, folder.as_ref(), &cache)?;
        model.keep();
        let name = model.voices().first().cloned().ok_or("the model has no voice")?;
        let voice = model.voice(&name)?;
        println!("native {precision:?}, {threads} threads, voice {name}");
        agreement(&model, &voice, &source(zero_noise), provider)?;
        speed(&model, &voice, &source(file), provider)?;
    }
    let model = Model::open(folder.as_ref(), &cache)?;
    let name = model.voices().first().cloned().ok_or("the model has no voice")?;
    race(&model, &model.voice(&name)?, &source(file), provider)
}

fn tokens(n: usize) -> Vec<u16> {
    (0..n).map(|i| if i % 6 == 5 { 16 } else { 43 + (i * 7 % 100) as u16 }).collect()
}

fn agreement(
    model: &Model,
    voice: &Voice,
    source: &Source,
    provider: Provider,
) -> Result<(), Box<dyn Error>> {
    let mut onnx = OnnxSession::open(source, provider, model)?;
    let mut native = Session::new(model, source.threads);
    for n in [5, 20, 60, 150] {
        let tokens = tokens(n);
        let request = Request { tokens: &tokens, style: voice.style(n), speed: 1.0, seed: 1 };
        let ours = native.trace(&request, Drive::ZeroNoise)?;
        let theirs = onnx.synthesize(&request, &Cancel::new())?;
        let differ = ours.frames.iter().zip(theirs.frames).filter(|(a, b)| a != b).count();
        let ours = &ours.stage("waveform").ok_or("no waveform")?.values;
        if ours.len() != theirs.samples.len() {
            println!("  {n} tokens: {differ} durations differ, and so do the lengths");
            continue;
        }
        let distance = log_spectral_distance(ours, theirs.samples);
        let energy = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>();
        let pairs = || ours.iter().zip(theirs.samples);
        let most = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let error = energy(&mut pairs().map(|(a, b)| a - b));
        let rms = (energy(&mut theirs.samples.iter().copied()) / ours.len() as f64).sqrt();
        let ratio = 10.0 * (energy(&mut theirs.samples.iter().copied()) / error).log10();
        println!(
            "  {n} tokens: {differ} durations differ; rms {rms:.4}, largest error {most:.2e}, \
             {ratio:.1} dB of signal over error, {distance:.2} dB between log spectra"
        );
    }
    Ok(())
}

/// Root mean square difference of the log spectra in dB, averaged over Hann windows of 512 samples.
fn log_spectral_distance(ours: &[f32], theirs: &[f32]) -> f64 {
    const WINDOW: usize = 512;
    let turn = std::f64::consts::TAU / WINDOW as f64;
    let cosines: Vec<f64> = (0..WINDOW).map(|i| (i as f64 * turn).cos()).collect();
    let spectrum = |x: &[f32]| -> Vec<f64> {
        let bin = |k: usize| {
            let (mut re, mut im) = (0.0, 0.0);
            for (i, x) in x.iter().enumerate() {
                let x = f64::from(*x) * (0.5 - 0.5 * cosines[i]);
                re += x * cosines[i * k % WINDOW];
                im += x * cosines[(i * k + WINDOW / 4) % WINDOW];
            }
            20.0 * re.hypot(im).max(1e-4).log10()
        };
        (0..=WINDOW / 2).map(bin).collect()
    };
    let windows = ours.chunks_exact(WINDOW).zip(theirs.chunks_exact(WINDOW));
    let distances: Vec<f64> = windows
        .map(|(ours, theirs)| {
            let (a, b) = (spectrum(ours), spectrum(theirs));
            let squares = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2));
            (squares.sum::<f64>() / a.len() as f64).sqrt()
        })
        .collect();
    distances.iter().sum::<f64>() / distances.len().max(1) as f64
}

fn speed(
    model: &Model,
    voice: &Voice,
    source: &Source,
    provider: Provider,
) -> Result<(), Box<dyn Error>> {
    let mut onnx = OnnxSession::open(source, provider, model)?;
    let mut native = Session::new(model, source.threads);
    for n in [20, 60] {
        let tokens = tokens(n);
        let request = Request { tokens: &tokens, style: voice.style(n), speed: 1.0, seed: 1 };
        let mut took = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..4 {
            let times = [
                time(|| native.synthesize(&request, &Cancel::new()).map(drop))?,
                time(|| onnx.synthesize(&request, &Cancel::new()).map(drop))?,
                time(|| native.durations(&request, &Cancel::new()).map(drop))?,
            ];
            // The first run of a length takes memory.
            if round > 0 {
                took.iter_mut().zip(times).for_each(|(took, time)| took.push(time));
            }
        }
        let [native, onnx, durations] = took.map(|mut took| {
            took.sort();
            took[took.len() / 2].as_secs_f64()
        });
        println!(
            "  {n} tokens: {} takes {:.2} times the native time, durations alone {:.2}",
            provider.kind(),
            onnx / native,
            durations / native
        );
    }
    Ok(())
}

fn time(run: impl FnOnce() -> Result<(), koe_engine::Error>) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    run()?;
    Ok(started.elapsed())
}

/// Fifty requests at once, from the very start, two sessions at a time as a server lends them.
fn race(
    model: &Model,
    voice: &Voice,
    source: &Source,
    provider: Provider,
) -> Result<(), Box<dyn Error>> {
    let settings = Settings {
        accelerator: Accelerator::Only(provider),
        library: source.library.clone(),
        file: Some(source.file.clone()),
        threads: source.threads,
        ..Settings::default()
    };
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let listener = Box::new(move |event| _ = sender.lock().map(|sender| sender.send(event)));
    let router = koe_onnx::router(settings, model, listener).ok_or("off")?;
    let (give_back, lanes) = mpsc::channel();
    for _ in 0..2 {
        give_back.send(Session::new(model, 1))?;
    }
    let lanes = Mutex::new(lanes);
    std::thread::scope(|scope| {
        for i in 0..50 {
            let (router, lanes, give_back) = (&router, &lanes, give_back.clone());
            scope.spawn(move || {
                let n = 10 + i % 20;
                let tokens = tokens(n);
                let style = voice.style(n);
                let request = Request { tokens: &tokens, style, speed: 1.0, seed: 1 };
                let lane = lanes.lock().map(|lanes| lanes.recv());
                let Ok(Ok(mut native)) = lane else { return };
                let mut sound = Sound::default();
                let spoken = router.synthesize(&mut native, &request, &Cancel::new(), &mut sound);
                if let Err(error) = spoken {
                    println!("  failed: {error}");
                }
                // Nobody waits for the lanes of the last ones.
                let _ = give_back.send(native);
            });
        }
    });
    events.try_iter().for_each(|event| println!("  {event}"));
    let Kinds(kinds) = router.kinds();
    for kind in kinds {
        println!("  {kind:?}");
    }
    Ok(())
}
