"""Frozen records that cross modules.

Conventions: audio arrays are ``(channels, samples)`` float32; times carry their unit last in the name;
sample positions count from the first sample of the file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["AudioArray", "Lane"]

AudioArray = npt.NDArray[np.float32]
"""Audio as ``(channels, samples)`` float32."""


Lane = npt.NDArray[np.float64]
"""One value a sample, in the parameter's own unit."""
