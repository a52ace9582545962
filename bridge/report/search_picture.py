"""A search drawn as parallel coordinates: a line a trial, an axis for everything that was tried."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from bridge.errors import InputError, escape
from bridge.files import write_whole

__all__ = ["can_draw", "draw_search"]


def can_draw() -> bool:
    """Say whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_search(
    path: Path,
    tried: Mapping[str, Sequence[float]],
    accuracies: Sequence[float],
    *,
    title: str,
    logarithmic: Collection[str] = (),
) -> None:
    """Draw trials as parallel coordinates, the better the brighter, the best one above all others.

    Args:
        path: A PNG file, which is replaced.
        tried: Values of every trial by what was tried; an axis each.
        accuracies: Of every trial, 0..1: the last axis, and the colour.
        title: Above all.
        logarithmic: Names of the axes on which ratios count.

    Raises:
        InputError: There are no trials, or matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    if not len(accuracies):
        raise InputError("there is nothing to draw: no trial came to an end")
    if not can_draw():
        raise InputError("drawing needs matplotlib; run `pip install 'reverie-audio[plot]'`")
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    columns = {name: np.asarray(values) for name, values in tried.items()}
    columns["accuracy"] = np.asarray(accuracies)
    figure = Figure(figsize=(max(6.0, 1.5 * len(columns)), 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.stack([_place(values, name in logarithmic) for name, values in columns.items()], axis=1)
    shade = Normalize(float(min(accuracies)), float(max(accuracies)) + 1e-9)
    colours = colormaps["viridis"]
    at = np.arange(len(columns))
    for trial in np.argsort(accuracies, kind="stable"):
        is_best = trial == int(np.argmax(accuracies))
        axes.plot(
            at,
            places[trial],
            color="crimson" if is_best else colours(shade(accuracies[trial])),
            linewidth=2.5 if is_best else 1.2,
            alpha=1.0 if is_best else 0.7,
            marker="o",
            markersize=3,
            zorder=3 if is_best else 2,
        )
    for x, (name, values) in enumerate(columns.items()):
        axes.axvline(x, color="0.75", linewidth=1, zorder=1)
        low, high = _limits(values)
        for y, value in ((-0.05, low), (1.05, high)):
            shown = f"{value:.0%}" if name == "accuracy" else f"{value:.3g}"
            axes.text(x, y, shown, ha="center", va="top" if y < 0 else "bottom", fontsize=8, color="0.3")
    names = [escape(name.replace("_", " ")) for name in columns]
    axes.set_xticks(at, names, parse_math=False)
    axes.tick_params(axis="x", length=0, pad=16)
    axes.set_yticks([])
    axes.set_xlim(-0.4, len(columns) - 0.6)
    axes.set_ylim(-0.15, 1.15)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.colorbar(
        ScalarMappable(shade, colours), ax=axes, label="accuracy on unheard groups", format="{x:.0%}"
    )
    figure.suptitle(f"{escape(title)}; the best in red", parse_math=False)
    with write_whole(path) as part:
        figure.savefig(part, format="png")


def _limits(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _place(values: np.ndarray, is_log: bool) -> np.ndarray:
    """Return where values lie on their axis, 0..1."""
    scaled = np.log(values) if is_log else values
    low, high = _limits(scaled)
    return np.asarray((scaled - low) / (high - low)) if high > low else np.full(len(values), 0.5)
