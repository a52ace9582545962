"""A damaged file gives a result or an error in one line, and makes no reader swell or hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from fuzz.readers import READERS

SECONDS = float(os.environ.get("REVERIE_FUZZ_S", "30"))
"""In all: more than a second for each reader, hundreds of files for most, after the cases that once failed.

The same files every time; `run.py`, run by hand for an hour with another seed, is what looks for new ones.
"""


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_in_one_line() -> None:
    """Each reader has its share of the time, in a process of its own whose memory is limited.

    The processes are copies of one that has everything loaded: loading it took longer than the share.
    """
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run.py")), "--seconds", str(SECONDS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    told = [line.partition(":")[0] for line in run.stdout.splitlines() if "every one read or refused" in line]
    assert told == list(READERS)
