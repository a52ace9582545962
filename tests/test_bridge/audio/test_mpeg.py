"""MP3s are as long as their frames say, with a length tag or without, whatever stands around them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import noise, write_bytes
from helpers.paths import SHARED

from bridge.audio.mending import MendedFile, mend
from bridge.audio.mpeg import MpegFrames, scan_frames
from bridge.audio.reader import AudioReader, read_audio, read_info, read_metadata
from bridge.errors import AudioFileError

CASES = SHARED / "cases"
DELAY = 576 + 529
"""Samples that LAME and every decoder put in front, which only a tag takes out."""
ID3 = b"ID3\4\0\0\0\0\2\x58" + bytes(344)
ID3V1 = b"TAG" + b"Title".ljust(125, b"\0")
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8) + bytes(32)


def encode(
    n_samples: int = 30_000, sample_rate: int = 44100, n_channels: int = 2, mode: str = "VARIABLE"
) -> bytes:
    """Return an MP3 with a tag; its loudness goes up and down, so that its bit rate does."""
    sound = noise(n_samples, n_channels) * np.abs(np.sin(np.arange(n_samples) / 5_000)) ** 4
    file = io.BytesIO()
    soundfile.write(
        file,
        sound.T,
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode=mode,
        compression_level=0.3,
    )
    return file.getvalue()


def scan(data: bytes) -> MpegFrames:
    found = scan_frames(io.BytesIO(data))
    assert found is not None
    return found


def strip(data: bytes) -> bytes:
    """Return only the frames that hold sound."""
    return b"".join(data[run.start : run.stop] for run in scan(data).runs)


def check_whole(path: Path, tagged: bytes, tagless: bytes) -> None:
    """See that a file without a tag holds what the one with a tag holds, between what the tag takes out."""
    expected, _ = read_audio(write_bytes(path.with_name("tagged.mp3"), tagged))
    frames = scan(tagged)
    found, _ = read_audio(write_bytes(path, tagless))
    assert found.shape[1] == frames.n_frames * frames.frame_samples
    np.testing.assert_allclose(found[:, DELAY:][:, : expected.shape[1]], expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_without_a_tag(tmp_path: Path, sample_rate: int, n_channels: int, mode: str) -> None:
    """MPEG 1, 2 and 2.5, one channel and two, any bit rate: all samples are there, and right."""
    tagged = encode(sample_rate=sample_rate, n_channels=n_channels, mode=mode)
    check_whole(tmp_path / "a.mp3", tagged, strip(tagged))


@pytest.mark.parametrize("front", [b"", ID3, ID3 + ID3, ID3 + bytes(700), b"junk\xff\xfb\x90" * 100])
@pytest.mark.parametrize("back", [b"", ID3V1, APE + ID3V1, bytes(5_000)])
def test_what_stands_around_the_frames(tmp_path: Path, front: bytes, back: bytes) -> None:
    """Tags and junk in front and behind are no sound."""
    tagged = encode()
    check_whole(tmp_path / "a.mp3", tagged, front + strip(tagged) + back)


def test_two_files_in_one(tmp_path: Path) -> None:
    """Files that were joined, tags between them, are as long as both."""
    sound = strip(encode())
    n_frames = scan(sound).n_frames
    joined = scan(ID3 + sound + ID3V1 + ID3 + sound + APE)
    assert (joined.n_frames, len(joined.runs)) == (2 * n_frames, 2)
    path = write_bytes(tmp_path / "a.mp3", ID3 + sound + ID3V1 + ID3 + sound + APE)
    assert read_audio(path)[0].shape == (2, 2 * n_frames * 1152)


def test_a_tag_that_knows_only_a_part(tmp_path: Path) -> None:
    """A tag of the first of two files is not believed; its delay is."""
    tagged = encode()
    n_first = read_info(write_bytes(tmp_path / "a.mp3", tagged)).n_samples
    n_frames = scan(tagged).n_frames
    path = write_bytes(tmp_path / "b.mp3", tagged + strip(tagged))
    assert read_audio(path)[0].shape == (2, n_first + n_frames * 1152)


@pytest.mark.parametrize("n_lost", [-1, 0])
def test_a_tag_that_counts_itself(tmp_path: Path, n_lost: int) -> None:
    """One frame more or less than there are is how some encoders count."""
    tagged = bytearray(encode())
    frames = scan(bytes(tagged))
    tagged[frames.tag_count : frames.tag_count + 4] = struct.pack(">I", frames.n_frames - n_lost)
    path = write_bytes(tmp_path / "a.mp3", bytes(tagged))
    assert read_audio(path)[0].shape[1] == 30_000


@pytest.mark.parametrize("n_cut", [5, 200, 1_000, 10_000])
def test_a_file_that_lost_its_end(tmp_path: Path, n_cut: int) -> None:
    """With a tag it is known to be truncated, be it by a part of a frame; else it ends where it ends."""
    tagged = encode()
    with pytest.raises(AudioFileError, match=r"truncated: its length tag promises \d+ frames, \d+ are there"):
        read_info(write_bytes(tmp_path / "a.mp3", tagged[:-n_cut]))
    frames = scan(strip(tagged)[:-n_cut])
    assert frames.is_cut
    path = write_bytes(tmp_path / "b.mp3", strip(tagged)[:-n_cut])
    assert read_audio(path)[0].shape[1] == frames.n_frames * 1152


def test_a_tag_without_a_length(tmp_path: Path) -> None:
    """What LAME writes into a pipe is a tag with room for a length; Fraunhofer's tag is no sound either."""
    tagged = encode(n_channels=2, sample_rate=44100)
    frames = scan(tagged)
    assert frames.tag is not None
    xing = bytearray(tagged)
    xing[frames.tag_count - 4 : frames.tag_count + 4] = bytes(8)
    vbri = bytearray(tagged)
    vbri[frames.tag.start + 36 : frames.tag.start + 40] = b"VBRI"
    for data in (xing, vbri):
        check_whole(tmp_path / "a.mp3", tagged, bytes(data))


