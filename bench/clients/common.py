"""What the clients' checks share: FFmpeg as judge of a sound, and one line for every check.

As a program, `common.py FOLDER` compares `speech.mp3` and the like with the samples of
`speech.pcm` beside them, for clients that cannot decode by themselves.
"""
import io
import pathlib
import sys
import traceback

import av
import numpy as np

TEXT = "The quick brown fox jumps over the lazy dog. Then it sleeps, for a while, in the sun."
FORMATS = ["mp3", "opus", "aac", "flac", "wav"]
# How late the sound of a pure stream may come, in samples, which no decoder can know.
DELAY = {"mp3": 3000, "aac": 3000, "opus": 16, "flac": 0, "wav": 0}


class Checks:
    """Runs checks one after the other, whatever becomes of each, and remembers what failed."""

    def __init__(self, client):
        self.client, self.failed = client, 0

    def __call__(self, name, check, *arguments):
        try:
            told = check(*arguments)
        except Exception as error:
            self.failed += 1
            traceback.print_exc()
            told = str(error) or type(error).__name__
            print(f"FAIL {self.client}: {name}: {told.splitlines()[0]}", flush=True)
        else:
            print(f"ok   {self.client}: {name}{': ' + told if told else ''}", flush=True)

    def end(self):
        sys.exit(1 if self.failed else 0)


def samples(pcm):
    """Raw 16-bit samples as floats."""
    assert len(pcm) % 2 == 0, "half a sample"
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def decode(data):
    """The samples of a whole file in any format, mono at 24 kHz."""
    with av.open(io.BytesIO(data)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24000)
        parts = [part.to_ndarray()[0] for frame in file.decode(audio=0)
                 for part in resampler.resample(frame)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts)


def lag(sound, reference):
    """By how many samples `sound` is late, and how alike they are then."""
    n = 1 << (len(sound) + len(reference)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(sound, n) * np.conj(np.fft.rfft(reference, n)), n)
    late = int(np.argmax(cross))
    likeness = cross[late] / np.sqrt((sound @ sound) * (reference @ reference))
    return (late if late < n // 2 else late - n), float(likeness)


def compare(form, data, reference):
    """Nothing of `reference` may be missing in `data` at either end."""
    sound = decode(data)
    late, likeness = lag(sound, reference)
    missing = len(reference) - (len(sound) - late)
    told = (f"{len(sound)} samples of {len(reference)}, {late} late, likeness {likeness:.4f}, "
            f"{len(data) * 8 / len(reference) * 24:.0f} kbit/s")
    assert 0 <= late <= DELAY[form] and missing <= 0 and likeness > 0.9, told
    assert np.abs(sound).max() < 1.0, f"clips, {told}"
    return told


def main():
    folder = pathlib.Path(sys.argv[1])
    check = Checks(folder.name)
    reference = samples((folder / "speech.pcm").read_bytes())
    assert len(reference) > 24000, "less than a second was spoken"
    for form in FORMATS:
        check(f"{form} decodes to what pcm has",
              lambda: compare(form, (folder / f"speech.{form}").read_bytes(), reference))
    check.end()


if __name__ == "__main__":
    main()
