"""A damaged file gives a result or an error in one line, and makes no reader swell or hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from fuzz.readers import READERS

SECONDS = float(os.environ.get("REVERIE_FUZZ_S", "120"))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_in_one_line(name: str) -> None:
    """Each reader has its share of two minutes, in a process of its own whose memory is limited."""
    share = SECONDS / len(READERS)
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run.py")), name, "--seconds", str(share)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "every one read or refused" in run.stdout
