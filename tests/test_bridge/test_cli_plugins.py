"""`reverie plugins` prints what the library finds, as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.vst3 import EFFECT, misbehaving_copy, needs_plugins
from typer.testing import CliRunner

from bridge.cli.plugins import app
from bridge.errors import PluginError

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
    assert json.loads(run("list", "--json"))[0]["n_parameters"] == 14
    assert "crash while it was loaded" in run("list", "--blocked")
    assert json.loads(run("list", "--blocked", "--json"))[0]["path"] == str(bad)


def test_show_prints_every_parameter() -> None:
    """Show names ranges, units and choices; its JSON holds every spec."""
    text = run("show", str(EFFECT))
    assert "gain_db" in text
    assert "-60 .. 60 dB" in text
    assert "Normal | Invert | Swap" in text
    data = json.loads(run("show", str(EFFECT), "--json"))
    assert len(data["parameters"]) == 14
    assert data["uid"] == "52564346584546464543540000000001"


def test_check_prints_verdicts_and_fails_for_a_failure() -> None:
    """Check prints one line a check; a plugin that is not there is an error."""
    results = json.loads(run("check", str(EFFECT), "--level", "1", "--json"))
    assert {result["outcome"] for result in results} == {"passed"}
    with pytest.raises(PluginError, match="no such plugin"):
        run("check", "absent.vst3")
