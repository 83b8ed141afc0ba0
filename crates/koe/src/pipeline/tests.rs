//! The pipeline and its stream with an engine whose every sample is known.

use super::fake::{Fake, LETTER, MARK, Trouble};
use super::*;
use crate::feed::{Cut, from_reader, from_text};
use crate::stream::Stream;

const FRAME: u64 = FRAME_SAMPLES as u64;

/// Everything that came out, joined.
#[derive(Default)]
struct Heard {
    samples: Vec<f32>,
    spoken: Vec<Spoken>,
    summary: Summary,
}

fn settings() -> Settings {
    Settings { phonemes: true, ..Settings::default() }
}

fn listen(text: &str, settings: &Settings, fake: Fake) -> Result<Heard, Error> {
    let mut heard = Heard::default();
    let feed = from_reader("text", text.as_bytes(), Cut::Paragraphs);
    let mut fake = fake;
    let listener = &mut |event| {
        if let Event::Sound(block) = event {
            assert_eq!(block.start, heard.samples.len() as u64, "blocks follow one another");
            heard.samples.extend(block.samples);
            heard.spoken.extend(block.spoken);
        }
        ControlFlow::Continue(())
    };
    heard.summary = speak(feed, settings, &mut fake, &Cancel::new(), listener)?;
    Ok(heard)
}

/// Whether the middle of `range` sounds.
fn sounds(samples: &[f32], range: Range<u64>) -> bool {
    let middle = (range.start + range.end) as usize / 2;
    samples[middle - 50..middle + 50].iter().any(|sample| sample.abs() > 0.1)
}

#[test]
fn words_point_into_the_text_and_sound_when_they_say() {
    let text = "abc de.\nfab, (cab).\n\n  bed";
    let heard = listen(text, &settings(), Fake::default()).unwrap();
    let words: Vec<&TimedWord> = heard.spoken.iter().flat_map(|spoken| &spoken.words).collect();
    let texts: Vec<&str> = words.iter().map(|word| &text[word.span.clone()]).collect();
    assert_eq!(texts, ["abc", "de", "fab", "cab", "bed"]);
    for (word, text) in words.iter().zip(texts) {
        let length = word.samples.end - word.samples.start;
        assert_eq!(length, text.len() as u64 * u64::from(LETTER) * FRAME);
        assert!(sounds(&heard.samples, word.samples.clone()));
        // A letter's first and last millisecond sound, and the sample before and after do not.
        let (start, end) = (word.samples.start as usize, word.samples.end as usize);
        let peak = |range: Range<usize>| {
            heard.samples[range].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()))
        };
        assert!(peak(start..start + 120) > 0.01 && peak(end - 120..end) > 0.01);
        assert!(peak(start.saturating_sub(120)..start) < 0.001 && peak(end..end + 120) < 0.001);
    }
    assert_eq!(heard.summary.chunks, 3);
    assert_eq!(heard.summary.samples, heard.samples.len() as u64);
    assert_eq!(heard.summary.text_bytes, text.len() as u64);
}

#[test]
fn the_rest_between_chunks_is_that_of_the_punctuation() {
    let rests = Rests::default();
    for (text, rest) in [
        ("abc.\ndef.", rests.sentence),
        ("abc,\ndef.", rests.clause),
        ("abc.\n\ndef.", rests.paragraph),
    ] {
        for speed in [1.0, 2.0, 0.5] {
            let settings = Settings { speed, ..settings() };
            let heard = listen(text, &settings, Fake::default()).unwrap();
            let gap = heard.spoken[1].words[0].samples.start - heard.spoken[0].words[0].samples.end;
            assert_eq!(gap, koe_audio::samples_in(rest.div_f32(speed)), "{text:?} at {speed}");
        }
    }
}

#[test]
fn a_long_line_is_cut_and_no_letter_lost() {
    let text = "abc def ".repeat(100);
    let heard = listen(&text, &settings(), Fake::default()).unwrap();
    let words: usize = heard.spoken.iter().map(|spoken| spoken.words.len()).sum();
    assert_eq!(words, 200);
    let sounding = heard.samples.iter().filter(|sample| sample.abs() > 0.01).count() as f64;
    let letters = 600.0 * f64::from(LETTER) * FRAME as f64;
    assert!((sounding / letters - 1.0).abs() < 0.03, "{sounding} of {letters}");
}

