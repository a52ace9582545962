"""What a search tries for each kind of network, and how its bounds move to where the best was found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dream_core.networks import mel_cnn
from dream_core.networks.kinds import embedding_head, trained

__all__ = ["Dimension", "options_from", "recentre", "space_of"]

EDGE = 0.05
"""The best lies at an edge where it is within this share of the bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One thing a search tries.

    Args:
        name: Of a setting of the run, of an option of the kind, or `width`, from which all widths follow.
        low: Lowest value tried.
        high: Highest value tried.
        least: Below this it makes no sense: bounds never move there.
        most: Above this it makes no sense.
        is_log: Whether ratios count, not differences.
        is_whole: Whether only whole numbers make sense.
    """

    name: str
    low: float
    high: float
    least: float
    most: float
    is_log: bool = False
    is_whole: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies between the bounds, 0..1."""
        low, high, at = (self._scaled(one) for one in (self.low, self.high, value))
        return (at - low) / (high - low) if high > low else 0.5

    def around(self, value: float) -> Dimension:
        """Return bounds as wide, a value in their middle, as far as they make sense."""
        low, high, at = (self._scaled(one) for one in (self.low, self.high, value))
        half = (high - low) / 2.0
        first, last = (max(self.least, self._unscaled(at - half)), min(self.most, self._unscaled(at + half)))
        return (
            replace(self, low=round(first), high=round(last))
            if self.is_whole
            else replace(self, low=first, high=last)
        )

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.is_log else value

    def _unscaled(self, value: float) -> float:
        return math.exp(value) if self.is_log else value


def _whole(name: str, low: int, high: int, least: int, most: int) -> Dimension:
    return Dimension(name=name, low=low, high=high, least=least, most=most, is_whole=True)


def _share(name: str, high: float) -> Dimension:
    return Dimension(name=name, low=0.0, high=high, least=0.0, most=0.9)


_ALL = (
    Dimension(name="learning_rate", low=1e-5, high=1e-2, least=1e-7, most=1.0, is_log=True),
    Dimension(name="weight_decay", low=1e-4, high=1e-1, least=1e-7, most=1.0, is_log=True),
    Dimension(name="strength", low=0.0, high=0.8, least=0.0, most=1.0),
    _share("dropout", 0.5),
)

_OWN: Mapping[str, tuple[Dimension, ...]] = {
    mel_cnn.KIND: (_whole("width", 8, 32, 4, 256),),
    "mel_full": (_whole("width", 32, 192, 8, 1024),),
    "mel_timbral": (
        _whole("timbral", 16, 102, 4, 408),
        _whole("temporal", 4, 51, 1, 204),
        _whole("middle", 8, 64, 4, 256),
    ),
    "mel_vgg": (
        *(_whole(f"n{stage}", 1, 4, 1, 9) for stage in (1, 2, 3, 4)),
        _whole("width", 8, 64, 4, 128),
        _share("conv_dropout", 0.5),
    ),
    "mel_conv2d": (
        _whole("blocks", 0, 7, 0, 7),
        _whole("filters", 8, 128, 4, 512),
        _whole("dense", 0, 2, 0, 2),
        _share("conv_dropout", 0.5),
    ),
    trained.KEYS_KIND: (_whole("contours", 8, 32, 2, 128), _whole("width", 16, 64, 4, 256)),
    "wave_filterbank": (_whole("filters", 16, 128, 8, 512), _whole("width", 32, 128, 8, 512)),
    "wave_plain": (_whole("width", 16, 96, 8, 512),),
    embedding_head.KIND: (),
}

_WIDTHS: Mapping[str, tuple[float, ...]] = {
    mel_cnn.KIND: (1, 2, 4, 6),
    "mel_full": (1, 1, 1.5),
    "mel_vgg": (1, 2, 4, 8),
    trained.KEYS_KIND: (1, 1),
    "wave_filterbank": (1, 1.33, 2),
    "wave_plain": (1, 1.33, 2, 2.67, 4),
}
"""The widths of a kind's layers, as multiples of `width`."""


def space_of(kind: str) -> tuple[Dimension, ...]:
    """Return what a search tries for a kind."""
    return (*_ALL, *_OWN[kind])


def options_from(kind: str, values: Mapping[str, float]) -> tuple[dict[str, Any], dict[str, str]]:
    """Part the values of a trial into settings of the run and options of the kind.

    >>> options_from("mel_full", {"learning_rate": 0.001, "width": 64, "dropout": 0.1})
    ({'learning_rate': 0.001}, {'widths': '64,64,96', 'dropout': '0.1'})
    """
    settings: dict[str, Any] = {}
    options: dict[str, str] = {}
    for name, value in values.items():
        if name in ("learning_rate", "weight_decay", "strength"):
            settings[name] = float(value)
        elif name == "width":
            options["widths"] = ",".join(str(round(value * factor)) for factor in _WIDTHS[kind])
        else:
            options[name] = str(value)
    return settings, options


def recentre(
    space: Sequence[Dimension], best: Mapping[str, float]
) -> tuple[tuple[Dimension, ...], list[str]]:
    """Move the bounds that the best trial lies at, and say which: a best at an edge may lie beyond it.

    Args:
        space: As it was.
        best: Values of the best trial.

    Returns:
        The new space, and a line for each bound that moved.
    """
    moved, told = [], []
    for one in space:
        place = one.place(best[one.name])
        new = one.around(best[one.name]) if place < EDGE or place > 1.0 - EDGE else one
        # Where what lies beyond the edge makes no sense, there is nowhere to go.
        is_barred = (place < EDGE and one.low <= one.least) or (place > 1.0 - EDGE and one.high >= one.most)
        if new == one or is_barred:
            moved.append(one)
            continue
        moved.append(new)
        told.append(
            f"{one.name}: the best, {best[one.name]:.4g}, lies at an edge of {one.low:.4g} to "
            f"{one.high:.4g}; now {new.low:.4g} to {new.high:.4g}"
        )
    return tuple(moved), told
