"""Keyswitches of a preset's MIDI map."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.session import write_preset

from bridge.envelopes.map_keys import Keyswitch
from bridge.errors import PresetError
from bridge.presets.keyswitches import OWN, played_params, switched_keys
from bridge.presets.load import load_preset
from bridge.presets.model import Preset, node_parameters, parse_preset
from bridge.presets.overrides import apply_settings
from dream_core.objectives.parse import parse_objective


def preset(folder: Path, notes: object, **params: object) -> Preset:
    data = load_preset(write_preset(folder)).to_dict()
    data["chain"][0]["params"] = {"network": "timbre", **params}
    data["midi_map"] = {"cc1": "dream.depth", "notes": notes}
    return parse_preset(data, "test")


def test_each_key_weighs_its_own_objective(tmp_path: Path) -> None:
    """All terms of it, factors and signs kept; the lowest key comes first."""
    made = preset(tmp_path, {"D1@16": "2*class:flute - layer:block2", "C1": "class:brass"})
    (node,) = made.chain

    assert switched_keys(made, node) == (Keyswitch(36), Keyswitch(38, 16))
    objective = parse_objective(str(played_params(made, node)["objective"]))
    assert objective.text == "{key_36}*class:brass + 2*{key_38_16}*class:flute - {key_38_16}*layer:block2"


def test_a_dreams_own_objective_holds_before_any_key(tmp_path: Path) -> None:
    """With a weight of its own, beside those it has."""
    made = preset(tmp_path, {"C1": "-class:brass"}, objective="{air}*class:vocal", air=0.5)
    (node,) = made.chain

    assert switched_keys(made, node) == (OWN, Keyswitch(36))
    objective = parse_objective(str(played_params(made, node)["objective"]))
    assert objective.text == "{key_none}*{air}*class:vocal - {key_36}*class:brass"


def test_a_preset_with_keyswitches_is_written_back_as_it_was(tmp_path: Path) -> None:
    """Nothing of the weights is kept in it."""
    made = preset(tmp_path, {"C1": "class:brass"})

    assert parse_preset(made.to_dict(), "again") == made
    assert made.to_dict()["midi_map"] == {"cc1": "dream.depth", "notes": {"C1": "class:brass"}}
    assert "objective" not in made.chain[0].params


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"H1": "class:brass"}, "'H1' is not a note"),
        ({"128": "class:brass"}, "'128' is not a note; names from 'C-2' to 'G8'"),
        ({"G#8": "class:brass"}, "'G#8' is not a note"),
        ({"C1": "class:brass", "36": "class:flute"}, "key 36 has two names"),
        ({"C1": "class brass"}, "notes.C1: objective 'class brass': cannot read"),
        ({"C1@17": "class:brass"}, "'17' is not a channel"),
        ("C1", "is not a table"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, notes: object, said: str) -> None:
    """A key that is none, twice, out of 0..127, or an objective that cannot be read."""
    with pytest.raises(PresetError) as caught:
        preset(tmp_path, notes)

    assert said in str(caught.value)


def test_only_notes_are_a_table(tmp_path: Path) -> None:
    """Other sources have one target."""
    data = load_preset(write_preset(tmp_path)).to_dict()
    data["midi_map"] = {"cc1": {"C1": "class:brass"}}
    with pytest.raises(PresetError, match="cc1 is a table; only notes is one"):
        parse_preset(data, "test")


def test_weights_of_a_keys_objective_are_parameters(tmp_path: Path) -> None:
    """They can be set, moved, and changed by `--set`; a name that keyswitches have is refused."""
    made = preset(tmp_path, {"C1": "{air}*class:brass"}, air=0.5)

    assert node_parameters(made.chain[0], made.midi_map)["air"].maximum == 1.0
    assert apply_settings(made, ["dream.air=0.25"]).chain[0].params["air"] == 0.25
    with pytest.raises(PresetError, match="'key_36' where there are keyswitches"):
        preset(tmp_path, {"C1": "class:brass"}, objective="{key_36}*class:flute", key_36=0.5)
