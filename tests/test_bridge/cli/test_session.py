"""`reverie session show` prints what a session says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from helpers.dawproject import write_project
from typer.testing import CliRunner

from bridge.cli.session import app
from bridge.errors import SessionError


def test_show_prints_tempo_markers_and_tracks(tmp_path: Path) -> None:
    """Places in bars and seconds, names, and clip counts are on the screen; doubts go to stderr."""
    done = CliRunner().invoke(app, ["show", str(write_project(tmp_path / "a.dawproject"))])
    assert done.exit_code == 0
    for text in ("1:1:000", "120 BPM", "7/8", "Chörus", "Vocals", "CC1"):
        assert text in done.stdout


def test_show_as_json_holds_everything(tmp_path: Path) -> None:
    """The same as data, for programs."""
    done = CliRunner().invoke(app, ["show", str(write_project(tmp_path / "a.dawproject")), "--json"])
    found = json.loads(done.stdout)
    assert found["format"] == "dawproject"
    assert [track["name"] for track in found["tracks"]] == ["Band", "Vocals", "Keys", "Master"]
    assert found["tracks"][1]["clips"][0]["start_s"] == 2.0


def test_another_kind_of_file_names_those_that_are_read(tmp_path: Path) -> None:
    """A suffix that is not read is answered with those that are."""
    done = CliRunner().invoke(app, ["show", str(tmp_path / "song.flp")])
    assert isinstance(done.exception, SessionError)
    assert "'.dawproject'" in str(done.exception)


def test_a_ramp_that_live_plays_in_steps_is_one_line_and_long_lists_are_shortened(tmp_path: Path) -> None:
    """A ramp up, a ramp down and a jump are three lines; of 60 locators the first 50."""
    locators = "".join(
        f'<Locator><Time Value="{number}"/><Name Value="L{number}"/></Locator>' for number in range(60)
    )
    drawn = ((0, 60), (8, 120), (16, 60), (32, 60), (32, 90))
    points = "".join(f'<FloatEvent Time="{at}" Value="{bpm}"/>' for at, bpm in drawn)
    envelope = (
        '<AutomationEnvelopes><Envelopes><AutomationEnvelope><EnvelopeTarget><PointeeId Value="8"/>'
        f"</EnvelopeTarget><Automation><Events>{points}</Events></Automation></AutomationEnvelope></Envelopes>"
        '</AutomationEnvelopes><DeviceChain><Mixer><Tempo><AutomationTarget Id="8"/></Tempo></Mixer>'
        "</DeviceChain>"
    )
    text = (
        f'<Ableton Creator="Ableton Live 11.0"><LiveSet><MasterTrack>{envelope}</MasterTrack>'
        f"<Locators><Locators>{locators}</Locators></Locators></LiveSet></Ableton>"
    )
    path = tmp_path / "song.als"
    path.write_bytes(gzip.compress(text.encode()))
    lines = CliRunner().invoke(app, ["show", str(path)]).stdout.splitlines()
    tempos = [" ".join(line.split()[4:]) for line in lines if line.startswith("tempo")]
    assert tempos == [
        "60 BPM, ramp in sixteenths to 120 BPM", "120 BPM, ramp in sixteenths to 60 BPM", "90 BPM",
    ]  # fmt: skip
    markers = [line for line in lines if line.startswith("marker")]
    assert (len(markers), markers[-1]) == (51, "marker  and 10 more; --json has all")
