"""The arrays that cross modules, by name.

Conventions: audio is ``(channels, samples)`` float32; sample positions count from the first sample of the
file.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "BLOCK_SAMPLES",
    "AudioArray",
    "BoolArray",
    "Float32Array",
    "Float64Array",
    "FloatArray",
    "Int32Array",
    "Int64Array",
    "Lane",
]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating[Any]]
"""Floats of any width."""

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

AudioArray = Float32Array
"""Audio as ``(channels, samples)``."""

Lane = Float64Array
"""One value a sample, in the parameter's own unit."""

BLOCK_SAMPLES: Final = 1 << 16
"""How much of a file is read, processed and written at a time."""