def test_blocks_and_seeks_give_what_reading_whole_gives(tmp_path: Path) -> None:
    """Frames use bytes of those before them: wherever a block begins, the samples are the same."""
    bursts = noise(90_000) * (np.arange(90_000) % 9_000 < 300)  # loud moments use up what silence has saved
    file = io.BytesIO()
    soundfile.write(file, bursts.T, 44100, format="MP3", bitrate_mode="CONSTANT", compression_level=0.9)
    path = write_bytes(tmp_path / "a.mp3", strip(file.getvalue()))
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    with AudioReader(path) as reader:
        blocks = [reader.read(777) for _ in range(0, reader.info.n_samples, 777)]
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1)[:, : whole.shape[1]], whole)
        for place in (70_000, 100, 41_111, 0, *range(80_000, 500, -700), whole.shape[1] - 5):
            reader.seek(place)
            part = reader.read(3_000)
            np.testing.assert_allclose(part, whole[:, place : place + 3_000], atol=1e-6)


def test_tags_are_read_beside_a_counted_length(tmp_path: Path) -> None:
    """A title is still a title."""
    title = b"TIT2" + struct.pack(">I", 5) + b"\0\0" + b"\3Lead"
    id3 = b"ID3\4\0\0" + bytes([0, 0, 0, len(title)]) + title
    path = write_bytes(tmp_path / "a.mp3", id3 + strip(encode()))
    assert read_metadata(path).tags["INAM"] == "Lead"


def test_other_sounds_are_no_mp3(tmp_path: Path) -> None:
    """AAC has the same first bits and no layer; noise has frames that nothing follows."""
    adts = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(10)
    path = write_bytes(tmp_path / "a.aac", adts * 200 + strip(encode()))
    with path.open("rb") as file:
        assert mend(path, file) == MendedFile()
    for data in (adts * 200, np.random.default_rng(3).bytes(200_000)):
        with pytest.raises(AudioFileError, match="not audio"):
            read_info(write_bytes(tmp_path / "a.bin", data))
    assert scan_frames(io.BytesIO(np.random.default_rng(3).bytes(200_000))) is None


@pytest.mark.parametrize("name", ["mp3_vbr_written_to_pipe.mp3", "mp3_cbr_written_to_pipe.mp3"])
def test_files_of_another_program(name: str) -> None:
    """Real files from pipes have all their frames."""
    if not (CASES / name).exists():
        pytest.skip("the shared cases are not here")
    assert read_audio(CASES / name)[0].shape == (1, 40 * 1152)
