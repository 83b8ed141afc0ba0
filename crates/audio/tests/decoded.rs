//! Every format through a decoder by another hand: what comes out is the sound that went in, as
//! long as it was, where and as late as the format says.

use std::io::Cursor;

use koe_audio::{Format, resample::RATES_HZ};
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::meta::MetadataOptions;

/// Something like speech: a buzz whose pitch glides, in syllables, with a hiss now and then. It
/// ends loudly, so that a lost tail is seen.
fn speech(n_samples: usize) -> Vec<f32> {
    let (mut phase, mut noise) = (0.0_f64, 1_u32);
    let mut samples: Vec<f32> = (0..n_samples)
        .map(|i| {
            let time = i as f64 / 24_000.0;
            phase += (140.0 + 40.0 * (2.0 * time).sin()) / 24_000.0;
            let buzz: f64 = (1..24)
                .map(|k| (std::f64::consts::TAU * phase * f64::from(k)).sin() / f64::from(k))
                .sum();
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = f64::from(noise >> 8) / f64::from(1 << 23) - 1.0;
            let syllable = (std::f64::consts::TAU * 4.0 * time).cos();
            (0.25 * buzz * syllable.max(0.0) + 0.04 * hiss * (-syllable).max(0.0)) as f32
        })
        .collect();
    let end = n_samples.saturating_sub(600);
    for (i, sample) in samples[end..].iter_mut().enumerate() {
        *sample += 0.3 * (i as f32 * 0.2).sin();
    }
    samples
}

fn encoded(format: Format, rate_hz: u32, samples: &[f32], file: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = match file {
        true => format.file_encoder(rate_hz).unwrap(),
        false => format.encoder(rate_hz).unwrap(),
    };
    for part in samples.chunks(1000) {
        encoder.encode(part, &mut bytes);
    }
    encoder.finish(&mut bytes);
    if let Some(opening) = encoder.opening().filter(|_| file) {
        bytes[..opening.len()].copy_from_slice(&opening);
    }
    bytes
}

/// The samples that a decoder makes, with what it cuts off of itself cut off.
fn decoded(format: Format, rate_hz: u32, bytes: &[u8]) -> Vec<f32> {
    match format {
        Format::Wav => s16(&bytes[koe_audio::wav::HEADER_BYTES..]),
        Format::Pcm => s16(bytes),
        Format::Opus => opus(rate_hz, bytes),
        _ => by_symphonia(format, rate_hz, bytes),
    }
}

fn s16(bytes: &[u8]) -> Vec<f32> {
    let pairs = bytes.as_chunks::<2>().0.iter();
    pairs.map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0).collect()
}

fn by_symphonia(format: Format, rate_hz: u32, bytes: &[u8]) -> Vec<f32> {
    let source = Box::new(Cursor::new(bytes.to_vec()));
    let source = symphonia::core::io::MediaSourceStream::new(source, Default::default());
    let mut hint = Hint::new();
    hint.with_extension(format.name());
    let mut reader = symphonia::default::get_probe()
        .probe(&hint, source, FormatOptions::default(), MetadataOptions::default())
        .unwrap();
    let track = reader.default_track(TrackType::Audio).unwrap();
    let parameters = track.codec_params.as_ref().unwrap().audio().unwrap().clone();
    assert_eq!(parameters.sample_rate, Some(rate_hz));
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .unwrap();
    let (mut samples, mut part) = (Vec::new(), Vec::new());
    while let Some(packet) = reader.next_packet().unwrap() {
        decoder.decode(&packet).unwrap().copy_to_vec_interleaved(&mut part);
        samples.extend_from_slice(&part);
    }
    samples
}

