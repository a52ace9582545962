"""A file rendered in its own place is whole at any moment, keeps what it says, and can be put back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.session import make_sound, write_stem
from typer.testing import CliRunner

from bridge.audio.metadata import AudioMetadata, Broadcast, CueMarker
from bridge.audio.reader import read_audio, read_info, read_metadata
from bridge.audio.writer import AudioWriter
from bridge.cli.edit import app
from bridge.errors import AudioFileError, InputError, OutputError, RenderError, RenderStoppedError
from bridge.plan.job import Job
from bridge.render.edit_in_place import Edit, edit_folder, plan_edit, render_edit, undo_edit
from bridge.render.progress import Progress

GAIN = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-000000000001"
meta = { name = "gain", category = "Utility" }
chain = [{ id = "gain", use = "gain", params = { gain_db = -6.0 } }]
level = { mode = "keep", allow_loss = true }
tail = { mode = "fixed", seconds = 0.5 }
"""
HALF = 10.0 ** (-6.0 / 20.0)


def gain(folder: Path) -> str:
    path = folder / "gain.toml"
    path.write_text(GAIN)
    return str(path)


def edit(file: Path, preset: str, *settings: str, keep_length: bool = True, backup: bool = True) -> Edit:
    job = Job(stems=(file,), preset=(preset,), out=file.parent, settings=settings)
    with edit_folder(file) as folder:
        plan = plan_edit(job, folder, keep_length=keep_length)
        return render_edit(plan, keep_original=backup, keep_length=keep_length)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "FLOAT"),
        ("a.aiff", "PCM_24"),
        ("a.flac", "PCM_24"),
        ("a.w64", "PCM_32"),
    ],
)
def test_container_type_and_length_stay_and_the_sound_is_rendered(
    name: str, subtype: str, tmp_path: Path
) -> None:
    """A gain of -6 dB halves each sample (but for its own rounding, two steps of 16 bits with dither)."""
    file = tmp_path / name
    soundfile.write(file, make_sound(0.3, 44100, 2), 44100, subtype=subtype)
    before, info = read_audio(file)[0], read_info(file)

    edit(file, gain(tmp_path))

    assert read_info(file) == info
    step = 2.0**-15 if subtype == "PCM_16" else 2.0**-22
    np.testing.assert_allclose(read_audio(file)[0], before * HALF, atol=2 * step)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        [name, f"a.original{file.suffix}", "gain.toml"]
    )


def test_every_edit_keeps_its_own_original_and_undo_goes_back_one_by_one(tmp_path: Path) -> None:
    """The first original is never overwritten; each undo gives the bytes from before the edit it undoes."""
    file = write_stem(tmp_path / "vox.wav", seconds=0.2)
    states = [file.read_bytes()]
    for number in range(3):
        done = edit(file, gain(tmp_path))
        assert done.original is not None
        assert done.original.name == ("vox.original.wav" if number == 0 else f"vox.original-{number + 1}.wav")
        states.append(file.read_bytes())
    assert (tmp_path / "vox.original.wav").read_bytes() == states[0]
    for state in reversed(states[:-1]):
        undo_edit(file)
        assert file.read_bytes() == state
    with pytest.raises(InputError, match="nothing to undo"):
        undo_edit(file)
    assert file.read_bytes() == states[0]


def test_time_stamp_markers_and_tags_stay_and_other_chunks_are_named(tmp_path: Path) -> None:
    """What says where a clip lies in the song is in the new file too; what is lost is told."""
    file, said = (
        tmp_path / "vox.wav",
        AudioMetadata(
            broadcast=Broadcast(description="take 3", time_reference=123_456),
            markers=(CueMarker(position_samples=1000, label="in"),),
            tags={"IART": "Somebody"},
        ),
    )
    with AudioWriter(file, sample_rate=48000, n_channels=1, subtype="PCM_24", metadata=said) as writer:
        writer.write(make_sound(0.2, 48000, 1).T)
    data = bytearray(file.read_bytes() + b"acid" + (24).to_bytes(4, "little") + bytes(24))
    data[4:8] = (len(data) - 8).to_bytes(4, "little")
    file.write_bytes(data)

    done = edit(file, gain(tmp_path))
    kept = read_metadata(file)

    assert kept.broadcast is not None
    assert (kept.broadcast.description, kept.broadcast.time_reference) == ("take 3", 123_456)
    assert kept.markers == said.markers
    assert kept.tags["IART"] == "Somebody"
    assert done.warnings[-1] == "not kept of the file: acid"


