#!/usr/bin/env python3
"""PyTorch's Kokoro, eager and in f32, behind the line protocol of protocol.py.

usage: torch_worker.py MODEL_FOLDER THREADS
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import upstream  # noqa: E402
import torch  # noqa: E402

from protocol import serve  # noqa: E402


def main():
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = upstream.load(config, folder / "kokoro-v1_0.pth")

    def prepare(tokens, style, speed):
        return torch.from_numpy(tokens), torch.from_numpy(style), float(speed[0])

    def infer(request):
        with torch.inference_mode():
            return model.forward_with_tokens(*request)

    serve(f"pytorch {torch.__version__.split('+')[0]} f32", prepare, infer)


if __name__ == "__main__":
    main()