/// Packets as the `ogg` crate finds them, which checks every page's checksum; cut as RFC 7845
/// says; of the 48,000 samples a second, those that fall on samples of the encoder's rate.
fn opus(rate_hz: u32, bytes: &[u8]) -> Vec<f32> {
    let mut reader = ogg::PacketReader::new(Cursor::new(bytes));
    let head = reader.read_packet_expected().unwrap();
    assert!(head.first_in_stream() && head.last_in_page() && head.absgp_page() == 0);
    assert_eq!(head.data[..10], *b"OpusHead\x01\x01");
    let pre_skip = usize::from(u16::from_le_bytes([head.data[10], head.data[11]]));
    assert_eq!(head.data[12..16], rate_hz.to_le_bytes());
    assert_eq!(head.data.len(), 19);
    let tags = reader.read_packet_expected().unwrap();
    assert!(tags.last_in_page() && tags.absgp_page() == 0);
    assert_eq!(tags.data, *b"OpusTags\x03\0\0\0koe\0\0\0\0");

    let mut decoder = opus_decoder::OpusDecoder::new(48_000, 1).unwrap();
    let mut samples = Vec::new();
    let mut in_page = 0;
    loop {
        let packet = reader.read_packet_expected().unwrap();
        let mut part = vec![0.0; 5760];
        let n = decoder.decode_float(&packet.data, &mut part, false).unwrap();
        assert_eq!(n, 960);
        samples.extend_from_slice(&part[..n]);
        in_page += 1;
        assert!(in_page <= 10, "a page longer than 200 ms");
        if packet.last_in_stream() {
            let end = packet.absgp_page() as usize;
            assert!(samples.len() - end < 960, "a packet too many");
            samples.truncate(end);
            break;
        }
        if packet.last_in_page() {
            assert_eq!(packet.absgp_page() as usize, samples.len());
            in_page = 0;
        }
    }
    assert!(reader.read_packet().unwrap().is_none());
    samples.drain(..pre_skip);
    samples.into_iter().step_by(48_000 / rate_hz as usize).collect()
}

/// Of `made` against `wanted`, in dB, with `made` moved by so many samples.
fn signal_to_noise_db(wanted: &[f32], made: &[f32], shift: isize) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (i, &wanted) in wanted.iter().enumerate() {
        let made = i.checked_add_signed(shift).and_then(|i| made.get(i)).copied().unwrap_or(0.0);
        signal += f64::from(wanted).powi(2);
        noise += f64::from(wanted - made).powi(2);
    }
    10.0 * (signal / noise).log10()
}

/// The least that each format must reach with this sound, a few dB below what it does.
fn least_db(format: Format) -> f64 {
    match format {
        Format::Wav | Format::Pcm | Format::Flac => 70.0,
        Format::Mp3 => 20.0,
        Format::Aac => 18.0,
        _ => 12.0,
    }
}

fn at_rate(rate_hz: u32, samples: &[f32]) -> Vec<f32> {
    let pcm = encoded(Format::Pcm, rate_hz, samples, false);
    s16(&pcm)
}

#[test]
fn every_format_at_every_rate_gives_the_sound_as_late_as_it_says_and_to_its_end() {
    // No multiple of any frame.
    let samples = speech(40_123);
    for &format in Format::ALL {
        for &rate_hz in format.rates_hz() {
            let name = format!("{} {rate_hz}", format.name());
            let wanted = at_rate(rate_hz, &samples);
            let made = decoded(format, rate_hz, &encoded(format, rate_hz, &samples, false));
            let delay = format.delay_samples();
            assert!(made.len() >= wanted.len() + delay, "{name}: {} samples", made.len());
            assert!(delay > 0 || made.len() == wanted.len(), "{name}: {} samples", made.len());
            let shift = delay as isize;
            let reached = signal_to_noise_db(&wanted, &made, shift);
            assert!(reached > least_db(format), "{name}: {reached} dB");
            // It lies where it should and nowhere near that, and its end is as good as the rest.
            for near in [shift - 1, shift + 1] {
                assert!(signal_to_noise_db(&wanted, &made, near) < reached, "{name}");
            }
            let end = wanted.len() - rate_hz as usize / 50;
            let reached = signal_to_noise_db(&wanted[end..], &made[end..], shift);
            assert!(reached > least_db(format) - 6.0, "{name}: {reached} dB at the end");
        }
    }
}

