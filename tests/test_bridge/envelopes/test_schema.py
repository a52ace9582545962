"""What a musician writes is checked to the last key, and read back as it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.envelopes import envelopes
from pydantic import TypeAdapter, ValidationError

from bridge.envelopes.map_keys import MidiMap
from bridge.envelopes.schema import Modulator, Route, parse_notes
from dream_core.names import parse_key

MODULATOR: TypeAdapter[Any] = TypeAdapter(Modulator)
ROUTE: TypeAdapter[Any] = TypeAdapter(Route)

GOOD: list[dict[str, Any]] = [
    {
        "type": "lfo",
        "id": "a",
        "rate": "1/8T",
        "shape": "perlin",
        "mode": "trigger",
        "trigger": {"on": "start"},
    },
    {"type": "adsr", "id": "b", "attack": "1/16", "trigger": {"on": "note", "notes": "C1..D1, F#1"}},
    {"type": "breakpoints", "id": "c", "points": [{"at": "@Pre-Chorus+2 bars", "value": 1}]},
    {"type": "steps", "id": "d", "steps": [0, 1, 0.5], "direction": "random"},
    {"type": "follower", "id": "e", "source": "sidechain", "stem": "kick", "detector": "lufs_m"},
    {"type": "hearing", "id": "i", "network": "musicnn", "class": "vocal", "stem": "vox", "floor": 0.2},
    {"type": "hearing", "id": "j", "layer": "block3", "channel": 12, "ceiling": 2.5, "patch_hop": 5},
    {"type": "midi", "id": "f", "event": "pitch_bend", "bend_range": 12},
    {"type": "macro", "id": "g", "macro": "depth"},
    {"type": "combine", "id": "h", "op": "xfade", "inputs": ["a", "b", "c"]},
]

BAD: list[tuple[dict[str, Any], str]] = [
    ({"type": "lfo", "id": "a", "rate": "1/8Q"}, "'1/8T'"),
    ({"type": "lfo", "id": "a", "rate": "0 Hz"}, "more than 0"),
    ({"type": "lfo", "id": "a", "shape": "sinus"}, "'sine'"),
    ({"type": "lfo", "id": "a", "swing": 80}, "75"),
    ({"type": "lfo", "id": "a b"}, "pattern"),
    ({"type": "lfo", "id": "a", "trigger": {"on": "grid"}}, "every"),
    ({"type": "adsr", "id": "a", "attak": "5 ms"}, "Extra inputs"),
    ({"type": "adsr", "id": "a", "trigger": {"notes": "H1"}}, "C-2"),
    ({"type": "adsr", "id": "a", "trigger": {"notes": "D1..C1"}}, "downwards"),
    ({"type": "breakpoints", "id": "a", "points": []}, "at least 1"),
    ({"type": "breakpoints", "id": "a", "points": [{"at": "bar 9", "value": 1}]}, "'9:1'"),
    ({"type": "breakpoints", "id": "a", "points": [{"at": "9:1", "value": 2}]}, "less than or equal to 1"),
    ({"type": "follower", "id": "a", "stem": "kick"}, "sidechain"),
    ({"type": "hearing", "id": "a"}, "say what is heard: class = 'vocal', or layer"),
    ({"type": "hearing", "id": "a", "class": "vocal", "layer": "block3", "channel": 1}, "say what is heard"),
    ({"type": "hearing", "id": "a", "layer": "block3"}, "layer and channel go together"),
    ({"type": "hearing", "id": "a", "class": "vocal", "channel": 3}, "layer and channel go together"),
    ({"type": "hearing", "id": "a", "class": "vocal", "floor": 0.5, "ceiling": 0.5}, "is not below ceiling"),
    ({"type": "hearing", "id": "a", "class": "vocal", "ceiling": float("inf")}, "finite"),
    ({"type": "hearing", "id": "a", "class_name": "vocal"}, "Extra inputs"),
    ({"type": "midi", "id": "a", "event": "cc"}, r"number = 0\.\.127"),
    ({"type": "midi", "id": "a", "event": "cc14", "number": 40}, r"0\.\.31"),
    ({"type": "combine", "id": "a", "op": "xfade", "inputs": ["b"]}, "three inputs"),
    ({"type": "wobble", "id": "a"}, "'lfo'"),
]


@pytest.mark.parametrize("data", GOOD, ids=[data["id"] for data in GOOD])
def test_what_is_written_is_read_back(data: dict[str, Any]) -> None:
    """A modulator survives JSON with every word as it was written."""
    modulator = MODULATOR.validate_python(data)
    dumped = json.loads(MODULATOR.dump_json(modulator))

    assert MODULATOR.validate_python(dumped) == modulator
    assert all(dumped[key] == value for key, value in data.items() if not isinstance(value, (dict, list)))


@pytest.mark.parametrize(("data", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_what_is_wrong_is_refused_at_its_place(data: dict[str, Any], reason: str) -> None:
    """A wrong key, word or range is refused with what is accepted."""
    with pytest.raises(ValidationError, match=reason):
        MODULATOR.validate_python(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"source": "a", "target": "depth"}, "pattern"),
        ({"source": "a", "target": "dream.depth", "amount": 2}, "less than or equal to 1"),
        ({"source": "a", "target": "dream.depth", "min": 3, "max": 2}, "invert"),
        ({"source": "a", "target": "dream.depth", "quantize": 0}, "above 0"),
        ({"source": "a", "target": "dream.depth", "quantize": float("nan")}, "above 0"),
        ({"source": "a", "target": "dream.depth", "quantize": [float("nan"), 1.0]}, "above 0"),
        ({"source": "a", "target": "dream.depth", "op": "set"}, "'replace'"),
    ],
)
def test_routes_that_make_no_sense_are_refused(data: dict[str, Any], reason: str) -> None:
    """A route needs a target of a node and a parameter, and numbers that can be meant."""
    with pytest.raises(ValidationError, match=reason):
        ROUTE.validate_python(data)


def test_a_midi_map_names_sources_and_targets() -> None:
    """Controllers, bends and pressures, with a channel if wanted, go to macros or parameters."""
    adapter: TypeAdapter[Any] = TypeAdapter(MidiMap)

    assert adapter.validate_python(
        {"cc1": "macro.depth", "cc74@3": "filter.cutoff_hz", "pressure": "macro.depth"}
    )
    for key in ("modwheel", "cc14_40", "cc200", "cc_1", "cc141"):
        with pytest.raises(ValidationError, match=f"'{key}'"):
            adapter.validate_python({key: "macro.depth"})
    with pytest.raises(ValidationError, match=r"node\.param"):
        adapter.validate_python({"cc1": "depth"})


def test_the_schema_knows_every_modulator() -> None:
    """The JSON Schema names all nine kinds and refuses unknown keys in each."""
    schema = MODULATOR.json_schema()

    assert set(schema["discriminator"]["mapping"]) == {data["type"] for data in GOOD}
    assert all(part.get("additionalProperties") is False for part in schema["$defs"].values())


def test_notes_have_the_names_of_keyboards() -> None:
    """C3 is middle C, so C1 is the kick of General MIDI; numbers do too."""
    assert [parse_key(name) for name in ("C-2", "C1", "C3", "Bb3", "G8", "38")] == [0, 36, 60, 70, 127, 38]
    assert parse_notes("36, C#1..D1") == {36, 37, 38}
    with pytest.raises(ValueError, match="not a note"):
        parse_key("G#8")


def test_ids_must_differ() -> None:
    """Two modulators of one name are an error, not a race."""
    from bridge.errors import EnvelopeError

    with pytest.raises(EnvelopeError, match="'a' is used twice"):
        envelopes([{"type": "lfo", "id": "a"}, {"type": "lfo", "id": "a"}])
