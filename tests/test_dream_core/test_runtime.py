"""Devices are named as Torch names them, and what is near to one is told."""

from __future__ import annotations

import pytest

from dream_core.errors import DeviceError
from dream_core.runtime import resolve_device


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
