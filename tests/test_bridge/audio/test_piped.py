"""Audio that was written to a pipe is read to its real end; what is truncated is still refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import chunk, noise, on_grid, pcm_format, riff, write_bytes
from helpers.paths import SHARED

from bridge.audio.reader import read_audio, read_info
from bridge.audio.writer import AudioWriter
from bridge.errors import AudioFileError

CASES = SHARED / "cases"
UNKNOWN = (0, 0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFFFDB, 0xFFFFFFFF)
"""What programs write for a size they do not know."""
N = 500


def samples() -> np.ndarray:
    return on_grid(noise(N, 2), 16)


def write(path: Path) -> bytes:
    with AudioWriter(path, sample_rate=48000, n_channels=2, subtype="PCM_16") as writer:
        writer.write(samples())
    return path.read_bytes()


def integers(order: str) -> bytes:
    return (samples().T * 2**15).astype(order + "i2").tobytes()


def aiff(size: int, *, form_size: int = 0, n_frames: int = 0, data: bytes | None = None) -> bytes:
    rate = b"\x40\x0e\xbb\x80" + bytes(6)
    common = struct.pack(">4sIHIH", b"COMM", 18, 2, n_frames, 16) + rate
    sound = struct.pack(">4sIII", b"SSND", size, 0, 0) + (integers(">") if data is None else data)
    return struct.pack(">4sI", b"FORM", form_size) + b"AIFF" + common + sound


def check(path: Path, data: bytes) -> None:
    found, sample_rate = read_audio(write_bytes(path, data))
    assert sample_rate == 48000
    np.testing.assert_array_equal(found, samples())


@pytest.mark.parametrize("size", UNKNOWN)
def test_wav_of_unknown_size(tmp_path: Path, size: int) -> None:
    """Whatever stands for an unknown size, the data go on to the end, with any size of the whole."""
    data = chunk(b"data", integers("<"), declared=size)
    for declared in (size, 36, None):
        head = riff(pcm_format(n_channels=2), chunk(b"LIST", b"INFO"), data, declared=declared)
        check(tmp_path / "a.wav", head)


@pytest.mark.parametrize("size", UNKNOWN)
def test_aiff_of_unknown_size(tmp_path: Path, size: int) -> None:
    """Size of the whole, of the sound and number of frames are set right."""
    check(tmp_path / "a.aiff", aiff(size, form_size=size))
    check(tmp_path / "a.aiff", aiff(min(size + 8, 0xFFFFFFFF), n_frames=0x1FC00000))


@pytest.mark.parametrize("size", [0, 23, 24, 0x7FFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFD907, 0xFFFFFFFFFFFFFFB0])
def test_w64_of_unknown_size(tmp_path: Path, size: int) -> None:
    """The sizes of ffmpeg and sox, and those that say less than nothing."""
    data = bytearray(write(tmp_path / "a.w64"))
    place = data.index(b"data") + 16
    data[16:24] = bytes(8)
    data[place : place + 8] = struct.pack("<Q", size)
    check(tmp_path / "b.w64", bytes(data[: place + 8]) + integers("<"))


@pytest.mark.parametrize("size", [0, 4, -1, 1 << 62])
def test_caf_of_unknown_size(tmp_path: Path, size: int) -> None:
    """-1 is what the format says; an empty chunk in front of samples is not empty."""
    data = write(tmp_path / "a.caf")
    place = data.index(b"data")
    order = "<" if data[data.index(b"desc") + 27] & 2 else ">"
    lead = b"data" + struct.pack(">q", size) + bytes(4)
    check(tmp_path / "b.caf", data[:place] + lead + integers(order))


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_au_of_unknown_size(tmp_path: Path, size: int) -> None:
    """-1 is what the format says; other programs say other things."""
    check(tmp_path / "a.au", struct.pack(">4s5I", b".snd", 24, size, 3, 48000, 2) + integers(">"))


@pytest.mark.parametrize("sizes", [(0, 0), (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF), (0, 1 << 63)])
@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_rf64_of_unknown_size(tmp_path: Path, magic: bytes, sizes: tuple[int, int]) -> None:
    """The 64-bit sizes may be unknown as well."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", *sizes, 0, 0))
    data = chunk(b"data", integers("<"), declared=0xFFFFFFFF)
    check(tmp_path / "a.wav", riff(ds64, pcm_format(n_channels=2), data, magic=magic, declared=0xFFFFFFFF))


