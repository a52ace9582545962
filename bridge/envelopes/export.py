"""Envelopes for eyes, spreadsheets and sequencers: a drawing, numbers, or controller lanes.

Conventions: a picture and a table tell a parameter in its own unit; a lane tells its travel along what its
routes can reach, and its track's name says from where to where.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from bridge.arrays import Float64Array
from bridge.envelopes.evaluate import Envelopes
from bridge.envelopes.song import Song
from bridge.errors import EnvelopeError
from bridge.files import write_whole
from bridge.midi.notes import read_notes
from bridge.midi.write import WrittenLane

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_envelopes", "envelope_lanes", "sparkline", "write_envelopes_csv"]

_CONTROLLERS = {7: (1, 11, 74, 71, *range(16, 32), *range(75, 96)), 14: (1, 11, *range(16, 32))}
_PICTURES = ("png", "svg", "pdf")
_BLOCKS = "▁▂▃▄▅▆▇█"
_MAX_BAR_LINES = 200
_MAX_BEAT_LINES = 128


def write_envelopes_csv(
    stream: TextIO, envelopes: Envelopes, song: Song, sample_rate: int, step_samples: int
) -> None:
    """Write every moving parameter as numbers, one row an instant.

    Args:
        stream: Where to.
        envelopes: What moves.
        song: Clock and length.
        sample_rate: Hz.
        step_samples: Distance of rows.
    """
    writer = csv.writer(stream, lineterminator="\n")
    names = [f"{node_id}.{name}" for node_id, name in envelopes.moving]
    writer.writerow(["seconds", "bar", "beat", "tick", *names])
    times = _times(song, sample_rate, step_samples)
    bar, beat, tick = song.tempo_map.beats_to_positions(song.tempo_map.seconds_to_beats(times))
    columns = [_values(envelopes, target, song, sample_rate, step_samples) for target in envelopes.moving]
    for row, time_s in enumerate(times.tolist()):
        place = (f"{time_s:.6f}", bar[row], beat[row], f"{tick[row]:.1f}")
        writer.writerow([*place, *(f"{column[row]:.9g}" for column in columns)])


def envelope_lanes(
    envelopes: Envelopes, song: Song, sample_rate: int, step_samples: int, *, bits: int = 7, channel: int = 1
) -> list[WrittenLane]:
    """Turn every moving parameter into a controller lane that a DAW can take back.

    Args:
        envelopes: What moves.
        song: Clock and length.
        sample_rate: Hz.
        step_samples: Distance of the instants looked at.
        bits: 7 or 14.
        channel: 1..16.

    Raises:
        EnvelopeError: More parameters move than there are controllers for.
    """
    controllers = _CONTROLLERS[bits]
    if len(envelopes.moving) > len(controllers):
        raise EnvelopeError(
            f"{len(envelopes.moving)} parameters move; {len(controllers)} lanes fit a channel"
        )
    times = _times(song, sample_rate, step_samples)
    reaches = [envelopes.reach(*target) for target in envelopes.moving]
    return [
        WrittenLane(
            name=f"{node_id}.{name} {low:g}..{high:g}",
            times_s=times,
            values=envelopes.travel(
                node_id, name, _values(envelopes, (node_id, name), song, sample_rate, step_samples)
            ),
            controller=controller,
            channel=channel,
            bits=bits,
        )
        for (node_id, name), (low, high), controller in zip(
            envelopes.moving, reaches, controllers, strict=False
        )
    ]


def draw_envelopes(path: Path | str, envelopes: Envelopes, song: Song, sample_rate: int, title: str) -> None:
    """Draw every moving parameter over bars and beats, with markers and notes, as a PNG, SVG or PDF.

    Raises:
        EnvelopeError: Nothing moves, matplotlib is not installed, or the file is to be something else.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _PICTURES:
        raise EnvelopeError(f"{path}: pictures are drawn as {', '.join(f'.{one}' for one in _PICTURES)}")
    if not envelopes.moving:
        raise EnvelopeError("nothing moves in this preset; there is no envelope to draw")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise EnvelopeError(
            "drawing needs matplotlib; install reverie-audio[plot], or ask for --csv"
        ) from None
    n_rows = len(envelopes.moving)
    notes = None if song.midi is None else read_notes(song.midi)
    has_notes = notes is not None and len(notes) > 0
    figure = Figure(figsize=(12, 1.2 + 1.8 * (n_rows + has_notes)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows + has_notes, 1, sharex=True, squeeze=False)[:, 0]
    step_samples = max(int(song.length_s * sample_rate / 6000), 1)
    times = _times(song, sample_rate, step_samples)
    for axis, (node_id, name) in zip(axes, envelopes.moving, strict=False):
        axis.plot(times, _values(envelopes, (node_id, name), song, sample_rate, step_samples), linewidth=1.2)
        axis.set_ylabel(f"{node_id}.{name}")
    if notes is not None and has_notes:
        start = song.tempo_map.ticks_to_seconds(notes.start_tick)
        stop = song.tempo_map.ticks_to_seconds(notes.end_tick)
        axes[-1].hlines(notes.note, start, stop, linewidth=2.0, color="tab:gray")
        axes[-1].set_ylabel("notes")
    for row, axis in enumerate(axes):
        _draw_clock(axis, song, is_top=row == 0)
        axis.set_xlim(0.0, song.length_s)
    axes[-1].set_xlabel("seconds")
    figure.suptitle(title)
    with write_whole(path) as part:
        figure.savefig(part, format=kind)


def sparkline(
    envelopes: Envelopes, node_id: str, name: str, song: Song, sample_rate: int, width: int = 64
) -> str:
    """Draw a parameter's travel as one line of text.

    Each character shows the highest value of its part of the song.
    """
    n_samples = max(int(song.length_s * sample_rate), 1)
    step = max(n_samples // (width * 32), 1)
    values = envelopes.travel(node_id, name, envelopes.values(node_id, name, 0, n_samples, step))
    highest = [float(part.max()) for part in np.array_split(values, min(width, len(values)))]
    return "".join(_BLOCKS[min(int(value * len(_BLOCKS)), len(_BLOCKS) - 1)] for value in highest)


def _draw_clock(axis: Axes, song: Song, *, is_top: bool) -> None:
    """Draw bar lines, beats where there is room, and markers with their names."""
    clock = song.tempo_map
    first, last = clock.seconds_to_beats([0.0, song.length_s]).tolist()
    if last - first <= _MAX_BEAT_LINES:
        for time_s in clock.beats_to_seconds(np.arange(np.ceil(first), last)).tolist():
            axis.axvline(time_s, color="0.9", linewidth=0.6, linestyle=":", zorder=0)
    first, last = clock.beats_to_bars(clock.seconds_to_beats([0.0, song.length_s])).tolist()
    stride = max(int((last - first) // _MAX_BAR_LINES) + 1, 1)
    bars = np.arange(np.ceil(first), last, stride)
    for bar, time_s in zip(
        bars.tolist(), clock.beats_to_seconds(clock.bars_to_beats(bars)).tolist(), strict=True
    ):
        is_fourth = bar % (4 * stride) == 0
        axis.axvline(time_s, color="0.75" if is_fourth else "0.9", linewidth=0.8, zorder=0)
        if is_top and is_fourth:
            axis.annotate(
                f"{int(bar) + clock.first_bar}", (time_s, 1.0), xycoords=("data", "axes fraction"), fontsize=7
            )
    for marker in clock.markers:
        if not 0.0 <= marker.time_s < song.length_s:
            continue
        axis.axvline(marker.time_s, color="tab:red", linewidth=0.8, linestyle=":")
        if is_top:
            where: Any = ("data", "axes fraction")
            axis.annotate(marker.name, (marker.time_s, 0.92), xycoords=where, fontsize=8, color="tab:red")


def _times(song: Song, sample_rate: int, step_samples: int) -> Float64Array:
    return np.arange(0, max(int(song.length_s * sample_rate), 1), step_samples) / sample_rate


def _values(
    envelopes: Envelopes, target: tuple[str, str], song: Song, sample_rate: int, step: int
) -> Float64Array:
    return envelopes.values(*target, 0, max(int(song.length_s * sample_rate), 1), step)
