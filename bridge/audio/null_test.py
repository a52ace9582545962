"""Null tests: subtract one file from another and say what is left, in dB.

Two renders that null are the same to the ear whatever their bytes; a residual says how far apart they are. A
constant offset in time would hide that, so it is looked for, reported and taken out. It is only reported
where it explains nearly all of the difference and no other offset does as well: a tone or a loop fits itself
in many places, and what a processor made of a sound is like it in others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, Float64Array
from bridge.audio.formats import AUDIO_SUFFIXES
from bridge.audio.reader import AudioReader
from bridge.errors import AudioFileError, InputError

__all__ = ["ChannelResidual", "Comparison", "FolderComparison", "compare_files", "compare_paths"]

_PROBE_S: Final = 4.0
_MIN_CORRELATION: Final = 0.5
_MIN_SOUND_S: Final = 0.02
"""Shorter sounds are like each other by chance."""
_EXPLAINED: Final = 0.1
"""Energy an offset may leave, at the best gain: of the sound's, and of what no or another offset leaves."""
_NOTHING: Final = 1e-12


_RUNG = re.compile(r"\.depth\d+(\.\w+)$")
"""How one depth of a render's ladder ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelResidual:
    """State what is left of one channel.

    Args:
        peak_dbfs: Largest difference; minus infinity where there is none.
        rms_dbfs: Its root mean square.
        first_difference: Position of the first sample that differs in A, or None.
    """

    peak_dbfs: float
    rms_dbfs: float
    first_difference: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """State how far two files are apart.

    Args:
        a: The first file.
        b: The second file.
        sample_rate: Hz, of both.
        n_samples_a: Length of the first.
        n_samples_b: Length of the second.
        offset_samples: How much later B is; it was taken out before subtracting.
        channels: What is left, channel by channel; where only one file has samples, they are left.
    """

    a: Path
    b: Path
    sample_rate: int
    n_samples_a: int
    n_samples_b: int
    offset_samples: int
    channels: tuple[ChannelResidual, ...]

    @property
    def peak_dbfs(self) -> float:
        """Largest difference over all channels."""
        return max(channel.peak_dbfs for channel in self.channels)

    @property
    def is_bit_exact(self) -> bool:
        """Whether every sample is the same, at the same place, and none is missing."""
        return (
            self.peak_dbfs == -math.inf and self.offset_samples == 0 and self.n_samples_a == self.n_samples_b
        )

    def is_within(self, tolerance_dbfs: float) -> bool:
        """Whether nothing louder than the tolerance is left, without an offset and at equal length."""
        return (
            self.peak_dbfs <= tolerance_dbfs
            and self.offset_samples == 0
            and self.n_samples_a == self.n_samples_b
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderComparison:
    """State how far two files, or the files of two folders, are apart.

    Args:
        files: One comparison for every name both have.
        only_a: Names only the first has.
        only_b: Names only the second has.
    """

    files: tuple[Comparison, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    def is_within(self, tolerance_dbfs: float) -> bool:
        """Whether both hold the same names and every pair is within the tolerance."""
        return not self.only_a and not self.only_b and all(c.is_within(tolerance_dbfs) for c in self.files)


def compare_paths(a: Path | str, b: Path | str) -> FolderComparison:
    """Null-test two files, or two folders file by file.

    Files are paired by their path within the folder; what is left over, by the name of the stem: a render is
    called after its stem, with more before and after it (``bass.wav``, ``bass__bloom.wav``). Depths of a
    ladder beside a render (``bass__bloom.depth05.wav``) are compared where both folders have them.

    Raises:
        InputError: A folder against a file, folders without audio, or a file that may be paired with several.
        AudioFileError: A file cannot be read, or two differ in sample rate or channels.
    """
    a, b = Path(a), Path(b)
    for path in (a, b):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        raise InputError(f"{folder} is a folder and {file} is a file: compare two files or two folders")
    if not a.is_dir():
        return FolderComparison(files=(compare_files(a, b),))
    names_a, names_b = _audio_names(a), _audio_names(b)
    names_a, names_b = _without_rungs(names_a, names_b), _without_rungs(names_b, names_a)
    if not names_a and not names_b:
        raise InputError(f"{a} and {b}: neither folder holds audio files")
    pairs = {name: name for name in names_a & names_b}
    pairs |= _pair_by_stem(names_a - names_b, names_b - names_a)
    return FolderComparison(
        files=tuple(compare_files(a / one, b / other) for one, other in sorted(pairs.items())),
        only_a=tuple(sorted(names_a - pairs.keys())),
        only_b=tuple(sorted(names_b - set(pairs.values()))),
    )


def _without_rungs(names: set[str], others: set[str]) -> set[str]:
    """Leave out depths of a ladder that stand beside their render, and that the other folder has not."""
    return {
        name
        for name in names
        if name in others or not _RUNG.search(name) or _RUNG.sub(r"\1", name) not in names
    }


def _pair_by_stem(names_a: set[str], names_b: set[str]) -> dict[str, str]:
    """Pair each name with the one it is called after, whichever folder holds the renders.

    Of several the longest counts: ``vox lead__bloom`` belongs to ``vox lead``, not to ``vox``.
    """
    pairs: dict[str, str] = {}
    for name, others in [*((n, names_b) for n in names_a), *((n, names_a) for n in names_b)]:
        owners = [other for other in others if _is_called_after(name, other)]
        longest = max((len(PurePath(owner).stem) for owner in owners), default=0)
        for owner in (o for o in owners if len(PurePath(o).stem) == longest):
            one, other = (name, owner) if name in names_a else (owner, name)
            known = next((pair for pair in pairs.items() if (pair[0] == one) != (pair[1] == other)), None)
            if known is not None:
                two = sorted({one, other, *known} - ({one, other} & set(known)))
                shared = next(iter({one, other} & set(known)))
                raise InputError(f"{shared}: may belong to {' or '.join(two)}; compare these one by one")
            pairs[one] = other
    return pairs


def _is_called_after(name: str, stem: str) -> bool:
    """Tell whether a name holds another as a whole, cut off by what is neither letter nor digit."""
    path, other = PurePath(name), PurePath(stem)
    whole = rf"(?<![^\W_]){re.escape(other.stem)}(?![^\W_])"
    return path.parent == other.parent and re.search(whole, path.stem) is not None


def compare_files(a: Path | str, b: Path | str, *, max_offset_s: float = 1.0) -> Comparison:
    """Null-test two files.

    Args:
        a: The first file.
        b: The second file.
        max_offset_s: How far B may be shifted against A; 0 takes both as they are.

    Raises:
        AudioFileError: A file cannot be read, or the two differ in sample rate or channels.
    """
    with AudioReader(a) as reader_a, AudioReader(b) as reader_b:
        info_a, info_b = reader_a.info, reader_b.info
        if (info_a.sample_rate, info_a.n_channels) != (info_b.sample_rate, info_b.n_channels):
            raise AudioFileError(
                f"{a} has {info_a.n_channels} channels at {info_a.sample_rate} Hz, {b} has "
                f"{info_b.n_channels} at {info_b.sample_rate} Hz: they need the same layout to be compared"
            )
        left = _residual(reader_a, reader_b, 0)
        offset = 0
        if any(c.first_difference is not None for c in left.channels) and max_offset_s > 0:
            found, rival = _find_offset(reader_a, reader_b, round(max_offset_s * info_a.sample_rate))
            shifted = _residual(reader_a, reader_b, found) if found else left
            if (
                found
                and _holds(shifted, left)
                and (rival is None or _is_better(shifted, _residual(reader_a, reader_b, rival)))
            ):
                offset, left = found, shifted
    return Comparison(
        a=Path(a),
        b=Path(b),
        sample_rate=info_a.sample_rate,
        n_samples_a=info_a.n_samples,
        n_samples_b=info_b.n_samples,
        offset_samples=offset,
        channels=left.channels,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Residual:
    """What is left at one offset.

    Args:
        channels: Channel by channel.
        unlike: Share of the energy that no gain takes out, over the whole timeline.
        unlike_in_both: The same where both files have samples.
        n_both: Samples where both have some.
    """

    channels: tuple[ChannelResidual, ...]
    unlike: float
    unlike_in_both: float
    n_both: int


def _holds(shifted: _Residual, still: _Residual) -> bool:
    """Tell whether an offset explains the difference that is there without one."""
    return (
        2 * shifted.n_both >= still.n_both
        and shifted.unlike_in_both <= _EXPLAINED
        and _is_better(shifted, still)
        and max(c.rms_dbfs for c in shifted.channels) < max(c.rms_dbfs for c in still.channels)
    )


def _is_better(one: _Residual, other: _Residual) -> bool:
    """Tell whether one offset leaves far less than another, where both files have samples or in all."""
    return (
        one.unlike_in_both <= _EXPLAINED * other.unlike_in_both - _NOTHING
        or one.unlike <= _EXPLAINED * other.unlike - _NOTHING
    )


def _residual(reader_a: AudioReader, reader_b: AudioReader, offset: int) -> _Residual:
    """Subtract; with a positive offset sample n of A meets sample n + offset of B."""
    n_channels = reader_a.info.n_channels
    peaks, sums = np.zeros(n_channels), np.zeros(n_channels)
    firsts: list[int | None] = [None] * n_channels
    n_total = 0
    begin = max(0, -offset)
    end = min(reader_a.info.n_samples, reader_b.info.n_samples - offset)
    products, products_in_both = np.zeros(3), np.zeros(3)
    for start, part_a, part_b in _aligned_blocks(reader_a, reader_b, offset):
        difference = np.abs(part_a - part_b)
        n_total += difference.shape[1]
        peaks = np.maximum(peaks, difference.max(axis=1))
        sums += (difference**2).sum(axis=1)
        both = slice(max(0, begin - start), max(0, end - start))
        products += _products(part_a, part_b)
        products_in_both += _products(part_a[:, both], part_b[:, both])
        for channel in range(n_channels):
            if firsts[channel] is None and difference[channel].any():
                firsts[channel] = start + int(np.flatnonzero(difference[channel])[0])
    channels = tuple(
        ChannelResidual(
            peak_dbfs=_decibels(float(peak)),
            rms_dbfs=_decibels(math.sqrt(float(total) / n_total)),
            first_difference=first,
        )
        for peak, total, first in zip(peaks, sums, firsts, strict=True)
    )
    return _Residual(
        channels=channels,
        unlike=_unlike(products),
        unlike_in_both=_unlike(products_in_both),
        n_both=max(0, end - begin),
    )


def _products(a: Float64Array, b: Float64Array) -> Float64Array:
    return np.array([(a * b).sum(), (a * a).sum(), (b * b).sum()])


def _unlike(products: Float64Array) -> float:
    """Return 1 minus the square of the correlation."""
    both, one, other = (float(p) for p in products)
    return 1.0 if one <= 0 or other <= 0 else max(0.0, 1 - both * both / (one * other))


def _aligned_blocks(
    reader_a: AudioReader, reader_b: AudioReader, offset: int
) -> Iterator[tuple[int, Float64Array, Float64Array]]:
    """Go through A's timeline from where either file begins to where the last one ends."""
    first = min(0, -offset)
    last = max(reader_a.info.n_samples, reader_b.info.n_samples - offset)
    for start in range(first, last, BLOCK_SAMPLES):
        n = min(BLOCK_SAMPLES, last - start)
        yield start, _read_padded(reader_a, start, n), _read_padded(reader_b, start + offset, n)


