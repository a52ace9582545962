"""Soundfonts: what is in one, what is none, and that what is asked for sounds."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from dream_core.errors import SettingError
from dream_core.training.fluidsynth import (
    RENDER_RATE,
    Note,
    check_fluidsynth,
    list_presets,
    midi_bytes,
    render_slots,
)

TIM = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")


def _chunk(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def soundfont(presets: list[tuple[bytes, int, int]]) -> bytes:
    """Return a soundfont's frame: its list of presets behind a chunk of odd length, no sound."""
    records = [*presets, (b"EOP", 0, 0)]
    phdr = b"".join(struct.pack("<20sHH14x", name, program, bank) for name, program, bank in records)
    lists = _chunk(b"LIST", b"INFO" + _chunk(b"INAM", b"odd")) + _chunk(
        b"LIST", b"sdta" + _chunk(b"smpl", b"x")
    )
    return _chunk(b"RIFF", b"sfbk" + lists + _chunk(b"LIST", b"pdta" + _chunk(b"phdr", phdr)))


def test_presets_are_listed_by_bank_and_program(tmp_path: Path) -> None:
    path = tmp_path / "a.sf2"
    path.write_bytes(soundfont([(b"Piano", 0, 0), (b"Flute", 73, 0), (b"Kit", 0, 128)]))

    assert list_presets(path) == {(0, 0): "Piano", (0, 73): "Flute", (128, 0): "Kit"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no soundfont"),
        (b"RIFF\x04\0\0\0WAVE", "no soundfont"),
        (soundfont([(b"Piano", 0, 0)])[:60], "missing"),
        (soundfont([(b"Piano", 0, 0)])[:-50], "cut short"),
    ],
)
def test_what_is_no_soundfont_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "a.sf2").write_bytes(data)
    with pytest.raises(SettingError, match=told):
        list_presets(tmp_path / "a.sf2")


def test_without_the_program_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingError, match="apt install fluidsynth"):
        check_fluidsynth()


def test_a_chord_begins_at_once_and_each_key_ends_when_it_says() -> None:
    """An independent reader of MIDI finds the same times."""
    mido = pytest.importorskip("mido")
    slots = [(Note(60, 90, 0.5), Note(64, 80, 0.25)), (Note(67, 70, 1.0),)]
    now_s, found = 0.0, []
    for message in mido.MidiFile(file=io.BytesIO(midi_bytes((0, 73), slots))):
        now_s += message.time
        if message.type in ("note_on", "note_off"):
            found.append((message.type, message.note, round(now_s, 6)))

    assert found == [
        ("note_on", 60, 0.0), ("note_on", 64, 0.0), ("note_off", 64, 0.25), ("note_off", 60, 0.5),
        ("note_on", 67, 2.0), ("note_off", 67, 3.0),
    ]  # fmt: skip


def test_rendered_notes_have_their_pitch_and_end_in_their_slot() -> None:
    """An organ's loudest partial is a multiple of its key's frequency, to 20 cents."""
    if shutil.which("fluidsynth") is None or not TIM.exists():
        pytest.skip("needs fluidsynth and timgm6mb-soundfont")
    keys = (57, 64)
    sounds = render_slots((0, 19), [(Note(key, 100, 1.0),) for key in keys], TIM)

    assert sounds.shape == (2, 2 * RENDER_RATE)
    for key, sound in zip(keys, sounds, strict=True):
        held = sound[RENDER_RATE // 5 : RENDER_RATE] * np.hanning(RENDER_RATE - RENDER_RATE // 5)
        loudest_hz = np.abs(np.fft.rfft(held, 1 << 18)).argmax() * RENDER_RATE / (1 << 18)
        ratio = loudest_hz / (440.0 * 2.0 ** ((key - 69) / 12) / 2)  # the 16-foot stop lies an octave lower
        assert abs(1200.0 * np.log2(ratio / round(ratio))) < 20.0
        assert np.abs(sound[-RENDER_RATE // 10 :]).max() < 0.05 * np.abs(sound).max()
