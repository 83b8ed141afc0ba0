"""Train the built-in voice.

    python train.py prosody --data DIR --run DIR --minutes 25
    python train.py decoder --data DIR --run DIR --minutes 60

`prosody` trains PL-BERT, the duration and the F0/energy predictors; `decoder`
trains the text encoder, decoder and generator on the teacher's durations, F0 and
energy.  They share no parameters and may run at the same time.  Both save a
checkpoint to --run every two minutes and continue from it when started again.
"""
import argparse
import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

import fast
from features import FRAME, mel_filterbank
from model import KokoroModel
from muon import Muon

VOICES = ["slt", "rms"]
F0_UNIT = 100.0       # the networks see F0 in units of 100 Hz; export.py folds this in
HELD_OUT = 60         # the first utterances of each voice are never trained on
PROSODY_WEIGHTS = {"dur_ce": 0.1, "dur": 1.0, "f0": 2.0, "energy": 0.5}
DECODER_WEIGHTS = {"stft": 0.5, "mel": 2.0, "aux": 1.0}
SHARES = [0.5, 0.5]   # of the decoder's crops, by voice
# Decoder crops: (how many, how many of them the generator gets, length in 40 Hz frames,
# how often). The generator costs most of the time, so it hears only some of each batch.
CROPS = [(8, 4, 48, 0.3), (5, 2, 96, 0.45), (3, 1, 160, 0.25)]


class Corpus:
    def __init__(self, folder, voice):
        folder = Path(folder) / voice
        arrays = np.load(folder / "arrays.npz")
        self.wave = np.memmap(folder / "wave.i16", dtype="<i2", mode="r")
        self.texts = json.loads((folder / "texts.json").read_text())
        for name in ("tokens", "durations", "f0", "energy", "mel"):
            setattr(self, name, arrays[name])
        self.token_start = np.concatenate([[0], np.cumsum(arrays["token_count"])])
        self.frame_start = np.concatenate([[0], np.cumsum(arrays["frame_count"])])
        self.frame_count = arrays["frame_count"]

    def __len__(self):
        return len(self.frame_count)

    def text(self, i):
        part = slice(self.token_start[i], self.token_start[i + 1])
        return (torch.from_numpy(self.tokens[part].astype(np.int64)),
                torch.from_numpy(self.durations[part].astype(np.int64)))

    def frames(self, i, first=0, count=None):
        """F0, energy and mel at 80 Hz for `count` 40 Hz frames from `first`."""
        start = self.frame_start[i] + first
        end = self.frame_start[i + 1] if count is None else start + count
        part = slice(2 * start, 2 * end)
        return (torch.from_numpy(self.f0[part]), torch.from_numpy(self.energy[part]),
                torch.from_numpy(self.mel[part].astype(np.float32)))

    def audio(self, i, first=0, count=None):
        start = self.frame_start[i] + first
        end = self.frame_start[i + 1] if count is None else start + count
        part = self.wave[start * FRAME:end * FRAME].astype(np.float32) / 32768
        return torch.from_numpy(part)


def pad(items):
    return nn.utils.rnn.pad_sequence(items, batch_first=True)


