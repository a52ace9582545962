"""What waits on disk between chain and level comes back as it was, or is not left behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from helpers.audio import noise
from helpers.paths import ROOT

from bridge.errors import OutputError, RenderError
from bridge.render.scratch import ScratchWriter, read_scratch


def test_blocks_come_back_as_they_were(tmp_path: Path) -> None:
    """Blocks of any length, one of them none, are read back in order and bit for bit."""
    blocks = [noise(n, 2, seed=n) for n in (1, 0, 70_000, 3)]
    path = tmp_path / "scratch"
    with ScratchWriter(path, n_bytes=1) as writer:
        for block in blocks:
            writer.write(block)
    for found, block in zip(read_scratch(path), blocks, strict=True):
        np.testing.assert_array_equal(found, block)


def test_nothing_is_left_of_a_stem_that_fails(tmp_path: Path) -> None:
    """A sample that is not a number names its place, and the file is gone."""
    path = tmp_path / "scratch"
    bad = noise(100, 2)
    bad[1, 7] = np.inf

    def fail() -> None:
        with ScratchWriter(path, n_bytes=1) as writer:
            writer.write(noise(100, 2))
            writer.write(bad)

    with pytest.raises(RenderError, match="inf at sample 107 of channel 2"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_refused_at_once(tmp_path: Path) -> None:
    """More bytes than are free are refused before the first block."""
    with pytest.raises(OutputError, match="disk is full"):
        ScratchWriter(tmp_path / "scratch", n_bytes=1 << 60)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_one_line(tmp_path: Path) -> None:
    """When the file system stops taking bytes, the error says so and nothing is left behind."""
    program = textwrap.dedent(
        f"""
        import resource, sys
        from pathlib import Path
        import numpy as np
        from bridge.errors import OutputError
        from bridge.render.scratch import ScratchWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            with ScratchWriter(Path({str(tmp_path / "scratch")!r}), n_bytes=1) as writer:
                for _ in range(50):
                    writer.write(np.zeros((1, 10_000), np.float32))
        except OutputError as error:
            print(error)
            sys.exit(error.exit_code)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
