"""From float to fixed-point samples: TPDF dither, optional noise shaping, exact rounding, any chunking.

Dither is applied where rounding happens and nowhere else. A stretch of samples that already lie on the target
grid needs no rounding, so it is passed on bit for bit: an untouched stem stays identical, and so does every
passage of a stem that a chain left alone. What counts as a stretch is decided by its length, never sample by
sample: switching dither with single samples would make the noise depend on the signal, which is what dither
is there to prevent. Mastering processors know this as auto-blanking.

Everything is computed in 64-bit integers, in units of 2^-32 of the target's least significant bit, and the
noise is a function of seed, channel and sample position. So the result depends on no chunking and no rounding
mode of any library.

Source: S. P. Lipshitz, R. A. Wannamaker, J. Vanderkooy, "Quantization and dither: a theoretical survey",
JAES 40(5), 1992.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bridge.arrays import FloatArray, Int32Array, Int64Array

__all__ = ["EXACT_RUN_SAMPLES", "Quantiser", "stem_dither_seed", "tpdf_noise"]

EXACT_RUN_SAMPLES = 1024
"""Shortest run of samples on the target grid that is left without dither: 21 ms at 48 kHz.

Shorter gaps lie within the ear's forward masking, so the noise floor is not heard to switch; and processed
sound does not stay on the grid by chance for so long.
"""

_FRACTION_BITS = 32
_HALF = 1 << (_FRACTION_BITS - 1)


def tpdf_noise(seed: int, channel: int, start: int, n_samples: int) -> Int64Array:
    """Return triangular dither noise of +-1 LSB, in units of 2^-32 LSB.

    Args:
        seed: 0 .. 2^64 - 1.
        channel: Channel index: every channel has noise of its own.
        start: Sample position of the first value.
        n_samples: How many.

    Shape:
        Output: (n_samples,) int64, the difference of two uniform 32-bit numbers.

    >>> whole = tpdf_noise(7, 0, 0, 10)
    >>> bool((tpdf_noise(7, 0, 3, 7) == whole[3:]).all())
    True
    """
    skip = start % 4  # Philox makes four numbers a step
    generator = np.random.Philox(key=np.array([seed, channel], np.uint64))
    generator.advance(start // 4)
    raw = generator.random_raw(n_samples + skip)[skip:]
    halves = raw.astype("<u8", copy=False).view("<u4")
    noise: Int64Array = np.subtract(halves[1::2], halves[::2], dtype=np.int64)
    return noise


def stem_dither_seed(seed: int, name: str) -> int:
    """Return the dither seed of one stem of a session.

    Stems with one and the same noise would add it up by 6 dB at every doubling; noises of their own add up
    by 3.

    >>> stem_dither_seed(0, "bass") != stem_dither_seed(0, "drums")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "little")


