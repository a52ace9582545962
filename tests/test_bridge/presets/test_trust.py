"""A preset reaches nothing outside its folder and the plugin folders unless the user says that it may."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.session import write_preset, write_stem
from helpers.vst3 import EFFECT, needs_plugins

from bridge import build_plan, load_preset, render_plan
from bridge.cli import main
from bridge.errors import PresetError, UntrustedError
from bridge.hosts.plugin_cache import PluginCache, ScannedBundle
from bridge.hosts.vstpreset import build_vstpreset, encode_state
from bridge.plan.output_names import manifest_path
from bridge.presets.load import preset_path, read_preset
from bridge.render.manifest import read_manifest
from bridge.render.verify import verify_manifest

PLUGIN = """
[[chain]]
id = "fx"
use = "vst3"
enabled = {enabled}
plugin = '{plugin}'
"""


def pack(folder: Path, more: str) -> Path:
    """A preset in a folder of its own, as it comes out of a download."""
    (folder / "pack").mkdir(exist_ok=True)
    return write_preset(folder / "pack", depth=0.0, more=more)


@pytest.fixture
def stem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stem, in a folder with a bundle that nobody installed; nothing has been scanned."""
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "cache.json"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.vst3").write_bytes(b"\x7fELF")
    (tmp_path / "evil").write_bytes(b"\x7fELF")
    return write_stem(tmp_path / "stem.wav")


@pytest.mark.parametrize("plugin", ["./evil.vst3", "evil.vst3", "pack/../evil.vst3", "evil", "~/evil.vst3"])
@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_plugin_that_lies_anywhere_wants_trust(
    tmp_path: Path, stem: Path, monkeypatch: pytest.MonkeyPatch, plugin: str, enabled: str
) -> None:
    """By whatever path, also of a node that is switched off: a setting may switch it on."""
    monkeypatch.setenv("HOME", str(tmp_path))
    preset = pack(tmp_path, PLUGIN.format(plugin=plugin, enabled=enabled))
    with pytest.raises(UntrustedError, match=r"node 'fx' loads the plugin .*--trust"):
        build_plan([stem], preset, out_dir=tmp_path / "out")
    with pytest.raises(UntrustedError, match="node 'fx' loads the plugin"):
        load_preset(preset)
    assert read_preset(preset).node("fx").plugin == plugin  # to be shown and checked


