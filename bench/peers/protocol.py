"""The line protocol of compare.py, for a runtime in Python; the counterpart of the engine's serve_tokens.

Says `ready DESCRIPTION` once the model stands. Then, for each line `speak CASE` on standard input (CASE is a
file of three lines: token ids, style, speed), answers `spoke MILLISECONDS SAMPLES RMS FRAMES`, where FRAMES are
the durations of all tokens joined by commas. Only the inference itself is timed.
"""
import sys
import time

import numpy as np


def serve(description, prepare, infer):
    """`prepare(tokens, style, speed)` makes of arrays what `infer` takes; that gives waveform and durations."""
    print(f"ready {description}", flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command != "speak":
            sys.exit(f"no such command: {line!r}")
        with open(argument, encoding="ascii") as case:
            tokens, style, speed = (text.split() for text in case)
        request = prepare(np.array([[0, *map(int, tokens), 0]], dtype=np.int64),
                          np.array([style], dtype=np.float32), np.array(speed, dtype=np.float32))
        started = time.perf_counter()
        waveform, frames = map(np.asarray, infer(request))
        elapsed = (time.perf_counter() - started) * 1e3
        print(f"spoke {elapsed:.4f} {waveform.size} {np.sqrt(np.mean(np.square(waveform))):.6f} "
              f"{','.join(str(int(x)) for x in frames.reshape(-1))}", flush=True)
