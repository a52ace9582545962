"""Audio files in: any that libsndfile or the system reads, in blocks or whole.

Samples come as ``(channels, samples)`` float32; 16- and 24-bit samples survive it exactly. What is damaged,
cut short or not a sound is refused with its reason.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.checks import find_fault, short_reason
from bridge.audio.formats import AUDIO_SUFFIXES, MAX_CHANNELS, MAX_SAMPLE_RATE, SYSTEM_SUFFIXES
from bridge.audio.metadata import TAG_ATTRIBUTES, AudioMetadata, parse_metadata
from bridge.audio.riff import walk_chunks
from bridge.audio.system_decoder import SystemDecoder
from bridge.errors import AudioFileError, nearest_names

if TYPE_CHECKING:
    import soundfile

__all__ = ["AudioInfo", "AudioReader", "read_audio", "read_info", "read_metadata"]


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
        self._file = _open_for_reading(self._path)
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
        """Go to a sample position, counted from 0; beyond the end means the end."""
        self._position = min(max(0, sample), self._info.n_samples)
        try:
            self._file.seek(self._position)
        except RuntimeError as error:
            raise _truncated(self._path, self._position, self._info.n_samples) from error

    def read(self, n_samples: int) -> AudioArray:
        """Read the next samples.

        Returns:
            (channels, samples) float32; fewer than asked at the end of the file, and none after it.

        Raises:
            AudioFileError: The file breaks off, or holds NaN or infinity.
        """
        wanted = min(max(0, n_samples), self._info.n_samples - self._position)
        try:
            frames: npt.NDArray[np.float32] = self._file.read(wanted, dtype="float32", always_2d=True)
        except RuntimeError as error:
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
        with path.open("rb") as file:
            metadata = parse_metadata(file)
            container = walk_chunks(file)
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror})") from error
    if container is not None and container.magic in (b"RIFF", b"RF64", b"BW64"):
        return metadata
    with contextlib.closing(_open_for_reading(path)) as audio:
        found = audio.copy_metadata()
    return AudioMetadata(tags={n: found[a] for n, a in TAG_ATTRIBUTES.items() if a in found})


def _open_for_reading(path: Path) -> soundfile.SoundFile | SystemDecoder:
    import soundfile

    try:
        size = path.stat().st_size
        if path.is_dir():
            raise AudioFileError(f"{path}: is a folder; one audio file is accepted here")
        with path.open("rb") as file:
            _check_container(path, file)
    except FileNotFoundError:
        raise AudioFileError(f"{path}: no such file{_similar_files(path)}") from None
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror})") from error
    if size == 0:
        raise AudioFileError(f"{path}: is empty (0 bytes): the export or the copy did not finish")
    try:
        return soundfile.SoundFile(path)
    except (RuntimeError, TypeError) as error:
        if path.suffix.lower() in SYSTEM_SUFFIXES:
            return _open_by_system(path)
        raise AudioFileError(
            f"{path}: is not audio that can be read ({short_reason(error)}); WAV, AIFF, FLAC, W64, CAF, OGG "
            "and MP3 are. Convert it first, for example with: ffmpeg -i FILE FILE.wav"
        ) from error


def _open_by_system(path: Path) -> SystemDecoder:
    try:
        return SystemDecoder(path)
    except (ValueError, RuntimeError) as error:
        raise AudioFileError(
            f"{path}: AAC is read where the system decodes it, on macOS and Windows, and this file cannot be "
            "decoded here. Convert it first, for example with: ffmpeg -i FILE FILE.wav"
        ) from error


def _check_container(path: Path, file: BinaryIO) -> None:
    """Refuse what libsndfile would accept silently or refuse without saying why."""
    container = walk_chunks(file)
    if container is None:
        return
    audio = container.find(b"data") or container.find(b"SSND")
    if audio is not None and audio.is_truncated:
        raise AudioFileError(
            f"{path}: truncated: its header promises {audio.declared_size} bytes of audio, {audio.size} are "
            "there. Copy or export it again."
        )
    fmt = container.find(b"fmt ")
    if fmt is not None and fmt.size >= 8:
        file.seek(fmt.offset + 4)
        _check_rate(path, struct.unpack(container.byte_order + "I", file.read(4))[0])


def _check_rate(path: Path, sample_rate: int) -> None:
    if not 0 < sample_rate <= MAX_SAMPLE_RATE:
        raise AudioFileError(
            f"{path}: its sample rate is {sample_rate} Hz; 1 to {MAX_SAMPLE_RATE} Hz is accepted. "
            "The header is damaged: export it again."
        )


def _check_info(path: Path, file: soundfile.SoundFile | SystemDecoder) -> AudioInfo:
    info = AudioInfo(
        path=path,
        sample_rate=int(file.samplerate),
        n_channels=int(file.channels),
        n_samples=int(file.frames),
        format="WAV" if file.format == "WAVEX" else str(file.format),
        subtype=str(file.subtype),
    )
    _check_rate(path, info.sample_rate)
    if info.n_channels > MAX_CHANNELS:
        raise AudioFileError(
            f"{path}: has {info.n_channels} channels; at most {MAX_CHANNELS} are accepted. "
            "Export its groups as separate stems."
        )
    if info.n_samples <= 0:
        raise AudioFileError(f"{path}: holds no samples. Export it again with a time range selected.")
    if info.format not in (
        "WAV",
        "AIFF",
        "RF64",
        "W64",
    ):  # the last sample of the others shows whether all is there
        try:
            file.seek(info.n_samples - 1)
            is_complete = len(file.read(1)) == 1
            file.seek(0)
        except RuntimeError:
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


def _similar_files(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor a folder {path.parent})"
    names = [p.name for p in path.parent.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES]
    return f" in this folder; {nearest_names(path.name, names)}" if names else ""
