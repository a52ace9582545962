"""Spectrograms of a prepared set on one sheet: whether the classes look as they should."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from bridge.arrays import Float32Array, Int64Array
from bridge.errors import escape
from bridge.files import write_whole
from bridge.report.hearing_picture import check_picture
from dream_core.training.segments import StoredSegments

__all__ = ["draw_sheet"]

_COLUMNS: Final = 6
_RANGE_DB: Final = 80.0


def draw_sheet(path: Path, segments: StoredSegments, seed: int = 0) -> None:
    """Draw some segments of every class, a class a row, each from another group as far as there are.

    Args:
        path: A PNG, SVG or PDF file, which is replaced.
        segments: The set.
        seed: Which segments.

    Raises:
        InputError: It is to be something else than a picture, or matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    check_picture(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_classes = len(segments.classes)
    figure = Figure(figsize=(2.0 * _COLUMNS, 0.6 + 1.5 * n_classes), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_classes, _COLUMNS, squeeze=False, sharex=True, sharey=True)
    rng = np.random.default_rng(seed)
    length_s = segments.segment_samples / segments.sample_rate
    for label, name in enumerate(segments.classes):
        rows = _choose(segments, label, rng)
        for column, axis in enumerate(axes[label]):
            if column < len(rows):
                sound = segments.sounds(rows[column : column + 1])[0].numpy()
                axis.imshow(
                    _spectrogram_db(sound),
                    origin="lower",
                    aspect="auto",
                    cmap="magma",
                    vmin=-_RANGE_DB,
                    vmax=0.0,
                    extent=(0.0, length_s, 0.0, segments.sample_rate / 2000.0),
                )
            else:
                axis.set_axis_off()
        axes[label][0].set_ylabel(escape(name), parse_math=False)
    for axis in axes[-1]:
        axis.set_xlabel("seconds", fontsize=7)
    figure.suptitle("kHz over seconds, 80 dB", fontsize=9)
    with write_whole(path) as part:
        figure.savefig(part, format=path.suffix.lower().removeprefix("."))


def _choose(segments: StoredSegments, label: int, rng: np.random.Generator) -> Int64Array:
    """Choose rows of a class, first one of each group."""
    rows = rng.permutation(np.flatnonzero(segments.labels == label))
    _, firsts = np.unique(segments.groups[rows], return_index=True)
    order = np.concatenate([np.sort(firsts), np.setdiff1d(np.arange(len(rows)), firsts)])
    chosen: Int64Array = rows[order[:_COLUMNS]]
    return chosen


def _spectrogram_db(sound: Float32Array) -> Float32Array:
    """Return levels in dB below the loudest, ``(bins, frames)``."""
    import torch

    from dream_core.dsp.stft import stft

    magnitude = stft(torch.from_numpy(sound), 1024, 256).abs().numpy()
    relative = magnitude / max(float(magnitude.max()), 1e-9)
    return np.asarray(20.0 * np.log10(np.maximum(relative, 1e-6)), np.float32)
