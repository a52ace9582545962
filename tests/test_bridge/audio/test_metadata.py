"""Time stamps, markers and tags survive, other readers understand them, and damaged ones do no harm."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wavinfo
from helpers.audio import chunk, noise, on_grid, pcm_format, riff, sine, write_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.audio.loudness import measure_loudness
from bridge.audio.metadata import AudioMetadata, Broadcast, CueMarker, parse_metadata
from bridge.audio.reader import read_audio, read_info, read_metadata
from bridge.audio.writer import AudioWriter

IXML = (
    b'<?xml version="1.0" encoding="UTF-8"?><BWFXML><IXML_VERSION>1.61</IXML_VERSION><NOTE>take 3</NOTE>'
    b"<SPEED><TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI>1</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI>"
    b"<TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO>5000</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO></SPEED></BWFXML>"
)
FULL = AudioMetadata(
    broadcast=Broadcast(
        description="Lead vocal",
        originator="A studio",
        originator_reference="REF-1",
        origination_date="2026-03-01",
        origination_time="12:30:00",
        time_reference=(1 << 32) + 5_000,
        umid=bytes(range(1, 33)),
        coding_history="A=PCM,F=48000,W=24,M=stereo,T=rendered",
    ),
    ixml=IXML,
    markers=(
        CueMarker(position_samples=480, label="Verse"),
        CueMarker(position_samples=9_600, label="Chörus", length_samples=4_800),
    ),
    tags={"INAM": "Dreamed vocal", "ISFT": "reverie", "ICMT": "odd length!"},
)


def write(path: Path, metadata: AudioMetadata, **options: object) -> AudioWriter:
    writer = AudioWriter(path, sample_rate=48000, n_channels=2, metadata=metadata, **options)  # type: ignore[arg-type]
    with writer:
        writer.write(sine(440, 0.5, n_channels=2))
    return writer


@pytest.mark.parametrize("name", ["a.wav", "a.rf64"])
def test_everything_written_is_read_back(tmp_path: Path, name: str) -> None:
    """Broadcast data, iXML, markers and tags go through a file unchanged."""
    assert write(tmp_path / name, FULL).metadata_left_out == ()
    assert read_metadata(tmp_path / name) == FULL
    np.testing.assert_allclose(read_audio(tmp_path / name)[0], sine(440, 0.5, n_channels=2), atol=2e-7)


def test_an_independent_reader_finds_it_all(tmp_path: Path) -> None:
    """A peer, wavinfo, reads the same values from our chunks."""
    loud = measure_loudness(sine(440, 1.0, level_dbfs=-20), 48000)
    assert FULL.broadcast is not None
    write(tmp_path / "a.wav", replace(FULL, broadcast=replace(FULL.broadcast, loudness=loud)))
    found = wavinfo.WavInfoReader(str(tmp_path / "a.wav"), info_encoding="utf-8")
    assert found.bext is not None
    assert found.bext.time_reference == (1 << 32) + 5_000
    assert (found.bext.description, found.bext.originator) == ("Lead vocal", "A studio")
    assert found.bext.version == 2
    assert found.bext.coding_history.strip() == "A=PCM,F=48000,W=24,M=stereo,T=rendered"
    assert found.bext.loudness_value == pytest.approx(loud.integrated_lufs, abs=0.01)
    assert found.bext.max_true_peak == pytest.approx(loud.true_peak_dbtp, abs=0.01)
    assert found.ixml is not None
    assert found.info is not None
    assert (found.info.title, found.info.software) == ("Dreamed vocal", "reverie")
    assert found.cues is not None
    assert [cue.position for cue in found.cues.cues] == [480, 9_600]
    assert [label.text for label in found.cues.labels] == ["Verse", "Chörus"]


def test_broadcast_data_stands_before_the_audio(tmp_path: Path) -> None:
    """Recorders and DAWs look for bext in front of the samples, and no PEAK chunk tells the time of day."""
    write(tmp_path / "a.wav", FULL, subtype="FLOAT")
    data = (tmp_path / "a.wav").read_bytes()
    assert 0 < data.index(b"bext") < data.index(b"fmt ") < data.index(b"data")
    assert b"PEAK" not in data


def test_tags_of_files_made_elsewhere_are_read(tmp_path: Path) -> None:
    """Titles written by libsndfile into WAV, FLAC and AIFF are found."""
    for suffix in (".wav", ".flac", ".aiff"):
        path = tmp_path / f"a{suffix}"
        with soundfile.SoundFile(path, "w", 48000, 1) as file:
            file.title = "From elsewhere"
            file.write(sine(100, 0.1)[0])
        assert read_metadata(path).tags["INAM"] == "From elsewhere"


def test_other_formats_keep_tags_and_name_what_they_cannot_hold(tmp_path: Path) -> None:
    """FLAC takes the text tags, and says that the time stamp, iXML and markers are left out."""
    writer = write(tmp_path / "a.flac", FULL)
    assert writer.metadata_left_out == ("time stamp and broadcast data", "iXML", "markers")
    tags = read_metadata(tmp_path / "a.flac").tags
    assert tags["INAM"] == "Dreamed vocal"
    assert write(tmp_path / "b.flac", AudioMetadata()).metadata_left_out == ()


def test_the_start_is_found_in_bext_or_ixml() -> None:
    """The bext time reference counts first, then iXML's; without either there is none."""
    assert FULL.start_samples == (1 << 32) + 5_000
    assert AudioMetadata(ixml=IXML).start_samples == (1 << 32) + 5_000
    assert AudioMetadata(ixml=b"<BWFXML/>").start_samples is None
    assert AudioMetadata().start_samples is None


