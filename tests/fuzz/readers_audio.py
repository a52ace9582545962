"""Audio files: what they are, what they say beside their samples, all samples, and their hash."""

from __future__ import annotations

import functools
import io
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from helpers.audio import chunk, noise, on_grid, pcm_format, riff

from bridge.audio.alignment import align_stems
from bridge.audio.hashing import hash_samples
from bridge.audio.metadata import AudioMetadata, Broadcast, CueMarker
from bridge.audio.mpeg import scan_frames
from bridge.audio.reader import AudioReader, read_info, read_metadata
from bridge.audio.writer import AudioWriter
from fuzz.reader import Reader

__all__ = ["AUDIO_READERS"]

_METADATA = AudioMetadata(
    broadcast=Broadcast(
        description="Lead", originator="Reverie", time_reference=1000, coding_history="A=PCM"
    ),
    ixml=b"<BWFXML><SPEED><TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO>1000</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO></SPEED>"
    b"</BWFXML>",
    markers=(CueMarker(position_samples=10, label="A"), CueMarker(position_samples=50, length_samples=9)),
    tags={"INAM": "Lead", "IART": "Me"},
)
_WRITTEN = {"WAV": ".wav", "RF64": ".rf64", "W64": ".w64", "AIFF": ".aiff", "CAF": ".caf", "FLAC": ".flac"}


@functools.cache
def _written() -> Mapping[str, bytes]:
    """Return one file of every format that is written, with all metadata it takes."""
    samples = on_grid(noise(600, 2), 16)
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, suffix in _WRITTEN.items():
            path = Path(folder, f"{name}{suffix}")
            with AudioWriter(
                path, sample_rate=48000, n_channels=2, subtype="PCM_16", metadata=_METADATA
            ) as writer:
                writer.write(samples)
            found[path.name] = path.read_bytes()
    return found


@functools.cache
def _lossy() -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for name, container, subtype in (
        ("tagged.mp3", "MP3", "MPEG_LAYER_III"), ("a.ogg", "OGG", "VORBIS"), ("a.opus", "OGG", "OPUS"),
    ):  # fmt: skip
        file = io.BytesIO()
        soundfile.write(file, noise(4_000).T, 48000, format=container, subtype=subtype)
        found[name] = file.getvalue()
    frames = scan_frames(io.BytesIO(found["tagged.mp3"]))
    assert frames is not None
    sound = found["tagged.mp3"][frames.runs[0].start : frames.runs[0].stop]
    found["tagless.mp3"] = b"ID3\4\0\0\0\0\0\24" + bytes(20) + sound + b"TAG" + bytes(125)
    return found


def _audio_seeds() -> Mapping[str, bytes]:
    data = np.arange(400, dtype="<i4").tobytes()
    wide = riff(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 48000, 384_000, 8, 24)), chunk(b"data", data))
    piped = riff(pcm_format(), chunk(b"data", bytes(range(256)), declared=0x7FFFF000), declared=0x7FFFF024)
    flac = bytearray(_written()["FLAC.flac"])
    flac[21:26] = bytes([flac[21] & 0xF0, 0, 0, 0, 0])  # no length stated
    au = struct.pack(">4s5I", b".snd", 24, 0xFFFFFFFF, 3, 48000, 1) + bytes(range(256))
    return {
        **_written(), **_lossy(), "wide.wav": wide, "piped.wav": piped, "piped.flac": bytes(flac), "a.au": au,
    }  # fmt: skip


def _read(path: Path) -> object:
    info = read_info(path)
    metadata = read_metadata(path)
    metadata.moved(0).build_chunks()
    align_stems([(info, metadata)])
    with AudioReader(path) as reader:
        reader.seek(info.n_samples // 2)
        for _ in reader:
            pass
    return hash_samples(path)


AUDIO_READERS = (
    Reader(
        name="audio",
        seeds=_audio_seeds,
        read=_read,
        tokens=(
            b"RIFF", b"RF64", b"ds64", b"data", b"fmt ", b"LIST", b"bext", b"iXML", b"cue ", b"SSND", b"COMM",
            b"fLaC", b"OggS", b"caff", b"desc", b"ID3\4\0\0\x7f\x7f\x7f\x7f", b"TAG", b"\xff\xfb\x90\x44",
            b"Xing\0\0\0\1", b"Info\0\0\0\x0f", b"\x7f\xff\xf0\0", b"\0\xf0\xff\x7f",
        ),
    ),
)  # fmt: skip
