"""A prepared data set: segments of sound with what they are, and on which side they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dream_core.errors import SettingError

__all__ = ["Segments", "open_segments"]


class Segments(Protocol):
    """A prepared data set: equally long sounds, and what each of them is."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def segment_samples(self) -> int:
        """Length of each sound."""

    @property
    def licence(self) -> str:
        """Of the recordings; empty where unknown."""

    @property
    def sha256(self) -> str:
        """Of all of it."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """``(n,)`` index into the classes."""

    @property
    def groups(self) -> NDArray[np.int64]:
        """``(n,)`` number of the group."""

    @property
    def splits(self) -> NDArray[np.int8]:
        """``(n,)`` 0 train, 1 validation, 2 test."""

    @property
    def pitches(self) -> NDArray[np.int64]:
        """``(n,)`` MIDI key, -1 where unknown."""

    def sounds(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the sounds of some rows, ``(len(rows), segment_samples)`` float32."""


def open_segments(folder: Path) -> Segments:
    """Open a prepared data set.

    Raises:
        SettingError: The folder holds none.
    """
    raise SettingError(f"{folder}: no prepared data; call: reverie data prepare")
