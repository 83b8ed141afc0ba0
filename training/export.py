"""Write the shipped files from training checkpoints.

    python export.py --run DIR --out DIR

Gives model.safetensors (float16), config.json, voices/*.bin and, for checking an inference
engine, reference/*.safetensors: the tensors between the stages of three short texts.
`loudness.py` then adds the voices' gains to config.json.
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from evaluate import load_model, load_voice, style_row
from model import HARMONICS, KokoroModel
from train import F0_UNIT, VOICES, DecoderTask, ProsodyTask

NAMES = {"slt": "af_slt", "rms": "am_rms"}
# Symbols of Kokoro's vocabulary that US English never uses get the embedding of their
# nearest neighbour, so that other front ends are at least understood.
NEAREST = {
    "a": "æ", "Q": "O", "ɒ": "ɑ", "ː": "ə", "ɚ": "ə", "e": "A", "o": "O", "S": "ʃ", "c": "k",
    "q": "k", "r": "ɹ", "x": "h", "y": "i", "β": "v", "ɕ": "ʃ", "ç": "h", "ɖ": "d", "ɟ": "ʤ",
    "ɥ": "j", "ɨ": "ɪ", "ʝ": "j", "ɯ": "u", "ɰ": "w", "ɳ": "n", "ɲ": "n", "ɴ": "ŋ", "ø": "ɜ",
    "ɸ": "f", "œ": "ɜ", "ɻ": "ɹ", "ʁ": "ɹ", "ɽ": "ɾ", "ʂ": "ʃ", "ʈ": "t", "ʋ": "v", "ɣ": "ɡ",
    "ɤ": "O", "χ": "h", "ʎ": "l", "ʔ": "t", "ʰ": "h", "ʲ": "j", "ʣ": "z", "ʥ": "ʤ", "ʦ": "s",
    "ʨ": "ʧ", "ᵝ": "w", "\uab67": "ʧ", "\u0303": "n", "↓": " ", "→": " ", "↗": " ", "↘": " ",
}
CASES = [
    ("hi", "hˈI", "af_slt", 1.0),
    ("hello", "həlˈO, wˈɜɹld!", "af_slt", 1.0),
    ("question", "wʌz ɪt ðə fˈOn?", "am_rms", 1.2),
]


def averaged(path, task):
    """Load a checkpoint with its averaged weights."""
    saved = torch.load(path, map_location="cpu")
    task.load_state_dict(saved["model"])
    parameters = dict(task.named_parameters())
    with torch.no_grad():
        for name, value in zip(saved["names"], saved["average"]):
            parameters[name].copy_(value)
    return task, saved["step"], saved["spent"]


def merged_state(prosody, decoder, vocab):
    state = {}
    for task in (prosody, decoder):
        for name, value in task.state_dict().items():
            if name.split(".")[0] not in ("style", "mel_head"):
                state[name] = value.clone()
    # training sees F0 in units of 100 Hz, the shipped model in Hz
    for name in ("predictor.F0_proj.weight", "predictor.F0_proj.bias"):
        state[name] *= F0_UNIT
    state["decoder.F0_conv.weight"] /= F0_UNIT
    for name in ("bert.embeddings.word_embeddings.weight", "text_encoder.embedding.weight"):
        for symbol, known in NEAREST.items():
            state[name][vocab[symbol]] = state[name][vocab[known]]
    return state


def write_reference(folder, out):
    out.mkdir(parents=True, exist_ok=True)
    model = load_model(folder)
    vocab = model.config["vocab"]
    summary = []
    for name, phonemes, voice, speed in CASES:
        ids = [vocab[c] for c in phonemes]
        style = style_row(load_voice(folder, voice), len(ids))
        trace = {}
        generator = model.decoder.generator
        tokens = torch.tensor([[0, *ids, 0]])
        model(tokens, style, speed, noise="zero", trace=trace)
        # A fixed excitation makes the waveform comparable: with exactly zero noise the
        # phases of silent bins are decided by rounding errors.
        seed = torch.Generator().manual_seed(20)
        samples = trace["f0"].shape[1] * generator.m_source.scale
        noise = torch.randn(1, samples, HARMONICS, generator=seed)
        with torch.no_grad():
            source = generator.m_source(trace["f0"], noise)
            wave = generator(trace["features"], style[:, :128], trace["f0"], noise)
        tensors = {"tokens": tokens[0].int(), "style": style[0], "bert": trace["bert"][0],
                   "prosody_text": trace["d"][0], "duration": trace["duration"][0],
                   "frames": trace["frames"].int(), "f0": trace["f0"][0], "n": trace["n"][0],
                   "text": trace["text"][0], "decoder_features": trace["features"][0],
                   "source": source[0], "waveform": wave[0],
                   "waveform_zero_noise": trace["wave"][0]}
        tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
        save_file(tensors, str(out / f"{name}.safetensors"),
                  metadata={"phonemes": phonemes, "voice": voice, "speed": str(speed)})
        (out / f"{name}.safetensors").chmod(0o644)
        summary.append({"file": f"{name}.safetensors", "phonemes": phonemes, "voice": voice,
                        "speed": speed, "samples": wave.shape[1]})
    (out / "cases.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n",
                                    encoding="utf-8")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--config", default=str(Path(__file__).parent / "config.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = json.loads(Path(args.config).read_text(encoding="utf-8"))
    run, out = Path(args.run), Path(args.out)
    (out / "voices").mkdir(parents=True, exist_ok=True)

    prosody, *prosody_info = averaged(run / "prosody.pt", ProsodyTask(config))
    decoder, *decoder_info = averaged(run / "decoder.pt", DecoderTask(config))
    state = merged_state(prosody, decoder, config["vocab"])
    expected = KokoroModel(config).state_dict()
    assert state.keys() == expected.keys(), state.keys() ^ expected.keys()
    worst = max(float(v.abs().max()) for v in state.values())
    assert worst < 60000, "a weight does not fit float16"
    save_file({k: v.half().contiguous() for k, v in state.items()},
              str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n",
                                     encoding="utf-8")
    for i, voice in enumerate(VOICES):
        # one style for texts of any length: a pack of one row
        vector = torch.cat([decoder.style[i], prosody.style[i]]).detach().numpy()
        (out / "voices" / f"{NAMES[voice]}.bin").write_bytes(vector.astype("<f4").tobytes())
    (out / "model.safetensors").chmod(0o644)
    size = (out / "model.safetensors").stat().st_size
    print(f"steps and seconds: prosody {prosody_info}, decoder {decoder_info}; "
          f"{sum(v.numel() for v in state.values())} parameters, {size} bytes, "
          f"largest weight {worst:.1f}")
    write_reference(out, out / "reference")


if __name__ == "__main__":
    main()
