"""Audio files in: any that libsndfile or the system reads, in blocks or whole.

Samples come as ``(channels, samples)`` float32; 16- and 24-bit samples survive it exactly. What is damaged,
cut short or not a sound is refused with its reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.checks import find_fault, short_reason
from bridge.audio.containers import walk_chunks
from bridge.audio.decoders import DECODER_ERRORS, OpenFile, check_rate, open_audio
from bridge.audio.formats import MAX_CHANNELS
from bridge.audio.metadata import TAG_ATTRIBUTES, AudioMetadata, parse_metadata
from bridge.errors import AudioFileError
from bridge.files import open_regular

__all__ = ["AudioInfo", "AudioReader", "read_audio", "read_info", "read_metadata"]

_MP3_RUN_UP_SAMPLES: Final = 32 * 1152
"""An MP3 frame uses bytes of frames before it: after so many, reading goes on as if it had begun at 0."""

_NO_LENGTH: Final = 1 << 62
"""What libsndfile says where it knows no length is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """State what an audio file is.

    Args:
        path: Where it is.
        sample_rate: Hz.
        n_channels: Channels.
        n_samples: Samples a channel.
        format: Container: ``WAV``, ``FLAC``, ``AIFF`` ...
        subtype: Sample type: ``PCM_24``, ``FLOAT`` ...
    """

    path: Path
    sample_rate: int
    n_channels: int
    n_samples: int
    format: str
    subtype: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


def read_info(path: Path | str) -> AudioInfo:
    """Read what an audio file is, without its samples.

    Raises:
        AudioFileError: Missing, a folder, not audio, truncated, without samples, or with a sample rate or a
            number of channels that makes no sense.
    """
    with AudioReader(path) as reader:
        return reader.info


class AudioReader:
    """Read an audio file in blocks.

    Args:
        path: The file.

    Raises:
        AudioFileError: As `read_info` does.

    >>> import numpy as np, tempfile
    >>> from bridge.audio.writer import AudioWriter
    >>> path = Path(tempfile.mkdtemp()) / "tone.wav"
    >>> with AudioWriter(path, sample_rate=48000, n_channels=1, subtype="PCM_16") as writer:
    ...     writer.write(np.full((1, 100), 0.25, np.float32))
    >>> with AudioReader(path) as reader:
    ...     reader.seek(90)
    ...     print(reader.info.n_samples, reader.read(1000).shape)
    100 (1, 10)
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._file = open_audio(self._path)
        self._decoder = self._file.decoder
        try:
            self._info = _check_info(self._path, self._file)
        except BaseException:
            self._file.close()
            raise
        self._position = 0

    @property
    def info(self) -> AudioInfo:
        """What the file is."""
        return self._info

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def seek(self, sample: int) -> None:
        """Go to a sample position, counted from 0; beyond the end means the end.

        Raises:
            AudioFileError: The file breaks off before it.
        """
        sample = min(max(0, sample), self._info.n_samples)
        if sample == self._position:
            return
        run_up = min(sample, _MP3_RUN_UP_SAMPLES) if self._info.format == "MP3" else 0
        try:
            self._decoder.seek(sample - run_up)
            self._decoder.read(run_up, dtype="float32", always_2d=True)
        except DECODER_ERRORS as error:
            raise _truncated(self._path, sample, self._info.n_samples) from error
        self._position = sample

    def read(self, n_samples: int) -> AudioArray:
        """Read the next samples.

        Returns:
            (channels, samples) float32; fewer than asked at the end of the file, and none after it.

        Raises:
            AudioFileError: The file breaks off, or holds NaN or infinity.
        """
        wanted = min(max(0, n_samples), self._info.n_samples - self._position)
        # Block by block: a length that is not true must not take memory.
        parts = [self._read_block(min(BLOCK_SAMPLES, wanted - i)) for i in range(0, wanted, BLOCK_SAMPLES)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([np.zeros((self._info.n_channels, 0), np.float32), *parts], axis=1)

    def _read_block(self, wanted: int) -> AudioArray:
        try:
            frames: npt.NDArray[np.float32] = self._decoder.read(wanted, dtype="float32", always_2d=True)
        except DECODER_ERRORS as error:
            raise AudioFileError(
                f"{self._path}: cannot be decoded after sample {self._position} ({short_reason(error)}). "
                "The file is damaged: export it again."
            ) from error
        if len(frames) < wanted:
            raise _truncated(self._path, self._position + len(frames), self._info.n_samples)
        block: AudioArray = np.ascontiguousarray(frames.T)
        if self._info.subtype in ("FLOAT", "DOUBLE"):
            fault = find_fault(block)
            if fault is not None:
                channel, sample = fault
                raise AudioFileError(
                    f"{self._path}: {block[channel, sample]} at sample {self._position + sample} of channel "
                    f"{channel + 1}; only finite samples are accepted. Export the stem again, or mute what "
                    "makes them."
                )
        self._position += wanted
        return block

    def __iter__(self) -> Iterator[AudioArray]:
        """Go through the rest of the file in blocks."""
        while self._position < self._info.n_samples:
            yield self.read(BLOCK_SAMPLES)


def read_audio(path: Path | str) -> tuple[AudioArray, int]:
    """Read a whole file.

    Returns:
        Samples as (channels, samples) float32, and the sample rate in Hz.

    Raises:
        AudioFileError: As `AudioReader` does.
    """
    with AudioReader(path) as reader:
        return reader.read(reader.info.n_samples), reader.info.sample_rate


def read_metadata(path: Path | str) -> AudioMetadata:
    """Read what a file says beside its samples: time stamp, markers and tags.

    Raises:
        AudioFileError: The file cannot be read. Damaged metadata is not an error: it is left out.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            metadata = parse_metadata(file)
            container = walk_chunks(file)
    except OSError as error:
        shown = str(path).replace("\0", "\\0")
        raise AudioFileError(f"{shown}: cannot be read ({error.strerror})") from error
    if container is not None and container.magic in (b"RIFF", b"RF64", b"BW64"):
        return metadata
    found: Mapping[str, str] = {}
    with contextlib.closing(open_audio(path)) as audio, contextlib.suppress(*DECODER_ERRORS):
        found = audio.decoder.copy_metadata()
    return AudioMetadata(tags={n: found[a] for n, a in TAG_ATTRIBUTES.items() if a in found})