class Trainer:
    """Wall-clock schedule, checkpoints and an averaged copy of the weights.

    With `--workers 2` a second process takes its own steps on the same weights in shared
    memory, without locks ("Hogwild").  Neither ever waits for the other, so the training
    uses whatever a busy machine leaves over.  Only the first process keeps the average,
    writes checkpoints and reports.
    """

    def __init__(self, module, args, name, rate):
        self.module, self.args, self.rate = module, args, rate
        self.path = Path(args.run) / f"{name}.pt"
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.names = [n for n, _ in named]
        self.parameters = [p for _, p in named]
        # the generator's large gradients must not scale down everybody else's
        self.groups = [[p for n, p in named if ".generator." in n],
                       [p for n, p in named if ".generator." not in n]]
        self.steps, self.spent, self.history = mp.Value("q", 0), 0.0, {}
        self.average = [p.detach().clone() for p in self.parameters]
        saved = torch.load(self.path, map_location="cpu") if self.path.exists() else {}
        if saved:
            module.load_state_dict(saved["model"])
            self.average = saved["average"]
            self.steps.value, self.spent = saved["step"], saved["spent"]
            print("continuing at step", self.step, f"{self.spent / 60:.1f} min", flush=True)
        module.share_memory()
        self.optimizer = Muon(named, rate)
        if "optimizer" in saved:
            self.optimizer.load_state_dict(saved["optimizer"])
        self.own_steps = 0 if "optimizer" not in saved else 200
        self.started = self.last_save = self.last_log = time.time()
        self.first, self.stopping = True, False
        self.parent = os.getpid()
        for worker in range(1, args.workers):
            if os.fork() == 0:
                self.first = False
                random.seed(args.seed + worker + int(time.time()))
                torch.manual_seed(args.seed + worker)
                break
        signal.signal(signal.SIGTERM, self.stop)

    def stop(self, *_):
        self.stopping = True

    @property
    def step(self):
        return self.steps.value

    @property
    def progress(self):
        return (self.spent + time.time() - self.started) / (self.args.minutes * 60)

    def set_rate(self):
        """Flat, then a straight line down to zero over the last `--cooldown` of the time."""
        warm = min(1.0, (self.own_steps + 1) / 100)
        left = max(0.0, 1 - self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * min(1.0, left / self.args.cooldown)

    def update(self, losses, weights):
        total = sum(weights[name] * value for name, value in losses.items())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = sum(nn.utils.clip_grad_norm_(group, 1.0) for group in self.groups)
        self.set_rate()
        if torch.isfinite(norm):
            self.optimizer.step()
        self.own_steps += 1
        with self.steps.get_lock():
            self.steps.value += 1
        if not self.first:
            if self.stopping or os.getppid() != self.parent:
                raise SystemExit
            return
        decay = min(0.997, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        for name, value in losses.items():
            value = float(value.detach())
            self.history[name] = 0.98 * self.history.get(name, value) + 0.02 * value
        if time.time() - self.last_log > 30:
            self.last_log = time.time()
            shown = " ".join(f"{k} {v:.4f}" for k, v in self.history.items())
            print(f"step {self.step} progress {self.progress:.3f} norm {float(norm):.2f} {shown} "
                  f"cpu {time.process_time() / 60:.1f} min", flush=True)
        if time.time() - self.last_save > 120 or self.stopping:
            self.save()
            if self.stopping:
                raise SystemExit("stopped and saved")

    def save(self):
        if not self.first:
            return
        now = time.time()
        self.spent += now - self.started
        self.started = self.last_save = now
        temporary = self.path.with_suffix(".new")
        torch.save({"model": self.module.state_dict(), "average": self.average,
                    "names": self.names, "optimizer": self.optimizer.state_dict(),
                    "step": self.step, "spent": self.spent}, temporary)
        temporary.replace(self.path)


# ---------------------------------------------------------------- prosody

class ProsodyTask(nn.Module):
    def __init__(self, config):
        super().__init__()
        whole = KokoroModel(config)
        self.bert, self.bert_encoder, self.predictor = (whole.bert, whole.bert_encoder,
                                                        whole.predictor)
        self.style = nn.Parameter(torch.randn(len(VOICES), config["style_dim"]) * 0.3)
        self.max_dur = config["max_dur"]

    def encode(self, tokens, lengths, style, offset=0):
        mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
        bert = self.bert_encoder(self.bert(tokens, mask, offset))
        return self.predictor.text_encoder(bert, style, lengths, mask), mask

    def forward(self, voice, tokens, lengths, durations, f0, energy, offset=0):
        style = self.style[voice]
        d, mask = self.encode(tokens, lengths, style, offset)
        logits = self.predictor.durations(d, lengths)
        bins = torch.arange(self.max_dur)
        target = (bins < durations[:, :, None]).float()
        # rare long tokens matter less than the many short ones: weight by 1/bins-left
        head = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
        predicted = torch.sigmoid(logits).sum(-1)
        count = mask.sum()
        losses = {"dur_ce": (head * mask).sum() / count,
                  "dur": ((predicted - durations).abs() * mask).sum() / count}

        frames = durations.sum(1)
        spread = pad([d[i].repeat_interleave(durations[i], dim=0) for i in range(len(d))])
        frame_mask = (torch.arange(spread.shape[1])[None] < frames[:, None]).float()[:, None]
        f0_hat, energy_hat = self.predictor.curves(spread, style, frames, frame_mask)
        keep = frame_mask[:, 0].repeat_interleave(2, dim=1)
        total = keep.sum()
        losses["f0"] = ((f0_hat - f0 / F0_UNIT).abs() * keep).sum() / total
        losses["energy"] = ((energy_hat - energy).abs() * keep).sum() / total
        return losses


def prosody_batches(corpora, frames_per_batch):
    """Utterances of similar length, about `frames_per_batch` 40 Hz frames at a time."""
    while True:
        items = [(v, i) for v, corpus in enumerate(corpora)
                 for i in range(HELD_OUT, len(corpus))]
        random.shuffle(items)
        for start in range(0, len(items), 400):
            pool = sorted(items[start:start + 400],
                          key=lambda item: corpora[item[0]].frame_count[item[1]])
            batches, batch, used = [], [], 0
            for v, i in pool:
                length = int(corpora[v].frame_count[i])
                if batch and length * (len(batch) + 1) > frames_per_batch:
                    batches.append(batch)
                    batch = []
                batch.append((v, i))
            batches.append(batch)
            random.shuffle(batches)
            for batch in batches:
                texts = [corpora[v].text(i) for v, i in batch]
                curves = [corpora[v].frames(i) for v, i in batch]
                yield (torch.tensor([v for v, _ in batch]), pad([t for t, _ in texts]),
                       torch.tensor([len(t) for t, _ in texts]), pad([d for _, d in texts]),
                       pad([c[0] for c in curves]), pad([c[1] for c in curves]))


def train_prosody(args, config, corpora):
    task = ProsodyTask(config)
    trainer = Trainer(task, args, "prosody", args.rate or 1.5e-3)
    batches = prosody_batches(corpora, 2400)
    positions = config["plbert"]["max_position_embeddings"]
    task.train()
    while trainer.progress < 1:
        batch = next(batches)
        offset = 0
        if random.random() < 0.4:
            offset = random.randrange(positions - batch[1].shape[1] + 1)
        trainer.update(task(*batch, offset=offset), PROSODY_WEIGHTS)
    trainer.save()


# ---------------------------------------------------------------- decoder

class SpectralLoss(nn.Module):
    """Log and linear magnitude differences at several resolutions."""

    def __init__(self):
        super().__init__()
        self.sizes = [(256, 64), (512, 128), (1024, 256), (2048, 400)]
        for n_fft, _ in self.sizes:
            self.register_buffer(f"window{n_fft}", torch.hann_window(n_fft), persistent=False)
            self.register_buffer(f"bank{n_fft}", mel_filterbank(n_fft, {256: 24, 512: 48,
                                 1024: 80, 2048: 160}[n_fft]), persistent=False)

    def magnitudes(self, wave, n_fft, hop):
        spec = torch.stft(wave, n_fft, hop, n_fft, getattr(self, f"window{n_fft}"),
                          center=True, pad_mode="constant", return_complex=True)
        linear = (torch.view_as_real(spec).square().sum(-1) + 1e-8).sqrt()
        linear = linear * (32 / n_fft)
        return linear, getattr(self, f"bank{n_fft}") @ linear

    def forward(self, wave, target, count=2):
        """Compare at `count` of the resolutions, chosen at random to save time."""
        linear_loss, mel_loss = 0.0, 0.0
        for n_fft, hop in random.sample(self.sizes, count):
            linear, mel = self.magnitudes(wave, n_fft, hop)
            with torch.no_grad():
                linear_target, mel_target = self.magnitudes(target, n_fft, hop)
            floor = 1e-3
            log_difference = (torch.log(linear + floor) - torch.log(linear_target + floor)).abs()
            linear_loss = linear_loss + log_difference.mean() + 2 * (
                linear - linear_target).abs().mean() / (linear_target.mean() + 1e-3)
            mel_loss = mel_loss + (torch.log(mel + floor) - torch.log(mel_target + floor)).abs().mean()
        return linear_loss / count, mel_loss / count


class DecoderTask(nn.Module):
    def __init__(self, config):
        super().__init__()
        whole = KokoroModel(config)
        self.text_encoder, self.decoder = whole.text_encoder, whole.decoder
        self.style = nn.Parameter(torch.randn(len(VOICES), config["style_dim"]) * 0.3)
        # only used in training: it lets the trunk learn spectra without the generator
        self.mel_head = nn.Conv1d(config["istftnet"]["upsample_initial_channel"], 80, 1)

    def features(self, voice, tokens, lengths, alignment, f0, energy):
        mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
        text = self.text_encoder(tokens, lengths, mask)
        asr = torch.gather(text, 2, alignment[:, None].expand(-1, text.shape[1], -1))
        with torch.autocast("cpu", torch.bfloat16):
            x = self.decoder.trunk(asr, f0 / F0_UNIT, energy, self.style[voice])
        return x.float()


class DecoderSampler:
    """Random crops; short utterances only join batches of short crops."""

    def __init__(self, corpora, shares):
        self.corpora, self.shares = corpora, shares

    def batch(self, size, length):
        rows = []
        while len(rows) < size:
            v = random.choices(range(len(self.corpora)), self.shares)[0]
            corpus = self.corpora[v]
            i = random.randrange(HELD_OUT, len(corpus))
            # longer utterances are chosen in proportion to their length
            if random.random() > corpus.frame_count[i] / 400:
                continue
            if corpus.frame_count[i] < length:
                continue
            tokens, durations = corpus.text(i)
            first = random.randint(0, int(corpus.frame_count[i]) - length)
            alignment = torch.repeat_interleave(torch.arange(len(tokens)), durations)
            f0, energy, mel = corpus.frames(i, first, length)
            rows.append((torch.tensor(v), tokens, torch.tensor(len(tokens)),
                         alignment[first:first + length], f0, energy, mel.T,
                         corpus.audio(i, first, length)))
        columns = list(zip(*rows))
        return [pad(c) if k == 1 else torch.stack(c) for k, c in enumerate(columns)]


def train_decoder(args, config, corpora):
    task = DecoderTask(config)
    fast.fused = fast.build(args.run)
    trainer = Trainer(task, args, "decoder", args.rate or 1e-3)
    sampler = DecoderSampler(corpora, SHARES)
    spectral = SpectralLoss()
    generator = task.decoder.generator
    task.train()
    while trainer.progress < 1:
        if trainer.step < args.warmup:
            # cheap first stage: text features and trunk only
            *inputs, mel, _ = sampler.batch(16, 80)
            x = task.features(*inputs)
            trainer.update({"aux": (task.mel_head(x) - mel).abs().mean()}, DECODER_WEIGHTS)
            continue
        size, heard, length, _ = random.choices(CROPS, [crop[-1] for crop in CROPS])[0]
        *inputs, mel, wave = sampler.batch(size, length)
        voice, f0, energy = inputs[0], inputs[-2], inputs[-1]
        energy += 0.1 * torch.randn(size, 1)
        x = task.features(*inputs)
        made = fast.generate(generator, x[:heard], task.style[voice[:heard]], f0[:heard])
        linear, mel_loss = spectral(made, wave[:heard])
        trainer.update({"stft": linear, "mel": mel_loss,
                        "aux": (task.mel_head(x) - mel).abs().mean()}, DECODER_WEIGHTS)
    trainer.save()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["prosody", "decoder"])
    parser.add_argument("--data", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--config", default=str(Path(__file__).parent / "config.json"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=1,
                        help="processes of one thread each that train the same weights")
    parser.add_argument("--cooldown", type=float, default=0.3,
                        help="last fraction of the time, in which the rate falls to zero")
    parser.add_argument("--warmup", type=int, default=600,
                        help="decoder steps without the generator, in a new run")
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    random.seed(args.seed + int(time.time()))
    Path(args.run).mkdir(parents=True, exist_ok=True)
    config = json.loads(Path(args.config).read_text(encoding="utf-8"))
    corpora = [Corpus(args.data, voice) for voice in VOICES]
    (train_prosody if args.task == "prosody" else train_decoder)(args, config, corpora)


if __name__ == "__main__":
    main()
