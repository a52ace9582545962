"""Audio that only the operating system decodes: AAC in M4A on macOS and Windows, through pedalboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SystemDecoder"]


class SystemDecoder:
    """Read a file as `soundfile.SoundFile` does, by the system's own decoders.

    Args:
        path: The file.

    Raises:
        ValueError: This system cannot decode it.
    """

    format = "M4A"
    subtype = "AAC"

    def __init__(self, path: Path) -> None:
        from pedalboard.io import AudioFile

        self._file: Any = AudioFile(str(path))
        self.samplerate = int(self._file.samplerate)
        self.channels = int(self._file.num_channels)
        self.frames = int(self._file.frames)

    def read(self, frames: int, **_layout: object) -> npt.NDArray[np.float32]:
        """Return the next (samples, channels); fewer at the end."""
        samples: npt.NDArray[np.float32] = self._file.read(frames)
        return samples.T

    def seek(self, frame: int) -> None:
        """Go to a sample position."""
        self._file.seek(frame)

    def copy_metadata(self) -> dict[str, str]:
        """Return no tags: pedalboard reads none."""
        return {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()
