"""The sound of a clip: its stretch of the file, at the session's rate, looped, turned, faded and weighed.

A clip begins on the sample nearest to its time. What it plays is the same for every block size, and at the
session's own rate, without stretch, it is the file's samples, times its gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray, Float64Array
from bridge.audio.reader import AudioInfo, AudioReader
from bridge.audio.stretch import stretch
from bridge.daw.model import Clip, ClipFade, FadeShape

__all__ = ["clip_blocks", "clip_channels", "clip_span", "fade_curve"]

_BLOCK_SAMPLES: Final = 1 << 18
_MARGIN_SAMPLES: Final = 1 << 14
"""So much more of a file is converted on either side: the filter's length, many times over."""


def clip_span(clip: Clip, info: AudioInfo, sample_rate: int) -> tuple[int, int]:
    """Return the first sample of a clip in the session, and the one after its last."""
    start = round(clip.start_s * sample_rate)
    if clip.duration_s > 0:
        return start, round((clip.start_s + clip.duration_s) * sample_rate)
    first_s, last_s = _section(clip, info)
    return start, start + max(0, math.ceil((last_s - first_s - clip.offset_s) / clip.rate * sample_rate))


def clip_channels(clip: Clip, info: AudioInfo) -> int:
    """Return how many channels a clip's sound has."""
    n_channels = 1 if clip.channel in ("mono", "left", "right") else info.n_channels
    return max(n_channels, 2) if clip.pan else n_channels


def clip_blocks(clip: Clip, path: Path, sample_rate: int) -> Iterator[AudioArray]:
    """Go through the sound of a clip from its first sample to its last.

    Args:
        clip: The clip.
        path: Its file.
        sample_rate: The session's, Hz.

    Yields:
        (channels, samples) float32.

    Raises:
        AudioFileError: The file cannot be read.
    """
    with AudioReader(path) as reader:
        start, end = clip_span(clip, reader.info, sample_rate)
        position = 0
        is_plain = clip.rate == 1.0 and not clip.is_reversed and clip.loop is None
        if is_plain and reader.info.sample_rate == sample_rate:
            played = _stream(clip, reader, end - start)
        else:
            played = _blocks_of(_prepare(clip, reader, sample_rate, end - start))
        for block in played:
            faded = _weigh(clip, _channels(clip, block))
            faded *= _envelope(clip, position, block.shape[1], end - start, sample_rate)
            position += block.shape[1]
            yield faded.astype(np.float32)


def _section(clip: Clip, info: AudioInfo) -> tuple[float, float]:
    if clip.section_s is None:
        return 0.0, info.duration_s
    return clip.section_s[0], min(clip.section_s[1], info.duration_s)


def _stream(clip: Clip, reader: AudioReader, n_samples: int) -> Iterator[AudioArray]:
    """Read a clip that plays on, as it stands in the file; silence follows the file's end."""
    rate = reader.info.sample_rate
    first_s, last_s = _section(clip, reader.info)
    at = round((first_s + clip.offset_s) * rate)
    last = min(reader.info.n_samples, round(last_s * rate))
    reader.seek(min(at, reader.info.n_samples))
    while n_samples:
        wanted = min(_BLOCK_SAMPLES, n_samples)
        block = np.zeros((reader.info.n_channels, wanted), np.float32)
        n_there = max(0, min(wanted, last - at))
        if n_there:
            found = reader.read(n_there)
            block[:, : found.shape[1]] = found
        at, n_samples = at + wanted, n_samples - wanted
        yield block


def _blocks_of(audio: AudioArray) -> Iterator[AudioArray]:
    for start in range(0, audio.shape[1], _BLOCK_SAMPLES):
        yield audio[:, start : start + _BLOCK_SAMPLES]


def _prepare(clip: Clip, reader: AudioReader, sample_rate: int, n_samples: int) -> AudioArray:
    """Return what a clip plays that is looped, turned, converted or stretched."""
    info = reader.info
    first_s, last_s = _section(clip, info)
    length_s = n_samples / sample_rate * clip.rate
    if clip.loop is not None or clip.is_reversed:
        from_s, to_s = 0.0, last_s - first_s
    else:
        from_s, to_s = clip.offset_s, min(clip.offset_s + length_s, last_s - first_s)
    if to_s <= from_s:
        return np.zeros((info.n_channels, n_samples), np.float32)
    read_from_s = first_s + from_s
    audio = _read_at_rate(reader, read_from_s, first_s + to_s, sample_rate, clip)
    if clip.is_reversed:
        audio = audio[:, ::-1]
    places = round((clip.offset_s - from_s) / clip.rate * sample_rate) + np.arange(n_samples)
    if clip.loop is not None:
        loop_start = round(clip.loop.start_s / clip.rate * sample_rate)
        loop_end = audio.shape[1]
        if clip.loop.end_s is not None:
            loop_end = min(loop_end, round(clip.loop.end_s / clip.rate * sample_rate))
        if loop_end > loop_start:
            wrapped = loop_start + (places - loop_start) % (loop_end - loop_start)
            places = np.where(places >= loop_end, wrapped, places)
    is_there = (places >= 0) & (places < audio.shape[1])
    output = np.zeros((len(audio), n_samples), np.float32)
    output[:, is_there] = audio[:, places[is_there]]
    return output


