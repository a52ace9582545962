"""A finished render goes back into the session it came from, from the command line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from helpers.audio import noise
from helpers.dawproject import write_project
from typer.testing import CliRunner

from bridge.audio.loudness import Loudness
from bridge.audio.writer import AudioWriter
from bridge.cli import COMMANDS
from bridge.cli.app import build_app
from bridge.clock.settings import ClockSettings
from bridge.daw.read import read_session
from bridge.errors import SessionError
from bridge.midi.file import read_midi
from bridge.midi.lanes import read_lane
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.render.daw_tracks import build_rendered_stems
from bridge.render.manifest import Manifest, StemRecord, read_manifest, write_manifest

PRESET = {
    "format": "reverie/preset",
    "version": 1,
    "uuid": "11111111-2222-3333-4444-555555555555",
    "meta": {"name": "Ramp", "category": "Utility"},
    "chain": [{"id": "dream", "use": "dream", "params": {"depth": 0.0}}],
    "modulators": [
        {
            "id": "rise",
            "type": "breakpoints",
            "points": [{"at": "0 s", "value": 0}, {"at": "4 s", "value": 1}],
        }
    ],
    "routes": [{"source": "rise", "target": "dream.depth", "op": "replace", "min": 0.0, "max": 8.0}],
}
LEVELS: dict[str, float | bool | None] = {field.name: None for field in fields(Loudness)}
RECORD = StemRecord(
    key="k", sha256_samples="s", n_samples=192_000, n_channels=1, before=LEVELS, after=LEVELS, gain_db=0.0,
    gain_reason="kept", n_clipped=0, wall_s=1.0,
)  # fmt: skip


def render(folder: Path, *names: str) -> Path:
    """The manifest of a render that has taken place: its outputs are there."""
    for name in names:
        for place in (folder, folder / "out"):
            place.mkdir(exist_ok=True)
            with AudioWriter(place / f"{name}.wav", sample_rate=48000, n_channels=1) as writer:
                writer.write(noise(192_000))
    plan = build_plan(
        [folder / f"{name}.wav" for name in names],
        parse_preset(PRESET, "test"),
        out_dir=folder / "out",
        clock=ClockSettings(bpm=120),
    )
    manifest = Manifest.begin(plan)
    for stem in plan.stems:
        (folder / "out" / f"{stem.name}.wav").replace(stem.target)
        manifest = manifest.with_stem(stem.name, RECORD)
    path = folder / "out" / "under-test.manifest.json"
    write_manifest(manifest, path)
    return path


def run(*arguments: object) -> None:
    done = CliRunner().invoke(build_app(COMMANDS, "session"), [str(a) for a in ("session", *arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output


def test_depth_lanes_follow_the_envelope(tmp_path: Path) -> None:
    """The lane rises from 0 to full as the depth does, and is scaled to the deepest dream."""
    (stem,) = build_rendered_stems(read_manifest(render(tmp_path, "vocals")))
    beats, values = np.array(stem.depth_points).T
    # 4 s at 120 BPM are 8 beats; a lane of 128 levels and 200 values a second is a step off at most.
    np.testing.assert_allclose(values, beats / 8, atol=1 / 127 + 0.005)
    assert values[-1] == 1.0


def test_a_render_goes_back_into_its_dawproject(tmp_path: Path) -> None:
    """Paired by the file its track plays, the stem becomes a new track with its depth lane."""
    project = write_project(tmp_path / "song.dawproject")
    run("write", render(tmp_path, "vocals"), "--into", project, "--out", tmp_path / "dreamed.dawproject")
    tracks = {track.name: track for track in read_session(tmp_path / "dreamed.dawproject").tracks}
    assert tracks["vocals [Ramp]"].clips[0].duration_s == pytest.approx(4.0)
    assert tracks["vocals [Ramp] depth"].lanes[0].points[-1][1] == pytest.approx(1.0)


def test_a_render_goes_into_a_folder_for_any_daw(tmp_path: Path) -> None:
    """The folder's song has the depth of each stem on a track of its own."""
    run("folder", render(tmp_path, "vocals", "keys"), "--out", tmp_path / "exchange")
    song = read_midi(tmp_path / "exchange" / "song.mid")
    assert [track.name for track in song.tracks] == ["Tempo", "vocals [Ramp] depth", "keys [Ramp] depth"]
    assert read_lane(song, "cc", 1, track=1).values.max() == 1.0


def test_a_render_of_some_tracks_and_none_goes_back(tmp_path: Path) -> None:
    """One stem has its track, one has none and comes last, the other tracks stay as they are."""
    project = write_project(tmp_path / "song.dawproject")
    manifest = render(tmp_path, "vocals", "choir")
    run("write", manifest, "--into", project, "--out", tmp_path / "dreamed.dawproject")
    names = [track.name for track in read_session(tmp_path / "dreamed.dawproject").tracks]
    expected = ["Band", "Vocals", "vocals [Ramp]", "vocals [Ramp] depth", "Keys", "Master"]
    assert names == [*expected, "choir [Ramp]", "choir [Ramp] depth"]


def test_a_render_of_another_session_is_refused(tmp_path: Path) -> None:
    """Where no stem has a track, the nearest one is suggested."""
    project = write_project(tmp_path / "song.dawproject")
    with pytest.raises(SessionError, match=r"no track has the name.*\(key\).*did you mean 'Keys'"):
        run("write", render(tmp_path, "key"), "--into", project, "--out", tmp_path / "x.dawproject")
