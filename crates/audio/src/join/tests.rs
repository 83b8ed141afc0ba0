//! The joiner's promises, on sound made here: a "voice" of harmonics between stretches of a noise
//! floor like that of the model.

use super::*;

const RATE: f32 = crate::SAMPLE_RATE_HZ as f32;

/// A small generator of random numbers: the tests must be the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn noise(&mut self, size: f32) -> f32 {
        ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0) * size
    }
}

/// `lead` and `tail` samples of a floor at -70 dB around `n` samples of voice, whose first and
/// last 20 ms swell and fade as a word's do, or start at once if `abrupt`.
fn utterance(random: &mut Random, lead: usize, n: usize, tail: usize, abrupt: bool) -> Vec<f32> {
    let pitch = 90.0 + random.below(120) as f32;
    let mut samples: Vec<f32> = (0..lead + n + tail).map(|_| random.noise(1.5e-4)).collect();
    for i in 0..n {
        let t = i as f32 / RATE;
        let voice: f32 = (1..6)
            .map(|k| (std::f32::consts::TAU * pitch * k as f32 * t + k as f32).sin() / k as f32)
            .sum();
        let swell = if abrupt { 1.0 } else { (i.min(n - 1 - i) as f32 / 480.0).min(1.0) };
        samples[lead + i] += 0.2 * swell * voice;
    }
    samples
}

fn max_step(samples: &[f32]) -> f32 {
    samples.windows(2).fold(0.0, |step, pair| step.max((pair[1] - pair[0]).abs()))
}

fn energy(samples: &[f32]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).powi(2)).sum()
}

/// The lengths of the stretches of near-silence that are longer than 30 ms.
fn gaps(samples: &[f32]) -> Vec<usize> {
    let mut gaps = Vec::new();
    let mut quiet = 0;
    for window in samples.chunks(24) {
        if peak(window) < 1.7e-3 {
            quiet += window.len();
        } else {
            if quiet > 720 {
                gaps.push(quiet);
            }
            quiet = 0;
        }
    }
    if quiet > 720 {
        gaps.push(quiet);
    }
    gaps
}

fn piece(samples: &[f32], lead: usize, tail: usize) -> Piece<'_> {
    Piece { samples, lead, tail }
}

#[test]
fn between_two_pieces_lies_the_rest_that_was_asked_for() {
    let mut random = Random(1);
    for rest in [1920, 4800, 9600, 24_000] {
        let a = utterance(&mut random, 7000, 12_000, 9000, false);
        let b = utterance(&mut random, 8000, 12_000, 9000, false);
        let mut joiner = Joiner::new(1200, 2400);
        let mut out = Vec::new();
        let first = joiner.speech(&piece(&a, 7000, 9000), rest, &mut out);
        let second = joiner.speech(&piece(&b, 8000, 9000), rest, &mut out);
        joiner.finish(&mut out);
        assert_eq!(second.audible.start - first.audible.end, rest);
        // And what can be heard agrees, to the windows and to the swell of the voice.
        let gaps = gaps(&out);
        let middle = gaps[gaps.len() - 2].abs_diff(usize::try_from(rest).unwrap());
        assert!(middle < 2 * WINDOW + 96, "rest {rest}, heard {gaps:?}");
    }
}

#[test]
fn dead_air_at_the_start_and_at_the_end_is_cut() {
    let mut random = Random(2);
    let sound = utterance(&mut random, 8400, 12_000, 9600, false);
    let mut joiner = Joiner::new(1200, 2400);
    let mut out = Vec::new();
    let placed = joiner.speech(&piece(&sound, 8400, 9600), 9600, &mut out);
    let length = joiner.finish(&mut out);
    assert_eq!(placed.audible.start, 1200);
    assert_eq!(length - placed.audible.end, 2400);
    assert_eq!(length as usize, out.len());
}

