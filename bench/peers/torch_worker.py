#!/usr/bin/env python3
"""PyTorch's Kokoro, eager and in f32, behind the line protocol of compare.py.

usage: torch_worker.py MODEL_FOLDER THREADS
"""
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import upstream  # noqa: E402
import torch  # noqa: E402


def main():
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = upstream.load(config, folder / "kokoro-v1_0.pth")
    print(f"ready pytorch {torch.__version__.split('+')[0]} f32", flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command != "speak":
            sys.exit(f"no such command: {line!r}")
        with open(argument, encoding="ascii") as case:
            tokens, style, speed = (text.split() for text in case)
        ids = torch.tensor([[0, *map(int, tokens), 0]])
        style = torch.tensor([[float(x) for x in style]])
        started = time.perf_counter()
        with torch.inference_mode():
            waveform, frames = model.forward_with_tokens(ids, style, float(speed[0]))
        elapsed = (time.perf_counter() - started) * 1e3
        print(f"spoke {elapsed:.4f} {waveform.numel()} {waveform.square().mean().sqrt().item():.6f} "
              f"{','.join(map(str, frames.flatten().tolist()))}", flush=True)


if __name__ == "__main__":
    main()