#[test]
fn times_stay_exact_over_thousands_of_chunks() {
    let text = "abc.\n".repeat(3000);
    let heard = listen(&text, &settings(), Fake::default()).unwrap();
    assert_eq!(heard.spoken.len(), 3000);
    let first = heard.spoken[0].words[0].samples.start;
    let step = 3 * u64::from(LETTER) * FRAME + koe_audio::samples_in(Rests::default().sentence);
    for (i, spoken) in heard.spoken.iter().enumerate() {
        assert_eq!(spoken.words[0].samples.start, first + i as u64 * step);
    }
}

#[test]
fn punctuation_within_a_chunk_keeps_the_models_own_pause() {
    let heard = listen("abc, def.", &settings(), Fake::default()).unwrap();
    let words = &heard.spoken[0].words;
    assert_eq!(words[1].samples.start - words[0].samples.end, 2 * u64::from(MARK) * FRAME);
}

#[test]
fn the_same_seed_makes_the_same_samples_and_another_one_others() {
    let samples = |seed| {
        let settings = Settings { seed, ..settings() };
        listen("abc def.", &settings, Fake::default()).unwrap().samples
    };
    assert!(samples(1) == samples(1));
    assert!(samples(1) != samples(2));
}

#[test]
fn what_cannot_be_spoken_is_an_error_and_never_left_out() {
    let error = |text: &str, fake| listen(text, &settings(), fake).err().expect("an error");
    assert!(matches!(error("", Fake::default()), Error::Empty));
    assert!(matches!(error(" \n\n\t ", Fake::default()), Error::Empty));
    assert!(matches!(error("… — !", Fake::default()), Error::Unspeakable));
    match error("abc.\n\nde gag", Fake::default()) {
        Error::UnknownSymbols { symbols, span } => {
            assert_eq!((&*symbols, span), (&['g', 'g'][..], 6..12));
        }
        other => panic!("{other}"),
    }
    let stopped = Settings { speed: 0.0, ..settings() };
    assert!(matches!(listen("abc", &stopped, Fake::default()), Err(Error::Speed(_))));
    let trouble = |trouble| Fake { trouble: Some((1, trouble)), ..Fake::default() };
    for kind in [Trouble::NotANumber, Trouble::WrongDurations] {
        assert!(matches!(error("abc.\ndef.", trouble(kind)), Error::BrokenSound(_)));
    }
}

#[test]
fn a_reader_that_fails_midway_is_an_error() {
    let feed = from_reader("x", &b"abc.\n\n\xff"[..], Cut::Paragraphs);
    let listener = &mut |_| ControlFlow::Continue(());
    let outcome = speak(feed, &settings(), &mut Fake::default(), &Cancel::new(), listener);
    assert!(matches!(outcome, Err(Error::Feed(feed::Error::NotUtf8 { offset: 6, .. }))));
}

