"""Make the voices equally loud: measure them and write their gains to config.json.

    python loudness.py --model DIR --data DIR

Loudness is that of ITU-R BS.1770-4 (K-weighted, gated), averaged over the model's own speech
for the held-out texts.  am_rms is levelled to af_slt, which keeps gain 1; the gains and the
default voice go under the extra key "koe", which other engines ignore.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter, resample_poly

from evaluate import load_model, load_voice, style_row
from train import Corpus

DEFAULT_VOICE = "am_rms"
LEVELLED_TO = "af_slt"
TEXTS = {"af_slt": "heldout_slt", "am_rms": "heldout_rms"}
# BS.1770-4, tables 1 and 2: the K-weighting filters for 48 kHz
SHELF = ([1.53512485958697, -2.69169618940638, 1.19839281085285],
         [1.0, -1.69065929318241, 0.73248077421585])
HIGH_PASS = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])


def loudness(wave):
    """Integrated loudness in LUFS of mono 24 kHz speech."""
    wave = lfilter(*HIGH_PASS, lfilter(*SHELF, resample_poly(wave, 2, 1)))
    block, hop = 19200, 4800                            # 400 ms, three quarters overlapping
    starts = range(0, max(1, len(wave) - block + 1), hop)
    power = np.array([np.mean(wave[s:s + block] ** 2) for s in starts]) + 1e-12
    level = lambda p: -0.691 + 10 * np.log10(p)
    power = power[level(power) > -70]
    return level(power[level(power) > level(power.mean()) - 10].mean())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    model, level, peak = load_model(args.model), {}, {}
    for voice, folder in TEXTS.items():
        corpus, pack = Corpus(args.data, folder), load_voice(args.model, voice)
        waves = []
        for i in range(min(args.count, len(corpus))):
            tokens, _ = corpus.text(i)
            waves.append(model(tokens[None], style_row(pack, len(tokens) - 2))[0].numpy())
        level[voice] = float(np.mean([loudness(w) for w in waves]))
        peak[voice] = float(max(np.abs(w).max() for w in waves))
    gain = {}
    for voice in TEXTS:
        gain[voice] = round(10 ** ((level[LEVELLED_TO] - level[voice]) / 20), 3)
        print(f"{voice}: {level[voice]:.1f} LUFS, peak {peak[voice]:.3f}, gain {gain[voice]}, "
              f"peak after it {gain[voice] * peak[voice]:.3f}")
        assert gain[voice] * peak[voice] < 1, "the gain clips: level to the quieter voice"
    path = Path(args.model) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["koe"] = {"default_voice": DEFAULT_VOICE, "gain": gain}
    path.write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