def test_a_stopped_or_failed_render_leaves_the_file_and_nothing_beside_it(tmp_path: Path) -> None:
    """The file's bytes and its folder are as before, whether it was stopped or went wrong at the end."""
    file, preset = write_stem(tmp_path / "vox.wav"), gain(tmp_path)
    there = {one: one.read_bytes() for one in tmp_path.iterdir()}
    job = Job(stems=(file,), preset=(preset,), out=tmp_path)
    with pytest.raises(RenderStoppedError), edit_folder(file) as folder:
        render_edit(plan_edit(job, folder), is_cancelled=lambda: True)
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == there
    with pytest.raises(RenderError, match="as it was"), edit_folder(file) as folder:
        render_edit(plan_edit(job, folder, keep_length=False))  # its tail does not fit into its place
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == there


@pytest.mark.parametrize("phase", ["render", "done"])
def test_a_file_that_changes_while_it_is_rendered_stays_as_it_is_then(phase: str, tmp_path: Path) -> None:
    """What another program has written meanwhile is not lost, also where it came at the very end."""
    file, preset = write_stem(tmp_path / "vox.wav"), gain(tmp_path)
    newer = write_stem(tmp_path / "newer" / "vox.wav", seed=1).read_bytes()
    job = Job(stems=(file,), preset=(preset,), out=tmp_path)

    def write(progress: Progress) -> None:
        if progress.phase == phase:
            file.write_bytes(newer)

    with pytest.raises((OutputError, RenderError), match="changed"), edit_folder(file) as folder:
        render_edit(plan_edit(job, folder), on_progress=write)
    assert file.read_bytes() == newer
    assert sorted(one.name for one in tmp_path.iterdir()) == ["gain.toml", "newer", "vox.wav"]


def test_a_tail_is_added_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """Half a second of the preset's tail makes the file so much longer with --tail."""
    file = write_stem(tmp_path / "vox.wav", seconds=0.4)
    edit(file, gain(tmp_path), keep_length=False)
    assert read_info(file).n_samples == round(0.9 * 22050)


def test_what_is_read_but_not_written_is_refused(tmp_path: Path) -> None:
    """An Ogg file, or 8-bit samples, would come out as another kind of file: the reason is told."""
    for name, subtype in (("a.ogg", "VORBIS"), ("b.wav", "PCM_U8")):
        soundfile.write(tmp_path / name, make_sound(0.2, 44100, 1), 44100, subtype=subtype)
        before = (tmp_path / name).read_bytes()
        with pytest.raises(AudioFileError, match="cannot be edited in place"):
            edit(tmp_path / name, gain(tmp_path))
        assert (tmp_path / name).read_bytes() == before


def test_the_command_edits_and_undoes(tmp_path: Path) -> None:
    """As a DAW calls it: one file and options; without a preset it says what to give."""
    file = write_stem(tmp_path / "vox.wav", seconds=0.2)
    before = file.read_bytes()
    arguments = [str(file), "--preset", gain(tmp_path), "--set", "gain.gain_db=-12", "--no-backup"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.exception
    assert not (tmp_path / "vox.original.wav").exists()
    file.write_bytes(before)
    assert CliRunner().invoke(app, arguments[:-1]).exit_code == 0
    assert file.read_bytes() != before
    assert CliRunner().invoke(app, [str(file), "--undo"]).exit_code == 0
    assert file.read_bytes() == before
    assert "give --preset" in str(CliRunner().invoke(app, [str(file)]).exception)
