"""Whether a recogniser understands what koe says: word errors over plain sentences.

    pip install pocketsphinx numpy scipy
    python bench/recognise.py --koe target/release/koe [--voice am_rms] [--sentences FILE] [--count 20]

Runs `koe say` as a user would, one file a sentence, and lets PocketSphinx with its bundled US English model write
down what it hears. The recogniser is far from perfect: read the figure against the one in the
voice's model card for its teacher, over the same sentences.
"""

import argparse
import re
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from pocketsphinx import Decoder, get_model_path
from scipy.signal import resample_poly

SENTENCES = Path(__file__).parent.parent / "training" / "heldout.txt"


def words_of(text):
    return re.findall(r"[a-z']+", text.lower().replace("’", "'"))


def word_errors(said, heard):
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def speak(koe, text, arguments, path):
    subprocess.run([koe, "say", "--quiet", *arguments, "-o", path, "--", text], check=True)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--koe", required=True)
    parser.add_argument("--voice", default="am_rms")
    parser.add_argument("--sentences", type=Path, default=SENTENCES)
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()

    model = Path(get_model_path("en-us"))
    decoder = Decoder(lm=str(model / "en-us.lm.bin"), loglevel="FATAL")
    errors = total = 0
    with tempfile.TemporaryDirectory() as folder:
        for text in options.sentences.read_text(encoding="utf-8").splitlines()[: options.count]:
            sound = speak(options.koe, text, ["--voice", options.voice], Path(folder) / "say.wav")
            # The recogniser expects 16 kHz at an ordinary level.
            sound = resample_poly(sound, 2, 3)
            sound = sound / max(1e-6, np.abs(sound).max()) * 0.5
            decoder.start_utt()
            decoder.process_raw((sound * 32767).astype("<i2").tobytes(), full_utt=True)
            decoder.end_utt()
            hypothesis = decoder.hyp()
            heard = words_of(hypothesis.hypstr) if hypothesis else []
            said = words_of(text)
            wrong = word_errors(said, heard)
            errors, total = errors + wrong, total + len(said)
            print(f"{wrong:3} of {len(said):3}  {text}\n            {' '.join(heard)}")
    print(f"{options.voice}: {errors} of {total} words wrong, {100 * errors / total:.1f} %")


if __name__ == "__main__":
    main()