def test_a_plugin_of_the_plugin_folders_wants_none(
    tmp_path: Path, stem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one by a name; a link out of such a folder does not make it one of them."""
    monkeypatch.setattr("bridge.hosts.bundle.standard_folders", lambda: (tmp_path / "vst3",))
    (tmp_path / "vst3").mkdir()
    (tmp_path / "vst3" / "Good.vst3").write_bytes(b"\x7fELF")
    (tmp_path / "vst3" / "Link.vst3").symlink_to(tmp_path / "evil.vst3")
    for plugin in (str(tmp_path / "vst3" / "Good.vst3"), "Nobody's Echo"):
        preset = pack(tmp_path, f"[requires]\nplugins = [{json.dumps(plugin)}]")
        load_preset(preset)
    preset = pack(tmp_path, PLUGIN.format(plugin=tmp_path / "vst3" / "Link.vst3", enabled="true"))
    with pytest.raises(UntrustedError, match=r"Link\.vst3"):
        load_preset(preset)


@pytest.mark.parametrize(("more", "says"), [
    ("state = '../secret.vstpreset'", "node 'fx' reads the state '../secret.vstpreset'"),
    ("state = 'link.vstpreset'", "node 'fx' reads the state 'link.vstpreset'"),
])  # fmt: skip
def test_a_state_from_elsewhere_wants_trust_even_to_be_shown(
    tmp_path: Path, stem: Path, capsys: pytest.CaptureFixture[str], more: str, says: str
) -> None:
    """Its bytes would become part of the preset, and be printed by `plan --json`."""
    secret = build_vstpreset("0" * 32, {"Comp": b"private"})
    (tmp_path / "secret.vstpreset").write_bytes(secret)
    preset = pack(tmp_path, PLUGIN.format(plugin="Echo", enabled="true") + more)
    (preset.parent / "link.vstpreset").symlink_to(tmp_path / "secret.vstpreset")
    for command in (["presets", "show", "--json"], ["plan", str(stem), "--out", "out", "--json", "--preset"]):
        assert main([*command, str(preset)]) == 2
        captured = capsys.readouterr()
        assert says in captured.err
        assert encode_state(secret) not in captured.out
    assert read_preset(preset, trust=True).node("fx").state == encode_state(secret)


def test_presets_and_networks_of_other_folders_want_trust(tmp_path: Path, stem: Path) -> None:
    """One inside the preset's own folder wants none; all places are named at once."""
    write_preset(tmp_path, name="base")
    outside = pack(tmp_path, "")
    outside.write_text('extends = "../base.toml"\n' + outside.read_text().split("[[chain]]")[0])
    with pytest.raises(UntrustedError, match=r"it extends the preset '\.\./base\.toml'"):
        load_preset(outside)
    assert load_preset(outside, trust=True).nodes_of("dream")
    more = f"""
[[variations]]
name = "far"
set = {{ "dream.network" = "{tmp_path}/far.safetensors" }}

[requires]
networks = ["{tmp_path}/pack/near.safetensors", "{tmp_path}/other.safetensors"]
"""
    with pytest.raises(UntrustedError) as caught:
        load_preset(pack(tmp_path, more))
    assert "variation 'far' reads the network" in str(caught.value)
    assert "other.safetensors" in str(caught.value)
    assert "near.safetensors" not in str(caught.value)


def test_a_network_elsewhere_is_not_even_looked_at(
    tmp_path: Path, stem: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check, show and envelope read no file of another folder either."""
    (tmp_path / "secret.safetensors").write_bytes(b"private")
    preset = pack(tmp_path, f'[requires]\nnetworks = ["{tmp_path}/secret.safetensors"]')
    for command in (["presets", "check"], ["presets", "show"], ["envelope"]):
        assert main([*command, str(preset)]) == 2
        assert "reads the network" in capsys.readouterr().err
    assert main(["presets", "show", str(preset), "--trust"]) == 0


def test_a_user_that_is_not_there_is_one_line(
    tmp_path: Path, stem: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = pack(tmp_path, PLUGIN.format(plugin="~nobody-of-that-name/x.vst3", enabled="true"))
    assert main(["plan", str(stem), "-p", str(preset), "-o", "out"]) == 2
    assert "there is no user of that name" in capsys.readouterr().err


def test_a_bundle_that_a_scan_has_blocked_is_not_known(tmp_path: Path, stem: Path) -> None:
    bundle = tmp_path / "evil.vst3"
    PluginCache(
        tmp_path / "cache.json", {str(bundle): ScannedBundle(path=str(bundle), mtime_ns=1, blocked="crash")}
    ).write()
    with pytest.raises(UntrustedError, match=r"evil\.vst3"):
        load_preset(pack(tmp_path, PLUGIN.format(plugin=bundle, enabled="true")))


def test_a_preset_cannot_switch_isolation_off(tmp_path: Path, stem: Path) -> None:
    preset = pack(tmp_path, PLUGIN.format(plugin="Echo", enabled="true") + 'isolation = "none"\n')
    with pytest.raises(PresetError, match="a preset cannot switch isolation off"):
        load_preset(preset, trust=True)


def test_a_state_that_is_no_file_is_refused(tmp_path: Path, stem: Path) -> None:
    preset = pack(tmp_path, PLUGIN.format(plugin="Echo", enabled="true") + 'state = "pipe.vstpreset"\n')
    os.mkfifo(preset.parent / "pipe.vstpreset")
    with pytest.raises(PresetError, match="is a pipe, a socket or a device"):
        load_preset(preset)


def test_a_hidden_factory_name_is_said(tmp_path: Path, stem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's preset of a factory name is used, and the plan says so; also where one extends it."""
    (tmp_path / "presets").mkdir()
    write_preset(tmp_path / "presets", name="null-reference", depth=0.0)
    plan = build_plan([stem], "null-reference", out_dir=tmp_path / "out")
    assert any("hides the factory's preset of that name" in warning for warning in plan.warnings)
    plan = build_plan([stem], "factory:null-reference", out_dir=tmp_path / "out")
    assert not any("hides" in warning for warning in plan.warnings)
    own = tmp_path / "own.toml"
    own.write_text('extends = "null-reference"\n' + write_preset(tmp_path).read_text().split("[[chain]]")[0])
    plan = build_plan([stem], own, out_dir=tmp_path / "out")
    assert any("hides the factory's preset of that name" in warning for warning in plan.warnings)
    assert preset_path("null-reference") == Path("presets/null-reference.toml")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_on_a_terminal_the_user_is_asked(tmp_path: Path, stem: Path, answer: str, code: int) -> None:
    """No is the default; where nobody sits, nobody is asked."""
    write_preset(tmp_path, name="base")
    preset = pack(tmp_path, "")
    preset.write_text('extends = "../base.toml"\n' + preset.read_text().split("[[chain]]")[0])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bridge.cli", "plan", str(stem), "--preset", str(preset), "--out", "out"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env=environment,
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        said = b""
        while b"trust it?" not in said:
            said += os.read(ours, 1000)
    os.close(ours)
    assert process.returncode == code
    assert main([*command[3:]]) == 2
    assert main([*command[3:], "--trust"]) == 0


def test_a_job_list_cannot_trust_by_itself(
    tmp_path: Path, stem: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = pack(tmp_path, PLUGIN.format(plugin="./evil.vst3", enabled="false"))
    jobs = tmp_path / "jobs.toml"
    jobs.write_text(f'[[jobs]]\nstems = "stem.wav"\npreset = "{preset}"\nout = "out"\n')
    assert main(["batch", str(jobs)]) == 2
    assert "--trust" in capsys.readouterr().err
    jobs.write_text(jobs.read_text() + "trust = true\n")
    assert main(["batch", str(jobs)]) == 2
    assert "no key 'trust'" in capsys.readouterr().err


class TestPlugins:
    pytestmark = needs_plugins

    def test_verify_asks_as_render_does(self, tmp_path: Path, stem: Path) -> None:
        """A manifest comes from anywhere too."""
        preset = pack(tmp_path, PLUGIN.format(plugin=EFFECT, enabled="true"))
        plan = build_plan([stem], preset, out_dir=tmp_path / "out", trust=True)
        assert render_plan(plan).failed == ()
        manifest = read_manifest(manifest_path(plan))
        with pytest.raises(UntrustedError, match="node 'fx' loads the plugin"):
            verify_manifest(manifest)
        assert main(["verify", str(manifest_path(plan))]) == 2
        assert main(["verify", str(manifest_path(plan)), "--trust"]) == 0

    def test_what_has_been_scanned_is_known(
        self, tmp_path: Path, stem: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whoever scans a folder has looked at it."""
        preset = pack(tmp_path, PLUGIN.format(plugin=EFFECT, enabled="true"))
        assert main(["presets", "check", str(preset)]) == 0
        assert "rendering asks for --trust" in capsys.readouterr().err
        assert main(["plugins", "scan", str(EFFECT)]) == 0
        assert load_preset(preset).node("fx").plugin == str(EFFECT)
        assert json.loads((tmp_path / "cache.json").read_text())["bundles"]
