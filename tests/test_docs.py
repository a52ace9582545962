"""The pages in docs are true: what they name exists, and nothing of DreamSound is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.paths import ROOT

from dream_core import list_updates, parse_objective
from dream_core.updates.registry import build_update

PAGES = sorted((ROOT / "docs").glob("*.md"))
PAGE = (ROOT / "docs" / "dreamsound.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_and_file_a_page_names_is_there(page: Path) -> None:
    """Tests by file and function, fixtures and all; pictures and links by their paths."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`\n]+?)::([^`\n]+)`", text)
    for path, function in named:
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{function}"
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    for link in links:
        assert (page.parent / link).exists(), link
    assert named or links


def test_every_figure_is_shown_and_small() -> None:
    """Pictures that no page shows, or that make a clone slow, are none."""
    shown = {link for page in PAGES for link in re.findall(r"\]\((figures/[^)]+)\)", page.read_text("utf-8"))}
    for figure in (ROOT / "docs" / "figures").glob("*.png"):
        assert f"figures/{figure.name}" in shown
        assert figure.stat().st_size <= 150_000


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
