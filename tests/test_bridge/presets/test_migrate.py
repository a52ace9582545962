"""Presets of version 1 are read with the defaults of their time."""

from __future__ import annotations

from pathlib import Path

from bridge.presets.load import load_preset
from bridge.presets.migrate import migrate
from bridge.presets.model import VERSION

HEAD = """
format = "reverie/preset"
version = {version}
uuid = "00000000-0000-4000-8000-000000000001"
[meta]
name = "Old"
category = "Texture"
"""
CHAIN = """
[[chain]]
id = "dream"
use = "dream"
params = { depth = 3.0, n_fft = 8192 }
[[chain]]
id = "gain"
use = "gain"
"""


def test_a_dream_of_version_1_keeps_the_defaults_of_its_time(tmp_path: Path) -> None:
    """What it says stays; what it does not say is what it was; other nodes are untouched."""
    path = tmp_path / "old.toml"
    path.write_text(HEAD.format(version=1) + CHAIN)
    old = load_preset(path)
    path.write_text(HEAD.format(version=VERSION) + CHAIN)
    new = load_preset(path)

    params = old.node("dream").params
    assert (params["depth"], params["n_fft"]) == (3.0, 8192)
    assert (params["context"], params["motion"], params["excitation_db"]) == (False, 1.0, -45.0)
    assert old.version == VERSION
    assert old.node("gain") == new.node("gain")
    assert new.node("dream").params == {"depth": 3.0, "n_fft": 8192}


def test_one_that_stands_on_another_takes_that_ones_dreams(tmp_path: Path) -> None:
    """Only what a file says itself is its own: a dream it adds keeps the defaults of its time."""
    path, base = tmp_path / "child.toml", load_preset("factory:undertow")
    path.write_text('extends = "factory:undertow"\n' + HEAD.format(version=1))
    assert load_preset(path).chain == base.chain

    changed = '[[chain]]\nid = "dream"\nuse = "dream"\nparams = { step = 0.5 }\n'
    nodes = changed + '[[chain]]\nid = "more"\nuse = "dream"\n'
    path.write_text('extends = "factory:undertow"\n' + HEAD.format(version=1) + nodes)
    child = load_preset(path)
    assert child.node("dream").params == {**base.node("dream").params, "step": 0.5}
    assert child.node("more").params["motion"] == 1.0


def test_what_is_malformed_is_left_for_the_validation() -> None:
    """Nothing is repaired on the way."""
    for chain in ([1, {"use": "dream", "params": 3}], "none"):
        assert migrate({"version": 1, "chain": chain})["chain"] == chain
    assert migrate({"version": 2, "chain": [{"use": "dream"}]}) == {"version": 2, "chain": [{"use": "dream"}]}
