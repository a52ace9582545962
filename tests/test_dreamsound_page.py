"""docs/dreamsound.md is true: what it names exists, and nothing of DreamSound is left out."""

from __future__ import annotations

import re

from helpers.paths import ROOT

from dream_core import list_updates, parse_objective
from dream_core.updates.registry import build_update

PAGE = (ROOT / "docs" / "dreamsound.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)


def test_every_test_it_names_is_there() -> None:
    """By file and function, fixtures and all."""
    named = [text.partition("::") for text in QUOTED if text.startswith("tests/") and "::" in text]
    assert len(named) > 10
    for path, _, function in named:
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{function}"


def test_every_update_of_dreamsound_is_on_it() -> None:
    """All but those that are not DreamSound's."""
    missing = {name for name in list_updates() if f"`{name}`" not in PAGE}
    assert missing <= {"mask", "harmonic", "mel", "hear", "hear_inverted", "picture"}


def test_what_is_also_written_is_the_same_update() -> None:
    """A name and the words beside it in the first table are one update."""
    rows = re.findall(r"\| `(\w+)` \| `((?:cut|expand):[a-z_:]+)` \|", PAGE)
    assert len(rows) == 8
    for name, words in rows:
        assert build_update(words) == build_update(name), name


def test_every_objective_it_names_can_be_read() -> None:
    """As it stands there."""
    kinds = ("probability:", "channel:", "class:of", "peak:c", "axis:")
    named = [text for text in QUOTED if text.startswith(kinds)]
    assert len(named) >= 6
    for text in named:
        parse_objective(text)
