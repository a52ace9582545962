"""A rendered stem says where it belongs, what happened to it, and shares no dither with its neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wavinfo
from helpers.audio import noise, on_grid

from bridge.audio.loudness import measure_loudness
from bridge.audio.metadata import AudioMetadata, Broadcast, CueMarker
from bridge.audio.reader import read_audio, read_metadata
from bridge.audio.writer import AudioWriter
from bridge.clock.settings import ClockSettings
from bridge.errors import OutputError
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.render.runner import render_plan

PRESET = {
    "format": "reverie/preset",
    "version": 1,
    "uuid": "11111111-2222-3333-4444-555555555555",
    "meta": {"name": "Trim", "category": "Utility"},
    "chain": [{"id": "gain", "use": "gain", "params": {"gain_db": -3.3}}],
    "level": {"mode": "keep"},
}


def render(folder: Path, *names: str) -> Path:
    """Render equal 16-bit stems with time stamp and marker; return the folder of the results."""
    metadata = AudioMetadata(
        broadcast=Broadcast(description="Take 3", time_reference=172_800_000),
        ixml=b"<BWFXML><NOTE>kept</NOTE></BWFXML>",
        markers=(CueMarker(position_samples=480, label="Verse"),),
        tags={"IART": "Someone"},
    )
    for name in names:
        with AudioWriter(
            folder / f"{name}.wav", sample_rate=48000, n_channels=1, subtype="PCM_16", metadata=metadata
        ) as writer:
            writer.write(on_grid(noise(48_000), 16))
    stems = [folder / f"{name}.wav" for name in names]
    plan = build_plan(stems, parse_preset(PRESET, "test"), out_dir=folder / "out")
    assert render_plan(plan).failed == ()
    return folder / "out"


def test_time_stamp_markers_and_tags_survive_a_render(tmp_path: Path) -> None:
    """A DAW spots the result where the source was; its history names the preset."""
    out = render(tmp_path, "vocals")
    (path,) = out.glob("vocals*.wav")
    found = read_metadata(path)
    assert found.start_samples == 172_800_000
    assert found.broadcast is not None
    assert found.broadcast.description == "Take 3"
    assert found.broadcast.coding_history == "A=PCM,F=48000,W=16,M=mono,T=Reverie; Trim"
    assert found.ixml == b"<BWFXML><NOTE>kept</NOTE></BWFXML>"
    assert found.markers == (CueMarker(position_samples=480, label="Verse"),)
    assert found.tags == {"IART": "Someone", "ISFT": "Reverie, Trim"}


def test_a_broadcast_wave_states_its_loudness(tmp_path: Path) -> None:
    """The loudness fields, written before the sound, are those of the file, to their step of 0.01."""
    (path,) = render(tmp_path, "vocals").glob("vocals*.wav")
    found, measured = wavinfo.WavInfoReader(str(path)).bext, measure_loudness(*read_audio(path))
    assert found is not None
    assert found.loudness_value == pytest.approx(measured.integrated_lufs, abs=0.011)
    assert found.max_true_peak == pytest.approx(measured.true_peak_dbtp, abs=0.011)
    assert found.max_momentary_loudness == pytest.approx(measured.momentary_max_lufs, abs=0.011)


def test_equal_stems_get_noises_of_their_own(tmp_path: Path) -> None:
    """The rounding errors of two stems with one sound do not correlate, so their sum stays quiet."""
    out = render(tmp_path, "left", "right")
    exact = on_grid(noise(48_000), 16).astype(np.float64) * 10 ** (-3.3 / 20)
    errors = [(read_audio(next(out.glob(f"{name}*.wav")))[0] - exact)[0] for name in ("left", "right")]
    assert all(error.std() * 2**15 > 0.4 for error in errors)  # dithered: half an LSB RMS
    # TPDF makes the error independent of the sound; common dither would correlate by 1.
    assert np.corrcoef(errors)[0, 1] < 0.1


def test_outputs_are_named_by_the_template(tmp_path: Path) -> None:
    """Wildcards are filled from stem, preset and song; a second stem of one name is refused even so."""
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        with AudioWriter(tmp_path / place / "kick.wav", sample_rate=44100, n_channels=1) as writer:
            writer.write(noise(1_000))

    def targets(*stems: Path, template: str) -> list[str]:
        plan = build_plan(
            stems,
            parse_preset(PRESET, "test"),
            out_dir=tmp_path / "out",
            clock=ClockSettings(bpm=128),
            name_template=template,
        )
        return [Path(stem.target).name for stem in plan.stems]

    kick = tmp_path / "a" / "kick.wav"
    assert targets(kick, template="reverie") == ["kick__trim.wav"]
    assert targets(kick, template="AB_Song_{stem}_{rate_khz}k{bits}") == ["AB_Song_kick_44.1k24.wav"]
    assert targets(kick, template="{index} {stem} {bpm}bpm") == ["01 kick 128bpm.wav"]
    with pytest.raises(OutputError, match="have the same stem name"):
        targets(kick, tmp_path / "b" / "kick.wav", template="{index}_{stem}")
    with pytest.raises(OutputError, match="did you mean 'stem'"):
        targets(kick, template="{stme}")
