"""How far narrow numbers would move the sound: int8 and fp16 in place of f32, simulated.

    python training/studies/int8.py --model DIR --voice FILE [--sentences N] [--cut SYMBOLS] [--only int8|mixed|fp16]

Rounds the inputs and weights of the decoder's and the generator's convolutions, with durations, F0
and the source's spectrum held fixed, and prints the log-spectral distance from f32 as
docs/parity.md defines it: median (worst) of the sentences. DIR has Kokoro's layout, or the
built-in voice's (crates/engine/assets/builtin). bf16 is there to check the script against
docs/parity.md. What the figures say is in docs/performance.md.
"""
import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from model import KokoroModel  # noqa: E402

SENTENCES = HERE.parents[1] / "crates/engine/tests/data/sentences.txt"
# As in crates/kernels/src/winograd.rs; infinity is the leading coefficient.
POINTS = {3: [0, 0.75, -0.75, 1.5, -1.5, math.inf], 4: [1, 2, -0.75, -1.5, 0.25, -0.25, math.inf]}
# Outputs of a tile there.
TILE = 4


# ------------------------------------------------------------------ the model

def load(folder):
    """The model of either layout, weight norm folded in."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # What Kokoro's own configuration leaves to its code.
    config.setdefault("decoder_dim", 1024)
    config.setdefault("asr_res_dim", 64)
    config["plbert"].setdefault("embedding_size", 128)
    state = load_file(next(folder.glob("*.safetensors")))
    for name in [name for name in state if name.endswith("weight_g")]:
        gain, direction = state.pop(name), state.pop(name[:-1] + "v")
        norm = direction.flatten(1).norm(dim=1).view(gain.shape)
        state[name[:-2]] = direction * (gain / norm)
    net = KokoroModel(config).eval()
    missing = net.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    assert not missing.missing_keys, missing.missing_keys
    return net, config["vocab"]


def prepare(net, vocab, pack, line):
    """All that the decoder is given for a sentence."""
    ids = [vocab[c] for c in line if c in vocab]
    reference = pack[min(len(ids), len(pack)) - 1][None]
    trace = {}
    net(torch.tensor([[0, *ids, 0]]), reference, noise="zero", trace=trace)
    source = net.decoder.generator
    noise = torch.randn(1, trace["f0"].shape[1] * source.m_source.scale, 9,
                        generator=torch.Generator().manual_seed(1))
    return {"asr": trace["text"].repeat_interleave(trace["frames"], dim=2), "f0": trace["f0"],
            "n": trace["n"], "style": reference[:, :128],
            "har": source.stft.transform(source.m_source(trace["f0"], noise))}


def speak(net, given):
    generator = net.decoder.generator
    features = net.decoder.trunk(given["asr"], given["f0"], given["n"], given["style"])
    x = generator.body(features, given["style"], given["har"])
    return generator.stft.inverse(torch.exp(x[:, :generator.bins]), torch.sin(x[:, generator.bins:]))[0]


def distance(ours, theirs):
    """dB, as crates/engine/tests/support/spectrum.rs."""
    def spectrum(wave):
        bins = torch.stft(wave.double(), 1024, 256, window=torch.hann_window(1024, dtype=torch.float64),
                          center=False, return_complex=True)
        return 20 * bins.abs().clamp(min=1e-4).log10()
    return (spectrum(ours) - spectrum(theirs)).square().mean(0).sqrt().mean().item()


# ------------------------------------------------------------------ numbers

def bf16(x):
    return x.bfloat16().float()


def weight_scale(w, transposed):
    """One a output channel."""
    axes = (0, 2) if transposed else (1, 2)
    return w.abs().amax(axes, keepdim=True).clamp(min=1e-12) / 127


def weights_int8(w, transposed):
    scale = weight_scale(w, transposed)
    return torch.round(w / scale) * scale


def blocks(x, n_rows, reduce):
    """`reduce` over all channels of blocks of rows, for each row; `x` is [1][channels][rows]."""
    rows = reduce(x, 1)
    if n_rows == 1:
        return rows[:, None]
    n = rows.shape[-1]
    n_rows = n_rows or n
    rows = F.pad(rows, (0, -n % n_rows), mode="replicate" if n % n_rows else "constant")
    return reduce(rows.view(1, -1, n_rows), 2).repeat_interleave(n_rows, 1)[:, None, :n]


def inputs_int8(x, n_rows, offset=False):
    """Symmetric, or of all 256 steps between the least and the greatest (`offset`)."""
    if offset:
        low, high = blocks(x, n_rows, torch.amin).clamp(max=0), blocks(x, n_rows, torch.amax).clamp(min=0)
        scale = (high - low).clamp(min=1e-12) / 255
        zero = torch.round(-low / scale)
        return ((torch.round(x / scale) + zero).clamp(0, 255) - zero) * scale
    scale = blocks(x.abs(), n_rows, torch.amax).clamp(min=1e-12) / 127
    return torch.round(x / scale) * scale


# ------------------------------------------------------------------ convolutions
# Each takes a layer and its input, [1][channels][rows], and gives its output.

def convolve(layer, x, w):
    if isinstance(layer, torch.nn.ConvTranspose1d):
        return F.conv_transpose1d(x, w, layer.bias, layer.stride, layer.padding)
    return F.conv1d(x, w, layer.bias, layer.stride, layer.padding, layer.dilation)


def convolve_f32(layer, x):
    return convolve(layer, x, layer.weight)


def in_bf16(layer, x):
    return convolve(layer, bf16(x), bf16(layer.weight))


def by_points(plain, product):
    """With half the multiplications, as winograd.rs, where that does so; else `plain`. `product` is given
    transformed inputs [channels][tiles] and weights [out][in][pieces] of one point."""
    def run(layer, x):
        n_taps, dilation = layer.kernel_size[0], layer.dilation[0]
        if n_taps < 3 or layer.stride[0] != 1 or isinstance(layer, torch.nn.ConvTranspose1d) or (
                layer.in_channels != layer.out_channels):
            return plain(layer, x)
        r = 3 if n_taps == 3 else 4
        inputs, outputs, n_pieces = input_matrix(POINTS[r]), output_matrix(POINTS[r]), -(-n_taps // r)
        w = F.pad(layer.weight, (0, n_pieces * r - n_taps)).unflatten(2, (n_pieces, r))
        u = torch.einsum("oipr,kr->koip", w, weight_matrix(POINTS[r], r))
        n, pad = x.shape[-1], layer.padding[0]
        out = torch.empty(layer.out_channels, n)
        for phase in range(dilation):
            rows = out[:, phase::dilation].shape[-1]
            n_tiles = -(-rows // TILE)
            y = F.pad(x[0], (pad, pad))[:, phase::dilation]
            y = F.pad(y, (0, TILE * (n_tiles + n_pieces - 2) + len(inputs) - y.shape[-1]))
            v = torch.einsum("cti,ki->kct", y.unfold(1, len(inputs), TILE), inputs)
            tiles = torch.einsum("kot,ik->oti", torch.stack([product(*pair) for pair in zip(v, u)]), outputs)
            out[:, phase::dilation] = tiles.flatten(1)[:, :rows]
        return out[None] + layer.bias[:, None]
    return run


in_bf16_by_points = by_points(in_bf16, lambda v, u: F.conv1d(bf16(v)[None], bf16(u))[0])


def input_matrix(points):
    """Row j: coefficients of the product of (x - a) over all finite points but the j-th."""
    n, rows = len(points), []
    for j in range(n):
        polynomial = torch.zeros(n, dtype=torch.float64)
        polynomial[0] = 1
        for i in range(n - 1):
            if i != j:
                polynomial = torch.cat([torch.zeros(1, dtype=torch.float64), polynomial[:-1]]) - points[i] * polynomial
        rows.append(polynomial)
    return torch.stack(rows).float()


def output_matrix(points):
    finite = torch.tensor(points[:-1])
    last = torch.tensor([0.0] * (TILE - 1) + [1.0])
    return torch.cat([torch.stack([finite ** i for i in range(TILE)]), last[:, None]], 1)


def weight_matrix(points, r):
    rows = [[a ** i / math.prod(a - b for b in points[:-1] if b != a) for i in range(r)] for a in points[:-1]]
    return torch.tensor(rows + [[0.0] * (r - 1) + [1.0]])


def in_int8(n_rows, offset=False):
    """Inputs with a scale for every `n_rows` rows (0: one for all)."""
    def run(layer, x):
        transposed = isinstance(layer, torch.nn.ConvTranspose1d)
        return convolve(layer, inputs_int8(x, n_rows, offset), weights_int8(layer.weight, transposed))
    return run


# A scale for every tile of every point, finer than a row's.
in_int8_by_points = by_points(in_int8(1), lambda v, u: F.conv1d(inputs_int8(v[None], 1), weights_int8(u, False))[0])


def half_sums(rows, w, dilation, panel):
    """[channels][rows] by [out][in][taps] in fp16 numbers and sums, which are added to f32 after every
    `panel` products. One instruction rounds once a product, as `addcmul_` on halves does."""
    rows, w = rows.half(), w.half()
    n = rows.shape[1] - (w.shape[2] - 1) * dilation
    total, sums, count = torch.zeros(len(w), n), torch.zeros(len(w), n, dtype=torch.half), 0
    for tap in range(w.shape[2]):
        for channel in range(w.shape[1]):
            sums.addcmul_(w[:, channel, tap, None], rows[None, channel, tap * dilation:tap * dilation + n])
            count += 1
            if count % panel == 0:
                total += sums
                sums.zero_()
    return total + sums


def in_fp16(panel):
    """`panel` 0: f32 sums."""
    def run(layer, x):
        if not panel:
            return convolve(layer, x.half().float(), layer.weight.half().float())
        pad = layer.padding[0]
        return (half_sums(F.pad(x[0], (pad, pad)), layer.weight, layer.dilation[0], panel) + layer.bias[:, None])[None]
    return run


def in_fp16_by_points(panel):
    return by_points(in_fp16(panel), lambda v, u: half_sums(v, u, 1, panel))


# ------------------------------------------------------------------ what is tried

def layers(net, part):
    """Convolutions of a part of the decoder. Never the last one, whose output goes through `exp`, nor
    the two that thin out F0 and energy, nor the depthwise ones, which are no matrix products."""
    last = len(net.decoder.generator.ups) - 1
    n_blocks = net.decoder.generator.kernels
    late = [f"generator.resblocks.{last * n_blocks + i}." for i in range(n_blocks)]
    prefixes = {"decoder and generator": ["encode", "decode", "asr_res", "generator"], "generator": ["generator"],
                "residual blocks": ["generator.resblocks.", "generator.noise_res."],
                "residual blocks but the noise's": ["generator.resblocks."],
                "residual blocks of the last rate": late}[part]
    for name, module in net.decoder.named_modules():
        if (isinstance(module, (torch.nn.Conv1d, torch.nn.ConvTranspose1d)) and module.groups == 1
                and "conv_post" not in name and any(name.startswith(p) for p in prefixes)):
            yield module


PARTS = ["decoder and generator", "generator", "residual blocks", "residual blocks but the noise's",
         "residual blocks of the last rate"]
INT8 = [("int8, a scale an utterance", in_int8(0)), ("int8, a scale for 64 rows", in_int8(64)),
        ("int8, a scale and offset for 64 rows", in_int8(64, offset=True)), ("int8, a scale a row", in_int8(1)),
        ("int8, a scale and offset a row", in_int8(1, offset=True))]


def variants(only):
    """Name, part of the decoder, how it is computed, how the rest is."""
    if only in (None, "int8"):
        yield "bf16", PARTS[0], in_bf16, convolve_f32
        yield "bf16 by Toom and Cook", PARTS[0], in_bf16_by_points, convolve_f32
        for name, run in INT8:
            for part in PARTS:
                yield name, part, run, convolve_f32
    if only in (None, "mixed"):
        for name, run in INT8[1:] + [("int8 by Toom and Cook, a scale a tile", in_int8_by_points)]:
            for part in (PARTS[3], PARTS[4]):
                yield f"{name}; bf16 elsewhere", part, run, in_bf16_by_points
    if only in (None, "fp16"):
        yield "fp16, f32 sums", PARTS[2], in_fp16(0), convolve_f32
        for panel in (64, 128):
            yield f"fp16, fp16 sums of {panel}", PARTS[2], in_fp16(panel), convolve_f32
        yield "fp16, fp16 sums of all", PARTS[2], in_fp16(1 << 30), convolve_f32
        yield "fp16 by Toom and Cook, fp16 sums of 64", PARTS[2], in_fp16_by_points(64), convolve_f32


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--voice", type=Path, required=True, help="a pack of raw f32, *.bin")
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--cut", type=int, help="only so many symbols of each sentence")
    parser.add_argument("--only", choices=("int8", "mixed", "fp16"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    net, vocab = load(args.model)
    raw = torch.frombuffer(bytearray(args.voice.read_bytes()), dtype=torch.float32)
    # Every second one, as in the study of windows, then the others.
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    lines = (lines[1::2] + lines[::2])[:args.sentences]
    given = [prepare(net, vocab, raw.view(-1, 256), line[:args.cut]) for line in lines]
    whole = [speak(net, one) for one in given]
    print(f"{args.model.name}, {args.voice.stem}: {len(whole)} sentences of "
          f"{min(map(len, whole)) / 24000:.1f} to {max(map(len, whole)) / 24000:.1f} s", flush=True)
    for name, part, run, otherwise in variants(args.only):
        started = time.time()
        chosen, changed = set(layers(net, part)), list(layers(net, PARTS[0]))
        for layer in changed:
            layer.forward = lambda x, layer=layer: (run if layer in chosen else otherwise)(layer, x)
        distances = [distance(speak(net, one), wave) for one, wave in zip(given, whole)]
        for layer in changed:
            del layer.forward
        print(f"| {name} | {part} | {statistics.median(distances):.3f} ({max(distances):.3f}) dB |"
              f"  {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
