"""Stems of one session on one timeline: the same rate, the same start, the same length.

`align_stems` decides from what the files say; `AlignedReader` then reads any stem as if it had been exported
that way. A stem that already fits comes through bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.loudness import Loudness, LoudnessMeter
from bridge.audio.metadata import AudioMetadata
from bridge.audio.reader import AudioInfo, AudioReader
from bridge.errors import AudioFileError, InputError

__all__ = ["AlignedReader", "Alignment", "Placement", "align_stems", "measure_sum", "resampled_length"]

_DAY_S: Final = 86_400
_UNSET_AFTER_S: Final = 600
"""A stamp of 0 so long before the others is none: programs write 0 where they know no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Say where one stem lies on the session's timeline.

    Args:
        path: The file.
        head_samples: Silence in front of it, at the session's rate.
        n_samples: Its own length at the session's rate.
    """

    path: Path
    head_samples: int
    n_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """State the timeline all stems share.

    Args:
        sample_rate: Hz.
        start_samples: Where it begins, in samples since midnight; None where the stems do not say.
        n_samples: Common length, without tails.
        placements: One a stem, in the order given.
        warnings: What was decided that the user should know.
    """

    sample_rate: int
    start_samples: int | None
    n_samples: int
    placements: tuple[Placement, ...]
    warnings: tuple[str, ...] = ()


def align_stems(
    stems: Sequence[tuple[AudioInfo, AudioMetadata]], *, sample_rate: int | None = None
) -> Alignment:
    """Put stems on one timeline.

    The rate is the one given, or that of more than half the stems. Where every stem has a time stamp, the
    earliest is the start and the others get silence in front; a session may go on past midnight. Where one
    has none, all start together. Silence in front that is longer than every stem is a warning, since wrong
    stamps make it; it is no refusal, since single hits of a long session are stamped like that.

    Args:
        stems: What each file is, and what it says beside its samples.
        sample_rate: Hz, to decide it.

    Raises:
        InputError: Half the stems have one rate and half another, a stamp lies beyond 24 hours, or there are
            no stems.
    """
    if not stems:
        raise InputError("no stems were given; name audio files or a folder that holds some")
    rate = sample_rate or _majority_rate([info for info, _ in stems])
    warnings = [
        f"{info.path.name}: converted from {info.sample_rate} to {rate} Hz"
        for info, _ in stems
        if info.sample_rate != rate
    ]
    names = [info.path.name for info, _ in stems]
    lengths = [resampled_length(info.n_samples, info.sample_rate, rate) for info, _ in stems]
    starts = [_start_samples(info, metadata, rate) for info, metadata in stems]
    origin, found = _find_origin(names, starts, lengths, rate)
    warnings += found
    placements = tuple(
        Placement(
            path=info.path,
            head_samples=0 if origin is None or start is None else (start - origin) % (_DAY_S * rate),
            n_samples=length,
        )
        for (info, _), start, length in zip(stems, starts, lengths, strict=True)
    )
    warnings += _long_heads(names, placements, rate)
    return Alignment(
        sample_rate=rate,
        start_samples=origin,
        n_samples=max(p.head_samples + p.n_samples for p in placements),
        placements=placements,
        warnings=tuple(warnings),
    )


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Return how long a sound is at another rate, to the nearest sample.

    >>> resampled_length(441_000, 44_100, 48_000)
    480000
    """
    return n_samples if from_rate == to_rate else (2 * n_samples * to_rate + from_rate) // (2 * from_rate)


class AlignedReader:
    """Read one stem on the session's timeline: silence before and after it, at the session's rate.

    Args:
        placement: Which file, and where.
        sample_rate: The session's, in Hz.
        n_samples: The session's length; silence follows the stem up to there.
    """

    def __init__(self, placement: Placement, *, sample_rate: int, n_samples: int) -> None:
        self._placement = placement
        self._n_samples = n_samples
        self._reader = AudioReader(placement.path)
        self._n_channels = self._reader.info.n_channels
        is_native = self._reader.info.sample_rate == sample_rate
        self._blocks = iter(self._reader) if is_native else _resampled(self._reader, sample_rate, placement)
        self._ready: AudioArray = np.zeros((self._n_channels, 0), np.float32)
        self._position = 0

    @property
    def info(self) -> AudioInfo:
        """What the file itself is."""
        return self._reader.info

    @property
    def n_samples(self) -> int:
        """Length on the session's timeline."""
        return self._n_samples

    def __enter__(self) -> AlignedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def read(self, n_samples: int) -> AudioArray:
        """Read the next (channels, samples); fewer at the end of the session, and none after it."""
        stop = min(self._position + n_samples, self._n_samples)
        output: AudioArray = np.zeros((self._n_channels, stop - self._position), np.float32)
        first = max(self._position, self._placement.head_samples)
        last = min(stop, self._placement.head_samples + self._placement.n_samples)
        if last > first:
            output[:, first - self._position : last - self._position] = self._take(last - first)
        self._position = stop
        return output

    def __iter__(self) -> Iterator[AudioArray]:
        """Go through the rest of the session in blocks."""
        while self._position < self._n_samples:
            yield self.read(BLOCK_SAMPLES)

    def _take(self, n_samples: int) -> AudioArray:
        parts = [self._ready]
        n_ready = self._ready.shape[1]
        while n_ready < n_samples:
            parts.append(next(self._blocks))
            n_ready += parts[-1].shape[1]
        joined = np.concatenate(parts, axis=1)
        self._ready = joined[:, n_samples:]
        return joined[:, :n_samples]


