"""Pictures of sound, made in one pass and in constant memory: peaks and a spectrogram, as PNG or SVG.

A picture is a fixed number of columns whatever the length. Nothing is drawn by a plotting library: a PNG is
a few chunks around zlib, an SVG is text.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.arrays import FloatArray

__all__ = [
    "SoundPicture",
    "SoundPictureMaker",
    "encode_png",
    "frequency_height",
    "spectrogram_png",
    "waveform_path",
]

COLUMNS: Final = 900
ROWS: Final = 160
LOWEST_HZ: Final = 30.0
FLOOR_DB: Final = -100.0
_FFT: Final = 4096
_MAX_FRAMES: Final = 4  # looked at in one column: more would change what is seen by nothing but time


_COLOURS: Final = np.array(
    [
        [4, 6, 18], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122],
        [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191],
    ],
    np.float64,
)  # fmt: skip
"""From silence to full scale; lightness rises evenly, so it reads in grey too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPicture:
    """Hold what is drawn of a sound.

    Args:
        lows: (columns,) lowest sample of each column over all channels.
        highs: (columns,) highest sample.
        levels_db: (rows, columns) level by frequency, highest frequency first, full-scale sine 0.
    """

    lows: FloatArray
    highs: FloatArray
    levels_db: FloatArray


class SoundPictureMaker:
    """Gather a picture from blocks.

    Args:
        n_samples: How many samples the picture is wide.
        sample_rate: Hz.
        n_columns: How many columns it has, where the sound has as many samples.
    """

    def __init__(self, n_samples: int, sample_rate: int, n_columns: int = COLUMNS) -> None:
        n_columns = max(1, min(n_columns, n_samples))
        self._edges = np.rint(np.linspace(0, n_samples, n_columns + 1)).astype(np.int64)
        self._lows, self._highs = np.zeros(n_columns), np.zeros(n_columns)
        self._powers = np.zeros((ROWS, n_columns))
        self._bands = _bands(sample_rate)
        self._window = np.hanning(_FFT)
        self._pending: npt.NDArray[np.float32] | None = None
        self._history: npt.NDArray[np.float32] | None = None
        self._column = 0

    def push(self, block: npt.NDArray[np.float32]) -> None:
        """Take the next (channels, samples)."""
        pending = block if self._pending is None else np.concatenate([self._pending, block], axis=1)
        while self._column < len(self._lows):
            width = int(self._edges[self._column + 1] - self._edges[self._column])
            if pending.shape[1] < width:
                break
            self._draw(pending[:, :width])
            pending = pending[:, width:]
        self._pending = pending

    def result(self) -> SoundPicture:
        """Return the picture; what was not pushed is silence."""
        if self._pending is not None and self._pending.shape[1] and self._column < len(self._lows):
            self._draw(self._pending)
        power = np.maximum(self._powers, 10.0 ** (FLOOR_DB / 10.0))
        return SoundPicture(lows=self._lows, highs=self._highs, levels_db=10.0 * np.log10(power))

    def _draw(self, column: npt.NDArray[np.float32]) -> None:
        self._lows[self._column] = min(0.0, float(column.min()))
        self._highs[self._column] = max(0.0, float(column.max()))
        if self._history is None:
            self._history = np.zeros((column.shape[0], _FFT), np.float32)
        seen = np.concatenate([self._history, column], axis=1)
        n_frames = min(_MAX_FRAMES, max(1, column.shape[1] // _FFT))
        ends = np.rint(np.linspace(_FFT, seen.shape[1], n_frames + 1))[1:].astype(int)
        power = np.zeros(_FFT // 2 + 1)
        for end in ends.tolist():
            spectrum = np.fft.rfft(seen[:, end - _FFT : end] * self._window, axis=1)
            power = np.maximum(power, (np.abs(spectrum) ** 2).mean(axis=0))
        power *= (2.0 / self._window.sum()) ** 2
        self._powers[:, self._column] = np.maximum.reduceat(power, self._bands)[::-1]
        self._history = seen[:, -_FFT:]
        self._column += 1


def _bands(sample_rate: int) -> npt.NDArray[np.intp]:
    """Return the first FFT bin of each row, from the lowest frequency up, in equal steps of pitch."""
    edges_hz = np.geomspace(LOWEST_HZ, sample_rate / 2, ROWS + 1)[:-1]
    return np.floor(edges_hz / sample_rate * _FFT).astype(np.intp)


def frequency_height(frequency_hz: float, sample_rate: int) -> float:
    """Return how high up a spectrogram a frequency stands, 0 at its foot and 1 at its top.

    >>> round(frequency_height(24_000, 48_000), 3)
    1.0
    """
    return float(np.log(frequency_hz / LOWEST_HZ) / np.log(sample_rate / 2 / LOWEST_HZ))


def spectrogram_png(picture: SoundPicture) -> bytes:
    """Return the spectrogram as a PNG: dark is -100 dB and below, light is full scale."""
    share = np.clip(1.0 - picture.levels_db / FLOOR_DB, 0.0, 1.0) * (len(_COLOURS) - 1)
    low = np.minimum(share.astype(int), len(_COLOURS) - 2)
    part = (share - low)[..., None]
    colours = _COLOURS[low] * (1.0 - part) + _COLOURS[low + 1] * part
    return encode_png(np.rint(colours).astype(np.uint8))


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return (rows, columns, 3) as a PNG file.

    Source: ISO/IEC 15948 (PNG), filter type 0.
    """
    rows, columns, _ = pixels.shape
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    )


def waveform_path(picture: SoundPicture, highest: float, height: int) -> str:
    """Return the peaks as the path of an SVG, with the highest amplitude at its edges."""
    top = _points(enumerate((1.0 - picture.highs / highest) * height / 2))
    bottom = _points(reversed(list(enumerate((1.0 - picture.lows / highest) * height / 2))))
    return f"M{top} L{bottom} Z"


def _points(points: Iterable[tuple[int, float]]) -> str:
    return " ".join(f"{x},{y:.1f}" for x, y in points)
