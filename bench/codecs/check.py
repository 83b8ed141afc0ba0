"""Encodes speech with koe's encoders and decodes it with FFmpeg, through PyAV.

    cargo build --release -p koe-audio --example encode
    python bench/codecs/check.py --encode target/release/examples/encode speech.wav [more.wav ...]

The files are 24 kHz mono, 16 bit; they are laid end to end. For every format, at 24 kHz and as a file and as a stream,
and then at the other rates, one row says: how many samples more than went in come out; where the sound lies; the
segmental ratio of signal to noise over 20 ms; the log-spectral distance below and above 8 kHz; the loudest sample;
the bit rate; how fast the encoder is. The last rows are FFmpeg's own encoders at the same bit rates, as a yardstick.
Any loss fails: a length or a place that is not what the format promises, or an error of the decoder.
"""

import argparse
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import av
import numpy as np

RATE = 24_000
# Samples that a stream comes late, of its own rate: koe_audio::Format::delay_samples.
DELAY = {"mp3": 1057, "aac": 1024}
# What a file says of itself, so that a decoder cuts it.
FILE_DELAY = {"aac": 1024}
YARDSTICKS = {"mp3": ("libmp3lame", "mp3"), "opus": ("libopus", "ogg"), "aac": ("aac", "adts")}


