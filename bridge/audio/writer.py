"""Write the audio files studios deliver: whole or not at all, the same bytes for the same samples.

Writing goes to a file in a hidden folder beside the target, which gets its name when everything is on disk.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bridge.audio.checks import check_finite, check_space, output_error, short_reason
from bridge.audio.formats import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    OUTPUT_SUBTYPES,
    SUBTYPE_BITS,
    SampleFormat,
    container_of,
)
from bridge.audio.hashing import SampleDigest
from bridge.audio.metadata import AudioMetadata
from bridge.audio.quantiser import Quantiser
from bridge.audio.sinks import open_sink
from bridge.errors import OutputError, nearest_names
from bridge.files import give_name, private_folder

__all__ = ["AudioWriter"]


class AudioWriter:
    """Write an audio file in blocks; it appears under its name whole, or not at all.

    Leaving the ``with`` block normally puts everything on disk and renames; any exception removes what was
    written. Fixed-point samples are rounded exactly and dithered where rounding happens, see
    `bridge.audio.quantiser`.

    Args:
        path: The target. Its folder is made where it is missing.
        sample_rate: Hz.
        n_channels: Channels.
        subtype: ``PCM_16``, ``PCM_24``, ``PCM_32`` or ``FLOAT``.
        format: Container, by default told by the suffix: ``WAV`` (which becomes RF64 beyond 4 GiB),
            ``RF64``, ``W64``, ``AIFF``, ``FLAC``, ``CAF``.
        overwrite: Whether a file of that name may be replaced.
        n_samples: Samples a channel that are going to be written, where known: a disk that is too small is
            then refused at once.
        dither_seed: Seed of the dither for 16 and 24 bits; None rounds without dither.
        shaping: Order of the noise shaping, see `Quantiser`.
        metadata: What the file shall say beside its samples. Only WAV and RF64 hold all of it, see
            `metadata_left_out`.
        part: Where to write, on the target's disk; the finished file stays there, and whoever asked for it
            gives it its name. None writes in a hidden folder and gives the name at the end.

    Raises:
        OutputError: The target exists, cannot be written, or does not fit on the disk; or such a file cannot
            be made in that format.
        RenderError: A block holds NaN or infinity.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        sample_rate: int,
        n_channels: int,
        subtype: str = "PCM_24",
        format: str | None = None,  # noqa: A002 - the name users know from soundfile
        overwrite: bool = False,
        n_samples: int | None = None,
        dither_seed: int | None = 0,
        shaping: Literal[0, 1, 2] = 0,
        metadata: AudioMetadata | None = None,
        part: Path | None = None,
    ) -> None:
        self._path = Path(path)
        self._is_named_here = part is None
        self._format = format or container_of(self._path)
        _check_output(self._path, self._format, subtype, sample_rate, n_channels, overwrite=overwrite)
        self._overwrite = overwrite
        self._n_channels = n_channels
        self._subtype = subtype
        self._n_written = 0
        self._digest = SampleDigest(sample_rate, n_channels)
        self._bytes_needed = (
            None if n_samples is None else n_samples * n_channels * SUBTYPE_BITS[subtype] // 8
        )
        self._folder = contextlib.ExitStack()
        self._quantiser: Quantiser | None = None
        if subtype != "FLOAT":
            # 32 bits hold every float32 up to full scale but the faintest bits of the quietest: no dither.
            seed = None if subtype == "PCM_32" else dither_seed
            self._quantiser = Quantiser(SUBTYPE_BITS[subtype], n_channels, dither_seed=seed, shaping=shaping)
        self._is_open = True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._part = part or self._folder.enter_context(private_folder(self._path.parent)) / "part"
            if self._bytes_needed is not None and self._format != "FLAC":
                check_space(self._path, self._bytes_needed)
            form = SampleFormat(
                container=self._format, subtype=subtype, sample_rate=sample_rate, n_channels=n_channels
            )
            self._sink = open_sink(self._part, form, metadata or AudioMetadata())
        except OSError as error:
            self._discard()
            raise self._output_error(error) from error
        except RuntimeError as error:
            self._discard()
            raise OutputError(f"{self._path}: cannot be written ({short_reason(error)})") from error

    @property
    def path(self) -> Path:
        """The final name."""
        return self._path

    @property
    def n_samples(self) -> int:
        """Samples a channel taken so far."""
        return self._n_written

    @property
    def n_clipped(self) -> int:
        """Samples so far that the sample type could not hold; always 0 for ``FLOAT``."""
        return self._quantiser.n_clipped if self._quantiser else 0

    @property
    def sha256_samples(self) -> str:
        """What `bridge.audio.hashing.hash_samples` finds in the file, once it is closed."""
        return self._digest.hexdigest()

    @property
    def metadata_left_out(self) -> tuple[str, ...]:
        """What of the metadata this format cannot hold, for a warning."""
        return self._sink.metadata_left_out

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, block: npt.NDArray[np.floating[Any]]) -> None:
        """Append samples.

        Args:
            block: (channels, samples) float32 or float64, full scale 1.0.
        """
        if block.ndim != 2 or block.shape[0] != self._n_channels:
            raise ValueError(
                f"{self._path}: got a block of shape {block.shape} for {self._n_channels} channels"
            )
        check_finite(self._path, block, self._n_written)
        self._n_written += block.shape[1]
        self._put(self._quantiser.push(block) if self._quantiser else block)

    def close(self) -> None:
        """Finish the file, put it on disk and give it its name."""
        if not self._is_open:
            return
        try:
            if self._quantiser:
                self._put(self._quantiser.flush())
            self._sink.finish()
            _sync(self._part)
            if self._is_named_here:
                give_name(self._part, self._path, overwrite=self._overwrite)
            self._is_open = False
            self._folder.close()
        except (OSError, RuntimeError, AssertionError) as error:
            self.abort()
            raise self._output_error(error) from error
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Throw away what was written; nothing appears under the final name."""
        if self._is_open:
            with contextlib.suppress(OSError, RuntimeError):
                self._sink.abandon()
            self._discard()

    def _put(self, samples: npt.NDArray[Any]) -> None:
        if samples.shape[1] == 0:
            return
        self._digest.update(samples, SUBTYPE_BITS[self._subtype] if self._quantiser else None)
        try:
            self._sink.write(samples)
        except (OSError, RuntimeError, AssertionError) as error:
            self.abort()
            raise self._output_error(error) from error

    def _discard(self) -> None:
        self._is_open = False
        if not self._is_named_here:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
        self._folder.close()

    def _output_error(self, error: BaseException) -> OutputError:
        written = self._n_written * self._n_channels * SUBTYPE_BITS[self._subtype] // 8
        return output_error(self._path, error, self._bytes_needed or written)


def _check_output(
    path: Path, file_format: str, subtype: str, sample_rate: int, n_channels: int, *, overwrite: bool
) -> None:
    if file_format not in OUTPUT_SUBTYPES:
        raise OutputError(
            f"{path}: cannot write {file_format!r}; {nearest_names(file_format, OUTPUT_SUBTYPES)}"
        )
    accepted = OUTPUT_SUBTYPES[file_format]
    if subtype not in accepted:
        raise OutputError(
            f"{path}: {file_format} cannot hold {subtype!r}; {nearest_names(subtype, accepted)}"
        )
    if not 0 < sample_rate <= (655_350 if file_format == "FLAC" else MAX_SAMPLE_RATE):
        raise OutputError(f"{path}: {file_format} cannot hold a sample rate of {sample_rate} Hz")
    limit = 8 if file_format == "FLAC" else MAX_CHANNELS
    if not 0 < n_channels <= limit:
        raise OutputError(
            f"{path}: {file_format} holds 1 to {limit} channels here; {n_channels} were asked for"
        )
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; a file name is needed")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(
            f"{path}: exists already. Give another name or folder, or allow it with --overwrite."
        )


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
