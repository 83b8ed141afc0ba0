#!/usr/bin/env python3
"""Make a stand-in for Kokoro-82M: the exact architecture, random weights, the behaviour of a voice.

The network is instantiated from the published `kokoro` package, so every name and shape is that of the
released model. All tensors are drawn from one seeded generator; then a few output layers are fitted so
that the model *behaves* like the trained one (about 2.4 frames of 25 ms a token, F0 mostly between 80
and 300 Hz, level near 0.08 rms, everything finite). That is enough to check an inference engine and to
time it: arithmetic does not care whether the words can be understood. It says nothing about how a
reduced precision sounds.

The released shape and vocabulary are known here, and voice packs are drawn like the weights; --config and
--voice take Kokoro's published files (Apache-2.0; not kept here) in place of them. The same seed, PyTorch
and voices give the same bytes. Into --out go

  config.json              what Kokoro's own says of the network, or a copy of --config
  kokoro-v1_0.pth          the layout of the released file: {bert, bert_encoder, predictor, decoder,
                           text_encoder} -> state dict, keys prefixed `module.`, weight norm unfolded
  kokoro-rand.safetensors  the same tensors under `<part>.<name>`, as public conversions have it
  voices/*.pt, voices/*.bin, voices-v1.0.bin   the packs: torch tensors, raw f32, and one npz
  kokoro-rand.onnx, kokoro-rand-zero-noise.onnx   with --onnx: fp32 exports by the usual recipe
  kokoro-rand-plain.onnx                          the first without loops and sequences, for OpenVINO
"""
import argparse
import hashlib
import json
import math
import shutil
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

import upstream

PARTS = ("bert", "bert_encoder", "predictor", "decoder", "text_encoder")
# Lengths, in tokens, that the output layers are fitted on.
FIT_LENGTHS = (20, 40, 100, 200, 300, 510)
# Voices that the fit uses when they are there, besides --voice.
FIT_VOICES = ("am_michael", "bf_emma", "zf_xiaoxiao", "jm_kumo")
# Voices that are drawn where none is given; all are fitted on.
DRAWN_VOICES = ("af_drawn", "am_drawn", "bf_drawn", "bm_drawn", "af_drawn_2")
# The shape of Kokoro-82M in the words of its config.json.
RELEASED_SHAPE = {
    "istftnet": {
        "upsample_kernel_sizes": [20, 12], "upsample_rates": [10, 6], "gen_istft_hop_size": 5, "gen_istft_n_fft": 20,
        "resblock_dilation_sizes": [[1, 3, 5]] * 3, "resblock_kernel_sizes": [3, 7, 11],
        "upsample_initial_channel": 512},
    "dim_in": 64, "dropout": 0.2, "hidden_dim": 512, "max_conv_dim": 512, "max_dur": 50, "multispeaker": True,
    "n_layer": 3, "n_mels": 80, "n_token": 178, "style_dim": 128, "text_encoder_kernel_size": 5,
    "plbert": {
        "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 2048, "max_position_embeddings": 512,
        "num_hidden_layers": 12, "dropout": 0.1}}
# The built-in voice has Kokoro's vocabulary.
VOCABULARY_FILE = Path(__file__).resolve().parents[1] / "training" / "config.json"
TARGET_RMS = 0.08
F0_MEAN_HZ, F0_STD_HZ = 165.0, 55.0


# ------------------------------------------------------------------ random weights