class Quantiser:
    """Turn a stream of float samples into integers of `bits` bits.

    Args:
        bits: Word length, 8 to 24.
        n_channels: Channels.
        dither_seed: Seed of the noise; None rounds to nearest without dither.
        shaping: Order of the noise shaping: 0 leaves the noise white, 1 and 2 move it towards high
            frequencies by (1 - z^-1) and (1 - z^-1)^2. Needs dither.

    >>> import numpy as np
    >>> quantiser = Quantiser(16, 1, dither_seed=None)
    >>> quantiser.push(np.array([[0.5, 1.0, -1.0]], np.float32)).tolist()
    [[16384, 32767, -32768]]
    """

    def __init__(
        self, bits: int, n_channels: int, *, dither_seed: int | None, shaping: Literal[0, 1, 2] = 0
    ) -> None:
        self._scale = float(1 << (bits - 1))
        self._low, self._high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        self._seed = dither_seed
        self._shaping = shaping
        self._position = 0
        self._pending = np.zeros((n_channels, 0), np.float64)
        # Nothing comes before the first sample that dither could be switched from: a run there may be short.
        self._exact_before = np.full(n_channels, EXACT_RUN_SAMPLES)
        self._sums: list[Int64Array] = [np.zeros(shaping, np.int64) for _ in range(n_channels)]
        self._rounded_sums: list[Int64Array] = [np.zeros(shaping, np.int64) for _ in range(n_channels)]
        self._n_clipped = 0

    @property
    def n_clipped(self) -> int:
        """How many samples lay outside the range of the word length so far."""
        return self._n_clipped

    def push(self, block: FloatArray) -> Int32Array:
        """Take a block and return the samples that are ready; up to 1023 are withheld with dither on.

        Shape:
            block: (channels, samples) finite floats, full scale 1.0.
            Output: (channels, samples ready) int32.
        """
        scaled = np.asarray(block, np.float64) * self._scale
        if self._seed is None:
            return self._clip(np.rint(scaled))
        buffered = np.concatenate([self._pending, scaled], axis=1)
        n_ready = max(0, buffered.shape[1] - (EXACT_RUN_SAMPLES - 1))
        self._pending = buffered[:, n_ready:]
        return self._quantise(buffered, n_ready)

    def flush(self) -> Int32Array:
        """Return what is withheld; the stream is over."""
        buffered, self._pending = self._pending, self._pending[:, :0]
        return self._quantise(buffered, buffered.shape[1])

    def _clip(self, rounded: npt.NDArray[Any]) -> Int32Array:
        clipped = np.clip(rounded, self._low, self._high)
        self._n_clipped += int(np.count_nonzero(clipped != rounded))
        integers: Int32Array = clipped.astype(np.int32)
        return integers

    def _quantise(self, buffered: npt.NDArray[np.float64], n_ready: int) -> Int32Array:
        output = np.empty((buffered.shape[0], n_ready), np.int32)
        seed = self._seed or 0
        for channel in range(buffered.shape[0]):
            runs, self._exact_before[channel] = _find_runs(
                buffered[channel], n_ready, int(self._exact_before[channel])
            )
            for start, stop, is_exact in runs:
                rounded: npt.NDArray[Any]
                part = buffered[channel, start:stop]
                if is_exact:
                    rounded = np.rint(part)
                    self._sums[channel][:] = 0
                    self._rounded_sums[channel][:] = 0
                else:
                    rounded = self._dither(part, channel, self._position + start, seed)
                output[channel, start:stop] = self._clip(rounded)
        self._position += n_ready
        return output

    def _dither(self, scaled: npt.NDArray[np.float64], channel: int, position: int, seed: int) -> Int64Array:
        """Round with dither; sums and differences wrap modulo 2^64, which leaves every result exact.

        Shaping by (1 - z^-1)^n is error feedback in closed form: the n-fold sum of the output is the
        rounded n-fold sum of the input, so no sample has to wait for the one before it.
        """
        # Beyond twice full scale the result is clipped anyway; the limit keeps the sums within 64 bits.
        limited = np.clip(scaled, -4.0 * self._scale, 4.0 * self._scale)
        limited *= float(1 << _FRACTION_BITS)
        fixed: Int64Array = np.rint(limited, out=limited).astype(np.int64)
        for order in range(self._shaping):
            fixed = np.cumsum(np.concatenate([self._sums[channel][order : order + 1], fixed]))[1:]
            self._sums[channel][order] = fixed[-1]
        rounded = tpdf_noise(seed, channel, position, len(fixed))
        rounded += fixed
        rounded += _HALF
        rounded >>= _FRACTION_BITS
        for order in range(self._shaping):
            before = self._rounded_sums[channel][order : order + 1].copy()
            self._rounded_sums[channel][order] = rounded[-1]
            rounded = np.diff(np.concatenate([before, rounded]))
        return rounded.astype(np.int32).astype(np.int64) if self._shaping else rounded


def _find_runs(
    scaled: npt.NDArray[np.float64], n_ready: int, exact_before: int
) -> tuple[list[tuple[int, int, bool]], int]:
    """Split the ready samples into stretches that are left alone and stretches that are dithered.

    Args:
        scaled: One channel in units of the LSB: the ready samples and those known after them.
        n_ready: How many are to be decided now.
        exact_before: How many samples on the grid came directly before.

    Returns:
        ``(start, stop, is_exact)`` in order, and `exact_before` for the next call.
    """
    if n_ready == 0:
        return [], exact_before
    off_grid = np.flatnonzero(scaled != np.rint(scaled))
    # Nothing comes after the last sample that dither could be switched to: a run there may be short.
    end = len(scaled) + (EXACT_RUN_SAMPLES if n_ready == len(scaled) else 0)
    bounds = np.concatenate([[-1 - exact_before], off_grid, [end]])
    long_gaps = np.flatnonzero(np.diff(bounds) > EXACT_RUN_SAMPLES)
    runs: list[tuple[int, int, bool]] = []
    done = 0
    for gap in long_gaps.tolist():
        start, stop = max(0, int(bounds[gap]) + 1), min(int(bounds[gap + 1]), n_ready)
        if start >= stop:
            continue
        if start > done:
            runs.append((done, start, False))
        runs.append((start, stop, True))
        done = stop
    if done < n_ready:
        runs.append((done, n_ready, False))
    last_off_grid = int(bounds[np.searchsorted(bounds, n_ready) - 1])
    return runs, min(n_ready - 1 - last_off_grid, EXACT_RUN_SAMPLES)
