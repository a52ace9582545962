"""Where encoded samples go: our own WAV stream, or libsndfile for the other containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from bridge.audio.formats import SampleFormat
from bridge.audio.metadata import TAG_ATTRIBUTES, AudioMetadata
from bridge.audio.riff import RIFF_LIMIT, WavStream, clear_peak_timestamp

__all__ = ["Sink", "open_sink"]


class Sink(Protocol):
    """Take samples that already have the sample type of the file."""

    metadata_left_out: tuple[str, ...]

    def write(self, samples: npt.NDArray[Any]) -> None:
        """Append (channels, samples): int32 right-justified, or floats for ``FLOAT``."""

    def finish(self) -> None:
        """Complete the header and close."""

    def abandon(self) -> None:
        """Close without completing anything."""


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