#[test]
fn the_decoded_length_is_exact_wherever_the_format_can_tell_it() {
    for n in [1, 2, 95, 479, 480, 481, 576, 1024, 2303, 2304, 2305, 4608, 9600, 9599, 24_000] {
        let samples = speech(n);
        for format in [Format::Wav, Format::Pcm, Format::Opus, Format::Flac] {
            let made = decoded(format, 24_000, &encoded(format, 24_000, &samples, false));
            assert_eq!(made.len(), n, "{}", format.name());
        }
    }
}

#[test]
fn flac_is_the_wav_bit_for_bit_and_its_file_tells_its_length() {
    let mut silence_and_noise = vec![0.0; 5000];
    let mut noise = 1_u32;
    silence_and_noise.extend((0..5000).map(|_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise as f32 / 2_147_483_648.0 - 1.0
    }));
    let extremes: Vec<f32> = (0..3000).map(|i| if i % 3 == 0 { 9.0 } else { -9.0 }).collect();
    for samples in [speech(30_001), silence_and_noise, extremes, vec![0.5; 2], vec![0.1; 2304]] {
        for &rate_hz in RATES_HZ {
            let wav = encoded(Format::Wav, rate_hz, &samples, false);
            let pairs = wav[koe_audio::wav::HEADER_BYTES..].as_chunks::<2>().0.iter();
            let wanted: Vec<i32> = pairs.map(|&pair| i16::from_le_bytes(pair).into()).collect();
            for file in [false, true] {
                let flac = encoded(Format::Flac, rate_hz, &samples, file);
                let mut reader = claxon::FlacReader::new(&flac[..]).unwrap();
                let told = reader.streaminfo();
                assert_eq!((told.sample_rate, told.channels), (rate_hz, 1));
                assert_eq!(told.bits_per_sample, 16);
                assert_eq!(told.samples, file.then_some(wanted.len() as u64));
                let made: Vec<i32> = reader.samples().map(Result::unwrap).collect();
                assert!(made == wanted, "{rate_hz}");
            }
        }
    }
    let samples = speech(48_000);
    let [flac, wav] = [Format::Flac, Format::Wav].map(|f| encoded(f, 24_000, &samples, true));
    assert!(flac.len() * 10 < wav.len() * 8, "{} of {}", flac.len(), wav.len());
}

#[test]
fn an_mp3_file_decodes_to_exactly_what_went_in_and_its_stream_is_the_file_without_its_opening() {
    for n in [1000, 24_000, 40_123] {
        let samples = speech(n);
        for rate_hz in [16_000, 24_000, 44_100] {
            let wanted = at_rate(rate_hz, &samples);
            let file = encoded(Format::Mp3, rate_hz, &samples, true);
            let stream = encoded(Format::Mp3, rate_hz, &samples, false);
            assert!(file.ends_with(&stream));
            let made = decoded(Format::Mp3, rate_hz, &file);
            assert_eq!(made.len(), wanted.len(), "{rate_hz} {n}");
            let reached = signal_to_noise_db(&wanted, &made, 0);
            assert!(reached > least_db(Format::Mp3) - 3.0, "{rate_hz} {n}: {reached} dB");
        }
    }
}

#[test]
fn frames_of_mpeg_audio_follow_each_other_to_the_last_byte() {
    /// The length of the frame that begins here, by its header alone (ISO 11172-3, 13818-3, -7).
    fn mp3_frame(header: &[u8]) -> usize {
        let bits = u32::from_be_bytes(header[..4].try_into().unwrap());
        let (version, layer) = (bits >> 19 & 3, bits >> 17 & 3);
        assert_eq!((bits >> 21, layer), (0x7ff, 1), "no frame of Layer III");
        assert_eq!(bits >> 6 & 3, 3, "not mono");
        let rates = [44_100, 48_000, 32_000][(bits >> 10 & 3) as usize];
        let high = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        let low = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
        let (rate, kbps, n_frame) = match version {
            3 => (rates, high, 1152),
            2 => (rates / 2, low, 576),
            _ => (rates / 4, low, 576),
        };
        let kbps = kbps[(bits >> 12 & 15) as usize];
        (n_frame / 8 * 1000 * kbps / rate + (bits >> 9 & 1)) as usize
    }
    fn adts_frame(header: &[u8]) -> usize {
        assert_eq!((header[0], header[1] & 0xf6), (0xff, 0xf0), "no frame of ADTS");
        usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5]) >> 5
    }
    let samples = speech(30_000);
    for (format, n_frame, length) in [
        (Format::Mp3, 576, mp3_frame as fn(&[u8]) -> usize),
        (Format::Aac, 1024, adts_frame as fn(&[u8]) -> usize),
    ] {
        for &rate_hz in format.rates_hz() {
            let bytes = encoded(format, rate_hz, &samples, false);
            let (mut at, mut n_frames) = (0, 0);
            while at < bytes.len() {
                at += length(&bytes[at..]);
                n_frames += 1;
            }
            assert_eq!(at, bytes.len(), "{} {rate_hz}", format.name());
            let n_frame = if format == Format::Mp3 && rate_hz >= 32_000 { 1152 } else { n_frame };
            let n_samples = at_rate(rate_hz, &samples).len() + format.delay_samples();
            let whole = n_samples.div_ceil(n_frame);
            assert!((whole..=whole + 1).contains(&n_frames), "{} {rate_hz}", format.name());
        }
    }
}

