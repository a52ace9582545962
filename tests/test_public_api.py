"""What is promised exists, and is all there is to promise."""

from __future__ import annotations

import importlib
import re

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
