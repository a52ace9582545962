"""A plugin's own editor opens where there is a display, and what it leaves is a state that presets use."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.vst3 import EFFECT, PACKAGES, child_process_ids, misbehaving_copy, needs_packages, needs_plugins
from typer.testing import CliRunner

from bridge.cli.plugins import app
from bridge.errors import OutputError, PluginError
from bridge.hosts.editor import check_display, edit_plugin
from bridge.hosts.vstpreset import parse_vstpreset
from bridge.processors.vst3 import VST3

pytestmark = needs_plugins
ZAM = PACKAGES / "ZamDelay.vst3"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "cache" / "plugins.json"))


@pytest.fixture(scope="module")
def _xvfb() -> Iterator[str]:
    """A display of its own, which tells the number it has found free."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb; install xvfb")
    read, write = os.pipe()
    arguments = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24"]
    with subprocess.Popen(arguments, pass_fds=[write], stderr=subprocess.DEVNULL) as process:
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        yield f":{number}"
        process.terminate()


@pytest.fixture
def display(_xvfb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", _xvfb)


def close_at_once(close: Callable[[], None]) -> None:
    close()


def test_without_a_display_the_reason_and_another_way_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux wants DISPLAY; other systems have a screen."""
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(PluginError, match=r"no display here.*reverie plugins state"):
        check_display(platform="linux")
    check_display({"DISPLAY": ":3"}, "linux")
    check_display({}, "darwin")


@pytest.mark.usefixtures("display")
def test_a_plugin_without_an_editor_says_so() -> None:
    """And its process is gone."""
    before = child_process_ids()
    with pytest.raises(PluginError, match="Conformance Effect: shows no editor"):
        edit_plugin(EFFECT)
    assert child_process_ids() == before


@pytest.mark.usefixtures("display")
def test_a_crash_costs_nothing_but_the_window(tmp_path: Path) -> None:
    """It is told, with what to do; no state is written."""
    bundle = misbehaving_copy(tmp_path, "Bad", load="crash")
    with pytest.raises(
        PluginError, match=r"Bad: its process ended while it was loaded \(SIGSEGV\); nothing was saved"
    ):
        edit_plugin(bundle)


@pytest.mark.usefixtures("display")
class TestWithEditors:
    """Plugins from Debian's packages."""

    pytestmark = needs_packages

    def test_the_state_of_a_closed_editor_is_what_it_began_with(self, tmp_path: Path) -> None:
        """A window that is closed untouched leaves the state it was given, which a chain then plays."""
        with VST3(ZAM, params={"time_ms": 350.0}) as vst3:
            given = vst3.preset_data
        edited = edit_plugin(ZAM, state=given, on_open=close_at_once)
        assert (edited.name, edited.is_changed) == ("ZamDelay", False)
        assert parse_vstpreset(edited.state).chunks["Comp"] == parse_vstpreset(given).chunks["Comp"]

    def test_a_state_of_another_plugin_is_refused(self) -> None:
        """Before a window is shown."""
        with VST3(EFFECT) as vst3:
            foreign = vst3.preset_data
        with pytest.raises(PluginError, match="belongs to another plugin"):
            edit_plugin(ZAM, state=foreign, on_open=close_at_once)

    def test_the_command_saves_and_prints_the_node(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It writes NAME.vstpreset, and replaces none unless told to."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(
            "bridge.hosts.editor.edit_plugin",
            lambda *given, **named: edit_plugin(*given, **named, on_open=close_at_once),
        )
        result = CliRunner().invoke(app, ["edit", str(ZAM)], catch_exceptions=False)
        assert 'state = "ZamDelay.vstpreset"' in result.stdout
        parse_vstpreset(Path("ZamDelay.vstpreset").read_bytes())
        with pytest.raises(OutputError, match="--overwrite"):
            CliRunner().invoke(app, ["edit", str(ZAM)], catch_exceptions=False)