#[test]
fn a_listener_that_goes_away_stops_the_work_at_once() {
    let fake = Fake::default();
    let calls = fake.calls.clone();
    let mut fake = fake;
    let feed = from_text("abc.\n".repeat(1000));
    let listener = &mut |_| ControlFlow::Break(());
    let outcome = speak(feed, &settings(), &mut fake, &Cancel::new(), listener);
    assert!(matches!(outcome, Err(Error::Cancelled)));
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn a_stream_gives_the_same_sound_as_the_calling_thread() {
    let text = "abc de.\nfab, cab.\n\nbed";
    let direct = listen(text, &settings(), Fake::default()).unwrap();
    let mut stream = Stream::start(
        from_reader("x", text.as_bytes(), Cut::Paragraphs),
        settings(),
        Box::new(Fake::default()),
    );
    let mut samples = Vec::new();
    for event in stream.by_ref() {
        if let Event::Sound(block) = event {
            samples.extend(block.samples);
        }
    }
    assert!(samples == direct.samples);
    assert_eq!(stream.outcome().unwrap(), direct.summary);
}

#[test]
fn a_stream_works_ahead_by_its_queue_and_no_further() {
    let fake = Fake::default();
    let calls = fake.calls.clone();
    let mut stream = Stream::start(from_text("abc.\n".repeat(1000)), settings(), Box::new(fake));
    stream.next();
    drop(stream);
    // The thread still ends by itself; whatever it did by then is bounded: what was taken, what
    // was queued, and one in each hand.
    assert!(calls.load(std::sync::atomic::Ordering::Relaxed) <= 1 + 2 + 2);
}

#[test]
fn a_stopped_stream_ends_even_while_it_waits_for_text() {
    /// Never has a text.
    struct Never(std::sync::mpsc::Receiver<()>);
    impl Iterator for Never {
        type Item = Result<Segment, feed::Error>;
        fn next(&mut self) -> Option<Self::Item> {
            let _ = self.0.recv();
            None
        }
    }
    let (keep, never) = std::sync::mpsc::channel();
    let mut stream = Stream::start(Never(never), settings(), Box::new(Fake::default()));
    let stopper = stream.stopper();
    let stop = std::thread::spawn(move || stopper.stop());
    assert!(stream.next().is_none());
    assert!(matches!(stream.outcome(), Err(Error::Cancelled)));
    stop.join().unwrap();
    drop(keep);
}

#[test]
fn a_panic_in_the_engine_is_an_error_after_the_sound_before_it() {
    let fake = Fake { trouble: Some((1, Trouble::Panic)), ..Fake::default() };
    let mut stream = Stream::start(from_text("abc.\ndef.".into()), settings(), Box::new(fake));
    assert!(matches!(stream.next(), Some(Event::Sound(_))));
    assert!(stream.next().is_none());
    match stream.outcome() {
        Err(Error::Panicked(reason)) => assert_eq!(reason, "the fake engine panics"),
        other => panic!("{other:?}"),
    }
}

/// How many symbols the chunks have that are made of these segments, for a model with room.
fn chunk_lengths(segments: &[&str], settings: &Settings) -> Vec<usize> {
    let mut start = 0;
    let feed = segments.iter().map(|&text| {
        let segment = Segment { start, text: text.to_owned(), end: Boundary::Paragraph };
        start += text.len();
        Ok(segment)
    });
    let mut lengths = Vec::new();
    let listener = &mut |event| {
        if let Event::Sound(Block { spoken: Some(spoken), .. }) = event {
            lengths.push(spoken.text.len());
        }
        ControlFlow::Continue(())
    };
    let mut fake = Fake { room: Some(510), ..Fake::default() };
    speak(feed, settings, &mut fake, &Cancel::new(), listener).unwrap();
    lengths
}

#[test]
fn the_ramp_goes_on_from_paragraph_to_paragraph() {
    // Sentences of 15 letters, about 12 symbols, so that every wish is met closely.
    let long = "We all sat down. ".repeat(80);
    let short = "We all sat down.";
    let ramp = Ramp { first: 24, growth: 2.0 };
    let settings = Settings { ramp, ..Settings::default() };
    let segments = [short, short, &*long];
    let lengths = chunk_lengths(&segments, &settings);
    // The third segment begins with a wish of about 48, twice what came before, and goes on.
    assert!((40..=90).contains(&lengths[2]), "{lengths:?}");
    assert!(lengths[2..7].is_sorted(), "{lengths:?}");
    assert!(lengths[6] > 2 * lengths[2], "{lengths:?}");
    let said_before = Settings { given: 60, ..settings.clone() };
    assert!(chunk_lengths(&[&long], &said_before)[0] > 90, "120 are the wish");
    // As it always was: after the first chunk all are long.
    let at_once = chunk_lengths(&segments, &Settings::default());
    assert!(at_once[2] > 120, "{at_once:?}");
}

/// The least sound, in seconds, that any of so many listeners who come together has left when more
/// comes, where chunks of those lengths are made one after the other, the most urgent first, as
/// lanes are lent.
fn least_ahead(lengths: &[usize], listeners: usize, real_time_factor: f64) -> f64 {
    let (mut now, mut least) = (0.0_f64, f64::INFINITY);
    // For every listener: until when there is sound, and the chunks to come.
    let mut all = vec![(None::<f64>, lengths); listeners];
    let due = |until: Option<f64>, now: f64| until.map_or(0.0, |until| until.max(now));
    while let Some((until, chunks)) = all
        .iter_mut()
        .filter(|(_, chunks)| !chunks.is_empty())
        .min_by(|(a, _), (b, _)| due(*a, now).total_cmp(&due(*b, now)))
    {
        let sound = chunks[0] as f64 / SYMBOLS_A_SECOND;
        now += real_time_factor * sound;
        if let Some(until) = *until {
            least = least.min(until - now);
        }
        *until = Some(due(*until, now).max(now) + sound);
        *chunks = &chunks[1..];
    }
    least
}

#[test]
fn listeners_who_come_together_have_sound_while_that_of_others_is_made() {
    let long_sentence = "The old keeper climbed the spiral stairs of the lighthouse every evening \
        at dusk, and counted each step under his breath, as he had done for forty years. ";
    let answer = "Sure, I can help with that! First, open the settings page and choose your \
        account. Then pick the option called notifications, which you will find near the bottom \
        of the list; it lets you decide which messages reach you and when. ";
    let fast = [(0.0124, 12), (0.0199, 8), (0.0249, 6), (0.0399, 5)];
    let slow = [(0.08, 5), (0.11, 4), (0.16, 2), (0.329, 1), (0.6, 1)];
    for text in [long_sentence, answer] {
        for (real_time_factor, listeners) in fast.into_iter().chain(slow) {
            let ramp = Ramp::for_speed(real_time_factor);
            let settings = Settings { ramp, ..Settings::default() };
            let lengths = chunk_lengths(&[&text.repeat(5)], &settings);
            let least = least_ahead(&lengths, listeners, real_time_factor);
            assert!(least > 0.0, "{least} s: {listeners} at {real_time_factor}: {lengths:?}");
        }
    }
}

#[test]
fn a_live_text_is_cut_by_what_is_still_to_be_heard() {
    assert_eq!(symbols_in(Duration::from_secs(4), 1.0), 60);
    assert_eq!(symbols_in(Duration::from_secs(4), 2.0), 120);
    // The fake's sound is there at once, so that all of it is still to be heard.
    let long = "We all sat down. ".repeat(80);
    let settings =
        Settings { live: true, ramp: Ramp { first: 24, growth: 2.0 }, ..Settings::default() };
    let lengths = chunk_lengths(&[&long, &long], &settings);
    assert!(lengths[0] < 40 && *lengths.last().unwrap() > 80, "{lengths:?}");
    assert!(lengths[2..].iter().all(|&n| n > 80), "the second goes on as the first: {lengths:?}");
}

#[test]
fn sentences_of_a_live_text_rest_like_sentences_and_paragraphs_like_paragraphs() {
    let length = |texts: &[&str], end: Boundary| {
        let segments =
            texts.iter().map(|&text| Ok(Segment { start: 0, text: text.to_owned(), end }));
        let mut fake = Fake::default();
        let listener = &mut |_| ControlFlow::Continue(());
        speak(segments, &Settings::default(), &mut fake, &Cancel::new(), listener).unwrap().samples
    };
    let sentence = length(&["One.", " Two."], Boundary::Sentence);
    let paragraph = length(&["One.", "Two."], Boundary::Paragraph);
    let rests = Rests::default();
    let more = koe_audio::samples_in(rests.paragraph - rests.sentence);
    assert_eq!(paragraph - sentence, more);
    assert_eq!(length(&["One.\n\n", "Two."], Boundary::Sentence), paragraph);
    assert_eq!(length(&["One.", " \n\nTwo."], Boundary::Sentence), paragraph);
    assert_eq!(length(&["One.", "\n\n", "Two."], Boundary::Sentence), paragraph);
    assert_eq!(length(&["One.\n", " ", "\nTwo."], Boundary::Sentence), paragraph);
    assert_eq!(length(&["One.\n", "Two."], Boundary::Sentence), sentence);
}
