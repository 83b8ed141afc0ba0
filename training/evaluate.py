"""Measure a trained voice against its teacher on utterances it has not seen.

    python evaluate.py --model DIR --data DIR/heldout_slt --voice af_slt --png DIR

--data is a folder made by `data.py --texts heldout.txt --name heldout_slt`.
Word errors come from PocketSphinx with its bundled US English models, for the teacher's and
the student's audio alike.  --thorough adds phone errors and the word errors of the student
speaking with the teacher's durations, F0 and energy, which tell blurred acoustics from bad
prosody; it takes five times as long.
"""
import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly

from features import MelSpectrogram
from train import Corpus


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


class Recogniser:
    def __init__(self):
        from pocketsphinx import Decoder, get_model_path
        model = Path(get_model_path("en-us"))
        self.words = Decoder(lm=str(model / "en-us.lm.bin"), loglevel="FATAL")
        self.phones = Decoder(lm=None, allphone=str(model / "en-us-phone.lm.bin"), lw=2.0,
                              beam=1e-20, pbeam=1e-20, loglevel="FATAL")

    def decode(self, decoder, wave):
        # both models expect 16 kHz speech at an ordinary level
        wave = resample_poly(wave, 2, 3)
        wave = wave / max(1e-6, np.abs(wave).max()) * 0.5
        decoder.start_utt()
        decoder.process_raw((wave * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        return decoder

    def spoken_words(self, wave):
        hypothesis = self.decode(self.words, wave).hyp()
        return hypothesis.hypstr.split() if hypothesis else []

    def spoken_phones(self, wave):
        decoder = self.decode(self.phones, wave)
        return [s.word for s in decoder.seg() or []
                if s.word not in ("SIL", "+SPN+", "+NSN+", "<s>", "</s>")]


CMU = {"ə": "AH", "ɐ": "AH", "ᵊ": "AH", "ʌ": "AH", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "u": "UW",
       "ʊ": "UH", "ɑ": "AA", "ɔ": "AO", "æ": "AE", "ɛ": "EH", "A": "EY", "I": "AY", "O": "OW",
       "W": "AW", "Y": "OY", "ɜ": "ER", "b": "B", "d": "D", "f": "F", "h": "HH", "j": "Y",
       "k": "K", "l": "L", "m": "M", "n": "N", "p": "P", "s": "S", "t": "T", "v": "V",
       "w": "W", "z": "Z", "ð": "DH", "ŋ": "NG", "ɡ": "G", "ɹ": "R", "T": "T", "ɾ": "T",
       "ʃ": "SH", "ʒ": "ZH", "ʤ": "JH", "ʧ": "CH", "θ": "TH"}


def reference_phones(phonemes):
    phonemes = re.sub("[ɜəᵊ]ɹ", "ɜ", phonemes)
    return [CMU[c] for c in phonemes if c in CMU]


def normal_words(text):
    return re.findall(r"[a-z']+", text.lower().replace("’", "'"))


def load_model(folder):
    from safetensors.torch import load_file
    from model import KokoroModel
    folder = Path(folder)
    model = KokoroModel(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    state = {k: v.float() for k, v in load_file(str(folder / "model.safetensors")).items()}
    model.load_state_dict(state)
    return model.eval()


def load_voice(folder, name):
    """-> [rows, 1, 256]"""
    pack = np.fromfile(Path(folder) / "voices" / f"{name}.bin", "<f4").reshape(-1, 1, 256)
    return torch.from_numpy(pack)


def style_row(pack, symbols):
    """The style for a text of so many symbols, as an engine picks it: [1, 256]."""
    return pack[min(symbols - 1, len(pack) - 1)]


def picture(path, teacher, student, title):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(2, 1, figsize=(13, 7))
    for axis, wave, name in zip(axes, (teacher, student), ("teacher", "student")):
        axis.specgram(wave + 1e-5 * np.random.randn(len(wave)), NFFT=512, Fs=24000,
                      noverlap=400, vmin=-130, vmax=-40)
        axis.set_title(f"{name}: {title}"[:110], fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--voice", default="af_slt")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--png", help="folder for three spectrograms")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    data = Path(args.data)
    corpus = Corpus(data.parent, data.name)
    chosen = range(min(args.count, len(corpus)))
    recogniser, mel_of = Recogniser(), MelSpectrogram()
    model, pack = load_model(args.model), load_voice(args.model, args.voice)
    sums = {}

    def add(name, value, weight=1.0):
        total = sums.setdefault(name, [0.0, 0.0])
        total[0] += value
        total[1] += weight

    for n, i in enumerate(chosen):
        text, phonemes = corpus.texts[i]
        tokens, durations = corpus.text(i)
        style, trace = style_row(pack, len(tokens) - 2), {}
        acoustic, prosodic = style[:, :128], style[:, 128:]
        wave, frames = model(tokens[None], style, trace=trace)
        waves = {"teacher": corpus.audio(i).numpy(), "student": wave.numpy()}
        add("duration error (frames/token)", (frames - durations).abs().float().sum(), len(tokens))
        add("total length ratio", float(frames.sum()) / float(durations.sum()))
        # with the teacher's durations curves and spectra line up
        with torch.no_grad():
            spread = trace["d"].repeat_interleave(durations, dim=1)
            f0, energy = model.predictor.curves(spread, prosodic)
            f0_true, energy_true, mel_true = corpus.frames(i)
            voiced = (f0_true > 0) & (f0[0] > 10)
            add("F0 error (Hz)", (f0[0] - f0_true)[voiced].abs().sum(), int(voiced.sum()))
            add("voicing error", ((f0_true > 0) != (f0[0] > 10)).float().mean())
            add("energy error", (energy[0] - energy_true).abs().mean())
            asr = trace["text"].repeat_interleave(durations, dim=2)
            same = model.decoder(asr, f0_true[None], energy_true[None], acoustic)
            mel = mel_of(same)[0, :, :len(mel_true)].T
            add("log mel distance, teacher's prosody", (mel - mel_true).abs().mean())
            if args.thorough:
                waves["student, teacher's prosody"] = same[0].numpy()
        words, phones = normal_words(text), reference_phones(phonemes)
        for who, wave in waves.items():
            heard = recogniser.spoken_words(wave)
            add(f"word errors, {who}", edit_distance(words, heard), len(words))
            if args.thorough:
                add(f"phone errors, {who}",
                    edit_distance(phones, recogniser.spoken_phones(wave)), len(phones))
        if args.png and n < 3:
            picture(Path(args.png) / f"{args.voice}_{n}.png", waves["teacher"],
                    waves["student"], text)
    print(args.voice, "utterances", len(chosen))
    for name, (total, weight) in sums.items():
        print(f"  {name}: {float(total) / float(weight):.4f}")


if __name__ == "__main__":
    main()
