"""How loud a stem is over time, measured once, for followers and audio triggers.

Goal: envelopes stay pure functions of time although they follow sound: the sound is measured block by block
into curves before, and the curves are all that is asked afterwards.

Conventions: levels in dB relative to full scale; row k of a curve tells of what ends at sample (k + 1) x hop:
one hop for peaks, 30 ms for RMS, 400 ms for momentary loudness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bridge.arrays import AudioArray, Float64Array
from bridge.audio.loudness import k_weighting
from bridge.envelopes.hearing import HeardCurve, HearingMeasure, hearing_measures
from bridge.envelopes.measured_curve import CurveSource, attack_release
from bridge.envelopes.schema import (
    Adsr,
    Breakpoints,
    Follower,
    Lfo,
    Modulator,
    Steps,
)
from bridge.envelopes.song import Song, duration_samples
from bridge.errors import EnvelopeError, nearest_names

__all__ = [
    "TRIGGER_MEASURE",
    "FollowerSource",
    "Measure",
    "build_follower",
    "follower_curve",
    "follower_stems",
    "level_of",
]


HOP_SAMPLES = 64
SILENCE_DB = -120.0
_WINDOW_S = {"rms": 0.03, "lufs_m": 0.4}  # 30 ms hold two cycles of the lowest tones that drums have
_LUFS_OFFSET_DB = -0.691


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What of a sound is measured.

    Args:
        detector: ``peak``, ``rms`` or momentary loudness ``lufs_m``.
        low_cut_hz: What lies below is not heard; 12 dB an octave.
        high_cut_hz: What lies above is not heard; 12 dB an octave.
    """

    detector: Literal["peak", "rms", "lufs_m"] = "rms"
    low_cut_hz: float | None = None
    high_cut_hz: float | None = None


TRIGGER_MEASURE = Measure(detector="peak")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FollowerSource:
    """How loud one stem is over time, and what networks hear in it.

    Args:
        level_db: One curve of (n,) levels for each measure, in dB relative to full scale.
        hop_samples: Samples a row.
        sample_rate: Hz.
        heard: What was listened for, and how much of it was heard.
    """

    level_db: Mapping[Measure, Float64Array]
    hop_samples: int
    sample_rate: float
    heard: Mapping[HearingMeasure, HeardCurve] = field(default_factory=dict)


def follower_stems(modulators: Sequence[Modulator], stem: str) -> tuple[str, ...]:
    """List the stems whose sound the modulators of one stem need, to measure or to hear it."""
    return tuple(
        sorted({name or stem for name, _ in _needs(modulators)} | {*hearing_measures(modulators, stem)})
    )


def build_follower(
    blocks: Iterable[AudioArray], sample_rate: float, modulators: Sequence[Modulator] = ()
) -> FollowerSource:
    """Measure how loud a sound is over time, in one pass and little memory.

    Args:
        blocks: (channels, samples) float32 arrays in order, of any lengths.
        sample_rate: Hz.
        modulators: Everything these may ask for is measured; RMS of the whole band always.

    Returns:
        One level a hop of 64 samples. Powers are the mean of the channels, as peaks are their highest; the
        channels of momentary loudness add up.

    Source: ITU-R BS.1770-5 for the weighting of ``lufs_m``.
    """
    meters = {
        measure: _Meter(measure, sample_rate) for measure in (Measure(), *(m for _, m in _needs(modulators)))
    }
    for block in _whole_hops(blocks):
        for meter in meters.values():
            meter.push(block)
    return FollowerSource(
        level_db={measure: meter.result() for measure, meter in meters.items()},
        hop_samples=HOP_SAMPLES,
        sample_rate=sample_rate,
    )


def level_of(source: FollowerSource, measure: Measure, where: str) -> Float64Array:
    """Return one curve of a measured stem.

    Raises:
        EnvelopeError: It was not measured.
    """
    if measure not in source.level_db:
        known = nearest_names(measure.detector, [known.detector for known in source.level_db])
        raise EnvelopeError(
            f"{where}: {measure} was not measured; {known}. Hand the modulators to build_follower"
        )
    return source.level_db[measure]


