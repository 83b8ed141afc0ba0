#!/usr/bin/env python3
"""OpenVINO behind the line protocol of protocol.py.

usage: openvino_worker.py MODEL.onnx THREADS PRECISION

MODEL is the export without loops and sequences (`kokoro-rand-plain.onnx`), as OpenVINO converts no other.
PRECISION is a hint, f32 or bf16; what the CPU really gets is in the description.
"""
import sys

import numpy as np
import openvino as ov

from protocol import serve


def main():
    path, threads, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    compiled = ov.Core().compile_model(path, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    request = compiled.create_infer_request()

    def prepare(tokens, style, speed):
        return {"input_ids": tokens, "style": style, "speed": speed.astype(np.int32)}

    def infer(feed):
        answer = request.infer(feed)
        return answer[0], answer[1]

    serve(f"openvino {ov.__version__.split('-')[0]} {used}", prepare, infer)


if __name__ == "__main__":
    main()