def _read_at_rate(
    reader: AudioReader, from_s: float, to_s: float, sample_rate: int, clip: Clip
) -> AudioArray:
    """Read a stretch of a file at the session's rate and the clip's speed."""
    own = reader.info.sample_rate
    if clip.keeps_pitch:
        first, last = round(from_s * own), min(round(to_s * own), reader.info.n_samples)
        audio = stretch(_read(reader, first, last), own, clip.rate)
        return _convert(audio, own, sample_rate)
    played_at = own * clip.rate  # the file's samples in a second of the session
    if played_at == sample_rate:
        return _read(reader, round(from_s * own), min(round(to_s * own), reader.info.n_samples))
    # Begin where the file's and the session's samples meet, or every sample would be a little off its place.
    step = 1
    if float(played_at).is_integer():
        step = int(played_at) // math.gcd(int(played_at), sample_rate)
    first = max(0, (round(from_s * own) - _MARGIN_SAMPLES) // step * step)
    last = min(reader.info.n_samples, round(to_s * own) + _MARGIN_SAMPLES)
    audio = _convert(_read(reader, first, last), played_at, sample_rate)
    skipped = round((from_s - first / own) / clip.rate * sample_rate)
    n_samples = round((to_s - from_s) / clip.rate * sample_rate)
    return audio[:, skipped : skipped + n_samples]


def _read(reader: AudioReader, first: int, last: int) -> AudioArray:
    reader.seek(first)
    parts, n_left = [np.zeros((reader.info.n_channels, 0), np.float32)], last - first
    while n_left > 0:
        parts.append(reader.read(min(n_left, _BLOCK_SAMPLES)))
        if not parts[-1].shape[1]:
            break
        n_left -= parts[-1].shape[1]
    return np.concatenate(parts, axis=1)


def _convert(audio: AudioArray, from_rate: float, to_rate: float) -> AudioArray:
    if from_rate == to_rate:
        return audio
    import soxr

    converted: Any = soxr.resample(np.ascontiguousarray(audio.T), from_rate, to_rate, "VHQ")
    return np.ascontiguousarray(converted.T, dtype=np.float32)


def _channels(clip: Clip, audio: AudioArray) -> AudioArray:
    if clip.channel == "mono":
        mean: AudioArray = audio.mean(axis=0, keepdims=True, dtype=np.float32)
        return mean
    if clip.channel in ("left", "right"):
        return audio[:1] if clip.channel == "left" else audio[-1:]
    if clip.channel == "swapped" and len(audio) == 2:
        return audio[::-1]
    return audio


def _weigh(clip: Clip, audio: AudioArray) -> Float64Array:
    """Apply gain and pan."""
    if not clip.pan:
        return audio * np.float64(clip.gain)
    sides = np.repeat(audio, 2, axis=0) if len(audio) == 1 else audio
    gains = np.ones(len(sides))
    gains[0], gains[1] = min(1.0, 1.0 - clip.pan), min(1.0, 1.0 + clip.pan)
    return sides * (gains * clip.gain)[:, None]


def _envelope(clip: Clip, position: int, n_samples: int, length: int, sample_rate: int) -> Float64Array:
    """Return a clip's fades and its lines of gain over some of its samples."""
    places = position + np.arange(n_samples)
    gain = np.ones(n_samples)
    for line in clip.gain_lines:
        at_s, factors = np.array(line).T
        gain *= np.interp(places / sample_rate, at_s, factors)
    if clip.fade_in is not None:
        gain *= _rise(clip.fade_in, places, sample_rate)
    if clip.fade_out is not None:
        gain *= _rise(clip.fade_out, length - places, sample_rate)
    return gain


def _rise(fade: ClipFade, samples: npt.NDArray[np.int64], sample_rate: int) -> Float64Array:
    x = np.clip(samples / max(1e-12, fade.length_s * sample_rate), 0.0, 1.0)
    return fade_curve(x, fade.shape)


def fade_curve(x: Float64Array, shape: FadeShape) -> Float64Array:
    """Return how far a fade has risen, at some share of its length from 0 to 1."""
    match shape:
        case "fast_start":
            return 1.0 - (1.0 - x) ** 2
        case "slow_start":
            return x**2
        case "faster_start":
            return 1.0 - (1.0 - x) ** 4
        case "slower_start":
            return x**4
        case "s_curve":
            return x * x * (3.0 - 2.0 * x)
        case "steep_s_curve":
            once = x * x * (3.0 - 2.0 * x)
            return once * once * (3.0 - 2.0 * once)
    return x
