"""How much a network hears of something in a stem over time, as a modulator's curve.

Goal: envelopes stay pure functions of time and know no network: somebody with ears has heard the stem before,
and a row of numbers is all that is asked afterwards.

Conventions: a number stands at the middle of the stretch of sound in which it was heard; straight lines lead
from one to the next, and before the first and after the last they hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridge.arrays import Float64Array
from bridge.envelopes.measured_curve import CurveSource, attack_release
from bridge.envelopes.schema import Hearing, Modulator
from bridge.envelopes.song import Song, duration_samples

__all__ = ["HeardCurve", "HearingMeasure", "hearing_curve", "hearing_measure", "hearing_measures"]

_ROW_S = 0.01
"""Attack and release are followed so finely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingMeasure:
    """What is listened for in a stem, and by whom.

    Args:
        network: The network's name, or the path of its file.
        class_name: The class whose probability is told; empty where a channel is.
        layer: The layer whose channel is told.
        channel: Which channel of it.
        patch_hop: From one number to the next, in the network's frames; 0 leaves it to the network.
    """

    network: str
    class_name: str = ""
    layer: str = ""
    channel: int = 0
    patch_hop: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardCurve:
    """How much of it is heard over time.

    Args:
        values: (n,) a probability, or the mean of a channel.
        first_s: Where the first one stands, in seconds from the stem's start.
        hop_s: From one to the next.
    """

    values: Float64Array
    first_s: float
    hop_s: float


def hearing_measure(modulator: Hearing) -> HearingMeasure:
    """Return what a modulator listens for."""
    return HearingMeasure(
        network=modulator.network,
        class_name=modulator.class_name or "",
        layer=modulator.layer or "",
        channel=modulator.channel or 0,
        patch_hop=modulator.patch_hop,
    )


def hearing_measures(modulators: Sequence[Modulator], stem: str) -> dict[str, tuple[HearingMeasure, ...]]:
    """Return what has to be listened for before a stem is rendered: in which stems, and for what."""
    wanted: dict[str, dict[HearingMeasure, None]] = {}
    for modulator in modulators:
        if isinstance(modulator, Hearing):
            wanted.setdefault(modulator.stem or stem, {})[hearing_measure(modulator)] = None
    return {name: tuple(measures) for name, measures in wanted.items()}


def hearing_curve(modulator: Hearing, heard: HeardCurve, song: Song, sample_rate: float) -> CurveSource:
    """Turn what was heard into 0..1, with attack and release.

    Args:
        modulator: With floor, ceiling, attack and release.
        heard: What was heard of it.
        song: Clock and length.
        sample_rate: Hz, of the stem that is moved.
    """
    span = modulator.ceiling - modulator.floor
    shares = np.clip((heard.values - modulator.floor) / span, 0.0, 1.0)
    n_rows = max(1, math.ceil(song.length_s / _ROW_S))
    rows_s = np.arange(n_rows + 1) * _ROW_S
    middles_s = heard.first_s + np.arange(len(shares)) * heard.hop_s
    rows = np.interp(rows_s, middles_s, shares) if len(shares) else np.zeros(n_rows + 1)
    attack, release = (
        duration_samples(text, song, 1.0) / _ROW_S for text in (modulator.attack, modulator.release)
    )
    first = float(rows[0])
    return CurveSource(
        values=attack_release(rows[1:], attack, release, first),
        spacing_samples=_ROW_S * sample_rate,
        first=first,
    )
