"""The published PyTorch Kokoro, imported for inference only, and control over its one source of noise.

Used by every script of this folder that needs the reference implementation. The code that runs is the
`kokoro` package (0.9.4) itself; nothing of the model is written again here. Its text front end, and
so most of its dependencies, are never imported.
"""
import importlib.util
import json
import os
import sys
import types
import warnings
from pathlib import Path

os.environ.setdefault("LOGURU_LEVEL", "WARNING")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import torch

STYLE_ROWS = 510  # rows of a voice pack, one for every length of text in tokens
STYLE_SIZE = 256  # 128 acoustic numbers, then 128 prosodic ones


def kokoro_model():
    """The module `kokoro.model`, without `kokoro/__init__.py` (that one imports the text front end)."""
    if "kokoro.model" not in sys.modules:
        spec = importlib.util.find_spec("kokoro")
        if spec is None:
            sys.exit("the kokoro package is missing: pip install --no-deps kokoro==0.9.4")
        package = types.ModuleType("kokoro")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["kokoro"] = package
    import kokoro.model
    return kokoro.model


def load(config, weights, onnx_stft=False):
    """A `KModel` ready for inference.

    `config` is a dictionary or a path. `onnx_stft` picks the convolution-based STFT that ONNX exports
    are made with; its inverse is not exact (see README), so everything else here uses torch.stft.
    """
    if not isinstance(config, dict):
        config = json.loads(Path(config).read_text(encoding="utf-8"))
    return kokoro_model().KModel(
        repo_id="local", config=config, model=str(weights), disable_complex=onnx_stft).eval()


def read_voice(path):
    """A voice pack, [510, 1, 256], from a `.pt` file or from raw little-endian float32."""
    path = Path(path)
    if path.suffix == ".pt":
        return torch.load(path, map_location="cpu", weights_only=True).float()
    raw = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32)
    return raw.reshape(-1, 1, STYLE_SIZE)


class Noise:
    """While active, `torch.randn_like` and `torch.rand` give what we choose, inside the model too.

    The forward pass draws random numbers in three places. Only `randn_like(sine_waves)` in `SineGen`
    reaches the sound: `rand_ini` touches sample 0 alone, which the 300-fold linear down-sampling never
    reads, and the noise of `SourceModuleHnNSF` is returned and dropped. With `seed=None` all are zero;
    otherwise the first kind (the tensors with one column per harmonic) comes from a generator of that seed.
    """

    def __init__(self, seed=None):
        self.seed = seed

    def __enter__(self):
        self.saved = torch.randn_like, torch.rand
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)

        def randn_like(x, *_, **__):
            if generator is None or x.shape[-1] == 1:
                return torch.zeros_like(x)
            return torch.randn(x.shape, generator=generator)

        torch.randn_like = randn_like
        torch.rand = lambda *shape, **options: torch.zeros(*shape, device=options.get("device"))
        return self

    def __exit__(self, *_):
        torch.randn_like, torch.rand = self.saved
