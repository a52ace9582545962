"""Hear the pitch of a sound that arrives in blocks, the same however it is cut.

The sound is heard in segments on a grid fixed from its first sample, each with a second of context on both
sides: what is heard does not depend on blocks, and memory does not grow with the file. Whoever listens gives
a pitch every 10 or 20 ms; it is then made exact by the partials themselves, and told for every sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import soxr
import torch

from bridge.arrays import AudioArray, Float64Array, Lane
from bridge.processors.dream_parameters import PitchSource
from dream_core.networks.crepe import Crepe, bin_hz
from dream_core.networks.registry import load_network
from dream_core.updates.fine_pitch import refine_pitch

__all__ = ["Hear", "PitchTracker", "choose_ear"]

SEGMENT_S = 8.0
CONTEXT_S = 1.0

EAR_RATE = 16000
"""The rate at which pitch is heard; partials up to 8 kHz are more than it takes."""

SILENT_DBFS = -60.0
"""Frames softer than this have no pitch."""

SMOOTH_S = 0.02
"""How far on both sides frames are averaged: what wobbles faster is the ear's, not the sound's."""

ONE_NOTE = 0.06
"""A jump of more than a semitone from frame to frame is another note."""

CREPE_HOP_S = 0.01
CREPE_VOICED = 0.5
"""From which activation of its likeliest bin on crepe hears a pitch."""

CREPE_REACH = 12
"""A pitch moves by less than this many bins (20 cents each) from frame to frame, or is costly."""

CREPE_BATCH = 512

PYIN_HOP_S = 0.02
PYIN_RANGE_HZ = (40.0, 2000.0)

Hear = Callable[[Float64Array], tuple[Float64Array, float]]
"""Mono sound at `EAR_RATE` to a pitch a frame in Hz, 0 where there is none, and the frames' hop in seconds.

