"""The decoder of an audio file: libsndfile's, our own or the system's, whichever reads it rightly."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from bridge.audio.checks import short_reason
from bridge.audio.containers import walk_chunks
from bridge.audio.formats import AUDIO_SUFFIXES, MAX_SAMPLE_RATE, SYSTEM_SUFFIXES
from bridge.audio.mending import MendedFile, mend
from bridge.audio.pieced_file import PiecedFile
from bridge.audio.system_decoder import SystemDecoder
from bridge.audio.wide_pcm import WidePcm
from bridge.errors import AudioFileError, nearest_names
from bridge.files import open_regular

__all__ = ["DECODER_ERRORS", "Decoder", "OpenFile", "check_rate", "open_audio"]

DECODER_ERRORS: Final = (RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError, OSError)
"""What decoders raise of a damaged file; libsndfile's face checks little of what libsndfile returns."""


class Decoder(Protocol):
    """Give the samples of an open file, as `soundfile.SoundFile` does."""

    @property
    def samplerate(self) -> int:
        """Hz."""

    @property
    def channels(self) -> int:
        """Channels."""

    @property
    def frames(self) -> int:
        """Samples a channel."""

    @property
    def format(self) -> str:
        """Container."""

    @property
    def subtype(self) -> str:
        """Sample type."""

    def read(self, frames: int, *, dtype: str, always_2d: bool) -> Any:
        """Return the next (samples, channels)."""

    def seek(self, frame: int) -> Any:
        """Go to a sample position."""

    def copy_metadata(self) -> Mapping[str, str]:
        """Return text tags."""

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """Hold a file that is open for decoding.

    Args:
        decoder: What reads it.
        n_samples: Samples a channel.
        is_counted: Whether all of them are known to be there.
        file: What the decoder reads from, where it does not open it itself.
    """

    decoder: Decoder
    n_samples: int
    is_counted: bool
    file: BinaryIO | PiecedFile | None = None

    def close(self) -> None:
        """Close both."""
        self.decoder.close()
        if self.file is not None:
            self.file.close()


def open_audio(path: Path) -> OpenFile:
    """Open an audio file to decode it.

    Raises:
        AudioFileError: Missing, no regular file, empty, no audio, or truncated.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise AudioFileError(f"{path}: no such file{_similar_files(path)}") from None
    except IsADirectoryError:
        raise AudioFileError(f"{path}: is a folder; one audio file is accepted here") from None
    except OSError as error:
        raise AudioFileError(f"{_shown(path)}: cannot be read ({error.strerror})") from error
    is_kept = False
    try:
        opened = _open_mended(path, file)
        is_kept = opened.file is not None
        return opened
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror})") from error
    finally:
        if not is_kept:
            file.close()


def check_rate(path: Path, sample_rate: int) -> None:
    """Refuse a sample rate that no sound has.

    Raises:
        AudioFileError: It makes no sense.
    """
    if not 0 < sample_rate <= MAX_SAMPLE_RATE:
        raise AudioFileError(
            f"{path}: its sample rate is {sample_rate} Hz; 1 to {MAX_SAMPLE_RATE} Hz is accepted. "
            "The header is damaged: export it again."
        )


def _open_mended(path: Path, file: BinaryIO) -> OpenFile:
    if file.seek(0, os.SEEK_END) == 0:
        raise AudioFileError(f"{path}: is empty (0 bytes): the export or the copy did not finish")
    _check_stated_rate(path, file)
    mended = mend(path, file)
    if mended.pcm is not None:
        pcm = WidePcm(file, mended.pcm)
        return OpenFile(decoder=pcm, n_samples=pcm.frames, is_counted=True, file=file)
    return _open_decoder(path, mended)


def _open_decoder(path: Path, mended: MendedFile) -> OpenFile:
    import soundfile

    # An absolute path: libsndfile takes "-" for standard input.
    name = path.absolute()
    source: Any = mended.view or (os.fsencode(name) if os.name == "posix" else str(name))
    try:
        decoder = soundfile.SoundFile(source)
    except DECODER_ERRORS as error:
        if path.suffix.lower() in SYSTEM_SUFFIXES:
            system = _open_by_system(path)
            return OpenFile(decoder=system, n_samples=system.frames, is_counted=False)
        raise AudioFileError(
            f"{path}: is not audio that can be read ({short_reason(error)}); WAV, AIFF, FLAC, W64, CAF, OGG "
            "and MP3 are. Convert it first, for example with: ffmpeg -i FILE FILE.wav"
        ) from error
    # soundfile seeks after every read where it may: an MP3 decoder begins anew, and each block with a fault.
    decoder.seekable = lambda: False
    n_samples = decoder.frames if mended.n_samples is None else mended.n_samples
    return OpenFile(decoder=decoder, n_samples=n_samples, is_counted=mended.is_counted, file=mended.view)


def _open_by_system(path: Path) -> SystemDecoder:
    try:
        return SystemDecoder(path)
    except DECODER_ERRORS as error:
        raise AudioFileError(
            f"{path}: AAC is read where the system decodes it, on macOS and Windows, and this file cannot be "
            "decoded here. Convert it first, for example with: ffmpeg -i FILE FILE.wav"
        ) from error


def _check_stated_rate(path: Path, file: BinaryIO) -> None:
    """Refuse a sample rate that libsndfile would refuse without saying why."""
    container = walk_chunks(file)
    fmt = None if container is None else container.find(b"fmt ")
    if container is not None and fmt is not None and fmt.size >= 8:
        file.seek(fmt.offset + 4)
        check_rate(path, struct.unpack(container.byte_order + "I", file.read(4))[0])


def _similar_files(path: Path) -> str:
    try:
        if not path.parent.is_dir():
            return f" (nor a folder {path.parent})"
        names = [p.name for p in path.parent.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES]
    except OSError:
        return ""
    return f" in this folder; {nearest_names(path.name, names)}" if names else ""


def _shown(path: Path) -> str:
    return str(path).replace("\0", "\\0")
