"""Where and how a dream is computed: device, threads, and numbers drawn from a seed."""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
import re
import struct
from pathlib import Path
from typing import Any

import torch

from dream_core.errors import DeviceError, SettingError
from dream_core.files import write_whole

__all__ = [
    "default_batch",
    "default_threads",
    "draw_integer",
    "draw_unit_vector",
    "keep_memory",
    "list_devices",
    "resolve_device",
    "save_state",
    "set_threads",
    "widest_float",
]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_IN_HEAP = 32 << 20  # the most that glibc accepts
_KEPT_AT_MOST = 1 << 30

_DEVICE = r"(cpu|cuda|mps)(:(0|[1-9]\d?))?"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and numbers as Torch does, whole or not at all.

    Raises:
        OSError: It cannot be written; what had the name before stays.
    """
    # Torch itself says of a full disk only that a position was unexpected.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with write_whole(path) as part:
        part.write_bytes(buffer.getbuffer())


def list_devices() -> tuple[str, ...]:
    """Name every device a dream can run on here.

    >>> "cpu" in list_devices()
    True
    """
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return ("cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *mps)


def resolve_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that is there.

    ``auto`` takes CUDA or the CPU: Apple's ``mps`` is used where it is named, and has not been tried by us.

    Raises:
        DeviceError: The device is not there, or the name is not one.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        _make_repeatable()
        return torch.device("cuda:0")
    if not re.fullmatch(_DEVICE, name):
        meant = name.strip().lower().replace("gpu", "cuda")
        is_close = meant == "auto" or re.fullmatch(_DEVICE, meant)
        hint = (
            f"did you mean {meant!r}?" if is_close else "accepted: auto, cpu, cuda, cuda:0, cuda:1 ..., mps"
        )
        raise DeviceError(f"{name!r} is not a device; {hint}")
    device = torch.device(name)
    if device.type == "cpu":
        return torch.device("cpu")
    is_mps = device.type == "mps"
    n_devices = int(torch.backends.mps.is_available()) if is_mps else torch.cuda.device_count()
    if (device.index or 0) >= n_devices:
        here = ", ".join(list_devices())
        raise DeviceError(f"device {name!r} is not there; this machine has: {here}. Use --device auto.")
    if is_mps:
        return torch.device("mps")
    _make_repeatable()
    return torch.device("cuda", device.index or 0)


def widest_float(device: torch.device) -> torch.dtype:
    """Return the most exact floating-point type of a device: Apple's has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def _make_repeatable() -> None:
    """Have a GPU give the same samples twice: fixed algorithms, and float32 that is float32."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def default_threads() -> int:
    """Return how many threads a CPU gets where nothing is said: one for every second core, eight at most.

    Threads that step together wait for each other at every layer: where one of them shares its core with
    another program they all wait for it.
    """
    return max(1, min(8, (os.cpu_count() or 1) // 2))


def set_threads(n_threads: int | None) -> int:
    """Fix how many threads Torch uses on the CPU and return the number.

    The number belongs to a render's identity: float32 sums are ordered by it, so it is chosen from the
    machine alone, never from how busy the machine is. (What protects a busy machine is a passive wait
    policy of OpenMP, which the command line sets before Torch is loaded.)

    Args:
        n_threads: 1 or more; None takes one for every second core, eight at most.

    Raises:
        SettingError: Not 1 to 256.
    """
    if n_threads is None:
        n_threads = default_threads()
    if not 1 <= n_threads <= 256:
        raise SettingError(f"threads = {n_threads} is outside 1..256")
    if torch.get_num_threads() != n_threads:
        torch.set_num_threads(n_threads)
    return n_threads


def keep_memory() -> None:
    """Have the C library keep the memory that tensors give back.

    A step frees what the next one takes again. Given back to the system in between, every page of it has to
    be cleared and mapped anew, which costs a CPU a fifth of a dream. Who has set glibc's own variables is
    left alone, and other C libraries know no such setting.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_AT_MOST)


def default_batch(device: torch.device) -> int:
    """Choose how many windows step together: one on a CPU, whose caches are small, many on a GPU."""
    return 32 if device.type == "cuda" else 1


def _digest(*key: int) -> bytes:
    return hashlib.blake2b(struct.pack(f"<{len(key)}q", *key), digest_size=8).digest()


def draw_integer(limit: int, *key: int) -> int:
    """Draw a number in ``0 .. limit - 1`` that depends on the key alone, never on what was drawn before.

    >>> draw_integer(48, 7, 0) == draw_integer(48, 7, 0)
    True
    """
    return int.from_bytes(_digest(*key), "little") % max(1, limit)


def draw_unit_vector(n: int, *key: int) -> torch.Tensor:
    """Draw a direction of length one that depends on the key alone."""
    generator = torch.Generator().manual_seed(int.from_bytes(_digest(*key), "little") >> 1)
    vector = torch.randn(n, generator=generator, dtype=torch.float64)
    unit: torch.Tensor = vector / torch.linalg.vector_norm(vector)
    return unit
