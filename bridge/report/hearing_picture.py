"""What a network hears in stems, drawn: classes, or channels of a layer, over time."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bridge.errors import InputError, escape
from bridge.files import write_whole
from bridge.processors.heard_sound import HeardSound, strongest

__all__ = ["check_picture", "draw_hearing"]

_KINDS = ("png", "svg", "pdf")


def check_picture(path: Path) -> None:
    """Refuse now what could not be drawn later.

    Raises:
        InputError: The file is to be something else than a picture, or matplotlib is not installed.
    """
    if path.suffix.lower().removeprefix(".") not in _KINDS:
        raise InputError(f"{path}: pictures are drawn as {', '.join(f'.{one}' for one in _KINDS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            "drawing needs matplotlib; run `pip install 'reverie-audio[plot]'`, or ask for --csv"
        )


def draw_hearing(
    path: Path, sounds: Mapping[str, HeardSound], *, top: int, title: str, is_probability: bool = True
) -> None:
    """Draw what is heard in some sounds, one above the other, the strongest classes of each at its top.

    Each value is a field around the middle of its patch; white lies where no patch has its middle.

    Args:
        path: A PNG, SVG or PDF file, which is replaced.
        sounds: By the names they are to have.
        top: So many classes or channels of each.
        title: Above all.
        is_probability: Whether colours go from 0 to 1, not from the lowest to the highest value.

    Raises:
        InputError: As `check_picture`.
        OutputError: The file cannot be written.
    """
    check_picture(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {
        name: (sound, [sound.names.index(one.name) for one in strongest(sound, top)])
        for name, sound in sounds.items()
        if len(sound.values)
    }
    if not shown:
        raise InputError("there is nothing to draw: the stems hold no samples")
    heights = [0.5 + 0.25 * len(rows) for _, rows in shown.values()]
    figure = Figure(figsize=(10.0, 1.0 + sum(heights)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[
        :, 0
    ]
    lowest = 0.0 if is_probability else min(sound.values[:, rows].min() for sound, rows in shown.values())
    highest = 1.0 if is_probability else max(sound.values[:, rows].max() for sound, rows in shown.values())
    for axis, (name, (sound, rows)) in zip(axes, shown.items(), strict=True):
        edges = np.append(sound.middles_s - sound.hop_s / 2, sound.middles_s[-1] + sound.hop_s / 2)
        mesh = axis.pcolormesh(
            edges,
            np.arange(len(rows) + 1),
            sound.values[:, rows].T,
            cmap="magma",
            vmin=lowest,
            vmax=max(highest, lowest + 1e-9),
        )
        axis.set_yticks(np.arange(len(rows)) + 0.5, [escape(sound.names[row]) for row in rows])
        axis.invert_yaxis()
        axis.set_title(escape(name), loc="left", fontsize=9, parse_math=False)
    axes[-1].set_xlim(0.0, max(sound.duration_s for sound, _ in shown.values()))
    axes[-1].set_xlabel("seconds")
    figure.colorbar(mesh, ax=list(axes), label="probability" if is_probability else "mean of the channel")
    figure.suptitle(escape(title), parse_math=False)
    with write_whole(path) as part:
        figure.savefig(part, format=path.suffix.lower().removeprefix("."))