def test_a_moved_file_says_so_everywhere() -> None:
    """A new start reaches bext and iXML; markers follow the sound through padding and resampling."""
    moved = FULL.moved(96_000, shift_samples=100, rate_ratio=2.0)
    assert moved.start_samples == 96_000
    assert replace(moved, broadcast=None).start_samples == 96_000
    assert [m.position_samples for m in moved.markers] == [1_060, 19_300]
    assert moved.markers[1].length_samples == 9_600
    assert b"<NOTE>take 3</NOTE>" in (moved.ixml or b"")


def test_processing_adds_a_line_of_history() -> None:
    """What was there stays; a file without broadcast data gets none, only the software's tag."""
    done = FULL.processed(sample_rate=96000, n_channels=1, bits=24, text="Reverie, Bloom")
    assert done.broadcast is not None
    assert done.broadcast.coding_history.splitlines() == [
        "A=PCM,F=48000,W=24,M=stereo,T=rendered",
        "A=PCM,F=96000,W=24,M=mono,T=Reverie; Bloom",
    ]
    assert done.start_samples == FULL.start_samples
    plain = AudioMetadata().processed(sample_rate=48000, n_channels=2, bits=16, text="Reverie")
    assert plain == AudioMetadata(tags={"ISFT": "Reverie"})


@pytest.mark.parametrize("history", ["A=PCM", "A=PCM,"])
def test_an_rf64_with_a_coding_history_of_any_length_is_read_elsewhere(tmp_path: Path, history: str) -> None:
    """A chunk of odd length makes libsndfile miss the samples of an RF64, so none is written."""
    metadata = AudioMetadata(broadcast=Broadcast(coding_history=history))
    path = tmp_path / "a.rf64"
    with AudioWriter(path, sample_rate=48000, n_channels=1, subtype="PCM_16", metadata=metadata) as writer:
        writer.write(noise(100))
    assert soundfile.info(path).frames == 100
    assert read_metadata(path).broadcast == metadata.broadcast


def test_a_long_description_is_cut_between_characters() -> None:
    """A field never ends in half a character."""
    text = "ü" * 200
    payload = dict(AudioMetadata(broadcast=Broadcast(description=text)).build_chunks())[b"bext"]
    assert payload[:256].decode().rstrip("\0") == "ü" * 128


def test_lying_chunks_do_no_harm(tmp_path: Path) -> None:
    """Sizes and counts beyond the file are cut to what is there; the audio reads on."""
    cue = chunk(b"cue ", struct.pack("<I", 0xFFFFFFFF) + struct.pack("<II4sIII", 1, 5, b"data", 0, 0, 7))
    labels = chunk(
        b"LIST", b"adtl" + struct.pack("<4sI", b"labl", 0x7FFFFFFF) + struct.pack("<I", 1) + b"A\0"
    )
    file = riff(
        pcm_format(), chunk(b"bext", b"too short"), cue, labels, chunk(b"data", bytes(200)),
        chunk(b"iXML", b"<a>", declared=0xFFFFFFF0),
    )  # fmt: skip
    path = write_bytes(tmp_path / "a.wav", file)
    found = read_metadata(path)
    assert found == AudioMetadata(ixml=b"<a>", markers=(CueMarker(position_samples=7, label="A"),))
    assert read_info(path).n_samples == 100


def test_an_entity_bomb_in_ixml_is_only_bytes() -> None:
    """The iXML document is carried, never parsed, so its entities expand nowhere."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    found = parse_metadata(io.BytesIO(riff(pcm_format(), chunk(b"iXML", bomb), chunk(b"data", bytes(4)))))
    assert found.ixml == bomb
    assert found.moved(5).ixml == bomb


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damage_anywhere_raises_nothing(data: st.DataObject) -> None:
    """Any bytes of a file overwritten or cut away leave the parser with a result, never an exception."""
    whole = bytearray(
        riff(*(chunk(i, p) for i, p in FULL.build_chunks()), pcm_format(), chunk(b"data", bytes(64)))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    found = parse_metadata(io.BytesIO(bytes(whole[:cut])))
    found.moved(0).build_chunks()


def test_metadata_changes_no_sample(tmp_path: Path) -> None:
    """With and without chunks the decoded samples are the same."""
    samples = on_grid(noise(1_000, 2), 24)
    for name, metadata in (("a.wav", FULL), ("b.wav", None)):
        with AudioWriter(tmp_path / name, sample_rate=48000, n_channels=2, metadata=metadata) as writer:
            writer.write(samples)
        np.testing.assert_array_equal(read_audio(tmp_path / name)[0], samples)
