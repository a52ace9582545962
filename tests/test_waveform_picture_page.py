"""docs/waveform-picture.md is true: the tests, settings, presets and figures it names are there."""

from __future__ import annotations

import re

from helpers.paths import ROOT

from bridge import load_preset
from dream_core import DreamSettings

DOCS = ROOT / "docs"
PAGE = (DOCS / "waveform-picture.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)


def test_every_test_it_names_is_there() -> None:
    named = [text.partition("::") for text in QUOTED if text.startswith("tests/") and "::" in text]
    assert len(named) > 10
    for path, _, function in named:
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{function}"


def test_every_setting_it_names_is_accepted() -> None:
    named = re.findall(r'`(row|planes|order|window_s|picture_height|step) = ("[^"]+"|[\d.]+)`', PAGE)
    assert len(named) >= 10
    for name, value in named:
        DreamSettings(
            **{name: value.strip('"') if '"' in value else type(getattr(DreamSettings(), name))(value)}
        )


def test_its_presets_say_what_it_says() -> None:
    published = load_preset("pixel-sleep").chain[0].params
    assert {"row": "500", "planes": "chunks", "window_s": 6.4375, "step": 4.0}.items() <= published.items()
    assert load_preset("sixteenth-rows").chain[0].params["row"] == "1/16"


def test_every_figure_is_there_and_small() -> None:
    figures = re.findall(r"\]\((figures/\w+\.png)\)", PAGE)
    assert sorted(f"figures/{path.name}" for path in (DOCS / "figures").glob("*.png")) == sorted(figures)
    for figure in figures:
        assert (DOCS / figure).stat().st_size <= 150_000
        assert (DOCS / figure).read_bytes().startswith(b"\x89PNG")
