"""`reverie plugins` prints what the library finds, as a table or as JSON."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from helpers.session import write_midi
from helpers.vst3 import EFFECT, INSTRUMENT, misbehaving_copy, needs_plugins
from typer.testing import CliRunner

from bridge.cli.plugins import app
from bridge.errors import MidiFileError, OutputError, PluginError, ProcessorError
from bridge.hosts.plugin_cache import PluginCache, PluginEntry, ScannedBundle
from bridge.processors.vst3 import VST3

pytestmark = needs_plugins


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "plugins.json"))


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result.stdout


def test_scan_list_and_blocked(tmp_path: Path) -> None:
    """A scan is listed by name, and what is blocked with its reason."""
    bad = misbehaving_copy(tmp_path, "Bad", load="crash")
    assert "1 plugins in 2 bundles, 1 blocked" in run("scan", str(EFFECT), str(bad))
    assert "Conformance Effect" in run("list")
    assert json.loads(run("list", "--json"))[0]["n_parameters"] == 20
    assert "crash while it was loaded" in run("list", "--blocked")
    assert json.loads(run("list", "--blocked", "--json"))[0]["path"] == str(bad)
    assert json.loads(run("list", "--json"))[0]["backend"] == "pedalboard"


def test_block_and_unblock(tmp_path: Path) -> None:
    """A plugin is blocked by its name or its bundle's path, listed as such, and free again when told so."""
    entry = PluginEntry(
        name="Odd One",
        vendor="V",
        version="1",
        uid="",
        category="Fx",
        is_instrument=False,
        n_parameters=None,
        backend="minihost",
    )
    bundle = ScannedBundle(path="/p/Odd.vst3", plugins=(entry,))
    PluginCache(tmp_path / "plugins.json", {bundle.path: bundle}).write()
    assert "minihost" in run("list")
    with pytest.raises(PluginError, match="did you mean 'Odd One'"):
        run("block", "Od One")
    assert "Odd One: blocked" in run("block", "odd one")
    assert json.loads(run("list", "--json")) == []
    assert json.loads(run("list", "--blocked", "--json")) == [
        {"path": "", "plugin": "Odd One", "reason": "by you; reverie plugins unblock 'Odd One'"}
    ]
    with pytest.raises(PluginError, match="you have blocked this plugin"):
        run("show", "Odd One")
    assert "no longer blocked" in run("unblock", "ODD ONE")
    with pytest.raises(PluginError, match="you have not blocked it"):
        run("unblock", "Odd One")
    assert str(EFFECT) in run("block", str(EFFECT))
    assert "no longer blocked" in run("unblock", str(EFFECT))
    assert json.loads(run("list", "--json"))[0]["name"] == "Odd One"


def test_show_prints_every_parameter() -> None:
    """Show names ranges, units and choices; its JSON holds every spec."""
    text = run("show", str(EFFECT))
    assert "gain_db" in text
    assert "-60 .. 60 dB" in text
    assert "Normal | Invert | Swap" in text
    assert "-60 .. 0 dB | oo" in text
    data = json.loads(run("show", str(EFFECT), "--json"))
    assert len(data["parameters"]) == 17
    assert data["programs"] == ["Init", "Quiet", "Echo"]
    assert set(data["read_only"]) == {"buffer_size_frames", "sample_rate_hz", "peak_db"}
    assert data["uid"] == "52564346584546464543540000000001"


def test_check_prints_verdicts_and_fails_for_a_failure() -> None:
    """Check prints one line a check; a plugin that is not there is an error."""
    results = json.loads(run("check", str(EFFECT), "--level", "1", "--json"))
    assert {result["outcome"] for result in results} == {"passed"}
    with pytest.raises(PluginError, match="no such plugin"):
        run("check", "absent.vst3")


def test_state_saves_a_sound_and_the_node_that_plays_it(tmp_path: Path) -> None:
    """What `state` prints is a preset's node: pasted into one, it plays the sound that was set."""
    out = tmp_path / "dark.vstpreset"
    node = tomllib.loads(
        run("state", str(EFFECT), "--set", "gain_db=-6", "--set", "mode=Invert", "--out", str(out))
    )["chain"][0]
    with VST3(node["plugin"], state=tmp_path / node["state"]) as vst3:
        assert vst3.get_parameter("gain_db") == pytest.approx(-6.0, abs=1e-5)  # float32 of the travel
        assert vst3.get_parameter("mode") == "Invert"
        assert node["plugin_version"] == vst3.version
    with pytest.raises(OutputError, match="--overwrite"):
        run("state", str(EFFECT), "--out", str(out))
    with pytest.raises(ProcessorError, match=r"gain_dbb.*gain_db"):
        run("state", str(EFFECT), "--set", "gain_dbb=1", "--out", str(tmp_path / "other.vstpreset"))


def test_play_makes_a_stem_of_midi(tmp_path: Path) -> None:
    """An instrument's notes land on their samples in a file as long as the song; a wrong track is told."""
    song = write_midi(
        tmp_path / "song.mid",
        [(480, mido.Message("note_on", note=69)), (960, mido.Message("note_off", note=69))],
    )
    out = tmp_path / "lead.wav"
    run("play", str(INSTRUMENT), str(song), "--out", str(out), "--channel", "1")
    sound, rate = soundfile.read(out)
    # 120 BPM: a beat is half a second. The first sample of a sine is zero.
    heard = np.flatnonzero(np.abs(sound).max(axis=1))
    assert (rate, heard[0], heard[-1]) == (48000, 24001, 47999)
    with pytest.raises(MidiFileError, match="no notes"):
        run("play", str(INSTRUMENT), str(song), "--out", str(out), "--channel", "2", "--overwrite")
    with pytest.raises(ProcessorError, match="takes audio, not notes"):
        run("play", str(EFFECT), str(song), "--out", str(tmp_path / "no.wav"))
    assert not (tmp_path / "no.wav").exists()


def test_play_splits_the_outputs_of_an_instrument(tmp_path: Path) -> None:
    """A stem for every output, the first under the name given; an instrument of one is an error."""
    pytest.importorskip("minihost")
    out = tmp_path / "lead.wav"
    song = write_midi(
        tmp_path / "song.mid",
        [(0, mido.Message("note_on", note=69)), (480, mido.Message("note_off", note=69))],
    )
    bundle = misbehaving_copy(tmp_path, "Twofold", INSTRUMENT, outputs=2)
    run("play", str(bundle), str(song), "--out", str(out), "--outputs", "split")
    main, other = soundfile.read(out)[0], soundfile.read(tmp_path / "lead.2.wav")[0]
    assert main.any()
    assert np.array_equal(other, -main)
    with pytest.raises(PluginError, match="one output only"):
        run("play", str(INSTRUMENT), str(song), "--out", str(tmp_path / "no.wav"), "--outputs", "split")
    assert not (tmp_path / "no.wav").exists()
