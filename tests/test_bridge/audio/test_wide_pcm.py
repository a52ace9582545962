"""Integers in more bytes than they need are read, at the top of their bytes or at the bottom."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.audio import chunk, noise, on_grid, riff, write_bytes
from helpers.paths import SHARED

from bridge.audio.hashing import hash_samples
from bridge.audio.reader import AudioReader, read_audio, read_info
from bridge.errors import AudioFileError

GUID = bytes.fromhex("0100000000001000800000aa00389b71")
N = 3_000


def pack(samples: np.ndarray, bits: int, n_bytes: int, place: str, order: str = "<") -> bytes:
    """Return (channels, samples) as integers of so many bits in so many bytes."""
    values = np.rint(samples.T * 2.0 ** (bits - 1)).astype("<i8")
    if place == "top":
        values <<= 8 * n_bytes - bits
    elif place == "bottom, zeros above":
        values &= (1 << bits) - 1
    raw = values.reshape(-1, 1).view(np.uint8)[:, :n_bytes]
    return (raw[:, ::-1] if order == ">" else raw).tobytes()


def fmt(bits: int, n_bytes: int, n_channels: int = 2, *, valid: int | None = None) -> bytes:
    frame = n_channels * n_bytes
    fields = (n_channels, 48000, 48000 * frame, frame)
    if valid is None:
        return chunk(b"fmt ", struct.pack("<HHIIHH", 1, *fields, bits))
    return chunk(b"fmt ", struct.pack("<HHIIHHHHI", 0xFFFE, *fields, bits, 22, valid, 3) + GUID)


PLACES = ("top", "bottom", "bottom, zeros above")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("bits", "n_bytes"), [(24, 4), (20, 3), (20, 4), (12, 2), (12, 4), (16, 4), (16, 3), (18, 4)]
)
def test_wav(tmp_path: Path, bits: int, n_bytes: int, place: str) -> None:
    """Every number of bits comes back exactly, wherever it stands."""
    samples = on_grid(noise(N, 2), bits)
    data = chunk(b"data", pack(samples, bits, n_bytes, place))
    path = write_bytes(tmp_path / "a.wav", riff(fmt(bits, n_bytes), data))
    np.testing.assert_array_equal(read_audio(path)[0], samples)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("container", "valid"), [(32, 24), (32, 20), (24, 20), (16, 12)])
def test_wav_stated_the_extensible_way(tmp_path: Path, container: int, valid: int, place: str) -> None:
    """Bits of the container and valid bits are two numbers; where the valid ones stand is looked at."""
    samples = on_grid(noise(N, 2), valid)
    data = chunk(b"data", pack(samples, valid, container // 8, place))
    path = write_bytes(tmp_path / "a.wav", riff(fmt(container, container // 8, valid=valid), data))
    np.testing.assert_array_equal(read_audio(path)[0], samples)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_caf(tmp_path: Path, order: str, place: str) -> None:
    """CAF too, in both byte orders."""
    samples = on_grid(noise(N, 2), 24)
    head = b"caff\0\1\0\0" + struct.pack(
        ">4sqd4sIIIII", b"desc", 32, 48000.0, b"lpcm", 2 if order == "<" else 0, 8, 1, 2, 24
    )
    data = pack(samples, 24, 4, place, order)
    path = write_bytes(tmp_path / "a.caf", head + struct.pack(">4sqI", b"data", 4 + len(data), 0) + data)
    np.testing.assert_array_equal(read_audio(path)[0], samples)
    assert read_info(path).format == "CAF"


@pytest.mark.parametrize("place", PLACES)
def test_w64(tmp_path: Path, place: str) -> None:
    """W64 states samples as WAV does."""
    samples = on_grid(noise(N, 2), 24)
    tail = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    payload = fmt(24, 4)[8:]
    data = pack(samples, 24, 4, place)
    body = b"wave" + tail + b"fmt " + tail + struct.pack("<Q", 24 + len(payload)) + payload
    body += b"data" + tail + struct.pack("<Q", 24 + len(data)) + data
    head = bytes.fromhex("726966662e91cf11a5d628db04c10000") + struct.pack("<Q", 24 + len(body))
    np.testing.assert_array_equal(read_audio(write_bytes(tmp_path / "a.w64", head + body))[0], samples)


def test_blocks_seeks_and_the_hash(tmp_path: Path) -> None:
    """Read in any way, they are the same samples as in a plain file."""
    samples = on_grid(noise(150_000, 2), 24)
    wide = write_bytes(
        tmp_path / "a.wav", riff(fmt(24, 4), chunk(b"data", pack(samples, 24, 4, "bottom, zeros above")))
    )
    plain = write_bytes(tmp_path / "b.wav", riff(fmt(24, 3), chunk(b"data", pack(samples, 24, 3, "top"))))
    assert hash_samples(wide) == hash_samples(plain)
    assert read_info(wide).subtype == "PCM_24"
    with AudioReader(wide) as reader:
        reader.seek(149_990)
        np.testing.assert_array_equal(reader.read(100), samples[:, 149_990:])
        reader.seek(7)
        np.testing.assert_array_equal(reader.read(9), samples[:, 7:16])


def test_from_a_pipe(tmp_path: Path) -> None:
    """Their size may be unknown as well."""
    samples = on_grid(noise(N, 2), 24)
    data = chunk(b"data", pack(samples, 24, 4, "bottom"), declared=0xFFFFFFFF)
    np.testing.assert_array_equal(
        read_audio(write_bytes(tmp_path / "a.wav", riff(fmt(24, 4), data)))[0], samples
    )


def test_bits_where_none_may_be(tmp_path: Path) -> None:
    """Samples that use all bits of their bytes contradict the header: no guess is made."""
    data = chunk(b"data", np.random.default_rng(1).bytes(8 * N))
    with pytest.raises(AudioFileError, match="24 bits stand in 4 bytes a sample, but"):
        read_info(write_bytes(tmp_path / "a.wav", riff(fmt(24, 4), data)))


def test_valid_bits_that_are_too_few_change_nothing(tmp_path: Path) -> None:
    """32-bit samples said to hold 24 are read in full."""
    samples = on_grid(noise(N, 2), 32)
    data = chunk(b"data", pack(samples, 32, 4, "top"))
    path = write_bytes(tmp_path / "a.wav", riff(fmt(32, 4, valid=24), data))
    np.testing.assert_array_equal(read_audio(path)[0], samples)


def test_a_frame_size_that_is_wrong_is_left_alone(tmp_path: Path) -> None:
    """Where bits and bytes a second agree, the size of a frame is the mistake."""
    samples = on_grid(noise(N), 16)
    head = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 48000, 96_000, 4, 16))
    path = write_bytes(tmp_path / "a.wav", riff(head, chunk(b"data", pack(samples, 16, 2, "top"))))
    np.testing.assert_array_equal(read_audio(path)[0], samples)


def test_a_file_of_another_program() -> None:
    """A real one has its real samples."""
    path = SHARED / "cases" / "wav_24_in_4_bytes.wav"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    found = read_audio(path)[0] * 2**23
    assert found.shape == (2, 200)
    np.testing.assert_array_equal(found[:, 0::2], np.repeat([[-96], [23_052]], 100, axis=1))
    np.testing.assert_array_equal(found[:, 1::2], np.repeat([[8_388_607], [-8_360_608]], 100, axis=1))