def _check_info(path: Path, file: OpenFile) -> AudioInfo:
    decoder = file.decoder
    info = AudioInfo(
        path=path,
        sample_rate=int(decoder.samplerate),
        n_channels=int(decoder.channels),
        n_samples=int(file.n_samples),
        format="WAV" if decoder.format == "WAVEX" else str(decoder.format),
        subtype=str(decoder.subtype),
    )
    check_rate(path, info.sample_rate)
    if info.n_channels > MAX_CHANNELS:
        raise AudioFileError(
            f"{path}: has {info.n_channels} channels; at most {MAX_CHANNELS} are accepted. "
            "Export its groups as separate stems."
        )
    if info.n_samples <= 0:
        raise AudioFileError(f"{path}: holds no samples. Export it again with a time range selected.")
    if info.n_samples >= _NO_LENGTH:
        raise AudioFileError(
            f"{path}: states no length, and none can be found. Convert it first, for example with: "
            "ffmpeg -i FILE FILE.wav"
        )
    # The last sample shows whether all is there, where that is not known from the header.
    if not file.is_counted and info.format not in ("WAV", "AIFF", "RF64", "W64"):
        try:
            decoder.seek(info.n_samples - 1)
            is_complete = len(decoder.read(1, dtype="float32", always_2d=True)) == 1
            decoder.seek(0)
        except DECODER_ERRORS:
            is_complete = False
        if not is_complete:
            raise AudioFileError(
                f"{path}: truncated: its header promises {info.n_samples} samples, the last of them are "
                "missing. Copy or export it again."
            )
    return info


def _truncated(path: Path, found: int, promised: int) -> AudioFileError:
    return AudioFileError(
        f"{path}: truncated: its header promises {promised} samples, it breaks off after {found}. "
        "Copy or export it again."
    )