def test_a_wav_of_more_than_4_gib_from_a_pipe(tmp_path: Path) -> None:
    """Its size can no longer be stated in the header it has."""
    path = tmp_path / "a.wav"
    head = riff(pcm_format(n_channels=2), chunk(b"data", b"", declared=0xFFFFFFFF), declared=0xFFFFFFFF)
    with path.open("wb") as file:
        file.write(head)
        file.truncate((5 << 30) + len(head))  # without a block on the disk
    info = read_info(path)
    assert (info.n_samples, info.n_channels, info.format) == ((5 << 30) // 4, 2, "RF64")


def test_rf64_with_a_chunk_of_odd_length(tmp_path: Path) -> None:
    """Behind it libsndfile loses its way."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, 4 * N, N, 0))
    data = chunk(b"data", integers("<"), declared=0xFFFFFFFF)
    odd = chunk(b"bext", bytes(603))
    check(tmp_path / "a.wav", riff(ds64, odd, pcm_format(n_channels=2), data, magic=b"RF64"))


@pytest.mark.parametrize("suffix", [".w64", ".caf"])
def test_further_headers_are_no_sound(tmp_path: Path, suffix: str) -> None:
    """In a pipe libsndfile cannot go back: its header stands three times, twice in front of the samples."""
    data = write(tmp_path / f"a{suffix}")
    sound = data.rindex(integers("<")) if integers("<") in data else data.rindex(integers(">"))
    n_size = 12 if suffix == ".caf" else 8
    head = bytearray(data[:sound])
    head[sound - n_size : sound - n_size + 8] = bytes(8)
    whole = bytes(head) * 2 + data[sound : sound + 4 * N] + bytes(head)
    check(tmp_path / f"b{suffix}", whole)


@pytest.mark.parametrize("n_samples", [N, 4096, 10_000])
@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125)])
def test_flac_of_unknown_length(tmp_path: Path, n_samples: int, tail: bytes) -> None:
    """The last frame says where it ends, whatever its length."""
    path = tmp_path / "a.flac"
    expected = on_grid(noise(n_samples, 2), 16)
    soundfile.write(path, expected.T, 48000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    np.testing.assert_array_equal(
        read_audio(write_bytes(tmp_path / "b.flac", bytes(data) + tail))[0], expected
    )
    cut = write_bytes(tmp_path / "c.flac", bytes(data[:-100]))
    with pytest.raises(AudioFileError, match="truncated: its header states no length"):
        read_info(cut)


@pytest.mark.parametrize("size", [5_000, 0x7E000000, 0x90000000, 0xFFFF0000])
def test_a_size_that_means_itself_is_truncated(tmp_path: Path, size: int) -> None:
    """Other large sizes are promises, and a file that breaks them is refused as before."""
    data = chunk(b"data", integers("<"), declared=size)
    for path, whole in (
        (tmp_path / "a.wav", riff(pcm_format(n_channels=2), data)), (tmp_path / "a.aiff", aiff(size)),
        (tmp_path / "a.au", struct.pack(">4s5I", b".snd", 24, size, 3, 48000, 2) + integers(">")),
    ):  # fmt: skip
        with pytest.raises(
            AudioFileError,
            match=f"truncated: its header promises {size if path.suffix != '.aiff' else size - 8} ",
        ):
            read_info(write_bytes(path, whole))


def test_an_empty_chunk_in_front_of_others_is_empty(tmp_path: Path) -> None:
    """A size of 0 is true where chunks follow up to the end of the file."""
    data = riff(pcm_format(), chunk(b"data", b""), chunk(b"LIST", b"INFO"), chunk(b"iXML", b"<a></a>"))
    with pytest.raises(AudioFileError, match="holds no samples"):
        read_info(write_bytes(tmp_path / "a.wav", data))


@pytest.mark.parametrize(
    ("name", "n_samples", "sample_rate"),
    [("flac_written_to_pipe.flac", 8_000, 8_000), ("wav_sox_pipe_7ffff000.wav", 8_000, 8_000)],
)
def test_files_of_other_programs(name: str, n_samples: int, sample_rate: int) -> None:
    """Real files from pipes have their real length."""
    if not (CASES / name).exists():
        pytest.skip("the shared cases are not here")
    found, rate = read_audio(CASES / name)
    assert (found.shape, rate) == ((1, n_samples), sample_rate)


# --- sample types libsndfile misreads ---------------------------------------------------------------


def test_w64_with_floats_stated_the_extensible_way(tmp_path: Path) -> None:
    """As integers, which libsndfile takes them for, they are noise."""
    data = write(tmp_path / "a.w64")
    place = data.index(b"fmt ")
    head = struct.pack("<HHIIHHHHI", 0xFFFE, 2, 48000, 384_000, 8, 32, 22, 32, 3)
    guid = struct.pack("<H", 3) + bytes.fromhex("000000001000800000aa00389b71")
    fmt = data[place : place + 16] + struct.pack("<Q", 64) + head + guid
    sound = (
        data[data.index(b"data") :][:16] + struct.pack("<Q", 24 + 8 * N) + samples().T.astype("<f4").tobytes()
    )
    check(tmp_path / "b.w64", data[:place] + fmt + sound)
