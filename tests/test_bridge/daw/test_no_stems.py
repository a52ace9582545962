"""Where a session gives no stems, all that was left out is told, and how much more there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.daw.read import read_session
from bridge.daw.session_stems import choose_tracks, write_session_stems
from bridge.errors import SessionError

ITEM = "<ITEM\nPOSITION {}\nLENGTH 1\nNAME x\nPLAYRATE 1 1 {}\n<SOURCE WAVE\nFILE a.wav\n>\n>\n"


def session_of(folder: Path, tracks: str) -> Path:
    path = folder / "song.rpp"
    path.write_text(f"<REAPER_PROJECT 0.1\nTEMPO 120 4 4\n{tracks}>\n")
    return path


def test_clips_that_were_left_out_are_told_beside_muted_tracks(tmp_path: Path) -> None:
    """Seven items shifted in pitch on one track, a muted one beside it."""
    shifted = "".join(ITEM.format(second, 3) for second in range(7))
    muted = f"<TRACK\nNAME Quiet\nMUTESOLO 1 0 0\n{ITEM.format(0, 0)}>\n"
    session = read_session(session_of(tmp_path, f"{muted}<TRACK\nNAME Up\n{shifted}>\n"))
    with pytest.raises(SessionError, match="gives no stems: Quiet: is muted") as caught:
        choose_tracks(session)
    told = str(caught.value)
    assert told.count("is shifted in pitch: left out") == 4
    assert "track 'Up' at 0.000 s: item 'x' is shifted" in told
    assert told.endswith("and 3 more")
    with pytest.raises(SessionError, match="no track of the bus 'B=Up' has audio; track 'Up' at"):
        choose_tracks(session, buses=["B=Up"])


def test_files_that_are_missing_are_counted(tmp_path: Path) -> None:
    """Four of six are named, and the rest counted: six clips and what their track comes to."""
    session = read_session(
        session_of(tmp_path, "<TRACK\nNAME A\n" + "".join(ITEM.format(at, 0) for at in range(6)) + ">\n")
    )
    stems, _ = choose_tracks(session)
    with pytest.raises(SessionError, match=r"gives no stems: .* is missing; .*; and 3 more$"):
        write_session_stems(session, stems, tmp_path / "stems")
