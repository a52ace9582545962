"""An error can point at the line of a TOML text."""

from __future__ import annotations

import pytest

from bridge.presets.toml_lines import find_line

TEXT = """\
format = "reverie/preset"

[meta]
name = "A = [b] # no comment"   # a comment = here

[[modulators]]
id = "one"
trigger = { on = "grid", every = "1/4" }

[[modulators]]
id = "two"
points = [
  { at = "1:1", value = 0 },
  { at = "2:1", value = 1,
    curve = "hold" },
]
steps = [0, 1,
  2]

[modulators.trigger]
on = "note"

[[routes]]
source = "one"
[level]
"""


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("format",), 1),
        (("meta", "name"), 4),
        (("modulators", 0, "lfo", "id"), 7),
        (("modulators", 0, "lfo", "trigger", "every"), 8),
        (("modulators", 0, "lfo", "rate"), 6),
        (("modulators", 1, "breakpoints", "points", 1, "at"), 14),
        (("modulators", 1, "breakpoints", "points", 1, "curve"), 15),
        (("modulators", 1, "breakpoints", "points", 0, "tension"), 13),
        (("modulators", 1, "steps", "steps", 2), 17),
        (("modulators", 1, "adsr", "trigger", "on"), 21),
        (("routes", 0, "source"), 24),
        (("level", "mode"), 25),
        (("nothing",), None),
    ],
)
def test_places_have_their_lines(location: tuple[str | int, ...], line: int | None) -> None:
    """Tables, keys, inline tables and array elements are found; else what encloses them."""
    assert find_line(TEXT, location) == line
