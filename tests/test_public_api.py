"""What is promised exists, and is all there is to promise."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from helpers.paths import ROOT


@pytest.mark.parametrize("package", ["bridge", "dream_core"])
def test_every_promised_name_exists(package: str) -> None:
    """``__all__`` is sorted, complete and true."""
    module = importlib.import_module(package)

    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) == set(module._HOMES)


@pytest.mark.parametrize("package", ["bridge", "dream_core"])
def test_unknown_names_are_refused(package: str) -> None:
    """A lazy package still knows what it has not."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        importlib.import_module(package).nonsense  # noqa: B018


def test_every_name_the_readme_imports_exists() -> None:
    """The README's Python is real."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\b(bridge|dream_core)\.([A-Za-z_0-9]+)", text))
    used |= {
        (package, name.strip())
        for package, names in re.findall(r"from (bridge|dream_core) import ([^\n(]+)", text)
        for name in names.split(",")
    }

    assert used
    for package, name in used:
        module = importlib.import_module(package)
        assert hasattr(module, name) or importlib.import_module(f"{package}.{name}")


def test_names_of_the_last_release_still_work_and_say_what_they_are_called(tmp_path: Path) -> None:
    """They warn, and give what the new ones give."""
    import bridge

    plan = bridge.build_plan(
        [ROOT / "examples" / "song"],
        "null-reference",
        midi=ROOT / "examples" / "song" / "song.mid",
        out_dir=tmp_path,
    )
    with pytest.warns(DeprecationWarning, match="build_preset_envelopes"):
        assert bridge.plan_envelopes is bridge.build_preset_envelopes
    with pytest.warns(DeprecationWarning, match="stem_song"):
        assert bridge.read_song(plan, plan.stems[0]).length_s == plan.stems[0].duration_s
    with pytest.warns(DeprecationWarning, match=r"Plan\.preset"):
        assert plan.read_preset() is plan.preset
    with pytest.warns(DeprecationWarning, match=r"Plan\.tempo_map"):
        assert plan.read_tempo_map() is plan.tempo_map


@pytest.mark.parametrize("package", ["bridge", "dream_core"])
def test_completion_lists_what_is_promised(package: str) -> None:
    """`dir` knows the names that are loaded late."""
    module = importlib.import_module(package)

    assert set(module.__all__) <= set(dir(module))
