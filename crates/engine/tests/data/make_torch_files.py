#!/usr/bin/env python3
"""Makes the small PyTorch and NumPy files that the checkpoint tests read.

Run with torch and numpy installed, in this folder: `python3 make_torch_files.py`.
The numbers are functions of their index, so the tests can tell what must come out.
  tiny.pth   the layout of kokoro-v1_0.pth: parts of state dictionaries with `module.` prefixes,
             weight norm in the old form (decoder) and the new one (predictor), float32, float16,
             bfloat16 and int64, a transposed view and two views of one storage
  tiny.pt    a bare tensor, as a voice is, of 3 rows
  tiny.npz   two voices, stored, as kokoro-onnx has them; tiny-deflated.npz compressed
"""
from collections import OrderedDict
import numpy as np
import torch

ramp = lambda *shape: (torch.arange(int(np.prod(shape)), dtype=torch.float32) / 8 - 1).reshape(*shape)

bert = torch.nn.Linear(3, 2)
bert.weight.data, bert.bias.data = ramp(2, 3), ramp(2)
old = torch.nn.utils.weight_norm(torch.nn.Conv1d(3, 4, 5))
old.weight_g.data, old.weight_v.data, old.bias.data = 2 + ramp(4, 1, 1), ramp(4, 3, 5) + 0.01, ramp(4)
new = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(4, 3, 5))
new.parametrizations.weight.original0.data = 2 + ramp(4, 1, 1)
new.parametrizations.weight.original1.data = ramp(4, 3, 5) + 0.01
shared = ramp(12)
prefixed = lambda module: OrderedDict((f"module.{k}", v) for k, v in module.state_dict().items())
decoder = prefixed(old)
decoder["module.half"] = ramp(3, 4).half()
decoder["module.brain"] = ramp(3, 4).bfloat16()
decoder["module.transposed"] = ramp(3, 4).T
decoder["module.first"], decoder["module.second"] = shared[:5], shared[5:].reshape(1, 7)
decoder["module.count"] = torch.tensor(7)
parallel = torch.nn.DataParallel(bert)
torch.save({"bert": parallel.state_dict(), "predictor": prefixed(new), "decoder": decoder}, "tiny.pth")
torch.save(ramp(3, 1, 256) / 32, "tiny.pt")
voices = {"af_one": (ramp(3, 1, 256) / 32).numpy(), "bm_two": (ramp(1, 1, 256) / 16).numpy()}
np.savez("tiny.npz", **voices)
np.savez_compressed("tiny-deflated.npz", **voices)
# What the tests compare the folding with.
folded = torch._weight_norm(old.weight_v, old.weight_g).detach().flatten()
print("folded", [float(x) for x in folded[[0, 17, 59]]])