The first frame is at the first sample.
"""


class PitchTracker:
    """Give blocks of sound back with their pitch, later.

    Args:
        hear: Who hears it.
        sample_rate: Hz, of the sound.
    """

    def __init__(self, hear: Hear, sample_rate: int) -> None:
        self._hear, self._sample_rate = hear, sample_rate
        self._segment, self._context = round(SEGMENT_S * sample_rate), round(CONTEXT_S * sample_rate)
        self._pieces: list[tuple[AudioArray, Mapping[str, Lane]]] = []
        self._n_waiting = 0
        self._before = np.zeros(0)

    def push(
        self, sound: AudioArray, lanes: Mapping[str, Lane]
    ) -> Iterator[tuple[AudioArray, dict[str, Lane]]]:
        """Take a block ``(channels, n)`` with its lanes; yield segments whose pitch is known."""
        # Copies: a caller may fill the same buffers again.
        self._pieces.append((sound.copy(), {name: lane.copy() for name, lane in lanes.items()}))
        self._n_waiting += sound.shape[1]
        if self._n_waiting >= self._segment + self._context:
            joined = self._join()
            while joined[0].shape[1] >= self._segment + self._context:
                yield self._take(*joined, self._segment)
                joined = _part(*joined, slice(self._segment, None))
            self._pieces, self._n_waiting = [joined], joined[0].shape[1]

    def finish(self) -> Iterator[tuple[AudioArray, dict[str, Lane]]]:
        """End the sound; yield what still waits."""
        if self._n_waiting:
            joined = self._join()
            while joined[0].shape[1]:
                yield self._take(*joined, min(self._segment, joined[0].shape[1]))
                joined = _part(*joined, slice(self._segment, None))
        self._pieces, self._n_waiting, self._before = [], 0, np.zeros(0)

    def _join(self) -> tuple[AudioArray, dict[str, Lane]]:
        names = self._pieces[0][1]
        sound = np.concatenate([piece for piece, _ in self._pieces], axis=1)
        return sound, {name: np.concatenate([lanes[name] for _, lanes in self._pieces]) for name in names}

    def _take(
        self, sound: AudioArray, lanes: Mapping[str, Lane], n_samples: int
    ) -> tuple[AudioArray, dict[str, Lane]]:
        """Return the first segment with its pitch, and remember its end as context."""
        mono = sound[:, : n_samples + self._context].mean(axis=0, dtype=np.float64)
        heard = np.concatenate([self._before, mono])
        start = len(self._before)
        f0_hz = hear_pitch(heard, self._sample_rate, self._hear)[start : start + n_samples]
        self._before = mono[max(0, n_samples - self._context) : n_samples]
        own, moving = _part(sound, lanes, slice(0, n_samples))
        return own, {**moving, "f0_hz": f0_hz}


def _part(sound: AudioArray, lanes: Mapping[str, Lane], part: slice) -> tuple[AudioArray, dict[str, Lane]]:
    return sound[:, part], {name: lane[part] for name, lane in lanes.items()}


def hear_pitch(mono: Float64Array, sample_rate: int, hear: Hear) -> Lane:
    """Return the pitch at every sample of a sound, 0 where there is none."""
    heard = np.asarray(soxr.resample(mono, sample_rate, EAR_RATE, "HQ")) if sample_rate != EAR_RATE else mono
    if not heard.any():
        return np.zeros(len(mono))
    frames_hz, hop_s = hear(heard)
    smooth = _smooth(frames_hz, round(SMOOTH_S / hop_s))
    rough = _between_frames(smooth, np.arange(len(heard)) / EAR_RATE / hop_s)
    fine = refine_pitch(torch.from_numpy(heard), torch.from_numpy(rough), EAR_RATE).numpy()
    at = np.minimum(np.arange(len(mono)) * (EAR_RATE / sample_rate), max(len(heard) - 1, 0))
    return _between_frames(fine, at)


def _smooth(frames_hz: Float64Array, reach: int) -> Float64Array:
    """Return the mean of each frame and the frames around it that are within a semitone of it."""
    near = np.lib.stride_tricks.sliding_window_view(np.pad(frames_hz, reach), 2 * reach + 1)
    is_same_note = np.abs(near - frames_hz[:, None]) < ONE_NOTE * frames_hz[:, None]
    counts = is_same_note.sum(axis=1)
    mean: Float64Array = np.where(counts > 0, (near * is_same_note).sum(axis=1) / np.maximum(counts, 1), 0.0)
    return mean


def _between_frames(f0_hz: Float64Array, at: Float64Array) -> Float64Array:
    """Return a pitch between frames: straight where both have one, else that of the nearest frame."""
    last = len(f0_hz) - 1
    nearest = f0_hz[np.minimum(np.rint(at).astype(np.int64), last)]
    low = np.minimum(np.floor(at).astype(np.int64), last)
    before, after = f0_hz[low], f0_hz[np.minimum(low + 1, last)]
    straight = before + (at - low) * (after - before)
    # To another note no glide leads.
    is_one_note = (before > 0) & (after > 0) & (np.abs(after - before) < ONE_NOTE * before)
    return np.where((nearest > 0) & is_one_note, straight, nearest)


def choose_ear(source: PitchSource, device: str) -> Hear:
    """Return who hears the pitch.

    Args:
        source: ``crepe`` or ``pyin``, as `bridge.processors.pitch_sources` chose it.
        device: Where a network runs.
    """
    if source == "pyin":
        return _hear_with_pyin
    network = cast(Crepe, load_network("crepe", device=device))
    return lambda heard: _hear_with_crepe(network, heard)


def _frame_levels(heard: Float64Array, hop: int, n_frames: int) -> Float64Array:
    """Return the level around each frame in dBFS, over 1024 samples."""
    padded = np.pad(heard, (512, 512 + hop))
    sums = np.concatenate([[0.0], np.cumsum(padded**2)])
    starts = np.arange(n_frames) * hop
    power = (sums[starts + 1024] - sums[starts]) / 1024
    levels: Float64Array = 10.0 * np.log10(np.maximum(power, 1e-20))
    return levels


def _hear_with_crepe(network: Crepe, heard: Float64Array) -> tuple[Float64Array, float]:
    hop = round(CREPE_HOP_S * EAR_RATE)
    n_frames = 1 + (len(heard) - 1) // hop
    padded = torch.from_numpy(np.pad(heard, (512, 512 + hop)).astype(np.float32)).to(network.device)
    patches = padded.unfold(0, 1024, hop)[:n_frames]
    with torch.no_grad():
        parts = [network.hear_bins(part) for part in patches.split(CREPE_BATCH)]
    activation = torch.sigmoid(torch.cat(parts).double()).cpu().numpy()
    path = _likeliest_path(activation)
    f0_hz = _weighted_hz(activation, path)
    is_voiced = _median(activation[np.arange(n_frames), path], 5) > CREPE_VOICED
    is_voiced &= _frame_levels(heard, hop, n_frames) > SILENT_DBFS
    return np.where(is_voiced, f0_hz, 0.0), CREPE_HOP_S


def _likeliest_path(activation: Float64Array) -> npt.NDArray[np.int64]:
    """Return the bin of each frame on the path that is likeliest as a whole (Viterbi).

    Source:
        Kim et al. 2018, "CREPE": steps between frames are as likely as they are short.
    """
    n_frames, n_bins = activation.shape
    score = np.log(activation / activation.sum(axis=1, keepdims=True) + 1e-9)
    steps = np.arange(-CREPE_REACH + 1, CREPE_REACH)
    cost = np.log((CREPE_REACH - np.abs(steps)) / CREPE_REACH**2)
    # Any jump is possible, at a price: a voice may begin anew anywhere.
    jump = float(np.log(1e-4 / n_bins))
    came_from = np.zeros((n_frames, n_bins), np.int64)
    best = score[0]
    bins = np.arange(n_bins)
    for frame in range(1, n_frames):
        padded = np.pad(best, CREPE_REACH - 1, constant_values=-np.inf)
        near = np.lib.stride_tricks.sliding_window_view(padded, len(steps)) + cost
        choice = near.argmax(axis=1)
        value, origin = near[bins, choice], bins + steps[choice]
        top = int(best.argmax())
        is_jump = best[top] + jump > value
        came_from[frame] = np.where(is_jump, top, origin)
        best = np.where(is_jump, best[top] + jump, value) + score[frame]
    path = np.empty(n_frames, np.int64)
    path[-1] = best.argmax()
    for frame in range(n_frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path


def _weighted_hz(activation: Float64Array, path: npt.NDArray[np.int64]) -> Float64Array:
    """Return the frequency around each bin of a path, the mean of nine bins by their activation."""
    reach = np.clip(path[:, None] + np.arange(-4, 5), 0, activation.shape[1] - 1)
    weights = np.take_along_axis(activation, reach, axis=1)
    mean = (weights * reach).sum(axis=1) / weights.sum(axis=1)
    hz: Float64Array = bin_hz(0.0) * 2.0 ** (mean * (np.log2(bin_hz(1.0) / bin_hz(0.0))))
    return hz


def _median(values: Float64Array, width: int) -> Float64Array:
    padded = np.pad(values, width // 2, mode="edge")
    median: Float64Array = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=-1)
    return median


def _hear_with_pyin(heard: Float64Array) -> tuple[Float64Array, float]:
    import librosa

    hop = round(PYIN_HOP_S * EAR_RATE)
    low, high = PYIN_RANGE_HZ
    options: dict[str, Any] = {"frame_length": 2048, "hop_length": hop, "fill_na": 0.0}
    f0_hz, is_voiced, _ = librosa.pyin(heard, fmin=low, fmax=high, sr=EAR_RATE, **options)
    is_voiced = is_voiced & (_frame_levels(heard, hop, len(f0_hz)) > SILENT_DBFS)
    return np.where(is_voiced, f0_hz, 0.0), PYIN_HOP_S
