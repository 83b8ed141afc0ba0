#!/usr/bin/env python3
"""ONNX Runtime behind the line protocol of compare.py; the counterpart of the engine's serve_tokens.

usage: ort_worker.py MODEL.onnx THREADS

Says `ready DESCRIPTION` once the session stands. Then, for each line `speak CASE` on standard input (CASE
is a file of three lines: token ids, style, speed), answers `spoke MILLISECONDS SAMPLES RMS FRAMES`, where
FRAMES are the durations of all tokens joined by commas. Only the inference itself is timed.
"""
import sys
import time

import numpy as np
import onnxruntime as ort


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    integer_speed = "int" in next(i.type for i in session.get_inputs() if i.name == "speed")
    print(f"ready onnxruntime {ort.__version__} fp32", flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command != "speak":
            sys.exit(f"no such command: {line!r}")
        with open(argument, encoding="ascii") as case:
            tokens, style, speed = (text.split() for text in case)
        feed = {
            "input_ids": np.array([[0, *map(int, tokens), 0]], dtype=np.int64),
            "style": np.array([style], dtype=np.float32),
            "speed": np.array(speed, dtype=np.float32).astype(np.int32 if integer_speed else np.float32)}
        started = time.perf_counter()
        waveform, frames = session.run(["waveform", "duration"], feed)
        elapsed = (time.perf_counter() - started) * 1e3
        print(f"spoke {elapsed:.4f} {waveform.size} {np.sqrt(np.mean(np.square(waveform))):.6f} "
              f"{','.join(map(str, frames.reshape(-1)))}", flush=True)


if __name__ == "__main__":
    main()