#[test]
fn bytes_do_not_depend_on_how_the_samples_were_cut_nor_on_when() {
    let samples = speech(9000);
    for &format in Format::ALL {
        for rate_hz in [8000, 24_000, 48_000] {
            let encode = |cut: usize| {
                let (mut bytes, mut encoder) = (Vec::new(), format.encoder(rate_hz).unwrap());
                for part in samples.chunks(cut) {
                    encoder.encode(part, &mut bytes);
                    encoder.encode(&[], &mut bytes);
                }
                encoder.finish(&mut bytes);
                bytes
            };
            let whole = encode(samples.len());
            for cut in [1, 7, 480, 1000, 4097] {
                assert!(encode(cut) == whole, "{} {rate_hz} {cut}", format.name());
            }
        }
    }
}

#[test]
fn sound_comes_out_while_it_goes_in() {
    // What a format may hold back: 100 ms of Opus's first page, 96 ms of FLAC, two frames of AAC,
    // and for other rates half a window of the resampler.
    for &format in Format::ALL {
        for &rate_hz in format.rates_hz() {
            let mut encoder = format.encoder(rate_hz).unwrap();
            let mut bytes = Vec::new();
            encoder.encode(&[], &mut bytes);
            let opening = bytes.len();
            encoder.encode(&speech(24_000 * 35 / 100), &mut bytes);
            assert!(bytes.len() > opening.max(100), "{} {rate_hz}", format.name());
        }
    }
}

#[test]
fn no_sound_is_a_stream_all_the_same() {
    for &format in Format::ALL {
        for rate_hz in [8000, 24_000] {
            let bytes = encoded(format, rate_hz, &[], false);
            let made = match format {
                Format::Flac => Vec::new(),
                _ => decoded(format, rate_hz, &bytes),
            };
            assert_eq!(bytes.is_empty(), format == Format::Pcm, "{}", format.name());
            assert!(made.iter().all(|&sample| sample == 0.0), "{}", format.name());
            assert!(format.delay_samples() > 0 || made.is_empty(), "{}", format.name());
        }
    }
}

#[test]
fn loud_and_broken_samples_are_bent_and_never_stop_an_encoder() {
    let mut samples: Vec<f32> = speech(5000).iter().map(|sample| sample * 20.0).collect();
    samples.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE]);
    let sound = speech(9000);
    samples.extend(&sound);
    for &format in Format::ALL {
        for &rate_hz in format.rates_hz() {
            let name = format!("{} {rate_hz}", format.name());
            let made = decoded(format, rate_hz, &encoded(format, rate_hz, &samples, false));
            let loudest = made.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
            assert!(loudest > 0.5 && loudest < 1.6, "{name}: {loudest}");
            // What follows is as good as ever. The seam itself is a step, which rings.
            let rest = at_rate(rate_hz, &samples);
            let from = rest.len() - rate_hz as usize / 4;
            let shift = format.delay_samples() as isize;
            let reached = signal_to_noise_db(&rest[from..], &made[from..], shift);
            assert!(reached > least_db(format) - 3.0, "{name}: {reached} dB");
        }
    }
}
