"""The conformance plugins, for tests: where they are built, sounds for them, and copies that misbehave."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bridge.arrays import AudioArray

BUILD = Path(__file__).parents[1] / "plugins" / "build"
EFFECT = BUILD / "ConformanceEffect.vst3"
INSTRUMENT = BUILD / "ConformanceInstrument.vst3"
PAIR = BUILD / "ConformancePair.vst3"

PACKAGES = Path(__file__).parents[1] / "plugins" / "packages"
"""Plugins that others wrote, where tests/plugins/fetch.sh has brought them."""

needs_packages = [
    pytest.mark.vst3,
    pytest.mark.skipif(
        not (PACKAGES / ".zam-plugins").exists(),
        reason="other people's plugins are not here; run: bash tests/plugins/fetch.sh",
    ),
]

SAMPLE_RATE = 48000.0
PROBE_SCALE = float(1 << 20)

needs_plugins = [
    pytest.mark.vst3,
    pytest.mark.skipif(
        not PAIR.exists(), reason="the conformance plugins are not built; run: bash tests/plugins/build.sh"
    ),
]


def noise(samples: int = 24000, channels: int = 2, seed: int = 0) -> AudioArray:
    """Return seeded noise at half scale."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def misbehaving_copy(folder: Path, name: str, source: Path = EFFECT, **settings: str | int) -> Path:
    """Copy a bundle under another name, with settings its plugin reads while it is loaded."""
    bundle = folder / f"{name}.vst3"
    binary = next(source.glob("Contents/*/*.so"))
    place = bundle / "Contents" / binary.parent.name
    place.mkdir(parents=True)
    shutil.copy(binary, place / f"{name}.so")
    if settings:
        resources = bundle / "Contents" / "Resources"
        resources.mkdir()
        (resources / "conformance.txt").write_text(
            "".join(f"{key} {value}\n" for key, value in settings.items())
        )
    return bundle


def child_process_ids() -> set[int]:
    """Return the processes this one has started and not reaped, zombies among them."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def open_descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def is_running(process_id: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
