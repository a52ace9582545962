"""docs/waveform-picture.md is true: the settings and presets it names are there."""

from __future__ import annotations

import re

from helpers.paths import ROOT

from bridge import load_preset
from dream_core import DreamSettings

PAGE = (ROOT / "docs" / "waveform-picture.md").read_text(encoding="utf-8")


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
