"""Files far larger than anything honest are refused before they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import PluginError, PresetError
from bridge.hosts.plugin_cache import PluginCache, ScannedBundle
from bridge.hosts.vstpreset import build_vstpreset, parse_vstpreset, read_state
from bridge.presets.load import load_preset
from dream_core.errors import WeightsError
from dream_core.networks.weights import check_file


def grow(path: Path, n_bytes: int) -> Path:
    """Make a file longer without taking room for it."""
    with path.open("ab") as file:
        file.truncate(n_bytes)
    return path


def test_a_cache_larger_than_any_is_made_anew(tmp_path: Path) -> None:
    """It counts as empty; spaces after it would be read otherwise."""
    path = tmp_path / "plugins.json"
    PluginCache(path, {"/a.vst3": ScannedBundle(path="/a.vst3", blocked="it hung")}).write()
    assert PluginCache.read(path).bundles
    path.write_text(path.read_text() + " " * (33 << 20))
    assert not PluginCache.read(path).bundles


def test_a_state_has_few_chunks_and_is_no_larger_than_states_are(tmp_path: Path) -> None:
    """A list of more chunks than any plugin writes is damage; a file beyond 64 MiB is not read."""
    many = {f"C{index:03d}": b"x" for index in range(200)}
    with pytest.raises(PluginError, match="no chunk list"):
        parse_vstpreset(build_vstpreset("0" * 32, {"Comp": b"abc", **many}))
    path = tmp_path / "large.vstpreset"
    path.write_bytes(build_vstpreset("0" * 32, {"Comp": b"abc"}))
    with pytest.raises(PluginError, match=r"is larger than the 67\.1"):
        read_state(grow(path, (64 << 20) + 1))


def test_presets_and_weights_have_a_largest_size(tmp_path: Path) -> None:
    """8 MiB and 2 GiB."""
    with pytest.raises(PresetError, match=r"is larger than the 8\.38861 MB"):
        load_preset(grow(tmp_path / "a.toml", (8 << 20) + 1))
    with pytest.raises(WeightsError, match="larger than 2048 MiB"):
        check_file(grow(tmp_path / "a.safetensors", (2 << 30) + 1))
