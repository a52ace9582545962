"""Where encoded samples go: our own WAV stream, or libsndfile for the other containers."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt

from bridge.riff import RIFF_LIMIT, WavStream, clear_peak_timestamp
from bridge.wavmeta import AudioMetadata

__all__ = [
    "SUBTYPE_BITS",
    "TAG_ATTRIBUTES",
    "SampleDigest",
    "SampleFormat",
    "Sink",
    "encode_preview",
    "open_sink",
]

SUBTYPE_BITS: Final = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32}
"""Bits a sample takes in a file, by sample type."""

TAG_ATTRIBUTES: Final = {
    "INAM": "title",
    "IART": "artist",
    "IPRD": "album",
    "ICMT": "comment",
    "ISFT": "software",
    "ICRD": "date",
    "ICOP": "copyright",
    "IGNR": "genre",
    "ITRK": "tracknumber",
}
"""Tags that containers other than WAV hold too: INFO name to libsndfile's."""


class Sink(Protocol):
    """Take samples that already have the sample type of the file."""

    metadata_left_out: tuple[str, ...]

    def write(self, samples: npt.NDArray[Any]) -> None:
        """Append (channels, samples): int32 right-justified, or floats for ``FLOAT``."""

    def finish(self) -> None:
        """Complete the header and close."""

    def abandon(self) -> None:
        """Close without completing anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFormat:
    """Say how a file holds its samples.

    Args:
        container: ``WAV``, ``RF64``, ``W64``, ``AIFF``, ``CAF`` or ``FLAC``.
        subtype: A key of `SUBTYPE_BITS`.
        sample_rate: Hz.
        n_channels: Channels.
    """

    container: str
    subtype: str
    sample_rate: int
    n_channels: int

    @property
    def bits(self) -> int:
        """Bits a sample."""
        return SUBTYPE_BITS[self.subtype]

    @property
    def is_float(self) -> bool:
        """Whether samples are floats."""
        return self.subtype == "FLOAT"


def open_sink(part: Path, form: SampleFormat, metadata: AudioMetadata) -> Sink:
    """Create a file of that format.

    Raises:
        OSError: The file cannot be created.
        RuntimeError: The format cannot hold such samples.
    """
    kind = _WavSink if form.container in ("WAV", "RF64") else _SndfileSink
    return kind(part, form, metadata)


class _WavSink:
    def __init__(self, part: Path, form: SampleFormat, metadata: AudioMetadata) -> None:
        self.metadata_left_out: tuple[str, ...] = ()
        self._form = form
        self._file: BinaryIO = part.open("wb")
        self._stream = WavStream(
            self._file,
            sample_rate=form.sample_rate,
            n_channels=form.n_channels,
            bits=form.bits,
            is_float=form.is_float,
            chunks=metadata.build_chunks(),
            riff_limit=0 if form.container == "RF64" else RIFF_LIMIT,
        )

    def write(self, samples: npt.NDArray[Any]) -> None:
        frames = np.ascontiguousarray(samples.T, "<f4" if self._form.is_float else "<i4")
        if self._form.bits < 32:
            frames = frames.view(np.uint8).reshape(-1, 4)[:, : self._form.bits // 8]
        self._stream.write(frames.tobytes())

    def finish(self) -> None:
        self._stream.finish()
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


class _SndfileSink:
    def __init__(self, part: Path, form: SampleFormat, metadata: AudioMetadata) -> None:
        import soundfile

        self._part = part
        self._form = form
        part.open("wb").close()  # libsndfile does not say why it cannot create a file; Python does
        self._file = soundfile.SoundFile(
            part, "w", form.sample_rate, form.n_channels, form.subtype, format=form.container
        )
        can_tag = form.container in ("AIFF", "FLAC", "CAF")
        for name, attribute in TAG_ATTRIBUTES.items():
            if can_tag and metadata.tags.get(name):
                setattr(self._file, attribute, metadata.tags[name])
        left_out = {
            "time stamp and broadcast data": metadata.broadcast,
            "iXML": metadata.ixml,
            "markers": metadata.markers,
            "tags": set(metadata.tags) - (set(TAG_ATTRIBUTES) if can_tag else set()),
        }
        self.metadata_left_out = tuple(name for name, value in left_out.items() if value)

    def write(self, samples: npt.NDArray[Any]) -> None:
        # libsndfile takes fixed-point samples at the top of 32 bits and hands them on without rounding.
        if self._form.is_float:
            self._file.write(np.ascontiguousarray(samples.T, np.float32))
        else:
            self._file.write(np.ascontiguousarray(samples.T, np.int32) << (32 - self._form.bits))

    def finish(self) -> None:
        self._file.close()
        with self._part.open("r+b") as file:
            clear_peak_timestamp(file)

    def abandon(self) -> None:
        self._file.close()


class SampleDigest:
    """Hash what a file sounds like: rate, channels, and its samples as they decode to 32-bit floats.

    Args:
        sample_rate: Hz.
        n_channels: Channels.
    """

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._sha256 = hashlib.sha256(struct.pack("<II", sample_rate, n_channels))

    def update(self, samples: npt.NDArray[Any], bits: int | None = None) -> None:
        """Take the next (channels, samples): floats, or integers of so many bits."""
        frames = np.ascontiguousarray(samples.T, "<f4")
        if bits is not None:
            frames *= np.float32(0.5 ** (bits - 1))
        self._sha256.update(frames.data)

    def hexdigest(self) -> str:
        """Return the sha256 of everything so far."""
        return self._sha256.hexdigest()


def encode_preview(samples: npt.NDArray[np.float32], sample_rate: int) -> bytes:
    """Return a sound as 16-bit FLAC, which every browser decodes: for listening, not for delivery.

    Args:
        samples: (channels, samples); beyond stereo the channels are mixed to one, beyond full scale clipped.
        sample_rate: Hz.
    """
    import io

    import soundfile

    if samples.shape[0] > 2:
        samples = samples.mean(axis=0, keepdims=True)
    buffer = io.BytesIO()
    frames = np.rint(np.clip(samples.T * 32768.0, -32768, 32767)).astype(np.int16)
    soundfile.write(buffer, frames, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
