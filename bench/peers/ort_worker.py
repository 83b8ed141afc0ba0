#!/usr/bin/env python3
"""ONNX Runtime behind the line protocol of protocol.py.

usage: ort_worker.py MODEL.onnx THREADS
"""
import sys

import numpy as np
import onnxruntime as ort

from protocol import serve


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    integer_speed = "int" in next(i.type for i in session.get_inputs() if i.name == "speed")

    def prepare(tokens, style, speed):
        return {"input_ids": tokens, "style": style, "speed": speed.astype(np.int32) if integer_speed else speed}

    serve(f"onnxruntime {ort.__version__} fp32", prepare, lambda feed: session.run(["waveform", "duration"], feed))


if __name__ == "__main__":
    main()
