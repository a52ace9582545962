"""Devices are named as Torch names them, and what is near to one is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet

from dream_core.errors import DeviceError, SettingError
from dream_core.loop import stream, windows
from dream_core.loop.dream import dream
from dream_core.runtime import list_devices, resolve_device
from dream_core.settings import DreamSettings
from dream_core.updates import conditioning, legacy_0163


@pytest.mark.parametrize("name", ["cpu", "cpu:0", "auto"])
def test_a_device_that_is_there_is_found(name: str) -> None:
    """The processor is everywhere."""
    assert resolve_device(name).type in ("cpu", "cuda")


@pytest.mark.parametrize(("name", "says"), [
    ("gpu", "did you mean 'cuda'"),
    ("GPU", "did you mean 'cuda'"),
    ("gpu:1", "did you mean 'cuda:1'"),
    ("CUDA:0", "did you mean 'cuda:0'"),
    (" cpu", "did you mean 'cpu'"),
    ("Auto", "did you mean 'auto'"),
    ("xpu", "accepted: auto, cpu, cuda"),
    ("cuda:", "accepted: auto, cpu, cuda"),
    ("cuda:01", "accepted: auto, cpu, cuda"),
    ("cuda:-1", "accepted: auto, cpu, cuda"),
    ("cuda:999999999999", "accepted: auto, cpu, cuda"),
    ("", "accepted: auto, cpu, cuda"),
    ("meta", "accepted: auto, cpu, cuda"),
    ("cuda:99", "is not there; this machine has: cpu"),
])  # fmt: skip
def test_what_is_no_device_here_says_what_is(name: str, says: str) -> None:
    """Or which was meant."""
    with pytest.raises(DeviceError, match=says):
        resolve_device(name)


def test_mps_is_a_device_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, listed, never taken by `auto`; elsewhere an error: a stand-in, no Mac was tried."""
    with pytest.raises(DeviceError, match="'mps' is not there"):
        resolve_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("mps") == torch.device("mps")
    assert list_devices()[-1] == "mps"
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(DeviceError, match="is not there"):
        resolve_device("mps:1")


def test_nothing_asks_a_device_without_float64_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With float32 for its widest numbers, as on `mps`, a dream is nearly the same; legacy ones refuse."""
    for module in (stream, windows, conditioning, legacy_0163):
        monkeypatch.setattr(module, "widest_float", lambda _device: torch.float32)
    sound = (0.1 * np.random.default_rng(0).standard_normal((1, 32000))).astype(np.float32)
    depth = np.linspace(0, 3, 32000)
    settings = DreamSettings(objective="layer:first", normalisation="band")
    single = dream(sound, 16000, SmallNet(), settings, depth)
    monkeypatch.undo()
    double = dream(sound, 16000, SmallNet(), settings, depth)
    # Depths and cross-fades rounded to float32: 1e-7 of them, some steps long.
    assert np.abs(single - double).max() < 1e-4 * np.abs(double).max()

    monkeypatch.setattr(legacy_0163, "widest_float", lambda _device: torch.float32)
    with pytest.raises(SettingError, match="legacy updates need float64"):
        dream(sound, 16000, SmallNet(), DreamSettings(objective="layer:first", update="legacy_0163_0"), 1.0)
