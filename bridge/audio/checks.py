"""What samples and disks must be before anything is written, and why writing failed."""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.errors import OutputError, RenderError

__all__ = ["check_finite", "check_space", "find_fault", "output_error", "short_reason"]

_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_space(path: Path, n_bytes: int) -> None:
    """Refuse a disk that cannot take so many bytes.

    Raises:
        OSError: There is less room beside the path.
    """
    if n_bytes > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def output_error(path: Path, error: BaseException, n_bytes: int) -> OutputError:
    """Say why a file cannot be written, of which about so many bytes are needed."""
    if isinstance(error, OutputError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    free = _free_bytes(path)
    if number in _NO_SPACE or (number is None and free < n_bytes):
        return OutputError(
            f"{path}: the disk is full or a quota is reached: at least {_megabytes(n_bytes)} are needed, "
            f"{_megabytes(free)} are free. Nothing was left behind; make room and render again."
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(
            f"{path.parent}: this folder cannot be written to ({os.strerror(number or 0)}). "
            "Choose another with --out."
        )
    return OutputError(f"{path}: cannot be written ({short_reason(error)})")


def check_finite(path: Path, block: npt.NDArray[np.floating[Any]], position: int) -> None:
    """Refuse to write NaN and infinity; `position` is that of the block's first sample.

    Raises:
        RenderError: A sample is not finite.
    """
    fault = find_fault(block)
    if fault is not None:
        channel, sample = fault
        raise RenderError(
            f"{path}: {block[channel, sample]} at sample {position + sample} of channel {channel + 1} would "
            "be written; nothing was saved. A processor in the chain makes it: disable nodes in turn to find "
            "which."
        )


def find_fault(block: npt.NDArray[np.floating[Any]]) -> tuple[int, int] | None:
    """Find the first sample that is not finite, as (channel, sample in the block)."""
    if math.isfinite(float(block.sum(dtype=np.float64))):
        return None  # a sum is finite only where every term is
    faults = np.argwhere(~np.isfinite(block.T))
    if len(faults) == 0:
        return None
    sample, channel = faults[0]
    return int(channel), int(sample)


def short_reason(error: BaseException) -> str:
    """Put what a library says of a failure into a few words."""
    text = str(error).rsplit(": ", 1)[-1].strip().rstrip(".") or type(error).__name__
    return " ".join(text.split())


def _free_bytes(path: Path) -> int:
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"