def _read_padded(reader: AudioReader, start: int, n_samples: int) -> Float64Array:
    output = np.zeros((reader.info.n_channels, n_samples))
    reader.seek(start)
    head = max(0, -start)
    if head < n_samples:
        part = reader.read(n_samples - head)
        output[:, head : head + part.shape[1]] = part
    return output


def _find_offset(reader_a: AudioReader, reader_b: AudioReader, max_offset: int) -> tuple[int, int | None]:
    """Return how much later B may be, and the next best answer that is not close to it.

    By cross-correlation around the loudest stretch of A; 0 where nothing is like it.
    """
    from scipy.signal import correlate

    n_least = round(_MIN_SOUND_S * reader_a.info.sample_rate)
    if min(reader_a.info.n_samples, reader_b.info.n_samples) < n_least:
        return 0, None
    length = min(round(_PROBE_S * reader_a.info.sample_rate), reader_a.info.n_samples)
    start = _loudest_start(reader_a, length)
    probe = _read_padded(reader_a, start, length)
    other = _read_padded(reader_b, start - max_offset, length + 2 * max_offset)
    correlation = np.abs(
        sum(correlate(b, a, mode="valid", method="fft") for a, b in zip(probe, other, strict=True))
    )
    best = int(correlation.argmax())
    energy = float((probe**2).sum() * (other[:, best : best + length] ** 2).sum())
    if energy <= 0 or correlation[best] / math.sqrt(energy) < _MIN_CORRELATION:
        return 0, None
    rivals = correlation.copy()
    rivals[slice(*_peak(correlation, best))] = 0
    rival = int(rivals.argmax())
    is_near = rivals[rival] >= _MIN_CORRELATION * correlation[best]
    return best - max_offset, rival - max_offset if is_near else None


def _peak(correlation: Float64Array, best: int) -> tuple[int, int]:
    """Return where a peak begins and ends: where it has fallen to half and rises again."""
    low = correlation < correlation[best] / 2
    before, after = np.flatnonzero(low[:best]), np.flatnonzero(low[best:])
    return (int(before[-1]) if len(before) else 0), (best + int(after[0]) if len(after) else len(correlation))


def _loudest_start(reader: AudioReader, length: int) -> int:
    reader.seek(0)
    energies = [float((block.astype(np.float64) ** 2).sum()) for block in reader]
    middle = int(np.argmax(energies)) * BLOCK_SAMPLES + BLOCK_SAMPLES // 2
    return min(max(0, middle - length // 2), reader.info.n_samples - length)


def _audio_names(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    }


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
