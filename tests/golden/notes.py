"""What Basic Pitch's published graph answers to two sounds, computed by ONNX's own programs.

    python tests/golden/notes.py NMP.ONNX         writes notes.npz; needs onnx and onnxruntime

``NMP.ONNX`` is ``basic_pitch/saved_models/icassp_2022/nmp.onnx`` in the wheel of basic-pitch 0.4.0. Kept are
every 29th frame of its three outputs, once as onnxruntime computes them in float32, and once as ONNX's
reference evaluator does after the graph's numbers were made float64. No weights are kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

FILE = Path(__file__).with_name("notes.npz")
RATE, N_SAMPLES = 22050, 43844
FRAMES = slice(None, None, 29)
OUTPUTS = ("onsets", "notes", "contours")
"""In the order of the graph."""


def noise() -> FloatArray:
    """Noise at -20 dBFS."""
    return (0.1 * np.random.default_rng(0).standard_normal(N_SAMPLES)).astype(np.float32)


def chord() -> FloatArray:
    """A3, C#4 and E4 of three partials each, and hiss: in its absence the graph magnifies rounding."""
    t = np.arange(N_SAMPLES) / RATE
    partials = (
        0.1 / harmonic * np.sin(2 * np.pi * hz * harmonic * t)
        for hz in (440.0, 554.365, 659.255)
        for harmonic in (1, 2, 3)
    )
    hiss = 0.01 * np.random.default_rng(1).standard_normal(N_SAMPLES)
    return (sum(partials) + hiss).astype(np.float32)


SOUNDS = {"noise": noise, "chord": chord}


def main(path: str) -> None:
    """Run the graph both ways and write the file."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    names = [output.name for output in model.graph.output]
    given = model.graph.input[0].name
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    reference = ReferenceEvaluator(model)
    kept: dict[str, FloatArray] = {}
    for sound, make in SOUNDS.items():
        waveform = make()[None, :, None]
        answers = {
            "float32": session.run(names, {given: waveform}),
            "float64": reference.run(names, {given: waveform.astype(np.float64)}),
        }
        for dtype, outputs in answers.items():
            for name, output in zip(OUTPUTS, outputs, strict=True):
                kept[f"{sound}_{dtype}_{name}"] = np.asarray(output)[0, FRAMES].astype(np.float32)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(sys.argv[1])
