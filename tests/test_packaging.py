"""What is delivered is whole: every version is listed, every import declared, and the wheel works alone."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.session import write_stem
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def test_every_package_that_is_imported_is_required() -> None:
    """What the code imports from elsewhere is in pyproject.toml, with an extra or without."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {canonicalize_name(Requirement(one).name) for one in asked}
    imported = set()
    for path in chain((ROOT / "bridge").rglob("*.py"), (ROOT / "dream_core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            imported |= {name.partition(".")[0] for name in names}
    foreign = imported - set(sys.stdlib_module_names) - {"bridge", "dream_core"}
    homes = metadata.packages_distributions()

    assert {
        name for name in foreign if not declared & {canonicalize_name(one) for one in homes[name]}
    } == set()


def test_every_version_is_listed_and_allowed() -> None:
    """constraints.txt has plain lines, one for each package, and each fits what pyproject.toml asks for."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    listed = dict(line.split("==") for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *chain(*project["dependency-groups"].values())]
    asked += chain(*project["project"]["optional-dependencies"].values())
    requirements = [Requirement(one) for one in asked if not one.startswith("reverie-audio")]

    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)
    assert len(listed) == len(lines)
    for requirement in requirements:
        assert requirement.specifier.contains(listed[canonicalize_name(requirement.name)]), str(requirement)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reverie's wheel, built from its own sdist."""
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (sdist,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(sdist)],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_works_alone(wheel: Path, tmp_path: Path) -> None:
    """Installed into an environment without the repository, it dreams with its own preset and weights."""
    home = tmp_path / "environment"
    venv.create(home)
    scripts = Path(sysconfig.get_path("scripts", vars={"base": str(home)}))
    python = scripts / Path(sys.executable).name
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet", str(wheel)],
        check=True,
        capture_output=True,
    )
    # Gigabytes of dependencies are lent by this environment; the repository is not on the path of either.
    lent = Path(sysconfig.get_path("purelib", vars={"base": str(home)})) / "lent.pth"
    lent.write_text(f"{sysconfig.get_path('purelib')}\n")
    work = tmp_path / "work"
    write_stem(work / "stems" / "lead.wav")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    command = str(scripts / "reverie")
    where = call(str(python), "-c", "import bridge, dream_core; print(bridge.__file__, dream_core.__file__)")
    assert all(Path(one).is_relative_to(home) for one in where.split())
    assert call(command, "--version").strip() == metadata.version("reverie-audio")
    assert "lucid-bloom" in call(command, "presets", "list")
    n_presets = len(list((ROOT / "presets").glob("*.toml")))
    assert f"{n_presets} factory presets load" in call(command, "doctor")
    settings = ["--set", "dream.depth=1", "--bpm", "120"]
    call(command, "render", "stems", "--preset", "lucid-bloom", *settings, "--out", "out")
    assert (work / "out" / "lead__lucid-bloom.wav").stat().st_size > 1000