def decode(path, rate):
    """The samples that FFmpeg makes of a file, at `rate`: Opus always comes at 48 kHz and is decimated exactly."""
    name = Path(path).suffix[1:]
    if name == "pcm":
        return np.frombuffer(Path(path).read_bytes(), "<i2") / 32768
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = [frame for frame in container.decode(stream)]
        made = frames[0].sample_rate
        parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    sound = np.concatenate([p / 32768 if p.dtype == np.int16 else p.astype(np.float64) for p in parts])
    if made != rate:
        assert made == 48_000 and made % rate == 0, (made, rate)
        exact = len(sound) % (made // rate) == 0
        assert exact, "an odd length"
        n = len(sound) * rate // made
        sound = np.fft.irfft(np.fft.rfft(sound)[: n // 2 + 1], n) * (rate / made)
    return sound


def lag(wanted, made):
    """By how many samples `made` comes later than `wanted`."""
    n = 1 << (2 * max(len(wanted), len(made))).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(made, n) * np.conj(np.fft.rfft(wanted, n)), n)
    best = int(np.argmax(correlation))
    return best if best < n // 2 else best - n


def segmental(wanted, error, rate):
    window = rate // 50
    n = len(wanted) // window * window
    signal = (wanted[:n].reshape(-1, window) ** 2).mean(1)
    noise = (error[:n].reshape(-1, window) ** 2).mean(1)
    spoken = signal > 1e-6
    return np.clip(10 * np.log10(signal[spoken] / (noise[spoken] + 1e-12)), -10, 60).mean()


def distance(wanted, made, rate):
    """Of the spectra in dB, root mean square: below and above 8 kHz."""
    def spectra(sound):
        starts = 256 * np.arange((len(sound) - 512) // 256)
        rows = sound[starts[:, None] + np.arange(512)] * np.hanning(512)
        return 10 * np.log10(np.abs(np.fft.rfft(rows)) ** 2 + 1e-6)

    difference = (spectra(wanted) - spectra(made)) ** 2
    split = 8000 * 512 // rate
    high = difference[:, split:]
    return np.sqrt(difference[:, :split].mean(1)).mean(), np.sqrt(high.mean(1)).mean() if high.size > 600 else np.nan


def row(name, path, wanted, rate, speed, want_lag, exact):
    made = decode(path, rate)
    late = lag(wanted, made)
    moved = made[late:] if late >= 0 else np.concatenate([np.zeros(-late), made])
    whole = len(moved) >= len(wanted)
    moved = np.pad(moved, (0, max(0, len(wanted) - len(moved))))[: len(wanted)]
    tail = slice(len(wanted) - rate // 10, None)
    low, high = distance(wanted, moved, rate)
    kbps = Path(path).stat().st_size * 8 * rate / len(wanted) / 1000
    speed = f"{speed:>5}" if speed else "    -"
    fault = []
    if want_lag is not None and late != want_lag:
        fault.append(f"LATE BY {late}, NOT {want_lag}")
    if exact and len(made) != len(wanted):
        fault.append("LENGTH")
    if not whole:
        fault.append("TAIL LOST")
    lost = np.abs(wanted[tail]).max() > 0.01 and np.abs(moved[tail] - wanted[tail]).max() > np.abs(wanted[tail]).max()
    if lost:
        fault.append("TAIL WRONG")
    print(
        f"| {name:22} | {rate:5} | {len(made) - len(wanted):+5} | {late:+5} | {segmental(wanted, moved - wanted, rate):5.1f}"
        f" | {low:5.2f} | {high:5.2f} | {np.abs(made).max():5.3f} | {kbps:6.1f} | {speed} | {' '.join(fault)}"
    )
    return not fault


def yardstick(codec, container, wanted, rate, kbps, path):
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = "mono", int(kbps * 1000)
        samples = np.clip(wanted * 32767, -32768, 32767).round().astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.codec_context.format or "fltp", layout="mono", rate=rate)
        fifo = av.AudioFifo()
        for part in resampler.resample(frame) + resampler.resample(None):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        while True:
            part = fifo.read(size, partial=True)
            if part is None:
                break
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encode", required=True, help="the program examples/encode of koe-audio, in release")
    parser.add_argument("wav", nargs="+")
    arguments = parser.parse_args()
    parts = []
    for name in arguments.wav:
        with wave.open(name) as file:
            assert file.getparams()[:3] == (1, 2, RATE), name
            parts.append(np.frombuffer(file.readframes(file.getnframes()), "<i2"))
    sound = np.concatenate(parts) / 32767
    raw = sound.astype("<f4").tobytes()
    good = True
    print(f"{len(sound) / RATE:.1f} s of speech, peak {np.abs(sound).max():.3f}, decoded by FFmpeg (PyAV {av.__version__})\n")
    print("| format | rate | length | late | segSNR dB | LSD 0-8k | LSD 8k- | peak | kbit/s | x real time |\n|---|" + "---|" * 9)
    with tempfile.TemporaryDirectory() as folder:
        def encode(name, rate, kind):
            path = Path(folder) / f"{kind}{rate}.{name}"
            command = [arguments.encode, name, str(rate), kind, str(path)]
            speed = subprocess.run(command, input=raw, check=True, capture_output=True).stdout.decode().strip()
            return path, speed

        rates = {}
        for name in ["wav", "pcm", "flac", "mp3", "opus", "aac"]:
            for kind in ["stream", "file"]:
                path, speed = encode(name, RATE, kind)
                late = (DELAY if kind == "stream" else FILE_DELAY).get(name, 0)
                good &= row(f"{name} {kind}", path, sound, RATE, speed, late, late == 0)
                rates[name] = path.stat().st_size * 8 * RATE / len(sound) / 1000
        for name, others in {"mp3": [8000, 16000, 22050, 44100, 48000], "opus": [8000, 16000, 48000],
                             "aac": [8000, 16000, 44100, 48000], "flac": [11025, 44100]}.items():
            for rate in others:
                wanted = decode(encode("pcm", rate, "stream")[0], rate)
                assert len(wanted) == int(len(sound) * rate / RATE + 0.5)
                path, speed = encode(name, rate, "stream")
                good &= row(f"{name} stream", path, wanted, rate, speed, DELAY.get(name, 0), name not in DELAY)
        for name, (codec, container) in YARDSTICKS.items():
            path = Path(folder) / f"yardstick.{name}"
            yardstick(codec, container, sound, RATE, rates[name], path)
            row(f"{codec} of FFmpeg", path, sound, RATE, None, None, False)
    sys.exit(not good)


if __name__ == "__main__":
    main()