#[test]
fn sound_beyond_the_padding_is_never_cut_however_quiet() {
    let quiet = vec![1e-3; 10_000];
    let mut loud = quiet.clone();
    loud[5000] = 1.0;
    let mut joiner = Joiner::new(0, 0);
    let mut out = Vec::new();
    let placed = joiner.speech(&piece(&loud, 600, 1200), 0, &mut out);
    joiner.finish(&mut out);
    assert_eq!(placed.lead_cut, 600);
    assert!(out.len() >= 10_000 - 600 - 1200, "{}", out.len());
    assert_eq!(out[1000..5000], loud[1600..5600]);
}

#[test]
fn sound_that_reaches_into_the_padding_is_kept() {
    let mut random = Random(3);
    // The word begins 4000 samples before its token does, and lasts as long after it.
    let sound = utterance(&mut random, 4000, 20_000, 4000, false);
    let mut joiner = Joiner::new(480, 480);
    let mut out = Vec::new();
    let placed = joiner.speech(&piece(&sound, 8000, 8000), 0, &mut out);
    joiner.finish(&mut out);
    let voice = &sound[4000..24_000];
    let kept = energy(&out) / energy(voice);
    assert!((kept - 1.0).abs() < 1e-4, "{kept}");
    assert!(placed.lead_cut <= 4000);
}

#[test]
fn a_quiet_onset_is_kept_with_its_first_milliseconds() {
    // A fricative 36 dB below the vowel it opens.
    let mut random = Random(4);
    let mut sound = utterance(&mut random, 6000, 12_000, 6000, false);
    for sample in &mut sound[4000..6000] {
        *sample += random.noise(0.006);
    }
    let mut joiner = Joiner::new(480, 480);
    let mut out = Vec::new();
    let placed = joiner.speech(&piece(&sound, 6000, 6000), 0, &mut out);
    assert!(placed.lead_cut <= 4000 - EDGE + WINDOW, "{placed:?}");
}

#[test]
fn no_join_steps_further_than_the_voice_itself() {
    let mut random = Random(5);
    let (mut joiner, mut out) = (Joiner::new(1200, 2400), Vec::new());
    let mut own = 0.0_f32;
    for i in 0..200 {
        let abrupt = i % 3 == 0;
        let (lead, tail) = if abrupt { (0, 0) } else { (random.below(9000), random.below(9000)) };
        let n = 2400 + random.below(9000);
        let sound = utterance(&mut random, lead, n, tail, abrupt);
        own = own.max(max_step(&sound[lead + 1..lead + n - 1]));
        joiner.speech(&piece(&sound, lead, tail), random.below(4000) as u64, &mut out);
        if i % 7 == 0 {
            joiner.pause(random.below(3000) as u64, &mut out);
        }
    }
    joiner.finish(&mut out);
    out.insert(0, 0.0);
    out.push(0.0);
    assert!(max_step(&out) <= own, "{} against {own}", max_step(&out));
}

#[test]
fn no_energy_is_lost_but_the_fades() {
    let mut random = Random(6);
    let (mut joiner, mut out, mut given) = (Joiner::new(1200, 2400), Vec::new(), 0.0);
    for _ in 0..100 {
        let sound = utterance(&mut random, 8000, 20_000, 9000, false);
        given += energy(&sound);
        joiner.speech(&piece(&sound, 8000, 9000), 4800, &mut out);
    }
    joiner.finish(&mut out);
    let lost = 1.0 - energy(&out) / given;
    assert!((0.0..1e-5).contains(&lost), "{lost}");
}

