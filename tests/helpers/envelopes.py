"""Envelopes for tests: a chain with a dream and a filter, built from plain data as a preset holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from bridge.clock.settings import ClockSettings
from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.assemble import build_envelopes
from bridge.envelopes.evaluate import Envelopes
from bridge.envelopes.schema import Macro, Modulator, Route
from bridge.envelopes.song import Song
from bridge.midi.file import parse_midi
from bridge.midi.song_clock import build_tempo_map
from bridge.parameters import ParamSpec

SAMPLE_RATE = 48_000
TARGETS = {
    "dream": {
        "depth": ParamSpec(name="depth", default=0.0, minimum=0.0, maximum=8.0, automation="sample"),
        "mode": ParamSpec(name="mode", default="add", choices=("add", "mask")),
        "octaves": ParamSpec(name="octaves", default=1.0, minimum=1.0, maximum=4.0),
    },
    "filter": {
        "cutoff_hz": ParamSpec(
            name="cutoff_hz",
            default=632.4555320336758,  # halfway on a logarithmic scale
            minimum=20.0,
            maximum=20_000.0,
            unit="Hz",
            curve="log",
            automation="block",
        ),
        "gain_db": ParamSpec(name="gain_db", default=0.0, automation="block"),
    },
}


def song(data: bytes | None = None, bpm: float = 120.0, length_s: float = 20.0, **options: Any) -> Song:
    """Build a song from MIDI bytes, or of one tempo."""
    if data is None:
        return Song(tempo_map=TempoMap.constant(bpm, **options), midi=None, length_s=length_s)
    midi = parse_midi(data, "song.mid")
    return Song(tempo_map=build_tempo_map(midi, ClockSettings(**options)), midi=midi, length_s=length_s)


def envelopes(
    modulators: Sequence[Mapping[str, Any]] = (),
    routes: Sequence[Mapping[str, Any]] = (),
    macros: Sequence[Mapping[str, Any]] = (),
    of: Song | None = None,
    **options: Any,
) -> Envelopes:
    """Build envelopes from plain data."""
    return build_envelopes(
        modulators=TypeAdapter(tuple[Modulator, ...]).validate_python(list(modulators)),
        routes=TypeAdapter(tuple[Route, ...]).validate_python(list(routes)),
        macros=TypeAdapter(tuple[Macro, ...]).validate_python(list(macros)),
        targets=TARGETS,
        song=of or song(),
        sample_rate=SAMPLE_RATE,
        **options,
    )


def source(
    modulator: Mapping[str, Any], n_samples: int, of: Song | None = None, **options: Any
) -> npt.NDArray[Any]:
    """Return the values of one modulator from sample 0 on."""
    built = envelopes([{"id": "it", **modulator}], of=of, **options)
    return built.source_values("it", 0, n_samples)


def edges(values: npt.NDArray[Any], above: float = 0.5) -> npt.NDArray[np.intp]:
    """Return the samples at which values rise above a level."""
    is_up = values > above
    return np.flatnonzero(is_up[1:] & ~is_up[:-1]) + 1
