"""A stem's samples as its render hears them: aligned, resampled, beside another stem."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.alignment import AlignedReader, resampled_length
from bridge.errors import AudioFileError, PresetError
from bridge.plan.model import SELF, Plan, StemPlan

__all__ = ["SilentReader", "open_stem_sound"]


@dataclass(slots=True, kw_only=True)
class SilentReader:
    """Read a stem of silence, as an `AlignedReader` reads one of a file.

    Args:
        n_channels: Channels.
        n_samples: Length.
    """

    n_channels: int
    n_samples: int
    _position: int = 0

    def __enter__(self) -> SilentReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""

    def read(self, n_samples: int) -> AudioArray:
        """Read the next (channels, samples); fewer at the end, and none after it."""
        n_read = min(n_samples, self.n_samples - self._position)
        self._position += n_read
        return np.zeros((self.n_channels, n_read), np.float32)

    def __iter__(self) -> Iterator[AudioArray]:
        """Go through the rest in blocks."""
        while self._position < self.n_samples:
            yield self.read(BLOCK_SAMPLES)


def open_stem_sound(stem: StemPlan) -> AlignedReader | SilentReader:
    """Open a stem's sound as it lies on the session's timeline."""
    if stem.is_silence:
        return SilentReader(n_channels=stem.n_channels, n_samples=stem.n_samples)
    reader = AlignedReader(stem.placement, sample_rate=stem.sample_rate, n_samples=stem.n_samples)
    if reader.info.n_channels != stem.n_channels:
        reader.close()
        raise AudioFileError(
            f"{stem.source}: has {reader.info.n_channels} channels and {stem.n_channels} in the plan; "
            "plan again"
        )
    return reader


class StemSidechain:
    """One stem as another's second input: read along with it, in constant memory.

    Args:
        stem: What is heard.
        main: Whose time and rate it follows.
    """

    def __init__(self, stem: StemPlan, main: StemPlan) -> None:
        rates = stem.sample_rate, main.sample_rate
        self._stem = stem
        self._placement = replace(
            stem.placement,
            head_samples=resampled_length(stem.head_samples, *rates),
            n_samples=resampled_length(stem.own_samples, *rates),
        )
        self._main = main
        self._reader: AlignedReader | None = None

    def __call__(self, start: int, n_samples: int) -> AudioArray:
        """Return the next samples; silence follows the end. Position 0 begins anew."""
        if self._stem.is_silence:
            return np.zeros((self._stem.n_channels, n_samples), np.float32)
        if start == 0 or self._reader is None:
            self.close()
            self._reader = AlignedReader(
                self._placement, sample_rate=self._main.sample_rate, n_samples=self._main.n_samples
            )
        sound = self._reader.read(n_samples)
        return np.pad(sound, ((0, 0), (0, n_samples - sound.shape[1])))

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def read_reference(name: str, plan: Plan, stem: StemPlan) -> AudioArray:
    """Read all of a stem that another dreams towards; `SELF` is that one itself, as it enters its chain."""
    other = stem if name == SELF else find_stem(plan, name)
    with open_stem_sound(other) as reader:
        samples = reader.read(other.n_samples)
    if other.sample_rate != stem.sample_rate:
        import soxr

        samples = soxr.resample(samples.T, other.sample_rate, stem.sample_rate, "VHQ").T
    return np.ascontiguousarray(samples, dtype=np.float32)


def find_stem(plan: Plan, name: str) -> StemPlan:
    for other in plan.stems:
        if other.name == name:
            return other
    names = ", ".join(repr(other.name) for other in plan.stems)
    raise PresetError(f"stem {name!r} is used by the preset but was not given; the stems are {names}")
