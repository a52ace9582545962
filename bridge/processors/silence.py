"""Where sound goes in and digital silence comes out."""

from __future__ import annotations

import numpy as np

from bridge.arrays import AudioArray, BoolArray

__all__ = ["SilenceWatch"]

_CELLS_PER_S = 20
_LOUD = 10.0 ** (-60.0 / 20.0)


class SilenceWatch:
    """Look at both ends of a processor, in cells of a twentieth of a second; memory stays small.

    Input counts as sound where its RMS, without what is constant, is at or above -60 dBFS in any channel;
    output counts as silence where every sample of a cell is exactly zero. Both may come in blocks of any
    size, the output as much later as it likes.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: float) -> None:
        self._cell = max(1, round(sample_rate / _CELLS_PER_S))
        self._sample_rate = sample_rate
        self._loud: list[BoolArray] = [np.zeros(0, np.bool_)]
        self._rest_in = self._rest_out = np.zeros((1, 0), np.float32)
        self._n_cells = self._n_run = self._run_start = 0
        self._longest, self._longest_start = 0, 0

    def push_input(self, block: AudioArray) -> None:
        """Take the next (channels, samples) that go in."""
        cells, self._rest_in = self._cells(self._rest_in, block)
        if cells.shape[1]:
            # In double: the square of a constant's rounding must not count as sound.
            rms = cells.std(axis=2, dtype=np.float64)
            self._loud.append(rms.max(axis=0) >= _LOUD)

    def push_output(self, block: AudioArray) -> None:
        """Take the next (channels, samples) that come out."""
        cells, self._rest_out = self._cells(self._rest_out, block)
        n_cells = cells.shape[1]
        if not n_cells:
            return
        loud = np.concatenate(self._loud)
        self._loud = [loud[n_cells:]]
        # A tail, and what an instrument plays on, has no input.
        loud = np.pad(loud[:n_cells], (0, n_cells - len(loud[:n_cells])))
        for is_silent, is_loud in zip(np.logical_not(cells.any(axis=(0, 2))), loud, strict=True):
            if not is_silent:
                self._n_run = 0
            elif is_loud:
                if not self._n_run:
                    self._run_start = self._n_cells
                self._n_run += 1
                if self._n_run > self._longest:
                    self._longest, self._longest_start = self._n_run, self._run_start
            self._n_cells += 1

    @property
    def lost_s(self) -> float:
        """How many seconds of sound went into the longest stretch of silence so far."""
        return self._longest * self._cell / self._sample_rate

    @property
    def lost_from_s(self) -> float:
        """Where that stretch begins to have sound, in seconds."""
        return self._longest_start * self._cell / self._sample_rate

    def _cells(self, rest: AudioArray, block: AudioArray) -> tuple[AudioArray, AudioArray]:
        """Return whole cells (channels, cells, samples), and what is left of them."""
        joined = np.concatenate([rest, block], axis=1) if rest.shape[1] else block
        n_cells = joined.shape[1] // self._cell
        whole = joined[:, : n_cells * self._cell].reshape(joined.shape[0], n_cells, self._cell)
        return whole, joined[:, n_cells * self._cell :].copy()
