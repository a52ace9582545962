"""Settings of the command line: what fits is applied, what does not says where it belongs."""

from __future__ import annotations

import pytest

from bridge.errors import PresetError
from bridge.presets.load import load_preset
from bridge.presets.overrides import apply_settings
from dream_core.objectives.text import weight_names


@pytest.mark.parametrize(("setting", "says"), [
    ("depth=2", r"which 'depth'\? Did you mean dream\.depth or width\.depth or macro\.depth\?"),
    ("cutoff_frequency_hz=40", r"Did you mean rumble\.cutoff_frequency_hz\?"),
    ("length=2 bars", r"Did you mean swell\.length\?"),
    ("common_trim=true", r"Did you mean level\.common_trim\?"),
    ("dream=3", r"'dream' has several settings, say which: dream\.NAME=value; accepted: .*'depth'"),
    ("swell=3", r"swell\.NAME=value; accepted: .*'length'"),
    ("macro=3", r"macro\.NAME=value; accepted: 'depth'"),
    ("tail=3", r"tail\.NAME=value; accepted: 'mode'"),
    ("drem=3", r"'drem' is no setting; write node\.param=value; did you mean 'dream'\?"),
    ("drem.depth=3", r"no node 'drem'; did you mean 'dream'\?"),
    ("macro.dept=3", r"no macro 'dept'; did you mean 'depth'\?"),
    ("dream.enabled=no", r"dream\.enabled is true or false"),
    ("dream.objective=\udce9", r"half a character"),
    ("dream.objective=a\nb", r"control character"),
    ("=3", r"write node\.param=value"),
    ("", r"write node\.param=value, for example"),
    ("swell.length=often", r"^Lucid Bloom with --set 'swell\.length=often': .*often"),
])  # fmt: skip
def test_what_fits_nothing_says_where_it_belongs(setting: str, says: str) -> None:
    """With the full names of what bears the name, or with those that are near."""
    with pytest.raises(PresetError, match=says):
        apply_settings(load_preset("factory:lucid-bloom"), [setting])


@pytest.mark.parametrize(("value", "is_on"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_node_is_switched(value: str, is_on: bool) -> None:
    """By true and false, or by a number."""
    preset = apply_settings(load_preset("factory:lucid-bloom"), [f"width.enabled={value}"])
    assert preset.chain[-1].enabled is is_on


@pytest.mark.parametrize("is_first", [True, False])
def test_an_objective_brings_its_weights(is_first: bool) -> None:
    """They can be set beside it, in any order; a name that is taken is told."""
    settings = ["dream.objective={air}*class:flute", "dream.air=0.5"]
    preset = apply_settings(load_preset("factory:lucid-bloom"), settings if is_first else settings[::-1])

    assert preset.nodes_of("dream")[0].params["air"] == 0.5
    with pytest.raises(PresetError, match="a weight cannot be called 'depth'"):
        apply_settings(preset, ["dream.objective={depth}*class:flute", "dream.depth=2"])


def test_another_objective_takes_leave_of_the_weights_of_the_one_before() -> None:
    """Their values, routes and controllers go; a weight that both have stays as it was."""
    preset = load_preset("factory:vowel-pad")
    (dream,) = preset.nodes_of("dream")
    names = weight_names(str(dream.params["objective"]))
    bare = apply_settings(preset, ["dream.objective=class:flute"])
    kept = apply_settings(preset, [f"dream.objective={{{names[0]}}}*class:flute"])

    targets = {f"dream.{name}" for name in names}
    assert targets & {route.target for route in preset.routes}
    assert not targets & ({route.target for route in bare.routes} | set(bare.midi_map.values()))
    assert not set(names) & bare.nodes_of("dream")[0].params.keys()
    assert [r for r in kept.routes if r.target in targets] == [
        r for r in preset.routes if r.target == f"dream.{names[0]}"
    ]