#[test]
fn every_sample_is_where_the_accounting_says_over_thousands_of_pieces() {
    let mut random = Random(7);
    let (mut joiner, mut out) = (Joiner::new(1200, 2400), Vec::new());
    // What was handed out is dropped, as a stream would: only the newest piece is looked at.
    let mut dropped = 0_u64;
    for i in 0..5000 {
        let (lead, tail) = (random.below(3000), random.below(3000));
        let mut sound = utterance(&mut random, lead, 600, tail, false);
        sound[lead + 300] = 0.7 + (i % 1000) as f32 * 1e-4;
        let marker = sound[lead + 300];
        let placed = joiner.speech(&piece(&sound, lead, tail), random.below(2400) as u64, &mut out);
        let at = placed.origin + lead as i64 + 300;
        let index = usize::try_from(at - dropped as i64).unwrap();
        assert_eq!(out[index], marker, "piece {i}");
        assert!(placed.audible.contains(&(at as u64)));
        if i % 5 == 0 {
            joiner.pause(random.below(100) as u64, &mut out);
        }
        assert_eq!(dropped + out.len() as u64, joiner.position());
        dropped += out.len() as u64;
        out.clear();
    }
    let total = joiner.finish(&mut out);
    assert_eq!(total, dropped + out.len() as u64);
}

#[test]
fn a_pause_is_exact_silence_and_swallows_a_shorter_rest() {
    let mut random = Random(8);
    let sound = utterance(&mut random, 6000, 6000, 6000, false);
    let gap = |pauses: &[u64], rest: u64| {
        let (mut joiner, mut out) = (Joiner::new(0, 0), Vec::new());
        let first = joiner.speech(&piece(&sound, 6000, 6000), rest, &mut out);
        for &pause in pauses {
            joiner.pause(pause, &mut out);
        }
        let second = joiner.speech(&piece(&sound, 6000, 6000), rest, &mut out);
        let gap = &out[first.audible.end as usize..second.audible.start as usize];
        (gap.len() as u64, gap.iter().filter(|&&sample| sample == 0.0).count() as u64)
    };
    let edges = 2 * EDGE as u64;
    assert_eq!(gap(&[24_000], 4800), (24_000 + edges, 24_000));
    assert_eq!(gap(&[10_000, 14_000], 4800), (24_000 + edges, 24_000));
    assert_eq!(gap(&[1000], 9600).0, 9600);
}

#[test]
fn a_pause_may_come_first_and_last() {
    let mut random = Random(9);
    let sound = utterance(&mut random, 6000, 6000, 6000, false);
    let (mut joiner, mut out) = (Joiner::new(0, 0), Vec::new());
    joiner.pause(2400, &mut out);
    assert_eq!(out, vec![0.0; 2400]);
    let placed = joiner.speech(&piece(&sound, 6000, 6000), 4800, &mut out);
    assert_eq!(placed.audible.start, 2400 + EDGE as u64);
    joiner.pause(2400, &mut out);
    assert!(out.ends_with(&[0.0; 2400]));
    let before = out.len() as u64;
    assert_eq!(joiner.finish(&mut out), before);
}

#[test]
fn only_the_quiet_end_is_held_back() {
    let mut random = Random(10);
    let sound = utterance(&mut random, 6000, 12_000, 6000, false);
    let (mut joiner, mut out) = (Joiner::new(0, 0), Vec::new());
    let placed = joiner.speech(&piece(&sound, 6000, 6000), 9600, &mut out);
    assert_eq!(out.len() as u64, placed.audible.end);
}

#[test]
fn silent_empty_and_tiny_pieces_are_joined_without_a_panic() {
    for n in [0, 1, 23, 24, 25, 119, 121, 600] {
        for level in [0.0, 0.5] {
            let sound = vec![level; n];
            for (lead, tail) in [(0, 0), (n, n), (1, n), (usize::MAX, usize::MAX)] {
                let (mut joiner, mut out) = (Joiner::new(10, 10), Vec::new());
                for rest in [0, 1, 480, 5000] {
                    joiner.speech(&piece(&sound, lead, tail), rest, &mut out);
                    joiner.pause(0, &mut out);
                    joiner.speech(&piece(&sound, lead, tail), rest, &mut out);
                }
                let position = joiner.position();
                assert_eq!(out.len() as u64, position);
                assert!(joiner.finish(&mut out) >= position);
            }
        }
    }
}
