"""The structure holds: imports point one way, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
import rooms

OWNERS = {
    "soundfile": {"bridge.audio.preview", "bridge.audio.decoders", "bridge.audio.sinks"},
    "watchfiles": {"bridge.render.settled_files"},
    "torchvision": {"dream_core.networks.architectures"},
    "mido": {"bridge.midi.mido_files", "bridge.midi.strict"},
    "pedalboard": {"bridge.processors.chain", "bridge.processors.pedalboard_plugin"}
    | {"bridge.processors.pedalboard_members"}
    | {"bridge.hosts.pedalboard_backend", "bridge.hosts.scan_child"}
    | {"bridge.audio.system_decoder", "bridge.audio.stretch"},
    "dream_core": {
        f"bridge.processors.{name}"
        for name in (
            *(
                "dream",
                "dream_clocks",
                "dream_lanes",
                "dream_needs",
                "dream_parameters",
                "dreams",
                "grow",
                "hearing",
                "pitch",
                "pitch_sources",
                "played",
                "transcribe",
            ),
        )
    }
    | {"bridge.plan.played", "bridge.presets.keyswitches"}
    | {"bridge.processors.catalogue", "bridge.plan.checks", "bridge.cli", "bridge.errors", "bridge.files"}
    | {"bridge.envelopes.schema", "bridge.envelopes.map_keys", "bridge.report.atlas"}
    | {
        f"bridge.datasets.{name}"
        for name in ("instruments", "notes", "played", "prepare", "sheet", "summary")
    }
    | {
        f"bridge.render.{name}" for name in ("gpu_batches", "open_stem", "runner", "stem_render", "stem_task")
    },
}
"""Who may import what; everybody else goes through them."""


def test_every_room_has_its_place() -> None:
    """A new folder, or a new file at the top of a package, takes its place in the order."""
    assert [room for room in rooms.rooms(rooms.imports()) if rooms.layer_of(room) is None] == []


def test_imports_point_one_way() -> None:
    """No room uses one to its right, and the dream core nothing of the bridge."""
    assert rooms.arrows_up(rooms.imports()) == set()


def test_no_files_import_each_other() -> None:
    """Whoever reads a file need not have read it before."""
    assert rooms.circles(rooms.imports()) == []


def test_an_arrow_up_and_a_circle_are_found() -> None:
    """The order is looked at for what it says."""
    graph = {
        "bridge.midi.file": frozenset({"bridge.midi.strict", "bridge.plan.model"}),
        "bridge.midi.strict": frozenset({"bridge.midi.file"}),
        "bridge.plan.model": frozenset({"bridge.midi.file"}),
        "dream_core.loop.stream": frozenset({"bridge.errors"}),
    }

    assert rooms.arrows_up(graph) == {
        ("bridge.midi.file", "bridge.plan.model"),
        ("dream_core.loop.stream", "bridge.errors"),
    }
    assert rooms.circles(graph) == [["bridge.midi.file", "bridge.midi.strict", "bridge.plan.model"]]


@pytest.mark.parametrize("dependency", OWNERS)
def test_every_dependency_has_one_owner(dependency: str) -> None:
    """What knows a foreign library is in one place."""
    strangers = {
        module
        for module, path in rooms.files().items()
        if module.partition(".")[0] != dependency
        and any(i == dependency or i.startswith(f"{dependency}.") for i in rooms.names_imported(path))
        and not any(module == owner or module.startswith(f"{owner}.") for owner in OWNERS[dependency])
    }

    assert strangers - {"bridge"} == set()


@pytest.mark.parametrize("statement", ["import bridge", "import dream_core", "import bridge.cli"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    """Neither Torch, torchvision nor pedalboard is loaded before it is used."""
    heavy = ("torch", "torchvision", "pedalboard")
    code = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
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
    long = {m: n for m, path in rooms.files().items() if (n := len(path.read_text().splitlines())) > 450}

    assert long == {}


FOLDERS = [module for module, path in rooms.files().items() if path.name == "__init__.py"]


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name not in (*rooms.ORDER, "bridge.cli")])
def test_every_folder_says_what_is_in_it(folder: str) -> None:
    """Its docstring names every file beside it, and no other."""
    path = rooms.files()[folder].parent
    text = ast.get_docstring(ast.parse((path / "__init__.py").read_text(encoding="utf-8"))) or ""
    listed = set(re.findall(r"`(\w+)`", text[text.index("\n- `") :]))

    missing = {file.stem for file in path.glob("*.py")} - {"__init__"} - listed
    stale = {name for name in listed if not (path / name).exists() and not (path / f"{name}.py").exists()}
    assert not missing, f"name them, in backticks, in the docstring of {path / '__init__.py'}: {missing}"
    assert not stale, f"{path / '__init__.py'} lists what is not there: {stale}"


def test_few_files_stand_at_the_top() -> None:
    """At most six a package; all else lies in a folder that says what it is for."""
    for package in rooms.ORDER:
        assert len(list((rooms.ROOT / package).glob("*.py"))) <= 6
