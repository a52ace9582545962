"""Files that cannot be used: each is one line and exit 2 on the command line, and nothing is written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import chunk, pcm_format, riff, write_bytes

from bridge.audio.metadata import AudioMetadata, Broadcast
from bridge.audio.reader import read_info
from bridge.audio.writer import AudioWriter
from bridge.cli import main

SOUND = struct.pack("<400h", *range(400))


def stamped(path: Path) -> Path:
    """A file that claims to begin at 25 o'clock."""
    metadata = AudioMetadata(broadcast=Broadcast(time_reference=25 * 3600 * 48000))
    with AudioWriter(path, sample_rate=48000, n_channels=1, metadata=metadata) as writer:
        writer.write(np.zeros((1, 480), np.float32))
    return path


def poisoned(path: Path) -> Path:
    """A float file with one infinity."""
    samples = np.zeros(480, np.float32)
    samples[100] = np.inf
    soundfile.write(path, samples, 48000, subtype="FLOAT")
    return path


MALFORMED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "truncated": (
        lambda p: write_bytes(p, riff(pcm_format(), chunk(b"data", SOUND, declared=80_000))),
        "truncated",
    ),
    "a lying chunk before the audio": (
        lambda p: write_bytes(
            p, riff(chunk(b"bext", b"x", declared=1 << 30), pcm_format(), chunk(b"data", SOUND))
        ),
        "not audio that can be read",
    ),
    "a rate of 0": (
        lambda p: write_bytes(p, riff(pcm_format(sample_rate=0), chunk(b"data", SOUND))),
        "sample rate is 0 Hz",
    ),
    "64 channels": (
        lambda p: write_bytes(p, riff(pcm_format(n_channels=64), chunk(b"data", SOUND * 64))),
        "64 channels; at most 32",
    ),
    "a start beyond the day": (stamped, "25.0 h"),
    "an infinity": (poisoned, "inf at sample 100"),
    "no samples": (lambda p: write_bytes(p, riff(pcm_format(), chunk(b"data", b""))), "no samples"),
    "an empty file": (lambda p: write_bytes(p, b""), "0 bytes"),
    "text": (lambda p: write_bytes(p, b"not a sound at all, only words"), "not audio"),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_stem_is_one_line(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the file and what is wrong with it; a sound stem beside it is not rendered either."""
    make, expected = MALFORMED[fault]
    good = tmp_path / "good.wav"
    soundfile.write(good, np.zeros(480), 48000)
    bad = make(tmp_path / "bad.wav")
    out = tmp_path / "out"
    arguments = [
        "render",
        str(good),
        str(bad),
        "--preset",
        "null-reference",
        "--out",
        str(out),
        "--bpm",
        "120",
    ]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "bad.wav" in error
    assert expected in error
    assert not out.exists()


def test_32_channels_are_rendered(tmp_path: Path) -> None:
    """The most channels accepted go through a render and come out as they were."""
    stem = tmp_path / "array.wav"
    with AudioWriter(stem, sample_rate=48000, n_channels=32, subtype="PCM_24") as writer:
        writer.write(np.linspace(-0.5, 0.5, 32 * 100, dtype=np.float32).reshape(32, 100))
    out = tmp_path / "out"
    assert main(["render", str(stem), "--preset", "null-reference", "--out", str(out), "--bpm", "120"]) == 0
    (delivered,) = out.glob("*.wav")
    assert read_info(delivered).n_channels == 32
    np.testing.assert_array_equal(soundfile.read(delivered)[0], soundfile.read(stem)[0])


@pytest.mark.parametrize("file_format", ["wav", "rf64", "w64", "aiff", "caf", "flac"])
def test_the_same_plan_gives_the_same_bytes(file_format: str, tmp_path: Path) -> None:
    """Rendered twice, dithered, at another level and with metadata: byte for byte the same file."""
    stem = tmp_path / "stem.wav"
    rng = np.random.default_rng(0)
    metadata = AudioMetadata(broadcast=Broadcast(time_reference=48000), tags={"INAM": "Stem"})
    with AudioWriter(stem, sample_rate=48000, n_channels=2, metadata=metadata) as writer:
        writer.write((rng.standard_normal((2, 30_000)) * 0.1).astype(np.float32))
    preset = tmp_path / "room.toml"
    preset.write_text(
        'format = "reverie/preset"\nversion = 1\nuuid = "11111111-2222-3333-4444-555555555555"\n'
        '[meta]\nname = "Room"\ncategory = "Space"\n[[chain]]\nid = "room"\nuse = "reverb"\n'
    )
    results = []
    for name in ("one", "two"):
        arguments = ["render", str(stem), "--preset", str(preset), "--bpm", "120", "--format", file_format]
        assert main([*arguments, "--out", str(tmp_path / name)]) == 0
        (delivered,) = (p for p in (tmp_path / name).iterdir() if p.suffix != ".json")
        results.append((delivered.name, delivered.read_bytes()))
    assert results[0] == results[1]
    assert results[0][0] == f"stem__room.{file_format}"


@pytest.mark.parametrize("name", ["pcm_24", "PCM24", "24"])
def test_a_sample_type_may_be_written_in_any_way(name: str, tmp_path: Path) -> None:
    """Case and the prefix do not matter."""
    stem = tmp_path / "stem.wav"
    soundfile.write(stem, np.zeros(480), 48000, subtype="PCM_16")
    out = tmp_path / "out"
    arguments = ["render", str(stem), "--preset", "null-reference", "--bpm", "120", "--subtype", name]
    assert main([*arguments, "--out", str(out)]) == 0
    (delivered,) = out.glob("*.wav")
    assert read_info(delivered).subtype == "PCM_24"
