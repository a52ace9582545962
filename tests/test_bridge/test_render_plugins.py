"""Renders with hosted plugins: faults stay in their stem, what is missing is said, what played is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.session import write_preset, write_stem
from helpers.vst3 import EFFECT, PAIR

from bridge import build_plan, load_preset, render_plan
from bridge.errors import PluginError, PresetError

needs_plugins = pytest.mark.skipif(
    not PAIR.exists(), reason="the conformance plugins are not built; run: bash tests/plugins/build.sh"
)

NODE = """
[[chain]]
id = "fx"
use = "vst3"
plugin = "{plugin}"
params = {{ {params} }}
{more}

[level]
mode = "keep"
"""


def preset_with(folder: Path, plugin: Path | str, params: str = "", more: str = "") -> Path:
    return write_preset(folder, depth=0.0, more=NODE.format(plugin=plugin, params=params, more=more))


@needs_plugins
def test_a_plugin_plays_and_is_recorded(tmp_path: Path) -> None:
    """A stem through a hosted gain is that gain, aligned, and the manifest names the plugin."""
    stem = write_stem(tmp_path / "s.wav", subtype="FLOAT", n_channels=2)
    preset = preset_with(tmp_path, EFFECT, "gain_db = -6.0")
    report = render_plan(build_plan([stem], preset, out_dir=tmp_path / "out"))

    source, target = soundfile.read(stem)[0], soundfile.read(report.stems[0].target)[0]
    np.testing.assert_allclose(target, source * 10 ** (-6 / 20), atol=1e-6)
    assert report.stems[0].record is not None
    assert report.stems[0].record.plugins["fx"]["sha256"]


@needs_plugins
def test_a_crash_fails_its_stem_alone(tmp_path: Path) -> None:
    """The short stem ends before the crash and is complete; the long one names plugin and position."""
    write_stem(tmp_path / "stems" / "long.wav", seconds=3.0, n_channels=2)
    write_stem(tmp_path / "stems" / "short.wav", seconds=0.5, n_channels=2)
    preset = preset_with(tmp_path, EFFECT, 'fault = "Crash", fault_at_samples = 30000.0')
    report = render_plan(build_plan([tmp_path / "stems"], preset, out_dir=tmp_path / "out"))

    assert [(s.name, s.status) for s in report.stems] == [("long", "failed"), ("short", "done")]
    assert "crash" in report.failed[0].error
    assert "sample" in report.failed[0].error


@needs_plugins
def test_a_crash_can_be_bypassed_and_is_told(tmp_path: Path) -> None:
    """With on_fault = bypass the stem is whole, and the report says from where it is dry."""
    stem = write_stem(tmp_path / "s.wav", seconds=2.0, n_channels=2)
    params = 'fault = "Crash", fault_at_samples = 20000.0'
    preset = preset_with(tmp_path, EFFECT, params, 'on_fault = "bypass"')
    report = render_plan(build_plan([stem], preset, out_dir=tmp_path / "out"))

    assert report.stems[0].status == "done"
    assert any("bypassed from there on" in warning for warning in report.stems[0].warnings)


def test_a_missing_plugin_fails_or_is_bypassed_as_asked(tmp_path: Path) -> None:
    """What is not installed is an error with the way out, or a warning; never a silent dry render."""
    stem = write_stem(tmp_path / "s.wav")
    preset = preset_with(tmp_path, "Nobody Has This")
    with pytest.raises(PluginError, match="--on-missing bypass"):
        build_plan([stem], preset, out_dir=tmp_path / "out")
    plan = build_plan([stem], preset, out_dir=tmp_path / "out", on_missing="bypass")
    report = render_plan(plan)

    assert any("Nobody Has This" in warning for warning in plan.warnings)
    assert any("bypassed" in warning for warning in report.stems[0].warnings)


def test_a_state_file_beside_the_preset_travels_with_it(tmp_path: Path) -> None:
    """A .vstpreset that a node names is read into the preset; one that is not there is said."""
    (tmp_path / "sound.vstpreset").write_bytes(b"VST3 state")
    preset = preset_with(tmp_path, "Any", more='state = "sound.vstpreset"')

    assert load_preset(preset).node("fx").state == "VlNUMyBzdGF0ZQ=="
    (tmp_path / "sound.vstpreset").unlink()
    with pytest.raises(PresetError, match=r"sound\.vstpreset"):
        load_preset(preset)


@needs_plugins
def test_a_plugin_that_cannot_hear_the_tempo_is_told_of_in_the_report(tmp_path: Path) -> None:
    """A plugin that wants the song's tempo under a host without one is a warning of its stem."""
    stem = write_stem(tmp_path / "s.wav", n_channels=2)
    preset = preset_with(tmp_path, EFFECT, "gain_db = -6.0", 'backend = "pedalboard"')
    report = render_plan(build_plan([stem], preset, out_dir=tmp_path / "out"))

    assert [True for warning in report.stems[0].warnings if "120 BPM" in warning] == [True]