class _Meter:
    """Measure one thing of a stream of whole hops."""

    def __init__(self, measure: Measure, sample_rate: float) -> None:
        from scipy.signal import butter

        self._measure, self._sample_rate = measure, sample_rate
        sections = [k_weighting(round(sample_rate))] if measure.detector == "lufs_m" else []
        for cutoff_hz, kind in ((measure.low_cut_hz, "highpass"), (measure.high_cut_hz, "lowpass")):
            if cutoff_hz is not None and cutoff_hz < sample_rate / 2:
                sections.append(butter(2, cutoff_hz, kind, fs=sample_rate, output="sos"))
        self._sections = np.concatenate(sections) if sections else None
        self._state: Any = None
        self._powers: list[Float64Array] = []

    def push(self, block: AudioArray) -> None:
        """Take whole hops."""
        from scipy.signal import sosfilt

        sound = block.astype(np.float64)
        if self._sections is not None:
            if self._state is None:
                self._state = np.zeros((len(self._sections), sound.shape[0], 2))
            sound, self._state = sosfilt(self._sections, sound, axis=1, zi=self._state)
        hops = sound.reshape(sound.shape[0], -1, HOP_SAMPLES)
        if self._measure.detector == "peak":
            self._powers.append(np.abs(hops).max(axis=(0, 2)) ** 2)
        else:
            power = np.mean(hops**2, axis=2)
            self._powers.append(
                power.sum(axis=0) if self._measure.detector == "lufs_m" else power.mean(axis=0)
            )

    def result(self) -> Float64Array:
        """Return the level of every hop in dB."""
        power = np.concatenate([np.empty(0), *self._powers])
        window_s = _WINDOW_S.get(self._measure.detector)
        if window_s is not None:
            n_hops = max(round(window_s * self._sample_rate / HOP_SAMPLES), 1)
            total = np.cumsum(np.concatenate((np.zeros(n_hops), power)))
            power = (total[n_hops:] - total[:-n_hops]) / n_hops
        offset_db = _LUFS_OFFSET_DB if self._measure.detector == "lufs_m" else 0.0
        level_db: Float64Array = 10.0 * np.log10(np.maximum(power, 10.0 ** (SILENCE_DB / 10.0))) + offset_db
        return level_db


def _needs(modulators: Sequence[Modulator]) -> list[tuple[str | None, Measure]]:
    """List (stem or None for the stem itself, measure) of everything that follows sound."""
    needs: list[tuple[str | None, Measure]] = []
    for modulator in modulators:
        if isinstance(modulator, Follower):
            needs.append((modulator.stem, follower_measure(modulator)))
        elif isinstance(modulator, (Lfo, Adsr, Breakpoints, Steps)) and modulator.trigger.on == "audio":
            needs.append((modulator.trigger.stem, TRIGGER_MEASURE))
    return needs


def follower_measure(modulator: Follower) -> Measure:
    """Return what a follower listens to."""
    return Measure(
        detector=modulator.detector, low_cut_hz=modulator.low_cut_hz, high_cut_hz=modulator.high_cut_hz
    )


def _whole_hops(blocks: Iterable[AudioArray]) -> Iterable[AudioArray]:
    """Regroup blocks so that each holds whole hops; the last one is filled up with silence."""
    rest: AudioArray | None = None
    for block in blocks:
        sound = block if rest is None or not rest.shape[1] else np.concatenate((rest, block), axis=1)
        n_whole = sound.shape[1] // HOP_SAMPLES * HOP_SAMPLES
        if n_whole:
            yield sound[:, :n_whole]
        rest = sound[:, n_whole:]
    if rest is not None and rest.shape[1]:
        yield np.pad(rest, ((0, 0), (0, HOP_SAMPLES - rest.shape[1])))


def follower_curve(
    modulator: Follower, source: FollowerSource, song: Song, sample_rate: float, where: str
) -> CurveSource:
    """Turn a measured loudness into 0..1 with attack and release."""
    level_db = level_of(source, follower_measure(modulator), where) + modulator.gain_db
    values = np.clip((level_db - modulator.floor_db) / -modulator.floor_db, 0.0, 1.0)
    attack, release = (
        duration_samples(text, song, source.sample_rate) / source.hop_samples
        for text in (modulator.attack, modulator.release)
    )
    return CurveSource(
        values=attack_release(values, attack, release),
        spacing_samples=source.hop_samples * sample_rate / source.sample_rate,
    )
