"""Wheels that hold the weights of published networks, for tests of parity with what was published."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.paths import ROOT

FOLDER = "REVERIE_WHEELS"
"""Names a folder with wheels; without it they are downloaded once and kept in pytest's cache."""

_CACHE = ROOT / ".pytest_cache" / "d" / "wheels"
_DOWNLOAD = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")


def wheel(package: str, version: str) -> Path:
    """Return a package's wheel; skip the test, with the reason, where it cannot be had."""
    given = os.environ.get(FOLDER)
    found = _find(Path(given) if given else _CACHE, package, version)
    if found is not None:
        return found
    if given:
        pytest.skip(f"${FOLDER} holds no wheel of {package} {version}")
    _CACHE.mkdir(parents=True, exist_ok=True)
    # It appears whole or not at all: other tests may look at the same time.
    with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
        command = [sys.executable, *_DOWNLOAD, "-d", folder, f"{package}=={version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"the wheel of {package} {version} was not downloaded within two minutes")
        fetched = _find(Path(folder), package, version)
        if fetched is None:
            reason = (done.stderr.strip() or "pip gave another version").splitlines()[-1]
            pytest.skip(f"the wheel of {package} {version} cannot be downloaded: {reason}")
        return fetched.replace(_CACHE / fetched.name)


def _find(folder: Path, package: str, version: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{package.replace('-', '_')}-{version}-*.whl"))), None)
