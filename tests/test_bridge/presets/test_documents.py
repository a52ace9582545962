"""TOML and JSON that are damaged or meant to harm end in one line; names of any script stay apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import PlanError, PresetError
from bridge.plan.job_list import read_jobs
from bridge.presets.load import load_preset, read_preset
from bridge.presets.model import Preset

WRONG = [
    ("a = " + "[" * 5000, "nested deeper"),
    ("a = " + "[" * 40 + "]" * 40, "nested deeper"),
    ("a = " + "9" * 5000, "not valid TOML"),
    ("a = 99999999999999999999", "more than 64 bits"),
    ('a = "x\\u0000y"', "holds a NUL"),
    ("[" + ".".join("a" * 100) + "]\nb = 1", "far more than"),
    ("a = 1\n" * 400_000, "far more than"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_damage_is_said_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    """Presets and job lists alike name the file."""
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    for read, error in ((read_preset, PresetError), (read_jobs, PlanError)):
        with pytest.raises(error, match=says) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_half_a_character_in_json_is_refused(tmp_path: Path) -> None:
    """It could not be written again."""
    path = tmp_path / "a.json"
    path.write_text('{"meta": {"name": "\\ud800"}}', encoding="utf-8")
    with pytest.raises(PresetError, match="half a character"):
        read_preset(path)


def _slug(name: str) -> str:
    preset = load_preset("factory:null-reference")
    return Preset.model_validate(
        {**preset.to_dict(), "meta": {**preset.meta.model_dump(), "name": name}}
    ).slug


def test_names_of_any_script_have_slugs_of_their_own() -> None:
    """Letters of all scripts stay; where signs are lost, names still differ."""
    assert [_slug(name) for name in ("夢", "Мечта", "Été", "E\u0301te\u0301")] == [
        "夢",
        "мечта",
        "été",
        "été",
    ]
    assert _slug("Four-Floor Hypnosis") == "four-floor-hypnosis"
    assert len({_slug(name) for name in ("C", "C#", "C++", "!!!", "???", "C (soft)", "C soft")}) == 7
