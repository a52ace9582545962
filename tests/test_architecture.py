"""The structure holds: imports point one way, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = (
    {"errors", "installation", "records", "units", "tomlplace", "wholefile"},
    {"riff", "wavmeta", "quantise", "platformaudio", "audiosink", "audiowriter", "audiofile"}
    | {"truepeak", "loudness", "limiter", "compare"}
    | {"midiscan", "midimessages", "midifile", "midilanes", "midiwrite", "midisummary"}
    | {"tempogrid", "tempomap", "tempo", "alignment"}
    | {"envelopes", "processors", "hosts", "delivery", "naming", "instruments"},
    {"preset", "presetsettings", "presetfile", "library"},
    {"session"},
    {"plancheck", "plan", "planning"},
    {"opening", "manifest", "scratch", "stemjob", "stemtask", "workers", "render", "jobs", "eventlog"}
    | {"workmeter"}
    | {"pictures", "report", "exchange", "verify", "folderlock"},
    {"cli", "server", "studio"},
)
"""Left never imports right."""

OWNERS = {
    "soundfile": {"bridge.audiofile", "bridge.audiosink", "bridge.audiowriter"},
    "mido": {"bridge.midimessages", "bridge.midifile", "bridge.midiwrite"},
    "pedalboard": {"bridge.processors.native", "bridge.processors.chain", "bridge.hosts"}
    | {"bridge.platformaudio"},
    "dream_core": {"bridge.processors.dream", "bridge.processors.specs", "bridge.cli", "bridge.errors"}
    | {"bridge.stemjob", "bridge.stemtask", "bridge.plancheck", "bridge.manifest", "bridge.opening"},
}
"""Who may import what; everybody else goes through them."""


def modules() -> list[Path]:
    return [p for package in ("bridge", "dream_core") for p in sorted((ROOT / package).rglob("*.py"))]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "bridge" or len(parts) == 1:
        return None
    return next((i for i, layer in enumerate(LAYERS) if parts[1] in layer), None)


def test_every_module_of_the_bridge_has_a_layer() -> None:
    """A new module takes its place in the order."""
    homeless = [name_of(p) for p in modules() if name_of(p) != "bridge" and layer_of(name_of(p)) is None]

    assert [name for name in homeless if name.startswith("bridge")] == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    """No module imports from a layer to its right, and the dream core nothing of the bridge."""
    module = name_of(path)
    if module in ("bridge", "dream_core"):
        return
    own = layer_of(module)
    for imported in imports_of(path):
        if module.startswith("dream_core"):
            assert not imported.startswith("bridge"), f"{module} imports {imported}"
            continue
        other = layer_of(imported)
        if own is not None and other is not None:
            assert other <= own, f"{module} imports {imported}"


@pytest.mark.parametrize("dependency", OWNERS)
def test_every_dependency_has_one_owner(dependency: str) -> None:
    """What knows a foreign library is in one place."""
    strangers = {
        name_of(path)
        for path in modules()
        if name_of(path).startswith("bridge")
        and any(i == dependency or i.startswith(f"{dependency}.") for i in imports_of(path))
        and not any(name_of(path) == o or name_of(path).startswith(f"{o}.") for o in OWNERS[dependency])
    }

    assert strangers - {"bridge"} == set()


@pytest.mark.parametrize("statement", ["import bridge", "import dream_core", "import bridge.cli"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    """Neither Torch nor pedalboard is loaded before it is used."""
    code = f"{statement}; import sys; print([m for m in ('torch', 'pedalboard') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    """`reverie --help` answers without Torch, pedalboard and pydantic's models."""
    code = (
        "import sys, bridge.cli; bridge.cli.main(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'pedalboard', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_files_stay_small() -> None:
    """No source file grows past what a reader holds in the head."""
    long = {str(p.relative_to(ROOT)): n for p in modules() if (n := len(p.read_text().splitlines())) > 450}

    assert long == {}
