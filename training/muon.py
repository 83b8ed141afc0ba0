"""Muon for the weight matrices, AdamW for everything else.

Muon (Keller Jordan, 2024) replaces a matrix's averaged gradient by the nearest
semi-orthogonal matrix, so that every direction of it learns at the same speed.  The step is
scaled as in Moonlight (Liu et al., 2025), so that one learning rate serves both parts.
"""
import torch

STEPS = 5                                   # of the Newton-Schulz iteration
COEFFICIENTS = 3.4445, -4.7750, 2.0315      # Jordan's, for fast and rough convergence
MOMENTUM = 0.95
DECAY = 1e-3


def orthogonal(stack):
    """[count, rows, columns] -> about the nearest semi-orthogonal matrix to each."""
    tall = stack.shape[1] > stack.shape[2]
    x = stack.transpose(1, 2) if tall else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


def is_matrix(name, p):
    """Weights that mix channels; not embeddings, style maps, outputs and depthwise filters."""
    others = ("embedding", "style", ".fc.", ".pool.", "_proj", "conv_post", "mel_head")
    return (p.dim() >= 2 and min(p.shape[0], p[0].numel()) >= 16
            and not any(part in name for part in others))


class Muon:
    def __init__(self, named, rate):
        self.matrices = [p for n, p in named if is_matrix(n, p)]
        rest = [p for n, p in named if not is_matrix(n, p)]
        self.adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=DECAY,
                                      foreach=True)
        self.param_groups = self.adam.param_groups
        self.velocity = [torch.zeros_like(p) for p in self.matrices]
        self.shapes = {}
        for i, p in enumerate(self.matrices):
            self.shapes.setdefault((p.shape[0], p[0].numel()), []).append(i)

    @torch.no_grad()
    def step(self):
        self.adam.step()
        rate = self.param_groups[0]["lr"]
        used = [i for i, p in enumerate(self.matrices) if p.grad is not None]
        torch._foreach_lerp_([self.velocity[i] for i in used],
                             [self.matrices[i].grad for i in used], 1 - MOMENTUM)
        for shape, members in self.shapes.items():
            members = [i for i in members if self.matrices[i].grad is not None]
            if not members:
                continue
            updates = orthogonal(torch.stack([      # Nesterov's momentum
                torch.lerp(self.matrices[i].grad, self.velocity[i], MOMENTUM).view(shape)
                for i in members]))
            for update, i in zip(updates, members):
                p = self.matrices[i]
                p.mul_(1 - rate * DECAY)
                p.sub_(update.view_as(p), alpha=rate * 0.2 * max(shape) ** 0.5)

    def zero_grad(self, set_to_none=True):
        self.adam.zero_grad(set_to_none)
        for p in self.matrices:
            p.grad = None

    def state_dict(self):
        return {"adam": self.adam.state_dict(), "velocity": self.velocity}

    def load_state_dict(self, saved):
        self.adam.load_state_dict(saved["adam"])
        self.param_groups = self.adam.param_groups
        torch._foreach_copy_(self.velocity, saved["velocity"])
