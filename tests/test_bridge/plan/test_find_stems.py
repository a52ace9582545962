"""The files that names lead to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bridge.errors import AudioFileError
from bridge.plan.find_stems import find_stems


def test_a_name_with_a_nul_leads_to_no_file() -> None:
    """It comes from a list of jobs or from Python, and is refused in one line."""
    with pytest.raises(AudioFileError, match=r"a\\0b\.wav: leads to no file") as caught:
        find_stems(["a\0b.wav"])
    assert "\0" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_circle_of_links_leads_to_no_file(tmp_path: Path) -> None:
    """It ends in an error in one line, here or where it is read."""
    circle = tmp_path / "a.wav"
    circle.symlink_to(circle)
    with pytest.raises(AudioFileError, match=r"a\.wav: leads to no file"):
        find_stems([circle])
