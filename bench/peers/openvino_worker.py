#!/usr/bin/env python3
"""OpenVINO behind the line protocol of compare.py, as ort_worker.py is for ONNX Runtime.

usage: openvino_worker.py MODEL.onnx THREADS PRECISION

MODEL is the export without loops and sequences (`kokoro-rand-plain.onnx`), as OpenVINO converts no other.
PRECISION is a hint, f32 or bf16; what the CPU really gets is in the description.
"""
import sys
import time

import numpy as np
import openvino as ov


def main():
    path, threads, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    core = ov.Core()
    compiled = core.compile_model(path, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    request = compiled.create_infer_request()
    version = ov.__version__.split("-")[0]
    print(f"ready openvino {version} {used}", flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command != "speak":
            sys.exit(f"no such command: {line!r}")
        with open(argument, encoding="ascii") as case:
            tokens, style, speed = (text.split() for text in case)
        feed = {
            "input_ids": np.array([[0, *map(int, tokens), 0]], dtype=np.int64),
            "style": np.array([style], dtype=np.float32),
            "speed": np.array(speed, dtype=np.float32).astype(np.int32)}
        started = time.perf_counter()
        answer = request.infer(feed)
        waveform, frames = np.asarray(answer[0]), np.asarray(answer[1])
        elapsed = (time.perf_counter() - started) * 1e3
        print(f"spoke {elapsed:.4f} {waveform.size} {np.sqrt(np.mean(np.square(waveform))):.6f} "
              f"{','.join(str(int(x)) for x in frames.reshape(-1))}", flush=True)


if __name__ == "__main__":
    main()
