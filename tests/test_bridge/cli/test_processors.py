"""Every processor can be listed, and every parameter of it shown with what it means."""

from __future__ import annotations

import json
from typing import get_args, get_type_hints

import pytest

from bridge.cli import main
from bridge.processors.catalogue import DREAM_PARAMETERS, processor_parameters, processor_titles
from bridge.processors.dream_parameters import DreamAttributes, DreamKeywords

NAMES = sorted(set(processor_titles()) - {"vst3"})


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_shown_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Unit, range, default and help: as JSON they are those of the catalogue, and no help is missing."""
    assert main(["processors", "show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)

    assert shown["title"] == processor_titles()[name]
    assert set(processor_parameters(name)) <= set(shown["parameters"])
    assert "mix" in shown["parameters"]
    for key, spec in processor_parameters(name).items():
        row = shown["parameters"][key]
        assert (row["unit"], row["minimum"], row["maximum"]) == (spec.unit, spec.minimum, spec.maximum)
        assert row["default"] == spec.default
        assert row["help"]


def test_people_see_units_ranges_and_defaults(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["processors", "show", "reverb"]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("damping"))
    assert {"0..1", "0.5"} <= set(line.split())
    assert main(["processors", "show", "dream"]) == 0
    out = capsys.readouterr().out
    assert "0..100" in next(one for one in out.splitlines() if one.startswith("depth"))
    assert "linked, mid_side" in out


def test_a_processor_that_there_is_not_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["processors", "show", "revreb"]) == 2
    assert "'reverb'" in capsys.readouterr().err


def test_the_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["processors", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == processor_titles()


def test_the_types_of_a_dream_are_those_of_its_parameters() -> None:
    """What type checkers know, what the catalogue says and what a dream takes are one set."""
    keywords, attributes = get_type_hints(DreamKeywords), get_type_hints(DreamAttributes)

    assert set(attributes) == set(DREAM_PARAMETERS)
    assert keywords == {name: kind for name, kind in attributes.items() if name not in ("network", "depth")}
    for name, kind in attributes.items():
        spec = DREAM_PARAMETERS[name]
        assert get_args(kind) == spec.choices if spec.choices else isinstance(spec.default, kind), name
