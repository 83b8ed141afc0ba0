#!/usr/bin/env python3
"""Run PyTorch's Kokoro and keep what each stage gave, for an engine to be compared with.

Writes one safetensors file per case (some 200 MB for the default fifteen; not meant to be committed):
five lengths of text times three speeds. Tensor names are those of the built-in voice's reference files:

  tokens [T] int32, with both padding zeros      style [256]              speed [1]
  bert [T, 768]          prosody_text [T, 640]    duration [T] in frames, before rounding
  frames [T] int32       f0, n [2F]               text [512, T]
  decoder_features [512, 2F], the generator's input
  noise_seed             in the metadata, with voice and speed
  source [600F]          the excitation, from a fixed noise; source_zero_noise without any
  har [22, 120F+1]       its spectrum: 11 magnitudes, then 11 phases; input of the noise convolutions
  waveform [600F]        what the generator makes of decoder_features and that source
  waveform_zero_noise    the whole model's output when the noise is zero

T tokens with padding, F frames. `--deep` adds what lies between (see DEEP), to find a fault in one stage.

The waveform is only comparable given the source: its phase is a running sum of F0 over the whole text,
so a difference of 1e-3 Hz, or the sign of a rounding error in a silent bin, moves samples and not sound.
"""
import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

import upstream

LENGTHS = (3, 20, 100, 300, 510)
SPEEDS = (0.5, 1.0, 1.7)
NOISE_SEED = 20
# Which voice speaks which length; a voice that is not there is replaced by the first that is.
VOICES = ("bf_emma", "af_heart", "am_michael", "zf_xiaoxiao", "jm_kumo")
# Names of inner stages in the deep dump, and the modules whose output they are.
DEEP = {
    "bert_encoder": "bert_encoder",
    "shared": "predictor.shared",
    "decoder_encode": "decoder.encode",
    "decoder_decode_0": "decoder.decode.0",
    "decoder_decode_1": "decoder.decode.1",
    "decoder_decode_2": "decoder.decode.2",
    "noise_conv_0": "decoder.generator.noise_convs.0",
    "noise_conv_1": "decoder.generator.noise_convs.1",
    "noise_res_0": "decoder.generator.noise_res.0",
    "noise_res_1": "decoder.generator.noise_res.1",
    "up_0": "decoder.generator.ups.0",
    "up_1": "decoder.generator.ups.1",
    "resblock_0": "decoder.generator.resblocks.0",
    "resblock_3": "decoder.generator.resblocks.3",
    "post": "decoder.generator.conv_post",
}


def first(value):
    """The tensor of a module's output: LSTMs and the source give tuples."""
    return value[0] if isinstance(value, tuple) else value


class Recorder:
    """Keeps outputs and inputs of chosen modules for the length of a `with`."""

    def __init__(self, model, deep):
        self.model, self.deep, self.kept = model, deep, {}

    def __enter__(self):
        modules = dict(self.model.named_modules())

        def output(name, module):
            return modules[module].register_forward_hook(
                # A copy: the sum over residual blocks is made in the first one's output.
                lambda m, i, o: self.kept.__setitem__(name, first(o).detach().clone()))

        def inputs(names, module):
            return modules[module].register_forward_pre_hook(
                lambda m, i: self.kept.update({n: x.detach() for n, x in zip(names, i) if n}))

        self.hooks = [
            output("bert", "bert"), output("prosody_text", "predictor.text_encoder"),
            output("logits", "predictor.duration_proj"), output("text", "text_encoder"),
            inputs((None, "f0", "n", None), "decoder"),
            inputs(("decoder_features", "acoustic", None), "decoder.generator"),
            output("source", "decoder.generator.m_source"),
            inputs(("har",), "decoder.generator.noise_convs.0")]
        if self.deep:
            self.hooks += [output(name, module) for name, module in DEEP.items()]
        return self.kept

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def record(model, ids, style, speed, deep):
    """All tensors of one case; batch dimensions dropped."""
    with torch.no_grad(), Recorder(model, deep) as kept:
        with upstream.Noise():
            zero_noise, frames = model.forward_with_tokens(ids, style, speed)
        kept["source_zero_noise"] = kept["source"][:, :, 0]
        kept["duration"] = torch.sigmoid(kept.pop("logits")).sum(-1) / speed
        with upstream.Noise(NOISE_SEED):
            waveform = model.decoder.generator(kept["decoder_features"], kept.pop("acoustic"), kept["f0"])
    tensors = {name: value[0] for name, value in kept.items()}
    tensors["source"] = tensors["source"][:, 0]
    tensors.update(
        tokens=ids[0].int(), style=style[0], speed=torch.tensor([speed]), frames=frames.reshape(-1).int(),
        waveform=waveform.flatten(), waveform_zero_noise=zero_noise.flatten())
    return {name: value.clone().contiguous() for name, value in tensors.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True,
                        help="a folder with config.json, a .pth in the released layout, and voices/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=lambda s: [int(x) for x in s.split(",")], default=LENGTHS)
    parser.add_argument("--speeds", type=lambda s: [float(x) for x in s.split(",")], default=SPEEDS)
    parser.add_argument("--deep", action="store_true", help="keep inner stages too; large")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights = sorted(args.model.glob("*.pth"))
    if len(weights) != 1:
        parser.error(f"{args.model} holds {len(weights)} .pth files; one is needed")
    model = upstream.load(args.model / "config.json", weights[0])
    voices = sorted(path.stem for path in (args.model / "voices").glob("*.pt"))
    vocabulary = sorted(json.loads((args.model / "config.json").read_text(encoding="utf-8"))["vocab"].values())
    args.out.mkdir(parents=True, exist_ok=True)
    for index, n in enumerate(args.tokens):
        # The text depends on its length alone, so that one case can be made again without the others.
        chosen = torch.randint(len(vocabulary), (n,), generator=torch.Generator().manual_seed(1000 + n))
        ids = torch.tensor([[0, *(vocabulary[i] for i in chosen), 0]])
        voice = VOICES[index % len(VOICES)]
        voice = voice if voice in voices else voices[0]
        style = upstream.read_voice(args.model / "voices" / f"{voice}.pt")[n - 1]
        for speed in args.speeds:
            started = time.time()
            tensors = record(model, ids, style, speed, args.deep)
            name = f"t{n:03d}_s{speed:.1f}.safetensors"
            save_file(tensors, str(args.out / name), metadata={
                "voice": voice, "speed": str(speed), "noise_seed": str(NOISE_SEED), "model": weights[0].name})
            print(f"{name}: {int(tensors['frames'].sum())} frames, {tensors['waveform'].numel() / 24000:.2f} s, "
                  f"rms {tensors['waveform'].std():.3f}, {time.time() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