def measure_sum(alignment: Alignment) -> Loudness:
    """Measure what all stems make together; mono stems are heard on both sides.

    Raises:
        InputError: The stems have different numbers of channels, mono aside.
    """
    with ExitStack() as stack:
        readers = [
            stack.enter_context(
                AlignedReader(p, sample_rate=alignment.sample_rate, n_samples=alignment.n_samples)
            )
            for p in alignment.placements
        ]
        n_channels = max(reader.info.n_channels for reader in readers)
        odd = next((r.info for r in readers if r.info.n_channels not in (1, n_channels)), None)
        if odd is not None:
            raise InputError(
                f"{odd.path}: has {odd.n_channels} channels where others have {n_channels}: "
                "they cannot be added up"
            )
        meter = LoudnessMeter(alignment.sample_rate, n_channels)
        for _ in range(0, alignment.n_samples, BLOCK_SAMPLES):
            blocks = [reader.read(BLOCK_SAMPLES) for reader in readers]
            total = np.zeros((n_channels, blocks[0].shape[1]))
            for block in blocks:
                total += block
            meter.push(total)
    return meter.result()


def _resampled(reader: AudioReader, sample_rate: int, placement: Placement) -> Iterator[AudioArray]:
    """Convert with soxr's best quality, in blocks of a fixed size, to exactly the length placed."""
    import soxr

    stream: Any = soxr.ResampleStream(
        reader.info.sample_rate, sample_rate, reader.info.n_channels, dtype="float32", quality="VHQ"
    )
    n_left = placement.n_samples
    for block in reader:
        part = stream.resample_chunk(np.ascontiguousarray(block.T))[:n_left]
        n_left -= len(part)
        yield np.ascontiguousarray(part.T)
    rest = stream.resample_chunk(np.zeros((0, reader.info.n_channels), np.float32), last=True)[:n_left]
    yield np.pad(np.ascontiguousarray(rest.T), ((0, 0), (0, n_left - len(rest))))


def _majority_rate(infos: Sequence[AudioInfo]) -> int:
    counts = Counter(info.sample_rate for info in infos).most_common()
    rate, count = counts[0]
    if 2 * count > len(infos):
        return rate
    listed = ", ".join(f"{n} at {r} Hz" for r, n in counts)
    raise InputError(
        f"the stems have different sample rates without a majority ({listed}): choose with --rate"
    )


def _find_origin(
    names: Sequence[str], starts: Sequence[int | None], lengths: Sequence[int], rate: int
) -> tuple[int | None, list[str]]:
    """Return where the session starts, in samples since midnight, if that is known; and what to tell."""
    known = [start for start in starts if start is not None]
    if len(known) < len(starts):
        missing = names[starts.index(None)]
        told = [f"{missing} has no time stamp: all stems are taken to start together"]
        return None, told if known else []
    day = _DAY_S * rate
    others = [start for start in known if start]
    if 0 in known and others:
        distance = min(min(others), day - max(others))
        if distance > max(*lengths, _UNSET_AFTER_S * rate):
            return None, [
                f"{names[starts.index(0)]} has the time stamp 00:00:00, {_clock_time(distance, rate)} from "
                "the others, which is taken for none: all stems are taken to start together. Stamp it again, "
                "or leave all stems as they are with --no-align"
            ]
    # On the face of a clock the session begins after the longest time in which no stem does.
    clock = sorted(set(known))
    before = [clock[-1] - day, *clock[:-1]]
    return max(zip(clock, before, strict=True), key=lambda pair: pair[0] - pair[1])[0], []


def _long_heads(names: Sequence[str], placements: Sequence[Placement], rate: int) -> list[str]:
    name, head = max(
        ((n, p.head_samples) for n, p in zip(names, placements, strict=True)), key=lambda pair: pair[1]
    )
    if head <= max(p.n_samples for p in placements):
        return []
    return [
        f"{name} begins {_clock_time(head, rate)} after the first stem by its time stamp, more than the "
        "length of any stem: so much silence is put in front of it. Leave all stems as they are with "
        "--no-align"
    ]


def _clock_time(n_samples: int, rate: int) -> str:
    seconds = n_samples / rate
    return f"{int(seconds // 3600):02d}:{int(seconds // 60 % 60):02d}:{seconds % 60:04.1f}"


def _start_samples(info: AudioInfo, metadata: AudioMetadata, rate: int) -> int | None:
    start = metadata.start_samples
    if start is None:
        return None
    if start >= _DAY_S * info.sample_rate:
        raise AudioFileError(
            f"{info.path}: its time stamp is {start / info.sample_rate / 3600:.1f} h; it must lie within the "
            "24 h of a day. Stamp it again in the DAW, or export without time stamps."
        )
    return resampled_length(start, info.sample_rate, rate)
