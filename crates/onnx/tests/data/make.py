"""Makes the .onnx files of this folder: the signatures of Kokoro-82M's exports with almost no network.

Needs the Python package `onnx`; run as `python make.py` in this folder. The files are checked in, so
that the tests need no Python. Each is a few hundred bytes.
"""

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

FRAME_SAMPLES = 600


def constant(name, value):
    return onnx.numpy_helper.from_array(np.array(value), name)


def body(tokens, speed_type):
    """A token lasts (1 + id mod 3) / speed frames, rounded up; the sound is a ramp from 0 towards 1,
    times the style's first number."""
    to_float = [] if speed_type == T.FLOAT else [h.make_node("Cast", ["speed"], ["pace"], to=T.FLOAT)]
    pace = "pace" if to_float else "speed"
    return to_float + [
        h.make_node("Mod", [tokens, "three"], ["rest"]),
        h.make_node("Add", ["rest", "one"], ["frames"]),
        h.make_node("Cast", ["frames"], ["frames_f"], to=T.FLOAT),
        h.make_node("Div", ["frames_f", pace], ["slow"]),
        h.make_node("Ceil", ["slow"], ["whole"]),
        h.make_node("Squeeze", ["whole", "first"], ["flat"]),
        h.make_node("Cast", ["flat"], ["told"], to=T.INT64),
        h.make_node("ReduceSum", ["told"], ["n_frames"], keepdims=0),
        h.make_node("Mul", ["n_frames", "frame"], ["n"]),
        h.make_node("Range", ["zero", "n", "one_0"], ["i"]),
        h.make_node("Cast", ["i"], ["ramp"], to=T.FLOAT),
        h.make_node("Mul", ["ramp", "scale"], ["small"]),
        h.make_node("Slice", ["style", "first", "second", "axis"], ["loudness"]),
        h.make_node("Squeeze", ["loudness", "first"], ["gain"]),
        h.make_node("Mul", ["small", "gain"], ["sound"]),
    ]


CONSTANTS = [
    constant("three", np.int64(3)),
    constant("one", np.int64(1)),
    constant("one_0", np.int64(1)),
    constant("zero", np.int64(0)),
    constant("frame", np.int64(FRAME_SAMPLES)),
    constant("scale", np.float32(1 / 65536)),
    constant("first", np.array([0], np.int64)),
    constant("second", np.array([1], np.int64)),
    constant("axis", np.array([1], np.int64)),
]


def save(name, nodes, tokens, speed_type, outputs, constants=(), style=256):
    inputs = [
        h.make_tensor_value_info(tokens, T.INT64, [1, "n_tokens"]),
        h.make_tensor_value_info("style", T.FLOAT, [1, style]),
        h.make_tensor_value_info("speed", speed_type, [1]),
    ]
    graph = h.make_graph(nodes, name, inputs, outputs, CONSTANTS + list(constants))
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, f"{name}.onnx")


def told():
    return h.make_tensor_value_info("durations", T.INT64, ["n_tokens"])


def sound(name="waveform", shape=("n_samples",)):
    return h.make_tensor_value_info(name, T.FLOAT, list(shape))


def main():
    # An export that tells durations.
    rename = [
        h.make_node("Identity", ["sound"], ["waveform"]),
        h.make_node("Identity", ["told"], ["durations"]),
    ]
    save("timed", body("input_ids", T.FLOAT) + rename, "input_ids", T.FLOAT, [sound(), told()])

    # One with other names, a whole speed, a batch dimension, and no durations.
    rename = [h.make_node("Unsqueeze", ["sound", "first"], ["audio"])]
    audio = [sound("audio", (1, "n_samples"))]
    save("untimed", body("tokens", T.INT32) + rename, "tokens", T.INT32, audio)

    # One whose sound is not a number.
    nan = [constant("nan", np.float32(np.nan))]
    rename = [
        h.make_node("Mul", ["sound", "nan"], ["waveform"]),
        h.make_node("Identity", ["told"], ["durations"]),
    ]
    save("broken", body("input_ids", T.FLOAT) + rename, "input_ids", T.FLOAT, [sound(), told()], nan)

    # One that never ends by itself.
    step = h.make_graph(
        [
            h.make_node("Identity", ["go_on"], ["go_on_out"]),
            h.make_node("Add", ["x", "x"], ["x_out"]),
        ],
        "step",
        [
            h.make_tensor_value_info("iteration", T.INT64, []),
            h.make_tensor_value_info("go_on", T.BOOL, []),
            h.make_tensor_value_info("x", T.FLOAT, []),
        ],
        [
            h.make_tensor_value_info("go_on_out", T.BOOL, []),
            h.make_tensor_value_info("x_out", T.FLOAT, []),
        ],
    )
    endless = [
        constant("forever", np.int64(2**62)),
        constant("yes", np.bool_(True)),
        constant("nothing", np.float32(0)),
    ]
    rename = [
        h.make_node("Loop", ["forever", "yes", "nothing"], ["never"], body=step),
        h.make_node("Add", ["sound", "never"], ["waveform"]),
        h.make_node("Identity", ["told"], ["durations"]),
    ]
    save("endless", body("input_ids", T.FLOAT) + rename, "input_ids", T.FLOAT, [sound(), told()], endless)

    # One that is something else.
    rename = [h.make_node("Identity", ["sound"], ["logits"])]
    save("other", body("input_ids", T.FLOAT) + rename, "input_ids", T.FLOAT, [sound("logits")])


if __name__ == "__main__":
    main()