def randomize(model, seed):
    """Draws every parameter. Scales keep each layer's output near unit size, with these departures:

    ALBERT's residual branches are small, or twelve rounds of one shared random layer would make all
    tokens alike; LSTMs forget fast, so that outputs follow their own token; style columns are damped.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(parameter, std, mean=0.0):
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * std + mean)

    for name, p in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        fan_in = 1.0 / math.sqrt(p.shape[-1]) if p.dim() else 1.0
        if ".alpha" in name:  # Snake's frequency: positive
            p.data.copy_(torch.exp(torch.randn(p.shape, generator=generator) * 0.35))
        elif name.startswith("bert."):
            if "LayerNorm" in name or "layer_norm" in name:
                draw(p, 0.05, 1.0 if leaf == "weight" else 0.0)
            elif leaf == "bias":
                draw(p, 0.02)
            elif "embeddings" in name:
                draw(p, 0.1 if "word" in name else 0.02)
            elif "query" in name or "key" in name:
                draw(p, 2.0 / math.sqrt(p.shape[-1]))
            elif "attention.dense" in name or "ffn_output" in name:
                draw(p, 0.15 / math.sqrt(p.shape[-1]))
            else:
                draw(p, fan_in)
        elif leaf in ("gamma", "beta"):  # layer norm over channels
            draw(p, 0.1, 1.0 if leaf == "gamma" else 0.0)
        elif ".norm.weight" in name or ".norm.bias" in name:
            continue  # instance norm stays 1 and 0: the release has no such tensors
        elif "lstm" in name or ".shared." in name:
            gain = 0.4 if "weight_hh" in name else 2.0
            draw(p, gain / math.sqrt(p.shape[-1]) if p.dim() == 2 else 0.05)
            if "weight_ih" in name and p.shape[1] == 640:
                p.data[:, 512:] *= 0.3
        elif ".fc." in name:  # style to gain and offset; entries of a style are about 0.1 to 0.3
            draw(p, 0.06 if leaf == "weight" else 0.05)
        elif name.endswith("embedding.weight"):
            draw(p, 0.5)
        elif leaf == "weight_g":
            continue  # below, from the directions
        elif p.dim() >= 2:  # convolution or linear weight, or a direction of weight norm
            inputs = p[0].numel()
            if ".pool." in name:  # depthwise transposed: 3 taps, stride 2
                inputs = 1.5
            elif "ups." in name:  # transposed, [in, out, taps]: each output meets taps / stride of them
                inputs = p.shape[0] * p.shape[2] / (10 if "ups.0" in name else 6)
            draw(p, 0.9 / math.sqrt(inputs))
        else:
            draw(p, 0.02)
    # The gain of weight norm is jittered, so that a loader that forgets it is found out.
    for module in model.modules():
        if hasattr(module, "weight_g"):
            v = module.weight_v.data
            norm = v.flatten(1).norm(dim=1).view(-1, *[1] * (v.dim() - 1))
            module.weight_g.data.copy_(norm * (1 + 0.1 * torch.randn(norm.shape, generator=generator)))
    return generator


# ------------------------------------------------------------------ fitting the output layers

def fit_projection(groups, outputs, generator, common, directions):
    """A random projection [outputs, inputs] whose mean does not drift between voices and lengths.

    `groups` holds one [tokens, inputs] matrix of features per condition. The weights are made orthogonal
    to the main `directions` in which the conditions' means differ, so what is fitted here holds for
    other lengths and voices. `common` is how much of the variation all outputs share.
    """
    features = torch.cat(groups)
    means = torch.stack([group.mean(0) for group in groups])
    _, _, basis = torch.linalg.svd(means - means.mean(0), full_matrices=False)
    basis = basis[:directions]
    width = features.shape[1]
    weight = common * torch.randn(1, width, generator=generator) + torch.randn(
        outputs, width, generator=generator)
    weight = weight - (weight @ basis.T) @ basis
    result = features @ weight.T
    return weight / result.std(0, keepdim=True).T, features


@torch.no_grad()
def calibrate(model, generator, packs, frames_per_token):
    """Fits duration, F0, energy and the last convolution; `packs` are voices, the first sets the pace."""
    seen = {}
    predictor, vocoder = model.predictor, model.decoder.generator
    duration = predictor.duration_proj.linear_layer

    def watch(key):
        return lambda module, inputs, output: seen.__setitem__(key, (inputs[0].detach(), output.detach()))

    hooks = [module.register_forward_hook(watch(key)) for module, key in (
        (duration, "duration"), (predictor.F0_proj, "f0"), (predictor.N_proj, "n"),
        (vocoder.conv_post, "post"))]
    decoder, model.decoder = model.decoder, torch.nn.Identity()
    model.decoder.forward = lambda asr, f0, n, style: torch.zeros(1)
    duration.bias.fill_(-3.0)
    conditions = []
    for pack in packs:
        for n in FIT_LENGTHS:
            ids = torch.randint(1, 178, (1, n + 2), generator=generator)
            ids[0, 0] = ids[0, -1] = 0
            conditions.append((ids, pack[min(n, len(pack) - 1)]))

    # Centre the encoder's output, or its mean drowns what depends on the token.
    collected = []
    hook = model.bert_encoder.register_forward_hook(lambda m, i, output: collected.append(output[0]))
    for ids, style in conditions:
        model.forward_with_tokens(ids, style, 1.0)
    hook.remove()
    model.bert_encoder.bias.sub_(torch.cat(collected).mean(0))

    def features(key):
        result = []
        for ids, style in conditions:
            model.forward_with_tokens(ids, style, 1.0)
            x = seen[key][0]
            result.append(x.reshape(-1, duration.in_features) if key == "duration" else x[0].T)
        return result

    # Durations: 50 logits, a falling ramp plus a part that depends on the token, mostly shared.
    weight, x = fit_projection(features("duration"), duration.out_features, generator, 3.0, 28)
    ramp = torch.cat([torch.tensor([6.0, 3.0]), -0.9 * torch.arange(48).float().clamp(max=9)])
    logits = x @ weight.T
    logits = (logits - logits.mean(0) + ramp)[: len(x) // len(packs)]
    low, high = -10.0, 10.0
    for _ in range(50):
        level = (low + high) / 2
        pace = torch.round(torch.sigmoid(logits + level).sum(-1)).clamp(min=1).mean()
        low, high = (level, high) if pace < frames_per_token else (low, level)
    duration.weight.copy_(weight)
    duration.bias.copy_(ramp + level - (x @ weight.T).mean(0))

    for head, key, mean, std in (
            (predictor.F0_proj, "f0", F0_MEAN_HZ, F0_STD_HZ), (predictor.N_proj, "n", 0.0, 1.0)):
        weight, x = fit_projection(features(key), 1, generator, 0.0, 28)
        head.weight.copy_(weight[:, :, None] * std)
        head.bias.fill_(mean - (x @ weight.T).mean().item() * std)

    # The last convolution: log magnitudes that fall with frequency, phases that fill the sine's range.
    model.decoder = decoder
    chosen = [c for c in conditions if c[0].shape[1] == 102]
    collected = []
    for ids, style in chosen:
        model.forward_with_tokens(ids, style, 1.0)
        collected.append(seen["post"][1][0])
    post = torch.cat(collected, 1)
    scale = torch.cat([torch.full((11,), 0.5), torch.full((11,), 1.5)]) / post.std(1)
    tilt = torch.cat([torch.linspace(0.0, -2.5, 11), torch.zeros(11)])
    vocoder.conv_post.weight_g.mul_(scale.view(-1, 1, 1))
    vocoder.conv_post.bias.copy_((vocoder.conv_post.bias - post.mean(1)) * scale + tilt)
    rms = torch.stack([model.forward_with_tokens(ids, style, 1.0)[0].std() for ids, style in chosen]).mean()
    vocoder.conv_post.bias[:11] += math.log(TARGET_RMS / rms.item())
    for hook in hooks:
        hook.remove()


# ------------------------------------------------------------------ files

def share_lstm_storage(state):
    """Puts the weights of each LSTM into one storage, as cuDNN leaves them in a checkpoint from training.

    A reader of the pickle must then honour storage offsets; one that does not fails here and not on the
    released file.
    """
    groups = {}
    for key in state:
        stem, leaf = key.rsplit(".", 1)
        if leaf.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh")):
            groups.setdefault(stem, []).append(key)
    for keys in groups.values():
        flat = torch.cat([state[key].flatten() for key in keys])
        offset = 0
        for key in keys:
            shape, count = state[key].shape, state[key].numel()
            state[key] = flat[offset:offset + count].view(shape)
            offset += count


def save_weights(model, out):
    from safetensors.torch import save_file
    checkpoint, flat = {}, {}
    for part in PARTS:
        source = getattr(model, part).state_dict()
        state = OrderedDict()
        for key, value in source.items():
            if ".norm.weight" in key or ".norm.bias" in key or ".stft." in key:
                continue  # not in the release: see `randomize`; and buffers of the ONNX-style STFT
            state["module." + key] = value.detach().clone().contiguous()
            flat[f"{part}.{key}"] = state["module." + key]
        if part == "bert":
            state["module.embeddings.position_ids"] = torch.arange(512).unsqueeze(0)
        checkpoint[part] = state
    save_file(flat, str(out / "kokoro-rand.safetensors"))
    for part in PARTS:
        share_lstm_storage(checkpoint[part])
        # As state_dict() of a trained module has it; torch.save keeps it, so a reader meets it.
        checkpoint[part]._metadata = OrderedDict([("", {"version": 1})])
    torch.save(checkpoint, out / "kokoro-v1_0.pth")
    return sum(value.numel() for value in flat.values())


def read_voices(folder):
    paths = sorted(list(folder.glob("*.bin")) + list(folder.glob("*.pt")))
    return {path.stem: upstream.read_voice(path).contiguous() for path in paths}


def draw_voices(seed):
    """Packs with the statistics of five published ones: entries of about 0.15 that voices share by half,
    a slow drift over rows, and prosodic rows for the shortest texts that lie far from the rest."""
    generator = torch.Generator().manual_seed(seed)

    def draw(std, rows=1):
        return torch.randn(rows, upstream.STYLE_SIZE, generator=generator) * std

    # Per row and entry, how far the shortest texts are off; the first half is acoustic.
    far = torch.cat([torch.full((128,), 0.08), torch.full((128,), 0.55)])
    rows = torch.arange(upstream.STYLE_ROWS)[:, None]
    common, packs = draw(0.12), {}
    for name in DRAWN_VOICES:
        phase = torch.rand(1, upstream.STYLE_SIZE, generator=generator)
        drift = torch.sin(2 * math.pi * (rows / upstream.STYLE_ROWS + phase)) * draw(0.025)
        packs[name] = (common + draw(0.12) + drift + draw(1.0) * far * torch.exp(-rows / 15))[:, None]
    return packs


def save_voices(packs, out):
    (out / "voices").mkdir(exist_ok=True)
    for name, pack in packs.items():
        torch.save(pack, out / "voices" / f"{name}.pt")
        (out / "voices" / f"{name}.bin").write_bytes(pack.numpy().astype("<f4").tobytes())
    with open(out / "voices-v1.0.bin", "wb") as file:
        np.savez(file, **{name: pack.numpy() for name, pack in packs.items()})


class PlainAlignment:
    """While active, `repeat_interleave` is made of comparisons and `squeeze()` keeps one axis.

    In the usual export the first becomes a loop over sequences and the second has an unknown number of
    axes, neither of which OpenVINO converts. The result is the same.
    """

    def __enter__(self):
        self.saved = torch.repeat_interleave, torch.Tensor.squeeze

        def repeat_interleave(values, repeats):
            ends = torch.cumsum(repeats, 0)
            steps = torch.arange(ends[-1], device=values.device)
            return (steps[:, None] >= ends[None]).sum(1)

        torch.repeat_interleave = repeat_interleave
        torch.Tensor.squeeze = lambda x, *axes: self.saved[1](x, *axes) if axes else x.reshape(-1)

    def __exit__(self, *_):
        torch.repeat_interleave, torch.Tensor.squeeze = self.saved


def export_onnx(config, out):
    """The fp32 exports that public repositories have: opset 17, integer speed, convolution STFT."""
    model = upstream.load(config, out / "kokoro-v1_0.pth", onnx_stft=True)
    wrapped = upstream.kokoro_model().KModelForONNX(model).eval()

    def write(path):
        started = time.time()
        torch.manual_seed(0)
        ids = torch.randint(1, 100, (50,))
        ids[0] = ids[-1] = 0
        with torch.no_grad():
            torch.onnx.export(
                wrapped, args=(ids[None], torch.randn(1, 256), torch.tensor([1], dtype=torch.int32)),
                f=str(path), export_params=True, input_names=["input_ids", "style", "speed"],
                output_names=["waveform", "duration"], opset_version=17, do_constant_folding=True,
                dynamic_axes={"input_ids": {1: "n_tokens"}, "waveform": {0: "n_samples"}}, dynamo=False)
        print(f"{path.name}: {path.stat().st_size:,} bytes in {time.time() - started:.0f} s")

    write(out / "kokoro-rand.onnx")
    with upstream.Noise():
        write(out / "kokoro-rand-zero-noise.onnx")
    with PlainAlignment():
        write(out / "kokoro-rand-plain.onnx")


def describe(config, out, pack, seed):
    """Speaks a few random texts with the written file, through the released loader, and prints what came."""
    model = upstream.load(config, out / "kokoro-v1_0.pth")
    generator = torch.Generator().manual_seed(seed + 1)
    for n in (20, 100):
        ids = torch.zeros(1, n + 2, dtype=torch.long)
        ids[0, 1:-1] = torch.randint(1, 178, (n,), generator=generator)
        f0 = []
        hook = model.predictor.F0_proj.register_forward_hook(lambda m, i, o: f0.append(o.flatten()))
        with upstream.Noise(), torch.no_grad():
            wave, frames = model.forward_with_tokens(ids, pack[n], 1.0)
        hook.remove()
        f0 = f0[0]
        assert torch.isfinite(wave).all(), "the model does not give finite samples"
        print(f"{n} tokens: {int(frames.sum())} frames ({frames.float().mean():.2f} a token, at most "
              f"{int(frames.max())}), {len(wave) / 24000:.3f} s, rms {wave.std():.3f}, F0 p5/p50/p95 "
              f"{f0.quantile(.05):.0f}/{f0.median():.0f}/{f0.quantile(.95):.0f} Hz")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="Kokoro's published config.json")
    parser.add_argument("--voice", type=Path, help="a published voice pack, .bin or .pt; its folder's other packs "
                        "are taken along (default: packs are drawn)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=82)
    parser.add_argument("--frames-per-token", type=float, default=2.4)
    parser.add_argument("--onnx", action="store_true", help="write the ONNX exports too")
    parser.add_argument("--only-onnx", action="store_true", help="write them for the weights already in --out")
    args = parser.parse_args()
    if args.only_onnx:
        return export_onnx(json.loads((args.out / "config.json").read_text(encoding="utf-8")), args.out)
    if args.voice and not args.voice.is_file():
        parser.error(f"there is no voice pack {args.voice}")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.config:
        shutil.copyfile(args.config, args.out / "config.json")
    else:
        vocabulary = json.loads(VOCABULARY_FILE.read_text(encoding="utf-8"))["vocab"]
        (args.out / "config.json").write_text(json.dumps(RELEASED_SHAPE | {"vocab": vocabulary}, indent=2) + "\n")
    config = json.loads((args.out / "config.json").read_text(encoding="utf-8"))
    voices = read_voices(args.voice.parent) if args.voice else draw_voices(args.seed)
    save_voices(voices, args.out)

    with tempfile.NamedTemporaryFile(suffix=".pth") as empty:
        torch.save({}, empty.name)
        model = upstream.load(config, empty.name, onnx_stft=True)
    generator = randomize(model, args.seed)
    first = args.voice.stem if args.voice else DRAWN_VOICES[0]
    fitted = [first] + [name for name in (*FIT_VOICES, *DRAWN_VOICES) if name in voices and name != first]
    packs = [voices[name] for name in fitted]
    with upstream.Noise():
        calibrate(model, generator, packs, args.frames_per_token)
    count = save_weights(model, args.out)
    path = args.out / "kokoro-rand.safetensors"
    print(f"{count:,} parameters; {path.name}: {path.stat().st_size:,} bytes, sha256 "
          f"{hashlib.sha256(path.read_bytes()).hexdigest()}")
    describe(config, args.out, packs[0], args.seed)
    if args.onnx:
        export_onnx(config, args.out)


if __name__ == "__main__":
    main()
